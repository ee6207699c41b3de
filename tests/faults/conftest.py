"""Count the cases of the campaigns, and print the counts at the end."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

COUNTS: dict[str, Counter[str]] = {}


@pytest.fixture
def tally() -> Callable[[str, Counter[str]], None]:
    """Keep the counts of a campaign."""
    return COUNTS.__setitem__


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a line for each campaign."""
    for name, count in COUNTS.items():
        words = ", ".join(f"{value} {what}" for what, value in count.items())
        terminalreporter.write_line(f"{name}: {words}")
    for what in ("kills", "cases"):
        total = sum(count[what] for count in COUNTS.values())
        if total:
            terminalreporter.write_line(f"{total} {what} in all")
