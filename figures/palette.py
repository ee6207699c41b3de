"""Colours and markers that noise schedules and samplers have in all figures."""

from __future__ import annotations

from sdeflow import plot
from sdeflow.plot.benchmarks import MARKERS, ORDER

SCHEDULES = {
    "VP": plot.BLUE,
    "sub-VP": plot.SKY,
    "EDM": plot.VERMILION,
    "cosine": plot.ORANGE,
    "linear": plot.GREEN,
}
SAMPLERS = (
    "DDIM", "Heun", "multistep", "multistep, calibrated", "Euler", "Heun (EDM)", "RK4",
    "Euler-Maruyama", "SRK",
)  # fmt: skip
"""Samplers in the order of the colours of `plot.work_precision` and `plot.convergence`."""


def look(sampler: str) -> tuple[str, str]:
    """The colour and the marker of a sampler."""
    k = SAMPLERS.index(sampler)
    return ORDER[k % len(ORDER)], MARKERS[k % len(MARKERS)]
