"""Words that the house does not use, in names, in prose and in messages.

Each was a metaphor for a thing that has a term: an argument is checked (no door), time is time (no
clock), a diagnostic is a diagnostic (no guard). Not here, since no pattern tells the good use from
the bad one: "law", which is a probability distribution only, and "engine", which is torchsde or
torchdiffeq only.
"""

import ast
import re
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
    r"|WORLD_SIZE|get_world_size"  # torch's names for the number of ranks
    r"|[Tt]wo[ _]doors"  # of an example: two places to escape
    r"|metrics for evaluating and auditing"  # the title of a paper
)
# Names of the programs that say too little alone: the thing is `sampling_floor`, or `detected`. A
# local variable may be called so, since its line says of what; so may a word of a sentence.
BARE = {"floor", "floors", "seen"}
STORED = {"floors"}  # a column of benchmarks/results/solvers.jsonl
PROGRAMS = ("sdeflow/", "benchmarks/", "figures/", "examples/")


def words(text: str) -> str:
    """Text with snake_case and CamelCase cut into lower-case words, line by line."""
    cut = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", RIGHT.sub("", text))
    return cut.lower()


def gone(path: str, text: str) -> Iterator[str]:
    """Uses of a word that goes."""
    for line, told in enumerate(words(text).splitlines(), 1):
        yield from (f"{path}:{line}: {found}" for found in WORD.findall(told))


def bare(path: str, text: str) -> Iterator[str]:
    """Names of functions, classes, parameters, attributes and modules that say too little."""
    tree = ast.parse(text)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in (*ast.walk(tree), *tree.body, *(line for c in classes for line in c.body)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                names = [name]
            case ast.Attribute(attr=name, ctx=ast.Store()):
                names = [name]
            case _:
                names = []
        if node in tree.body or any(node in c.body for c in classes):
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            names += [t.id for t in targets if isinstance(t, ast.Name)]
        for name in names:
            if name.strip("_").lower() in BARE - (STORED if "/solvers/" in path else set()):
                yield f"{path}:{node.lineno}: {name}"


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
    told = [(path, text) for path, text in files() if path.startswith(PROGRAMS)]
    python = [(path, text) for path, text in told if path.endswith(".py")]
    assert len(python) > 250
    assert sorted({fault for path, text in python for fault in bare(path, text)}) == []


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


@pytest.mark.parametrize(
    "text",
    [
        "def floor(): ...", "class A:\n  floor: float", "def f(seen): ...", "SEEN = 1",
        "class A:\n  def _seen(self): ...", "def f(self):\n  self.floor = 1",
    ],
)  # fmt: skip
def test_a_bare_name_is_caught(text: str) -> None:
    assert set(bare("sdeflow/a.py", text))
    assert not set(
        bare(
            "sdeflow/a.py",
            text.replace("floor", "sampling_floor")
            .replace("SEEN", "A")
            .replace("seen", "detected"),
        )
    )


def test_local_variables_and_functions_of_others_may_be_called_so() -> None:
    text = "def f(x):\n  floor, sd = sampling_floor(x)\n  return math.floor(x) - floor"
    assert not list(bare("sdeflow/a.py", text))
