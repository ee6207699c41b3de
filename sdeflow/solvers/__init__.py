"""Move particles under an SDE, through torchsde and torchdiffeq."""
