"""Work that is killed at random moments and started again ends in the same bits.

Half of the kills come after a random time, half before a random event of a file: its opening, its
flush to the disk, its renaming. A kill may lose no more than the unit of work in hand.
"""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.forked import Forked, preload
from tests.faults.units import UNITS, Unit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    preload()


def whole(unit: Unit, folder: Path) -> tuple[dict[str, str], float, int]:
    """The results of a run without a fault, its seconds and its number of events."""
    begin(unit, folder)
    with Forked(unit.work, folder) as child:
        seconds = child.seconds()
        child.check_done()
        return dict(unit.results(folder)), seconds, int(child.events.read_text())


def begin(unit: Unit, folder: Path) -> None:
    """Do what must be there before the unit."""
    folder.mkdir(parents=True)
    if unit.before is not None:
        with Forked(unit.before, folder, -1) as child:
            assert child.wait() == 0, child.words()


def moment(unit: Unit, folder: Path, before: set[object]) -> str:
    """Where a kill came."""
    if list(folder.rglob("*.part")):
        return "while a file was written"
    done = unit.done(folder)
    return (
        "before the first unit was done"
        if not done
        else ("in the first unit of that run" if done == before else "later")
    )


@pytest.mark.parametrize("name", UNITS)
def test_killed_and_continued_work_ends_in_the_same_bits(
    name: str, tmp_path: Path, tally: Callable[[str, Counter[str]], None]
) -> None:
    unit, rng, count = UNITS[name], random.Random(name), Counter[str]()
    expected, seconds, events = whole(unit, tmp_path / "whole")
    chain = 0
    while count["kills"] < unit.kills:
        folder = tmp_path / f"chain{chain}"
        chain += 1
        begin(unit, folder)
        for _ in range(6):
            before = unit.done(folder)
            at = rng.randint(1, events) if rng.random() < 0.5 else 0
            with Forked(unit.work, folder, at) as child:
                if not at:
                    child.signal_after(rng.uniform(0.0, 1.1 * seconds))
                code = child.wait()
                if code != -9:
                    child.check_done()
            if code != -9:
                count["ended before the kill"] += 1
                break
            count["kills"] += 1
            count[moment(unit, folder, before)] += 1
            lost = before - unit.done(folder)
            assert not lost, f"lost: {lost}"
        with Forked(unit.work, folder, -1) as child:
            child.check_done()
        found = unit.results(folder)
        wrong = [key for key in expected if found.get(key) != expected[key]]
        assert not wrong, f"other bits in {wrong}"
        assert found.keys() == expected.keys()
        assert not list(folder.rglob("*.part"))
        count["runs compared"] += 1
    tally(f"kills of {name}", count)
