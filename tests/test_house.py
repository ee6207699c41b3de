"""The rules of the house: what stands where, what imports what, how long, what is written down.

A rule is a function from a source (a path and its text) to the offences in it. Each rule is run
over the repository, and over small sources that break it: a rule that cannot fail says nothing.
docs/architecture.md tells the same in words.
"""

import ast
import graphlib
import importlib
import inspect
import json
import pydoc
import re
import subprocess
import sys
import textwrap
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import sdeflow as sf
from benchmarks import record

ROOT = Path(__file__).resolve().parents[1]

# Lowest first. A floor is a list of units: packages, or modules at the top of sdeflow/. A unit
# imports units of lower floors; those of the ground may import each other too.
GROUND = (
    "_validation", "_wording", "random_streams", "provenance", "_extras", "storage", "distributed",
    "_blocks", "grid", "density",
)  # fmt: skip
FLOORS = (
    GROUND,
    ("processes",),
    ("distributions",),
    ("fields",),
    ("training", "sdes"),
    ("solvers", "fokker_planck"),
    ("diagnostics",),
    ("analysis", "simulation", "plot", "integrations", "images"),
    ("experiment",),
    ("command",),
    ("__init__", "__main__"),
)
LEVEL = {unit: level for level, floor in enumerate(FLOORS) for unit in floor}
FORBIDDEN_NAMES = {"utils", "util", "misc", "helpers", "helper", "common", "base", "core"}
ONLY_IN = {  # outside module: the one file, or package, of ours that may import it
    "torchsde": "sdeflow/solvers/sde_solver.py",
    "torchdiffeq": "sdeflow/solvers/ode_solver.py",
    "matplotlib": "sdeflow/plot/",
    "tyro": "sdeflow/command/",
}
PICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}

