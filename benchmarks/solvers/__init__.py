"""Compare solvers by error and calls of the field: ours, a user's own, those of other packages.

A solver is any function (sde, x, times, seed) -> x. The field counts its calls. The truth is the
probability flow of the same field in 600 steps of order 4; its own error is measured with half as
many steps, and errors below 10 times this error are not reported.
"""
