"""The `sdeflow` command: arguments in, one sentence out where they are wrong.

    sdeflow demo     train, sample with both engines, measure, draw, check
    sdeflow train    train a field, or go on with an interrupted run
    sdeflow sample   bring noise back to data with a trained field
    sdeflow calibrate  fit the sampler's steps to a trained field
    sdeflow check    check a trained run: particles against densities, the causes of its error
    sdeflow unclip   train a model that draws pictures from words: sdeflow sample RUN --prompt TEXT
    sdeflow view     play a trained run in a page of HTML: particles, densities, the score
    sdeflow provenance  what made a picture or a film: its command, commit, versions, seed
    sdeflow info     what is installed, which data sets there are, what a run holds

Exit code 0: done. 1: done, but the check did not pass, or could not be made. 2: refused.

The modules that do the work are loaded by `experiment` when a command runs.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
import tyro
from tabulate import tabulate

import sdeflow.experiment as experiment
from sdeflow._validation import SdeflowError, check_int
from sdeflow.experiment.config import Config
from sdeflow.experiment.folder import Format
from sdeflow.experiment.unclip_command import Unclip, prompted
from sdeflow.provenance import picture_provenance, provenance


@dataclass(frozen=True)
class Demo:
    """Train on a data set or on your own points, sample with both engines, measure, check."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Path = Path("runs/demo")
    """Folder of the run. A run of other settings that is there is replaced."""
    n: int = 1000
    """Particles in each measured cloud."""
    film: Path | None = None
    """A .gif or .mp4 of data that become noise, and of noise that becomes data."""
    format: Format = "png"
    """Of the figures."""

    def __call__(self) -> int:
        """Print the report; 1 if the check does not pass."""
        demo, run = experiment.demo, experiment.run
        demo.check_particles(self.n)
        built = experiment.problem.problem(self.config)  # complain before anything is removed
        if self.film is not None:
            built.check_plane("films are")
            experiment.films.check(self.film)
        run.clear(self.out, self.config)
        told = sys.stderr.isatty()
        print(demo.demo(self.config, self.out, n=self.n, progress=told, format=self.format))
        print(f"figure: {self.out / f'figure.{self.format}'}")
        if self.film is not None:
            print(f"film: {experiment.films.film_demo(self.out, self.film, told)}")
        if self.config.shaped:
            return 0  # the report says that the check is for the plane
        try:
            return _checked(self.out, self.format, seed=self.config.seed)
        except SdeflowError as error:
            # A grid has its limits; what was trained, sampled and measured stands without it.
            again = shlex.join(["sdeflow", "check", str(self.out)])
            print(f"sdeflow: no check: {error}, by: {again}", file=sys.stderr)
            return 1


