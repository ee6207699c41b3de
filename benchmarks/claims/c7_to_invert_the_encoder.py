"""A diffusion model trained to invert the image encoder draws what a text asks for.

Says: "train a diffusion model to invert the CLIP image encoder" (000, 003): unCLIP, DALL-E 2.
Measured: 270 texts are drawn, and a classifier counts how many pictures show the digit and the
thing asked for, and how many digits are lost when the text's own vector is used in the place of a
picture's.
Correction: it takes a second model. The vector of a text is not that of a picture: given the
former, the decoder draws the things but loses digits. A prior turns one into the other; a linear
map is as accurate a prior here as a diffusion model, which has the larger spread.
Control: each text asks for the next digit.
Source: Ramesh et al. 2022, in small: ten digits alone and with eight things in three wordings,
guidance 2 in prior and decoder. The classifier was trained on what was truly drawn.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.claims import drawings
from benchmarks.claims.captioned_models import judge, unclip
from benchmarks.claims.claim import Check, Finding, Lab, above, at_least
from benchmarks.claims.setting import SURE
from benchmarks.words import Prompt, prompts
from sdeflow.images.prior import LinearPrior, Prior
from sdeflow.images.retrieval import zero_shot
from sdeflow.images.unclip import UnCLIP

SUBJECT, CONTROL = 0, 9  # by how many places the texts are moved: nine is the next digit
NEEDS, SLOW = ("sklearn",), True
SHOWN = [k for k, p in enumerate(prompts()) if p.text.startswith(("a three", "a seven"))][:14]


def measure(lab: Lab, moved: int) -> Finding:
    """The share of digits and things drawn as asked, with each prior and with none."""
    model, eye, asked = unclip(lab), judge(lab), prompts()
    texts = [p.text for p in asked[moved:] + asked[:moved]]
    priors = {"prior": model.prior, "linear prior": model.linear, "no prior": None}
    drawn = {n: replace(model, prior=p).pictures(texts, 2.0, lab.seed) for n, p in priors.items()}
    digit = torch.tensor([p.digit for p in asked])
    right = {name: eye.judge(x).digit == digit for name, x in drawn.items()}
    thing = _things(eye.judge(drawn["prior"]).drawn, asked)
    lost = right["prior"].double() - right["no prior"].double()
    target = model.embeddings(texts, 2.0, lab.seed)
    cosine = model.clip.embed_pictures(drawn["prior"]) @ target.T
    own = torch.eye(len(asked), dtype=torch.bool)
    return Finding(
        [
            Check("share of digits as asked, by the classifier", right["prior"].double().mean(),
                  at_least(0.9), "expected; chance is 0.1"),
            Check("share of digits as asked, by the encoder itself",
                  (zero_shot(model.clip, drawn["prior"]) == digit).double().mean(),
                  at_least(0.8), "expected; chance is 0.1"),
            Check("share of things drawn as asked", thing, at_least(0.95), "expected"),
            Check("mean cosine of a picture's vector with its target minus that with others",
                  cosine[own].mean() - cosine[~own].mean(), above(0.3), "expected"),
            Check("share of digits as asked that is lost without a prior", lost.mean(),
                  above(SURE * float(lost.std()) / math.sqrt(len(lost))), "four standard errors"),
        ],
        notes={f"{n}: share of digits right": float(r.double().mean()) for n, r in right.items()}
        | {f"{n}: spread of 60 threes with a hat": _spread(model, p, lab.seed)
           for n, p in priors.items() if p is not None},
        draw=lambda fig: drawings.pictures(
            fig, {name: x[SHOWN] for name, x in drawn.items()}, len(SHOWN),
            {"no prior": [texts[k].split()[-1] for k in SHOWN]}, span=(-1.0, 1.0),
        ),
        size=(6.9, 1.7),
    )  # fmt: skip


def _things(present: Tensor, asked: list[Prompt]) -> float:
    """The share of the things asked for that the classifier finds."""
    pairs = [(i, p.attribute) for i, p in enumerate(asked) if p.attribute >= 0]
    return sum(float(present[pair]) for pair in pairs) / len(pairs)


def _spread(model: UnCLIP, prior: Prior | LinearPrior | None, seed: int) -> float:
    """The root-mean-square distance of pictures of one text to their mean."""
    other = replace(model, prior=prior)
    x = other.pictures(60 * ["a three with a hat"], 2.0, seed)
    return float((x - x.mean(0)).square().sum(1).mean().sqrt())
