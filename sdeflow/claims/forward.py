"""Noising: the forward process, step by step and at once (F1 to F8)."""
