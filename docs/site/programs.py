"""Run the programs of a page: its blocks of Python in their order, as one session.

    python docs/site/programs.py docs/tutorial.md

writes what each block prints into the block of text that follows it, where there is one, and the
pictures that the page shows into docs/pictures. The tests run the same sessions, some of them with
smaller numbers.
"""

import contextlib
import io
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)

PICTURES = Path(__file__).resolve().parents[1] / "pictures"


class Block(NamedTuple):
    """A program of a page, and what the page says that it prints."""

    program: str
    shown: str | None


def blocks(text: str) -> list[Block]:
    """The programs of a page."""
    return [Block(match.group(1), match.group(2)) for match in BLOCK.finditer(text)]


def run(text: str, changes: Mapping[str, str] | None = None) -> list[str]:
    """What each program of a page prints, after these changes to its text."""
    names: dict[str, object] = {"__name__": "page"}
    printed, left = [], dict(changes or {})
    for block in blocks(text):
        program = block.program
        for there, instead in (changes or {}).items():
            if there in program:
                program = program.replace(there, instead)
                left.pop(there, None)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(program, "<page>", "exec"), names)
        printed.append(out.getvalue())
    if left:
        raise ValueError(f"the page has no {', '.join(left)}")
    return printed


def shape(text: str) -> str:
    """A text without its numbers, and without what aligns the columns of its tables."""
    return re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?|[\s\-+>=]+", "", text)


def filled(text: str) -> str:
    """The page with what its programs print now."""
    printed = iter(run(text))

    def one(match: re.Match[str]) -> str:
        out = next(printed)
        if match.group(2) is None:
            return match.group()
        return f"```python\n{match.group(1)}```\n\n```text\n{out.rstrip()}\n```\n"

    return BLOCK.sub(one, text)


if __name__ == "__main__":
    for page in map(Path, sys.argv[1:]):
        file = page.resolve()
        with TemporaryDirectory() as folder, contextlib.chdir(folder):
            text = filled(file.read_text("utf-8"))
            for name in re.findall(r"\]\([./]*pictures/([\w.]+)\)", text):
                shutil.copy(name, PICTURES / name)
        file.write_text(text, "utf-8")
        print(os.path.relpath(file))
