"""Measure and test the error of a cloud of particles, and split it into its causes."""

from sdeflow.diagnostics.coverage import class_shares, coverage, nearest, spread
from sdeflow.diagnostics.distances import (
    energy_distance,
    sampling_floor,
    sliced_wasserstein,
    wasserstein,
)
from sdeflow.diagnostics.error_budget import ErrorBudget, ErrorSource, error_budget
from sdeflow.diagnostics.goodness_of_fit import check_density, check_path
from sdeflow.diagnostics.hypothesis import holm
from sdeflow.diagnostics.martingale import dynkin_test
from sdeflow.diagnostics.scale import column_scale
from sdeflow.diagnostics.two_sample import two_sample_test
from sdeflow.diagnostics.verdict import PathVerdict, Verdict

__all__ = [
    "wasserstein",
    "sliced_wasserstein",
    "energy_distance",
    "sampling_floor",
    "column_scale",
    "spread",
    "nearest",
    "coverage",
    "class_shares",
    "holm",
    "Verdict",
    "PathVerdict",
    "check_density",
    "check_path",
    "two_sample_test",
    "dynkin_test",
    "error_budget",
    "ErrorBudget",
    "ErrorSource",
]
