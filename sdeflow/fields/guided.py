r"""Guide a sampler: push one field away from another.

    eps = eps_u + w (eps_c - eps_u)

w = 0 is u alone, w = 1 is c alone (no guidance), w > 1 goes beyond c. The same holds for score,
data and velocity, since w + (1 - w) = 1. The choice of c and u makes the method: the field of
a class and of all classes (classifier-free guidance, Ho and Salimans 2022), of what is wanted and
what is not (a negative condition), or of a good and a worse network (autoguidance, Karras et al.
2024). The convention s = w - 1 is also common: `scale_from_strength`.

If p_t and q_t are the densities behind c and u, the guided score at one time is that of
p_t (p_t / q_t)^(w - 1). But these densities are not one noised distribution: the guided particles
do not end distributed as p (p / q)^(w - 1) (Bradley and Nakkiran 2024).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate
from sdeflow._validation import check_finite
from sdeflow.fields.field import Field, Pairs, Table
from sdeflow.fields.guided_pair import parts, pushed, together
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.prediction import Row, mixing
from sdeflow.processes.process import Coefficients, Process, Scalar


def scale_from_strength(strength: float) -> float:
    """w = 1 + s, for the convention eps_c + s (eps_c - eps_u), in which s = 0 is no guidance."""
    return 1.0 + check_finite(strength, "strength")


def strength_from_scale(scale: float) -> float:
    """s = w - 1, the inverse of `scale_from_strength`."""
    return check_finite(scale, "scale") - 1.0


@dataclass(frozen=True, eq=False, repr=False)
class GuidedField(Field):
    r"""A field pushed away from another: eps_u + w (eps_c - eps_u).

    If both are one network under two labels, or two tables that it holds, and it says
    `independent = True` (a row of its answer does not depend on the other rows, as in every
    network of ours), they are evaluated in one call on 2 n rows; any other network gets its cloud
    twice. Where w is 1, or outside
    the interval, only `conditional` is evaluated. A field of a network with `labels` and no label
    bound counts as that of the label "none".

    Args:
        conditional: c, the field that is wanted.
        against: u, the field to push away from: unconditional, of an unwanted class, or worse.
        scale: w; 1 is no guidance, 0 is `against` alone.
        interval: noise levels sigma / alpha (length) between which guidance acts, both ends
            included; outside them the field is `conditional` alone. By default everywhere.
        rescale: phi in [0, 1], by how much the guided prediction of each particle gets the
            standard deviation over its coordinates that `conditional` has there: for pictures,
            which large scales make garish. Where that of the guided one is 0, as in one dimension,
            nothing changes.

    Raises:
        TypeError: a part is not a `Field`, or scale is not a number.
        ValueError: the parts have different processes or dimensions, or labels for clouds of
            different sizes; scale is not finite, interval is empty, or rescale not in [0, 1].

    Source: Ho and Salimans 2022, eq. 6, where w here is 1 + w there; Kynkaanniemi et al. 2024 for
    the interval; Karras et al. 2024, "Guiding a diffusion model with a bad version of itself";
    Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", eq. 15.
    """

    process: Process = field(init=False)
    conditional: Field
    against: Field
    scale: float
    interval: tuple[float, float] | None = None
    rescale: float = 0.0

    def __post_init__(self) -> None:
        """Check that the parts can be combined."""
        for name in ("conditional", "against"):
            if not isinstance(getattr(self, name), Field):
                raise TypeError(
                    f"{name} must be a Field, got {type(getattr(self, name)).__name__}"
                )
        mine, other = self.conditional.process, self.against.process
        if mine != other:
            raise ValueError(f"the two fields have different processes: {mine} and {other}")
        a, b = self.conditional.dim, self.against.dim
        if None not in (a, b) and a != b:
            raise ValueError(f"the two fields have different dimensions: {a} and {b}")
        _check_lengths(self.conditional, self.against)
        object.__setattr__(self, "process", mine)
        object.__setattr__(self, "scale", check_finite(self.scale, "scale"))
        if self.interval is not None:
            object.__setattr__(self, "interval", _interval(self.interval))
        object.__setattr__(self, "rescale", check_finite(self.rescale, "rescale"))
        if not 0 <= self.rescale <= 1:
            raise ValueError(f"rescale must be from 0 to 1, got {self.rescale:g}")

    def __repr__(self) -> str:
        """In words."""
        scale = f"scale {self.scale:g}"
        if self.interval is not None:
            low, high = self.interval
            scale += f" at noise levels {low:g} to {high:g}"
        if self.rescale:
            scale += f", rescale {self.rescale:g}"
        return f"guided field, {scale}: {self.conditional}; away from {self.against}"

    @property
    def dim(self) -> int | None:
        """See `Field`."""
        return self.conditional.dim or self.against.dim

    @property
    def pairs(self) -> Pairs:
        """See `Field`: those of the part that has less."""
        return max(self.conditional.pairs, self.against.pairs, key=list(Pairs).index)

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """See `Field`: that of `conditional`."""
        return self.conditional.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """See `Field`."""
        scale = self._scale_at(c)
        one, two = self._parts
        if isinstance(scale, float):
            if scale == 1.0:
                return one.at(t, c, like)
            if self._together is not None:
                return self._together.at(t, c, like)
        wanted, other = one.at(t, c, like), two.at(t, c, like)
        if isinstance(c.alpha, Tensor):
            c = c.along(like)
        row = mixing(two.row(c), c, self.row(c))
        return _combined(wanted, other, row, scale, self.rescale)

    def table(self, t: Tensor, c: Coefficients[Tensor], like: Tensor) -> Table:
        """See `Field`; made of the tables of the parts."""
        scales = self._scales(c.sigma / c.alpha).tolist()
        one, two = self._parts
        wanted = one.table(t, c, like)
        if self._together is not None:
            guided = self._together.table(t, c, like)
        else:
            guided = self._paired(wanted, two.table(t, c, like), c)
        return lambda k: wanted(k) if scales[k] == 1.0 else guided(k)

    def _paired(self, wanted: Table, other: Table, c: Coefficients[Tensor]) -> Table:
        """The table of the guided field, from those of the parts, ignoring the interval."""
        u, v = (
            (w * torch.ones_like(c.alpha)).tolist()
            for w in mixing(self.against.row(c), c, self.row(c))
        )
        scale, phi = self.scale, self.rescale
        return lambda k: _combined(wanted(k), other(k), (u[k], v[k]), scale, phi)

    def _scales(self, level: Tensor) -> Tensor:
        """`scale` inside the interval, 1 outside; of the shape of sigma / alpha."""
        scale = torch.full_like(level, self.scale)
        if self.interval is None:
            return scale
        low, high = self.interval
        return torch.where((low <= level) & (level <= high), scale, 1.0)

    def _scale_at(self, c: Coefficients) -> float | Tensor:
        """The scale: one number, or (n, 1) if the particles have different ones."""
        if self.interval is None:
            return self.scale
        level = torch.as_tensor(c.sigma / c.alpha)
        scales = self._scales(level.detach())
        if scales.ndim:
            return scales.reshape(-1, 1)
        return 1.0 if float(scales) == 1.0 else self.scale

    @cached_property
    def _parts(self) -> tuple[Field, Field]:
        """The two fields; of one network with labels, each with a label."""
        return parts(self.conditional, self.against)

    @cached_property
    def _together(self) -> LearnedField | None:
        """Both parts as one field if they are one independent network under two labels."""
        return None if self.rescale else together(*self._parts, self.scale)


def _check_lengths(*parts: Field) -> None:
    """Refuse labels per particle for clouds of different sizes."""
    labels = (part.label for part in parts if isinstance(part, LearnedField))
    sizes = {len(label) for label in labels if label is not None and label.ndim}
    if len(sizes) > 1:
        raise ValueError(
            f"the two fields have labels for clouds of {' and '.join(map(str, sorted(sizes)))} "
            "particles; give one for each particle, or one for all"
        )


def _interval(interval: tuple[float, float]) -> tuple[float, float]:
    try:
        low, high = (float(level) for level in interval)
    except (TypeError, ValueError):
        raise TypeError(
            f"interval must be two noise levels sigma / alpha, got {interval!r}"
        ) from None
    if not 0 <= low < high:
        raise ValueError(
            f"interval must be two rising noise levels sigma / alpha, zero or more, "
            f"got {interval!r}; leave it out to guide everywhere"
        )
    return low, high


def _combined(
    wanted: Evaluate,
    other: Evaluate,
    row: tuple[float | Tensor, float | Tensor],
    scale: float | Tensor,
    rescale: float,
) -> Evaluate:
    """x -> guided evaluation; u x + v other converts `other` to the row of `wanted`."""
    u, v = row
    if not rescale:
        return lambda x: pushed(wanted(x), u * x + v * other(x), scale)

    def evaluate(x: Tensor) -> Tensor:
        one = wanted(x)
        return _rescaled(pushed(one, u * x + v * other(x), scale), one, rescale)

    return evaluate


def _rescaled(guided: Tensor, wanted: Tensor, phi: float) -> Tensor:
    """`guided` (n, d), its spread over the coordinates moved to that of `wanted` by phi."""
    has, gets = (v.std(1, correction=0, keepdim=True) for v in (guided, wanted))
    seen = has > torch.finfo(has.dtype).eps * guided.abs().amax(1, keepdim=True)
    factor = torch.where(seen, gets / torch.where(seen, has, 1.0), 1.0)
    return guided * (phi * factor + (1 - phi))
