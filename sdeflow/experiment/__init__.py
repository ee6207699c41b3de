"""Train, sample and check one model in a folder, from Python or by the `sdeflow` command.

    config   the settings of a run               demo      train, sample, measure, draw
    problem  its data, process and fields        verify    check particles against densities
    run      train in a folder, sample from it   pictures  the figures of demo and check
    folder   the files of a run                  films     films of a run
    view     a page that plays a run             page_data the numbers of that page
    classes  the classes of a cloud, by name     clouds    the files of a cloud
    sample_tests, sample_report  tests that need no grid, and their report
    column_figure  figures of data of other than two columns
    words    train and use an unCLIP model       unclip_command  its part of the command
    picture_demo  the distances of a demo whose data are pictures
    simulation    any number of particles of a run     simulate_command  its part of the command
    cli      the `sdeflow` command

A module is loaded when it is first used, so that `sdeflow --help` does not load matplotlib.
"""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

__all__ = [
    "config", "problem", "folder", "samplers", "run", "demo", "picture_demo", "verify", "pictures",
    "films", "view", "page_data", "words", "unclip_command", "simulation", "simulate_command",
    "cli", "classes", "clouds", "sample_tests", "sample_report", "column_figure", "sample_command",
    "options", "settings",
]  # fmt: skip


def __getattr__(name: str) -> _ModuleType:
    if name in __all__:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("_"))]
