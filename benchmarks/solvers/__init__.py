"""Compare solvers by error and calls of the field: ours, a user's own, those of other packages.

A solver is any function (sde, x, times, seed) -> x. Its calls are counted at the field. The truth
is the probability flow of the same field, solved in 600 steps of order 4, whose own error is
measured by halving the steps; nothing is reported within 10 times of it.
"""
