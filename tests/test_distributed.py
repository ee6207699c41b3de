"""Ranks share work without a gap, add up exactly, and end together."""

import os
import time

import pytest
import torch

import sdeflow as sf
from sdeflow.distributed import (
    Layout,
    barrier,
    broadcast,
    first_to_report,
    gather,
    layout,
    reduce_sum,
)
from tests.ranks import in_ranks


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_are_in_a_row_and_nearly_equal(size: int) -> None:
    for n in (0, 1, 5, 7, 4096):
        rows = [list(range(n))[Layout(rank, size).share(n)] for rank in range(size)]
        assert [k for row in rows for k in row] == list(range(n))
        assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_one_program_is_a_layout_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torchrun, and with torchrun --nproc-per-node 1: no group is started."""
    for name, value in [("RANK", "0"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "1")]:
        assert layout() == Layout(0, 1)
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "1")
    here = layout()
    assert here == Layout()
    assert here.is_writer
    assert first_to_report()
    x = torch.arange(3.0)
    assert reduce_sum(x, here) is broadcast(x, here) is gather(x, here)[0] is x
    barrier(here)


def _exchange() -> tuple:
    here = layout()
    assert layout() == here  # the job is joined once
    rank = here.rank
    counts = reduce_sum(torch.tensor([2**62 - 1 + rank, rank]), here)
    rows = gather(torch.full((rank, 2), rank + 0.5, dtype=torch.float64), here)
    first = broadcast(torch.tensor([5.0 + rank]), here)
    waits = time.monotonic()
    time.sleep(0.1 * rank)
    barrier(here)
    waits = time.monotonic() - waits
    if rank == 2:
        os._exit(1)
    try:
        barrier(here)
    except sf.SdeflowError as error:
        return (
            rank,
            here.is_writer,
            counts.tolist(),
            [r.tolist() for r in rows],
            float(first),
            waits,
            str(error),
        )
    return ()


def test_ranks_exchange_numbers_and_notice_the_end_of_another() -> None:
    *found, dead = in_ranks(3, _exchange)
    assert isinstance(dead, EOFError)
    for rank, (number, writes, counts, rows, first, waits, told) in enumerate(found):
        assert (number, writes) == (rank, rank == 0)
        assert counts == [3 * 2**62 - 2**64, 3]  # modulo 2^64: nothing was rounded
        assert rows == [[], [[1.5, 1.5]], [[2.5, 2.5]] * 2]
        assert first == 5.0
        assert waits > 0.15
        assert (
            told
            == "another rank of this job has ended; its message, or that of torchrun, says why"
        )


def test_a_job_that_cannot_be_joined_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "x"}
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(sf.SdeflowError, match=r"cannot reach the others .* with torchrun"):
        layout()


def _report() -> bool:
    barrier(layout())
    first = first_to_report()
    barrier(layout())  # rank 0 keeps the store until both have asked
    return first


def test_one_rank_reports() -> None:
    assert sorted(in_ranks(2, _report)) == [False, True]
