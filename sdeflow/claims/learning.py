"""What is learned, from which target, and what the field looks like (R10 to R17)."""
