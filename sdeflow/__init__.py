"""Simulate diffusion models and flow matching, and check each cloud: import sdeflow as sf.

    process, distribution -> field -> SDE -> solver (particles) | evolve (a density)
    >>> field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
    >>> noise = field.process.prior(1000, 2, seed=0)
    >>> path = sf.SDESolver("euler", steps=100).solve(sf.reverse(field), noise)

Most programs need only VP, VE, EDM, Linear; GaussianMixture, datasets; ExactField, LearnedField,
GuidedField, MLP, fit; SDE, forward, reverse, ancestral, multistep; SDESolver, ODESolver; simulate,
open_cloud; Grid, Density, evolve; check_density, wasserstein; SdeflowError. See `help(sf.sdes)`.
"""

import sys as _sys
from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:  # what `__getattr__` gives, as type checkers and editors read it
    from sdeflow import analysis as analysis
    from sdeflow import density as density
    from sdeflow import diagnostics as diagnostics
    from sdeflow import distributions as distributions
    from sdeflow import experiment as experiment
    from sdeflow import fields as fields
    from sdeflow import fokker_planck as fokker_planck
    from sdeflow import images as images
    from sdeflow import integrations as integrations
    from sdeflow import plot as plot
    from sdeflow import processes as processes
    from sdeflow import sdes as sdes
    from sdeflow import simulation as simulation
    from sdeflow import solvers as solvers
    from sdeflow import training as training
    from sdeflow._validation import SdeflowError as SdeflowError
    from sdeflow.density import Density as Density
    from sdeflow.density import Grid as Grid
    from sdeflow.diagnostics import check_density as check_density
    from sdeflow.diagnostics import wasserstein as wasserstein
    from sdeflow.distributions import GaussianMixture as GaussianMixture
    from sdeflow.distributions import datasets as datasets
    from sdeflow.fields import MLP as MLP
    from sdeflow.fields import ExactField as ExactField
    from sdeflow.fields import GuidedField as GuidedField
    from sdeflow.fields import LearnedField as LearnedField
    from sdeflow.fokker_planck import evolve as evolve
    from sdeflow.processes import EDM as EDM
    from sdeflow.processes import VE as VE
    from sdeflow.processes import VP as VP
    from sdeflow.processes import Linear as Linear
    from sdeflow.sdes import SDE as SDE
    from sdeflow.sdes import ancestral as ancestral
    from sdeflow.sdes import forward as forward
    from sdeflow.sdes import multistep as multistep
    from sdeflow.sdes import reverse as reverse
    from sdeflow.simulation import open_cloud as open_cloud
    from sdeflow.simulation import simulate as simulate
    from sdeflow.solvers import ODESolver as ODESolver
    from sdeflow.solvers import SDESolver as SDESolver
    from sdeflow.training import fit as fit

__version__ = _version("sdeflow")

# Only the packages: pydoc prints every class in __all__ in full, which takes thousands of lines,
# and `help(sf)` should fit a screen. The names in _NAMES are public too; `dir(sf)` lists them.
__all__ = [
    "processes", "distributions", "fields", "training", "sdes", "solvers", "fokker_planck",
    "diagnostics", "analysis", "simulation", "integrations", "images", "density", "plot",
    "experiment",
]  # fmt: skip

_NAMES = {
    "processes": ("VP", "VE", "EDM", "Linear"),
    "distributions": ("GaussianMixture", "datasets"),
    "fields": ("ExactField", "LearnedField", "GuidedField", "MLP"),
    "training": ("fit",),
    "sdes": ("SDE", "forward", "reverse", "ancestral", "multistep"),
    "solvers": ("SDESolver", "ODESolver"),
    "density": ("Grid", "Density"),
    "fokker_planck": ("evolve",),
    "simulation": ("simulate", "open_cloud"),
    "diagnostics": ("check_density", "wasserstein"),
    "_validation": ("SdeflowError",),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    # Names are loaded when they are first asked for: a program loads what it uses and no more.
    if name in __all__:
        return _import_module(f"sdeflow.{name}")
    if name in _HOME:
        found = getattr(_import_module(f"sdeflow.{_HOME[name]}"), name)
        globals()[name] = found
        return found
    where = ""
    for package in () if name.startswith("_") else __all__[:12]:
        if name in getattr(_import_module(f"sdeflow.{package}"), "__all__", ()):
            where = f"; it is sf.{package}.{name}"
    raise AttributeError(
        f"module 'sdeflow' has no attribute {name!r}{where}", name=name, obj=_sys.modules[__name__]
    )


def __dir__() -> list[str]:
    return [*_HOME, *__all__, *(name for name in globals() if name.startswith("__"))]
