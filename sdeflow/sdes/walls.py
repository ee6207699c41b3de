r"""Put walls around an SDE: `SDE(..., walls=Box(low, high, kind))`, `langevin(..., walls=...)`.

A wall stands across one axis. It is of one of three kinds:

    reflecting   the particle is pushed back by just as much as keeps it inside
    absorbing    the particle stops where it first touches the wall
    periodic     the particle leaves through one wall and enters through the other

`SDESolver("euler")` moves particles between walls, and `evolve` densities on a grid that ends at
them.

See docs/theory.md, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from sdeflow._validation import check_int, shown

KINDS = ("reflecting", "absorbing", "periodic")

Kind = str | Sequence[str | Sequence[str]]


class Axis(NamedTuple):
    """The walls across one axis: where they are, and of which kind each is."""

    low: float
    high: float
    at_low: str
    at_high: str


@dataclass(frozen=True, repr=False)
class Box:
    """The region low <= x <= high along each axis, and what happens at its walls.

    A reflecting wall pushes its own coordinate back. It turns no velocity that is another
    coordinate, so it is not for an SDE of places and velocities.

    Args:
        low, high: one number for every axis, or one per axis (d,); -inf and inf: no wall.
        kind: "reflecting", "absorbing" or "periodic"; or one entry per axis, each a kind or the
            pair (kind at low, kind at high).

    Raises:
        TypeError: low or high is no number.
        ValueError: low is not below high, a kind is unknown, rows have different lengths, or an
            axis is periodic on one side only or without end.
    """

    low: float | Sequence[float] | Tensor = field(compare=False)
    high: float | Sequence[float] | Tensor = field(compare=False)
    kind: Kind = field(default="reflecting", compare=False)
    _axes: tuple[Axis, ...] = field(init=False)

    def __post_init__(self) -> None:
        low, high = _row(self.low, "low"), _row(self.high, "high")
        named = [self.kind] if isinstance(self.kind, str) else self.kind
        if not isinstance(named, (list, tuple)):
            raise TypeError(f"kind must be a name or a row of names, got {shown(self.kind)}")
        kind = [_pair(k) for k in named]
        lengths = len(low), len(high), len(kind)
        d = max(lengths)
        if not set(lengths) <= {1, d}:
            raise ValueError(
                "low, high and kind must have one entry, or one per axis, got "
                "{}, {} and {}".format(*lengths)
                + "; the two kinds of one axis are a pair in the "
                "row, kind=[('absorbing', 'reflecting')]"
            )
        low, high, kind = low * (d // len(low)), high * (d // len(high)), kind * (d // len(kind))
        axes = tuple(Axis(a, b, *pair) for a, b, pair in zip(low, high, kind, strict=True))
        for axis in axes:
            _check_axis(axis)
        object.__setattr__(self, "_axes", axes)

    def __repr__(self) -> str:
        words = [
            f"[{a.low:g}, {a.high:g}] "
            + (a.at_low if a.at_low == a.at_high else f"{a.at_low} below, {a.at_high} above")
            for a in self._axes
        ]
        return " x ".join(words) + (" along every axis" if len(words) == 1 else "")

    def axes(self, d: int) -> tuple[Axis, ...]:
        """The walls across each of d axes.

        Raises:
            ValueError: they are those of another number of axes.
        """
        if len(self._axes) not in (1, check_int(d, "d")):
            raise ValueError(f"the walls stand across {len(self._axes)} axes, not {d}")
        return self._axes * (d // len(self._axes))

    def kinds(self) -> set[str]:
        """The kinds of the walls that there are."""
        walls = [
            (where, kind)
            for axis in self._axes
            for where, kind in ((axis.low, axis.at_low), (axis.high, axis.at_high))
        ]
        return {kind for where, kind in walls if math.isfinite(where)}

    def clamped(self, x: Tensor) -> Tensor:
        """x (..., d), moved onto the nearest point inside."""
        if not isinstance(x, Tensor) or not x.ndim:
            raise TypeError(f"x must be a cloud, a tensor (..., d), got {shown(x)}")
        axes = self.axes(x.shape[-1])
        low, high = (torch.tensor([a[i] for a in axes]).to(x) for i in (0, 1))
        return torch.minimum(torch.maximum(x, low), high)


def _row(value: object, name: str) -> list[float]:
    try:
        row = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        got = shown(value)
        raise TypeError(f"{name} must be a number or one number per axis, got {got}") from None
    if row.ndim > 1 or not row.numel():
        raise ValueError(f"{name} must be a number or a row (d,), got shape {tuple(row.shape)}")
    return [float(v) for v in row.reshape(-1)]


def _pair(kind: object) -> tuple[str, str]:
    pair = (kind, kind) if isinstance(kind, str) else kind
    good = isinstance(pair, Sequence) and len(pair) == 2 and all(k in KINDS for k in pair)
    if not good:
        raise ValueError(
            f"a wall is {', '.join(KINDS[:-1])} or {KINDS[-1]}, or a pair of these (at low, at "
            f"high), got {shown(kind)}"
        )
    return tuple(pair)  # type: ignore[arg-type,return-value]


def _check_axis(axis: Axis) -> None:
    low, high = axis.low, axis.high
    if not low < high or low == math.inf or high == -math.inf:
        raise ValueError(f"low must be below high along every axis, got {low:g} and {high:g}")
    if "periodic" in axis:
        if axis.at_low != axis.at_high:
            raise ValueError("an axis is periodic on both sides or on none")
        if not math.isfinite(high - low):
            raise ValueError("a periodic axis needs two finite walls")
