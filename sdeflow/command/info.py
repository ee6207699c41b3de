"""The commands `sdeflow provenance` and `sdeflow info`, which print what is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from tabulate import tabulate

import sdeflow.experiment as experiment
from sdeflow._wording import gpus
from sdeflow.provenance import picture_provenance, provenance


@dataclass(frozen=True)
class Provenance:
    """Print how a picture or a film was made: command, commit, versions, seed, settings."""

    file: tyro.conf.Positional[Path]
    """A .png, .pdf, .svg, .gif or .mp4 that this package wrote."""

    def __call__(self) -> None:
        """Print the provenance."""
        made = picture_provenance(self.file)
        print(tabulate(list(made.items()), tablefmt="plain", disable_numparse=True))


@dataclass(frozen=True)
class Info:
    """Print versions and data sets, or the settings, progress and files of a run."""

    folder: tyro.conf.Positional[Path | None] = None
    """Folder of a run; without it, versions and data sets are printed."""

    def __call__(self) -> None:
        """Print the table."""
        if self.folder is None:
            sets = experiment.problem.datasets
            names = ", ".join(sets.NAMES | sets.SHAPED)
            gpu = "; ".join(gpus()) or "none"
            about: dict[str, object] = {**provenance(), "GPU": gpu, "data sets": names}
        elif experiment.folder.is_unclip(self.folder):
            about = experiment.unclip.summary(self.folder)
        else:
            found = experiment.run.summary(self.folder)
            about = {"run": self.folder, **experiment.folder.in_words(found)}
        print(tabulate(list(about.items()), tablefmt="plain", disable_numparse=True))
