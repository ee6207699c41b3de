"""The cosine of two vectors is at most 1, and it is 1 only if they point the same way.

Says: the "maximum value for our cosine similarity score of 1" (000, 003).
Measured: the cosines of 10,000 pairs of vectors are computed as the contrastive model computes
them; they must not exceed 1, not depend on the vectors' lengths, and equal 1 - |u - v|^2 / 2,
which is 1 only for u = v.
Control: the product of vectors that are not scaled to length 1.
Source: Cauchy and Schwarz; vectors of 64 numbers and all lengths; u and v are the vectors scaled
to length 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.claims.claim import Check, Finding, Lab, at_most, below
from sdeflow import plot
from sdeflow.random_streams import KeyedNormals, Stream

Similarity = Callable[[Tensor, Tensor], Tensor]
SUBJECT: Similarity = lambda a, b: (normalize(a, dim=1) * normalize(b, dim=1)).sum(1)  # noqa: E731
CONTROL: Similarity = lambda a, b: (a * b).sum(1)  # noqa: E731  vectors that are not of length one
PAIRS, WIDTH = 10_000, 64
ROUNDING = 1e-13


def measure(lab: Lab, similarity: Similarity) -> Finding:
    """The range of the cosine, its change with the lengths, and where it is 1."""
    normal = KeyedNormals(lab.seed, Stream.MOTION, PAIRS, WIDTH, torch.float64)
    a, b, lengths = (normal.draw(k) for k in range(3))
    near = a + torch.logspace(-6, 1, PAIRS).double()[:, None] * b  # from parallel to unrelated
    cosine = similarity(a, near)
    longer, shorter = lengths[:, :1].exp(), (-lengths[:, :1]).exp()
    apart = (normalize(a, dim=1) - normalize(near, dim=1)).square().sum(1) / 2
    same, opposite = similarity(a, longer * a), similarity(a, -longer * a)
    return Finding(
        [
            Check("largest of 10,000 absolute cosines, minus 1", cosine.abs().max() - 1,
                  at_most(ROUNDING), "Cauchy and Schwarz; rounding"),
            Check("largest change of the cosine when both vectors change length",
                  (similarity(longer * a, shorter * near) - cosine).abs().max(),
                  below(ROUNDING), "no change; rounding"),
            Check("parallel vectors, largest deviation from 1", (same - 1).abs().max(),
                  below(ROUNDING), "1; rounding"),
            Check("opposite vectors, largest deviation from -1", (opposite + 1).abs().max(),
                  below(ROUNDING), "-1; rounding"),
            Check("largest deviation of 1 - cosine from |u - v|^2 / 2",
                  (1 - cosine - apart).abs().max(), below(ROUNDING), "identity; rounding"),
        ],
        notes={"smallest angle of a pair (degrees)": float(apart.min().mul(2).sqrt().rad2deg())},
        draw=lambda fig: _draw(fig, similarity),
    )  # fmt: skip


def _draw(fig: plot.Figure, similarity: Similarity) -> None:
    """The cosine of two vectors of the plane, of lengths 1 and 3, over their angle."""
    ax = fig.subplots()
    angle = torch.linspace(-180, 180, 361).double()
    one = torch.tensor([[1.0, 0.0]]).double()
    other = 3 * torch.stack([angle.deg2rad().cos(), angle.deg2rad().sin()], 1)
    ax.plot(angle, similarity(one.expand_as(other), other), color=plot.BLUE)
    ax.axhline(1.0, color=plot.GREY, lw=0.8, ls="--")
    ax.set(
        xlabel="angle between the vectors (degrees)", ylabel="cosine", xticks=range(-180, 181, 90)
    )
