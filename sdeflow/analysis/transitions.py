r"""Where the field changes its mind: order parameters, and the scales they find.

In the Brownian frame y = x / alpha every process blurs the data by rho = sigma / alpha, no more:
what the field does at one rho is the same for all of them. So a change of behaviour happens at a
*scale*, a length, and each process only puts its own label t on it. `NoiseLevel` holds the scale
and reads it off every clock.

There is no one "phase change", but several scales (of the lectures' spiral, size 1, arms 0.4
apart, 100 points):

    speciation      rho^2 = largest eigenvalue of the covariance                0.49
    class cloning   sum_c P(c | x)^2 half-way up                                0.20
    arms            turnover and effective dimension peak, alignments cross     0.15
    collapse        sum_i w_i^2 = 1/2: x_t belongs to one point                 0.05

The lecture's "as t approaches 0.4" is the third: where neighbouring arms stop blurring into one
another. In few dimensions, with few points, all of them are crossovers, not transitions: each is
as wide as it is because of what is being averaged, and another order parameter puts it elsewhere
in that width.

The last part is the other collapse: a sampler without its noise line, the measures that see it,
and the one that does not (`Dataset.distance`: the points are on the curve, all in one place).

Source: Biroli, Bonnaire, de Bortoli and Mezard 2024 (speciation, collapse); Raya and Ambrogioni
2023. See docs/theory.md, (4.3) for the frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_positive, check_times
from sdeflow.diagnostics.coverage import nearest
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.processes.process import Process
from sdeflow.random_streams import Stream, random_generator

CHUNK = 4096  # particles whose weights over all points are held at once


# ---- a scale, on every clock --------------------------------------------------------------------


@dataclass(frozen=True)
class NoiseLevel:
    """rho = sigma / alpha, the blur of the data in their own units, whatever the process.

    Raises:
        TypeError, ValueError: rho is no positive number.
    """

    rho: float

    def __post_init__(self) -> None:
        """Refuse what is no length."""
        object.__setattr__(self, "rho", check_positive(self.rho, "rho"))

    @staticmethod
    def of(process: Process, t: float) -> NoiseLevel:
        """The level of a process at one of its times."""
        c = process(torch.tensor(float(t), dtype=torch.float64))
        return NoiseLevel(float(c.sigma / c.alpha))

    def t(self, process: Process) -> float:
        """The time at which this process is at this level.

        Raises:
            ValueError: it never is.
        """
        t = float(process.time(torch.tensor(self.log_snr, dtype=torch.float64)))
        inside = min(max(t, process.t_min), process.t_max)
        if abs(inside - t) > 1e-9 * process.t_max:  # an end of the span may come back rounded
            raise ValueError(
                f"rho = {self.rho:g} is at t = {t:g}, outside [{process.t_min:g}, "
                f"{process.t_max:g}] where this {type(process).__name__} process is defined"
            )
        return inside

    @property
    def log_snr(self) -> float:
        """2 ln(alpha / sigma) = -2 ln rho."""
        return -2 * math.log(self.rho)

    @property
    def alpha_bar(self) -> float:
        """alpha^2 of a variance-preserving process at this level, 1 / (1 + rho^2)."""
        return 1 / (1 + self.rho**2)

    @property
    def ou_time(self) -> float:
        """Time of dx = -x dt + sqrt(2) dW from the data, ln(1 + rho^2) / 2."""
        return math.log1p(self.rho**2) / 2

    @property
    def flow_time(self) -> float:
        """Share of noise on the straight path, rho / (1 + rho): 0 data, 1 noise."""
        return self.rho / (1 + self.rho)

    @property
    def lecture_time(self) -> float:
        """t of the diffusion lecture, rho = 10^(3 t - 2)."""
        return (math.log10(self.rho) + 2) / 3


@dataclass(frozen=True, eq=False)
class Curve:
    """An order parameter against the noise level: rho (L,), falling or rising, and value (L,).

    Raises:
        TypeError, ValueError: rho is not positive and monotone, the two do not fit.
    """

    rho: Tensor
    value: Tensor

    def __post_init__(self) -> None:
        """Refuse what is no curve."""
        rho = check_times(self.rho, 0.0, math.inf, "rho")
        if rho.min() <= 0 or self.value.shape != rho.shape:
            raise ValueError(
                f"a curve needs positive rho and one value for each, got {len(rho)} levels from "
                f"{float(rho.min()):g} and values {tuple(self.value.shape)}"
            )

    def peak(self) -> NoiseLevel:
        """Where the value is largest: the top of the parabola in ln rho through the best three.

        Raises:
            ValueError: it is largest at an end.
        """
        k = int(self.value.argmax())
        if k in (0, len(self.value) - 1):
            raise ValueError(
                f"the value is largest at the end rho = {float(self.rho[k]):g}; widen the levels"
            )
        u = torch.log(self.rho[k - 1 : k + 2]).double()
        left, middle, right = self.value[k - 1 : k + 2].double()
        rise, fall = (middle - left) / (u[1] - u[0]), (right - middle) / (u[2] - u[1])
        bend = (fall - rise) / (u[2] - u[0])
        top = u[1] if bend == 0 else (u[0] + u[1]) / 2 - rise / (2 * bend)
        return NoiseLevel(float(torch.exp(top)))

    def crossing(self, level: float) -> NoiseLevel:
        """Where the value meets `level` first on the way from noise to data (linear in ln rho).

        Raises:
            ValueError: it never does.
        """
        u, off = torch.log(self.rho).double(), self.value.double() - level
        if u[0] < u[-1]:
            u, off = u.flip(0), off.flip(0)
        met = (off[:-1] * off[1:] <= 0).nonzero()
        if not len(met):
            raise ValueError(
                f"the value stays between {float(self.value.min()):g} and "
                f"{float(self.value.max()):g} and never meets {level:g}; widen the levels"
            )
        k = int(met[0])
        part = off[k] / (off[k] - off[k + 1]) if off[k] != off[k + 1] else 0.0
        return NoiseLevel(float(torch.exp(u[k] + part * (u[k + 1] - u[k]))))


# ---- what the arrows do -------------------------------------------------------------------------


def _pull(field: Field, y: Tensor, rho: Tensor) -> Tensor:
    """-eps_hat (n, d) at y, in the data's own units: the arrow towards the data."""
    t = field.process.time(-2 * torch.log(rho))
    return -field.noise(field.process(t).alpha.to(y) * y, t)


