"""Find the figures of this folder, and draw them.

A figure is a file with a function `draw(fig, problem, quick)`; its docstring is the caption. The
file may set PANELS, (rows, columns) of panels, by default (1, 1); COLUMNS of a venue's text, by
default 2 where the venue has two; ASPECT, height over width of a panel; PROBLEM, a name in
`problems`, or None for a figure with its own data. `draw` uses `plot` and the public names of
sdeflow alone: docs/figures.md prints it as the lines that draw the picture.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from figures.problems import problem
from figures.sources import digest
from sdeflow import plot
from sdeflow.plot.style import VENUES

HERE = Path(__file__).parent
GALLERY = HERE.parent / "docs" / "figures"
QUICK = HERE.parent / "runs" / "figures"


@dataclass(frozen=True)
class Setting:
    """How figures are drawn.

    Attributes:
        venue: the venue whose text width they have.
        problem: the name of the data; None for those of each figure.
        formats: some of png, pdf and svg.
        quick: whether to take fewer particles, cells and steps.
        folder: the folder to write to.
    """

    venue: str = "neurips"
    problem: str | None = None
    formats: tuple[str, ...] = ("png",)
    quick: bool = False
    folder: Path = GALLERY


def names() -> list[str]:
    """The names of all figures."""
    files = sorted(module.name for module in pkgutil.iter_modules([str(HERE)]))
    return [n for n in files if n != "drawing" and hasattr(module_of(n), "draw")]


def module_of(name: str) -> ModuleType:
    """The module of a figure."""
    return importlib.import_module(f"figures.{name}")


def caption(name: str) -> str:
    """The caption of a figure."""
    return (module_of(name).__doc__ or "").strip()


@contextmanager
def sheet(name: str, venue: str) -> Iterator[plot.Figure]:
    """Make an empty figure as wide as the venue's text."""
    file = module_of(name)
    columns = min(getattr(file, "COLUMNS", 2), len(VENUES[venue]))
    panels, aspect = getattr(file, "PANELS", (1, 1)), getattr(file, "ASPECT", None)
    with plot.figure(venue=venue, columns=columns, panels=panels, aspect=aspect) as fig:
        yield fig


def takes_problem(name: str) -> bool:
    """Whether a figure can be drawn for each of `problems`."""
    return getattr(module_of(name), "PROBLEM", "ring") is not None


def data_of(name: str, setting: Setting) -> str | None:
    """The name of the data that a figure is drawn for; None if it has its own."""
    if setting.problem and not takes_problem(name):
        raise ValueError(f"{name} has its own data; leave out the problem")
    return setting.problem or getattr(module_of(name), "PROBLEM", "ring")


@contextmanager
def drawn(name: str, setting: Setting = Setting()) -> Iterator[plot.Figure]:
    """Draw a figure in memory."""
    torch.set_num_threads(1)
    data = data_of(name, setting)
    with sheet(name, setting.venue) as fig:
        module_of(name).draw(fig, problem(data) if data else None, setting.quick)
        yield fig


def draw(name: str, setting: Setting = Setting()) -> list[Path]:
    """Draw a figure and write it in each format."""
    data = data_of(name, setting) or "its own"
    about = {"seed": 0, "problem": data, "quick": setting.quick, "source": digest(name)}
    files = [setting.folder / f"{name}.{suffix}" for suffix in setting.formats]
    with drawn(name, setting) as fig:
        return [plot.write(fig, file, about) for file in files]
