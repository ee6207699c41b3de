"""Choose the SDE and the solver for a method of `sdeflow sample`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from sdeflow._validation import SdeflowError, check_int
from sdeflow.experiment.folder import read_sealed
from sdeflow.experiment.problem import Problem
from sdeflow.fields.field import Field
from sdeflow.sdes.calibration import with_plan
from sdeflow.sdes.generative import reverse
from sdeflow.sdes.multistep import multistep
from sdeflow.sdes.plan import FittedPlan
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.checks import ADAPTIVE
from sdeflow.solvers.device_normals import NoisePlace, check_noise_place
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.sde_solver import METHODS, SDESolver

Solver = SDESolver | ODESolver
Motion = Callable[[Field, float], SDE]

MULTISTEP, CALIBRATED = "multistep", "calibrated"
"""Methods of this package, which are Euler steps of an engine for another SDE."""

CALLS = 20
"""Calls of the field by default."""


def steps_file(folder: Path, steps: int, label: int | None = None) -> Path:
    """The file of `steps` fitted steps in a run, of one class if a label is given."""
    return Path(folder) / f"steps-{steps}{'' if label is None else f'-label-{label}'}.json"


def default_eta(method: str) -> float:
    """The noise eta of a method for which none is given."""
    return 1.0 if method in METHODS else 0.0


def choose_solver(
    method: str, steps: int, eta: float, seed: int = 0, noise: NoisePlace = "cpu"
) -> Solver:
    """Choose the solver of a method: torchsde if eta > 0, torchdiffeq if eta = 0."""
    check_int(steps, "steps")
    whole = method in (MULTISTEP, CALIBRATED)
    if eta != 0:
        if method in (*ADAPTIVE, "heun2"):
            raise ValueError(f"{method!r} is an ODE method; use it with --eta 0")
        return SDESolver("euler" if whole else method, steps, seed=seed, noise=noise)
    if check_noise_place(noise) == "device":
        raise ValueError("the probability flow has no noise; leave out --noise, or give an --eta")
    if whole:
        return ODESolver("euler", steps)
    if method in ADAPTIVE:
        return ODESolver(method)
    return ODESolver("heun2" if method == "heun" else method, steps)


def choose_motion(
    folder: Path, method: str, steps: int, built: Problem, which: str | None
) -> Motion:
    """Choose (field, eta) -> SDE: `multistep`, `multistep` with fitted steps, or `reverse`."""
    if method == MULTISTEP:
        return multistep
    if method != CALIBRATED:
        return reverse
    fitted = fitted_steps(folder, steps, built, which)
    return lambda field, eta: with_plan(multistep(field, eta), fitted)


def fitted_steps(
    folder: Path, steps: int, built: Problem | None = None, which: str | None = None
) -> FittedPlan:
    """Read the steps that `sdeflow calibrate` wrote in a run, of one class if it is named."""
    label = None if which is None or built is None else built.label(which)
    file = steps_file(folder, steps, label)
    if not file.is_file():
        words = ["sdeflow", "calibrate", str(folder), "--steps", str(steps)]
        words += [] if which is None else ["--class", which]
        of = f"{steps} fitted steps" + ("" if which is None else f" of class {which}")
        raise SdeflowError(f"{folder} holds no {of}; fit them with: {shlex.join(words)}")
    return read_sealed(file, FittedPlan.from_plain, "calibrate again")
