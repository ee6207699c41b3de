"""Move particles under an SDE, with the methods of torchsde and torchdiffeq."""

from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.path import Path
from sdeflow.solvers.sde_solver import SDESolver

__all__ = [
    "SDESolver",
    "ODESolver",
    "Path",
    "Brownian",
]
