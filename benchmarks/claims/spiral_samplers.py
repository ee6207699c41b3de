"""Compare clouds on the spiral with the data, and with the table of docs/sources.md, N3."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Lab, about, at_most
from benchmarks.claims.setting import COVARIANCE, LABELS, POINTS, SPIRAL, chain
from sdeflow import diagnostics, plot
from sdeflow.fields.field import Field
from sdeflow.sdes.generative import ancestral
from sdeflow.sdes.sde import SDE

RESIDUE = 0.01  # the noise of the last level, which samples keep
# Half a unit in the last printed place of each column of the table.
ROUNDED = torch.tensor([5e-4] * 3 + [5e-5, 5e-4] + [5e-3] * 3, dtype=torch.float64)
GROUPS = 30  # parts of our clouds, for the error of a mean


def data(n: int, seed: int) -> Tensor:
    """Draws (n, 2) of a perfect sampler: data with the noise of the last level."""
    return SPIRAL.smooth(RESIDUE).sample(n, seed)


def ddim(field: Field) -> SDE:
    """DDIM's step."""
    return ancestral(field, 0.0)


def columns(x: Tensor) -> Tensor:
    """The eight columns of the table for a cloud (n, 2).

    Shares within 0.02, 0.03 and 0.05 of the curve, median distance to it, spread over that of the
    data, shares of the classes.
    """
    off = SPIRAL.distance(x).double()
    shares = diagnostics.class_shares(x, POINTS, LABELS)
    near = [(off <= r).double().mean() for r in (0.02, 0.03, 0.05)]
    spread = torch.tensor(diagnostics.spread(x, COVARIANCE), dtype=torch.float64)
    return torch.stack([*near, off.median(), spread, *shares])


@dataclass(frozen=True, eq=False)
class TableRow:
    """A row of the table, which is of one cloud of 2130, and three clouds of ours."""

    said: tuple[float, ...]
    clouds: list[Tensor]

    @property
    def deviation(self) -> float:
        """The largest difference from the row, in standard errors of that difference.

        The error is that of the means of `GROUPS` parts of our clouds; half a unit in the last
        printed place is subtracted first.
        """
        found = torch.stack([columns(x) for x in self.clouds]).mean(0)
        parts = torch.stack([columns(x) for x in torch.cat(self.clouds).chunk(GROUPS)])
        error = parts.std(0) * math.sqrt((1 + len(self.clouds)) / GROUPS)
        off = (found - torch.tensor(self.said, dtype=torch.float64)).abs()
        # A share that is the same in all parts is still uncertain by one particle.
        one = 1 / sum(len(x) for x in self.clouds)
        return float(((off - ROUNDED) / error.clamp_min(one)).clamp_min(0).max())

    @property
    def covered(self) -> float:
        """The mean number of data points that are nearest to some particle."""
        return sum(100 * diagnostics.coverage(x, POINTS) for x in self.clouds) / len(self.clouds)

    def agrees(self, name: str) -> Check:
        """A check that our clouds have the row's numbers."""
        return Check(
            f"{name}: largest deviation from N3 (standard errors)",
            self.deviation,
            at_most(4.0),
            "docs/sources.md, N3",
        )

    def covers(self, name: str) -> Check:
        """A check that every data point is nearest to some particle of each cloud."""
        return Check(
            f"{name}: data points covered, of 100", self.covered, about(100.0, 0.0), "all of them"
        )


def three_clouds(lab: Lab, sde: SDE, said: tuple[float, ...], levels: int = 64) -> TableRow:
    """Three clouds as in the lecture, with the row to compare."""
    return TableRow(said, [chain(sde, levels=levels, seed=lab.seed + i).x[-1] for i in range(3)])


def clouds(fig: plot.Figure, shown: dict[str, Tensor], half: float = 1.25) -> None:
    """Draw clouds side by side over the data points."""
    for ax, (title, x) in zip(fig.subplots(1, len(shown)).flat, shown.items(), strict=True):
        plot.cloud(ax, POINTS, plot.GREY, 5)
        plot.cloud(ax, x, plot.VERMILION, 2)
        plot.frame(ax, half, title)
