"""The commands `sdeflow provenance` and `sdeflow info`, which print what is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from tabulate import tabulate

import sdeflow.experiment as experiment
from sdeflow._wording import gpus
from sdeflow.provenance import picture_provenance, provenance
from sdeflow.storage import provenance_of


@dataclass(frozen=True)
class Provenance:
    """Print how a picture, a film or a file of results was made: command, commit, seed, ..."""

    file: tyro.conf.Positional[Path]
    """A .png, .pdf, .svg, .gif, .mp4, .npz or .h5 that this package wrote."""

    def __call__(self) -> None:
        """Print the provenance."""
        made: dict[str, object]
        if self.file.suffix.lower() in (".npz", ".h5", ".hdf5"):
            made = experiment.clouds.made_of(self.file) or dict(provenance_of(self.file))
            settings = made.pop("settings", {})
            made |= settings if isinstance(settings, dict) else {}
        else:
            made = dict(picture_provenance(self.file))
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
