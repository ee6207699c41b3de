"""Check the arguments of `simulate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath

from torch import Tensor

from sdeflow._validation import check_file, check_kind
from sdeflow.sdes.sde import SDE, check_function, check_sde
from sdeflow.simulation.cloud_file import FILE, CloudFile
from sdeflow.simulation.start import Start
from sdeflow.solvers.checks import ADAPTIVE
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.path import Path
from sdeflow.solvers.sde_solver import SDESolver

Motion = Callable[[int, int], SDE]
"""(first, count) -> the SDE of `count` particles from number `first` on."""

FILES = (".npy", ".npz", ".h5", ".hdf5", ".csv")
"""Ends of names that no folder should have."""


def folder_of(out: str | FilePath | None) -> FilePath | None:
    """The folder of a run, which is not made yet."""
    if out is None:
        return None
    folder = check_file(out, "out")
    if folder.suffix in FILES or (folder.exists() and not folder.is_dir()):
        raise ValueError(
            f"out={str(folder)!r} must name a folder, which holds the state of the run; end it in "
            f"{FILE} to write the cloud, and save a density with its save"
        )
    return folder


def motion_of(sde: SDE | Motion) -> Motion:
    """The SDE of any part of the particles."""
    if isinstance(sde, SDE) or not callable(sde) or isinstance(sde, type):
        return lambda first, count: check_sde(sde)
    check_function(sde, "sde", "first", "count")
    return sde


def seeded(solver: SDESolver | ODESolver | None, seed: int) -> SDESolver | ODESolver:
    """The solver with this seed; its steps must not depend on other particles."""
    if solver is None or isinstance(solver, SDESolver):
        solver = SDESolver() if solver is None else solver
        if solver.seed not in (None, seed):
            raise ValueError(
                f"the solver has the seed {solver.seed}, but simulate has {seed}, from which all "
                "noise comes; give the seed to simulate alone"
            )
        return replace(solver, seed=seed)
    if check_kind(solver, ODESolver, "solver", "or an SDESolver").method in ADAPTIVE:
        raise ValueError(
            f"the steps of {solver.method} are chosen for the whole cloud, which cannot be cut "
            "into chunks; use a method of fixed steps, such as rk4, or solve"
        )
    return solver


def functions_of(sde: SDE | Motion, start: Start) -> tuple[object, ...]:
    """What `fingerprint` reads of the arguments beside what the first particles do."""
    moves = (sde.drift, sde.diffusion, sde.walls) if isinstance(sde, SDE) else (sde,)
    return (
        moves if isinstance(start, Tensor | str | FilePath | Path | CloudFile) else (*moves, start)
    )
