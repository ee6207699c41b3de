r"""Guide a sampler by pushing one field away from another.

    eps = eps_u + w (eps_c - eps_u)

w = 0 gives u alone, w = 1 gives c alone (no guidance), and w > 1 extrapolates beyond c. The same
formula holds for score, data and velocity. The choice of c and u defines the method: the field of
one class and that of all classes (classifier-free guidance, Ho and Salimans 2022), of a wanted and
an unwanted class (a negative prompt), or of a good and a worse network (autoguidance, Karras et
al. 2024). Some papers use the strength s = w - 1; `scale_from_strength` converts.

If c and u are the scores of densities p_t and q_t, the guided score at one time is that of
p_t (p_t / q_t)^(w - 1). These densities are not those of one noised distribution, so the guided
particles do not end with the density p (p / q)^(w - 1) (Bradley and Nakkiran 2024).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate
from sdeflow._validation import as_numbers, check_finite, check_kind
from sdeflow.fields.field import Field, Pairs, Table
from sdeflow.fields.guided_pair import parts, pushed, together
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.prediction import Row, mixing
from sdeflow.processes.process import Coefficients, Process, Scalar


def scale_from_strength(strength: float) -> float:
    """The scale w = 1 + s for a strength s, in eps_c + s (eps_c - eps_u)."""
    return 1.0 + check_finite(strength, "strength")


def strength_from_scale(scale: float) -> float:
    """The strength s = w - 1 for a scale w, the inverse of `scale_from_strength`."""
    return check_finite(scale, "scale") - 1.0


@dataclass(frozen=True, eq=False, repr=False)
class GuidedField(Field):
    r"""A field pushed away from another: eps_u + w (eps_c - eps_u).

    Both fields need the same process. If they are one network with two labels, and the network has
    `independent = True` (a row of its output depends on the same row of its input alone), it is
    called once on 2 n rows, otherwise twice on n rows. Where w = 1 and outside the interval only
    `conditional` is evaluated. If the network has labels and the field none, its label is "none".

    Args:
        conditional: c, the wanted field.
        against: u, the field to push away from: of all classes, of an unwanted class, or of a
            worse network.
        scale: w; 1 is no guidance, 0 is `against` alone.
        interval: two noise levels sigma / alpha (length) between which there is guidance, ends
            included; by default everywhere.
        rescale: phi in [0, 1]: the part by which the guided prediction of each particle gets the
            standard deviation over its coordinates that `conditional` has. Large scales make
            pictures garish without it. Where that of the guided one is 0, nothing changes.

    Source: Ho and Salimans 2022, eq. 6 (w here is 1 + w there); Kynkaanniemi et al. 2024 for the
    interval; Karras et al. 2024, "Guiding a diffusion model with a bad version of itself"; Lin et
    al. 2024, "Common diffusion noise schedules and sample steps are flawed", eq. 15.
    """

    process: Process = field(init=False)
    conditional: Field
    against: Field
    scale: float
    interval: tuple[float, float] | None = None
    rescale: float = 0.0

    def __post_init__(self) -> None:
        for name in ("conditional", "against"):
            check_kind(getattr(self, name), Field, name)
        mine, other = self.conditional.process, self.against.process
        if mine != other:
            raise ValueError(
                f"the two fields have different processes: {mine}; and {other}; give both one "
                "process"
            )
        a, b = self.conditional.dim, self.against.dim
        if None not in (a, b) and a != b:
            raise ValueError(
                f"the two fields have different dimensions: {a} and {b}; they must agree"
            )
        _check_lengths(self.conditional, self.against)
        object.__setattr__(self, "process", mine)
        object.__setattr__(self, "scale", check_finite(self.scale, "scale"))
        if self.interval is not None:
            object.__setattr__(self, "interval", _interval(self.interval))
        object.__setattr__(self, "rescale", check_finite(self.rescale, "rescale"))
        if not 0 <= self.rescale <= 1:
            raise ValueError(f"rescale must be from 0 to 1, got {self.rescale:g}")

    def __repr__(self) -> str:
        scale = f"scale {self.scale:g}"
        if self.interval is not None:
            low, high = self.interval
            scale += f" at noise levels {low:g} to {high:g}"
        if self.rescale:
            scale += f", rescale {self.rescale:g}"
        # Of a field that is guided itself, what stands before the names of its own fields.
        one, two = (str(field).partition(": ")[0] for field in (self.conditional, self.against))
        return f"guided field, {scale}: {one}; away from {two}"

    @property
    def dim(self) -> int | None:
        return self.conditional.dim or self.against.dim

    @property
    def pairs(self) -> Pairs:
        """The kind of the pairs (x_0, eps): independent only if both fields have such pairs."""
        return max(self.conditional.pairs, self.against.pairs, key=list(Pairs).index)

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The row of `conditional`."""
        return self.conditional.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
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
        scales = self._scales(c.sigma / c.alpha).tolist()
        one, two = self._parts
        wanted = one.table(t, c, like)
        if self._together is not None:
            guided = self._together.table(t, c, like)
        else:
            guided = self._paired(wanted, two.table(t, c, like), c)
        return lambda k: wanted(k) if scales[k] == 1.0 else guided(k)

    def _paired(self, wanted: Table, other: Table, c: Coefficients[Tensor]) -> Table:
        """The table of the guided field from the tables of both fields, inside the interval."""
        u, v = (
            (w * torch.ones_like(c.alpha)).tolist()
            for w in mixing(self.against.row(c), c, self.row(c))
        )
        scale, phi = self.scale, self.rescale
        return lambda k: _combined(wanted(k), other(k), (u[k], v[k]), scale, phi)

    def _scales(self, level: Tensor) -> Tensor:
        """The scale at noise levels: w inside the interval, 1 outside."""
        scale = torch.full_like(level, self.scale)
        if self.interval is None:
            return scale
        low, high = self.interval
        return torch.where((low <= level) & (level <= high), scale, 1.0)

    def _scale_at(self, c: Coefficients) -> float | Tensor:
        """The scale at the time of c: one number, or (n, 1) if each particle has its own time."""
        if self.interval is None:
            return self.scale
        level = torch.as_tensor(c.sigma / c.alpha)
        scales = self._scales(level.detach())
        if scales.ndim:
            return scales.reshape(-1, 1)
        return 1.0 if float(scales) == 1.0 else self.scale

    @cached_property
    def _parts(self) -> tuple[Field, Field]:
        """The two fields, with labels if both are of one network."""
        return parts(self.conditional, self.against)

    @cached_property
    def _together(self) -> LearnedField | None:
        """Both fields as one, which calls their network once; None if that is not possible."""
        return None if self.rescale else together(*self._parts, self.scale)


