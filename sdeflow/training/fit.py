r"""Training a network to be a field: Adam on the one loss, and an average of its weights.

A run is a function of its seed. Batch, noise, times and dropped labels of step k have the address
(seed, k), so a run that is killed and resumed from its checkpoint repeats the very same steps, to
the bit; nothing is asked of torch's global generators.

The times of a batch of n are one in each of n equal shares of their density: the average over
time is then nearly free of noise. The learning rate rises over the first 2 % of the steps and
falls as a cosine. What is kept at the end is not the last iterate but the moving average

    a_k = decay a_{k-1} + (1 - decay) w_k,

whose noise is lower than that of any one w_k by about the number of steps that it remembers.

What is minimised, and how much of it must remain, is in `objective`; the files are in
`checkpoint`.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sdeflow._validation import SdeflowError, check_cloud, check_int, check_positive
from sdeflow.distributions.dataset import INTEGERS
from sdeflow.fields.learned import LearnedField
from sdeflow.random_streams import Stream, random_generator
from sdeflow.training.checkpoint import describe, latest, write
from sdeflow.training.loss import (
    TimeDensity,
    Weighting,
    default_time_density,
    default_weighting,
    loss,
)

Sample = Callable[[int, int], Tensor | tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained; `fit` takes these as keywords.

    Args:
        batch: particles per step.
        rate: peak learning rate of Adam; it rises over the first 2 % of the steps and falls as a
            cosine to 0.
        decay: of the exponential moving average of the weights, which is what is kept.
        drop: share of labels replaced by "no label" (classifier-free guidance; Ho and Salimans
            2022).

    Raises:
        ValueError, TypeError: a number out of its range.
    """

    batch: int = 512
    rate: float = 5e-3
    decay: float = 0.995
    drop: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what would not train; keep plain numbers, which checkpoints can hold."""
        object.__setattr__(self, "batch", check_int(self.batch, "batch"))
        object.__setattr__(self, "rate", check_positive(self.rate, "rate"))
        for name in ("decay", "drop"):
            share = check_positive(getattr(self, name), name, zero=True)
            if share >= 1:
                raise ValueError(f"{name} must lie in [0, 1), got {share}")
            object.__setattr__(self, name, share)


class Training(Iterator[Tensor]):
    """A run of `fit`: each `next` is one step and gives its loss (); `step` counts those done."""

    def __init__(
        self,
        field: LearnedField,
        sample: Sample,
        steps: int,
        seed: int,
        config: TrainingConfig,
        weighting: Weighting,
        density: TimeDensity,
        checkpoint: Path | None,
        every: int,
    ) -> None:
        self.field, self.sample, self.steps, self.seed = field, sample, steps, seed
        self.config, self.weighting, self.density = config, weighting, density
        self.checkpoint, self.every = checkpoint, every
        self.step = 0
        self._network = field.network.train()
        self._average = AveragedModel(
            self._network, multi_avg_fn=get_ema_multi_avg_fn(config.decay)
        )
        self._adam = torch.optim.Adam(self._network.parameters(), lr=config.rate, fused=True)
        self._kept: Tensor | None = None
        if checkpoint is not None:
            self._about = self._describe()
            self._resume(checkpoint)

    def __next__(self) -> Tensor:
        """One step; after the last one the network holds the averaged weights."""
        if self.step >= self.steps:
            self._finish()
            raise StopIteration
        value = self._advance()
        self.step += 1
        last = self.step == self.steps
        if last or self.step % 50 == 0:
            self._check(value, last)
        if self.checkpoint is not None and (last or self.step % self.every == 0):
            self._save(self.checkpoint)
        if last:
            self._finish()
        return value

    def _advance(self) -> Tensor:
        g = random_generator(self.seed, Stream.TRAINING, self.step)
        drawn = self.sample(self.config.batch, int(g.integers(2**62)))
        x0, label = drawn if isinstance(drawn, tuple) else (drawn, None)
        field = self.field
        parameter = next(self._network.parameters())
        x0 = x0.to(parameter)
        n = len(x0)
        # One time in each of n equal shares: the average over time is then nearly free of noise.
        u = (torch.arange(n, dtype=torch.float64) + torch.from_numpy(g.random(n))) / n
        t = self.density(field.process, u.clamp(1e-9, 1 - 1e-9)).to(parameter)
        eps = torch.from_numpy(g.standard_normal(tuple(x0.shape), dtype=np.float32)).to(parameter)
        if label is not None:
            dropped = torch.from_numpy(g.random(n) < self.config.drop)
            none = getattr(self._network, "labels", int(label.max()) + 1)
            field = field.given(torch.where(dropped, none, label).to(parameter.device))
        for group in self._adam.param_groups:
            group["lr"] = self._rate()
        value = loss(field, x0, t, eps, self.weighting).mean()
        self._adam.zero_grad(set_to_none=True)
        value.backward()
        self._adam.step()
        self._average.update_parameters(self._network)
        return value.detach()

    def _rate(self) -> float:
        done = self.step / self.steps
        rise = min(1.0, (self.step + 1) / max(1.0, 0.02 * self.steps))
        return self.config.rate * rise * 0.5 * (1 + math.cos(math.pi * done))

    def _check(self, value: Tensor, last: bool) -> None:
        bad = "" if torch.isfinite(value) else f"the loss is {float(value)}"
        # The loss is of the weights before the step: that they are bad after it shows only here.
        if last and not all(torch.isfinite(p).all() for p in self._average.parameters()):
            bad = bad or "a weight is infinite"
        if bad:
            raise SdeflowError(
                f"{bad} at step {self.step}; lower the rate ({self.config.rate}) or check the "
                "data's scale (data_std)"
            )

    def _finish(self) -> None:
        self._network.load_state_dict(self._average.module.state_dict())
        self._network.eval()

    # -- checkpoints --

    def _describe(self) -> dict:
        about = {
            "kind": "training",
            "seed": self.seed,
            "steps": self.steps,
            "config": asdict(self.config),
            "field": describe(self.field),
        }
        try:
            return json.loads(json.dumps(about))  # as it will be read back: tuples become lists
        except TypeError as error:
            raise TypeError(f"a checkpoint holds plain numbers and text only: {error}") from None

    def _save(self, path: Path) -> None:
        tensors = {f"network.{k}": v for k, v in self._network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self._average.state_dict().items()}
        for i, state in self._adam.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{k}": v for k, v in state.items()}
        write(path, tensors, {**self._about, "step": self.step}, keep_previous=True)

    def _resume(self, path: Path) -> None:
        found = latest(path)
        if found is None:
            return
        tensors, about = found
        step = about.pop("step", None)
        if about != self._about:
            other = [k for k, v in self._about.items() if about.get(k) != v]
            raise SdeflowError(
                f"the checkpoint {path} belongs to another run (its {', '.join(other)} differ); "
                "remove it or choose another folder"
            )
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "adam": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        try:
            self._network.load_state_dict(parts["network"])
            self._average.load_state_dict(parts["average"])
        except RuntimeError:
            raise SdeflowError(
                f"the checkpoint {path} holds the weights of another network; remove it or choose "
                "another folder"
            ) from None
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["adam"].items():
            i, _, key = name.partition(".")
            state.setdefault(int(i), {})[key] = value
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": state, "param_groups": groups})
        self.step = int(step)


def fit(
    field: LearnedField,
    sample: Sample,
    steps: int,
    seed: int = 0,
    *,
    config: TrainingConfig | None = None,
    weighting: Weighting | None = None,
    density: TimeDensity | None = None,
    checkpoint: str | Path | None = None,
    every: int = 1000,
) -> Training:
    """Train the field's network in place; iterate over the result, one loss per step.

        for loss in sf.fit(field, data.sample, steps=5000): ...

    Args:
        sample: (n, seed) -> x0 (n, d), or (x0, label (n,)); called with a new seed at each step.
        steps: in all; the learning rate falls to zero over them.
        config: batch, learning rate, averaging, label dropout.
        weighting: w; by default the plain squared error of what the network itself gives: the row
            that the field predicts, or the unit row if it is preconditioned.
        density: of training times; by default `default_density`.
        checkpoint: a file, written every `every` steps; if it is there, the run goes on from it,
            to the same weights, bit for bit, as if it had not stopped.

    After the last step the network holds the moving average of its weights.

    Raises:
        TypeError, ValueError: at the door; the first batch is looked at before anything is
            trained.
        SdeflowError: the loss went NaN; the checkpoint is damaged or of another run.
    """
    if not isinstance(field, LearnedField):
        raise TypeError(f"only a LearnedField can be trained, got {type(field).__name__}")
    steps = check_int(steps, "steps")
    seed = check_int(seed, "seed", 0)
    check_int(every, "every")
    config = TrainingConfig() if config is None else config
    if not isinstance(config, TrainingConfig):
        raise TypeError(f"config must be a Recipe, got {type(config).__name__}")
    if not any(p.requires_grad for p in field.network.parameters()):
        raise ValueError("the network has no parameter that can be trained; unfreeze some")
    _look(field, sample, config.batch, seed)
    path = None if checkpoint is None else Path(checkpoint)
    return Training(
        field,
        sample,
        steps,
        seed,
        config,
        weighting or default_weighting(field),
        density or default_time_density(field),
        path,
        every,
    )


def _look(field: LearnedField, sample: Sample, n: int, seed: int) -> None:
    """Draw a batch and refuse what the network cannot learn from."""
    try:
        inspect.signature(sample).bind(n, seed)
    except TypeError:
        what = type(sample).__name__
        raise TypeError(
            f"sample must take (n, seed), this {what} does not; pass data.sample"
        ) from None
    except ValueError:
        pass  # functions of other languages do not tell
    drawn = sample(n, seed)
    x0, label = drawn if isinstance(drawn, tuple) and len(drawn) == 2 else (drawn, None)
    check_cloud(x0, "the training data", field.dim)
    if label is None:
        return
    if not isinstance(label, Tensor) or label.dtype not in INTEGERS or label.shape != x0.shape[:1]:
        got = f"{label.dtype} {tuple(label.shape)}" if isinstance(label, Tensor) else type(label)
        raise TypeError(f"labels must be a tensor ({len(x0)},) of whole numbers, got {got}")
    known = getattr(field.network, "labels", None)
    if known == 0:
        raise ValueError("these data have labels, the network none; use MLP(labels=...)")
    low, high = int(label.min()), int(label.max())
    if low < 0 or (known is not None and high >= known):
        last = "" if known is None else f" to {known - 1}, as the network has {known} of them"
        raise ValueError(f"labels must count from 0{last}; got {low} to {high}")
