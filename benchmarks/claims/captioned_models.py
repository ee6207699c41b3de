"""Models of captioned pictures that claims share: each is trained once, and kept."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from benchmarks.claims.claim import Lab
from sdeflow.images.captions import with_article
from sdeflow.images.clip import ContrastiveModel, train_contrastive
from sdeflow.images.judge import Judge, train_judge
from sdeflow.images.pictures import CaptionedPictures, draw, handwritten
from sdeflow.images.vocabulary import ATTRIBUTES, DIGITS, MANNERS, NAMES

STEPS = 1500
TRAIN, HELD_OUT = CaptionedPictures(), CaptionedPictures("test")


def contrastive(lab: Lab) -> ContrastiveModel:
    """A contrastive model of pictures and captions, by the package's own training."""

    def make(seed: int) -> ContrastiveModel:
        model = ContrastiveModel(seed=seed)
        train_contrastive(model, TRAIN.sample, STEPS, seed)
        return model

    return lab.kept("contrastive", make, ContrastiveModel.save, ContrastiveModel.load)


def judge(lab: Lab) -> Judge:
    """A classifier that saw the truth: it measures pictures, and no model learns from it."""

    def make(seed: int) -> Judge:
        model = Judge(seed=seed)
        train_judge(model, TRAIN.sample, STEPS, seed)
        return model

    return lab.kept("judge", make, Judge.save, Judge.load)


def plain() -> tuple[Tensor, Tensor]:
    """The held-out digits with nothing drawn on them: x (359, 256), and what they are."""
    images, digit = handwritten("test")
    return draw(images, torch.zeros(len(images), len(NAMES), dtype=torch.bool)), digit


@cache
def prompts(attribute: str | None, synonym: int = 0) -> list[str]:
    """A prompt for each digit with an attribute, or with none: "a seven with a hat"."""
    if attribute is None:
        return [with_article(digit) for digit in DIGITS]
    word = ATTRIBUTES[attribute][synonym]
    if attribute in MANNERS:
        return [with_article(f"{word} {digit}") for digit in DIGITS]
    return [f"{with_article(digit)} with {with_article(word)}" for digit in DIGITS]
