"""Draw README's figures, one file each: `python -m figures NAME|all [--quick]`."""
