"""Learn a field: its loss, the loop, checkpoints."""
