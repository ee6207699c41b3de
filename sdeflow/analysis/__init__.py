"""Compute likelihoods, bounds, critical noise levels, first passages, entropy, work and heat."""

from sdeflow.analysis.directions import (
    alignment,
    arm_resolution,
    first_outward_level,
    turning_rate,
)
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
from sdeflow.analysis.escape_times import kramers_time, mean_first_passage_time
from sdeflow.analysis.estimate import Estimate
from sdeflow.analysis.first_passage import Passage, first_passage
from sdeflow.analysis.guidance import GuidedLaw, guided_density, guided_law, tilted
from sdeflow.analysis.likelihood import decode, encode, hutchinson_log_likelihood, log_likelihood
from sdeflow.analysis.noise_level import Curve, NoiseLevel
from sdeflow.analysis.noiseless import noiseless_law
from sdeflow.analysis.survival import survival
from sdeflow.analysis.thermodynamics import (
    entropy_flow,
    entropy_production,
    free_energy_difference,
    heat,
    two_time_covariance,
    work,
)
from sdeflow.analysis.transitions import (
    class_purity,
    effective_dimension,
    inverse_participation_ratio,
    speciation,
)

__all__ = [
    "survival", "log_likelihood", "hutchinson_log_likelihood", "encode", "decode", "elbo", "Bound",
    "KernelVariance", "elbo_weights", "gaussian_kl", "small_variance", "large_variance",
    "optimal_variance", "learned_variance", "guided_law", "guided_density", "GuidedLaw", "tilted",
    "NoiseLevel", "Curve", "turning_rate", "alignment", "arm_resolution", "first_outward_level",
    "speciation", "effective_dimension", "class_purity", "inverse_participation_ratio",
    "noiseless_law", "Passage", "first_passage", "mean_first_passage_time", "kramers_time",
    "Estimate", "two_time_covariance", "entropy_flow", "entropy_production", "work", "heat",
    "free_energy_difference",
]  # fmt: skip
