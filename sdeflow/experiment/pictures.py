"""Draw the figures of a demo and of a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from sdeflow import plot
from sdeflow.density import Density
from sdeflow.diagnostics.error_budget import ErrorBudget
from sdeflow.diagnostics.verdict import Verdict
from sdeflow.distributions.dataset import Dataset
from sdeflow.distributions.points import PointSet
from sdeflow.fields.field import Field
from sdeflow.plot.verdicts import p_value_label
from sdeflow.solvers.path import Path as ParticlePath
from sdeflow.training.loss import LossReport

MOST = 200
"""Most pictures of a sheet."""


@dataclass(frozen=True, eq=False)
class Snapshots:
    """The clouds of a demo's figure, in units of the data's standard deviation.

    Attributes:
        field: the learned field.
        path: particles of the reverse SDE at a few times.
        flow: (n, 2) the end of the probability-flow ODE.
        data: (n, 2) a sample of the data.
        columns: the data set, if its columns have names: then the ends of the path and of the
            flow are drawn in its own units.
    """

    field: Field
    path: ParticlePath
    flow: Tensor
    data: Tensor
    columns: Dataset | None = None


# -------------------------------------------------------------------------------------- the demo


def demo_figure(shown: Snapshots, report: dict, losses: LossReport | None, path: Path) -> None:
    """Write the figure of a demo: the cloud over time; its ends, the loss and the distances."""
    with plot.figure(7.0, 3.7) as fig:
        top, bottom = cast(Any, fig.subfigures(2, 1, height_ratios=[1.0, 1.15]))
        _draw_path(top, shown)
        panels = bottom.subplots(1, 4, width_ratios=[1, 1, 1.3, 1.3])
        _draw_ends(panels[:2], shown)
        level = None if losses is None else shown.field.process.noise_level(losses.t)
        flow, sde = plot.VERMILION, plot.BLUE
        draw_report(panels[2:], report, losses, level, [flow, sde, sde, sde, flow, flow])
        plot.write(fig, path, report["made"])


def draw_report(
    panels: Any, report: Mapping, losses: LossReport | None, level: Tensor | None,
    inks: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Draw the loss at each noise level, if it is known, and the distance of each sampler."""
    if losses is None or level is None:
        panels[0].set_axis_off()
    else:
        plot.loss_levels(panels[0], losses, level)
    plot.distances(
        panels[1],
        [row["sampler"].split(",")[0] for row in report["rows"]],
        [row["learned"] for row in report["rows"]],
        (report["sampling_floor"], report["sampling_floor_sd"]),
        f"$W_2$ to {report['particles']} data (std)",
        inks,
    )


def _draw_path(fig: Any, shown: Snapshots) -> None:
    fig.suptitle("reverse SDE; colour: final distance of the particle from the centre", size=8)
    path, process = shown.path, shown.field.process
    colour = path.x[-1].norm(dim=1)
    for ax, t, x in zip(fig.subplots(1, len(path.t)), path.t, path.x, strict=True):
        # Data are centred: a square around the origin holds them. Noise has outliers.
        ends = t == path.t[-1]
        half = _half(x, shown.data) if ends else max(2.4, 2.6 * float(x.std()))
        if not ends:
            plot.arrows(ax, shown.field, float(t), half)
        plot.cloud(ax, x, colour, 0.9)
        plot.frame(ax, half, rf"$\sigma/\alpha$ = {float(process.noise_level(t)):.2g}")
        ax.set_xlabel(rf"window $\pm${half:.2g} (data std)", size=7)


def _half(*clouds: Tensor) -> float:
    """Half the side of the square around the origin that holds every particle."""
    return 1.05 * max(float(x.abs().max()) for x in clouds)


