r"""Train a network to be a field: Adam on the loss, and an average of the weights.

    sf.fit(field, data.sample, steps=5000)

A training is a function of its seed: batch, noise, times and dropped labels of step k are drawn
from (seed, k), so a run that is killed and resumed from its checkpoint ends in the same bits.

The n times of a batch are stratified, one in each of n equal shares of the time density. The
learning rate rises linearly over the first 2 % of the steps and falls as a cosine. A copy of the
network is trained; after every step, the field's own network holds the average of the copy's
weights (see `average`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sdeflow._validation import SdeflowError, check_int, check_kind
from sdeflow.fields.learned import LearnedField
from sdeflow.training.average import WeightAverage
from sdeflow.training.coupling import Coupling
from sdeflow.training.loss import (
    TimeDensity,
    Weighting,
    default_time_density,
    default_weighting,
)
from sdeflow.training.state import TrainingState
from sdeflow.training.task import (
    Batch,
    Sample,
    TrainingConfig,
    TrainingTask,
    check_task,
    seeded,
)
from sdeflow.training.tensor_file import check_path


class Training(Iterator[Tensor]):
    """An iterator over the steps of a training; each `next` makes one step and gives its loss ().

        for loss in sf.training.Training(field, data.sample, steps=5000):
            ...  # the field has the averaged weights and can be used

    The loop may stop at any step and be continued. Arguments and errors are those of `fit`.

    Attributes:
        step: number of steps done.
        network: the copy that is trained; the field's own network holds the average of its
            weights.
    """

    def __init__(
        self,
        field: LearnedField,
        sample: Sample,
        steps: int,
        seed: int = 0,
        *,
        config: TrainingConfig | None = None,
        weighting: Weighting | None = None,
        time_density: TimeDensity | None = None,
        coupling: Coupling | None = None,
        source: Sample | None = None,
        checkpoint: str | Path | None = None,
        every: int = 1000,
    ) -> None:
        check_kind(field, LearnedField, "field")
        config = TrainingConfig() if config is None else config
        check_kind(config, TrainingConfig, "config")
        self.task = task = TrainingTask(
            field,
            sample,
            check_int(steps, "steps"),
            check_int(seed, "seed", 0),
            config,
            default_weighting(field) if weighting is None else weighting,
            default_time_density(field) if time_density is None else time_density,
            None if checkpoint is None else check_path(checkpoint, "checkpoint"),
            check_int(every, "every"),
            coupling,
            source,
        )
        self._draws = check_task(task)
        self.step = 0
        self._state = _untrained(task)
        self.network = self._state.network
        if task.checkpoint is not None:
            self._about = task.describe()
            self.step = self._state.restore(task.checkpoint, self._about, task.steps)
            self._state.check(task.checkpoint, self._about)
        field.network.eval()

    def __repr__(self) -> str:
        task = self.task
        return (
            f"training with batches of {task.config.batch}, seed {task.seed}: "
            f"step {self.step} of {task.steps}"
        )

    def __len__(self) -> int:
        """The number of steps left, which a loop over the training will make."""
        return self.task.steps - self.step

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.task.rate(self.step)

    def __next__(self) -> Tensor:
        """Make one step of the weights and of their average; write a checkpoint if one is due."""
        task = self.task
        if self.step >= task.steps:
            raise StopIteration
        value = self._advance()
        self.step += 1
        self._state.average.update(self.step)
        last = self.step == task.steps
        if last and not self._state.average.finite():
            raise self._failed("a weight is infinite", self.step)
        if task.checkpoint is not None and (last or self.step % task.every == 0):
            about = {**self._about, "steps": task.steps, "step": self.step}
            self._state.write(task.checkpoint, about)
        return value

    def _advance(self) -> Tensor:
        """Make one step of the weights, unless the loss is not finite."""
        task, optimiser = self.task, self._state.optimiser
        batch = task.batch(self.step, self.network)
        with torch.enable_grad(), self._own_draws(batch):
            value = task.error(batch).mean()
        if not math.isfinite(value.item()):
            raise self._bad(batch, value.item())
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        for group in optimiser.param_groups:
            group["lr"] = self.rate
        optimiser.step()
        return value.detach()

    def _own_draws(self, batch: Batch) -> AbstractContextManager[None]:
        """Torch's generators with the seed of this batch, for a network that draws from them."""
        return seeded(self.network, batch.seed) if self._draws else nullcontext()

    def _bad(self, batch: Batch, value: float) -> SdeflowError:
        if not torch.isfinite(batch.x0).all():
            return SdeflowError(
                f"the data of step {self.step + 1} have NaN or infinite entries; drop those rows"
            )
        return self._failed(f"the loss is {value}", self.step + 1)

    def _failed(self, what: str, step: int) -> SdeflowError:
        return SdeflowError(
            f"{what} at step {step}; lower the rate ({self.task.config.rate}) or check the "
            "data's scale (data_std)"
        )