LONGEST_FUNCTION, LONGEST_FILE, LONGEST_STACK = 40, 250, 5
MOST_EXCEPTIONS, MOST_NAMES, LONGEST_HELP = 10, 41, 60
# Files ("sdeflow/a.py") and functions ("sdeflow/a.py: A.f") that may be longer. It only shrinks.
EXCEPTIONS: tuple[str, ...] = ()

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the repository's root, with slashes, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def package(self) -> str:
        return PurePosixPath(self.path).parts[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Below its package: sdeflow/sdes/sde.py is ("sdes", "sde")."""
        return PurePosixPath(self.path).with_suffix("").parts[1:]

    @property
    def is_init(self) -> bool:
        return self.names[-1] == "__init__"


def sources(*packages: str) -> list[Source]:
    files = [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]
    return [Source(file.relative_to(ROOT).as_posix(), file.read_text("utf-8")) for file in files]


HOUSE = sources("sdeflow")
PROGRAMS = sources("sdeflow", "benchmarks", "figures", "examples")
ALL = [*PROGRAMS, *sources("tests")]


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


# ---------------------------------------------------------------------------------- imports


def imports_go_down(source: Source) -> Iterator[str]:
    unit = source.names[0]
    if unit not in LEVEL:
        yield f"{source.path}: `{unit}` stands on no floor; give it a place in FLOORS"
        return
    if unit == "__init__":  # it shows every floor
        return
    for line, name in imported(source):
        package, _, rest = name.partition(".")
        if package != "sdeflow":
            continue
        target = rest.split(".")[0]
        level = LEVEL.get(target, LEVEL["__init__"])
        together = unit == target or (unit in GROUND and target in GROUND)
        if level >= LEVEL[unit] and not together:
            what = f"`{target}`" if target in LEVEL else "the package itself"
            yield f"{source.path}:{line}: imports {what}, which is not below `{unit}`"


def no_circles(among: Iterable[Source]) -> Iterator[str]:
    """Between files, by what their import statements name."""
    files = {".".join(["sdeflow", *s.names]).removesuffix(".__init__"): s for s in among}
    graph: dict[str, set[str]] = {}
    for name, source in files.items():
        if name == "sdeflow":  # loads its names when they are first asked for
            continue
        reached = {asked for _, asked in imported(source)}
        graph[name] = {
            asked if asked in files else asked.rpartition(".")[0]
            for asked in reached
            if asked in files or asked.rpartition(".")[0] in files
        } - {"sdeflow"}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield "a circle of imports: " + " <- ".join(error.args[1])


def no_import_in_a_function(source: Source) -> Iterator[str]:
    """But in the module's `__getattr__` of an __init__.py, which is there to import late."""
    late = {
        id(node)
        for function in source.tree.body
        if source.is_init and isinstance(function, FUNCTIONS) and function.name == "__getattr__"
        for node in ast.walk(function)
    }
    for function in ast.walk(source.tree):
        if isinstance(function, (*FUNCTIONS, ast.Lambda)) and id(function) not in late:
            for node in ast.walk(function):
                match node:
                    case (
                        ast.Import()
                        | ast.ImportFrom()
                        | ast.Call(
                            func=ast.Name(id="__import__" | "import_module" | "_import_module")
                        )
                        | ast.Call(func=ast.Attribute(attr="import_module"))
                    ):
                        yield f"{source.path}:{node.lineno}: import inside a function"


def each_engine_in_one_file(source: Source) -> Iterator[str]:
    for line, name in imported(source):
        engine = name.split(".")[0]
        home = ONLY_IN.get(engine)
        if home and source.path != home and not (home[-1] == "/" and source.path.startswith(home)):
            yield f"{source.path}:{line}: `{engine}` is imported only in {home}"


def named_by_subject(source: Source) -> Iterator[str]:
    for part in source.names:
        if part.strip("_") in FORBIDDEN_NAMES:
            yield f"{source.path}: name a module by its subject, not `{part}`"


# ---------------------------------------------------------------------------------- definitions


def public_things_are_described(source: Source) -> Iterator[str]:
    if not ast.get_docstring(source.tree):
        yield f"{source.path}: the module has no docstring"
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


def bound_by(tree: ast.Module) -> tuple[set[str], list[str] | None]:
    """The names that a module's own statements bind, and its __all__."""
    bound: set[str] = set()
    spelt: list[str] | None = None
    for node in tree.body:
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
    return bound, spelt


def all_names_what_is_bound(source: Source) -> Iterator[str]:
    """For an __init__.py: __all__ is the list of the public names that the file itself binds.

    Where the file has a `__getattr__` it may list more; that those are there is tried in a test.
    """
    if not source.is_init:
        return
    bound, spelt = bound_by(source.tree)
    if spelt is None:
        yield f"{source.path}: has no __all__"
        return
    public = {name for name in bound if not name.startswith("_")}
    if len(spelt) != len(set(spelt)):
        yield f"{source.path}: a name stands twice in __all__"
    if public - set(spelt):
        yield f"{source.path}: bound, but not in __all__: {sorted(public - set(spelt))}"
    if set(spelt) - public and "__getattr__" not in bound:
        yield f"{source.path}: in __all__, but not bound: {sorted(set(spelt) - public)}"


def init_begins_with_a_sentence(source: Source) -> Iterator[str]:
    """For an __init__.py: the docstring's first line says what one can do with the package."""
    if source.is_init:
        first = (ast.get_docstring(source.tree) or "").partition("\n")[0]
        if len(first.split()) < 4 or not first.endswith("."):
            yield f"{source.path}: the first line of the docstring must be a sentence"


# ---------------------------------------------------------------------------------- sizes


def documentation(tree: ast.AST) -> set[int]:
    """Lines of the strings that stand by themselves: docstrings, and those of attributes."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def functions_of(node: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every function with its qualified name; a function inside another one counts in both."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, DEFINITIONS):
            name = f"{inside}{child.name}"
            if isinstance(child, FUNCTIONS):
                yield name, child
            yield from functions_of(child, f"{name}.")
        else:
            yield from functions_of(child, inside)


def too_long(source: Source) -> Iterator[tuple[str, int]]:
    """Files and functions above the limit, with their lines; docstrings are not counted."""
    lines = len(source.text.splitlines()) - len(documentation(source.tree))
    if lines > LONGEST_FILE:
        yield source.path, lines
    for name, function in functions_of(source.tree):
        lines = function.end_lineno - function.lineno + 1 - len(documentation(function))
        if lines > LONGEST_FUNCTION:
            yield f"{source.path}: {name}", lines


def sizes_are_kept(where: Iterable[Source], exceptions: tuple[str, ...]) -> Iterator[str]:
    long = dict(entry for source in where for entry in too_long(source))
    for name, lines in long.items():
        if name not in exceptions:
            yield f"{name} has {lines} lines; split it by meaning"
    for name in exceptions:
        if name not in long:
            yield f"{name} is short enough now; take it out of EXCEPTIONS"
    if len(exceptions) > MOST_EXCEPTIONS:
        yield f"there are {len(exceptions)} exceptions, more than {MOST_EXCEPTIONS}"


# ---------------------------------------------------------------------------------- references

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


# A test is cited as `package/module::test_x`, that is tests/package/test_module.py; a name without
# a file is of the file that was named last.
TEST = re.compile(r"`(?:([\w/]+)::)?(test_\w+)`")


def defined_tests(where: Iterable[Source]) -> dict[str, set[str]]:
    """The tests of each file, by the file's name as it is cited."""
    return {
        source.path.removeprefix("tests/").replace("test_", "", 1).removesuffix(".py"): {
            name for name, _ in functions_of(source.tree) if name.startswith("test_")
        }
        for source in where
        if PurePosixPath(source.path).name.startswith("test_")
    }


def cited_tests_are_there(text: str, defined: dict[str, set[str]]) -> Iterator[str]:
    file = ""
    for home, test in TEST.findall(text):
        file = home or file
        if test not in defined.get(file, ()):
            yield f"`{file}::{test}` is cited, but there is no such test"


# ------------------------------------------------------------------- the rules, on the repository

Rule = Callable[[Source], Iterator[str]]


def offences(rule: Rule, where: Iterable[Source]) -> str:
    return "\n".join(offence for source in where for offence in rule(source))


@pytest.mark.parametrize(
    "rule",
    [
        imports_go_down,
        no_import_in_a_function,
        each_engine_in_one_file,
        public_things_are_described,
        no_open_keywords,
        init_begins_with_a_sentence,
    ],
    ids=lambda rule: rule.__name__,
)
def test_package_keeps_the_rule(rule: Rule) -> None:
    assert HOUSE, "sdeflow/ holds no module"
    assert not offences(rule, HOUSE)


def test_imports_have_no_circle() -> None:
    assert not list(no_circles(HOUSE))


def test_modules_are_named_by_their_subject() -> None:
    assert not offences(named_by_subject, ALL)


def test_programs_do_not_pickle() -> None:
    """Tests may make a pickle, to see it refused."""
    assert not offences(no_pickle, PROGRAMS)


def test_functions_and_files_are_short() -> None:
    assert not "\n".join(sizes_are_kept(PROGRAMS, EXCEPTIONS))


def test_benchmarks_and_examples_do_not_draw() -> None:
    """Benchmarks may call the engines, because they race against them."""
    for source in PROGRAMS:
        if source.package in ("benchmarks", "examples"):
            drawn = [line for line, name in imported(source) if name.startswith("matplotlib")]
            assert not drawn, f"{source.path}:{drawn[0]}: draw in sdeflow/plot/ or figures/"


def test_all_is_what_each_package_binds() -> None:
    inits = [source for source in HOUSE if source.is_init]
    assert len(inits) >= 11
    assert not offences(all_names_what_is_bound, inits)
    for source in inits:
        if source.names[0] == "_extras":
            continue  # names of packages that may not be installed
        face = importlib.import_module(".".join(["sdeflow", *source.names[:-1]]))
        assert [name for name in face.__all__ if not hasattr(face, name)] == []


def test_each_unit_stands_on_one_floor() -> None:
    units = [unit for floor in FLOORS for unit in floor]
    assert len(units) == len(set(units))
    assert {source.names[0] for source in HOUSE} >= set(units)


def test_every_work_cited_is_in_the_list() -> None:
    works = (ROOT / "docs" / "theory.md").read_text("utf-8").partition("## 13. References")[2]
    assert not offences(lambda source: cited_works_are_listed(source, works), HOUSE)


def test_every_test_that_theory_cites_is_there() -> None:
    text = (ROOT / "docs" / "theory.md").read_text("utf-8")
    assert len(TEST.findall(text)) > 30
    assert not "\n".join(cited_tests_are_there(text, defined_tests(ALL)))


# The private notes that the numbers once came from: nobody else can open them.
PRIVATE = re.compile(
    r"\b(?:FOKKER_PLANCK|EXPERIMENTS|CLAIMS|PERFORMANCE|PUBLISHED|DESIGN|HOUSE|SAMPLERS)\.md"
)
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/theory.md", "docs/architecture.md")


def test_pages_cite_only_what_a_reader_can_open() -> None:
    """Numbers are cited as docs/sources.md, N7, and N7 is there."""
    here = {s.path for s in ALL} - {"tests/test_house.py"} | {*PAGES}
    known = set(re.findall(r"^\*\*(N\d+)\.", (ROOT / "docs/sources.md").read_text("utf-8"), re.M))
    for path in sorted(here | {"docs/sources.md"}):
        text = (ROOT / path).read_text("utf-8")
        assert not PRIVATE.search(text), path
        cited = re.findall(r"sources\.md,\s+(N\d+)(?:,? (?:and|to) (N\d+))?", text)
        assert {n for pair in cited for n in pair if n} <= known, path


def test_architecture_names_every_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    modules = {s.names[-1] for s in HOUSE if not s.is_init}
    assert not {name for name in modules if not re.search(rf"\b{name}\.py\b", text)}
    named = set(re.findall(r"\b(\w+)\.py\b", text))
    assert named <= {s.names[-1] for s in ALL if s.names}, "a file that is not there"


def test_architecture_shows_the_floors() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (?:top|\d|ground) \| (.*?) \|", text, re.MULTILINE)
    shown = [set(re.findall(r"`(\w+)`", row)) for row in reversed(rows)]
    assert shown == [set(floor) for floor in FLOORS]


# ------------------------------------------------------------------------- what is published

MADE = {"command", "commit", "sdeflow", "torch", "torchsde", "torchdiffeq", "device", "threads"}
UNCLEAN: tuple[str, ...] = ()  # what no commit can make again; it only shrinks


class Published(NamedTuple):
    """A picture or a row of numbers that a page shows, and what made it."""

    path: str
    made: dict[str, object]


def published() -> Iterator[Published]:
    inside = "claims", "examples", "figures", "figures/small", "pictures"
    for folder in ("figures", "docs", *(f"docs/{name}" for name in inside)):
        for file in sorted((ROOT / folder).glob("*.png")):
            with Image.open(file) as picture:
                yield Published(file.relative_to(ROOT).as_posix(), dict(picture.info))
    files = [*(ROOT / "benchmarks" / "results").glob("*.jsonl"), ROOT / "docs/claims/claims.jsonl"]
    for file in sorted(files):
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        made_by = [row["made"] for row in record.stored(file)]
        assert len(made_by) == sum("made" not in x or len(x) > 2 for x in lines), file
        for made in {json.dumps(made, sort_keys=True): made for made in made_by}.values():
            assert isinstance(made, dict)
            yield Published(file.relative_to(ROOT).as_posix(), made)


def published_is_signed(where: Iterable[Published]) -> Iterator[str]:
    for path, made in where:
        if MADE - made.keys():
            yield f"{path} does not say its {', '.join(sorted(MADE - made.keys()))}"


def published_is_clean(where: Iterable[Published], exceptions: tuple[str, ...]) -> Iterator[str]:
    """Everything comes from a commit as it stands, so that the commit can make it again."""
    dirty = {path for path, made in where if "dirty" in str(made.get("commit", "dirty"))}
    for path in sorted(dirty):
        if not any(PurePosixPath(path).is_relative_to(known) for known in exceptions):
            yield f"{path} comes from a tree that no commit holds; commit, and make it again"
    for known in exceptions:
        if not any(PurePosixPath(path).is_relative_to(known) for path in dirty):
            yield f"{known} is clean now; take it out of UNCLEAN"


def test_published_pictures_and_rows_say_what_made_them() -> None:
    assert not "\n".join(published_is_signed(published()))


def test_published_pictures_and_rows_come_from_a_commit() -> None:
    assert not "\n".join(published_is_clean(published(), UNCLEAN))


# ---------------------------------------------------------------------------------- tests


def untried(names: Iterable[str], tests: str) -> set[str]:
    return {name for name in names if not re.search(rf"\b{name}\b", tests)}


def test_every_public_function_is_in_a_test() -> None:
    tests = "\n".join(s.text for s in sources("tests") if s.path != "tests/test_house.py")
    for package in sf.__all__:
        face = getattr(sf, package)
        public = getattr(face, "__all__", ())
        functions = [name for name in public if inspect.isfunction(getattr(face, name))]
        assert not untried(functions, tests), package


def test_every_distance_has_a_sampling_floor() -> None:
    module = importlib.import_module("sdeflow.diagnostics.distances")
    distances = [
        function
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__
        if not name.startswith("_") and [*inspect.signature(function).parameters][:2] == ["x", "y"]
    ]
    assert len(distances) >= 3
    draw = sf.GaussianMixture.isotropic(torch.zeros(1, 2), 1.0).sample
    for distance in distances:
        mean, deviation = sf.diagnostics.sampling_floor(draw, 100, distance, repeats=8)
        assert mean > 0 < deviation, distance.__name__


def test_warnings_are_errors() -> None:
    with pytest.raises(RuntimeWarning, match="heard"):
        warnings.warn("heard", RuntimeWarning, stacklevel=1)


# ---------------------------------------------------------------------------------- the top

NAMES = """
    VP VE EDM Linear GaussianMixture datasets ExactField LearnedField GuidedField MLP fit
    SDE forward reverse ancestral multistep SDESolver ODESolver simulate open_cloud
    Grid Density evolve
    check_density wasserstein SdeflowError
    processes distributions fields training sdes solvers fokker_planck
    diagnostics analysis simulation images integrations density plot experiment
"""


def test_names_at_the_top() -> None:
    shown = [name for name in dir(sf) if not name.startswith("_")]
    assert sorted(shown) == sorted(NAMES.split())
    assert len(shown) <= MOST_NAMES
    assert all(getattr(sf, name) is not None for name in shown)


def test_type_checkers_see_the_names_at_the_top() -> None:
    """What `__getattr__` gives is imported under TYPE_CHECKING too, as `name as name`."""
    tree = ast.parse((ROOT / "sdeflow" / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(seen) == sorted(NAMES.split())
    for name, (module, original) in seen.items():
        assert name == original
        assert getattr(importlib.import_module(module), name) is getattr(sf, name)


def test_unknown_name_at_the_top_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'sdeflow' has no attribute 'revers'") as info:
        sf.revers  # noqa: B018
    assert info.value.name == "revers"
    with pytest.raises(AttributeError, match=r"it is sf\.distributions\.PointSet"):
        sf.PointSet  # noqa: B018
    assert not hasattr(sf, "__wrapped__")


def test_names_are_loaded_when_they_are_asked_for() -> None:
    program = (
        "import sys, sdeflow as sf\n"
        "print([m for m in ('torch', 'numpy', 'scipy', 'matplotlib') if m in sys.modules])\n"
        "sf.VP, sf.SDESolver, sf.fit, sf.check_density\n"
        "print([m for m in ('matplotlib', 'tyro') if m in sys.modules])\n"
    )
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_help_is_one_screen() -> None:
    page = pydoc.render_doc(sf, renderer=pydoc.plaintext)
    assert len(page.splitlines()) <= LONGEST_HELP
    for name in NAMES.split():
        assert re.search(rf"\b{name}\b", page), name


# ---------------------------------------------------------------------------------- the stack


def frames_between(frame: types.FrameType | None, first: str) -> list[str]:
    """Our frames from the innermost one out to the function `first`, which is one of them."""
    ours: list[str] = []
    house = str(ROOT / "sdeflow")
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(house):
            ours.append(f"{Path(code.co_filename).name}: {code.co_qualname}")
            if code.co_name == first:
                return ours
        frame = frame.f_back
    raise AssertionError(f"{first} is not on the stack")


class StackProbe(nn.Module):
    """A network that keeps the longest stack of ours on which it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.calls, self.longest = 0, list[str]()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        self.longest = max(self.longest, frames_between(sys._getframe(1), "solve"), key=len)
        return x * self.scale


@pytest.mark.parametrize("data_std", [None, 1.0], ids=["plain", "preconditioned"])
@pytest.mark.parametrize("run", ["euler", "ancestral", "heun2"])
def test_few_frames_from_solve_to_the_network(run: str, data_std: float | None) -> None:
    probe = StackProbe()
    field = sf.LearnedField(sf.VP(), probe, data_std=data_std)
    x = field.process.prior(256, 2, seed=0)
    if run == "heun2":
        sf.ODESolver("heun2", steps=3).solve(sf.reverse(field, eta=0.0), x)
    else:
        sde = sf.ancestral(field) if run == "ancestral" else sf.reverse(field)
        sf.SDESolver("euler", steps=3).solve(sde, x)
    assert probe.calls >= 3
    assert len(probe.longest) <= LONGEST_STACK, probe.longest


def test_frames_of_a_deeper_call_are_counted() -> None:
    path = str(ROOT / "sdeflow" / "solvers" / "made_up.py")
    text = "def solve(f): return one(f)\ndef one(f): return two(f)\ndef two(f): return f()\n"
    names: dict = {}
    exec(compile(text, path, "exec"), names)
    stack = names["solve"](lambda: frames_between(sys._getframe(1), "solve"))
    assert [entry.split()[1] for entry in stack] == ["two", "one", "solve"]
    with pytest.raises(AssertionError, match="not on the stack"):
        frames_between(sys._getframe(), "solve")


# ------------------------------------------------------------------------- README and Makefile


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


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_make_target_in_a_page_exists(page: str) -> None:
    named = make_commands((ROOT / page).read_text("utf-8"))
    assert named
    assert named <= make_targets((ROOT / "Makefile").read_text("utf-8"))


def test_make_commands_are_found() -> None:
    text = "make peace\n`make test`\n```bash\n$ cd x && make demo DATA=a.csv  # make tea\n```\n"
    assert make_commands(text) == {"test", "demo"}
    rules = "A := b\nDATA ?= x\ntest all: lint  ## x\n\techo a: b\n"
    assert make_targets(rules) == {"test", "all"}


def test_lint_checks_style_form_and_types() -> None:
    lint = (ROOT / "Makefile").read_text("utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    assert all(part in lint for part in ("ruff check", "ruff format --check", "mypy"))


def test_pre_commit_uses_the_tested_versions() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    for tool in ("ruff check", "ruff format", "mypy"):
        assert re.search(rf"entry: \.venv/bin/{tool}\b", hooks), tool


# ------------------------------------------------------------------- broken on purpose, they fail

DOC = '"""Lecture."""\n'
SDE = "sdeflow/sdes/sde.py"
CLI = "sdeflow/command/cli.py"
INIT = "sdeflow/sdes/__init__.py"
LATE = "def __getattr__(name):\n    return import_module(name)"


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (imports_go_down, "sdeflow/unheard_of.py", ""),
        (imports_go_down, "sdeflow/unheard_of/sde.py", ""),
        (imports_go_down, "sdeflow/processes/process.py", "from ..sdes.sde import SDE"),
        (imports_go_down, "sdeflow/processes/process.py", "from .. import fields"),
        (imports_go_down, "sdeflow/processes/__init__.py", "from sdeflow.fields import Field"),
        (imports_go_down, "sdeflow/density.py", "from sdeflow.processes.process import Process"),
        (imports_go_down, "sdeflow/processes/process.py", "import sdeflow.solvers"),
        (imports_go_down, "sdeflow/training/fit.py", "from sdeflow.sdes.sde import SDE"),
        (imports_go_down, SDE, "from sdeflow.training.fit import fit"),
        (imports_go_down, "sdeflow/solvers/path.py", "import sdeflow.fokker_planck.evolve"),
        (imports_go_down, "sdeflow/fokker_planck/evolve.py", "from sdeflow.solvers import Path"),
        (imports_go_down, "sdeflow/plot/style.py", "from sdeflow.analysis.elbo import Bound"),
        (imports_go_down, "sdeflow/analysis/elbo.py", "from sdeflow import plot"),
        (imports_go_down, CLI, "import sdeflow as sf"),
        (imports_go_down, CLI, "from sdeflow import VP"),
        (imports_go_down, SDE, "if TYPE_CHECKING:\n    from sdeflow.solvers.path import Path"),
        (no_import_in_a_function, SDE, "def f():\n    import math"),
        (no_import_in_a_function, SDE, "class A:\n  def f(s):\n    from a import b"),
        (no_import_in_a_function, SDE, "def f():\n    importlib.import_module('m')"),
        (no_import_in_a_function, SDE, LATE),
        (no_import_in_a_function, INIT, LATE.replace("__getattr__", "load")),
        (named_by_subject, "sdeflow/utils.py", ""),
        (named_by_subject, "benchmarks/_common.py", ""),
        (named_by_subject, "sdeflow/core/sde.py", ""),
        (each_engine_in_one_file, SDE, "import torchsde"),
        (each_engine_in_one_file, "sdeflow/solvers/ode_solver.py", "import torchsde"),
        (each_engine_in_one_file, "sdeflow/training/fit.py", "from torchdiffeq import odeint"),
        (each_engine_in_one_file, CLI, "import matplotlib.pyplot as plt"),
        (each_engine_in_one_file, "sdeflow/plotter.py", "from matplotlib.axes import Axes"),
        (each_engine_in_one_file, "sdeflow/images/clip.py", "import tyro"),
        (public_things_are_described, SDE, "x = 1"),
        (public_things_are_described, SDE, DOC + "def f(): ..."),
        (public_things_are_described, SDE, DOC + "@dataclass\nclass A:\n  x: int"),
        (no_pickle, SDE, "import pickle"),
        (no_pickle, SDE, "from torch import load"),
        (no_pickle, SDE, "import torch\ntorch.load('a')"),
        (no_pickle, SDE, "import torch as t\nt.save(x, 'a')"),
        (no_pickle, SDE, "np.load('a', allow_pickle=True)"),
        (no_open_keywords, SDE, "def f(**options): ..."),
        (no_open_keywords, SDE, "class A:\n  def __init__(self, **kwargs): ..."),
        (all_names_what_is_bound, INIT, "from .sde import SDE"),
        (all_names_what_is_bound, INIT, "from .sde import SDE\n__all__ = []"),
        (all_names_what_is_bound, INIT, "__all__ = ['SDE']"),
        (all_names_what_is_bound, INIT, "from .sde import SDE\n__all__ = ['SDE', 'SDE']"),
        (all_names_what_is_bound, INIT, f"{LATE}\nfrom .sde import SDE\n__all__ = ['sde']"),
        (init_begins_with_a_sentence, INIT, "__all__ = []"),
        (init_begins_with_a_sentence, INIT, '"""SDEs."""'),
        (init_begins_with_a_sentence, INIT, '"""Solve an SDE on\na grid of times."""'),
    ],
)
def test_a_source_that_breaks_the_rule_is_caught(rule: Rule, path: str, text: str) -> None:
    assert len(list(rule(Source(path, text)))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (imports_go_down, SDE, "import torch\nfrom sdeflow.processes.process import Process"),
        (imports_go_down, SDE, "from .coefficients import checked_drift"),
        (imports_go_down, "sdeflow/density.py", "from sdeflow._validation import check_cloud"),
        (imports_go_down, CLI, "from sdeflow import plot\nfrom . import run\nfrom .. import sdes"),
        (imports_go_down, "sdeflow/__init__.py", "from sdeflow.command.cli import main"),
        (imports_go_down, "sdeflow/__main__.py", "from sdeflow.command.cli import main"),
        (no_import_in_a_function, SDE, "try:\n    import a\nexcept E:\n    a = 0"),
        (no_import_in_a_function, INIT, LATE),
        (each_engine_in_one_file, "sdeflow/solvers/sde_solver.py", "import torchsde"),
        (each_engine_in_one_file, "sdeflow/plot/style.py", "from matplotlib.axes import Axes"),
        (public_things_are_described, SDE, DOC + "def _f(): ..."),
        (no_pickle, SDE, "from safetensors.torch import load\nnp.load('a')"),
        (no_open_keywords, SDE, "def _f(**k): ...\ndef g(*, steps): ..."),
        (all_names_what_is_bound, SDE, "from .sde import SDE"),
        (
            all_names_what_is_bound,
            INIT,
            "from importlib import import_module as _load\nfrom . import sde\n"
            "from .sde import SDE\n__all__ = ['SDE', 'sde']",
        ),
        (all_names_what_is_bound, INIT, LATE + "\n__all__ = ['SDE', 'sde']"),
        (init_begins_with_a_sentence, INIT, '"""Choose a drift and a diffusion."""'),
    ],
)
def test_a_source_that_keeps_the_rule_is_left_alone(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(Source(path, text)))


def test_a_circle_is_caught() -> None:
    a = Source("sdeflow/sdes/a.py", "from sdeflow.sdes.b import f")
    b = Source("sdeflow/sdes/b.py", "import torch\nfrom sdeflow.sdes import c")
    c = Source("sdeflow/sdes/c.py", "from .a import g")
    face = Source("sdeflow/sdes/__init__.py", "from sdeflow.sdes.a import g")
    end = Source("sdeflow/sdes/c.py", "import math")
    assert not list(no_circles([a, b, end, face]))
    assert len(list(no_circles([a, b, c, face]))) == 1


def test_long_functions_and_files_are_caught() -> None:
    body = "    x = 1\n" * LONGEST_FUNCTION
    text = '    """One.\n\n    Two.\n    """\n'  # does not count
    function = Source("sdeflow/a.py", f"def f():\n{text}{body}")
    assert list(too_long(function)) == [("sdeflow/a.py: f", LONGEST_FUNCTION + 1)]
    method = Source("sdeflow/a.py", "class A:\n" + textwrap.indent(function.text, "    "))
    assert [name for name, _ in too_long(method)] == ["sdeflow/a.py: A.f"]
    inner = Source("sdeflow/a.py", "def g():\n    def f():\n" + body.replace("x", "    x"))
    assert [name for name, _ in too_long(inner)] == ["sdeflow/a.py: g", "sdeflow/a.py: g.f"]
    lines = "x = 1\n" * LONGEST_FILE
    file = Source("sdeflow/a.py", f'"""One.\n\nTwo."""\nA = 1\n"""Three."""\n{lines}')
    assert list(too_long(file)) == [("sdeflow/a.py", LONGEST_FILE + 1)]
    short = Source("sdeflow/a.py", f"def f():\n{text}{body[10:]}{lines[: -6 * LONGEST_FUNCTION]}")
    assert not list(too_long(short))


def test_the_list_of_exceptions_only_shrinks() -> None:
    long = Source("sdeflow/a.py", "x = 1\n" * (LONGEST_FILE + 1))
    assert not list(sizes_are_kept([long], ("sdeflow/a.py",)))
    assert len(list(sizes_are_kept([long], ()))) == 1
    assert "take it out" in "".join(sizes_are_kept([], ("sdeflow/a.py",)))
    many = [Source(f"sdeflow/{i}.py", long.text) for i in range(MOST_EXCEPTIONS + 1)]
    assert "more than" in "".join(sizes_are_kept(many, tuple(s.path for s in many)))


def test_an_unsigned_or_unclean_result_is_caught() -> None:
    made = dict.fromkeys(MADE, "1")
    clean = Published("figures/a.png", made | {"commit": "abc"})
    dirty = Published("figures/b.png", made | {"commit": "abc-dirty"})
    assert not list(published_is_signed([clean, dirty]))
    assert len(list(published_is_signed([clean, Published("c.png", {"commit": "abc"})]))) == 1
    assert not list(published_is_clean([clean], ()))
    assert not list(published_is_clean([clean, dirty], ("figures",)))
    assert len(list(published_is_clean([clean, dirty], ()))) == 1
    assert len(list(published_is_clean([Published("c.png", {})], ()))) == 1
    assert "take it out" in "".join(published_is_clean([clean], ("figures/a.png",)))


def test_a_function_without_a_test_is_caught() -> None:
    assert untried(["evolve", "fit"], "x = evolved, fit()") == {"evolve"}


def test_a_work_that_is_not_listed_is_caught() -> None:
    source = Source("sdeflow/a.py", '"""See Ho et al. 2020, eq. 4; Bao, Li and Zhu 2022."""')
    listed = "- [H] Ho, Jain 2020. T.\n- Bao, Li, Zhu 2022. T.\n"
    assert list(cited_works_are_listed(source, listed)) == []
    for works in ("- Bao, Li, Zhu 2022. T.\n", "- [H] Ho, Jain 2021. T.\n- Bao, Li 2022. T.\n"):
        assert len(list(cited_works_are_listed(source, works))) == 1


def test_a_test_that_is_not_there_is_caught() -> None:
    file = Source("tests/sdes/test_sde.py", "def test_a(): ...\nclass TestB:\n  def test_b(): ...")
    defined = defined_tests([file])
    assert defined == {"sdes/sde": {"test_a"}}
    assert not list(cited_tests_are_there("`sdes/sde::test_a`, `test_a`", defined))
    assert len(list(cited_tests_are_there("`sdes/sde::test_a`, `test_c`", defined))) == 1
    assert len(list(cited_tests_are_there("`sde::test_a`", defined))) == 1
