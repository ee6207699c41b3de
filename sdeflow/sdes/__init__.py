"""Make a stochastic differential equation (SDE): noising, its reverse, or classical physics."""

from sdeflow.sdes.calibration import calibrate
from sdeflow.sdes.classical import (
    OrnsteinUhlenbeck,
    brownian,
    geometric_brownian,
    langevin,
    ornstein_uhlenbeck,
    underdamped,
)
from sdeflow.sdes.generative import ancestral, comoving, forward, reverse
from sdeflow.sdes.multistep import Spread, multistep
from sdeflow.sdes.plan import Recipe, recipe
from sdeflow.sdes.potentials import double_well, harmonic, mexican_hat
from sdeflow.sdes.sde import SDE, TransitionKernel
from sdeflow.sdes.start_times import starting
from sdeflow.sdes.walls import Box

__all__ = [
    "SDE",
    "TransitionKernel",
    "Box",
    "forward",
    "reverse",
    "comoving",
    "ancestral",
    "multistep",
    "starting",
    "calibrate",
    "recipe",
    "Recipe",
    "Spread",
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
