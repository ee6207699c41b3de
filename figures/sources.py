"""Find the code that draws a figure, and compute the digest of it that the picture carries.

This code is the figure's file, the files that it imports from `figures/` and `benchmarks/`, and
the modules of `sdeflow.plot` whose names these use. Comments and docstrings do not enter the
digest.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
PLOT = HERE.parent / "sdeflow" / "plot"
BENCHMARKS = HERE.parent / "benchmarks"


@cache
def digest(name: str) -> str:
    """The first 12 digits of the SHA-256 of the code that draws this figure."""
    found = hashlib.sha256()
    for file in files(name):
        found.update(f"{file.name}\n{code(file.read_text('utf-8'))}\n".encode())
    return found.hexdigest()[:12]


def files(name: str) -> list[Path]:
    """The files that draw a figure, among them style.py with sizes and fonts."""
    found, new = set[Path](), {HERE / f"{name}.py", PLOT / "style.py"}
    while new:
        found |= new
        within = {one for one in new if BENCHMARKS not in one.parents}
        new = {file for one in within for file in _named(one)} - found
    return sorted(found)


def code(text: str) -> str:
    """The lines of a program without comments, docstrings and empty lines."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            for row in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _named(file: Path) -> Iterator[Path]:
    """Yield the files whose names a file uses."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        found: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            found = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute) and _is_plot(node.value):
            found = [_homes().get(node.attr, "")]
        for name in found:
            if name.startswith(("figures.", "benchmarks.", "sdeflow.plot.")):
                place = HERE.parent / f"{name.replace('.', '/')}.py"
                if place.is_file():
                    yield place


def _is_plot(node: ast.expr) -> bool:
    """Whether an expression is `plot` or `sf.plot`."""
    return (isinstance(node, ast.Name) and node.id == "plot") or (
        isinstance(node, ast.Attribute) and node.attr == "plot"
    )


@cache
def _homes() -> dict[str, str]:
    """The module that defines each name of sdeflow.plot."""
    tree = ast.parse((PLOT / "__init__.py").read_text("utf-8"))
    nodes = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in nodes for alias in node.names}
