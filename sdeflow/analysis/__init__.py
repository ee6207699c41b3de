"""What follows from a field or a path: likelihoods, bounds, transitions, first passages, heat and work."""
