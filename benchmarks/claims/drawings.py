"""Draw the figures that several claims share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from torch import Tensor

from benchmarks.claims.setting import COVARIANCE, POINTS
from sdeflow import analysis, plot


def walk(fig: plot.Figure, walk: Tensor) -> None:
    """Draw one particle's path (2 K + 1, 2): model steps blue, noise steps grey."""
    ax = fig.subplots()
    plot.cloud(ax, POINTS, plot.ORANGE, 5, label="data")
    for first, colour, label in ((1, plot.GREY, "noise"), (0, plot.BLUE, "model")):
        for k in range(first, len(walk) - 1, 2):
            x, y = walk[k : k + 2].T.tolist()
            ax.plot(x, y, color=colour, lw=1, label=label if k < 2 else None)
    for name, mark, place in (("start", "o", walk[0]), ("end", "s", walk[-1])):
        x, y = place.tolist()
        ax.plot(x, y, mark, color=plot.BLACK, ms=4)
        ax.annotate(name, (x, y), xytext=(6, 3), textcoords="offset points")
    ax.set(xlabel="x", ylabel="y")
    ax.legend(loc="lower left")


def pictures(
    fig: plot.Figure,
    shown: dict[str, Tensor],
    many: int = 7,
    under: dict[str, Sequence[str]] | None = None,
    span: tuple[float, float] = (-1.2, 1.2),
) -> None:
    """Draw a row of square pictures (n, side^2) for each name, black to white over `span`.

    Args:
        many: pictures in a row.
        under: for a row by name, the words under each picture.
    """
    for row, (name, x) in zip(
        fig.subplots(len(shown), many, squeeze=False), shown.items(), strict=True
    ):
        words = ([] if under is None else list(under.get(name, ())))[: len(x)]
        for ax, picture, word in zip_longest(row, x[:many], words[:many], fillvalue=""):
            side = round(len(picture) ** 0.5)
            ax.imshow(picture.reshape(side, side).numpy(), cmap="gray", vmin=span[0], vmax=span[1])
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.set_xlabel(word, fontsize=6, labelpad=2)
        row[0].set_ylabel(name.strip(), rotation=0, ha="right", va="center", fontsize=7)


def phase_change(
    fig: plot.Figure, turned: analysis.Curve, middle: analysis.Curve, near: analysis.Curve
) -> None:
    """Draw the turning rate and the two alignments against sigma."""
    top, bottom = fig.subplots(2, 1, sharex=True)
    top.plot(turned.rho, turned.value, color=plot.BLUE)
    top.set_ylabel("turning rate\n(rad / unit of t)")
    bottom.plot(middle.rho, middle.value, color=plot.VERMILION, label="to the mean")
    bottom.plot(near.rho, near.value, color=plot.GREEN, ls="--", label="to the nearest point")
    bottom.set(xscale="log", xlabel=r"noise level $\sigma$ (data units)", ylabel="mean cosine")
    bottom.legend(loc="center right")
    for ax in (top, bottom):
        ax.axvspan(0.133, 0.161, color=plot.GREY, alpha=0.3, lw=0)
        ax.axvline(analysis.speciation(COVARIANCE).rho, color=plot.GREY, lw=0.8, ls=":")
    top.annotate("arms", (0.17, top.get_ylim()[1] * 0.85))
    top.annotate("speciation", (0.52, top.get_ylim()[1] * 0.85))


def distance_by_steps(
    fig: plot.Figure,
    few: dict[int, float],
    noisy: dict[int, float],
    sampling_floor: tuple[float, float],
) -> None:
    """Draw W2 against the number of steps, and the band of two samples of the data."""
    ax = fig.subplots()
    low, high = (
        sampling_floor[0] - 2 * sampling_floor[1],
        sampling_floor[0] + 2 * sampling_floor[1],
    )
    ax.axhspan(low, high, color=plot.GREY, alpha=0.35, lw=0, label="two samples of the data")
    for values, name, colour, mark in (
        (noisy, "DDPM", plot.VERMILION, "s"),
        (few, "DDIM", plot.BLUE, "o"),
    ):
        ax.plot(list(values), list(values.values()), f"{mark}-", color=colour, ms=4, label=name)
    ax.set(xscale="log", xticks=list(few), xticklabels=[str(k) for k in few], ylim=(0, None))
    ax.minorticks_off()
    ax.set(xlabel="steps", ylabel="$W_2$ to the data (data units)")
    ax.legend(loc="lower left")
