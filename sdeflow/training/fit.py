r"""Train a network to be a field: Adam on the one loss, and an average of its weights.

    for loss in sf.fit(field, data.sample, steps=5000): ...

A training is a function of its seed: batch, noise, times and dropped labels of step k are drawn
from (seed, k), so a run that is killed and resumed from its checkpoint ends in the same bits.

The n times of a batch are stratified, one in each of n equal shares of the time density. The
learning rate rises linearly over the first 2 % of the steps and falls as a cosine. The weights
that are kept are the moving average of the iterates w_k,

    a_k = decay a_{k-1} + (1 - decay) w_k.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ChainedScheduler, CosineAnnealingLR, LinearLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sdeflow._validation import SdeflowError, check_cloud, check_int, check_positive
from sdeflow.distributions.dataset import INTEGERS
from sdeflow.fields.learned import LearnedField
from sdeflow.random_streams import Stream, random_generator
from sdeflow.training.checkpoint import TrainingState, describe
from sdeflow.training.loss import (
    TimeDensity,
    Weighting,
    default_time_density,
    default_weighting,
    loss,
)

Sample = Callable[[int, int], Tensor | tuple[Tensor, Tensor]]
WARM_UP = 0.02  # share of the steps


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

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


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """What is trained, on which data, for how long, and where its checkpoint is: `fit` makes it.

    Attributes are the arguments of `fit`.
    """

    field: LearnedField
    sample: Sample
    steps: int
    seed: int
    config: TrainingConfig
    weighting: Weighting
    time_density: TimeDensity
    checkpoint: Path | None
    every: int

    def describe(self) -> dict:
        """What makes two trainings the same, as plain JSON values.

        Raises:
            TypeError: the network's config holds something that JSON cannot.
        """
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


class Training(Iterator[Tensor]):
    """A training in progress: each `next` is one step and gives its loss ().

    Attributes:
        step: steps done.
    """

    def __init__(self, task: TrainingTask) -> None:
        self.task = task
        self.step = 0
        network = task.field.network.train()
        adam = torch.optim.Adam(network.parameters(), lr=task.config.rate, fused=True)
        rise = max(1, round(WARM_UP * task.steps))
        self._state = TrainingState(
            network,
            AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(task.config.decay)),
            adam,
            ChainedScheduler(
                [
                    LinearLR(adam, 1 / rise, total_iters=rise - 1),
                    CosineAnnealingLR(adam, task.steps),
                ]
            ),
        )
        if task.checkpoint is not None:
            self._about = task.describe()
            self.step = self._state.restore(task.checkpoint, self._about)

    def __repr__(self) -> str:
        """In words."""
        task = self.task
        return (
            f"training with batches of {task.config.batch}, seed {task.seed}: "
            f"step {self.step} of {task.steps}"
        )

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._state.schedule.get_last_lr()[0])

    def __next__(self) -> Tensor:
        """One step; after the last one the network holds the averaged weights."""
        task = self.task
        if self.step >= task.steps:
            self._finish()
            raise StopIteration
        value = self._advance()
        self.step += 1
        last = self.step == task.steps
        if last or self.step % 50 == 0:
            self._check(value, last)
        if task.checkpoint is not None and (last or self.step % task.every == 0):
            self._state.write(task.checkpoint, self._about, self.step)
        if last:
            self._finish()
        return value

    def _advance(self) -> Tensor:
        state = self._state
        field, x0, t, eps = self._batch()
        value = loss(field, x0, t, eps, self.task.weighting).mean()
        state.optimiser.zero_grad(set_to_none=True)
        value.backward()
        state.optimiser.step()
        state.schedule.step()
        state.average.update_parameters(state.network)
        return value.detach()

    def _batch(self) -> tuple[LearnedField, Tensor, Tensor, Tensor]:
        """The field with its labels, data (n, d), stratified times (n,) and noise (n, d)."""
        task, network = self.task, self._state.network
        g = random_generator(task.seed, Stream.TRAINING, self.step)
        drawn = task.sample(task.config.batch, int(g.integers(2**62)))
        x0, label = drawn if isinstance(drawn, tuple) else (drawn, None)
        parameter = next(network.parameters())
        x0 = x0.to(parameter)
        n = len(x0)
        u = (torch.arange(n, dtype=torch.float64) + torch.from_numpy(g.random(n))) / n
        t = task.time_density(task.field.process, u.clamp(1e-9, 1 - 1e-9)).to(parameter)
        eps = torch.from_numpy(g.standard_normal(tuple(x0.shape), dtype=np.float32)).to(parameter)
        if label is None:
            return task.field, x0, t, eps
        dropped = torch.from_numpy(g.random(n) < task.config.drop)
        known = task.field.labels
        none = int(label.max()) + 1 if known is None else known
        label = torch.where(dropped, none, label).to(parameter.device)
        return task.field.given(label), x0, t, eps

    def _check(self, value: Tensor, last: bool) -> None:
        bad = "" if torch.isfinite(value) else f"the loss is {float(value)}"
        # The loss is of the weights before the step: that they are bad after it shows only here.
        if last and not all(torch.isfinite(p).all() for p in self._state.average.parameters()):
            bad = bad or "a weight is infinite"
        if bad:
            raise SdeflowError(
                f"{bad} at step {self.step}; lower the rate ({self.task.config.rate}) or check "
                "the data's scale (data_std)"
            )

    def _finish(self) -> None:
        self._state.network.load_state_dict(self._state.average.module.state_dict())
        self._state.network.eval()


def fit(
    field: LearnedField,
    sample: Sample,
    steps: int,
    seed: int = 0,
    *,
    config: TrainingConfig | None = None,
    weighting: Weighting | None = None,
    time_density: TimeDensity | None = None,
    checkpoint: str | Path | None = None,
    every: int = 1000,
) -> Training:
    """Train the field's network in place; iterate over the result, one loss per step.

        for loss in sf.fit(field, data.sample, steps=5000): ...

    After the last step the network holds the moving average of its weights.

    Args:
        sample: (n, seed) -> x0 (n, d), or (x0, label (n,)); called with a new seed at each step.
        steps: in all; the learning rate falls to zero over them.
        config: batch, learning rate, averaging, label dropout.
        weighting: w; by default the plain squared error of what the network itself gives: the row
            that the field predicts, or the unit row if it is preconditioned.
        time_density: of training times; by default `default_time_density`.
        checkpoint: a file, written every `every` steps; if it is there, the run goes on from it,
            to the same weights, bit for bit, as if it had not stopped.

    Raises:
        TypeError, ValueError: an argument is out of range, or the first batch does not fit the
            network; nothing is trained then.
        SdeflowError: the loss became NaN; the checkpoint is damaged or of another run.
    """
    if not isinstance(field, LearnedField):
        raise TypeError(f"only a LearnedField can be trained, got {type(field).__name__}")
    config = TrainingConfig() if config is None else config
    if not isinstance(config, TrainingConfig):
        raise TypeError(f"config must be a TrainingConfig, got {type(config).__name__}")
    task = TrainingTask(
        field,
        sample,
        check_int(steps, "steps"),
        check_int(seed, "seed", 0),
        config,
        weighting or default_weighting(field),
        time_density or default_time_density(field),
        None if checkpoint is None else Path(checkpoint),
        check_int(every, "every"),
    )
    if not any(p.requires_grad for p in field.network.parameters()):
        raise ValueError("the network has no parameter that can be trained; unfreeze some")
    _check_first_batch(field, sample, config.batch, task.seed)
    return Training(task)


def _check_first_batch(field: LearnedField, sample: Sample, n: int, seed: int) -> None:
    """Refuse a sample function, data or labels that the network cannot learn from."""
    try:
        inspect.signature(sample).bind(n, seed)
    except TypeError:
        what = type(sample).__name__
        raise TypeError(
            f"sample must take (n, seed), this {what} does not; pass data.sample"
        ) from None
    except ValueError:
        pass  # a function written in C may have no signature
    drawn = sample(n, seed)
    x0, label = drawn if isinstance(drawn, tuple) and len(drawn) == 2 else (drawn, None)
    check_cloud(x0, "the training data", field.dim)
    if label is not None:
        _check_labels(field, x0, label)


def _check_labels(field: LearnedField, x0: Tensor, label: object) -> None:
    if not isinstance(label, Tensor) or label.dtype not in INTEGERS or label.shape != x0.shape[:1]:
        got = f"{label.dtype} {tuple(label.shape)}" if isinstance(label, Tensor) else type(label)
        raise TypeError(f"labels must be a tensor ({len(x0)},) of whole numbers, got {got}")
    known = field.labels
    if known == 0:
        raise ValueError("these data have labels, the network none; use MLP(labels=...)")
    low, high = int(label.min()), int(label.max())
    if low < 0 or (known is not None and high >= known):
        last = "" if known is None else f" to {known - 1}, as the network has {known} of them"
        raise ValueError(f"labels must count from 0{last}; got {low} to {high}")
