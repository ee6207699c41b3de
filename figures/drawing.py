"""What a figure is: a file of this folder with `draw(fig, problem, quick)`.

A file may set PANELS, (rows, columns of panels), by default (1, 1); COLUMNS, of a venue's text, by
default 2 where the venue has two; ASPECT, height over width of a panel; PROBLEM, a name of
`problems`, or None where the figure has data of its own. Its docstring is the figure's caption.
`draw` needs no more than `plot` and the public
names of sdeflow: docs/figures.md shows it as the lines that draw the picture.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from figures.problems import problem
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
        format: png, pdf or svg.
        quick: fewer particles, cells and steps.
        folder: where they are written.
    """

    venue: str = "neurips"
    problem: str | None = None
    format: str = "png"
    quick: bool = False
    folder: Path = GALLERY


def names() -> list[str]:
    """Of all figures."""
    files = sorted(module.name for module in pkgutil.iter_modules([str(HERE)]))
    return [n for n in files if n != "drawing" and hasattr(module_of(n), "draw")]


def module_of(name: str) -> ModuleType:
    """The file of a figure."""
    return importlib.import_module(f"figures.{name}")


def takes_problem(name: str) -> bool:
    """Whether a figure can be drawn for any of `problems`."""
    return getattr(module_of(name), "PROBLEM", "ring") is not None


def draw(name: str, setting: Setting = Setting()) -> Path:
    """Draw one figure and write it."""
    torch.set_num_threads(1)
    file = module_of(name)
    columns = min(getattr(file, "COLUMNS", 2), len(VENUES[setting.venue]))
    panels, aspect = getattr(file, "PANELS", (1, 1)), getattr(file, "ASPECT", None)
    if setting.problem and not takes_problem(name):
        raise ValueError(f"{name} has data of its own; leave out the problem")
    given = setting.problem or getattr(file, "PROBLEM", "ring")
    data = problem(given) if given else None
    with plot.figure(venue=setting.venue, columns=columns, panels=panels, aspect=aspect) as fig:
        file.draw(fig, data, setting.quick)
        about = {"seed": 0, "problem": given or "own", "quick": setting.quick}
        return plot.write(fig, setting.folder / f"{name}.{setting.format}", about)
