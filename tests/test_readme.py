"""README's programs run as they stand there, but for the numbers that set how long they take."""

import re
from pathlib import Path

import pytest

import sdeflow as sf
from benchmarks import record
from docs.site import programs

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROGRAMS = programs.blocks(README)
LONGEST = 10
ORDER = ("![", "make demo", "## Three programs", "## What no other", "## Where to read")
SHORTEST = {"steps=1000": "steps=50", "prior(5000": "prior(2000"}


@pytest.fixture(scope="module")
def printed() -> list[str]:
    return programs.run(README, SHORTEST)


def test_three_programs_of_ten_lines_print_what_readme_says(printed: list[str]) -> None:
    assert len(PROGRAMS) == 3
    for block, out in zip(PROGRAMS, printed, strict=True):
        lines = [line for line in block.program.splitlines() if line]
        assert len(lines) <= LONGEST
        assert ";" not in block.program
        assert block.shown is not None
        assert programs.shape(out) == programs.shape(block.shown)


def test_particles_of_a_potential_have_their_density(printed: list[str]) -> None:
    for text in (printed[0], PROGRAMS[0].shown):
        p = re.search(r"^p [=>] ([\d.]+) after Holm", text, re.MULTILINE)
        assert p is not None
        assert float(p.group(1)) > 0.05


def test_the_loss_is_split(printed: list[str]) -> None:
    for text in (printed[1], PROGRAMS[1].shown):
        parts = re.search(r"loss ([\d.]+) = irreducible ([\d.]+) \+ excess ([\d.]+)", text)
        loss, least, excess = map(float, parts.groups())
        assert abs(loss - least - excess) < 2e-3  # three roundings
        assert 0.46 < least < 0.50  # of the ring, over equal shares of log SNR
        assert 0 < excess < 0.1


def test_readme_has_its_order() -> None:
    places = [README.index(part) for part in ORDER]
    assert places == sorted(places)
    assert len(README.split()) < 1500


def test_names_in_the_table_are_in_their_packages() -> None:
    """A list of names ends at a comma outside brackets, or at its dots."""
    overview = (ROOT / "docs" / "overview.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .* \|$", overview, re.MULTILINE)
    assert len(rows) >= 12
    for package, cell in rows:
        for span in re.findall(r"`([^`]+)`", cell):
            for name in re.sub(r"\(.*?\)", "", span).split():
                if name not in ("...", "NOISE", "SCORE", "VELOCITY", "V", "sdeflow"):
                    thing = getattr(sf, package)
                    for part in name.split("."):
                        thing = getattr(thing, part)


def test_measured_numbers_are_the_latest() -> None:
    shown = record.BLOCK.search(README)
    assert shown is not None
    assert shown.group() == record.measured(), "run: python -m benchmarks readme"
