r"""Train a network to be a field: Adam on the loss, and an average of the weights.

    sf.fit(field, data.sample, steps=5000)

A training is a function of its seed: batch, noise, times and dropped labels of step k are drawn
from (seed, k), so a run that is killed and resumed from its checkpoint ends in the same bits. In a
torchrun job the ranks share each batch, and rank 0 writes (see `ranks`).

The n times of a batch are stratified, one in each of n equal shares of the time density. The
learning rate rises linearly over the first 2 % of the steps and falls as a cosine. A copy of the
network is trained; after every step, the field's own network holds the average of the copy's
weights (see `average`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sdeflow._validation import SdeflowError, check_int, check_kind, check_positive
from sdeflow.distributed import barrier, layout
from sdeflow.fields.learned import LearnedField
from sdeflow.training.average import WeightAverage
from sdeflow.training.coupling import Coupling
from sdeflow.training.interruption import Interruption
from sdeflow.training.loss import TimeDensity, Weighting, default_time_density, default_weighting
from sdeflow.training.ranks import agree, check_rows, own_rows, same_weights, sum_over_ranks
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

RARELY = 10
"""A checkpoint is written by time only if this many times the last one's time has passed."""


class Training(Iterator[Tensor]):
    """An iterator over the steps of a training; each `next` makes one step and gives its loss ().

        for loss in sf.training.Training(field, data.sample, steps=5000):
            ...  # the field has the averaged weights and can be used

    The loop may stop at any step and be continued. Arguments and errors are those of `fit`.

    Attributes:
        step: number of steps done.
        network: the copy that is trained; the field's own network holds the average of its
            weights.
        layout: the rank of this process in its torchrun job, and the number of ranks.
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
        every_seconds: float = 30.0,
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
            check_positive(every_seconds, "every_seconds", zero=True),
            coupling,
            source,
        )
        self._draws = check_task(task)
        self.layout = layout()
        check_rows(task, self.layout)
        self._begin()

    def _begin(self) -> None:
        """Make the state before the first step, or read it; it is the same on all ranks."""
        task, here = self.task, self.layout
        shared = here.size > 1
        self._about = task.describe() if shared or task.checkpoint is not None else {}
        self._state = _untrained(task)
        self.network = self._state.network
        self.step = 0
        if task.checkpoint is not None:
            self.step = self._state.restore(task.checkpoint, self._about, task.steps)
            if here.is_writer:
                self._state.check(task.checkpoint, self._about)
        agree(task, self._about, self.step, here)
        for network in (self.network, task.field.network):
            same_weights(network, here)
        self._saved, self._written, self._took = self.step, time.monotonic(), 0.0
        task.field.network.eval()

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
        waited = time.monotonic() - self._written
        patience = max(task.every_seconds, RARELY * self._took)
        if last or self.step % task.every == 0 or waited >= patience:
            self._save()
        if last:
            barrier(self.layout)  # the checkpoint is there when the training ends on any rank
        return value

    def _save(self) -> None:
        """Write the checkpoint now, on rank 0; nothing if no step was made since the last one."""
        task = self.task
        if task.checkpoint is None or self.step == self._saved or not self.layout.is_writer:
            return
        start = time.monotonic()
        self._state.write(task.checkpoint, {**self._about, "steps": task.steps, "step": self.step})
        self._saved, self._written = self.step, time.monotonic()
        self._took = self._written - start

    def _advance(self) -> Tensor:
        """Make one step of the weights, unless the loss is not finite."""
        task, optimiser = self.task, self._state.optimiser
        whole = task.batch(self.step, self.network)
        batch = own_rows(whole, self.layout)
        # A network that draws from torch's generators does so from the seed of its batch.
        draws = seeded(self.network, batch.seed) if self._draws else nullcontext()
        with torch.enable_grad(), draws:
            value = task.error(batch).sum() / len(whole.x0)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        try:
            value = sum_over_ranks(self.network, value.detach(), self.layout)
        except SdeflowError:  # another rank has ended; the state is that after the last step
            self._save()
            raise
        if not math.isfinite(value.item()):
            raise self._bad(whole, value.item())
        for group in optimiser.param_groups:
            group["lr"] = self.rate
        optimiser.step()
        return value

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


def uncut(training: Training) -> Iterator[Tensor]:
    """The steps of a training that writes checkpoints; Ctrl-C and SIGTERM wait for one.

    The step that runs is then finished and its checkpoint written, before the signal has its usual
    effect. A second signal has it at once.
    """
    active = training.task.checkpoint is not None and training.layout.is_writer
    with Interruption(active) as asked:
        for value in training:
            yield value
            if asked:
                training._save()
                return


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
    every_seconds: float = 30.0,
    progress: bool = False,
) -> Tensor:
    """Train the field's network in place, and return the loss of each step (steps,).

        losses = sf.fit(field, data.sample, steps=5000)

    The network is left in eval mode with the average of its weights, also after an interruption;
    `Training` makes one step at a time.

    Args:
        field: the field to be trained.
        sample: (n, seed) -> x0 (n, d), or (x0, label (n,)); called with a new seed at each step.
        steps: number of steps; the learning rate falls to zero over them.
        seed: of data, noise, times and labels.
        config: batch, learning rate, averaging, label dropout.
        weighting: w(t) of the loss (see `loss`); by default the loss is the squared error of the
            network's output: the row that the field predicts, or the unit row with data_std.
        time_density: of training times; by default `default_time_density`.
        coupling: pairs each x0 of a batch with an eps, within each class if there are labels; by
            default pairs are independent. It needs `LearnedField(..., pairs=Pairs.COUPLED)`.
        source: (n, seed) -> eps (n, d), from which the flow starts in place of Gaussian noise: the
            cloud at t_max is sigma(t_max) eps + alpha(t_max) x0. It needs `pairs=Pairs.SOURCED`.
        checkpoint: a file, written every `every` steps, every `every_seconds` and on Ctrl-C. If it
            exists, the training continues from it to the same bits as without a stop; `steps` may
            be more than before. `load` reads the field with the average so far from it.
        every, every_seconds: most steps and seconds (or ten times its own) between checkpoints.
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
        every=every, every_seconds=every_seconds,
    )  # fmt: skip
    bar = tqdm(
        uncut(training), "training", training.task.steps, initial=training.step,
        disable=None if progress and training.layout.is_writer else True, unit="step", leave=False,
    )  # fmt: skip
    losses = list(bar)
    return torch.stack(losses).cpu() if losses else torch.empty(0)
