"""sdeflow: diffusion as physics. One SDE, two worlds; every cloud comes with a proof.

Read the package in the order of the theory (docs/theory.md): `process` (how matter is noised),
`mixture`, `dataset` and `density` (laws), `prediction` and `field` (what we know), `sde` (laws of
motion), `solve` (particles), `fokker_planck` (densities), `objective` and `train` (learning a
field), `distance` and `check` (judging), `plot`, `run` and the command.
"""

from importlib.metadata import version as _version

from sdeflow import plot
from sdeflow._validation import SdeflowError
from sdeflow.analysis import transitions as order
from sdeflow.analysis.elbo import (
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
from sdeflow.analysis.estimate import Estimate
from sdeflow.analysis.first_passage import (
    Passage,
    first_passage,
    kramers_time,
    mean_first_passage_time,
)
from sdeflow.analysis.guidance import Audit, guidance_audit, tilted
from sdeflow.analysis.likelihood import decode, encode, hutchinson_log_likelihood, log_likelihood
from sdeflow.analysis.thermodynamics import (
    entropy_flow,
    entropy_production,
    free_energy_difference,
    heat,
    two_time_covariance,
    work,
)
from sdeflow.analysis.transitions import NoiseLevel
from sdeflow.density import Density, Grid
from sdeflow.diagnostics.distances import energy_distance, floor, sliced_wasserstein, wasserstein
from sdeflow.diagnostics.error_budget import Budget, Part, error_budget
from sdeflow.diagnostics.goodness_of_fit import check_density, check_path
from sdeflow.diagnostics.hypothesis import holm
from sdeflow.diagnostics.martingale import dynkin
from sdeflow.diagnostics.two_sample import compare
from sdeflow.diagnostics.verdict import PathVerdict, Verdict
from sdeflow.distributions import datasets
from sdeflow.distributions.mixture import Mixture, Posterior
from sdeflow.distributions.piecewise import TilesField
from sdeflow.fields.exact import BayesField, EmpiricalField, ExactField
from sdeflow.fields.field import Field
from sdeflow.fields.guided import GuidedField, scale_from_strength, strength_from_scale
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP
from sdeflow.fields.prediction import Prediction
from sdeflow.fokker_planck.current import current
from sdeflow.fokker_planck.density_path import Guards, History
from sdeflow.fokker_planck.evolve import evolve
from sdeflow.fokker_planck.markov import Generator, generator
from sdeflow.fokker_planck.rescaling import Ruler, normalised
from sdeflow.fokker_planck.sampler import sampler_law
from sdeflow.processes.process import Coefficients, Process
from sdeflow.processes.schedules import EDM, VE, VP, Cosine, Linear, SubVP
from sdeflow.processes.tabulated import Tabulated
from sdeflow.processes.time_grids import karras_times, log_snr_times, uniform_times
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
from sdeflow.sdes.generative import bridge, comoving, forward, reverse
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.path import Path
from sdeflow.solvers.sde_solver import SDESolver
from sdeflow.training.checkpoint import load, save
from sdeflow.training.fit import Recipe, Training, fit
from sdeflow.training.loss import (
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
