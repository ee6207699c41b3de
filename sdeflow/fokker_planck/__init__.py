"""Move a density on a grid under an SDE, and ask it for its current."""