@dataclass(frozen=True)
class Train:
    """Train a field; if the folder holds a part of this very run, go on with it."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Path = Path("runs/train")
    """Folder of the run."""

    def __call__(self) -> None:
        """Print where the field is."""
        experiment.run.fit(self.config, self.out, progress=sys.stderr.isatty())
        print(f"field: {self.out / 'field.safetensors'}")


@dataclass(frozen=True)
class Sample:
    """Bring noise back to data with the trained field of a run; write cloud.npz and cloud.csv.

    Of pictures also a sheet, cloud.png, each class in turn unless one is named.
    """

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    n: int | None = None
    """Particles, by default 10,000; of a run of words, pictures for each prompt, by default 8."""
    prompt: tuple[str, ...] = ()
    """Texts, for a run of `sdeflow unclip`: one row of pictures for each."""
    scale: float = 2.0
    """Guidance towards the prompts; 1 is none."""
    against: str | None = None
    """A text that guidance leads away from."""
    method: str = "multistep"
    """multistep, calibrated (after `sdeflow calibrate`), or a method of torchsde if eta > 0, of
    torchdiffeq if eta = 0 (e.g. heun2, dopri5)."""
    steps: int = 20
    """Fixed steps; adaptive methods choose their own."""
    eta: float | None = None
    """Noise: 1 is the reverse SDE, 0 the probability-flow ODE; by default 1 for torchsde's
    methods, 0 for the others."""
    label: int | None = None
    """Class, for a run trained with --conditional."""
    save: int | None = None
    """States to keep in cloud.npz, evenly over the steps: by default 2, for a film all."""
    film: Path | None = None
    """A .gif or .mp4, a frame for each of these states."""
    seed: int = 0
    """Of the prior and of the path."""

    def __call__(self) -> None:
        """Print where the cloud is and, to stderr, which fitted steps it has used."""
        if self.prompt or experiment.folder.is_words(self.folder):
            return print(prompted(self))
        run, samplers = experiment.run, experiment.samplers
        eta = samplers.default_eta(self.method) if self.eta is None else self.eta
        solver = samplers.choose_solver(self.method, self.steps, eta, self.seed)
        n, save = 10_000 if self.n is None else check_int(self.n, "n"), self.save
        if self.film is not None:
            experiment.films.check(self.film)
            run.reopen(self.folder).check_plane("films are")
            if save == 1:
                raise ValueError("a film needs two states or more; leave out --save")
        if save is None:
            save = 2 if self.film is None else self.steps + 1
        written = run.sample(
            self.folder, n, solver, eta,
            seed=self.seed, label=self.label, save=save, progress=sys.stderr.isatty(),
            motion=samplers.choose_motion(self.folder, self.method, self.steps, self.label),
        )  # fmt: skip
        if self.method == samplers.CALIBRATED:
            fitted = samplers.fitted_steps(self.folder, self.steps, self.label)
            print("sdeflow:", fitted, file=sys.stderr)  # stdout has the path alone
        if self.film is not None:
            experiment.films.film_cloud(self.folder, self.film, self.label, sys.stderr.isatty())
        print(written)


@dataclass(frozen=True)
class Calibrate:
    """Fit the steps of a sampler to a trained run: for fields that are sampled often."""

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    steps: int = 8
    """Calls of the field; then: sdeflow sample --method calibrated --steps STEPS."""
    pilot: int = 128
    """Particles to fit with."""
    label: int | None = None
    """Class, for a run trained with --conditional."""
    seed: int = 0
    """Of the pilot."""

    def __call__(self) -> None:
        """Print which plan was chosen, and the errors of all that competed."""
        seed = check_int(self.seed, "seed", 0)
        fitted = experiment.run.calibrate(self.folder, self.steps, self.pilot, seed, self.label)
        rows = [
            (name, f"{error:.4g}", f"{fitted.errors[name]:.4g}" if name in fitted.errors else "")
            for name, error in sorted(fitted.pilot_errors.items(), key=lambda row: row[1])
        ]
        names = ("error in data std", "on the pilot", "on fresh particles")
        print(tabulate(rows, names, disable_numparse=True))
        print(f"\nchosen: {fitted.name}, after {fitted.evaluations} evaluations")


@dataclass(frozen=True)
class Check:
    """Check a trained run: particles against densities, the error split into its causes."""

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    n: int = 20_000
    """Particles in each cloud."""
    cells: int = 128
    """Along each axis of the grid: the more, the lower the noise level at which the check ends."""
    steps: int = 200
    """Of the Fokker-Planck solver."""
    chain: int = 64
    """DDPM steps of the cloud whose error is split."""
    format: Format = "png"
    """Of the figure."""
    seed: int = 0
    """Of everything random."""

    def __call__(self) -> int:
        """Print the verdicts and the error budget; 1 if particles and density do not agree."""
        seed = check_int(self.seed, "seed", 0)
        sizes = {"cells": self.cells, "steps": self.steps, "chain": self.chain}
        return _checked(self.folder, self.format, n=self.n, seed=seed, **sizes)


def _checked(folder: Path, format: Format, **sizes: int) -> int:
    """Check a run, print the report, and return the exit code."""
    found = experiment.verify.check(folder, format=format, **sizes)
    print((folder / "check.md").read_text())
    print(f"figure: {folder / f'check.{format}'}")
    return 0 if found.verdict.passed() else 1


@dataclass(frozen=True)
class View:
    """Write a page of HTML that plays a trained run, SDE and ODE side by side."""

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The file, by default page.html in that folder."""
    n: int = 2000
    """Particles in each panel."""
    frames: int = 100
    """Saved states of each."""
    density: bool = True
    """Draw the densities under the particles; they take most of the time."""
    cells: int = 128
    """Along each axis of their grid: the more, the lower the noise level at which they end."""
    label: int | None = None
    """Class, for a run trained with --conditional."""
    seed: int = 0
    """Of everything random."""

    def __call__(self) -> None:
        """Print where the page is."""
        print(experiment.view.view(
            self.folder, self.out, n=self.n, frames=self.frames, cells=self.cells,
            density=self.density, label=self.label, seed=check_int(self.seed, "seed", 0),
        ))  # fmt: skip


