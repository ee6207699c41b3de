"""The samplers of other packages, one file for each package."""
