"""sdeflow: diffusion as physics. One SDE, two worlds; every cloud comes with a proof.

Read the package in the order of the theory (docs/theory.md): `process` (how matter is noised),
`mixture`, `dataset` and `density` (laws), `prediction` and `field` (what we know), `sde` (laws of
motion), `solve` (particles), `fokker_planck` (densities), `objective` and `train` (learning a
field), `distance` and `check` (judging), `plot`, `run` and the command.
"""

from importlib.metadata import version as _version

from sdeflow import datasets as datasets
from sdeflow import order as order
from sdeflow import plot as plot
from sdeflow.audit import Audit, guidance_audit, tilted
from sdeflow.budget import Budget, Part, error_budget
from sdeflow.chapman_kolmogorov import sampler_law
from sdeflow.check import check_density, check_path
from sdeflow.checkpoint import load, save
from sdeflow.clock import karras_times, log_snr_times, uniform_times
from sdeflow.density import Density, Grid
from sdeflow.distance import energy_distance, floor, sliced_wasserstein, wasserstein
from sdeflow.door import SdeflowError
from sdeflow.engine import Path
from sdeflow.field import BayesField, EmpiricalField, ExactField, Field
from sdeflow.flux import current
from sdeflow.fokker_planck import evolve
from sdeflow.guidance import GuidedField, scale_from_strength, strength_from_scale
from sdeflow.history import Guards, History
from sdeflow.laws import (
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
from sdeflow.learned import LearnedField
from sdeflow.likelihood import decode, encode, hutchinson_log_likelihood, log_likelihood
from sdeflow.martingale import dynkin
from sdeflow.master_equation import Generator, generator
from sdeflow.mixture import Mixture, Posterior
from sdeflow.network import MLP
from sdeflow.noise import Brownian
from sdeflow.objective import (
    Meter,
    edm_weighting,
    logit_normal_time,
    loss,
    measured_in,
    meter,
    min_snr,
    noise_between,
    normal_log_snr,
    uniform_log_snr,
    uniform_time,
)
from sdeflow.observe import (
    Estimate,
    Passage,
    entropy_flow,
    entropy_production,
    first_passage,
    free_energy_difference,
    heat,
    kramers_time,
    mean_first_passage_time,
    two_time_covariance,
    work,
)
from sdeflow.order import NoiseLevel
from sdeflow.prediction import Prediction
from sdeflow.process import EDM, VE, VP, Coefficients, Cosine, Linear, Process, SubVP, Tabulated
from sdeflow.ruler import Ruler, normalised
from sdeflow.sde import SDE, bridge, comoving, forward, reverse
from sdeflow.solve import ODESolver, SDESolver
from sdeflow.statistic import holm
from sdeflow.tiles import TilesField
from sdeflow.train import Recipe, Training, fit
from sdeflow.two_sample import compare
from sdeflow.variational import (
    Bound,
    KernelVariance,
    elbo,
    elbo_weights,
    gaussian_kl,
    large_variance,
    learned_variance,
    optimal_variance,
    small_variance,
)
from sdeflow.verdict import PathVerdict, Verdict

__version__ = _version("sdeflow")

__all__ = [
    # how matter is noised
    "Process", "Coefficients",
    "VP", "SubVP", "VE", "EDM", "Linear", "Cosine", "Tabulated",
    # laws
    "Mixture", "Posterior", "datasets",
    # what we know
    "Prediction", "Field", "BayesField", "ExactField", "EmpiricalField", "TilesField",
    "LearnedField", "GuidedField", "scale_from_strength", "strength_from_scale",
    # laws of motion
    "SDE", "forward", "reverse", "comoving", "bridge",
    "uniform_times", "log_snr_times", "karras_times",
    "brownian", "ornstein_uhlenbeck", "OrnsteinUhlenbeck", "langevin", "underdamped",
    "geometric_brownian", "harmonic", "double_well", "mexican_hat",
    # particles
    "SDESolver", "ODESolver", "Path", "Brownian", "SdeflowError",
    # densities
    "Grid", "Density", "evolve", "History", "Guards", "Ruler", "normalised", "current",
    "sampler_law", "generator", "Generator",
    "log_likelihood", "hutchinson_log_likelihood", "encode", "decode",
    "elbo", "Bound", "KernelVariance", "elbo_weights", "gaussian_kl",
    "small_variance", "large_variance", "optimal_variance", "learned_variance",
    # the scales at which the field changes
    "order", "NoiseLevel",
    # observables
    "Estimate", "first_passage", "Passage", "mean_first_passage_time", "kramers_time",
    "two_time_covariance", "entropy_flow", "entropy_production",
    "work", "heat", "free_energy_difference",
    # learning
    "MLP", "fit", "Training", "Recipe", "loss", "meter", "Meter", "save", "load",
    "measured_in", "edm_weighting", "min_snr",
    "uniform_time", "uniform_log_snr", "noise_between", "normal_log_snr", "logit_normal_time",
    # judging and showing
    "error_budget", "Budget", "Part", "guidance_audit", "Audit", "tilted",
    "check_density", "check_path", "Verdict", "PathVerdict", "dynkin", "compare", "holm",
    "wasserstein", "sliced_wasserstein", "energy_distance", "floor", "plot",
    "__version__",
]  # fmt: skip
