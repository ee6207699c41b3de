"""Make an SDE, a drift and a diffusion: of noising, of its reverse, of classical physics."""

from sdeflow.sdes.classical import (
    OrnsteinUhlenbeck,
    brownian,
    geometric_brownian,
    langevin,
    ornstein_uhlenbeck,
    underdamped,
)
from sdeflow.sdes.generative import ancestral, comoving, forward, reverse
from sdeflow.sdes.potentials import double_well, harmonic, mexican_hat
from sdeflow.sdes.sde import SDE, TransitionKernel

__all__ = [
    "SDE",
    "TransitionKernel",
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
