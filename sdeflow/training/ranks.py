r"""Share the batch of each step among the ranks of a torchrun job.

Every rank draws the whole batch, which depends on seed and step alone, and takes its own rows; so
couplings and stratified times are those of one process. The loss is a mean over the n rows, so
that loss and gradient are sums over the ranks:

    L = sum_r L_r,    L_r = (1/n) sum of the errors of the rows of rank r.

One all-reduce of gradients and loss is made in each step, and every rank then makes the same step
of Adam. torch's DistributedDataParallel would wrap the network, and so hide the attributes by
which a field calls it; the sum and its time are the same.
"""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, nn

from sdeflow._validation import SdeflowError
from sdeflow.distributed import Layout, broadcast, gather, reduce_sum
from sdeflow.training.task import Batch, TrainingTask, seeded


def own_rows(batch: Batch, here: Layout) -> Batch:
    """The rows of a batch that are those of this rank."""
    if here.size == 1:
        return batch
    mine, label = here.share(len(batch.x0)), batch.field.label
    if label is not None and label.ndim:
        label = label[mine]
    field = replace(batch.field, label=label)
    # A rank of its own draws of dropout: with one seed, all would drop the same units.
    return Batch(field, batch.x0[mine], batch.t[mine], batch.eps[mine], batch.seed + here.rank)


@torch.no_grad()
def sum_over_ranks(network: nn.Module, value: Tensor, here: Layout) -> Tensor:
    """Replace the gradients by their sums over the ranks, and return the sum of the values ().

    A weight that no rank has used keeps no gradient.
    """
    if here.size == 1:
        return value
    trained = [p for p in network.parameters() if p.requires_grad]
    wide = torch.float32  # at least, so that narrow gradients are rounded once
    for p in trained:
        wide = torch.promote_types(wide, p.dtype)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    used = torch.tensor([p.grad is not None for p in trained], device=value.device)
    flat = [part.reshape(-1).to(value.device, wide) for part in (*parts, used, value)]
    sums = reduce_sum(torch.cat(flat), here).split([len(part) for part in flat])
    for p, total, any_used in zip(trained, sums, sums[-2].tolist(), strict=False):
        if any_used:
            p.grad = total.view_as(p).to(p.device, p.dtype)
    return sums[-1][0].to(value.dtype)


def agree(task: TrainingTask, about: dict, step: int, here: Layout) -> None:
    """Check that all ranks have one training at one step."""
    text = json.dumps([about, task.steps, step], sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    found = torch.cat(gather(torch.tensor([list(digest)]), here))
    for rank, other in enumerate(found):
        if not torch.equal(other, found[0]):
            raise SdeflowError(
                f"rank {rank} has another training than rank 0 (other arguments, data or "
                "checkpoint); give all ranks the same, and a checkpoint that each of them can read"
            )


@torch.no_grad()
def same_weights(network: nn.Module, here: Layout) -> None:
    """Give the network of each rank the weights and buffers that it has on rank 0."""
    if here.size > 1:
        for value in chain(network.parameters(), network.buffers()):
            value.copy_(broadcast(value.detach().contiguous(), here))


def check_rows(task: TrainingTask, here: Layout) -> None:
    """Refuse a batch of fewer rows than ranks, and a network that mixes rows."""
    if here.size == 1:
        return
    if task.config.batch < here.size:
        raise ValueError(
            f"a batch of {task.config.batch} cannot be shared by {here.size} ranks; start fewer, "
            "or take TrainingConfig(batch=...)"
        )
    network = deepcopy(task.field.network).train()
    batch = own_rows(task.batch(0, network), here)
    alike = batch._replace(x0=batch.x0[:1].expand_as(batch.x0))
    with torch.no_grad():
        # Shapes and draws of dropout are the same in both calls, and so is their first row.
        with seeded(network, batch.seed):
            first = task.error(batch)[0]
        with seeded(network, batch.seed):
            alone = task.error(alike)[0]
    if not torch.isclose(first, alone, rtol=1e-3, equal_nan=True):
        raise ValueError(
            "the network mixes the rows of a batch, as batch norm does, and a rank has only its "
            "own rows; take GroupNorm or LayerNorm, or train in one process"
        )
