"""Run the `sdeflow` command; wrong arguments are refused in one sentence.

    sdeflow demo        train, sample, measure, draw and check in one go
    sdeflow train       train a field, or continue an interrupted training
    sdeflow sample      draw samples with a trained field
    sdeflow simulate    simulate any number of particles, on one process or many
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
from sdeflow._validation import SdeflowError, check_device, check_int
from sdeflow.command.info import Info, Provenance
from sdeflow.command.options import Device, option
from sdeflow.command.sample import Sample
from sdeflow.command.simulate import Simulate
from sdeflow.command.termination import exit_code, terminable
from sdeflow.command.unclip import Unclip
from sdeflow.distributed import layout
from sdeflow.experiment.complaints import complain, silenced
from sdeflow.experiment.config import Config
from sdeflow.experiment.folder import Format

ABOUT = "Diffusion models as physical systems: every cloud comes with a check."


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
    device: Device = "cpu"

    def __call__(self) -> int:
        """Print the report; 1 if the check does not pass."""
        demo, run = experiment.demo, experiment.run
        demo.check_particles(self.n)
        built = experiment.problem.problem(self.config)  # refuse before anything is removed
        if self.film is not None:
            built.check_plane("a film")
            experiment.films.check_film(self.film)
        device = check_device(self.device)
        run.clear(self.out, self.config)
        told = sys.stderr.isatty()
        print(demo.demo(
            self.config, self.out, n=self.n, progress=told, format=self.format, device=device,
        ))  # fmt: skip
        print(f"figure: {self.out / f'figure.{self.format}'}")
        if self.film is not None:
            print(f"film: {experiment.films.film_demo(self.out, self.film, told)}")
        if self.config.shaped:
            return 0  # the report says that a check needs two coordinates
        try:
            return _checked(self.out, self.format, self.device, seed=self.config.seed)
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
    device: Device = "cpu"

    def __call__(self) -> None:
        """Print the file of the field, and which clouds of a shorter training were removed."""
        clouds = [file for file in ("cloud.csv", "cloud.npz") if (self.out / file).exists()]
        experiment.run.fit(self.config, self.out, progress=sys.stderr.isatty(), device=self.device)
        gone = [file for file in clouds if not (self.out / file).exists()]
        if gone:
            told = f"removed {', '.join(gone)} of the shorter training; sample again"
            print(f"sdeflow: {told}", file=sys.stderr)
        print(f"field: {self.out / 'field.safetensors'}")


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
    device: Device = "cpu"

    def __call__(self) -> None:
        """Print the steps chosen, and the errors of all that were tried."""
        seed = check_int(self.seed, "seed", 0)
        fitted = experiment.run.calibrate(
            self.folder, self.steps, self.pilot, seed, self.which, self.device
        )
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
    device: Device = "cpu"

    def __call__(self) -> int:
        """Print the tests and the error budget; return 1 if particles and density disagree."""
        seed = check_int(self.seed, "seed", 0)
        sizes = {"cells": self.cells, "steps": self.steps, "chain": self.chain}
        return _checked(self.folder, self.format, self.device, n=self.n, seed=seed, **sizes)


def _checked(folder: Path, format: Format, device: str, **sizes: int) -> int:
    """Check a run, print the report, and return the exit code."""
    found = experiment.verify.check(folder, format=format, device=device, **sizes)
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
    device: Device = "cpu"

    def __call__(self) -> None:
        """Print the file of the page."""
        print(experiment.view.view(
            self.folder, self.out, n=self.n, frames=self.frames, cells=self.cells,
            density=self.density, label=self.which, seed=check_int(self.seed, "seed", 0),
            device=self.device,
        ))  # fmt: skip


COMMANDS: Any = (
    Demo | Train | Sample | Simulate | Unclip | Calibrate | Check | View | Provenance | Info
)
SHARED = Train | Simulate
"""The commands that the ranks of a torchrun job share."""


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
        with silenced(not layout().is_writer):
            command = tyro.cli(COMMANDS, prog="sdeflow", description=ABOUT, args=args)
            if layout().size > 1 and not isinstance(command, SHARED):
                raise ValueError(
                    "torchrun can share `sdeflow train` and `sdeflow simulate`; start the others "
                    "without it"
                )
            with terminable():
                code = command()
            sys.stdout.flush()
        if code:
            raise SystemExit(code)
    except BrokenPipeError:  # for example: sdeflow info | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, TypeError, OSError, ArithmeticError, MemoryError, RuntimeError) as error:
        complain(error)  # sizes beyond the machine raise any of the last three
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        trains = isinstance(command, Demo | Train | Unclip | Simulate)
        complain("stopped" + ("; the same command continues" if trains else ""))
        raise SystemExit(exit_code(stop)) from None
