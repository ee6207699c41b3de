"""Train, sample and check one model in a folder: the `sdeflow` command and what it runs.

    config   what a run is asked for          demo      train, sample, measure, draw
    problem  its data, process and fields     verify    particles against densities
    run      train in a folder, sample        pictures  the figures of both
    folder   the files of a run               films     particles on their way
    view     a page that plays a run          page_data its numbers
    picture_demo  the demo's distances where the data are pictures
    words    pictures from words              unclip_command  its part of the command
    cli      the `sdeflow` command

A module is loaded when it is first used, so that `sdeflow --help` does not wait for matplotlib.
"""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

__all__ = [
    "config", "problem", "folder", "samplers", "run", "demo", "picture_demo", "verify", "pictures",
    "films", "view", "page_data", "words", "unclip_command", "cli",
]  # fmt: skip


def __getattr__(name: str) -> _ModuleType:
    if name in __all__:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("_"))]
