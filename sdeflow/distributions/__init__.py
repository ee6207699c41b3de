"""Choose the data: a distribution with exact draws, a named data set, or your own file."""

from sdeflow.distributions import datasets
from sdeflow.distributions.curves import Arc, Curves
from sdeflow.distributions.dataset import Dataset
from sdeflow.distributions.distribution import Distribution, Posterior
from sdeflow.distributions.mixture import GaussianMixture, prior_density
from sdeflow.distributions.piecewise import PiecewiseConstant
from sdeflow.distributions.points import PointSet
from sdeflow.distributions.units import Units

__all__ = [
    "datasets",
    "GaussianMixture",
    "Posterior",
    "prior_density",
    "PointSet",
    "PiecewiseConstant",
    "Curves",
    "Distribution",
    "Dataset",
    "Units",
    "Arc",
]
