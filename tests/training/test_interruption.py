"""A training that is stopped keeps what it has done: checkpoints by time, and on a signal."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.training.fit import uncut
from sdeflow.training.interruption import Interruption
from sdeflow.training.state import TrainingState
from sdeflow.training.tensor_file import latest
from tests.problems import DATA, SMALL, same, small, trained, weights

Training = sf.training.Training


def written(file: Path) -> int:
    """The step of the checkpoint, 0 if there is none."""
    found = latest(file)
    return 0 if found is None else found[1]["step"]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A time that a test sets."""
    time = SimpleNamespace(seconds=1000.0)
    time.monotonic = lambda: time.seconds
    monkeypatch.setattr(sys.modules["sdeflow.training.fit"], "time", time)
    return time


def test_checkpoints_are_written_by_time(tmp_path: Path, now: SimpleNamespace) -> None:
    """Of steps of 12 s, every third; the run ends in the bits of one that was not killed."""
    file = tmp_path / "c"

    def steps(until: int) -> Iterator[int]:
        field = small()
        run = Training(field, DATA.sample, 30, config=SMALL, checkpoint=file, every=100)
        assert run.step == (0 if until == 8 else 6)
        while run.step < until:
            now.seconds += 12
            next(run)
            yield written(file)
        if until == 30:
            assert same(weights(field), trained())

    assert list(steps(8)) == [0, 0, 3, 3, 3, 6, 6, 6]
    assert list(steps(30)) == [6, 6, *(k for k in range(9, 30, 3) for _ in range(3)), 30]


def test_checkpoints_take_at_most_a_tenth_of_the_time(
    tmp_path: Path, now: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing takes 10 s, a step 12 s: after the first, a checkpoint every 100 s, 9 steps."""
    file, own = tmp_path / "c", TrainingState.write

    def write(*arguments: object) -> None:
        now.seconds += 10
        own(*arguments)

    monkeypatch.setattr(TrainingState, "write", write)
    run = Training(small(), DATA.sample, 99, config=SMALL, checkpoint=file, every_seconds=12)
    steps = []
    for _ in range(20):
        now.seconds += 12
        next(run)
        steps.append(written(file))
    assert sorted(set(steps)) == [1, 10, 19]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_step_and_its_checkpoint(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Then it has its usual effect; the run continues to the same bits."""
    file, calls = tmp_path / "c", [0]

    def sample(n: int, seed: int) -> Tensor:
        calls[0] += 1
        if calls[0] == 12:
            os.kill(os.getpid(), number)
        return DATA.sample(n, seed)

    def stop(*about: object) -> None:
        raise KeyboardInterrupt

    usual = signal.signal(number, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            sf.fit(small(), sample, 30, config=SMALL, checkpoint=file)
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, usual)
    assert 0 < written(file) < 12
    assert same(trained(checkpoint=file), trained())


def _at_once(run: Training) -> None:
    for _ in uncut(run):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the signal was only noted")


def test_without_a_checkpoint_ctrl_c_acts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        _at_once(Training(small(), DATA.sample, 9, config=SMALL))


def _twice(reached: list[bool]) -> None:
    with Interruption() as asked:
        assert not asked
        signal.raise_signal(signal.SIGINT)
        assert asked
        signal.raise_signal(signal.SIGINT)
        reached.append(True)


def test_a_second_signal_acts_at_once_and_an_ignored_one_stays_so() -> None:
    reached: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        _twice(reached)
    assert not reached
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as asked:
            signal.raise_signal(signal.SIGINT)
            assert not asked
    finally:
        signal.signal(signal.SIGINT, usual)


def test_a_training_in_a_thread_has_no_handlers(tmp_path: Path) -> None:
    done: list[Tensor] = []
    thread = threading.Thread(
        target=lambda: done.append(
            sf.fit(small(), DATA.sample, 2, config=SMALL, checkpoint=tmp_path / "c")
        )
    )
    thread.start()
    thread.join()
    assert torch.isfinite(done[0]).all()
