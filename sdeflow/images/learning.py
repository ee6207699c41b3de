r"""Train the contrastive model and the judge by AdamW, and read their files.

The learning rate rises linearly over the first steps and decays as a cosine to zero. The random
numbers of step k depend on (seed, k) alone.

Source: Loshchilov and Hutter 2019 for AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from sdeflow._validation import SdeflowError, check_file, shown
from sdeflow.images.pictures import Captioned
from sdeflow.random_streams import Stream, random_generator
from sdeflow.training.tensor_file import read

WARM_UP = 100
"""Most steps over which the rate rises; a tenth of all steps, if that is less."""
DECAY = 0.01

Pictures = Callable[[int, int], Captioned]
"""(n, seed) -> n pictures with captions."""


def batch_of(sample: Pictures, n: int, seed: int) -> Captioned:
    """The n pictures with captions of one step, checked."""
    drawn = sample(n, seed)
    if not isinstance(drawn, Captioned):
        raise TypeError(
            "sample must give Captioned pictures, as CaptionedPictures().sample does, got "
            f"{shown(drawn)}"
        )
    return drawn


Loss = Callable[[int], Tensor]
"""Seed of a batch -> the loss () of that batch."""


def minimise(
    model: nn.Module, loss: Loss, steps: int, seed: int, rate: float, *, progress: bool = False
) -> Tensor:
    """Train the weights of a model in place, leave it in eval mode, and return losses (steps,).

    Raises:
        SdeflowError: the loss became NaN or infinite.
    """
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=DECAY, fused=True)
    rise, losses = max(1, min(WARM_UP, steps // 10)), []
    bar = tqdm(range(steps), "training", disable=None if progress else True, leave=False)
    try:
        for step in bar:
            fall = (1 + math.cos(math.pi * step / steps)) / 2
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / rise) * fall
            g = random_generator(seed, Stream.TRAINING, step)
            with torch.enable_grad():
                value = loss(int(g.integers(2**62)))
            losses.append(value.detach())
            if not math.isfinite(value.item()):
                raise SdeflowError(f"the loss is {value} at step {step + 1}; lower the rate")
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
    finally:
        model.eval()
    return torch.stack(losses).cpu()


M = TypeVar("M", bound=nn.Module)


def stored(path: str | Path, kind: str, make: Callable[[dict], M]) -> M:
    """Read a model that `make` builds from the description in its file; it is in eval mode.

    Raises:
        SdeflowError: the file is missing, truncated, altered, or of another kind.
    """
    path = check_file(path)
    tensors, about = read(path)
    if about.get("kind") != kind:
        raise SdeflowError(f"{path} holds a {about.get('kind')}, not a {kind}")
    try:
        model = make(about)
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise SdeflowError(f"{path} does not fit this version: {reason}") from None
    return model.eval()
