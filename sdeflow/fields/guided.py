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

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from sdeflow._blocks import Evaluate
from sdeflow._validation import check_finite
from sdeflow.fields.field import Field, Pairs, Table
from sdeflow.fields.film import FilmNetwork
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.network_call import Rest
from sdeflow.fields.networks import Condition, Conditioned
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

    Raises:
        TypeError: a part is not a `Field`, or scale is not a number.
        ValueError: the parts have different processes or dimensions, or labels for clouds of
            different sizes; scale is not finite, or interval is empty.

    Source: Ho and Salimans 2022, eq. 6, where w here is 1 + w there; Kynkaanniemi et al. 2024 for
    the interval; Karras et al. 2024, "Guiding a diffusion model with a bad version of itself".
    """

    process: Process = field(init=False)
    conditional: Field
    against: Field
    scale: float
    interval: tuple[float, float] | None = None

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

    def __repr__(self) -> str:
        """In words."""
        scale = f"scale {self.scale:g}"
        if self.interval is not None:
            low, high = self.interval
            scale += f" at noise levels {low:g} to {high:g}"
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
        return _combined(wanted, other, mixing(two.row(c), c, self.row(c)), scale)

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
        return lambda k: _combined(wanted(k), other(k), (u[k], v[k]), self.scale)

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
        a, b = self.conditional, self.against
        if isinstance(a, LearnedField) and isinstance(b, LearnedField):
            a, b = _of_one(a, b)
            if a.network is b.network:
                return _labelled(a), _labelled(b)
        return a, b

    @cached_property
    def _together(self) -> LearnedField | None:
        """Both parts as one field if they are one independent network under two labels."""
        a, b = self._parts
        if not (isinstance(a, LearnedField) and isinstance(b, LearnedField)):
            return None
        if a.network is not b.network or type(a) is not type(b):
            return None
        if type(a).at is not LearnedField.at or type(a).table is not LearnedField.table:
            return None  # a class of its own evaluation
        if a.label is None or b.label is None:
            return None
        if not getattr(a.network, "independent", False):
            return None
        if (
            (a.predicts, a.data_std, a.batch, a.shape)
            != (b.predicts, b.data_std, b.batch, b.shape)
            or not _same(a.data_mean, b.data_mean)
        ):  # fmt: skip
            return None
        wanted, other = torch.broadcast_tensors(a.label, b.label)
        network, both = a.network, _Both(a.network, self.scale)
        return _Pair(
            self.process,
            _BothConditioned(network, self.scale) if isinstance(network, Conditioned) else both,
            a.predicts, a.data_std, a.data_mean, wanted, batch=a.batch, shape=a.shape, other=other,
        )  # fmt: skip


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
) -> Evaluate:
    """x -> guided evaluation; u x + v other converts `other` to the row of `wanted`."""
    u, v = row
    return lambda x: _pushed(wanted(x), u * x + v * other(x), scale)


def _pushed(wanted: Tensor, other: Tensor, scale: float | Tensor) -> Tensor:
    """other + w (wanted - other); exact at w = 0 and at w = 1."""
    return torch.lerp(other, wanted, scale.to(wanted) if isinstance(scale, Tensor) else scale)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b or (a is not None and b is not None and torch.equal(a, b))


def _labelled(known: LearnedField) -> LearnedField:
    """The field with a label bound: that for "none" if there is none, and the network has one."""
    return known.given(known.labels) if known.label is None and known.labels else known


def _of_one(a: LearnedField, b: LearnedField) -> tuple[LearnedField, LearnedField]:
    """The fields of one network that holds two tables, as fields of it holding both."""
    one, two = a.network, b.network
    if not (isinstance(one, FilmNetwork) and isinstance(two, FilmNetwork) and one.shares(two)):
        return a, b
    assert one.table is not None
    assert two.table is not None
    rows, network = len(one.table), one.holding(torch.cat([one.table, two.table]))
    # "Nothing" of the first, the number after its last row, is now that after both.
    label = torch.tensor(rows) if a.label is None else a.label
    label = torch.where(label == rows, network.labels, label)
    other = torch.tensor(two.labels) if b.label is None else b.label
    both = replace(a, network=network, label=label)
    return both, replace(b, network=network, label=rows + other)


@dataclass(frozen=True, eq=False, repr=False)
class _Pair(LearnedField):
    """A network of two labels, `_Both` or `_BothConditioned`, under `label` and `other`."""

    other: Tensor | None = field(default=None, kw_only=True)

    @property
    def _labels(self) -> Rest:
        assert self.label is not None
        assert self.other is not None
        return self.label, self.other


class _Both(nn.Module):
    """One network under two labels, evaluated in one call on 2 n rows, combined with weight w."""

    def __init__(self, module: nn.Module, scale: float) -> None:
        super().__init__()
        self.module, self.scale = module, scale

    def forward(self, x: Tensor, t: Tensor, label: Tensor, other: Tensor) -> Tensor:
        n = len(x)
        labels = torch.cat([each.expand(n) for each in (label, other)])
        out = self.module(torch.cat([x, x]), torch.cat([t, t]) if t.ndim else t, labels)
        wanted, against = out.chunk(2)
        return _pushed(wanted, against, self.scale)


class _BothConditioned(Conditioned):
    """One network under two labels, evaluated in one call on 2 n rows, combined with weight w.

    The 2 `ROWS` rows of a block are again one fixed shape, so that a particle keeps its bits.
    """

    def __init__(self, network: Conditioned, scale: float) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(
        self, x: Tensor, c: Tensor, label: Tensor | None = None, other: Tensor | None = None
    ) -> Tensor:
        return self.body(x, self.condition(c, label, other))

    def condition(
        self, c: Tensor, label: Tensor | None = None, other: Tensor | None = None
    ) -> Condition:
        """The condition of the wanted label, then that of the other."""
        wanted, against = (self.network.condition(c, each) for each in (label, other))
        return *wanted, *against

    def body(self, x: Tensor, condition: Condition) -> Tensor:
        return self._in_one(self.network.body, x, condition)

    def bound(self, rows: int) -> Callable[[Tensor, Condition], Tensor]:
        body = self.network.bound(2 * rows)
        return lambda x, condition: self._in_one(body, x, condition)

    def _in_one(
        self, body: Callable[[Tensor, Condition], Tensor], x: Tensor, condition: Condition
    ) -> Tensor:
        half, n = len(condition) // 2, len(x)
        pairs = zip(condition[:half], condition[half:], strict=True)
        stacked = tuple(
            torch.cat([part.expand(n, *part.shape[1:]) for part in pair]) for pair in pairs
        )
        wanted, other = body(torch.cat([x, x]), stacked).chunk(2)
        return _pushed(wanted, other, self.scale)
