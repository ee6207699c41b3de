r"""Find the noise levels at which the direction from noise to data changes.

At a noisy point the estimate -eps_hat of a field points towards the data. As the noise falls, it
turns from the mean of all data to the nearest data. With y = x / alpha as the position,

    turning_rate           how fast the directions turn, a mean over positions
    alignment              their mean cosine to the mean of the data, and to the nearest point
    first_outward_level    where they first point outwards between the arms of a spiral
    arm_resolution         the same level in closed form

In few dimensions these changes are gradual: they are crossovers, not phase transitions.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_kind, check_positive
from sdeflow.analysis.noise_level import Curve, NoiseLevel, check_levels, times_of
from sdeflow.diagnostics.coverage import nearest
from sdeflow.fields.field import Field


def _towards_the_data(field: Field, y: Tensor, rho: Tensor) -> list[Tensor]:
    """-eps_hat (n, d) at y = x / alpha, (n, d), for each noise level."""
    times = times_of(field.process, rho)
    return [-field.noise(field.process(t).alpha.to(y) * y, t) for t in times]


def _unit(v: Tensor) -> Tensor:
    """The rows divided by their lengths; zero stays zero."""
    largest = v.abs().amax(1, keepdim=True)
    v = v / torch.where(largest > 0, largest, 1.0)
    return v / v.norm(dim=1, keepdim=True).clamp_min(0.5)


def _checked(field: Field, y: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
    check_kind(field, Field, "field")
    return check_cloud(y, "y", field.dim).double(), check_levels(rho)


def turning_rate(field: Field, y: Tensor, rho: Tensor) -> Curve:
    """The mean angle by which the direction of eps_hat turns per unit of time.

        E_y angle(eps_hat(y, t), eps_hat(y, t')) / |t - t'|    (radians / time)

    for successive noise levels at the times t and t'. The time is that of the field's process, so
    the peak of a broad curve lies elsewhere for another process.

    Args:
        field: whose eps_hat it is.
        y: (n, d) positions x / alpha in the units of the data, usually a lattice.
        rho: (L,) noise levels of the process, falling or rising; the curve has L - 1 values, at
            the geometric means of successive levels.
    """
    y, rho = _checked(field, y, rho)
    directions = [_unit(v) for v in _towards_the_data(field, y, rho)]
    # 2 asin(|a - b| / 2): acos loses half its digits at small angles.
    turned = torch.stack(
        [
            2 * torch.asin(((b - a).norm(dim=1) / 2).clamp_max(1)).mean()
            for a, b in pairwise(directions)
        ]
    ).cpu()
    gap = times_of(field.process, rho).diff().abs()
    return Curve(torch.sqrt(rho[1:] * rho[:-1]), turned / gap)


def alignment(field: Field, points: Tensor, y: Tensor, rho: Tensor) -> tuple[Curve, Curve]:
    """The mean cosines of -eps_hat with the way to the mean of the points and to the nearest one.

    Where the two curves cross, `Curve(rho, to_nearest.value - to_mean.value).crossing(0)`, the
    field turns from the mean to the data. Far from the data both ways are nearly the same:
    positions there weaken the contrast and shift the crossing.

    Args:
        field: whose eps_hat it is.
        points: (m, d) the data.
        y: (n, d) positions x / alpha in the units of the data.
        rho: (L,) noise levels of the process, falling or rising.
    """
    y, rho = _checked(field, y, rho)
    points = check_cloud(points, "points", y.shape[1]).to(y)
    centre, near = _unit(points.mean(0) - y), _unit(points[nearest(y, points, scale=1.0)] - y)
    directions = [_unit(v) for v in _towards_the_data(field, y, rho)]
    to_centre, to_near = (
        torch.stack([(a * way).sum(1).mean() for a in directions]).cpu() for way in (centre, near)
    )
    return Curve(rho, to_centre), Curve(rho, to_near)


def arm_resolution(radius: float, gap: float) -> NoiseLevel:
    r"""The noise level at which -eps_hat first points outwards between two arms of a spiral.

        rho = (d / pi) sqrt(ln(4 pi r / d) / 2),    arms d = gap apart, at the distance r = radius

    Points equally spaced in angle have areal density 1 / r, which noise blurs into
    (1 / r) [1 + 2 exp(-2 pi^2 rho^2 / d^2) cos(2 pi r / d + phase)]. A direction turns outwards
    where the slope of the ripple, (4 pi / d) exp(...), exceeds that of the background, 1 / r.
    The formula holds for r > d, between two arms; `first_outward_level` measures the level.

    Raises:
        ValueError: 4 pi r <= d, where the density has no ripple.
    """
    check_positive(gap, "gap")
    turns = 4 * math.pi * check_positive(radius, "radius") / gap
    if turns <= 1:
        raise ValueError(
            f"radius {radius:g} lies inside the first arm; give more than {gap / 4 / math.pi:.3g}"
        )
    return NoiseLevel(gap / math.pi * math.sqrt(math.log(turns) / 2))


def first_outward_level(
    field: Field, radius: float, gap: float, rho: Tensor, rays: int = 96
) -> Tensor:
    """The noise level on each ray from 0 at which -eps_hat first points outwards, (rays,).

    Each ray has 64 positions from radius - gap / 2 to radius + gap / 2. As the noise falls, the
    level is where the largest outward component on the ray becomes positive, linear in ln rho
    between levels; NaN where it stays negative.

    Args:
        field: in the plane.
        radius, gap: the ring between radius - gap / 2 and radius + gap / 2, in units of the data.
        rho: (L,) noise levels of the process, falling or rising.
        rays: at equal angles.
    """
    rho = _checked(field, torch.zeros(1, 2), rho)[1].sort(descending=True).values
    angle = 2 * math.pi * torch.arange(check_int(rays, "rays"), dtype=torch.float64) / rays
    depth = (torch.arange(64, dtype=torch.float64) + 0.5) / 64 - 0.5
    distance = check_positive(radius, "radius") + check_positive(gap, "gap") * depth
    out = torch.stack([angle.cos(), angle.sin()], 1)
    y = (out[:, None] * distance[:, None]).reshape(-1, 2)
    outward = torch.stack(
        [
            (v.reshape(rays, -1, 2) * out[:, None]).sum(2).amax(1)
            for v in _towards_the_data(field, y, rho)
        ]
    )  # (L, rays)
    first = (outward > 0).int().argmax(0).clamp_min(1)
    before, after = (outward.gather(0, k[None])[0] for k in (first - 1, first))
    u = torch.log(rho)
    part = before / (before - after)
    level = torch.exp(u[first - 1] + part * (u[first] - u[first - 1]))
    return torch.where((before <= 0) & (after > 0), level, math.nan)
