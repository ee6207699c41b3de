"""Draw what training and the diagnostics report: losses, distances, residuals, error budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from torch import Tensor

from sdeflow._validation import check_kind, check_numbers, check_positive
from sdeflow.density import Density
from sdeflow.diagnostics.error_budget import ErrorBudget
from sdeflow.diagnostics.verdict import Verdict, format_p_value
from sdeflow.plot.densities import colour_map, steps
from sdeflow.plot.panels import SHOWN, Where
from sdeflow.plot.style import BLACK, BLUE, GREY, PURPLE, check_axes, check_colour
from sdeflow.training.loss import LossReport

LEAST_P = 1e-16
"""Smallest p-value that is written as a number in a figure."""


def loss_levels(ax: Axes, report: LossReport, noise_level: Tensor) -> list[Line2D]:
    """Draw the noise loss, its irreducible part and its excess at each noise level, both axes log.

    Args:
        ax: the axes.
        report: the result of `loss_decomposition`.
        noise_level: (L,) the levels sigma / alpha of the report, in units of the data's std.
    """
    check_axes(ax)
    check_kind(report, LossReport, "report", "loss_decomposition gives one")
    at = check_numbers(noise_level, "noise_level", report.excess.shape).numpy()
    lines = ax.plot(at, report.irreducible, color=BLACK, ls="--", label="irreducible: exact field")
    lines += ax.plot(at, report.loss, color=BLACK, label="loss: learned field")
    lines += ax.plot(at, report.excess, color=PURPLE, label="excess: the difference")
    ax.set(xscale="log", yscale="log", xlabel=r"noise level $\sigma/\alpha$ (data std)")
    ax.set_ylabel(r"$E|\hat\epsilon-\epsilon|^2$ per coordinate")
    # The legend stands below the curves, at small noise levels; of points the first falls there.
    ax.set_ylim(bottom=max(1e-9, float(report.excess.min()) / 3000))
    ax.legend(loc="lower left", frameon=True, framealpha=0.85, edgecolor="none")
    return lines


def distances(
    ax: Axes, names: Sequence[str], values: Sequence[float], sampling_floor: tuple[float, float],
    unit: str, colours: Sequence[str] | None = None,
) -> BarContainer:  # fmt: skip
    """Draw distances as bars, and their sampling floor as a band.

    Args:
        ax: the axes.
        names: a name for each bar.
        values: the distances, in `unit`.
        sampling_floor: mean and standard deviation (sd) of the distance between two samples of
            the data; the band is mean +- 2 sd.
        unit: label of the axis.
        colours: a colour for each bar.
    """
    check_axes(ax)
    check_kind(names, Sequence, "names", "a list")
    inks = [BLUE] * len(names) if colours is None else colours
    if not isinstance(inks, list | tuple) or len(inks) != len(names):
        raise TypeError(f"colours must be a list of {len(names)}, one for each name")
    tints = [check_colour(ink, "each of colours") for ink in inks]
    places = np.arange(len(names))
    values = check_numbers(values, "values", (len(names),)).tolist()
    mean, sd = check_numbers(sampling_floor, "sampling_floor", (2,)).tolist()
    band: dict[str, Any] = {"color": GREY, "alpha": 0.35, "lw": 0, "zorder": 0}
    ax.axvspan(max(mean - 2 * sd, 0.0), mean + 2 * sd, label="two samples of the data", **band)
    bars = ax.barh(places, values, height=0.6, color=tints, zorder=2)
    ax.set(yticks=places, yticklabels=list(names), xlabel=unit)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), handlelength=1.0, borderaxespad=0.0)
    return bars


def residual(
    ax: Axes, verdict: Verdict, p: Density, limit: float = 5.0, where: Where | None = None,
    unit: str = "data unit",
) -> AxesImage | StepPatch:  # fmt: skip
    """Draw the residual (count - expected) / sd of each bin, where p has mass.

    Under the density p, a residual has mean 0 and standard deviation 1.

    Args:
        ax: the axes.
        verdict: the result of `check_density` for a cloud and p.
        p: the density that the cloud was compared with.
        limit: the residual (sd) at which the colours end.
        where: the window, by default the one that holds the mass of p.
        unit: the unit of length.

    Raises:
        TypeError, ValueError: verdict is no `Verdict`, p no `Density`, or their grids differ.
    """
    check_axes(ax)
    limit = check_positive(limit, "limit")
    check_kind(p, Density, "p", "evolve and on_grid give one")
    check_kind(verdict, Verdict, "verdict", "check_density gives one")
    check_kind(unit, str, "unit")
    if not verdict.grid.same(p.grid):
        raise ValueError(
            f"the verdict is on {verdict.grid}, but the density on {p.grid}; use the same grid"
        )
    sizes = p.mass.flatten().sort().values
    rare = sizes[torch.searchsorted(sizes.cumsum(0), (1 - SHOWN) * p.total())]
    values = torch.where(p.mass >= rare, verdict.residual, torch.nan)
    if p.grid.dim == 1:
        artist = steps(ax, values, p, "residual (sd)", where, BLUE)
        ax.set_xlabel(f"$x$ ({unit})")
        return artist
    image = colour_map(ax, values, p, "PuOr", (-limit, limit), where, unit)
    image.set_label("_residual (sd)")
    return image


def p_value_label(p_value: float) -> str:
    """Write a p-value for a figure: "p > 0.5", "p = 0.02", "p = 3 x 10^-5" or "p < 10^-16".

    Below 1e-16 the approximate distribution of a statistic says nothing about its value.
    """
    if p_value >= 1e-3:
        return f"${format_p_value(p_value)}$"
    if p_value < LEAST_P:
        return f"$p < {_power(LEAST_P)}$"
    return f"$p = {_power(p_value)}$"


def _power(value: float) -> str:
    """Write a number in mathtext as two digits times a power of ten."""
    digits, exponent = f"{value:.1e}".split("e")
    factor = "" if digits == "1.0" else f"{float(digits):g} \\times "
    return f"{factor}10^{{{int(exponent)}}}"


def error_budget(ax: Axes, found: ErrorBudget) -> ErrorbarContainer:
    """Draw the total variation of each source of error with its interval, on a log axis.

    A grey band covers what a cloud of this size cannot detect. A value below the axis is an arrow
    with an upper bound beside it.

    Args:
        ax: the axes.
        found: the result of `error_budget`.
    """
    check_axes(ax)
    check_kind(found, ErrorBudget, "found", "error_budget gives one")
    least = found.detectable / 300
    names = [source.name for source in found.sources]
    at = np.arange(len(names))
    value, low, high = np.array([(s.value, s.low, s.high) for s in found.sources]).T
    ax.axvspan(least, found.detectable, color=GREY, alpha=0.3, lw=0, zorder=0)
    ax.hlines(at, low.clip(least), high.clip(least), color=BLUE, lw=3, alpha=0.35)
    inside = value > least
    points = ax.errorbar(value[inside], at[inside], fmt="o", color=BLUE, ms=4)
    for k in at[~inside]:
        ax.plot(least, k, "<", color=BLUE, ms=4, clip_on=False)
        ax.annotate(f"$< {_power(least)}$", (least, k), (6, 2), textcoords="offset points")
    ax.set(xscale="log", yticks=at, yticklabels=names, xlabel="total variation")
    ax.set(xlim=(least, max(1.0, 1.3 * high.max())), ylim=(len(names) - 0.5, -0.5))
    ax.set_title(f"grey: undetected, n = {found.total.n:,}")
    return points
