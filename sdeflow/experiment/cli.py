"""Run the `sdeflow` command; wrong arguments are refused in one sentence.

    sdeflow demo        train, sample, measure, draw and check in one go
    sdeflow train       train a field, or continue an interrupted training
    sdeflow sample      draw samples with a trained field
    sdeflow calibrate   fit the time steps of the sampler to a trained field
    sdeflow check       test the particles of a trained field against their density
    sdeflow unclip      train a model that draws pictures from text
    sdeflow view        write a page of HTML that plays a trained run
    sdeflow provenance  print how a picture or a film was made
    sdeflow info        print versions and data sets, or the contents of a run

Exit code 0: done. 1: the check did not pass, or could not be made. 2: refused. 130: interrupted.
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
from typing import Annotated, Any

import torch
import tyro
from tabulate import tabulate
from tyro.conf import arg

import sdeflow.experiment as experiment
from sdeflow._validation import SdeflowError, check_int
from sdeflow.distributions import datasets
from sdeflow.experiment.config import Config
from sdeflow.experiment.folder import Format
from sdeflow.experiment.sample_command import drawn
from sdeflow.experiment.unclip_command import Unclip
from sdeflow.provenance import picture_provenance, provenance


def option(kind: str, default: str, name: str | None = None) -> Any:
    """The help of an option that is None by default: its kind, and what is then taken."""
    return arg(name=name, metavar=kind, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True)
class Demo:
    """Train on a data set or on your own points, sample, measure, draw and check."""

    config: Annotated[Config, arg(name="")]
    out: Path = Path("runs/demo")
    """Folder of the run; a run with other settings in it is replaced."""
    n: int = 1000
    """Number of particles in each measured cloud."""
    film: Annotated[Path | None, option("PATH", "no film")] = None
    """File (.gif or .mp4) for a film of data turning into noise, and of noise into data."""
    format: Format = "png"
    """Format of the figures."""

    def __call__(self) -> int:
        """Print the report; 1 if the check does not pass."""
        demo, run = experiment.demo, experiment.run
        demo.check_particles(self.n)
        built = experiment.problem.problem(self.config)  # refuse before anything is removed
        if self.film is not None:
            built.check_plane("a film")
            experiment.films.check(self.film)
        run.clear(self.out, self.config)
        told = sys.stderr.isatty()
        print(demo.demo(self.config, self.out, n=self.n, progress=told, format=self.format))
        print(f"figure: {self.out / f'figure.{self.format}'}")
        if self.film is not None:
            print(f"film: {experiment.films.film_demo(self.out, self.film, told)}")
        if self.config.shaped:
            return 0  # the report says that a check needs two coordinates
        try:
            return _checked(self.out, self.format, seed=self.config.seed)
        except SdeflowError as error:
            # The run is complete without its check, which a grid may not resolve.
            again = shlex.join(["sdeflow", "check", str(self.out)])
            print(f"sdeflow: no check: {error}, with: {again}", file=sys.stderr)
            return 1


@dataclass(frozen=True)
class Train:
    """Train a field, or continue the training in the folder if it has the same settings."""

    config: Annotated[Config, arg(name="")]
    out: Path = Path("runs/train")
    """Folder of the run."""

    def __call__(self) -> None:
        """Print the file of the field, and which clouds of a shorter training were removed."""
        clouds = [file for file in ("cloud.csv", "cloud.npz") if (self.out / file).exists()]
        experiment.run.fit(self.config, self.out, progress=sys.stderr.isatty())
        gone = [file for file in clouds if not (self.out / file).exists()]
        if gone:
            told = f"removed {', '.join(gone)} of the shorter training; sample again"
            print(f"sdeflow: {told}", file=sys.stderr)
        print(f"field: {self.out / 'field.safetensors'}")


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

    def __call__(self) -> None:
        """Print the file of the cloud."""
        drawn(self)


@dataclass(frozen=True)
class Calibrate:
    """Fit the time steps of the sampler to a trained field, which then needs fewer of them."""

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    steps: int = 8
    """Number of time steps; then run: sdeflow sample --method calibrated --steps STEPS."""
    pilot: int = 128
    """Number of particles to fit the steps with."""
    which: Annotated[str | None, option("NAME", "no class", "class")] = None
    """Class that the steps are for, in a run trained with classes."""
    seed: int = 0
    """Seed of these particles."""

    def __call__(self) -> None:
        """Print the steps chosen, and the errors of all that were tried."""
        seed = check_int(self.seed, "seed", 0)
        fitted = experiment.run.calibrate(self.folder, self.steps, self.pilot, seed, self.which)
        rows = [
            (name, f"{error:.4g}", f"{fitted.errors[name]:.4g}" if name in fitted.errors else "")
            for name, error in sorted(fitted.pilot_errors.items(), key=lambda row: row[1])
        ]
        names = ("time steps", "particles of the fit", "fresh particles")
        print("Error at the end of the flow in data std (RMS, without the worst 1 %):\n")
        print(tabulate(rows, names, disable_numparse=True))
        print(f"\nchosen: {fitted.name}, after {fitted.evaluations} evaluations of the field")


@dataclass(frozen=True)
class Check:
    """Test the particles of a trained field against their density; split its error by cause."""

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    n: int = 20_000
    """Number of particles in each cloud."""
    cells: int = 128
    """Cells along each axis of the grid; with more, the check ends at a lower noise level."""
    steps: int = 200
    """Number of time steps of the Fokker-Planck solver."""
    chain: int = 64
    """Number of DDPM steps of the cloud whose error is split."""
    format: Format = "png"
    """Format of the figure."""
    seed: int = 0
    """Seed of all random numbers."""

    def __call__(self) -> int:
        """Print the tests and the error budget; return 1 if particles and density disagree."""
        seed = check_int(self.seed, "seed", 0)
        sizes = {"cells": self.cells, "steps": self.steps, "chain": self.chain}
        return _checked(self.folder, self.format, n=self.n, seed=seed, **sizes)


def _checked(folder: Path, format: Format, **sizes: int) -> int:
    """Check a run, print the report, and return the exit code."""
    found = experiment.verify.check(folder, format=format, **sizes)
    print((folder / "check.md").read_text())
    print(f"figure: {folder / f'check.{format}'}")
    return 0 if found.passed() else 1


@dataclass(frozen=True)
class View:
    """Write a page of HTML that plays a trained run, the SDE and the ODE side by side."""

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    out: Annotated[
        Path | None, arg(aliases=["-o"], metavar="PATH", help_behavior_hint="(default: page.html)")
    ] = None
    """File of the page, by default in the folder of the run."""
    n: int = 2000
    """Number of particles in each panel."""
    frames: int = 100
    """Number of states in each panel."""
    density: bool = True
    """Draw the densities below the particles, which takes most of the time."""
    cells: int = 128
    """Cells along each axis of the density's grid; with more, it ends at a lower noise level."""
    which: Annotated[str | None, option("NAME", "no class", "class")] = None
    """Class to sample, for a run trained with classes, by its name in the data."""
    seed: int = 0
    """Seed of all random numbers."""

    def __call__(self) -> None:
        """Print the file of the page."""
        print(experiment.view.view(
            self.folder, self.out, n=self.n, frames=self.frames, cells=self.cells,
            density=self.density, label=self.which, seed=check_int(self.seed, "seed", 0),
        ))  # fmt: skip


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
            names = ", ".join(datasets.NAMES | datasets.SHAPED)
            about: dict[str, object] = {**provenance(), "data sets": names}
        elif experiment.folder.is_words(self.folder):
            about = experiment.words.summary(self.folder)
        else:
            found = experiment.run.summary(self.folder)
            about = {"run": self.folder, **experiment.folder.in_words(found)}
        print(tabulate(list(about.items()), tablefmt="plain", disable_numparse=True))


def main(args: list[str] | None = None) -> None:
    """Run the command; the exit code is 0, 1 if a check did not pass, or 2 after a refusal.

    torch uses OMP_NUM_THREADS threads, by default one: results depend, in their last bits, on the
    number of threads, and networks of this size gain little from a second one.
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
            description="Diffusion models as physical systems: every cloud comes with a check.",
            args=args,
        )
        code = command()
        sys.stdout.flush()
        if code:
            raise SystemExit(code)
    except BrokenPipeError:  # for example: sdeflow info | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, TypeError, OSError, ArithmeticError, MemoryError, RuntimeError) as error:
        # Sizes beyond the machine raise any of the last three, some with the stack of torch.
        text = re.split(r"\n(?:frame #|Exception raised)", str(error))[0]
        if isinstance(error, OSError) and error.filename is not None:
            text = f"{error.filename} cannot be read or written: {error.strerror}"
        print(f"sdeflow: {' '.join(text.split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        trains = isinstance(command, Demo | Train | Unclip)
        rest = "; the same command continues the training" if trains else ""
        print(f"sdeflow: stopped{rest}", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
