"""The layout has laws too: what stands where, what imports what, what is written down.

A law is a function from a source (a path and its syntax tree) to the offences in it. It is run
over the repository, and over a small source that breaks it: a law that cannot fail says nothing.
"""

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Lowest first: a module imports only modules that stand before it.
FLOORS = (
    ("door", "noise", "provenance"),  # 0: what is refused; keyed random streams; signed files
    # 1: mathematics
    ("process", "mixture", "dataset", "datafile", "datasets"),
    ("density", "distance", "statistic", "network"),
    ("prediction", "field", "tiles", "learned", "guidance"),  # 2: knowledge
    ("clock", "sde", "laws", "objective", "checkpoint", "train"),  # 3: laws of motion
    # 4: the two worlds
    ("engine", "solve", "ruler", "history", "flux", "transport", "affine"),
    ("fokker_planck", "chapman_kolmogorov", "master_equation"),
    # 5: consequences
    ("likelihood", "variational", "order", "observe"),
    ("verdict", "martingale", "two_sample", "check", "budget", "audit"),
    ("plot", "run", "demo", "proof", "claims", "cli", "__main__"),  # 6: eyes and hands
)
ORDER = tuple(name for floor in FLOORS for name in floor)
FORBIDDEN_NAMES = {"utils", "util", "misc", "helpers", "helper", "common", "base", "core"}
ONLY_DOOR = {  # outside module: the one module of ours that may import it
    "torchsde": "sdeflow/solve.py",
    "torchdiffeq": "sdeflow/solve.py",
    "matplotlib": "sdeflow/plot.py",
    "tyro": "sdeflow/cli.py",
}
PICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)


class Source(NamedTuple):
    """One Python file: its path from the repository's root, with slashes, and its syntax tree."""

    path: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return PurePosixPath(self.path).parts[0]

    @property
    def module(self) -> str:
        """Name below its package, dotted: sdeflow/solve.py is `solve`."""
        return ".".join(PurePosixPath(self.path).with_suffix("").parts[1:])


def sources(*packages: str) -> list[Source]:
    files = [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]
    return [
        Source(file.relative_to(ROOT).as_posix(), ast.parse(file.read_text("utf-8")))
        for file in files
    ]


HOUSE = sources("sdeflow")
ALL = sources("sdeflow", "benchmarks", "figures", "tests")