def _unit(v: Tensor) -> Tensor:
    return torch.nn.functional.normalize(v, dim=1)


def _asked(y: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
    return check_cloud(y, "y").double(), Curve(rho, torch.zeros(len(rho))).rho.double()


def turning_rate(field: Field, y: Tensor, rho: Tensor) -> Curve:
    """How fast the arrows turn: mean angle between successive levels, per unit of the clock t.

        E_y angle(eps_hat(y, t), eps_hat(y, t')) / |t - t'|    (radians / time)

    y (n, d) is where to look, in the data's units, usually a lattice; the curve stands half-way
    (in ln rho) between the levels rho (L,), (L - 1,).

    It says when the *picture* of arrows changes, on that window. It says nothing of how much: long
    and short arrows count alike. The unit is that of the field's own clock, and another clock
    shifts the peak of a broad curve.

    Raises:
        TypeError, ValueError: y is no cloud, rho not monotone or outside the process's span.
    """
    y, rho = _asked(y, rho)
    arrows = [_unit(_pull(field, y, r)) for r in rho]
    # 2 asin(|a - b| / 2): acos loses half its digits where the arrows barely turn.
    turned = torch.stack(
        [
            2 * torch.asin(((b - a).norm(dim=1) / 2).clamp_max(1)).mean()
            for a, b in pairwise(arrows)
        ]
    )
    gap = field.process.time(-2 * torch.log(rho)).diff().abs()
    return Curve(torch.sqrt(rho[1:] * rho[:-1]), turned / gap)


def alignment(field: Field, points: Tensor, y: Tensor, rho: Tensor) -> tuple[Curve, Curve]:
    """Mean cosine of the arrows at y (n, d) to the mean of `points` (m, d), and to the nearest.

    Their crossing, `Curve(rho, nearest.value - mean.value).crossing(0)`, is where the field leaves
    the centre for the data. Outside the data both directions agree, so a wide window flattens the
    contrast and moves the crossing; the nearest point is not where the field ends up, either.

    Raises:
        TypeError, ValueError: as `turnover`; points are no cloud.
    """
    y, rho = _asked(y, rho)
    points = check_cloud(points, "points", y.shape[1]).double()
    centre, near = _unit(points.mean(0) - y), _unit(points[nearest(y, points)] - y)
    arrows = [_unit(_pull(field, y, r)) for r in rho]
    to_centre, to_near = (
        torch.stack([(a * way).sum(1).mean() for a in arrows]) for way in (centre, near)
    )
    return Curve(rho, to_centre), Curve(rho, to_near)


def arm_resolution(radius: float, gap: float) -> NoiseLevel:
    r"""Where arrows between the arms of a spiral first turn outwards, in closed form.

        rho = (d / pi) sqrt(ln(4 pi r / d) / 2),    arms d = gap apart, at the distance r = radius.

    Points equally spaced in angle have areal density 1 / r, which blur turns into
    (1 / r) [1 + 2 exp(-2 pi^2 rho^2 / d^2) cos(2 pi r / d + phase)]: an arrow turns when the slope
    of the ripple, (4 pi / d) exp(...), beats that of the background, 1 / r. Straight arms without
    end: it wants r > d, and an arm on either side. `opening` measures it.

    Raises:
        TypeError, ValueError: not positive, or so near the centre that 4 pi r <= d.
    """
    check_positive(gap, "gap")
    turns = 4 * math.pi * check_positive(radius, "radius") / gap
    if turns <= 1:
        raise ValueError(f"radius {radius:g} lies inside the first arm of gap {gap:g}")
    return NoiseLevel(gap / math.pi * math.sqrt(math.log(turns) / 2))


def first_outward_level(
    field: Field, radius: float, gap: float, rho: Tensor, rays: int = 96
) -> Tensor:
    """The level (rays,) at which arrows of each ray first turn outwards, in a ring one gap wide.

    The plane only; the centre is the origin. Along each of `rays` rays, 64 places from radius -
    gap / 2 to radius + gap / 2; the levels rho (L,) are walked from noise to data and the largest
    outward part of the arrows is followed to zero (linear in ln rho). NaN where they never turn.

    The ring holds one gap of every ray, so this is the first of the gap to open, not its average.

    Raises:
        TypeError, ValueError: as `turnover`; radius or gap not positive.
    """
    rho = _asked(torch.zeros(1, 2), rho)[1].sort(descending=True).values
    angle = 2 * math.pi * torch.arange(check_int(rays, "rays"), dtype=torch.float64) / rays
    depth = (torch.arange(64, dtype=torch.float64) + 0.5) / 64 - 0.5
    distance = check_positive(radius, "radius") + check_positive(gap, "gap") * depth
    out = torch.stack([angle.cos(), angle.sin()], 1)
    y = (out[:, None] * distance[:, None]).reshape(-1, 2)
    outward = torch.stack(
        [(_pull(field, y, r).reshape(rays, -1, 2) * out[:, None]).sum(2).amax(1) for r in rho]
    )  # (L, rays)
    first = (outward > 0).int().argmax(0).clamp_min(1)
    before, after = (outward.gather(0, k[None])[0] for k in (first - 1, first))
    u = torch.log(rho)
    part = before / (before - after)
    level = torch.exp(u[first - 1] + part * (u[first] - u[first - 1]))
    return torch.where((before <= 0) & (after > 0), level, math.nan)


# ---- what the posterior knows -------------------------------------------------------------------


def speciation(covariance: Tensor) -> NoiseLevel:
    """Where the noise is as wide as the data: rho^2 = largest eigenvalue of `covariance` (d, d).

    Where one broad Gaussian would break in two along its first axis. It knows no shape: the field
    of a law whose middle stays dense goes on pointing at the mean well below it.

    Raises:
        TypeError, ValueError: not a square matrix with a positive eigenvalue.

    Source: Biroli et al. 2024.
    """
    if check_cloud(covariance, "covariance").shape[0] != covariance.shape[1]:
        raise ValueError(f"covariance must be (d, d), got {tuple(covariance.shape)}")
    return NoiseLevel(math.sqrt(max(float(torch.linalg.eigvalsh(covariance.double())[-1]), 0.0)))


def effective_dimension(field: ExactField, rho: Tensor, n: int = 4000, seed: int = 0) -> Curve:
    """Directions that are still open: E tr Cov(x_0 | x_t) / rho^2, between 0 and d.

    For a flat piece of dimension k it is k, for a point 0; bumps between say at which rho the
    data look like lines or sheets. By the I-MMSE relation it is -dI(x_0; x_t) / d ln rho, so the
    area under it in ln rho is the information there was to have: ln m for m points.

    Over n draws of the field's own law, the same at every level.

    Raises:
        TypeError, ValueError: rho not monotone or outside the process's span.

    Source: Guo, Shamai and Verdu 2005 (I-MMSE).
    """
    x0 = field.sample(n, seed).double()
    eps, rho = _noise(x0, seed), _asked(x0, rho)[1]
    value = torch.zeros_like(rho)
    for k, r in enumerate(rho):
        c = field.process(field.process.at(field.process.time(-2 * torch.log(r)), x0))
        x = c.alpha * (x0 + r * eps)
        value[k] = field.posterior(x, c.along(x)).data_variance.mean() / r**2
    return Curve(rho, value)


def class_purity(field: ExactField, rho: Tensor, n: int = 4000, seed: int = 0) -> Curve:
    """How sure the class is: E sum_c P(c | x_t)^2, the chance that two guesses agree.

    From sum_c P(c)^2 in pure noise to 1. It depends on the labels, not on the arrows: two classes
    on one arm never come apart before the points do, and on two far clusters long before.

    Raises:
        TypeError, ValueError: as `participation`; the field has no labels.

    Source: Biroli et al. 2024, the cloning probability.
    """
    points = _points_of(field)
    if points.labels is None:
        raise ValueError("class_purity needs points with labels; pass labels= to PointSet")
    member = torch.nn.functional.one_hot(points.labels.long()).double()
    return _agreement(field, rho, n, seed, member)


def inverse_participation_ratio(
    field: ExactField, rho: Tensor, n: int = 4000, seed: int = 0
) -> Curve:
    """Whether x_t belongs to one point: E sum_i w_i^2, from 1 / m in pure noise to 1.

    Where it meets 1/2 a sample is more one training point than any mixture of them: collapse. It
    is a matter of the spacing of the points, and says nothing of a smooth law they may come from:
    more points move it to lower noise.

    Over n draws x_t, the same points and noise at every level.

    Raises:
        TypeError, ValueError: rho not monotone; n or seed out of range.
    """
    eye = torch.eye(len(_points_of(field).points), dtype=torch.float64)
    return _agreement(field, rho, n, seed, eye)


def _points_of(field: ExactField) -> PointSet:
    if not isinstance(field, ExactField) or not isinstance(field.distribution, PointSet):
        raise TypeError(
            "this needs the exact field of a point set: ExactField(process, PointSet(...))"
        )
    return field.distribution


def _agreement(field: ExactField, rho: Tensor, n: int, seed: int, member: Tensor) -> Curve:
    """E sum_c (sum_{i in c} w_i)^2 with member (m, c); w the posterior over the points."""
    known = _points_of(field)
    points = known.points.double()
    x0 = field.sample(n, seed).double()
    eps, rho = _noise(x0, seed), _asked(points, rho)[1]
    value = torch.zeros_like(rho)
    for k, r in enumerate(rho):
        y, s2 = x0 + r * eps, r**2 + known.width**2
        for part in y.split(CHUNK):
            w = torch.softmax(-(torch.cdist(part, points) ** 2) / (2 * s2), 1)
            value[k] += ((w @ member) ** 2).sum() / n
    return Curve(rho, value)


def _noise(x0: Tensor, seed: int) -> Tensor:
    return torch.from_numpy(random_generator(seed, Stream.PROBE).standard_normal(tuple(x0.shape)))


# ---- the sampler without its noise line ---------------------------------------------------------


def noiseless_law(
    mean: Tensor, covariance: Tensor, start: NoiseLevel, end: NoiseLevel
) -> tuple[Tensor, Tensor]:
    r"""Mean (d,) and covariance (d, d) of y where DDPM's noise line is dropped, for Gaussian data.

    From y ~ N(0, rho_start^2 I), `bridge` with no variance multiplies y - mean in each step by
    (C + v_s) / (C + v_t), v = rho^2. The product telescopes, whatever the steps:

        y - mean  ->  (C + v_end) (C + v_start)^{-1} (y - mean).

    The right flow has the square root of it. Of a width l, about rho_start l^2 / (l^2 +
    rho_start^2) is left: the more noise it starts from, the more is lost.

    Raises:
        TypeError, ValueError: shapes that do not fit.
    """
    covariance = check_cloud(covariance, "covariance").double()
    d = len(covariance)
    if covariance.shape != (d, d) or mean.shape != (d,):
        raise ValueError(
            f"mean must be (d,) and covariance (d, d), got {tuple(mean.shape)} and "
            f"{tuple(covariance.shape)}"
        )
    size, axes = torch.linalg.eigh(covariance)
    kept = axes @ torch.diag((size + end.rho**2) / (size + start.rho**2)) @ axes.T
    return mean.double() - kept @ mean.double(), start.rho**2 * kept @ kept.T
