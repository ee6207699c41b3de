"""A picture's vector with a hat minus that without is nearest, of all words, to the word hat.

Says: "the top ranked match with a similarity of 0.165 is the word hat, followed by cap and helmet"
(000, 003); their cosines are 0.165, 0.113 and 0.106, among about 200 words.
Measured: nine things are drawn on 359 digits, and the difference that each makes in the picture's
vector is compared with the vectors of 353 words; how often a word for that thing comes first says
whether vectors add as meanings do.
Correction: the meaning is found, not the word: captions here use hat, cap and helmet alike, and
which of the three leads is chance. The cosines are larger than the lecture's.
Control: the difference is taken the other way round.
Source: all 359 digits that the model did not learn from, with and without each thing, all else
equal; 286 of the 353 words of its vocabulary describe no picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims import drawings
from benchmarks.claims.captioned_models import contrastive
from benchmarks.claims.claim import Check, Finding, Lab, at_least
from sdeflow import plot
from sdeflow.images.clip import ContrastiveModel
from sdeflow.images.pictures import pairs
from sdeflow.images.retrieval import direction
from sdeflow.images.vocabulary import ATTRIBUTES

SUBJECT, CONTROL = 1.0, -1.0  # with minus without, or the other way round
NEEDS, SLOW = ("sklearn",), True


def measure(lab: Lab, sign: float) -> Finding:
    """The share of digits for which a synonym of what was drawn is the first of all words."""
    model = contrastive(lab)
    words = model.vocabulary.words
    cosines = {name: _cosines(model, name, sign) for name in ATTRIBUTES}
    first = {
        name: torch.tensor([words[k] in ATTRIBUTES[name] for k in cosine.argmax(1)])
        for name, cosine in cosines.items()
    }
    hat = cosines["hat"].mean(0)
    order = hat.argsort(descending=True)[:8].tolist()
    return Finding(
        [
            Check(f"{name}: share of digits for which {', '.join(ATTRIBUTES[name])} is first",
                  first[name].double().mean(), at_least(0.98), "expected; chance is 3 in 353")
            for name in ATTRIBUTES
        ],
        notes={f"hat: mean cosine of {words[k]!r}": float(hat[k]) for k in order}
        | {"hat: share of digits for which the word hat itself is first":
            float((cosines["hat"].argmax(1) == words.index("hat")).double().mean()),
           "words of the vocabulary": float(len(words))},
        draw=lambda fig: _draw(fig, [words[k] for k in order], hat[order]),
        size=(3.4, 2.8),
    )  # fmt: skip


def _cosines(model: ContrastiveModel, name: str, sign: float) -> Tensor:
    """Cosines of the difference that an attribute makes with all words, (359, words)."""
    without, plus = pairs(name)
    return sign * direction(model, plus, without) @ model.embed_text(model.vocabulary.words).T


def _draw(fig: plot.Figure, words: list[str], cosine: Tensor) -> None:
    """Digits without and with a hat, and the words nearest to the difference."""
    top, bottom = fig.subfigures(2, 1, height_ratios=(1, 1.6))
    without, plus = pairs("hat")
    shown = slice(0, 70, 10)
    drawings.pictures(top, {"without": without[shown], "with": plus[shown]}, span=(-1.0, 1.0))
    ax = bottom.subplots()
    colours = [plot.BLUE if word in ATTRIBUTES["hat"] else plot.GREY for word in words]
    ax.barh(words[::-1], cosine.tolist()[::-1], color=colours[::-1])
    ax.set(xlabel="cosine with the difference, mean of 359 digits")
