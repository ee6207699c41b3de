r"""Share work among the ranks of a torchrun job, and add up their results.

    torchrun --nproc-per-node 2 program.py    # two programs run: rank 0 and rank 1

    here = layout()                           # Layout(rank=1, size=2); (0, 1) without torchrun
    mine = here.share(1000)                   # slice(500, 1000)
    total = reduce_sum(counts, here)          # the sum over the ranks, on each of them

`layout` joins the job when it is first called: with gloo between CPUs and nccl between GPUs. Each
rank calls `reduce_sum`, `gather`, `broadcast` and `barrier` equally often and in the same order,
and waits there for the others. With one rank they do nothing.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from sdeflow._validation import SdeflowError

PATIENCE = timedelta(hours=12)
"""How long a rank waits for a slower one; the end of another rank is noticed at once."""


@dataclass(frozen=True)
class Layout:
    """The number of this rank and of all ranks of a job.

    Args:
        rank: 0 to size - 1.
        size: the number of ranks.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_writer(self) -> bool:
        """Whether this rank writes the files and the messages of the job."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """The items of n that are this rank's: n / size of them in a row, up to one."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)


def layout() -> Layout:
    """The place of this program in its torchrun job; the first call joins the job.

    Raises:
        SdeflowError: the other ranks cannot be reached.
    """
    if not dist.is_available():
        return Layout()
    if not dist.is_initialized():
        job = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
        if not job or os.environ["WORLD_SIZE"] == "1":
            return Layout()
        _join()
    return Layout(dist.get_rank(), dist.get_world_size())


def _join() -> None:
    there, local = torch.cuda.device_count(), int(os.environ.get("LOCAL_RANK", 0))
    backend = "gloo"
    if there:
        torch.cuda.set_device(local % there)  # the device that "cuda" means from now on
        # nccl refuses two ranks on one GPU; gloo sums tensors of a GPU too.
        if there >= int(os.environ.get("LOCAL_WORLD_SIZE", 1)) and dist.is_nccl_available():
            backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError, OSError) as error:
        raise SdeflowError(
            f"this rank cannot reach the others ({_first_line(error)}); start the program with "
            "torchrun"
        ) from None
    atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def reduce_sum(x: Tensor, here: Layout) -> Tensor:
    """Replace x by the sum of the x of all ranks, and return it; exact for whole numbers.

    Raises:
        SdeflowError: another rank has ended.
    """
    if here.size > 1:
        with _together():
            dist.all_reduce(x)
    return x


def broadcast(x: Tensor, here: Layout) -> Tensor:
    """Replace x by the x of rank 0, and return it; errors as for `reduce_sum`."""
    if here.size > 1:
        with _together():
            dist.broadcast(x, 0)
    return x


def gather(x: Tensor, here: Layout) -> list[Tensor]:
    """The x (n, ...) of each rank in order, on each rank; n may differ between the ranks.

    Errors as for `reduce_sum`.
    """
    if here.size == 1:
        return [x]
    own = x.detach().cpu()  # gloo gathers on the CPU only
    lengths = [torch.empty((), dtype=torch.int64) for _ in range(here.size)]
    with _together():
        dist.all_gather(lengths, torch.tensor(len(own)))
        padded = own.new_zeros(int(max(lengths)), *own.shape[1:])
        padded[: len(own)] = own
        found = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(found, padded)
    return [each[: int(n)].to(x.device) for each, n in zip(found, lengths, strict=True)]


def barrier(here: Layout) -> None:
    """Wait until every rank is here; errors as for `reduce_sum`."""
    reduce_sum(torch.zeros((), dtype=torch.int64), here)


@contextmanager
def _together() -> Iterator[None]:
    """Say in one sentence that a transfer between the ranks has failed."""
    try:
        yield
    except RuntimeError as error:
        text = _first_line(error)
        if "onnection closed" in text or "onnection reset" in text:
            text = "another rank of this job has ended; its message, or that of torchrun, says why"
        else:
            text = f"the ranks of this job cannot exchange numbers: {text}"
        raise SdeflowError(text) from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].strip()


def first_to_report() -> bool:
    """Whether this rank is the first of its job that asks this, and so should report an error.

    One error ends all ranks, and the first to report knows its cause. Without a job it is true.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False,
            timeout=timedelta(seconds=5),
        )  # fmt: skip
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return bool(store.add(f"sdeflow/reports/{attempt}", 1) == 1)
    except (KeyError, RuntimeError, ValueError):  # torchrun itself has ended
        return os.environ.get("RANK", "0") == "0"