@dataclass(frozen=True)
class Provenance:
    """Say what made a picture or a film: command, commit, versions, seed, digest of settings."""

    file: tyro.conf.Positional[Path]
    """A .png, .pdf, .svg, .gif or .mp4 that this package wrote."""

    def __call__(self) -> None:
        """Print it."""
        made = picture_provenance(self.file)
        print(tabulate(list(made.items()), tablefmt="plain", disable_numparse=True))


@dataclass(frozen=True)
class Info:
    """Say what is installed, which data sets there are, and what a run holds."""

    folder: tyro.conf.Positional[Path | None] = None
    """Folder of a run."""

    def __call__(self) -> None:
        """Print it."""
        if self.folder is None:
            sets = experiment.problem.datasets
            names = ", ".join(sets.NAMES | sets.SHAPED)
            about: dict[str, object] = {**provenance(), "data sets": names}
        elif experiment.folder.is_words(self.folder):
            about = experiment.words.summary(self.folder)
        else:
            found = experiment.run.summary(self.folder)
            about = {"run": self.folder, **experiment.folder.in_words(found)}
        print(tabulate(list(about.items()), tablefmt="plain", disable_numparse=True))


def main(args: list[str] | None = None) -> None:
    """Run the command; the exit code is 0, 1 if a check did not pass, or 2 after one sentence.

    torch gets OMP_NUM_THREADS threads, by default one: bits depend on the number of threads, and
    for networks of this size a second thread gains little on an idle machine and loses much on a
    busy one.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    torch.set_num_threads(int(threads) if re.fullmatch("[1-9][0-9]{0,2}", threads) else 1)
    warnings.showwarning = lambda message, *rest: print(f"sdeflow: {message}", file=sys.stderr)
    command: Callable[[], int | None] | None = None
    if (sys.argv[1:] if args is None else args) == ["--version"]:
        print(f"sdeflow {version('sdeflow')}")
        return
    try:
        command = tyro.cli(
            Demo | Train | Sample | Unclip | Calibrate | Check | View | Provenance | Info,
            prog="sdeflow",
            description="Diffusion as physics: every cloud comes with a check.",
            args=args,
        )
        code = command()
        sys.stdout.flush()
        if code:
            raise SystemExit(code)
    except BrokenPipeError:  # as in: sdeflow info | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, TypeError, OSError, ArithmeticError, MemoryError, RuntimeError) as error:
        # Sizes beyond the machine raise any of the last three, some with torch's stack.
        text = re.split(r"\n(?:frame #|Exception raised)", str(error))[0]
        if isinstance(error, OSError) and error.filename is not None:
            text = f"{error.filename} cannot be read or written: {error.strerror}"
        print(f"sdeflow: {' '.join(text.split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        trains = isinstance(command, Demo | Train | Unclip)
        rest = "; training goes on from its checkpoint next time" if trains else ""
        print(f"sdeflow: stopped{rest}", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