def imported(source: Source) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything imported, wherever the statement stands."""
    folder = PurePosixPath(source.path).parts[:-1]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) + 1 - node.level] if node.level else ()
            whence = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{whence}.{alias.name}") for alias in node.names)


def public_definitions(tree: ast.Module) -> Iterator[ast.AST]:
    for node in tree.body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_"):
            yield node


# ------------------------------------------------------------------------------------- the laws


def imports_go_down(source: Source) -> Iterator[str]:
    if source.module == "__init__":  # the roof sees every floor
        return
    module = source.module.partition(".")[0]  # a package of ours stands on one floor
    if module not in ORDER:
        yield f"{source.path}: `{source.module}` stands on no floor; give it a place in FLOORS"
        return
    below = ORDER[: ORDER.index(module)] + (module,) * ("." in source.module)
    for line, name in imported(source):
        package, _, rest = name.partition(".")
        target = rest.split(".")[0]
        if package == "sdeflow" and target not in below:
            what = f"`{target}`" if target in ORDER else "the package itself"
            yield f"{source.path}:{line}: imports {what}, which is not below it"


def no_import_in_a_function(source: Source) -> Iterator[str]:
    for function in ast.walk(source.tree):
        if isinstance(function, (*FUNCTIONS, ast.Lambda)):
            for node in ast.walk(function):
                match node:
                    case (
                        ast.Import()
                        | ast.ImportFrom()
                        | ast.Call(func=ast.Name(id="__import__" | "import_module"))
                        | ast.Call(func=ast.Attribute(attr="import_module"))
                    ):
                        yield f"{source.path}:{node.lineno}: import inside a function"


def no_drawer_for_odds_and_ends(source: Source) -> Iterator[str]:
    for part in source.module.split("."):
        if part.strip("_") in FORBIDDEN_NAMES:
            yield f"{source.path}: name a module by its subject, not `{part}`"


def one_door_to_each_engine(source: Source) -> Iterator[str]:
    for line, name in imported(source):
        engine = name.split(".")[0]
        door = ONLY_DOOR.get(engine)
        if door and source.path != door:
            yield f"{source.path}:{line}: `{engine}` is imported only in {door}"


def everything_public_is_described(source: Source) -> Iterator[str]:
    if not ast.get_docstring(source.tree):
        yield f"{source.path}: a module's docstring is its lecture, and this one has none"
    for node in public_definitions(source.tree):
        if not ast.get_docstring(node):
            yield f"{source.path}:{node.lineno}: `{node.name}` has no docstring"


def no_pickle(source: Source) -> Iterator[str]:
    torch_names = {
        alias.asname or alias.name
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "torch"
    }
    for line, name in imported(source):
        if name.split(".")[0] in PICKLERS or name in ("torch.load", "torch.save"):
            yield f"{source.path}:{line}: `{name}` runs code from files; use safetensors"
    for node in ast.walk(source.tree):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr="load" | "save" as verb):
                if owner in torch_names:
                    yield f"{source.path}:{node.lineno}: `torch.{verb}` pickles; use safetensors"
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=False)):
                pass
            case ast.keyword(arg="allow_pickle"):
                yield f"{source.path}:{node.value.lineno}: `allow_pickle` only ever False"


def no_open_keywords(source: Source) -> Iterator[str]:
    for node in public_definitions(source.tree):
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in members:
            if not isinstance(function, FUNCTIONS) or function.args.kwarg is None:
                continue
            if not function.name.startswith("_") or function.name.endswith("__"):
                yield (
                    f"{source.path}:{function.lineno}: `{function.name}` takes "
                    f"**{function.args.kwarg.arg}; spell its options out"
                )


def all_names_what_is_bound(source: Source) -> Iterator[str]:
    """For an __init__.py: __all__ is the list of the public names that the file itself binds."""
    bound: set[str] = set()
    spelt: list[str] | None = None
    for node in source.tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, DEFINITIONS):
            bound.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            leaves = [leaf for target in targets for leaf in ast.walk(target)]
            names = {leaf.id for leaf in leaves if isinstance(leaf, ast.Name)}
            bound |= names
            if "__all__" in names and node.value is not None:
                spelt = list(ast.literal_eval(node.value))
    if spelt is None:
        yield f"{source.path}: has no __all__"
        return
    public = {name for name in bound if not name.startswith("_")}
    listed = set(spelt) - {"__version__"}
    if len(spelt) != len(set(spelt)):
        yield f"{source.path}: a name stands twice in __all__"
    if public - listed:
        yield f"{source.path}: bound, but not in __all__: {sorted(public - listed)}"
    if listed - public:
        yield f"{source.path}: in __all__, but not bound: {sorted(listed - public)}"


NAME = r"(?:de )?[A-Z][\w-]+"
CITED = re.compile(rf"({NAME})(?:(?:,| and) {NAME})*(?: et al\.)?,? \(?((?:1[89]|20)\d\d)\b")


def cited_works_are_listed(source: Source, works: str) -> Iterator[str]:
    """`works` has a line with the first author and the year of each "Name YEAR" of a docstring."""
    for node in ast.walk(source.tree):
        if not isinstance(node, (ast.Module, *DEFINITIONS)):
            continue
        text = " ".join((ast.get_docstring(node) or "").split())
        for name, year in CITED.findall(text):
            if not re.search(rf"^- [^*\n]*\b{name}\b[^*\n]* {year}\. ", works, re.MULTILINE):
                yield f"{source.path}: {name} {year} is not among the references of docs/theory.md"


# --------------------------------------------------------------------- the laws, on the repository

Law = Callable[[Source], Iterator[str]]


def offences(law: Law, where: list[Source]) -> str:
    return "\n".join(offence for source in where for offence in law(source))


def within(where: list[Source], *packages: str) -> list[Source]:
    return [source for source in where if source.package in packages]


@pytest.mark.parametrize(
    "law",
    [
        imports_go_down,
        no_import_in_a_function,
        one_door_to_each_engine,
        everything_public_is_described,
        no_open_keywords,
    ],
    ids=lambda law: law.__name__,
)
def test_the_package_keeps(law: Law) -> None:
    assert HOUSE, "sdeflow/ holds no module"
    assert not offences(law, HOUSE)


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert not offences(no_drawer_for_odds_and_ends, ALL)


def test_nothing_pickles() -> None:
    """Tests may make a pickle, to see it refused."""
    assert not offences(no_pickle, [s for s in ALL if s.package != "tests"])


def test_benchmarks_measure_and_do_not_draw() -> None:
    """Benchmarks may call the engines (they race against them); pictures are for figures/."""
    for source in within(ALL, "benchmarks"):
        drawn = [line for line, name in imported(source) if name.split(".")[0] == "matplotlib"]
        assert not drawn, f"{source.path}:{drawn[0]}: draw in sdeflow/plot.py or figures/"


def test_all_is_what_the_package_binds() -> None:
    roof = [source for source in HOUSE if source.path == "sdeflow/__init__.py"]
    assert roof, "sdeflow/__init__.py is missing"
    assert not offences(all_names_what_is_bound, roof)
    package = importlib.import_module("sdeflow")
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


def test_the_floors_name_each_module_once() -> None:
    assert len(ORDER) == len(set(ORDER))


def test_every_work_cited_is_in_the_list() -> None:
    works = (ROOT / "docs" / "theory.md").read_text("utf-8").partition("## 13. References")[2]
    assert not offences(lambda source: cited_works_are_listed(source, works), HOUSE)


def test_the_law_of_the_list_can_fail() -> None:
    source = Source(
        "sdeflow/a.py", ast.parse('"""See Ho et al. 2020, eq. 4; Bao, Li and Zhu 2022."""')
    )
    assert (
        list(cited_works_are_listed(source, "- [H] Ho, Jain 2020. T.\n- Bao, Li, Zhu 2022. T.\n"))
        == []
    )
    for works in ("- Bao, Li, Zhu 2022. T.\n", "- [H] Ho, Jain 2021. T.\n- Bao, Li 2022. T.\n"):
        assert len(list(cited_works_are_listed(source, works))) == 1


# The private notes that the numbers once came from: nobody else can open them.
PRIVATE = re.compile(r"\b(?:FOKKER_PLANCK|EXPERIMENTS|CLAIMS|PERFORMANCE|PUBLISHED|DESIGN)\.md")


def test_nothing_cites_what_a_reader_cannot_open() -> None:
    """Numbers are cited as docs/sources.md, N7, and N7 is there."""
    here = {s.path for s in ALL} - {"tests/test_house.py"} | {"README.md", "docs/theory.md"}
    known = set(re.findall(r"^\*\*(N\d+)\.", (ROOT / "docs/sources.md").read_text("utf-8"), re.M))
    for path in sorted(here | {"docs/sources.md"}):
        text = (ROOT / path).read_text("utf-8")
        assert not PRIVATE.search(text), path
        cited = re.findall(r"sources\.md,\s+(N\d+)(?:,? (?:and|to) (N\d+))?", text)
        assert {n for pair in cited for n in pair if n} <= known, path


# ----------------------------------------------------------------------------- README and Makefile


def make_targets(makefile: str) -> set[str]:
    rules = re.findall(r"^([A-Za-z][\w. -]*?)\s*:(?![:=])", makefile, re.MULTILINE)
    return {target for rule in rules for target in rule.split()}


def make_commands(markdown: str) -> set[str]:
    """Targets of the `make` commands in code spans and fenced blocks; prose may make anything."""
    fenced = re.findall(r"^ *```[^\n]*\n(.*?)^ *```", markdown, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^ *```.*?^ *```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in fenced for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", prose)
    found: set[str] = set()
    for line in lines:
        for command in re.split(r"&&|\|\||[;|]", line.split("#")[0]):
            words = command.strip().removeprefix("$ ").split()
            if words[:1] == ["make"]:
                found |= {w for w in words[1:] if "=" not in w and not w.startswith("-")}
    return found


def test_every_make_target_in_readme_exists() -> None:
    named = make_commands((ROOT / "README.md").read_text("utf-8"))
    assert "demo" in named
    assert named <= make_targets((ROOT / "Makefile").read_text("utf-8"))


def test_readme_law_can_fail() -> None:
    text = "make peace\n`make test`\n```bash\n$ cd x && make demo DATA=a.csv  # make tea\n```\n"
    assert make_commands(text) == {"test", "demo"}
    rules = "A := b\nDATA ?= x\ntest all: lint  ## x\n\techo a: b\n"
    assert make_targets(rules) == {"test", "all"}


# ------------------------------------------------------------------- broken on purpose, they fail

DOC = '"""Lecture."""\n'


@pytest.mark.parametrize(
    ("law", "path", "text"),
    [
        (imports_go_down, "sdeflow/unheard_of.py", ""),
        (imports_go_down, "sdeflow/part/solve.py", ""),
        (imports_go_down, "sdeflow/process.py", "from .sde import SDE"),
        (imports_go_down, "sdeflow/process.py", "from . import field"),
        (imports_go_down, "sdeflow/process.py", "from sdeflow.mixture import Mixture"),
        (imports_go_down, "sdeflow/process.py", "import sdeflow.solve"),
        (imports_go_down, "sdeflow/cli.py", "import sdeflow as sf"),
        (imports_go_down, "sdeflow/cli.py", "from sdeflow import VP"),
        (imports_go_down, "sdeflow/sde.py", "if TYPE_CHECKING:\n    from .solve import Path"),
        (no_import_in_a_function, "sdeflow/sde.py", "def f():\n    import math"),
        (no_import_in_a_function, "sdeflow/sde.py", "class A:\n  def f(s):\n    from a import b"),
        (no_import_in_a_function, "sdeflow/sde.py", "def f():\n    importlib.import_module('m')"),
        (no_drawer_for_odds_and_ends, "sdeflow/utils.py", ""),
        (no_drawer_for_odds_and_ends, "benchmarks/_common.py", ""),
        (no_drawer_for_odds_and_ends, "sdeflow/core/sde.py", ""),
        (one_door_to_each_engine, "sdeflow/sde.py", "import torchsde"),
        (one_door_to_each_engine, "sdeflow/train.py", "from torchdiffeq import odeint"),
        (one_door_to_each_engine, "sdeflow/cli.py", "import matplotlib.pyplot as plt"),
        (one_door_to_each_engine, "sdeflow/demo.py", "import tyro"),
        (everything_public_is_described, "sdeflow/sde.py", "x = 1"),
        (everything_public_is_described, "sdeflow/sde.py", DOC + "def f(): ..."),
        (everything_public_is_described, "sdeflow/sde.py", DOC + "@dataclass\nclass A:\n  x: int"),
        (no_pickle, "sdeflow/train.py", "import pickle"),
        (no_pickle, "sdeflow/train.py", "from torch import load"),
        (no_pickle, "sdeflow/train.py", "import torch\ntorch.load('a')"),
        (no_pickle, "sdeflow/train.py", "import torch as t\nt.save(x, 'a')"),
        (no_pickle, "sdeflow/train.py", "np.load('a', allow_pickle=True)"),
        (no_open_keywords, "sdeflow/sde.py", "def f(**options): ..."),
        (no_open_keywords, "sdeflow/sde.py", "class A:\n  def __init__(self, **kwargs): ..."),
        (all_names_what_is_bound, "sdeflow/__init__.py", "from .sde import SDE"),
        (all_names_what_is_bound, "sdeflow/__init__.py", "from .sde import SDE\n__all__ = []"),
        (all_names_what_is_bound, "sdeflow/__init__.py", "__all__ = ['SDE']"),
        (
            all_names_what_is_bound,
            "sdeflow/__init__.py",
            "from .sde import SDE\n__all__ = ['SDE', 'SDE']",
        ),
    ],
)
def test_a_broken_house_is_caught(law: Law, path: str, text: str) -> None:
    assert len(list(law(Source(path, ast.parse(text))))) == 1


@pytest.mark.parametrize(
    ("law", "path", "text"),
    [
        (imports_go_down, "sdeflow/sde.py", "import torch\nfrom .process import Process"),
        (imports_go_down, "sdeflow/cli.py", "from sdeflow import run\nfrom . import plot, solve"),
        (imports_go_down, "sdeflow/__init__.py", "from .cli import main"),
        (no_import_in_a_function, "sdeflow/sde.py", "try:\n    import a\nexcept E:\n    a = 0"),
        (one_door_to_each_engine, "sdeflow/solve.py", "import torchsde\nimport torchdiffeq"),
        (one_door_to_each_engine, "sdeflow/plot.py", "from matplotlib.axes import Axes"),
        (everything_public_is_described, "sdeflow/sde.py", DOC + "def _f(): ..."),
        (no_pickle, "sdeflow/train.py", "from safetensors.torch import load\nnp.load('a')"),
        (no_open_keywords, "sdeflow/sde.py", "def _f(**k): ...\ndef g(*, steps): ..."),
        (
            all_names_what_is_bound,
            "sdeflow/__init__.py",
            "from importlib.metadata import version as _version\nfrom . import datasets\n"
            "from .sde import SDE\n__version__ = _version('sdeflow')\n"
            "__all__ = ['SDE', '__version__', 'datasets']",
        ),
    ],
)
def test_a_sound_house_is_left_alone(law: Law, path: str, text: str) -> None:
    assert not list(law(Source(path, ast.parse(text))))
