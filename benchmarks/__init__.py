"""Measure solvers, training and densities: `python -m benchmarks NAME [--quick]`, a file each."""
