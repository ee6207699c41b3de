"""Laws of motion: a drift and a diffusion, of noising, of its reverse, of classical physics."""

from sdeflow.sdes.classical import (
    OrnsteinUhlenbeck,
    brownian,
    double_well,
    geometric_brownian,
    harmonic,
    langevin,
    mexican_hat,
    ornstein_uhlenbeck,
    underdamped,
)
from sdeflow.sdes.generative import ancestral, comoving, forward, reverse
from sdeflow.sdes.sde import SDE

__all__ = [
    "SDE",
    "forward",
    "reverse",
    "comoving",
    "ancestral",
    "brownian",
    "ornstein_uhlenbeck",
    "OrnsteinUhlenbeck",
    "langevin",
    "underdamped",
    "geometric_brownian",
    "harmonic",
    "double_well",
    "mexican_hat",
]
