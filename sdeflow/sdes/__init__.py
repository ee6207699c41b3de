"""Laws of motion: a drift and a diffusion, of noising, of its reverse, of classical physics."""
