"""Define a training task: field, data and settings; draw its batches, and check the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sdeflow._validation import check_cloud, check_int, check_positive, shown
from sdeflow.distributions.dataset import INTEGERS
from sdeflow.fields.learned import LearnedField
from sdeflow.random_streams import Stream, random_generator
from sdeflow.training.checkpoint import FORMAT, describe
from sdeflow.training.coupling import (
    Coupling,
    check_pairs,
    check_source,
    check_takes,
    first_pairs,
    paired,
)
from sdeflow.training.loss import TimeDensity, Weighting, regression_error, uniform_log_snr
from sdeflow.training.tensor_file import one_line

Sample = Callable[[int, int], Tensor | tuple[Tensor, Tensor]]
WARM_UP = 0.02
"""Share of the steps over which the learning rate rises."""


@dataclass(frozen=True)
class TrainingConfig:
    """Batch size, learning rate, averaging of weights and label dropout of a training.

    Args:
        batch: particles per step.
        rate: peak learning rate of Adam; it rises over the first 2 % of the steps and falls as a
            cosine to 0.
        decay: the largest share of the average of the weights that a step keeps, below 1; in the
            first steps it is less (see `training.average`).
        drop: share of labels replaced by "no label", below 1, for classifier-free guidance (Ho and
            Salimans 2022).
    """

    batch: int = 512
    rate: float = 5e-3
    decay: float = 0.995
    drop: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers, and store them as plain ones, which checkpoints can hold."""
        object.__setattr__(self, "batch", check_int(self.batch, "batch"))
        object.__setattr__(self, "rate", check_positive(self.rate, "rate"))
        for name in ("decay", "drop"):
            share = check_positive(getattr(self, name), name, zero=True)
            if share >= 1:
                raise ValueError(f"{name} must lie in [0, 1), got {share}")
            object.__setattr__(self, name, share)


class Batch(NamedTuple):
    """The batch of one step.

    Attributes:
        field: the field, with the labels of the batch.
        x0, eps: data and noise, (n, d).
        t: (n,) times.
        seed: for torch's own generators, if the network draws from them.
    """

    field: LearnedField
    x0: Tensor
    t: Tensor
    eps: Tensor
    seed: int


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """The arguments of `fit`, with defaults filled in."""

    field: LearnedField
    sample: Sample
    steps: int
    seed: int
    config: TrainingConfig
    weighting: Weighting
    time_density: TimeDensity
    checkpoint: Path | None
    every: int
    every_seconds: float
    coupling: Coupling | None = None
    source: Sample | None = None

    def rate(self, step: int) -> float:
        """The learning rate of the next step after `step` steps."""
        rise = max(1, round(WARM_UP * self.steps))
        fall = (1 + math.cos(math.pi * step / self.steps)) / 2
        return self.config.rate * min(1.0, (step + 1) / rise) * fall

    def batch(self, step: int, network: nn.Module) -> Batch:
        """The batch of the next step after `step` steps; its times are stratified.

        Data and noise are in float32 at least, times in float64, whatever the network's type.
        """
        g = random_generator(self.seed, Stream.TRAINING, step)
        x0, label = _pair(self.sample(self.config.batch, int(g.integers(2**62))))
        parameter = next(network.parameters())
        x0 = x0.to(parameter.device, torch.promote_types(parameter.dtype, torch.float32))
        n = len(x0)
        u = (torch.arange(n, dtype=torch.float64) + torch.from_numpy(g.random(n))) / n
        t = self.time_density(self.field.process, u.clamp(1e-9, 1 - 1e-9))
        if self.source is None:
            eps = torch.from_numpy(g.standard_normal(tuple(x0.shape), dtype=np.float32)).to(x0)
        else:
            eps = check_source(self.source(n, int(g.integers(2**62))), x0).to(x0)
        label = self.field.label if label is None else self._with_none(label, g).to(x0.device)
        if self.coupling is not None:
            eps = paired(self.coupling, x0, eps, label, int(g.integers(2**62)))
        field = replace(self.field, network=network, label=label)
        return Batch(field, x0, t, eps, int(g.integers(2**62)))

    def _with_none(self, label: Tensor, g: np.random.Generator) -> Tensor:
        """The labels (n,), with a share of them replaced by "no label"."""
        dropped = torch.from_numpy(g.random(len(label)) < self.config.drop).to(label.device)
        none = self.field.labels
        return label if none is None else torch.where(dropped, none, label)

    def error(self, batch: Batch) -> Tensor:
        """The weighted error (n,) of each particle of a batch."""
        return regression_error(batch.field, batch.x0, batch.t, batch.eps, self.weighting)

    def describe(self) -> dict:
        """The values by which a training is recognised, as plain JSON values."""
        process, u = self.field.process, torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
        t = self.time_density(process, u)
        c = process(uniform_log_snr(process, u))
        weights = torch.as_tensor(self.weighting(c)).expand(5)
        about: dict = {
            "kind": "training",
            "format": FORMAT,
            "seed": self.seed,
            "config": asdict(self.config),
            "field": describe(self.field),
            # A function is recognised by a few of its values: its name may not be unique.
            "times": [f"{v:.3g}" for v in t.tolist()],
            "weighting": [f"{v:.3g}" for v in weights.tolist()],
            "data": _first(self.sample),
        }
        if self.source is not None:
            about["source"] = _first(self.source)
        if self.coupling is not None:
            about["coupling"] = first_pairs(self.coupling, _pair(self.sample(4, 0))[0].shape[1])
        return about


