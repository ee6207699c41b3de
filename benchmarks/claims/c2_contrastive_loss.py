"""Learning to match raises the cosine of a picture and its caption, and lowers all others.

Says: "maximize the similarity between corresponding image-caption pairs", and minimise that of the
rest (000, 003).
Measured: loss and cosines of pairs that the model did not learn from are taken before and after
training; before it the loss is that of a guess among 128, after it a picture must be clearly
nearer to its own caption.
Correction: before any learning the loss is not log B, that of a guess among B, but up to one more:
similarities are multiplied by 14.3, so that chance differences count. Nor does it end near zero:
captions that fit several pictures are counted as wrong for all but one.
Control: the captions are moved by one place against their pictures.
Source: Radford et al. 2021, figure 3, in small. Pairs of digits that the model did not learn from.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.captioned_models import HELD_OUT, contrastive
from benchmarks.claims.claim import Check, Finding, Lab, about, above, below, between
from sdeflow import plot
from sdeflow.images.clip import ContrastiveModel, contrastive_loss

SUBJECT, CONTROL = 0, 1  # by how many rows the captions are moved against their pictures
NEEDS, SLOW = ("sklearn",), True
BATCH, BATCHES = 128, 8
GUESS = math.log(BATCH)


def measure(lab: Lab, moved: int) -> Finding:
    """Loss and cosines of held-out pairs, before and after learning."""
    drawn = HELD_OUT.sample(BATCH * BATCHES, lab.seed)
    captions = drawn.captions[moved:] + drawn.captions[:moved]
    models = {"before": ContrastiveModel(seed=lab.seed).eval(), "after": contrastive(lab)}
    found = {
        when: (model.embed_pictures(drawn.x), model.embed_text(captions), model.scale.item())
        for when, model in models.items()
    }
    loss = {when: _loss(*parts) for when, parts in found.items()}
    u, v, scale = found["after"]
    own, other = _cosines(u, v)
    bare = _loss(*found["before"][:2], 0.0)
    return Finding(
        [
            Check("loss before training, similarities scaled by 0, minus log 128", bare - GUESS,
                  about(0.0, 1e-5), "the loss of a guess; rounding"),
            Check("loss before training, similarities scaled by 14.3 (nats)", loss["before"],
                  between(GUESS, GUESS + 1), "log 128, and one more"),
            Check("loss after training (nats)", loss["after"], below(GUESS / 2),
                  "half of log 128"),
            Check("mean cosine of pairs minus that of others", own.mean() - other.mean(),
                  above(0.5), "expected"),
        ],
        notes={
            "mean cosine of pairs": float(own.mean()),
            "mean cosine of others": float(other.mean()),
            "scale of the similarities after training": scale,
        },
        draw=lambda fig: _draw(fig, own, other),
    )  # fmt: skip


def _loss(u: Tensor, v: Tensor, scale: float) -> float:
    """The mean loss of the batches."""
    batches = zip(u.split(BATCH), v.split(BATCH), strict=True)
    return sum(float(contrastive_loss(a, b, scale)) for a, b in batches) / BATCHES


def _cosines(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of each picture with its caption (n,), and with all others (n (n - 1),)."""
    all_, same = u @ v.T, torch.eye(len(u), dtype=torch.bool)
    return all_[same], all_[~same]


def _draw(fig: plot.Figure, own: Tensor, other: Tensor) -> None:
    """Draw the distributions of the cosines."""
    ax = fig.subplots()
    bins = torch.linspace(-1, 1, 61).tolist()
    for x, colour, name in ((other, plot.GREY, "others"), (own, plot.BLUE, "pairs")):
        ax.hist(x.numpy(), bins, density=True, color=colour, alpha=0.7, label=name)
    ax.set(xlabel="cosine of picture and caption", ylabel="density")
    ax.legend(loc="upper left")