def _untrained(task: TrainingTask) -> TrainingState:
    network = deepcopy(task.field.network).train()
    average = WeightAverage(network, task.field.network, task.config.decay)
    adam = torch.optim.Adam(network.parameters(), lr=task.config.rate, fused=True)
    return TrainingState(network, average, adam)


def fit(
    field: LearnedField,
    sample: Sample,
    steps: int,
    seed: int = 0,
    *,
    config: TrainingConfig | None = None,
    weighting: Weighting | None = None,
    time_density: TimeDensity | None = None,
    coupling: Coupling | None = None,
    source: Sample | None = None,
    checkpoint: str | Path | None = None,
    every: int = 1000,
    progress: bool = False,
) -> Tensor:
    """Train the field's network in place, and return the loss of each step (steps,).

        losses = sf.fit(field, data.sample, steps=5000)

    The network is left in eval mode with the average of its weights, also if the training is
    interrupted. `Training` takes the same arguments and makes one step at a time.

    Args:
        field: the field to be trained.
        sample: (n, seed) -> x0 (n, d), or (x0, label (n,)); called with a new seed at each step.
        steps: number of steps; the learning rate falls to zero over them.
        seed: of data, noise, times and labels.
        config: batch, learning rate, averaging, label dropout.
        weighting: w(t) of the loss (see `loss`); by default the loss is the squared error of the
            network's output: the row that the field predicts, or the unit row with data_std.
        time_density: of training times; by default `default_time_density`.
        coupling: chooses which eps of a batch is paired with which x0, within each class if there
            are labels; by default the pairs are independent. It needs
            `LearnedField(..., pairs=Pairs.COUPLED)`.
        source: (n, seed) -> eps (n, d), from which the flow starts in place of Gaussian noise: the
            cloud at t_max is sigma(t_max) eps + alpha(t_max) x0. It needs `pairs=Pairs.SOURCED`.
        checkpoint: a file, written every `every` steps. If it exists, the training continues from
            it to the same bits as without a stop; `steps` may be more than before. `load` reads
            the field with the average so far from it.
        every: steps between two checkpoints.
        progress: show a bar on stderr.

    Returns:
        The losses of the steps of this call, fewer than `steps` after a checkpoint.

    Raises:
        TypeError, ValueError: the first batch does not fit the network; nothing is trained then.
        SdeflowError: the loss became NaN; the checkpoint is damaged or belongs to another run.
    """
    training = Training(
        field, sample, steps, seed, config=config, weighting=weighting,
        time_density=time_density, coupling=coupling, source=source, checkpoint=checkpoint,
        every=every,
    )  # fmt: skip
    bar = tqdm(
        training, "training", training.task.steps, initial=training.step,
        disable=None if progress else True, unit="step", leave=False,
    )  # fmt: skip
    losses = list(bar)
    return torch.stack(losses).cpu() if losses else torch.empty(0)
