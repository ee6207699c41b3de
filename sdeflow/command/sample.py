"""Draw samples with a trained run: `sdeflow sample`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import arg

import sdeflow.experiment as experiment
from sdeflow._validation import check_int
from sdeflow.command.options import Device, option
from sdeflow.command.unclip import prompted
from sdeflow.experiment.classes import Guidance
from sdeflow.experiment.problem import ALL


@dataclass(frozen=True)
class Sample:
    """Draw samples with the trained field of a run; write cloud.csv and cloud.npz in its folder.

    A cloud of other settings is not overwritten. For pictures also cloud.png, a sheet.
    """

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    n: Annotated[int | None, option("INT", "10000, with --prompt 8")] = None
    """Number of particles, or of pictures for each prompt."""
    which: Annotated[str | None, option("NAME", "all, if the run has classes", "class")] = None
    """Class to sample, by its name in the data (2 is the label 2 of the file); all: each particle
    of a class of its own, with the shares of the data."""
    scale: Annotated[float | None, option("FLOAT", "1, with --prompt 2")] = None
    """Guidance scale towards the class or the prompts; 1 is no guidance, 0 no class."""
    interval: Annotated[tuple[float, float] | None, option("FLOAT FLOAT", "everywhere")] = None
    """Guidance only at noise levels sigma / alpha between these two, in data std."""
    prompt: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: none)")] = ()
    """Texts, for a run of `sdeflow unclip`: one row of pictures for each."""
    against: Annotated[str | None, option("STR", "none")] = None
    """Text for guidance away from it (a negative prompt)."""
    method: str = "multistep"
    """multistep, calibrated, an SDE method (euler, heun, srk) or an ODE method (heun2, dopri5)."""
    steps: int = 20
    """Number of time steps; adaptive methods choose their own."""
    eta: Annotated[float | None, option("FLOAT", "1 for SDE methods, else 0")] = None
    """Noise of the sampler: 1 for the reverse SDE, 0 for the probability flow."""
    save: Annotated[int | None, option("INT", "2, with --film all")] = None
    """Number of states in cloud.npz, evenly over the steps."""
    out: Annotated[Path | None, option("FILE", "cloud.csv in the folder of the run")] = None
    """File of the cloud (.csv or .npz; both are written)."""
    overwrite: bool = False
    """Write over a cloud of other settings."""
    film: Annotated[Path | None, option("PATH", "no film")] = None
    """File (.gif or .mp4) for a film with one frame for each of these states."""
    seed: int = 0
    """Seed of the initial noise, of the classes and of the noise on the way."""
    device: Device = "cpu"

    def __call__(self) -> None:
        """Print the file of the cloud and, to stderr, which fitted steps were used."""
        if self.prompt or experiment.folder.is_unclip(self.folder):
            return print(prompted(self))
        if self.against is not None:
            raise ValueError("--against is a text, for a run of `sdeflow unclip`; leave it out")
        run, samplers, progress = experiment.run, experiment.samplers, sys.stderr.isatty()
        built = run.reopen(self.folder)
        fits = self.method == samplers.CALIBRATED
        which = self._class(bool(built.classes), fits)
        eta = samplers.default_eta(self.method) if self.eta is None else self.eta
        written = run.sample(
            self.folder, 10_000 if self.n is None else check_int(self.n, "n"),
            samplers.choose_solver(self.method, self.steps, eta, self.seed), eta,
            seed=self.seed, label=which, guidance=self._guidance(fits),
            save=self._states(built), progress=progress, out=self.out, overwrite=self.overwrite,
            device=self.device,
            motion=samplers.choose_motion(self.folder, self.method, self.steps, built, which),
        )  # fmt: skip
        if fits:
            fitted = samplers.fitted_steps(self.folder, self.steps, built, which)
            print("sdeflow:", fitted, file=sys.stderr)  # stdout holds the file name alone
        if self.film is not None:
            cloud = None if self.out is None else self.out.with_suffix(".npz")
            experiment.films.film_cloud(self.folder, self.film, which, progress, cloud)
        print(written)

    def _class(self, classes: bool, fits: bool) -> str | None:
        """The class asked for; by default all, but none for steps fitted to the whole cloud."""
        if fits and self.which == ALL:
            raise ValueError(
                "steps are fitted to one class or to the whole cloud; name one class, or none"
            )
        if self.which is None and classes and not fits:
            return ALL
        return self.which

    def _guidance(self, fits: bool) -> experiment.classes.Guidance:
        scale = 1.0 if self.scale is None else self.scale
        if fits and scale != 1:
            raise ValueError(
                "steps are fitted without guidance; leave out the scale, or calibrated"
            )
        return Guidance(scale, self.interval)

    def _states(self, built: experiment.problem.Problem) -> int:
        """The number of states to keep; a film needs all of them."""
        if self.film is None:
            return 2 if self.save is None else self.save
        experiment.films.check_film(self.film)
        built.check_plane("a film")
        if self.save == 1:
            raise ValueError("a film needs two states or more; leave out --save")
        return self.steps + 1 if self.save is None else self.save
