r"""Make a density that is constant on equal squares, such as a checkerboard or a picture.

Its posterior is exact. Given the square, the two coordinates of x_0 are independent and uniform,
so that the posterior needs one truncated normal for each column and for each row of squares, and
one weight for each square.

See docs/theory.md, (3.9).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sdeflow._blocks import ROWS, Evaluate, product, whole_blocks
from sdeflow._validation import as_numbers, check_cloud, check_int, check_positive
from sdeflow.density import Density, Grid, captured
from sdeflow.distributions.arguments import check_asked, check_draw, check_move, check_noise
from sdeflow.distributions.distribution import Distribution, Noise, Posterior
from sdeflow.distributions.truncated_normal import Truncated, ramp, tails, truncated_normal
from sdeflow.grid import check_grid
from sdeflow.random_streams import uniform

SQUARES = 4096
"""The most squares for which the posterior is computed; its cost per particle is their number."""

NARROW = {torch.float32: 0.05, torch.float64: 1e-6}
"""alpha side / sigma below which differences of neighbouring edges lose too many digits."""
TINY = {torch.float32: 1e-30, torch.float64: 1e-290}
"""The sum of all posterior weights below which this type has too few digits for them."""


@dataclass(frozen=True, eq=False, repr=False)
class PiecewiseConstant(Distribution):
    r"""A density that is constant on each of rows x columns equal squares.

    The probability of a square is proportional to its weight. Given the square and x_t, each
    coordinate of eps = (x_t - alpha x_0) / sigma is a standard normal truncated to [e, e'], the
    values of eps at the edges of the square:

        E[eps | x_t, square] = (phi(e) - phi(e')) / Z,    Z = Phi(e') - Phi(e).

    The posterior weight of a square is its prior weight times Z of both coordinates.

    Args:
        low: (2,) the lower left corner (length).
        side: the side of a square (length), or the two sides of a rectangle.
        weights: (rows, columns), not negative, row 0 lowest. Squares of positive weight are
            numbered along rows, the lowest row first; the number is the label.
    """

    low: Tensor
    side: float | tuple[float, float]
    weights: Tensor

    def __post_init__(self) -> None:
        sides = self.side if isinstance(self.side, Sequence) else (self.side,)
        if len([check_positive(side, "side") for side in sides]) > 2:
            raise ValueError(f"side must be one number or two, got {len(sides)} numbers")
        for name in ("low", "weights"):
            object.__setattr__(self, name, as_numbers(getattr(self, name), name).clone())
        if self.low.shape != (2,) or self.weights.ndim != 2 or not torch.isfinite(self.low).all():
            raise ValueError(
                "a piecewise constant density needs low (2,) and weights (rows, columns), got "
                f"{tuple(self.low.shape)} and {tuple(self.weights.shape)}"
            )
        if not (torch.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise ValueError("weights must be finite and not negative")
        if not (self.weights > 0).any():
            raise ValueError("weights are all zero; give at least one square a weight above zero")

    def __repr__(self) -> str:
        return f"a density constant on {self.weights.numel()} squares"

    @property
    def dim(self) -> int:
        return 2

    @property
    def has_posterior(self) -> bool:
        """Whether there are at most 4,096 squares, empty ones included."""
        return self.weights.numel() <= SQUARES

    def filled(self) -> tuple[Tensor, Tensor, Tensor]:
        """The row, column and probability of each square of positive weight, each (m,)."""
        row, column = torch.nonzero(self.weights > 0, as_tuple=True)
        weights = self.weights[row, column]
        return row, column, weights / weights.sum()

    @cached_property
    def _sides(self) -> Tensor:
        """The two sides of a square, (2,)."""
        return torch.tensor(self.side, dtype=torch.float64).expand(2)

    def _corners(self) -> Tensor:
        row, column, _ = self.filled()
        return self.low + self._sides * torch.stack([column, row], 1).double()

    def mean(self) -> Tensor:
        return (self.filled()[2][:, None] * (self._corners() + self._sides / 2)).sum(0)

    def std(self) -> float:
        return math.sqrt(float(self.variances().sum()) / 2)

    def variances(self) -> Tensor:
        """The variance of each coordinate, (2,)."""
        off = self._corners() + self._sides / 2 - self.mean()
        return (self.filled()[2][:, None] * off**2).sum(0) + self._sides**2 / 12

    def moved(self, shift: Tensor, scale: float | Tensor) -> PiecewiseConstant:
        """The distribution of scale^-1 (x - shift).

        scale is a positive number, or a positive diagonal matrix; this makes rectangles.
        """
        shift, scale = check_move(shift, scale, self.dim)
        by = torch.as_tensor(scale, dtype=torch.float64)
        if by.ndim and not (torch.equal(by, by.diagonal().diag()) and (by.diagonal() > 0).all()):
            raise ValueError(f"{self} takes a diagonal matrix, or a scale of one number")
        by = by.diagonal() if by.ndim else by
        x, y = (self._sides / by).tolist()
        return PiecewiseConstant((self.low - shift) / by, x if x == y else (x, y), self.weights)

    def sample_labelled(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        n, seed = check_draw(n, seed)
        row, column, _ = self.filled()
        edges = torch.cumsum(self.weights[row, column], 0)
        which = torch.searchsorted(edges, uniform(seed, 0, n) * edges[-1], right=True)
        which = which.clamp_max(len(edges) - 1)
        u = torch.stack([uniform(seed, 1, n), uniform(seed, 2, n)], 1)
        return self._corners()[which] + self._sides * u, which

    def given(self, label: int) -> PiecewiseConstant:
        """The uniform distribution on the square of this number."""
        row, column, share = self.filled()
        if not check_int(label, "label", 0) < len(share):
            raise ValueError(f"label must be 0 to {len(share) - 1}, one per square, got {label}")
        only = torch.zeros_like(self.weights)
        only[row[label], column[label]] = 1.0
        return replace(self, weights=only)

    def cell(self, x: Tensor) -> Tensor:
        """The number (n,) of the square that holds each x (n, 2), or -1.

        Edges belong to the squares, and so do points beyond an edge by the rounding error of x.
        """
        z = check_cloud(x, "x", 2).detach().to("cpu", torch.float64)
        slack = 2 * torch.finfo(x.dtype).eps * (z.abs() + self._sides)
        rows, columns = self.weights.shape
        filled = self.weights > 0
        # A frame of -1 around the squares, onto which points outside are clamped.
        index = torch.full((rows + 2, columns + 2), -1)
        inside = index[1:-1, 1:-1]
        inside[filled] = torch.arange(int(filled.sum()))
        edge = torch.tensor([columns, rows], dtype=torch.float64)
        before, after = (
            torch.minimum(
                ((z + shift - self.low) / self._sides).floor().clamp_min(-1), edge
            ).long()
            + 1
            for shift in (-slack, slack)
        )
        found = [index[j[:, 1], i[:, 0]] for i in (before, after) for j in (before, after)]
        return torch.stack(found).amax(0).to(x.device)

    def on_grid(
        self, grid: Grid, alpha: float = 1.0, sigma: float = 0.0, *, missing: float = 1e-4
    ) -> Density:
        r"""The density of alpha x_0 + sigma eps as exact cell masses.

        Given the square, the coordinates are independent, and the mass of a coordinate between
        two edges of cells is a second difference of E[max(y + sigma z, 0)], z standard normal.
        More mass than `missing` outside the grid raises a ValueError.
        """
        check_positive(missing, "missing", zero=True)
        if check_grid(grid).dim != 2:
            raise ValueError(f"squares need a grid of two dimensions, got {grid.dim}")
        alpha, sigma = check_positive(alpha, "alpha"), check_positive(sigma, "sigma", zero=True)
        shares = []
        for i, count in enumerate(self.weights.T.shape):
            side = alpha * float(self._sides[i])
            starts = alpha * float(self.low[i]) + side * np.arange(count + 1)
            second = ramp(grid.edges(i).numpy()[:, None] - starts, sigma)
            shares.append(-np.diff(np.diff(second, axis=0), axis=1) / side)
        weights = (self.weights.double() / self.weights.double().sum()).numpy()
        mass = np.maximum(shares[0] @ weights.T @ shares[1].T, 0.0)
        return captured(mass, grid, missing)

    def log_prob(self, x: Tensor, alpha: Noise = 1.0, sigma: Noise = 0.0) -> Tensor:
        alpha, sigma = check_noise(alpha, sigma, check_cloud(x, dim=2))
        if not sigma.any():
            height = self._log_height((x / alpha.reshape(-1, 1)).to(x))
            return (height - 2 * alpha.log()).to(x)
        if not sigma.all():
            raise ValueError("sigma must be zero for all particles or for none; split the cloud")
        parts = [self._cut(*portion)[0] for portion in _portions(x, alpha, sigma)]
        area = alpha.double() ** 2 * float(self._sides.prod())
        return (torch.logsumexp(torch.cat(parts), (1, 2)) - torch.log(area)).to(x)

    def _log_height(self, x: Tensor) -> Tensor:
        share = torch.log(self.filled()[2].double() / self._sides.prod()).to(x.device)
        cell = self.cell(x)
        return torch.where(cell >= 0, share[cell.clamp_min(0)], -math.inf)

    def posterior(self, x: Tensor, alpha: Noise, sigma: Noise) -> Posterior:
        if not self.has_posterior:
            raise ValueError(
                f"the posterior is computed for at most {SQUARES} squares, got "
                f"{self.weights.numel()}; shrink the picture"
            )
        alpha, sigma = check_asked(x, alpha, sigma, 2, self.narrowest)
        parts = []
        for rows, a, s in _portions(x, alpha, sigma):
            logits, sides = self._cut(rows, a, s)
            r = torch.softmax(logits.flatten(1), 1).reshape(logits.shape)
            shares = r.sum(1), r.sum(2)  # of each column, of each row
            noise = torch.stack(
                [(w * mean).sum(1) for w, (_, mean, _) in zip(shares, sides, strict=True)], 1
            )
            spread = sum(
                (w * ((mean - noise[:, i : i + 1]) ** 2 + variance)).sum(1)
                for i, (w, (_, mean, variance)) in enumerate(zip(shares, sides, strict=True))
            )
            rho = s / a
            parts.append((rows / a - rho * noise, noise, rho[:, 0] ** 2 * spread))
        return Posterior(*(torch.cat(part).to(x) for part in zip(*parts, strict=True)))

    def noise_mean(self, alpha: float, sigma: float, like: Tensor) -> Evaluate:
        # Z and phi(e) - phi(e') of all columns and rows are differences of neighbouring edges.
        # Where these lose digits, because sigma is large against a square, or vanish, because a
        # particle is far outside, the slower `posterior` takes their place.
        width = alpha * float(self._sides.min()) / sigma
        careful = super().noise_mean(alpha, sigma, like)
        if not self.has_posterior or width < NARROW[torch.float64]:
            return careful
        wide = width >= NARROW[torch.float32] and like.dtype != torch.float64
        kind = torch.float32 if wide else torch.float64
        edges = [(alpha / sigma * e).to(like.device, kind) for e in self._edges]
        weights = (self.weights.double() / self.weights.double().sum()).to(like.device, kind)

        def evaluate(x: Tensor) -> Tensor:
            rows = whole_blocks(x).to(kind) / sigma
            (zx, dx), (zy, dy) = (tails(e - rows[:, i : i + 1]) for i, e in enumerate(edges))
            across, up = product(zy, weights), product(zx, weights.T)
            total = (zx * across).sum(1)
            lost = total < TINY[kind]
            # Not divided by zero, so that the derivative is finite.
            total = torch.where(lost, 1.0, total)[:, None]
            noise = torch.stack([(dx * across).sum(1), (dy * up).sum(1)], 1) / total
            out, lost = noise[: len(x)].to(x.dtype), lost[: len(x)]
            if lost.any():
                out = torch.where(lost[:, None], careful(x), out)
            return out

        return evaluate

    @cached_property
    def _edges(self) -> tuple[Tensor, Tensor]:
        """The edges of the columns (columns + 1,) and of the rows (rows + 1,)."""
        columns, rows = (
            side * torch.arange(n + 1, dtype=torch.float64)
            for side, n in zip(self._sides, self.weights.T.shape, strict=True)
        )
        return self.low[0] + columns, self.low[1] + rows

    @cached_property
    def _log_share(self) -> Tensor:
        return torch.log(self.weights.double() / self.weights.sum())

    def _cut(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, list[Truncated]]:
        """The log posterior weights (n, rows, columns), and the truncated normals of both axes."""
        sides = [
            truncated_normal((x[:, i : i + 1] - alpha * edges.to(x.device)) / sigma)
            for i, edges in enumerate(self._edges)
        ]
        (across, *_), (up, *_) = sides
        return self._log_share.to(x.device) + up[:, :, None] + across[:, None, :], sides


def _portions(
    x: Tensor, alpha: Tensor | float, sigma: Tensor | float
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Parts of a cloud, `ROWS` particles each, with their alpha and sigma (n, 1), in float64."""
    a, s = (
        torch.as_tensor(v, dtype=torch.float64, device=x.device).reshape(-1, 1).expand(len(x), 1)
        for v in (alpha, sigma)
    )
    for i in range(0, len(x), ROWS):
        yield x[i : i + ROWS].double(), a[i : i + ROWS], s[i : i + ROWS]
