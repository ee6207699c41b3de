"""What a figure is: a file of this folder with `draw(fig, problem, quick)`.

A file may set PANELS, (rows, columns of panels), by default (1, 1); COLUMNS, of a venue's text, by
default 2 where the venue has two; ASPECT, height over width of a panel; PROBLEM, a name of
`problems`, or None where the figure has data of its own. Its docstring is the figure's caption.
`draw` needs no more than `plot` and the public names of sdeflow: docs/figures.md shows it as the
lines that draw the picture.
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
        venue: whose text they are as wide as.
        problem: name of the data; None: each figure's own.
        formats: of png, pdf and svg.
        quick: fewer particles, cells and steps.
        folder: where they are written.
    """

    venue: str = "neurips"
    problem: str | None = None
    formats: tuple[str, ...] = ("png",)
    quick: bool = False
    folder: Path = GALLERY


def names() -> list[str]:
    """Of all figures."""
    files = sorted(module.name for module in pkgutil.iter_modules([str(HERE)]))
    return [n for n in files if n != "drawing" and hasattr(module_of(n), "draw")]


def module_of(name: str) -> ModuleType:
    """The file of a figure."""
    return importlib.import_module(f"figures.{name}")


def caption(name: str) -> str:
    """What a figure shows."""
    return (module_of(name).__doc__ or "").strip()


@contextmanager
def sheet(name: str, venue: str) -> Iterator[plot.Figure]:
    """The empty figure, as wide as the venue's text."""
    file = module_of(name)
    columns = min(getattr(file, "COLUMNS", 2), len(VENUES[venue]))
    panels, aspect = getattr(file, "PANELS", (1, 1)), getattr(file, "ASPECT", None)
    with plot.figure(venue=venue, columns=columns, panels=panels, aspect=aspect) as fig:
        yield fig


def takes_problem(name: str) -> bool:
    """Whether a figure can be drawn for any of `problems`."""
    return getattr(module_of(name), "PROBLEM", "ring") is not None


def data_of(name: str, setting: Setting) -> str | None:
    """The name of the data that a figure is drawn for; None if it has its own.

    Raises:
        ValueError: the setting names others.
    """
    if setting.problem and not takes_problem(name):
        raise ValueError(f"{name} has data of its own; leave out the problem")
    return setting.problem or getattr(module_of(name), "PROBLEM", "ring")


@contextmanager
def drawn(name: str, setting: Setting = Setting()) -> Iterator[plot.Figure]:
    """The figure, in memory."""
    torch.set_num_threads(1)
    data = data_of(name, setting)
    with sheet(name, setting.venue) as fig:
        module_of(name).draw(fig, problem(data) if data else None, setting.quick)
        yield fig


def draw(name: str, setting: Setting = Setting()) -> list[Path]:
    """Draw one figure and write it, in each format."""
    data = data_of(name, setting) or "its own"
    about = {"seed": 0, "problem": data, "quick": setting.quick, "source": digest(name)}
    files = [setting.folder / f"{name}.{suffix}" for suffix in setting.formats]
    with drawn(name, setting) as fig:
        return [plot.write(fig, file, about) for file in files]
