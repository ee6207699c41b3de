r"""The share of particles that no wall has absorbed, or that have not reached a target."""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow._validation import Numbers, check_numbers
from sdeflow.analysis.estimate import Estimate
from sdeflow.analysis.first_passage import Passage
from sdeflow.fokker_planck.density_path import DensityPath
from sdeflow.solvers.path import Path


def survival(run: Path | Passage | DensityPath, t: Numbers) -> Estimate:
    r"""The survival probability S(t) = P(absorbed or arrived later than t), with its error.

    Of n particles it is their share, with the error sqrt(S (1 - S) / n). Of densities it is the
    mass inside, with the estimated error of the density.

    Args:
        run: a path between absorbing walls; a first passage; or the densities of `evolve` between
            such walls.
        t: (T,) or one time: of the SDE; for a first passage since its start; for densities among
            their times.

    Raises:
        ValueError: no wall of the path absorbs, t is after the end of the run, or the densities
            hold no such time.
    """
    times = check_numbers(t, "t")
    if isinstance(run, DensityPath):
        return _of_densities(run, times)
    if isinstance(run, Path):
        if run.absorbed is None:
            raise ValueError("no wall of this run absorbs; every particle survives")
        began = float(run.t[0]) if run.began is None else run.began
        sign = 1.0 if began <= float(run.t[-1]) else -1.0
        end = torch.where(run.absorbed.wall < 0, torch.inf, sign * run.absorbed.time)
        times, last = sign * times, sign * float(run.t[-1])
    elif isinstance(run, Passage):
        end = torch.where(run.arrived.cpu(), run.time.cpu(), torch.inf)
        last = float(run.time.max())
    else:
        raise TypeError(
            f"run must be a Path, a Passage or a DensityPath, got {type(run).__name__}"
        )
    # Particles that survive the run have a time of their own that nobody knows.
    if not torch.isfinite(end).all() and bool((times > last + 1e-9 * abs(last)).any()):
        raise ValueError("t is after the end of the run, and particles survive it; run longer")
    share = (end > times[..., None]).double().mean(-1)
    return Estimate(share, (share * (1 - share) / len(end)).sqrt())


def _of_densities(densities: DensityPath, times: Tensor) -> Estimate:
    known = densities.t.double()
    gap, index = (known - times[..., None]).abs().min(-1)
    if (gap > 1e-9 * known.abs().max()).any():
        raise ValueError("the densities hold no such time; evolve to it")
    rows = [(p.total(), p.error or 0.0) for p in densities]
    totals, errors = torch.tensor(rows, dtype=torch.float64).T
    return Estimate(totals[index], errors[index])
