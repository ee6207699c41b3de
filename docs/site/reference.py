"""The API reference: one page for each package, with every name of its __all__."""

import enum
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

from docstrings import escaped, paths, public
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import sdeflow

PACKAGES = ("sdeflow", *(f"sdeflow.{name}" for name in sdeflow.__all__))


def described(thing: object) -> bool:
    """Whether a thing has a docstring of its own; a number and a tuple have that of their type."""
    return inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing)


def comment(path: str) -> str:
    """What stands below a constant, in the file that defines it."""
    package, _, name = path.rpartition(".")
    for module in [m for m in sys.modules if m.startswith(package)]:
        found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name))
        if found:
            return escaped(" ".join(" ".join(found).split()))
    return ""


def first_sentence(path: str, thing: object) -> str:
    """The first paragraph of what describes a name, in one line."""
    if not described(thing):
        return comment(path)
    paragraph = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    return escaped(" ".join(paragraph.split()))


def entry(path: str, thing: object) -> str:
    """The directives that describe one name."""
    if inspect.ismodule(thing):
        return section(thing, "-") if hasattr(thing, "__all__") else whole(thing)
    if inspect.isclass(thing) and not thing.__module__.startswith("sdeflow"):
        return f".. py:class:: {path}\n\n   That of {thing.__module__.partition('.')[0]}.\n"
    if inspect.isclass(thing):
        options = "   :undoc-members:\n" if issubclass(thing, enum.Enum) else ""
        return f".. autoclass:: {path}\n   :members:\n{options}"
    if inspect.isroutine(thing):
        return f".. autofunction:: {path}\n"
    return f".. py:data:: {path}\n\n   {comment(path)}\n"


def whole(module: ModuleType) -> str:
    """A module without a list of its names."""
    name = module.__name__.removeprefix("sdeflow.")
    return f"{name}\n{'-' * len(name)}\n\n.. automodule:: {module.__name__}\n   :members:\n"


def table(rows: list[tuple[str, str]]) -> str:
    """Names and first sentences."""
    lines = [".. list-table::", "   :widths: 25 75", "   :class: names", ""]
    for name, sentence in rows:
        lines += [f"   * - {name}", f"     - {sentence}"]
    return "\n".join(lines) + "\n"


WHICH = """
.. include:: /choose_a_solver.md
   :parser: myst_parser.sphinx_
   :start-after: <!-- solvers -->
   :end-before: <!-- end -->
"""


def section(face: ModuleType, line: str) -> str:
    """A package or module: what it is for, a table of its names, and each of them."""
    title = face.__name__.removeprefix("sdeflow.")
    head = f"{title}\n{line * len(title)}\n\n.. automodule:: {face.__name__}\n   :no-members:\n"
    names = [(name, f"{face.__name__}.{name}", getattr(face, name)) for name in public(face)]
    rows = [(f":py:obj:`{name} <{path}>`", first_sentence(path, x)) for name, path, x in names]
    which = WHICH if face is sdeflow.solvers else ""
    entries = [entry(path, thing) for _, path, thing in names]
    return "\n".join([head, table(rows), which, *entries])


def top() -> str:
    """The names of sdeflow itself, and its packages."""
    names = {name: paths().get(name, f"sdeflow.{name}") for name in public(sdeflow)}
    rows = [
        (f":py:obj:`{name} <{path}>`", first_sentence(path, getattr(sdeflow, name)))
        for name, path in names.items()
    ]
    own = [entry(p, getattr(sdeflow, n)) for n, p in names.items() if p == f"sdeflow.{n}"]
    faces = [(f":doc:`{n}`", first_sentence(n, getattr(sdeflow, n))) for n in sdeflow.__all__]
    toc = "\n".join(f"   {name}" for name in sdeflow.__all__)
    return "\n".join(
        ["API reference\n=============\n", ".. automodule:: sdeflow\n   :no-members:\n",
         "Packages\n--------\n", table(faces), "Names at the top\n----------------\n", table(rows),
         *own, f".. toctree::\n   :hidden:\n\n{toc}\n"]
    )  # fmt: skip


def write(app: Sphinx) -> None:
    """Write docs/api, and no page anew that has not changed."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    pages = {"index": top()}
    for name in sdeflow.__all__:
        pages[name] = section(importlib.import_module(f"sdeflow.{name}"), "=")
    for name, text in pages.items():
        file = folder / f"{name}.rst"
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for them."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
