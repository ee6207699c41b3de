"""Train the models of captioned pictures that several claims share, each once."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from benchmarks.claims.claim import Lab
from sdeflow.fields.learned import LearnedField
from sdeflow.images.clip import ContrastiveModel, train_contrastive
from sdeflow.images.judge import Judge, train_judge
from sdeflow.images.pictures import CaptionedPictures, draw, handwritten
from sdeflow.images.prior import Prior, fit_linear_prior
from sdeflow.images.unclip import Decoder, UnCLIP
from sdeflow.images.unclip_training import (
    Pool,
    UnCLIPConfig,
    embedded_pool,
    train_decoder,
    train_prior,
)
from sdeflow.images.vocabulary import NAMES

CONFIG = UnCLIPConfig()
STEPS = CONFIG.clip_steps
TRAIN, HELD_OUT = CaptionedPictures(), CaptionedPictures("test")


def contrastive(lab: Lab) -> ContrastiveModel:
    """A contrastive model of pictures and captions, by the package's own training."""

    def make(seed: int) -> ContrastiveModel:
        model = ContrastiveModel(seed=seed)
        train_contrastive(model, TRAIN.sample, STEPS, seed)
        return model

    return lab.kept("contrastive", make, ContrastiveModel.save, ContrastiveModel.load)


def judge(lab: Lab) -> Judge:
    """A classifier trained on what was truly drawn; no other model learns from it."""

    def make(seed: int) -> Judge:
        model = Judge(seed=seed)
        train_judge(model, TRAIN.sample, STEPS, seed)
        return model

    return lab.kept("judge", make, Judge.save, Judge.load)


def plain() -> tuple[Tensor, Tensor]:
    """The held-out digits with nothing drawn on them: x (359, 256) and the digit of each."""
    images, digit = handwritten("test")
    return draw(images, torch.zeros(len(images), len(NAMES), dtype=torch.bool)), digit


def unclip(lab: Lab) -> UnCLIP:
    """The contrastive model with a prior and a decoder, by the package's own training."""
    clip = contrastive(lab)

    @cache
    def pool() -> Pool:
        return embedded_pool(clip, CONFIG.pool, lab.seed)

    def prior(seed: int) -> LearnedField:
        return train_prior(pool(), CONFIG.prior_steps, seed).field

    def decoder(seed: int) -> LearnedField:
        return train_decoder(pool(), CONFIG.decoder_steps, seed).field

    linear = fit_linear_prior(pool().u, pool().v)
    return UnCLIP(
        clip,
        Prior(lab.trained("prior", prior)),
        Decoder(lab.trained("decoder", decoder)),
        linear,
    )
