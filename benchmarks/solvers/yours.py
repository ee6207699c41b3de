"""Load a user's solver: any function solve(sde, x, times, seed) -> x in a file.

python -m benchmarks solvers --with mine.py --problem spiral --latex --plot mine.pdf
"""

from __future__ import annotations

import hashlib
import runpy
from pathlib import Path

import sdeflow as sf
from benchmarks.solvers.contender import Contender, Counted, first
from benchmarks.solvers.problems import Problem, problem
from sdeflow.fields.field import Field
from sdeflow.sdes.sde import SDE


def yours(file: str, eta: float = 0.0) -> Contender:
    """Load the function `solve` of a Python file, for the reverse SDE with noise eta.

    Its evaluations of the field in a step are counted in a run of 4 steps.

    Raises:
        SystemExit: there is no such file or function, or the run fails.
    """
    path = Path(file)
    if not path.is_file():
        raise SystemExit(f"there is no file {file}; give the file that defines your solver")
    solve = runpy.run_path(str(path)).get("solve")
    if not callable(solve):
        raise SystemExit(f"{file} must define a function solve(sde, x, times, seed) -> x")

    def sde(p: Problem, field: Field, calls: int) -> SDE:
        return sf.reverse(field, eta)

    p = problem("gaussian")
    field, x = Counted(p.field.process, p.field, [0]), p.start(10, 0)
    times = sf.processes.karras_times(p.field.process, 4)
    try:
        end = solve(sde(p, field, 4), x, times, 0)
    except Exception as error:
        raise SystemExit(
            f"{file}: solve fails on a Gaussian: {type(error).__name__}: {error}"
            + ("" if eta else "; if it needs sde.diffusion, give --eta 1")
        ) from error
    if getattr(end, "shape", None) != x.shape:
        raise SystemExit(f"{file}: solve must return the cloud at the last time, {tuple(x.shape)}")
    stages = max(1, round(field.asked[0] / len(x) / 4))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return Contender(path.stem, sde, solve, stages, first("Karras"), "yours", version=digest)
