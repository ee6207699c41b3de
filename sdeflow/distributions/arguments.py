"""Check the arguments of distributions: draws, affine maps, noise levels, covariances."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import (
    check_cloud,
    check_device,
    check_dtype,
    check_finite,
    check_int,
    check_numbers,
    check_positive,
    check_seed,
)

UNLIKE = 1e5
"""Ratio of standard deviations up to which float64 keeps six digits of all variances."""

Noise = float | Tensor
"""alpha or sigma: one number, or one for each particle (n,)."""


def check_move(
    shift: Tensor, scale: float | Tensor, d: int, name: str = "shift"
) -> tuple[Tensor, float | Tensor]:
    """Return the arguments of `moved`: shift (d,), and scale, a number or a matrix (d, d)."""
    shift = check_numbers(shift, name, (d,))
    if not np.ndim(scale):
        return shift, check_positive(scale, "scale")  # type: ignore[arg-type]
    matrix = check_numbers(scale, "scale", (d, d))
    if float(torch.linalg.cond(matrix / matrix.norm(dim=1, keepdim=True))) > 1e12:
        raise ValueError("scale must be a matrix with an inverse; its rows depend on each other")
    return shift, matrix


def check_draw(n: int, seed: int) -> tuple[int, int]:
    """Return the arguments of `sample` as whole numbers."""
    return check_int(n, "n"), check_seed(seed)


def check_noise(alpha: Noise, sigma: Noise, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma, () or (n,) each, as tensors like the cloud x (n, d)."""
    found, x = [], widened(x)
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
    for value, name in zip(found, ("alpha", "sigma"), strict=True):
        square = value**2
        if not (torch.isfinite(square) & ((square > 0) | (value == 0))).all():
            raise ValueError(f"the square of {name} is no number in {x.dtype}; rescale")
    return found[0], found[1]


def check_place(
    where: object, dtype: object = None
) -> tuple[torch.device | None, torch.dtype | None]:
    """Return the arguments of `to`, a device or a type or both, as a device and a type."""
    if isinstance(where, torch.dtype) and dtype is None:
        return None, check_dtype(where)
    return check_device(where, "where"), None if dtype is None else check_dtype(dtype)


def check_asked(
    x: Tensor, alpha: Noise, sigma: Noise, dim: int, narrowest: Callable[[], float]
) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma of a posterior as tensors, () or (n,).

    Types, shapes and sigma are checked, not x, because a posterior is computed in every step of a
    run; sigma may be 0 if the narrowest part of the density is wider.
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
    if float(sigma.min()) == 0.0 and narrowest() == 0.0:
        raise ValueError("sigma must be positive, because the density of the data is not smooth")
    return alpha, sigma


def widened(x: Tensor) -> Tensor:
    """x in float32 at least, since float16 cannot hold the square of 300."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def check_one_number(scale: float | Tensor, distribution: object) -> float:
    """Return the scale if it is one number."""
    if isinstance(scale, Tensor):
        raise ValueError(
            f"{distribution} takes a scale of one number; a matrix would change its kind"
        )
    return scale


def check_coefficient(value: Tensor | float, name: str) -> Tensor | float:
    """Return one number as a float, or as the tensor () that it is, with its gradient."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value
    return check_finite(value, name)  # type: ignore[arg-type]


def check_covariances(c: Tensor) -> None:
    """Refuse matrices (k, d, d) that are no covariances.

    The tolerances are in units of the standard deviation of each coordinate.
    """
    if not torch.isfinite(c).all():
        raise ValueError("covariances must be finite and symmetric, got NaN or infinity")
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
            f"standard deviations of correlated coordinates differ by a factor above {UNLIKE:.0e},"
            " so that float64 cannot hold their covariance; rescale the coordinates"
        )
    values = torch.linalg.eigvalsh(scaled)
    if (values[:, 0] < -1e-6 * values.abs().amax(1)).any():
        raise ValueError("covariances must be positive semi-definite: no negative eigenvalue")


def check_wide(spectrum: Tensor) -> None:
    """Refuse variances of which one is zero, because then there is no density."""
    if not (spectrum > 0).all():
        raise ValueError(
            "a component has zero variance and therefore no density; give it a width, or pass "
            "sigma > 0"
        )
