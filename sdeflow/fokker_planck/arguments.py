"""Check the arguments of the functions that move a density or make a Markov generator."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from sdeflow._validation import SdeflowError, check_finite, check_kind
from sdeflow.density import Density, Grid
from sdeflow.fokker_planck.density_path import Diagnostics
from sdeflow.fokker_planck.rescaling import Rescaling
from sdeflow.sdes.coefficients import checked_diffusion, checked_drift
from sdeflow.sdes.sde import SDE


def check_arguments(sde: object, density: object, rescaling: object, refuse: object) -> None:
    """Refuse arguments of `evolve` and `sampler_density` of a wrong type."""
    hint = "the arguments are (sde, density, times), rescaling= and refuse="
    check_kind(sde, SDE, "sde", hint)
    check_kind(density, Density, "density", hint)
    check_rescaling(rescaling, hint)
    check_refuse(refuse)


def check_time(sde: SDE, t: object) -> float:
    """Return one time within the span of the SDE."""
    when = check_finite(t, "t")  # type: ignore[arg-type]
    low, high = sorted((sde.t_start, sde.t_end))
    slack = 1e-6 * (high - low)
    if not low - slack <= when <= high + slack:
        raise ValueError(
            f"t is {when:g}, outside the span of this SDE; give one in [{low:g}, {high:g}]"
        )
    return when


def check_moment(sde: SDE, t: object, x: Tensor, *, drift: bool) -> float:
    """The time t of a generator; t_start if t is None and x (n, d) moves alike at all times.

    Args:
        drift: whether the drift must be constant too, and not the diffusion alone.

    Raises:
        ValueError: t is outside the span, or is None and the SDE depends on time.
    """
    if t is not None:
        return check_time(sde, t)
    rows = []
    with torch.no_grad():
        for part in (0.0, 0.37, 0.71):
            when = torch.tensor(
                sde.t_start + part * (sde.t_end - sde.t_start), dtype=torch.float64
            )
            row = [checked_drift(sde.drift(x.clone(), when), x, when)] if drift else []
            if sde.diffusion is not None:
                row.append(checked_diffusion(sde.diffusion(x.clone(), when), x, when))
            rows.append(row)
    for later in rows[1:]:
        for first, other in zip(rows[0], later, strict=True):
            if not torch.allclose(first, other, rtol=1e-6):
                raise ValueError(
                    "this SDE depends on time, and a Markov generator is that of one time; name "
                    f"it, t={sde.t_start:g}, or use evolve"
                )
    return sde.t_start


def check_rescaling(rescaling: object, hint: str = "make one by Rescaling(process)") -> None:
    """Refuse what is neither a Rescaling nor None."""
    if rescaling is not None:
        check_kind(rescaling, Rescaling, "rescaling", hint)


def check_refuse(refuse: object) -> None:
    """Refuse limits that are no Diagnostics."""
    hint = "change a limit by refuse=dataclasses.replace(sf.fokker_planck.REFUSE, error=0.1)"
    check_kind(refuse, Diagnostics, "refuse", hint)


def check_potential(potential: object, grid: Grid) -> Tensor:
    """Return U / kT in float64, one number per cell, grid.shape."""
    try:
        energy = torch.as_tensor(potential, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"potential must hold one number per cell, got {type(potential).__name__}; give "
            "U(grid.centres()).reshape(grid.shape) / kT"
        ) from None
    if energy.shape != grid.shape:
        raise ValueError(
            f"potential must be {grid.shape}, one number per cell, got {tuple(energy.shape)}"
        )
    if not torch.isfinite(energy).all():
        raise ValueError("potential has NaN or infinite cells; give high walls as large numbers")
    return energy.detach().cpu()


def check_rates(
    matrix: object, grid: Grid, lost: np.ndarray | None = None
) -> scipy.sparse.csc_matrix:
    """Return a sparse matrix of rates between the cells of a grid.

    Its columns add up to minus `lost`, the rates at which walls take mass; None: to zero.
    """
    try:
        rates = scipy.sparse.csc_matrix(matrix, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(
            f"matrix must be a sparse matrix, got {type(matrix).__name__}; use scipy.sparse"
        ) from None
    cells = math.prod(grid.shape)
    if rates.shape != (cells, cells):
        raise ValueError(f"matrix must be ({cells}, {cells}), cells by cells, got {rates.shape}")
    diagonal = rates.diagonal()
    if not np.isfinite(rates.data).all() or (rates - scipy.sparse.diags(diagonal)).min() < 0:
        raise ValueError("matrix has a rate that is negative, NaN or infinite; correct it")
    kept = np.asarray(rates.sum(0)).ravel() + (0.0 if lost is None else lost)
    if (abs(kept) > 1e-9 * abs(diagonal)).any():
        raise ValueError(
            "each column of matrix must add up to zero; put minus the sum of the rates on the "
            "diagonal"
        )
    return rates


def check_target(target: object, grid: Grid, *, optional: bool = False) -> np.ndarray:
    """Return the target as a mask, (grid.shape); nothing, if it is optional and None."""
    if target is None and optional:
        return np.zeros(grid.shape, bool)
    hint = "for example (grid.centres()[:, 0] > 0).reshape(grid.shape)"
    try:
        inside = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"target must be a boolean tensor, got {type(target).__name__}; {hint}"
        ) from None
    if inside.dtype != torch.bool or inside.shape != grid.shape or not inside.any():
        raise ValueError(
            f"target must be a boolean {grid.shape} with at least one true cell, got "
            f"{inside.dtype} {tuple(inside.shape)}; {hint}"
        )
    mask: np.ndarray = inside.cpu().numpy()
    return mask


@contextmanager
def on_axes_of(grid: Grid) -> Iterator[None]:
    """Turn an error of torch inside a drift or a diffusion into one that names the grid."""
    try:
        yield
    except SdeflowError:
        raise
    except (RuntimeError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            "the drift or the diffusion failed at the points of the grid, a float64 cloud of "
            f"shape (n, {grid.dim}) ({reason}); give a grid with one axis for each coordinate, "
            "and functions that take float64"
        ) from error
