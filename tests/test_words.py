"""Words that the house does not use, in names, in prose and in messages.

Each was a metaphor for a thing that has a term: an argument is checked (no door), time is time (no
clock), a diagnostic is a diagnostic (no guard). Not here, since no pattern tells the good use from
the bad one: "law", which is a probability distribution only, and "engine", which is torchsde or
torchdiffeq only.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

GONE = (
    "door", "clock", "ruler", "watch", "tile", "board", "guard", "feet", "affine guess",
    "turnover", "audit", "proof", "meter", "bridge", "world", "flux",
)  # fmt: skip
WORD = re.compile(rf"\b(?:{'|'.join(GONE)})(?:e?s|e?d|ing|or)?\b")

# Terms and names of others, in which such a word is right.
RIGHT = re.compile(
    r"Brownian bridge"  # a Brownian path with both ends given
    r"|Schr[öo]dinger [Bb]ridge"  # the title of two papers
    r"|Flux\b"  # the name of a network
    r"|metrics for evaluating and auditing"  # the title of a paper
)
# Names in code that are not used alone: the thing is called `sampling_floor` or `detected`. As
# English ("no network has seen", "the floor of the table") both are allowed.
BARE = {"floor", "floors", "seen"}
FLOORED = re.compile(r"(?:math|np|torch|\))\.floor$|import .*\bfloor$")  # rounding down


def words(text: str) -> str:
    """Text with snake_case and CamelCase cut into lower-case words, line by line."""
    cut = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", RIGHT.sub("", text))
    return cut.lower()


def gone(path: str, text: str) -> Iterator[str]:
    """Uses of a word that goes."""
    for line, told in enumerate(words(text).splitlines(), 1):
        yield from (f"{path}:{line}: {found}" for found in WORD.findall(told))


def bare(path: str, text: str) -> Iterator[str]:
    """Names in Python code that say too little."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string.strip("_") in BARE:
            line, column = token.start
            before = lines[line - 1][:column] + token.string
            if not FLOORED.search(before):
                yield f"{path}:{line}: {token.string}"


def files() -> Iterator[tuple[str, str]]:
    folders = ("sdeflow", "benchmarks", "figures", "examples", "tests", "docs")
    found = [f for folder in folders for f in sorted((ROOT / folder).rglob("*"))]
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for file in (*found, *pages):
        if file.suffix in {".py", ".md", ".rst", ".html", ".js", ".css"} and file != Path(
            __file__
        ):
            yield file.relative_to(ROOT).as_posix(), file.read_text("utf-8")


def test_words_that_go_are_gone() -> None:
    """CHANGELOG.md is left out: it says what the old names have become."""
    told = list(files())
    assert len(told) > 400
    assert "\n".join(fault for path, text in told for fault in gone(path, text)) == ""


def test_names_say_what_they_are() -> None:
    python = [(path, text) for path, text in files() if path.endswith(".py")]
    assert "\n".join(fault for path, text in python for fault in bare(path, text)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "def check_door(x): ...", "class BoardNetwork: ...", "CLOCK = 1", "watched = 1",
        "# two worlds", "the guards of a run", "an affine guess", "Tiles",
        "the bridge to x_0", "raise ValueError('no meter')", "flux of mass", "an auditor",
    ],
)  # fmt: skip
def test_a_word_that_goes_is_caught(text: str) -> None:
    assert len(list(gone("a.py", text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a Brownian bridge", "checkerboard", "clockwise", "Checkerboard", "dashboard", "outdoors",
        "Diffusion Schrodinger bridge matching", "Stable Diffusion 3, Flux", "parameter",
        "worldwide", "proofread", "a network has seen it", "the floor of the table",
    ],
)  # fmt: skip
def test_other_words_stay(text: str) -> None:
    assert not list(gone("a.py", text))


def test_bare_names_are_caught() -> None:
    assert len(list(bare("a.py", "floor = 1"))) == 1
    assert len(list(bare("a.py", "x.floor + self._floor"))) == 2
    assert len(list(bare("a.py", "def f(seen): ..."))) == 1
    right = "math.floor(x), (x / 2).floor(), torch.floor(x), sampling_floor, 'the floor seen'"
    assert not list(bare("a.py", right))
