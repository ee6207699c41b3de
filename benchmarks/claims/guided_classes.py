"""Sample each class of the spiral with guidance, and take four measures of each cloud.

The scale is the w of `GuidedField`, eps_u + w (eps_c - eps_u); w = 1 is no guidance. The lectures'
pictures call it alpha, and their notebook uses s = w - 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.setting import CAT, DOG, LABELS, PERSON, POINTS, SPIRAL, WIDE, chain
from sdeflow import diagnostics, plot
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.learned import LearnedField
from sdeflow.sdes.generative import ancestral

CLASSES = (PERSON, DOG, CAT)
NAMES = ("person", "dog", "cat")
COLOURS = (plot.SKY, plot.PURPLE, plot.ORANGE)
NONE = 3  # the label for "no class"
EACH = 480  # particles asked for each class, a multiple of its points
MEASURES = ("accuracy", "distance to the curve", "W2", "coverage")

Label = Callable[[int], int]
Known = ExactField | LearnedField


def same_class(label: int) -> int:
    """The class itself."""
    return label


def next_class(label: int) -> int:
    """Another class than the one asked for: a mistake."""
    return (label + 1) % len(CLASSES)


def ends(field: Field, n: int, seed: int) -> Tensor:
    """The ends (n, 2) of n particles by DDIM over 64 levels."""
    return chain(ancestral(field, 0.0), n, seed=seed).x[-1]


def class_clouds(known: Known, scale: float, seed: int, told: Label = same_class) -> Tensor:
    """`EACH` particles asked for each class, (3, EACH, 2)."""
    null = known.given(NONE) if isinstance(known, LearnedField) else known
    return torch.stack(
        [ends(GuidedField(known.given(told(k)), null, scale), EACH, seed) for k in CLASSES]
    )


def even_sample(label: int, n: int) -> Tensor:
    """n particles (n, 2) spread evenly over the points of a class; n is a multiple of theirs."""
    mine = POINTS[label == LABELS]
    return mine.repeat(n // len(mine), 1).double()


def fresh_distance(label: int, n: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation of W2 from n fresh data of a class to `even_sample`.

    The data have the noise that samples keep.
    """
    mine = GaussianMixture.isotropic(POINTS[label == LABELS].double(), WIDE.sigma_min)
    target = even_sample(label, n)
    far = torch.tensor(
        [diagnostics.wasserstein(mine.sample(n, seed + i), target) for i in range(8)]
    )
    return float(far.mean()), float(far.std())


def judged(clouds: Tensor) -> Tensor:
    """The `MEASURES` of the cloud of each class, (3, 4); the distance is the median."""
    rows = []
    for k, x in enumerate(clouds):
        mine = POINTS[k == LABELS]
        right = diagnostics.class_shares(x, POINTS, LABELS)[k]
        far = diagnostics.wasserstein(x, even_sample(k, EACH))
        rows.append([right, SPIRAL.distance(x).median(), far, diagnostics.coverage(x, mine)])
    return torch.tensor(rows, dtype=torch.float64)


def confusion(clouds: Tensor) -> Tensor:
    """The shares of the samples of a class (row) that land in each class (column), (3, 3)."""
    return torch.stack([diagnostics.class_shares(x, POINTS, LABELS) for x in clouds])


def draw_classes(fig: plot.Figure, shown: dict[str, Tensor], rows: int = 1) -> None:
    """Draw the clouds of the three classes side by side."""
    for ax, (title, clouds) in zip(
        fig.subplots(rows, len(shown) // rows).flat, shown.items(), strict=True
    ):
        plot.cloud(ax, POINTS, plot.GREY, 3)
        for k in CLASSES:
            plot.cloud(ax, clouds[k][:100], COLOURS[k], 3, NAMES[k])
        plot.frame(ax, 1.3, title)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
