"""Measure clouds of the classes over the scale of guidance, of networks and exact fields."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.claims.claim import Lab
from benchmarks.claims.class_networks import lecture_networks
from benchmarks.claims.guided_classes import (
    CLASSES,
    COLOURS,
    MEASURES,
    NAMES,
    class_clouds,
    judged,
)
from benchmarks.claims.seed_intervals import mean_and_interval
from benchmarks.claims.setting import exact
from sdeflow import plot

SCALES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)  # w - 1


def swept(lab: Lab, push: float) -> tuple[list[float], Tensor, Tensor]:
    """Sample at the scales 1 + push * `SCALES`, and take the `MEASURES` of each cloud.

    Returns:
        The scales; the measures of the networks (networks, scales, classes, measures); those of
        the exact fields (scales, classes, measures).
    """
    scales = [1 + push * s for s in SCALES]
    found = torch.stack(
        [
            torch.stack([judged(class_clouds(one, w, lab.seed)) for w in scales])
            for one in lecture_networks(lab)
        ]
    )
    ideal = torch.stack([judged(class_clouds(exact(), w, lab.seed)) for w in scales])
    return scales, found, ideal


def draw_sweep(
    fig: plot.Figure,
    scales: Sequence[float],
    found: Tensor,
    ideal: Tensor,
    sampling_floor: Sequence[float],
) -> None:
    """Draw W2, accuracy and coverage over the scale.

    Means of the networks with intervals, the exact fields dashed, the W2 of fresh data dotted.
    """
    mean, half = mean_and_interval(found)
    for ax, j in zip(fig.subplots(3, 1, sharex=True), (2, 0, 3), strict=True):
        for k in CLASSES:
            ax.plot(scales, mean[:, k, j], color=COLOURS[k], label=NAMES[k])
            band = torch.stack([mean[:, k, j] - half[:, k, j], mean[:, k, j] + half[:, k, j]])
            low, high = band.clamp(0.02, None) if j == 2 else band.clamp(0, 1)
            ax.fill_between(scales, low, high, color=COLOURS[k], alpha=0.25, lw=0)
            ax.plot(scales, ideal[:, k, j], "--", color=COLOURS[k])
            if j == 2:
                ax.axhline(sampling_floor[k], ls=":", color=COLOURS[k])
        ax.set(xscale="log", yscale="log" if j == 2 else "linear")
        ax.set_ylabel("$W_2$ (data units)" if j == 2 else MEASURES[j])
    ax.plot([], [], "--", color=plot.GREY, label="exact")
    ax.plot([], [], ":", color=plot.GREY, label="fresh data")
    ax.set(xlabel="scale $w$ (1: no guidance)", xticks=[1, 2, 5, 10], xticklabels=[1, 2, 5, 10])
    ax.minorticks_off()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
