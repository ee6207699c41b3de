"""Train decoders of pictures that get a text in three ways, and draw pictures with them (G12).

    add      the text's vector, with the noise level, to every layer
    append   the text's vector, as planes beside the picture
    attend   the vectors of its words, by cross-attention of the pixels

All are trained on the same pictures for the same number of steps. The vectors of the texts are
those of the contrastive model.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchmarks.claims import drawings
from benchmarks.claims.captioned_models import contrastive
from benchmarks.claims.claim import Lab
from sdeflow import plot, training
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import How
from sdeflow.fields.unet import UNet
from sdeflow.images.clip import ContrastiveModel
from sdeflow.images.pictures import SHAPE, CaptionedPictures
from sdeflow.images.prior import PROCESS
from sdeflow.images.vocabulary import DIGITS, NAMES, PAD
from sdeflow.processes.time_grids import karras_times
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

WAYS: tuple[How, ...] = ("add", "append", "attend")
POOL, STEPS, WORDS = 12_000, 1200, 24
RECIPE = training.TrainingConfig(batch=128, rate=2e-3, decay=0.998, drop=0.1)
DRAWN = NAMES[:6]  # things that are drawn beside the digit


def decoder(lab: Lab, how: How) -> LearnedField:
    """A field of pictures that gets texts in one of the ways."""
    clip = contrastive(lab)

    def make(seed: int) -> LearnedField:
        drawn = CaptionedPictures(tilt=False, jitter=False).sample(POOL, seed)
        mean = drawn.x.mean(0)
        std = float((drawn.x - mean).square().mean().sqrt())
        table = told(clip, drawn.captions, how)
        network = UNet(SHAPE, 16, table=table, how=how, shrink=2, seed=seed)

        def sample(n: int, batch_seed: int) -> tuple[Tensor, Tensor]:
            i = torch.from_numpy(random_generator(batch_seed, Stream.DATA).integers(0, POOL, n))
            return drawn.x[i], i

        field = LearnedField(PROCESS, network, data_std=std, data_mean=mean)
        training.fit(field, sample, STEPS, seed, config=RECIPE)
        return field.told(table[:1]).given(None)

    return lab.trained(f"worded-{how}", make)


@torch.no_grad()
def told(clip: ContrastiveModel, texts: list[str], how: How) -> Tensor:
    """The input of a decoder for texts: a vector each (n, dim), or one a word (n, 24, width)."""
    if how != "attend":
        return clip.dim**0.5 * clip.embed_text(texts)
    tokens = clip.vocabulary.tokens(texts)
    hidden = torch.cat([clip.text.hidden(part) for part in tokens.split(500)])
    hidden = torch.where((tokens != PAD)[..., None], hidden, 0.0)  # zeros: nothing to attend to
    return pad(hidden, (0, 0, 0, WORDS - hidden.shape[1]))


def texts(each: int) -> tuple[list[str], Tensor]:
    """Texts that ask for a digit with one thing, `each` of every thing, and the thing (n,)."""
    thing = torch.arange(len(DRAWN) * each) % len(DRAWN)
    digit = torch.arange(len(thing)) // len(DRAWN) % 10
    found = [
        f"a {DIGITS[d]} with a {DRAWN[k]}"
        for d, k in zip(digit.tolist(), thing.tolist(), strict=True)
    ]
    return found, thing


def drawn(field: LearnedField, what: Tensor, scale: float, seed: int) -> Tensor:
    """Pictures (n, 256) for the inputs (n, ...), guided, by 25 steps of DDPM."""
    guided = GuidedField(field.told(what), field, scale)
    start = PROCESS.prior(len(what), SHAPE[1] * SHAPE[2], seed)
    solver = SDESolver("euler", times=karras_times(PROCESS, 25), seed=seed)
    return solver.solve(ancestral(guided), start, save=1).x[-1].clamp(-1, 1)


def draw_shares(
    fig: plot.Figure,
    scales: tuple[float, ...],
    there: dict[How, list[Tensor]],
    pictures: list[Tensor],
) -> None:
    """Draw the share over the scale, and pictures of one network from the same noise."""
    left, right = fig.subfigures(1, 2, width_ratios=(1, 1.4))
    ax = left.subplots()
    marks = zip(there.items(), "os^", (plot.BLUE, plot.VERMILION, plot.GREEN), strict=True)
    for (how, found), mark, colour in marks:
        ax.plot(scales, [float(x.mean()) for x in found], f"{mark}-", color=colour, label=how)
    ax.set(xlabel="scale $w$ (1: no guidance)", ylabel="share of things drawn", ylim=(0, 1.03))
    ax.legend(loc="lower right")
    rows = {f"w = {w:g}": x[:6] for w, x in zip(scales, pictures, strict=True)}
    drawings.pictures(right, rows, 6, {f"w = {scales[-1]:g}": DRAWN}, span=(-1.0, 1.0))
