"""The reverse kernel, its bounds, and the score (R1 to R9)."""
