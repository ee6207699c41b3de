"""Draw samples beside data of other than two coordinates: pairs of columns, or each column.

one column         histograms, of each class if there are classes
up to four         every pair of columns, data above samples
more               histograms of the twelve columns whose samples differ most from the data
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from sdeflow import plot
from sdeflow.experiment.pictures import draw_report
from sdeflow.experiment.problem import Problem
from sdeflow.experiment.sample_tests import SampleTests
from sdeflow.training.loss import LossReport

PAIRED = 4  # most columns of which every pair is drawn
MOST_COLUMNS = 12
DOTS = 1500  # most dots of a panel
TAIL = 0.001  # share of the particles beyond each edge of a histogram
INKS = (plot.BLUE, plot.VERMILION, plot.GREEN, plot.PURPLE, plot.ORANGE, plot.SKY)


@dataclass(frozen=True, eq=False)
class Columns:
    """Samples and data in the units of the data.

    Attributes:
        samples, data: (n, d) and (m, d).
        axes: (d,) the names of the columns.
        labels: of samples and data, (n,) and (m,), or None.
        classes: the names of the labels.
    """

    samples: Tensor
    data: Tensor
    axes: tuple[str, ...]
    labels: tuple[Tensor, Tensor] | None = None
    classes: tuple[str, ...] = ()

    def parts(self) -> list[tuple[str, str, Tensor, Tensor]]:
        """Name, colour, samples and data of each class; of all of them without classes."""
        if self.labels is None or len(self.classes) > len(INKS):
            return [("", plot.BLUE, self.samples, self.data)]
        mine, own = self.labels
        return [
            (name, INKS[k], self.samples[mine == k], self.data[own == k])
            for k, name in enumerate(self.classes)
        ]


def demo_figure(
    shown: Columns, report: Mapping, losses: LossReport | None, level: Tensor | None, path: Path
) -> None:
    """Write the figure of a demo: the columns, the loss and the distances."""
    height = _height(len(shown.axes))
    with plot.figure(7.0, height + 2.0) as fig:
        top, bottom = cast(Any, fig.subfigures(2, 1, height_ratios=[height, 2.0]))
        _draw(top, shown)
        panels = bottom.subplots(1, 2, width_ratios=[1, 1.2])
        draw_report(panels, report, losses, level)
        plot.write(fig, path, report["made"])


def check_figure(
    found: SampleTests, problem: Problem, path: Path, made: Mapping[str, object]
) -> None:
    """Write the figure of a check: the columns of samples and held-out data."""
    axes, classes = problem.data.axes, problem.classes
    shown = Columns(found.samples, found.data, axes, found.labels, classes)
    with plot.figure(7.0, _height(len(axes))) as fig:
        _draw(fig, shown)
        plot.write(fig, path, made)


def _height(d: int) -> float:
    """The height (inches) of the panels of d columns."""
    if d == 1:
        return 2.2
    if d <= PAIRED:
        return 0.4 + 2 * min(2.1, 7.0 / math.comb(d, 2))
    return 0.4 + 1.3 * math.ceil(min(d, MOST_COLUMNS) / 4)


def _draw(fig: Any, shown: Columns) -> None:
    d = len(shown.axes)
    if 1 < d <= PAIRED:
        return _draw_pairs(fig, shown)
    which = list(range(d))
    if d > MOST_COLUMNS:
        clouds = zip(shown.samples.T.numpy(), shown.data.T.numpy(), strict=True)
        away = [float(stats.ks_2samp(x, y).statistic) for x, y in clouds]
        which = sorted(which, key=lambda k: -away[k])[:MOST_COLUMNS]
        fig.suptitle(f"the {MOST_COLUMNS} of {d} columns whose samples differ most from the data")
    across = min(len(which), 4)
    panels = fig.subplots(math.ceil(len(which) / across), across, squeeze=False).flatten()
    for ax, k in zip(panels, which, strict=False):
        _draw_column(ax, shown, k)
    for ax in panels[len(which) :]:
        ax.set_axis_off()
    if len(which) == 1:
        panels[0].legend(loc="best")
    else:
        fig.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)


def _draw_column(ax: Any, shown: Columns, k: int) -> None:
    """Histograms of one column: data filled, samples as a line; classes add up to the whole."""
    one = len(shown.axes) == 1
    both = torch.cat([shown.samples[:, k], shown.data[:, k]]).double().numpy()
    low, high = np.quantile(both, (TAIL, 1 - TAIL))
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    count = round((4 if one else 2) * len(shown.data) ** (1 / 3))
    bins = np.linspace(low, high, min(80, max(12, count)) + 1)
    parts = shown.parts() if one else [("", plot.BLUE, shown.samples, shown.data)]
    for name, ink, samples, data in parts:
        fill = plot.GREY if not name else ink
        filled = {"color": fill, "fill": True, "alpha": 0.3, "label": f"data {name}"}
        for x, whole, style in (
            (data, shown.data, filled),
            (samples, shown.samples, {"color": ink, "label": f"samples {name}"}),
        ):
            count, _ = np.histogram(x[:, k].double().numpy(), bins)
            ax.stairs(count / (len(whole) * np.diff(bins)), bins, **style)
    ax.set(xlabel=shown.axes[k], yticks=[] if not one else ax.get_yticks())
    ax.set_ylim(bottom=0)
    if one:
        ax.set_ylabel("density")


def _draw_pairs(fig: Any, shown: Columns) -> None:
    """Every pair of columns, in windows that hold the data and nearly all samples."""
    pairs = list(combinations(range(len(shown.axes)), 2))
    rows = fig.subplots(2, len(pairs), squeeze=False)
    own, mine = (x.double().numpy() for x in (shown.data, shown.samples))
    low = np.minimum(own.min(0), np.quantile(mine, TAIL, axis=0))
    high = np.maximum(own.max(0), np.quantile(mine, 1 - TAIL, axis=0))
    room = 0.05 * (high - low)
    for ax, (i, j) in zip(rows.T, pairs, strict=True):
        for name, ink, samples, data in shown.parts():
            for panel, x, n in ((ax[0], data, shown.data), (ax[1], samples, shown.samples)):
                some = x[: max(1, DOTS * len(x) // len(n))]
                plot.cloud(panel, some[:, [i, j]], ink, 1.5, name or None)
        for panel in ax:
            panel.set_aspect("auto")
            panel.set(xlim=(low[i] - room[i], high[i] + room[i]))
            panel.set(ylim=(low[j] - room[j], high[j] + room[j]))
            panel.set_ylabel(shown.axes[j])
        ax[1].set_xlabel(shown.axes[i])
        ax[0].set_xticklabels([])
        ax[0].set_title("data")
        ax[1].set_title("samples")
    if len(shown.parts()) > 1:
        rows[0, 0].legend(loc="best", markerscale=3, handletextpad=0.1)