def _check_lengths(*parts: Field) -> None:
    """Refuse two fields with labels for clouds of different sizes."""
    labels = (part.label for part in parts if isinstance(part, LearnedField))
    sizes = {len(label) for label in labels if label is not None and label.ndim}
    if len(sizes) > 1:
        raise ValueError(
            f"the two fields have labels for clouds of {' and '.join(map(str, sorted(sizes)))} "
            "particles; give one label for each particle, or one for all"
        )


def _interval(interval: tuple[float, float]) -> tuple[float, float]:
    levels = as_numbers(interval, "interval")
    if levels.shape != (2,):
        raise TypeError(
            f"interval must be two noise levels sigma / alpha, got shape {tuple(levels.shape)}"
        )
    if not 0 <= levels[0] < levels[1]:
        raise ValueError(
            "interval must be two rising noise levels sigma / alpha, zero or more, got "
            f"{levels.tolist()!r:.60}; leave it out to guide everywhere"
        )
    low, high = levels.tolist()
    return low, high


def _combined(
    wanted: Evaluate,
    other: Evaluate,
    row: tuple[float | Tensor, float | Tensor],
    scale: float | Tensor,
    rescale: float,
) -> Evaluate:
    """The guided evaluation; u x + v other(x) converts `other` to the row of `wanted`."""
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
