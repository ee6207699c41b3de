"""Check what distributions are made of and asked: draws, moves, noise levels, covariances."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import (
    check_cloud,
    check_finite,
    check_int,
    check_numbers,
    check_positive,
    check_seed,
)
from sdeflow.density import Grid

UNLIKE = 1e5  # ratio of standard deviations at which float64 holds variances along axes to 1e-6

Noise = float | Tensor
"""alpha or sigma: one number, or one for each particle (n,)."""


def check_move(shift: Tensor, scale: float | Tensor, d: int) -> tuple[Tensor, float | Tensor]:
    """Return the arguments of `moved`: shift (d,), and scale as a number or a matrix (d, d).

    Raises:
        TypeError, ValueError: they are none, or the matrix has no inverse.
    """
    shift = check_numbers(shift, "shift", (d,))
    if not np.ndim(scale):
        return shift, check_positive(scale, "scale")  # type: ignore[arg-type]
    matrix = check_numbers(scale, "scale", (d, d))
    if float(torch.linalg.cond(matrix / matrix.norm(dim=1, keepdim=True))) > 1e12:
        raise ValueError("scale must be a matrix with an inverse; its rows depend on each other")
    return shift, matrix


def check_draw(n: int, seed: int) -> tuple[int, int]:
    """Return the arguments of `sample` as whole numbers."""
    return check_int(n, "n"), check_seed(seed)


def check_grid(grid: Grid) -> Grid:
    """Return the grid if it is one."""
    if not isinstance(grid, Grid):
        raise TypeError(f"grid must be a Grid, got {type(grid).__name__}")
    return grid


def check_noise(alpha: Noise, sigma: Noise, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma, () or (n,) each, as tensors like the cloud x (n, d)."""
    found = []
    for value, name in ((alpha, "alpha"), (sigma, "sigma")):
        if not isinstance(value, Tensor):
            value = check_finite(value, name)
        tensor = torch.as_tensor(value, dtype=x.dtype, device=x.device)
        if tensor.shape not in ((), x.shape[:1]):
            raise ValueError(
                f"{name} must be one number or ({len(x)},), one per particle, got "
                f"{tuple(tensor.shape)}"
            )
        found.append(tensor)
    if not (torch.isfinite(found[0]).all() and (found[0] > 0).all()):
        raise ValueError("alpha must be positive and finite")
    if not (torch.isfinite(found[1]).all() and (found[1] >= 0).all()):
        raise ValueError("sigma must be zero or more and finite")
    return found[0], found[1]


def check_asked(x: Tensor, alpha: Noise, sigma: Noise, dim: int) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma of a posterior as tensors, () or (n,); kinds and shapes alone are
    checked, since it is asked in every step of a run.
    """
    if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != dim or not x.is_floating_point():
        check_cloud(x, dim=dim)
    if not isinstance(alpha, Tensor):
        alpha = torch.tensor(check_positive(alpha, "alpha"), dtype=torch.float64)
    if not isinstance(sigma, Tensor):
        sigma = torch.tensor(check_positive(sigma, "sigma", zero=True), dtype=torch.float64)
    for value, name in ((alpha, "alpha"), (sigma, "sigma")):
        if value.numel() not in (1, len(x)):
            raise ValueError(
                f"{name} must be one number or ({len(x)},), one per particle, got "
                f"{tuple(value.shape)}"
            )
    return alpha, sigma


def check_one_number(scale: float | Tensor, law: object) -> float:
    """Return the scale if it is one number."""
    if isinstance(scale, Tensor):
        raise ValueError(f"{law} takes a scale of one number; a matrix would change its kind")
    return scale


def check_coefficient(value: Tensor | float, name: str) -> Tensor | float:
    """Return one number, or a tensor () that may have a gradient."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value
    return check_finite(value, name)  # type: ignore[arg-type]


def check_like(value: object, name: str, like: Tensor) -> Tensor:
    """Return `value`, a tensor, an array or nested lists, in the type of `like`."""
    if value.is_complex() if isinstance(value, Tensor) else np.iscomplexobj(value):  # type: ignore[arg-type]
        raise TypeError(f"{name} must hold real numbers; take its real part")
    try:
        return torch.as_tensor(value, dtype=like.dtype, device=like.device)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must hold numbers, got {type(value).__name__}") from None


def check_covariances(c: Tensor) -> None:
    """Refuse what is no covariance, in units of each coordinate's own standard deviation."""
    if not torch.isfinite(c).all():
        raise ValueError("covariances must be finite and symmetric")
    s = c.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
    s = torch.where(s > 0, s, s.amax(1, keepdim=True))
    s = torch.where(s > 0, s, 1.0)
    scaled = c / (s[:, :, None] * s[:, None, :])
    if float((scaled - scaled.mT).abs().max()) > 1e-6:
        raise ValueError("covariances must be finite and symmetric; take (C + C.mT) / 2")
    tilted = (scaled - torch.diag_embed(scaled.diagonal(dim1=1, dim2=2))).abs().amax(
        (1, 2)
    ) > 1e-12
    if (tilted & (s.amax(1) > UNLIKE * s.amin(1))).any():
        raise ValueError(
            f"coordinates are correlated and differ in size by a factor above {UNLIKE:.0e}, which "
            "leaves no digits of their covariance; rescale them"
        )
    values = torch.linalg.eigvalsh(scaled)
    if (values[:, 0] < -1e-6 * values.abs().amax(1)).any():
        raise ValueError("covariances must be positive semi-definite: no negative eigenvalue")


def check_wide(spectrum: Tensor) -> None:
    """Refuse variances of which one is zero: there is no density."""
    if not (spectrum > 0).all():
        raise ValueError(
            "a component has zero variance and so no density; give it a width, or ask with noise"
        )
