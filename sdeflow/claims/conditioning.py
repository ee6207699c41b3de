"""Classes and guidance (G1 to G10)."""
