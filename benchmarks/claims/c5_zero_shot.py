"""A picture is classified by the caption with the nearest vector, without training for it.

Says: the class is that of the caption of highest cosine similarity (000, 003, in our words: the
lecture says "classify").
Measured: each digit gets the class whose caption has the highest cosine with it, and the share of
right answers is counted; chance would be a tenth.
Control: the prompts of the next digit.
Source: Radford et al. 2021, section 3.1: the mean vector of eight prompts for each digit, such as
"a picture of a seven". 359 digits that the model did not learn from, bare, and with each thing
drawn on them with probability 1/4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims import drawings
from benchmarks.claims.captioned_models import HELD_OUT, contrastive, plain
from benchmarks.claims.claim import Check, Finding, Lab, at_least
from sdeflow import plot
from sdeflow.images.retrieval import DIGIT_PROMPTS, zero_shot
from sdeflow.images.vocabulary import DIGITS

SUBJECT, CONTROL = (
    DIGIT_PROMPTS,
    DIGIT_PROMPTS[1:] + DIGIT_PROMPTS[:1],
)  # prompts of the next digit
NEEDS, SLOW = ("sklearn",), True


def measure(lab: Lab, prompts: tuple[tuple[str, ...], ...]) -> Finding:
    """The share of digits that are named right."""
    model = contrastive(lab)
    x, digit = plain()
    drawn = HELD_OUT.sample(2000, lab.seed)
    named, under = zero_shot(model, x, prompts), zero_shot(model, drawn.x, prompts)
    return Finding(
        [
            Check("share of bare digits named right", (named == digit).double().mean(),
                  at_least(0.95), "expected; chance is 0.1"),
            Check("share of digits with things drawn on them named right",
                  (under == drawn.digit).double().mean(), at_least(0.88),
                  "expected; chance is 0.1"),
        ],
        notes={
            f"bare {DIGITS[k]}: share named right":
                float((named[digit == k] == k).double().mean()) for k in range(10)
        },
        draw=lambda fig: _draw(fig, drawn.x[:20], under[:20], digit, named),
        size=(5.0, 2.4),
    )  # fmt: skip


def _draw(fig: plot.Figure, x: Tensor, under: Tensor, digit: Tensor, named: Tensor) -> None:
    """Pictures with the digit that they were named, and who was taken for whom."""
    left, right = fig.subfigures(1, 2, width_ratios=(1.3, 1))
    rows = {" " * k: x[5 * k : 5 * k + 5] for k in range(4)}
    words = {name: [DIGITS[d] for d in under[5 * k : 5 * k + 5]] for k, name in enumerate(rows)}
    drawings.pictures(left, rows, 5, words, span=(-1.0, 1.0))
    counts = torch.zeros(10, 10).index_put_((digit, named), torch.ones(len(digit)), True)
    ax = right.subplots()
    ax.imshow(counts.sqrt().numpy(), cmap="Blues")
    for i, j in counts.nonzero().tolist():
        colour = "white" if counts[i, j] > 18 else "black"
        ax.text(j, i, f"{int(counts[i, j])}", ha="center", va="center", fontsize=6, color=colour)
    ax.set(xticks=range(10), yticks=range(10), xlabel="named", ylabel="bare digit, 359")
