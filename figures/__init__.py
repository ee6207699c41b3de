"""Figures: one file each, `python -m figures NAME|all [--quick]`; README's are kept in git."""
