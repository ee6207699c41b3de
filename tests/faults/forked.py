"""Run a unit of work in a process that is forked after torch was imported, and stop it.

    with Forked(work, folder) as child:
        child.stop_after(0.3)          # SIGKILL by default

The server of `multiprocessing` imports sdeflow once, so that a kill costs no second import.
"""

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTEXT = multiprocessing.get_context("forkserver")
Work = Callable[[], None]
NUMBERS = itertools.count()
LONGEST = 300.0  # seconds; a unit that takes longer hangs, also on a busy machine


def preload() -> None:
    """Start the server; it imports what the units need."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    os.environ["OMP_NUM_THREADS"] = "1"
    CONTEXT.set_forkserver_preload(["tests.faults.units"])


class Forked:
    """A process that does `work` in `folder`; what it says goes to the file `said`.

    `dies_at` is the number of the event (a file opened for writing, flushed, renamed or removed)
    before which it kills itself; it counts them in the file `events`. None are counted at -1.
    """

    def __init__(self, work: Work, folder: Path, dies_at: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        number = next(NUMBERS)
        self.said = folder.with_name(f"{folder.name}.{number}.said")
        self.events = folder.with_name(f"{folder.name}.{number}.events")
        self.process: BaseProcess = CONTEXT.Process(
            target=_inside, args=(work, folder, self.said, self.events, dies_at)
        )
        self.began = time.perf_counter()
        self.process.start()

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.process.close()

    def signal_after(self, seconds: float, kind: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal when the process has run for some seconds, unless it has ended.

        Signals but SIGKILL wait until the process has begun to speak into its file.
        """
        self.process.join(max(0.0, self.began + seconds - time.perf_counter()))
        while kind != signal.SIGKILL and self.process.is_alive() and not self.said.exists():
            self.process.join(0.01)
        if self.process.is_alive() and self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, kind)

    def seconds(self) -> float:
        """How long it has run; waits for its end."""
        self.process.join(LONGEST)
        return time.perf_counter() - self.began

    def wait(self) -> int:
        """The exit code, -9 after SIGKILL; a process that hangs fails."""
        self.process.join(LONGEST)
        assert not self.process.is_alive(), f"a hang over {LONGEST:.0f} s"
        assert self.process.exitcode is not None
        return self.process.exitcode

    def check_done(self) -> None:
        """The process has done its work; exit code 1 says that a check did not pass."""
        assert self.wait() in (0, 1), self.words()
        assert "Traceback" not in self.words(), self.words()

    def words(self) -> str:
        """What it said, on stdout and stderr."""
        return self.said.read_text(errors="replace")


def _inside(work: Work, folder: Path, said: Path, events: Path, dies_at: int) -> None:
    to = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(to, 1)
    os.dup2(to, 2)
    os.chdir(folder)
    if dies_at >= 0:
        count = _count_events(str(folder.resolve()), dies_at)
    try:
        work()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if dies_at >= 0:
            events.write_text(str(count[0]))


def _count_events(folder: str, dies_at: int) -> list[int]:
    """Count what happens to files in the folder; die before event number `dies_at`."""
    count = [0]

    def another() -> None:
        count[0] += 1
        if count[0] == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, args: tuple) -> None:
        if event not in ("open", "os.rename", "os.remove") or not isinstance(args[0], str | Path):
            return
        writes = event != "open" or args[2] & (os.O_WRONLY | os.O_RDWR)
        if writes and os.path.abspath(args[0]).startswith(folder):
            another()

    sys.addaudithook(hook)
    flush = os.fsync

    def counted(file: int) -> None:
        another()
        flush(file)

    os.fsync = counted
    return count
