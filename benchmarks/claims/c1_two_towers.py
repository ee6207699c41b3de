"""Two encoders, of pictures and of words, give vectors of one length that match pair by pair.

Says: two models each return a "vector of length 512", one of the picture, one of the caption; a
batch of a cat, a dog and a man, each with its caption (000, 003).
Measured: in batches of three digits with their captions, the share of pictures whose own caption
has the nearest vector is counted; chance would be a third.
Control: the captions are moved by one place against their pictures.
Source: a small model of that kind on handwritten digits with things drawn on them; its vectors
have 64 numbers. Digits that it did not learn from, three different ones in each batch, as in the
lecture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims.captioned_models import HELD_OUT, contrastive
from benchmarks.claims.claim import Check, Finding, Lab, about, at_least, below
from sdeflow import plot

SUBJECT, CONTROL = 0, 1  # by how many rows the captions are moved against their pictures
NEEDS, SLOW = ("sklearn",), True
PAIRS, CHANCE = 1500, 1 / 3


def measure(lab: Lab, moved: int) -> Finding:
    """Lengths and norms of the vectors, and which caption of three is nearest to its picture."""
    model = contrastive(lab)
    drawn = HELD_OUT.sample(PAIRS, lab.seed)
    u, v = model.embed_pictures(drawn.x), model.embed_text(drawn.captions)
    norms = torch.cat([u, v]).double().norm(dim=1)
    digit = drawn.digit.reshape(-1, 3)
    different = (digit != digit.roll(1, 1)).all(1)
    right = _right(u, v, moved)[different].double().mean()
    return Finding(
        [
            Check("numbers in a picture's vector minus those in a caption's",
                  u.shape[1] - v.shape[1], about(0.0, within=0), "one length"),
            Check("largest deviation of a norm from 1", (norms - 1).abs().max(), below(1e-6),
                  "rounding"),
            Check("share of pictures whose own caption is the nearest of three", right,
                  at_least(0.95), f"expected; chance is {CHANCE:.2f}"),
        ],
        notes={"numbers in a vector": float(u.shape[1]), "batches": float(different.sum())},
        draw=lambda fig: _draw(fig, u @ v.T, drawn.captions, drawn.x),
        size=(5.0, 2.6),
    )  # fmt: skip


def _right(u: Tensor, v: Tensor, moved: int) -> Tensor:
    """Whether a picture's own caption is the nearest, in batches of three (n / 3, 3)."""
    u, v = u.reshape(-1, 3, u.shape[1]), v.reshape(-1, 3, v.shape[1]).roll(moved, 1)
    return (u @ v.mT).argmax(2) == torch.arange(3)


def _draw(fig: plot.Figure, similar: Tensor, captions: list[str], x: Tensor) -> None:
    """Six pictures against their captions: the matrix of similarities."""
    short = [k for k, text in enumerate(captions) if 3 <= len(text.split()) <= 6][:6]
    table = fig.subplots()
    values = similar[short][:, short].T
    table.imshow(values.numpy(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in _entries(values):
        table.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6)
    table.set_yticks(range(len(short)), [captions[k] for k in short], fontsize=6)
    table.set(xticks=[], xlabel="cosine of picture (column) and caption (row)")
    for column, place in enumerate(short):
        above = table.inset_axes((column / len(short), 1.02, 1 / len(short), 0.25))
        above.imshow(x[place].reshape(16, 16).numpy(), cmap="gray", vmin=-1, vmax=1)
        above.set(xticks=[], yticks=[])


def _entries(values: Tensor) -> list[tuple[tuple[int, int], float]]:
    return [
        ((i, j), float(values[i, j])) for i in range(len(values)) for j in range(len(values[0]))
    ]
