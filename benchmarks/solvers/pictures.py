"""Draw the comparison: error against calls of the field, a panel for each problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.solvers.rows import Row
from sdeflow import plot

SHOWN = {
    "multistep, calibrated": "multistep, calibrated",
    "multistep, default": "multistep",
    "UniPC 2": "UniPC (diffusers)",
    "DPM++ 2M": "DPM-Solver++ 2M",
    "Heun (EDM)": "Heun (EDM)",
    "DDIM": "DDIM",
}
"""The solvers of the picture, each on its own time grid."""


def work_precision(
    rows: list[Row], problems: Sequence[str], mine: Sequence[str], file: Path
) -> None:
    """Median and quartiles over the seeds, and the least error of all peers on any time grid."""
    across = min(3, len(problems))
    down = math.ceil(len(problems) / across)
    with plot.figure(2.3 * across, 2.0 * down + 0.5) as fig:
        axes = fig.subplots(down, across, squeeze=False, sharex=True)
        for ax, name in zip(axes.flat, problems, strict=False):
            curves, floor = curves_of(rows, name, mine)
            plot.work_precision(ax, curves, floor)
            ax.set_title(name)
            ax.get_legend().remove()
            ax.set(xlabel="", ylabel="")
        for ax in axes.flat[len(problems) :]:
            ax.set_axis_off()
        handles, labels = axes.flat[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
        fig.supxlabel("calls of the field per particle", size="medium")
        fig.supylabel("error at the end of the flow (data std)", size="medium")
        plot.write(fig, file)


def curves_of(
    rows: list[Row], problem: str, mine: Sequence[str]
) -> tuple[dict[str, tuple[list[float], list[list[float]]]], float]:
    """name -> (calls (K,), errors (K, seeds)), and the largest error of the truth."""
    here = [row for row in rows if row["problem"] == problem]
    own = {str(row["solver"]): row["grid"] for row in reversed(here)}
    names = {**{name: name for name in mine}, **SHOWN}
    curves: dict[str, tuple[list[float], list[list[float]]]] = {}
    seeds = max(len(row["errors"]) for row in here)  # type: ignore[arg-type]
    for name, label in names.items():
        found = [r for r in here if (r["solver"], r["grid"]) == (name, own.get(name))]
        if found:
            errors = [r["errors"] or [math.nan] * seeds for r in found]
            curves[label] = [float(str(r["calls"])) for r in found], errors  # type: ignore[assignment]
    floor = max((float(str(r["truth error"])) for r in here if r["errors"]), default=1e-16)
    return curves, max(floor, 1e-16)