def _draw_ends(panels: Any, shown: Snapshots) -> None:
    """The ends of the path and of the flow over the data."""
    named, half = shown.columns, _half(shown.data, shown.path.x[-1], shown.flow)
    for ax, x, ink, name in (
        (panels[0], shown.path.x[-1], plot.BLUE, "reverse SDE"),
        (panels[1], shown.flow, plot.VERMILION, "probability flow"),
    ):
        for points, colour, size in ((shown.data, plot.GREY, 5.0), (x, ink, 0.6)):
            plot.cloud(ax, points if named is None else named.restore(points), colour, size)
        if named is None:
            plot.frame(ax, half, name)
            ax.set_xlabel(rf"grey: data; window $\pm${half:.2g}", size=7)
        else:
            ax.set_aspect("auto")
            ax.set(title=name, xlabel=named.axes[0], ylabel=named.axes[1])


def sheet(x: Tensor, data: Dataset, path: Path, made: Mapping[str, object]) -> None:
    """Write a sheet of at most 200 pictures x (n, d), ten in a row, or twenty if they are many."""
    x = x[:MOST]
    columns = 10 if len(x) <= 100 else 20
    assert data.shape is not None
    rows, (_, height, width) = -(-len(x) // columns), data.shape
    with plot.figure(4.0, max(0.6, 4.0 * rows * height / (columns * width))) as fig:
        _draw_pictures(fig.subplots(), x, data, columns)
        plot.write(fig, path, made)


def sheets(
    rows: Mapping[str, Tensor], data: Dataset, path: Path, made: Mapping[str, object]
) -> None:
    """Write a row of pictures (n, d) for each name."""
    with plot.figure(7.0, 0.62 * len(rows)) as fig:
        for ax, (name, x) in zip(fig.subplots(len(rows), 1), rows.items(), strict=True):
            _draw_pictures(ax, x, data, len(x))
            ax.set_title(name, loc="left", size=7, pad=2)
        plot.write(fig, path, made)


def _draw_pictures(ax: Any, x: Tensor, data: Dataset, columns: int) -> None:
    """Pictures in which black and white are the smallest and the largest value of the data."""
    assert data.shape is not None
    assert isinstance(data.distribution, PointSet)
    points = data.distribution.points
    low, high = float(points.min()), float(points.max())
    plot.pictures(ax, x, data.shape, columns, low=low, high=high)


# -------------------------------------------------------------------------------------- the check


def check_figure(
    density: Density, verdict: Verdict, budget: ErrorBudget | None, path: Path,
    made: Mapping[str, object], name: str = "x",
) -> None:  # fmt: skip
    """Write the figure of a check: the density, residuals of clouds, and the causes of error."""
    with plot.figure(7.0, 2.1) as fig:
        widths = [1.0, 1.0, 1.0, 1.15] if budget else [1.0, 1.0]
        panels = fig.subplots(1, len(widths), width_ratios=widths)
        exact = None if budget is None else budget.densities["exact"]
        box = plot.window(density) if exact is None else plot.window(density, exact)
        plot.density(panels[0], density, box, unit="data std")
        panels[0].set_title("density, learned field")
        if density.grid.dim == 1:
            panels[0].set_xlabel(f"{name} (data std)")
        else:
            darkest = f"darkest: {plot.peak(density):.2g} / std$^2$"
            panels[0].set_xlabel(f"{panels[0].get_xlabel()},\n{darkest}")
        maps: list[Any] = [plot.residual(panels[1], verdict, density, where=box)]
        _name(panels[1], "SDE cloud", "this density", verdict)
        if budget is not None and exact is not None:
            maps.append(plot.residual(panels[2], budget.total, exact, where=box))
            _name(panels[2], "DDPM cloud", "the exact density", budget.total)
            plot.error_budget(panels[3], budget)
        if density.grid.dim == 2:
            plot.colour_bar(panels[1 : 1 + len(maps)], maps[0])
        plot.write(fig, path, made)


def _name(ax: Any, cloud: str, density: str, verdict: Verdict) -> None:
    """Write below a panel what was compared, and the p-value."""
    ax.set_title(f"{cloud}, residual")
    ax.set_xlabel(f"from {density},\n{p_value_label(verdict.p_value)}")
