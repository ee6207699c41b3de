"""Train, sample and check one model in a folder; the `sdeflow` command calls these functions.

    config   the settings of a run               demo      train, sample, measure, draw
    problem  its data, process and fields        verify    check particles against densities
    run      train in a folder, sample from it   pictures  the figures of demo and check
    folder   the files of a run                  films     films of a run
    view     a page that plays a run             page_data the numbers of that page
    classes  the classes of a cloud, by name     clouds    the files of a cloud
    sample_tests, sample_report  tests that need no grid, and their report
    column_figure  figures of data of other than two columns
    unclip   train and use an unCLIP model       simulation  any number of particles of a run
    picture_demo  the distances of a demo whose data are pictures

A module is loaded when it is first used, so that `sdeflow --help` does not load matplotlib.
"""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

__all__ = [
    "config", "problem", "folder", "samplers", "run", "demo", "picture_demo", "verify", "pictures",
    "films", "view", "page_data", "unclip", "simulation", "classes", "clouds", "sample_tests",
    "sample_report", "column_figure", "settings",
]  # fmt: skip


def __getattr__(name: str) -> _ModuleType:
    if name in __all__:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("_"))]
