"""Repeat a published table of flow matching in two dimensions, by its own protocol."""
