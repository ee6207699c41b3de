"""Docstrings as reStructuredText: they are plain text, in which Sphinx would find markup.

Indented paragraphs are equations or programs, and are shown as they stand. In all other lines the
signs that mean something in reStructuredText are escaped; a name between `backquotes` is a link
where it is public. Sections such as "Args:" are left to napoleon.
"""

import re
import sys
from functools import cache
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

import sdeflow

SECTION = re.compile(r"^(Args|Returns|Raises|Warns|Attributes|Yields)( \(.*\))?:$")
QUOTED = re.compile(r"`([^`]+)`")
SECTIONS = Config(
    napoleon_use_param=False,
    napoleon_use_rtype=False,
    napoleon_custom_sections=[("Attributes", "params_style")],
)
SIGNS = re.compile(r"([*|\\]|_\b)")


def public(face: ModuleType) -> list[str]:
    """What a page describes: of sdeflow the names at the top, else what its package does not."""
    if face is sdeflow:
        return [name for name in dir(face) if name[0] != "_" and name not in face.__all__]
    if not hasattr(face, "__all__"):
        return []
    package = sys.modules[face.__name__.rpartition(".")[0]]
    return [
        name
        for name in face.__all__
        if name not in package.__all__ or getattr(package, name) is not getattr(face, name)
    ]


@cache
def paths() -> dict[str, str]:
    """The full path of each public name, of those that only one package has."""
    faces = [getattr(sdeflow, package) for package in sdeflow.__all__]
    found = [(name, f"{face.__name__}.{name}") for face in faces for name in public(face)]
    names = [name for name, _ in found]
    one = {name: path for name, path in found if names.count(name) == 1}
    return one | {package: f"sdeflow.{package}" for package in sdeflow.__all__}


def code(match: re.Match[str]) -> str:
    """Code, and a link where the code is a public name."""
    text = match.group(1)
    path = paths().get(text.removeprefix("sf."))
    if path:
        return f":py:obj:`{text} <{path}>`"
    return "\n".join(re.sub(r"^(\s*)(.+?)$", r"\1``\2``", line) for line in text.split("\n"))


def escaped(text: str) -> str:
    """Text with its stars, bars and trailing underscores as they stand, and its code as code."""
    out, end = [], 0
    for match in QUOTED.finditer(text):
        out += [SIGNS.sub(r"\\\1", text[end : match.start()]), code(match)]
        end = match.end()
    return "".join([*out, SIGNS.sub(r"\\\1", text[end:])])


def as_markup(lines: list[str]) -> list[str]:
    """The lines of a docstring, its indented paragraphs marked as literal."""
    out: list[str] = []
    prose: list[str] = []
    section = literal = False

    def flush() -> None:
        out.extend(escaped("\n".join(prose)).split("\n") if prose else [])
        prose.clear()

    for line in lines:
        indented = line.startswith("    ")
        if line.strip() and not indented:
            literal = False
            section = bool(SECTION.match(line))
        if indented and not section and not literal and not (prose and prose[-1].strip()):
            flush()
            out += ["", "::", ""]
            literal = True
        if literal or (section and not indented and line.strip()):
            flush()
            out.append(re.sub(r" \(.*\):$", ":", line) if not literal else line)
        else:
            prose.append(line)
    flush()
    return out


def process(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list) -> None:
    """Change a docstring in place. Of an attribute, napoleon would read "(n, d):" as its type."""
    lines[:] = as_markup(lines)
    if what not in ("attribute", "property"):
        lines[:] = GoogleDocstring(lines, SECTIONS, app, what, name, obj, options).lines()


def setup(app: Sphinx) -> dict[str, bool]:
    """Change each docstring that autodoc reads."""
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
