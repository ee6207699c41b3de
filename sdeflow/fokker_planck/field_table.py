r"""Tabulate a field at the corners of a grid, so that densities move without calls of a network.

On a grid that follows a `Rescaling`, `evolve` evaluates the field at x = s(t) y with the same y at
every time: the corners of the cells, or every second corner (for the coarse run of an error
estimate). At fixed y the field is a smooth function of l = ln(sigma / alpha). So a few dozen noise
levels l_j are tabulated, and a polynomial gives the values between them,

    F(y, t) = sum_j w_j(l) F(y, t_j),    l_j Chebyshev's points,

in Berrut and Trefethen's barycentric form. F is the unit row for the standard deviation of the
rescaling, which is of order one at every noise level. Half of the levels are again Chebyshev's
points: the difference between the two tables estimates the error.

Source: Berrut and Trefethen 2004, eq. 5.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sdeflow._blocks import Evaluate
from sdeflow._validation import SdeflowError, check_int, check_kind, check_times
from sdeflow.density import Grid
from sdeflow.fields.field import Field
from sdeflow.fields.prediction import Row, mixing, unit_row
from sdeflow.fokker_planck.arguments import check_rescaling
from sdeflow.fokker_planck.rescaling import Rescaling
from sdeflow.processes.process import Coefficients, Scalar
from sdeflow.sdes.field_sde import FieldDrift, FieldNoise, FieldSDE
from sdeflow.sdes.sde import SDE, Times

LEVELS = 33
SAME_PLACE = 1e-9  # of the box: points that are nearer count as one
LARGEST = 2**30  # bytes of a table
ROUNDING = 1.2e-7  # total variation by which rounding changes a density, for a float32 field


@dataclass
class Answers:
    """The numbers of evaluations read from a table, and of those that its field had to make."""

    read: int = 0
    missed: int = 0

    def __str__(self) -> str:
        asked = self.read + self.missed
        return f"{self.read} of {asked} evaluations read from the table, {self.missed} missed it"


@dataclass(frozen=True, eq=False, repr=False)
class FieldTable(Field):
    """A field whose values are read from a table at the corners of a grid.

        F(y, t) = sum_j w_j(l) F(y, t_j),    l = ln(sigma / alpha)

    `tabulate_field` makes a table. At other points than s(t) times the corners (or every second
    corner), and for derivatives, the source is evaluated; `answers` counts both cases.

    Attributes:
        source: the field that was tabulated.
        grid: in units of s(t), the scale of the rescaling.
        rescaling: of the grid in time; None for s = 1.
        levels: (M,) ln(sigma / alpha), rising, Chebyshev's points.
        values: (M, corners, d) the unit row of the source there.
        answers: the evaluations so far.
    """

    source: Field
    grid: Grid
    rescaling: Rescaling | None
    levels: np.ndarray
    values: np.ndarray
    answers: Answers = field(default_factory=Answers)

    def __post_init__(self) -> None:
        """Check that the parts belong together."""
        super().__post_init__()
        check_kind(self.source, Field, "source")
        check_kind(self.grid, Grid, "grid")
        check_rescaling(self.rescaling)
        expected = (np.size(self.levels), math.prod(n + 1 for n in self.grid.shape), self.grid.dim)
        if np.shape(self.values) != expected or np.ndim(self.levels) != 1:
            raise ValueError(
                f"values must be {expected} for these levels and this grid, got "
                f"{np.shape(self.values)}; make a table by tabulate_field"
            )

    def __repr__(self) -> str:
        return f"table of {len(self.levels)} noise levels, {self.grid}, of {self.source}"

    @property
    def dim(self) -> int:
        """d, the number of axes of the grid."""
        return self.grid.dim

    @property
    def std(self) -> float:
        """The standard deviation of the unit row: that of the rescaling, or 1."""
        return 1.0 if self.rescaling is None else self.rescaling.std

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The unit row for the standard deviation `std`."""
        return unit_row(c, self.std)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """The evaluation x (n, d) -> (n, d) at time t, from the table where it has x."""
        missed = self._missed(t, c, like)
        level = math.log(c.sigma / c.alpha) if t.ndim == 0 and c.sigma > 0 else math.nan
        if not self.levels[0] - 1e-9 <= level <= self.levels[-1] + 1e-9:
            return missed
        scale = 1.0 if self.rescaling is None else self.rescaling(t)
        weights = barycentric_weights(self.levels, level)

        def evaluate(x: Tensor) -> Tensor:
            rows = self._rows_at(x, scale)
            if rows is None:
                return missed(x)
            self.answers.read += 1
            return torch.from_numpy((weights @ rows).reshape(x.shape)).to(x)

        return evaluate

    def _missed(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        known: list[Evaluate] = []

        def evaluate(x: Tensor) -> Tensor:
            if not known:
                known.append(_unit(self.source, self.std, t, c, like))
            self.answers.missed += 1
            return known[0](x)

        return evaluate

    def _rows_at(self, x: Tensor, scale: float) -> np.ndarray | None:
        """The values (M, n d) at the points x (n, d); None if the table does not have them."""
        for points, rows in self._known:
            if points.shape == x.shape and not x.requires_grad:  # a table has no derivative
                off = (x.detach().cpu().double() / scale - points).abs().max()
                if float(off) <= SAME_PLACE * self._size:
                    return rows
        return None

    @cached_property
    def _size(self) -> float:
        """The largest coordinate of the grid."""
        return max(map(abs, (*self.grid.low, *self.grid.high)))

    @cached_property
    def _known(self) -> list[tuple[Tensor, np.ndarray]]:
        """Points (n, d) and values (M, n d): all corners, every second one, and those between.

        The latter are the centres of coarse cells.
        """
        corners = self.grid.corners()
        number = np.arange(len(corners)).reshape([n + 1 for n in self.grid.shape])
        parts = [number]
        if all(n % 2 == 0 for n in self.grid.shape):
            parts += [number[(slice(k, None, 2),) * self.dim] for k in (0, 1)]
        chosen = [part.ravel() for part in parts]
        flat = len(self.levels), -1
        values = [self.values, *(self.values[:, which] for which in chosen[1:])]
        return [(corners[w], v.reshape(flat)) for w, v in zip(chosen, values, strict=True)]

    def sparser(self) -> FieldTable:
        """The same table without every second level.

        Raises:
            ValueError: it has an even number of levels, or fewer than 5.
        """
        if len(self.levels) % 2 == 0 or len(self.levels) < 5:
            raise ValueError(
                f"a table of {len(self.levels)} levels cannot be halved; make it of 2^k + 1"
            )
        return replace(self, levels=self.levels[::2], values=self.values[::2].copy())

    def denser(self) -> FieldTable:
        """The same table with a level between any two, 2 M - 1 of them."""
        levels = chebyshev_points(self.levels[0], self.levels[-1], 2 * len(self.levels) - 1)
        values = np.empty((len(levels), *self.values.shape[1:]))
        values[::2] = self.values
        values[1::2] = _tabulated(self.source, self.grid, self.rescaling, levels[1::2])
        return replace(self, levels=levels, values=values)

    def half_error(self) -> float:
        """The error of the `sparser` table, at the levels that it lacks.

        It is the largest over the levels of the root mean square error, relative to the unit row,
        over a Gaussian cloud of a fifth of the grid. The error of this table is smaller.
        """
        y = self.grid.corners().square().sum(1).numpy() * (5 / self._size) ** 2
        cloud = np.repeat(np.exp(-y / 2), self.dim)
        flat = self.values.reshape(len(self.levels), -1)
        off = [
            np.square(barycentric_weights(self.levels[::2], level) @ flat[::2] - known) @ cloud
            for level, known in zip(self.levels[1::2], flat[1::2], strict=True)
        ]
        return math.sqrt(max(off) / (np.square(flat) @ cloud).mean())


def tabulate_field(
    source: Field,
    grid: Grid,
    times: Times,
    *,
    rescaling: Rescaling | None = None,
    levels: int = LEVELS,
) -> FieldTable:
    r"""Tabulate a field at the corners of a grid, between the first and the last of `times`.

        F(y, t) = sum_j w_j(l) F(y, t_j),    l = ln(sigma / alpha)

    Give the table in place of the field to `reverse` or `ancestral`, and that SDE to `evolve` with
    this grid and this rescaling. `Diagnostics.table_error` is then an upper estimate of the
    error by the table.

    Args:
        source: any field: learned, guided, of a class, exact.
        grid: that of the density at times[0].
        times: of which the first and the last are used.
        rescaling: as given to `evolve`.
        levels: M, the number of noise levels; take 2^k + 1, so that the table can be halved.

    Raises:
        ValueError: the noise at an end of `times` is 0.
        SdeflowError: the field is NaN or infinite at a corner, or the table is above 1 GiB.
    """
    check_kind(source, Field, "source")
    check_kind(grid, Grid, "grid")
    check_rescaling(rescaling)
    process = source.process
    row = check_times(times, process.t_min, process.t_max)
    size = 8 * check_int(levels, "levels", 5) * grid.dim * math.prod(n + 1 for n in grid.shape)
    if size > LARGEST:
        raise SdeflowError(
            f"the table would need {size / 2**30:.1f} GiB; use fewer cells, or the field itself"
        )
    ends = process.log_snr(row[[0, -1]]) / -2
    if not torch.isfinite(ends).all():
        raise ValueError(
            "the noise is 0 at an end of the times, so that its logarithm is infinite; let the "
            "times end where there is noise"
        )
    scale = 1.0 if rescaling is None else rescaling(row[0])
    fixed = grid.scaled(1 / scale)
    points = chebyshev_points(float(ends.min()), float(ends.max()), levels)
    values = _tabulated(source, fixed, rescaling, points)
    return FieldTable(process, source, fixed, rescaling, points, values)


def with_fewer_levels(sde: SDE) -> SDE | None:
    """The same SDE with the `sparser` table of its field; None if its field is no such table."""
    if not isinstance(sde, FieldSDE) or not isinstance(sde.field, FieldTable):
        return None
    if not sde.as_made or len(sde.field.levels) % 2 == 0:
        return None
    half = sde.field.sparser()
    coefficients = replace(sde.coefficients, field=half)
    noise = None if sde.diffusion is None else FieldNoise(coefficients)
    return replace(
        sde, drift=FieldDrift(coefficients), diffusion=noise, made_for=None, field=half,
        coefficients=coefficients,
    )  # fmt: skip


def chebyshev_points(low: float, high: float, count: int) -> np.ndarray:
    """Chebyshev's points between low and high, rising, (count,).

    (low + high) / 2 - (high - low) / 2 cos(pi j / (count - 1))
    """
    part = (1 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2
    return np.asarray(low + (high - low) * part)


def barycentric_weights(points: np.ndarray, at: float) -> np.ndarray:
    """The weights w (M,) of the polynomial through values at Chebyshev's points.

    p(at) = sum_j w_j f(x_j),    w_j ~ (-1)^j / (at - x_j), halved at both ends
    """
    off = at - points
    nearest = int(abs(off).argmin())
    if off[nearest] == 0:
        return np.eye(len(points))[nearest]
    w = (-1.0) ** np.arange(len(points)) / off
    w[[0, -1]] /= 2
    return np.asarray(w / w.sum())


def _tabulated(
    source: Field, grid: Grid, rescaling: Rescaling | None, levels: np.ndarray
) -> np.ndarray:
    """The unit row (M, corners, d) at these ln(sigma / alpha)."""
    process, corners = source.process, grid.corners()
    std = 1.0 if rescaling is None else rescaling.std
    times = process.time(torch.from_numpy(-2 * levels)).clamp(process.t_min, process.t_max)
    values = np.empty((len(levels), *corners.shape))
    with torch.no_grad():
        for k, t in enumerate(times):
            x = corners * (1.0 if rescaling is None else rescaling(t))
            values[k] = _unit(source, std, t, process(t), x)(x).cpu().numpy()
    if not np.isfinite(values).all():
        bad = int(np.nonzero(~np.isfinite(values))[0][0])
        raise SdeflowError(
            f"the field is NaN or infinite at t = {float(times[bad]):.6g} at corners of the grid; "
            "correct the field, or use a smaller grid"
        )
    return values


def _unit(source: Field, std: float, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
    """x -> the unit row of any field."""
    inner = source.at(t, c, like)
    here: Coefficients = c.along(like) if isinstance(c.alpha, Tensor) else c
    state, part = mixing(source.row(here), here, unit_row(here, std))
    return lambda x: state * x + part * inner(x)
