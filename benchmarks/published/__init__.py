"""A published table of flow matching in the plane, measured again by its own protocol."""
