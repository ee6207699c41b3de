"""The samplers of other packages, one file per package."""
