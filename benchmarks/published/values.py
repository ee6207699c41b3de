"""The values of the published table: mean and standard deviation over five seeds.

Source: Tong et al. 2024, table 2.
"""

from __future__ import annotations

from typing import NamedTuple


class Value(NamedTuple):
    """Mean and standard deviation."""

    mean: float
    std: float


W2 = {
    "N->8gaussians": {
        "OT-CFM": Value(0.303, 0.043), "I-CFM": Value(0.373, 0.103), "FM": Value(0.343, 0.058),
    },
    "moons->8gaussians": {"OT-CFM": Value(0.601, 0.027), "I-CFM": Value(1.557, 0.407)},
    "N->moons": {
        "OT-CFM": Value(0.130, 0.016), "I-CFM": Value(0.178, 0.014), "FM": Value(0.209, 0.055),
    },
    "N->scurve": {
        "OT-CFM": Value(0.144, 0.028), "I-CFM": Value(0.242, 0.141), "FM": Value(0.198, 0.037),
    },
}  # fmt: skip
"""The 2-Wasserstein distance between 10,000 generated and 10,000 test points."""

NPE = {
    "N->8gaussians": {
        "OT-CFM": Value(0.031, 0.027), "I-CFM": Value(0.202, 0.055), "FM": Value(0.190, 0.054),
    },
    "moons->8gaussians": {"OT-CFM": Value(0.015, 0.010), "I-CFM": Value(2.680, 0.292)},
    "N->moons": {
        "OT-CFM": Value(0.083, 0.009), "I-CFM": Value(0.891, 0.120), "FM": Value(0.762, 0.099),
    },
    "N->scurve": {
        "OT-CFM": Value(0.027, 0.012), "I-CFM": Value(0.856, 0.031), "FM": Value(0.743, 0.116),
    },
}  # fmt: skip
"""|E int |v|^2 dt - W2^2| / W2^2, with W2^2 between source and target."""
