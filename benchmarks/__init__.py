"""One file per question: `python -m benchmarks NAME [--quick]`, results as JSON Lines."""
