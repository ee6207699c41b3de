"""Read the settings of a run from its folder, also those that older versions wrote."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from sdeflow.distributions.units import Units
from sdeflow.experiment.config import Config
from sdeflow.experiment.folder import read_sealed
from sdeflow.experiment.problem import Problem, problem

NEW = ("columns", "label", "held_out")
"""Settings that runs of older versions do not have."""


def read_settings(path: Path) -> tuple[Config, str | None, Units | None]:
    """The settings, and if they are known the digest of the data and the units."""
    return read_sealed(path, _settings, "restore it or train again")


def _settings(found: dict) -> tuple[Config, str | None, Units | None]:
    found.pop("made", None)
    digest, units = found.pop("digest", None), found.pop("units", None)
    found |= {name: None for name in NEW if name not in found}
    odd = found.keys() ^ {f.name for f in fields(Config)}
    if odd:
        raise ValueError(f"{', '.join(sorted(odd))} missing or unknown in this version")
    return Config(**found), digest, units and Units.from_plain(units)


def rebuilt(config: Config, units: Units | None) -> Problem:
    """Build the problem of a run; runs of older versions have one unit for all coordinates."""
    built = problem(config, units)
    return built if units else problem(config, built.data.one_number)