def _pair(drawn: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Points and labels, if there are any."""
    return drawn if isinstance(drawn, tuple) else (drawn, None)


def _first(sample: Sample) -> list[str]:
    """A few numbers by which the data are recognised; none if a seed does not fix the data."""
    (x, _), (y, _) = (_pair(sample(4, 0)) for _ in range(2))
    return [f"{v:.3g}" for v in x[:4].flatten()[:8].tolist()] if torch.equal(x, y) else []


# ------------------------------------------------------------------- checks before the first step


def check_task(task: TrainingTask) -> bool:
    """Refuse functions, data, labels or a network that cannot be used, and try one batch.

    Returns whether the network draws from torch's own generator, as dropout does.
    """
    field, sample, n = task.field, task.sample, task.config.batch
    if torch.is_inference_mode_enabled():
        raise ValueError("training needs gradients; call it outside torch.inference_mode()")
    if not any(p.requires_grad for p in field.network.parameters()):
        raise ValueError("the network has no parameter that can be trained; unfreeze some")
    if any(is_lazy(p) for p in field.network.parameters()):
        raise ValueError("the network has lazy layers without a shape; call it once before")
    check_takes(sample, "sample", "(n, seed)", "data.sample")
    check_pairs(field, task.coupling, task.source)
    drawn = sample(n, task.seed)
    if isinstance(drawn, list | tuple) and not (isinstance(drawn, tuple) and len(drawn) == 2):
        raise TypeError(
            f"sample must give x0 (n, d) or a pair (x0, label), got a {type(drawn).__name__} of "
            f"{len(drawn)}"
        )
    x0, label = _pair(drawn)
    check_cloud(x0, "the training data", field.dim)
    if label is not None:
        _check_labels(task, x0, label)
    elif field.labels and field.label is None:
        raise ValueError(
            f"the network has {field.labels} labels, the data have none; pass "
            "data.sample_labelled, or make the network without labels"
        )
    return _try(task)


def _check_labels(task: TrainingTask, x0: Tensor, label: object) -> None:
    if not isinstance(label, Tensor) or label.dtype not in INTEGERS or label.shape != x0.shape[:1]:
        got = f"{label.dtype} {tuple(label.shape)}" if isinstance(label, Tensor) else shown(label)
        raise TypeError(f"labels must be a tensor ({len(x0)},) of whole numbers, got {got}")
    known = task.field.labels
    if known == 0:
        raise ValueError("these data have labels, the network has none; use MLP(labels=...)")
    if known is None and task.config.drop:
        raise ValueError(
            "the network has no attribute labels, so it is not known which label means none; set "
            "network.labels = K for labels 0 to K - 1, so that K means none, or use "
            "TrainingConfig(drop=0)"
        )
    low, high = int(label.min()), int(label.max())
    if low < 0 or (known is not None and high >= known):
        last = "" if known is None else f" to {known - 1}, as the network has {known} of them"
        raise ValueError(f"labels must count from 0{last}; got {low} to {high}")


def _try(task: TrainingTask) -> bool:
    """Try one batch on a copy of the network; return whether it drew torch's random numbers."""
    try:
        network = deepcopy(task.field.network).train()
    except Exception as error:
        raise TypeError(
            "the network cannot be copied by copy.deepcopy, which the average of its weights "
            f"needs: {one_line(error)}"
        ) from error
    for name, function in (("weighting", task.weighting), ("time_density", task.time_density)):
        if not callable(function):
            raise TypeError(
                f"{name} must be a function, such as those of sdeflow.training, got "
                f"{type(function).__name__}"
            )
    batch = task.batch(0, network)
    p, n = task.field.process, len(batch.x0)
    if (
        getattr(batch.t, "shape", None) != (n,)
        or not ((p.t_min <= batch.t) & (batch.t <= p.t_max)).all()
    ):
        raise ValueError(
            f"time_density must give ({n},) times in [{p.t_min:g}, {p.t_max:g}]; clamp them"
        )
    weights = torch.as_tensor(task.weighting(p(batch.t)))
    if weights.shape not in ((), (n,)) or not (torch.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(f"weighting must give () or ({n},) finite numbers of zero or more")
    with seeded(network, batch.seed), torch.no_grad():
        before = generator_state(network)
        try:
            task.error(batch)
        except Exception as error:
            raise ValueError(
                f"the network fails on the first batch, x {tuple(batch.x0.shape)} and t ({n},): "
                f"{one_line(error)}"
            ) from error
        return not torch.equal(before, generator_state(network))


def _devices(network: nn.Module) -> list[torch.device]:
    return sorted({p.device for p in network.parameters() if p.is_cuda}, key=str)


def generator_state(network: nn.Module) -> Tensor:
    """The states of torch's generators from which a network can draw, in one row of bytes."""
    there = [torch.cuda.get_rng_state(device) for device in _devices(network)]
    return torch.cat([torch.get_rng_state(), *there])


@contextmanager
def seeded(network: nn.Module, seed: int) -> Iterator[None]:
    """Seed torch's own generators inside the context, and restore their states at its end."""
    with torch.random.fork_rng(_devices(network)):
        torch.default_generator.manual_seed(seed)
        for device in _devices(network):
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
