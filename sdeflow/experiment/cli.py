"""The `sdeflow` command: arguments in, one sentence out where they are wrong (exit code 2).

    sdeflow demo     train, sample with both engines, measure, draw, check
    sdeflow train    train a field, or go on with an interrupted run
    sdeflow sample   bring noise back to data with a trained field
    sdeflow check    check a trained run: particles against densities, the causes of its error
    sdeflow info     what is installed, which data sets there are, what a run holds

The modules that do the work are loaded by `experiment` when a command runs.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro

import sdeflow.experiment as experiment
from sdeflow._validation import SdeflowError, check_int
from sdeflow.experiment.config import Config
from sdeflow.provenance import provenance


@dataclass(frozen=True)
class Demo:
    """Train on a data set or on your own points, sample with both engines, measure, check."""

    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)
    out: Path = Path("runs/demo")
    """Folder of the run. A run of other settings that is there is replaced."""
    n: int = 1000
    """Particles in each measured cloud."""

    def __call__(self) -> None:
        """Print the report."""
        demo, run = experiment.demo, experiment.run
        demo.check_particles(self.n)
        experiment.problem.problem(self.config)  # complain before anything is removed
        run.clear(self.out, self.config)
        print(demo.demo(self.config, self.out, n=self.n, progress=True))
        print(f"figure: {self.out / 'figure.png'}")
        try:
            print(experiment.verify.check(self.out, seed=self.config.seed))
            print(f"figure: {self.out / 'check.png'}")
        except SdeflowError as error:
            # A grid has its limits; what was trained, sampled and measured stands without it.
            print(f"no check for these data: {error}")


@dataclass(frozen=True)
class Train:
    """Train a field; if the folder holds a part of this very run, go on with it."""

    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)
    out: Path = Path("runs/train")
    """Folder of the run."""

    def __call__(self) -> None:
        """Print where the field is."""
        experiment.run.fit(self.config, self.out, progress=True)
        print(f"field: {self.out / 'field.safetensors'}")


@dataclass(frozen=True)
class Sample:
    """Bring noise back to data with the trained field of a run; write cloud.npz and cloud.csv."""

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    n: int = 10_000
    """Particles."""
    method: str = "heun"
    """torchsde's method if eta > 0, torchdiffeq's if eta = 0 (e.g. heun2, dopri5)."""
    steps: int = 100
    """Fixed steps, evenly in log SNR; adaptive methods choose their own."""
    eta: float = 1.0
    """Noise: 1 is the reverse SDE, 0 the probability-flow ODE."""
    label: int | None = None
    """Class, for a run trained with --conditional."""
    save: int = 2
    """States to keep in cloud.npz, evenly over the steps."""
    seed: int = 0
    """Of the prior and of the path."""

    def __call__(self) -> None:
        """Print where the cloud is."""
        run = experiment.run
        solver = run.choose_solver(self.method, self.steps, self.eta, self.seed)
        written = run.sample(
            self.folder,
            check_int(self.n, "n"),
            solver,
            self.eta,
            seed=self.seed,
            label=self.label,
            save=self.save,
            progress=True,
        )
        print(written)


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
    seed: int = 0
    """Of everything random."""

    def __call__(self) -> None:
        """Print the verdicts and the error budget."""
        seed = check_int(self.seed, "seed", 0)
        sizes = {"cells": self.cells, "steps": self.steps, "chain": self.chain}
        print(experiment.verify.check(self.folder, n=self.n, seed=seed, **sizes))
        print(f"figure: {self.folder / 'check.png'}")


@dataclass(frozen=True)
class Info:
    """Say what is installed, which data sets there are, and what a run holds."""

    folder: tyro.conf.Positional[Path | None] = None
    """Folder of a run."""

    def __call__(self) -> None:
        """Print it."""
        if self.folder is None:
            print(json.dumps(provenance(), indent=1))
            print("data sets:", ", ".join(experiment.problem.datasets.NAMES))
            return
        print(json.dumps(experiment.run.summary(self.folder), indent=1))


def main(args: list[str] | None = None) -> None:
    """Run the command; exit code 0, or 2 with one sentence on what was wrong.

    torch gets OMP_NUM_THREADS threads, by default one: bits depend on the number of threads, and
    for networks of this size a second thread gains little on an idle machine and loses much on a
    busy one.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    torch.set_num_threads(int(threads) if re.fullmatch("[1-9][0-9]{0,2}", threads) else 1)
    warnings.showwarning = lambda message, *rest: print(f"sdeflow: {message}", file=sys.stderr)
    command: Callable[[], None] | None = None
    try:
        command = tyro.cli(
            Demo | Train | Sample | Check | Info,
            prog="sdeflow",
            description="Diffusion as physics: every cloud comes with a check.",
            args=args,
        )
        command()
        sys.stdout.flush()
    except BrokenPipeError:  # as in: sdeflow info | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, TypeError, OSError, ArithmeticError, MemoryError, RuntimeError) as error:
        # Sizes beyond the machine raise any of the last three, some with torch's stack.
        text = re.split(r"\n(?:frame #|Exception raised)", str(error))[0]
        print(f"sdeflow: {' '.join(text.split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        trains = isinstance(command, Demo | Train)
        rest = "; training goes on from its checkpoint next time" if trains else ""
        print(f"sdeflow: stopped{rest}", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
