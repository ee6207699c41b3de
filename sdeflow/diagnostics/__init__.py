"""Judge a cloud: distances with their floors, tests against a density, the error split into causes."""
