"""One colour for a noise schedule and for a sampler, in all figures."""

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
"""In the order in which `plot.work_precision` and `plot.convergence` colour their curves."""


def look(sampler: str) -> tuple[str, str]:
    """The colour and the marker that these give to one of the samplers."""
    k = SAMPLERS.index(sampler)
    return ORDER[k % len(ORDER)], MARKERS[k % len(MARKERS)]
