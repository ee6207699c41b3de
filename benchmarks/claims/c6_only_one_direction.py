"""The encoders only go one way: a vector does not say which picture it came from.

Says: "CLIP models only go one direction", from pictures and words to vectors (000, 003).
Measured: gradient ascent seeks, from noise, a picture with the vector of a given digit; it must
match that vector better than any other digit does, and still look like none, so the vector alone
does not give back the picture.
Control: the search starts from the digit itself.
Source: 40 digits that the model did not learn from; the vector has 64 numbers, the picture 256. To
go back takes a model of what pictures look like (C7).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.claims import drawings
from benchmarks.claims.captioned_models import contrastive, judge, plain
from benchmarks.claims.claim import Check, Finding, Lab, above, at_least, at_most
from sdeflow.images.clip import ContrastiveModel
from sdeflow.random_streams import KeyedNormals, Stream

SUBJECT, CONTROL = 0.0, 1.0  # share of the digit in the start of the search
NEEDS, SLOW = ("sklearn",), True
STEPS, RATE = 500, 0.05


def measure(lab: Lab, known: float) -> Finding:
    """Search for pictures with given vectors, and compare them with the digits."""
    model, eye = contrastive(lab), judge(lab)
    every, digit = plain()
    x, digit = every[::9], digit[::9]
    wanted, all_ = model.embed_pictures(x), model.embed_pictures(every)
    noise = KeyedNormals(lab.seed, Stream.MOTION, len(x), x.shape[1], torch.float32)
    starts = [(known * x + (1 - known) * 0.5 * noise.draw(k)).clamp(-1, 1) for k in range(2)]
    found, again = (_sought(model, wanted, start) for start in starts)
    cosine = (model.embed_pictures(found) * wanted).sum(1)
    near = wanted @ all_.T
    near[torch.arange(len(x)), torch.arange(len(x)) * 9] = -1.0
    far = torch.cdist(x, every).sort(1).values[:, 1]
    right = (eye.judge(found).digit == digit).double().mean()
    return Finding(
        [
            Check("share of searches that match the vector better than any other digit",
                  (cosine > near.amax(1)).double().mean(), at_least(0.95), "expected"),
            Check("median distance of what is found to the digit / of the nearest other digit",
                  ((found - x).norm(dim=1) / far).median(), above(1.0), "farther than it"),
            Check("median distance between two searches / of the nearest other digit",
                  ((found - again).norm(dim=1) / far).median(), above(1.0), "farther than it"),
            Check("share of what is found that the classifier names as the digit", right,
                  at_most(0.8), "expected; of the digits themselves, 0.99"),
        ],
        notes={
            "cosine of what is found with the digit, median": float(cosine.median()),
            "cosine to the nearest other digit, median": float(near.amax(1).median()),
        },
        draw=lambda fig: drawings.pictures(
            fig, {"digit": x, "found": found, "again": again}, 8, span=(-1.0, 1.0)
        ),
        size=(3.4, 1.5),
    )  # fmt: skip


def _sought(model: ContrastiveModel, wanted: Tensor, start: Tensor) -> Tensor:
    """Search by Adam for pictures (n, d) whose vectors are near those wanted."""
    x = start.clone().requires_grad_()
    adam = torch.optim.Adam([x], lr=RATE)
    for _ in range(STEPS):
        adam.zero_grad()
        (-(normalize(model.image(x), dim=1) * wanted).sum()).backward(inputs=[x])
        adam.step()
        x.data.clamp_(-1, 1)
    return x.detach()
