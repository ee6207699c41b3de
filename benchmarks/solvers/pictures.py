"""Draw the comparison: error against calls of the field, a panel for each problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.solvers.rows import Row
from sdeflow import plot

LIMITS = 2e-5, 3.0
"""Smallest error that is drawn; smaller ones count as zero."""

SHOWN = (
    "multistep, calibrated", "multistep, default", "UniPC 2", "DPM++ 2M", "Heun (EDM)", "DDIM",
)  # fmt: skip
"""The solvers in the picture, each on its own time grid."""


def work_precision(
    rows: list[Row], problems: Sequence[str], mine: Sequence[str], file: Path
) -> None:
    """Draw the medians and quartiles over seeds; the truth's own error is far below."""
    across = min(4, len(problems) + 1)
    down = math.ceil((len(problems) + 1) / across)  # one cell for the legend
    names = [*mine, *SHOWN]
    with plot.figure(1.75 * across, 1.6 * down + 0.6) as fig:
        axes = fig.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        for ax, name in zip(axes.flat, problems, strict=False):
            curves, floor = curves_of(rows, name, mine)
            plot.work_precision(ax, curves, floor, "", "", names, legend=False)
            ax.set_title(name)
        for ax in axes.flat[len(problems) :]:
            ax.set_axis_off()
        for ax in axes.flat[max(0, len(problems) - across) : len(problems)]:
            ax.tick_params(labelbottom=True)
        axes[0, 0].set_ylim(*LIMITS)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        kept = len(labels) - 1  # without the line of the truth's error
        axes.flat[-1].legend(handles[:kept], labels[:kept], loc="center")
        fig.supxlabel("calls of the field per particle")
        fig.supylabel("error at the end (data std)")
        plot.write(fig, file)


def curves_of(
    rows: list[Row], problem: str, mine: Sequence[str]
) -> tuple[dict[str, tuple[list[float], list[list[float]]]], float]:
    """name -> (calls (K,), errors (K, seeds)), and the largest error of the truth."""
    here = [row for row in rows if row["problem"] == problem]
    own = {str(row["solver"]): row["grid"] for row in reversed(here)}
    curves: dict[str, tuple[list[float], list[list[float]]]] = {}
    seeds = max(len(row["errors"]) for row in here)  # type: ignore[arg-type]
    for name in (*mine, *SHOWN):
        found = [r for r in here if (r["solver"], r["grid"]) == (name, own.get(name))]
        if found:
            errors = [r["errors"] or [math.nan] * seeds for r in found]
            curves[name] = [float(str(r["calls"])) for r in found], errors  # type: ignore[assignment]
    floor = max((float(str(r["truth error"])) for r in here if r["errors"]), default=1e-16)
    return curves, max(floor, 1e-16)
