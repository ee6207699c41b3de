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

Exit code 0: done. 1: the check did not pass, or could not be made. 2: refused. 130: stopped by
Ctrl-C. 143: stopped by SIGTERM.
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
from sdeflow._wording import sentence
from sdeflow.experiment.config import Config
from sdeflow.experiment.folder import Format
from sdeflow.experiment.termination import exit_code, terminable
from sdeflow.experiment.unclip_command import Unclip, prompted
from sdeflow.provenance import picture_provenance, provenance


def option(kind: str, default: str) -> Any:
    """The help of an option that is None by default: its kind, and what is then taken."""
    return arg(metavar=kind, help_behavior_hint=f"(default: {default})")


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
        """Print the file of the field."""
        experiment.run.fit(self.config, self.out, progress=sys.stderr.isatty())
        print(f"field: {self.out / 'field.safetensors'}")


@dataclass(frozen=True)
class Sample:
    """Draw samples with the trained field of a run; write cloud.csv and cloud.npz in its folder.

    For pictures also cloud.png, a sheet with each class in turn unless --label names one.
    """

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    n: Annotated[int | None, option("INT", "10000, with --prompt 8")] = None
    """Number of particles, or of pictures for each prompt."""
    prompt: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: none)")] = ()
    """Texts, for a run of `sdeflow unclip`: one row of pictures for each."""
    scale: float = 2.0
    """Guidance scale towards the prompts; 1 is no guidance."""
    against: Annotated[str | None, option("STR", "none")] = None
    """Text for guidance away from it (a negative prompt)."""
    method: str = "multistep"
    """multistep, calibrated, an SDE method (euler, heun, srk) or an ODE method (heun2, dopri5)."""
    steps: int = 20
    """Number of time steps; adaptive methods choose their own."""
    eta: Annotated[float | None, option("FLOAT", "1 for SDE methods, else 0")] = None
    """Noise of the sampler: 1 for the reverse SDE, 0 for the probability flow."""
    label: Annotated[int | None, option("INT", "all classes")] = None
    """Class to sample, for a run trained with --conditional."""
    save: Annotated[int | None, option("INT", "2, with --film all")] = None
    """Number of states in cloud.npz, evenly over the steps."""
    film: Annotated[Path | None, option("PATH", "no film")] = None
    """File (.gif or .mp4) for a film with one frame for each of these states."""
    seed: int = 0
    """Seed of the initial noise and of the noise on the way."""

    def __call__(self) -> None:
        """Print the file of the cloud and, to stderr, which fitted steps were used."""
        if self.prompt or experiment.folder.is_words(self.folder):
            return print(prompted(self))
        run, samplers = experiment.run, experiment.samplers
        eta = samplers.default_eta(self.method) if self.eta is None else self.eta
        solver = samplers.choose_solver(self.method, self.steps, eta, self.seed)
        n, save = 10_000 if self.n is None else check_int(self.n, "n"), self.save
        if self.film is not None:
            experiment.films.check(self.film)
            run.reopen(self.folder).check_plane("a film")
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
            print("sdeflow:", fitted, file=sys.stderr)  # stdout holds the file name alone
        if self.film is not None:
            experiment.films.film_cloud(self.folder, self.film, self.label, sys.stderr.isatty())
        print(written)


@dataclass(frozen=True)
class Calibrate:
    """Fit the time steps of the sampler to a trained field, which then needs fewer of them."""

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    steps: int = 8
    """Number of time steps; then run: sdeflow sample --method calibrated --steps STEPS."""
    pilot: int = 128
    """Number of particles to fit the steps with."""
    label: Annotated[int | None, option("INT", "all classes")] = None
    """Class that the steps are for, in a run trained with --conditional."""
    seed: int = 0
    """Seed of these particles."""

    def __call__(self) -> None:
        """Print the steps chosen, and the errors of all that were tried."""
        seed = check_int(self.seed, "seed", 0)
        fitted = experiment.run.calibrate(self.folder, self.steps, self.pilot, seed, self.label)
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
    return 0 if found.verdict.passed() else 1


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
    label: Annotated[int | None, option("INT", "all classes")] = None
    """Class to sample, for a run trained with --conditional."""
    seed: int = 0
    """Seed of all random numbers."""

    def __call__(self) -> None:
        """Print the file of the page."""
        print(experiment.view.view(
            self.folder, self.out, n=self.n, frames=self.frames, cells=self.cells,
            density=self.density, label=self.label, seed=check_int(self.seed, "seed", 0),
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
        with terminable():
            code = command()
        sys.stdout.flush()
        if code:
            raise SystemExit(code)
    except BrokenPipeError:  # for example: sdeflow info | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, TypeError, OSError, ArithmeticError, MemoryError, RuntimeError) as error:
        # Sizes beyond the machine raise any of the last three.
        print(f"sdeflow: {sentence(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        trains = isinstance(command, Demo | Train | Unclip)
        rest = "; the same command continues the training" if trains else ""
        print(f"sdeflow: stopped{rest}", file=sys.stderr)
        raise SystemExit(exit_code(stop)) from None


if __name__ == "__main__":
    main()
