"""Flow matching (M1 to M12)."""
