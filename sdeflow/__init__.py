"""Diffusion and flow matching as physics: noise data, learn a field, and check every cloud.

    process, distribution -> field -> SDE -> solver (particles) | Fokker-Planck (a density)

    >>> import sdeflow as sf
    >>> field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
    >>> start = field.process.prior(1000, 2, seed=0)
    >>> path = sf.SDESolver("euler", steps=100).solve(sf.reverse(field), start)

What is named here is what most programs need. The rest stands in the packages:

    processes      how data are noised          solvers        particles
    distributions  what the data are            fokker_planck  densities
    fields         what a noisy point tells     diagnostics    is the cloud right?
    sdes           laws of motion               analysis       what follows from it
    training       learning a field             plot           pictures

docs/architecture.md is the plan of the package, docs/theory.md derives its equations.
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from types import ModuleType as _ModuleType

from sdeflow import (
    analysis,
    diagnostics,
    distributions,
    fields,
    fokker_planck,
    processes,
    sdes,
    solvers,
    training,
)
from sdeflow._validation import SdeflowError
from sdeflow.density import Density, Grid
from sdeflow.diagnostics import check_density, wasserstein
from sdeflow.distributions import GaussianMixture, datasets
from sdeflow.fields import MLP, ExactField, GuidedField, LearnedField
from sdeflow.fokker_planck import evolve
from sdeflow.processes import EDM, VE, VP, Linear
from sdeflow.sdes import SDE, ancestral, forward, reverse
from sdeflow.solvers import ODESolver, SDESolver
from sdeflow.training import fit

__version__ = _version("sdeflow")

__all__ = [
    # how data are noised, and what they are
    "VP", "VE", "EDM", "Linear", "GaussianMixture", "datasets",
    # what a noisy point tells
    "ExactField", "LearnedField", "GuidedField", "MLP", "fit",
    # how things move: the law, its particles, its density
    "SDE", "forward", "reverse", "ancestral", "SDESolver", "ODESolver",
    "Grid", "Density", "evolve",
    # is it right?
    "check_density", "wasserstein", "SdeflowError",
    # all else, by its package
    "processes", "distributions", "fields", "training", "sdes", "solvers", "fokker_planck",
    "diagnostics", "analysis", "density", "plot", "experiment",
]  # fmt: skip

_ON_FIRST_USE = ("plot", "experiment")  # matplotlib and the command's parser take their time


def __getattr__(name: str) -> _ModuleType:
    if name in _ON_FIRST_USE:
        return _import_module(f"sdeflow.{name}")
    raise AttributeError(f"module 'sdeflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("_"))]
