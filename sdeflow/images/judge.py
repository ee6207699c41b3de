"""Classify the digit and the attributes on a picture, to measure models that draw pictures.

A `Judge` is trained on labels; no model that draws pictures uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdeflow._validation import (
    check_cloud,
    check_file,
    check_function,
    check_int,
    check_kind,
    check_positive,
    check_seed,
)
from sdeflow.fields.networks import described
from sdeflow.images.clip import ROWS
from sdeflow.images.learning import Pictures, batch_of, minimise, stored
from sdeflow.images.pictures import SIDE
from sdeflow.images.towers import ImageTower
from sdeflow.images.vocabulary import DIGITS, NAMES
from sdeflow.training.tensor_file import write


@dataclass(frozen=True, eq=False)
class Judgement:
    """The digits and attributes that a judge finds on n pictures.

    Attributes:
        digit: (n,) the most probable digit.
        confidence: (n,) its probability.
        drawn: (n, 9) which attributes have a probability above 1/2.
    """

    digit: Tensor
    confidence: Tensor
    drawn: Tensor

    def __repr__(self) -> str:
        return f"judgement of {len(self.digit)} pictures"


class Judge(nn.Module):
    """A convolutional classifier of pictures x (n, 256): the digit, and each attribute.

    Args:
        channels: channels of the first layer.
        seed: seed of the initial weights.
    """

    def __init__(self, channels: int = 32, seed: int = 0) -> None:
        super().__init__()
        self.config = {"channels": check_int(channels, "channels")}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(check_seed(seed))
            self.tower = ImageTower(SIDE, channels, len(DIGITS) + len(NAMES))

    def __repr__(self) -> str:
        """In words; `str` lists the layers."""
        return described(self)

    __str__ = nn.Module.__repr__

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of digits (n, 10) and of attributes (n, 9)."""
        logits = self.tower(x)
        return logits[:, : len(DIGITS)], logits[:, len(DIGITS) :]

    @torch.no_grad()
    def judge(self, x: Tensor) -> Judgement:
        """Classify pictures x (n, 256), grey from -1 to 1."""
        x = check_cloud(x, "x", SIDE**2).to(next(self.parameters()))
        digit, drawn = (torch.cat(part) for part in zip(*map(self, x.split(ROWS)), strict=True))
        confidence, which = digit.softmax(1).max(1)
        return Judgement(which, confidence, drawn > 0)

    def save(self, path: str | Path) -> None:
        """Write the weights to one safetensors file."""
        write(check_file(path), self.state_dict(), {"kind": "judge", "config": self.config})

    @staticmethod
    def load(path: str | Path) -> Judge:
        """Read a judge that `save` wrote; it is in eval mode.

        Raises:
            SdeflowError: the file is missing, truncated, altered, or no judge.
        """
        return stored(path, "judge", lambda about: Judge(**about["config"]))


def train_judge(
    judge: Judge,
    sample: Pictures,
    steps: int = 1500,
    seed: int = 0,
    *,
    batch: int = 128,
    rate: float = 1e-3,
    progress: bool = False,
) -> Tensor:
    """Train a judge in place by AdamW; return the loss of each step (steps,).

    Args:
        judge: the judge.
        sample: (n, seed) -> n pictures with digits and attributes, called with a new seed at each
            step.
        steps: number of training steps.
        seed: seed of all random numbers.
        batch: pictures in each step.
        rate: largest learning rate, which decays as a cosine.
        progress: whether to show a progress bar.

    Raises:
        SdeflowError: the loss became NaN.
    """
    check_kind(judge, Judge, "judge")
    check_function(sample, "sample", "(n, seed) -> pictures with captions")
    size = check_int(batch, "batch")

    def loss(batch_seed: int) -> Tensor:
        drawn, like = batch_of(sample, size, batch_seed), next(judge.parameters())
        digit, attributes = judge(drawn.x.to(like))
        wrong = F.binary_cross_entropy_with_logits(attributes, drawn.drawn.to(like))
        return F.cross_entropy(digit, drawn.digit.to(like.device)) + wrong

    steps, seed = check_int(steps, "steps"), check_seed(seed)
    return minimise(judge, loss, steps, seed, check_positive(rate, "rate"), progress=progress)
