r"""The exact field of a board of squares: the checkerboard's truth.

Given the square, the two coordinates of x_0 are independent and uniform, so all that is needed is
a normal cut off at both ends, one for each column and one for each row.

See docs/theory.md, (3.9).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from sdeflow import _validation as door
from sdeflow._blocks import ROWS
from sdeflow.density import Density, Grid, captured
from sdeflow.distributions.mixture import Posterior
from sdeflow.fields.exact import BayesField
from sdeflow.processes.process import Coefficients
from sdeflow.random_streams import uniform

SQUARES = 4096
"""The largest board that a `TilesField` takes: it looks at every square for every particle."""

NODES, WEIGHTS = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(16))
HALF_LOG = math.log(2 * math.pi) / 2

Cut = tuple[Tensor, Tensor, Tensor]
"""ln Z, mean and variance of a standard normal between two edges, each (n, m)."""


@dataclass(frozen=True, eq=False)
class TilesField(BayesField):
    r"""The field of a law that is uniform on weighted squares, in closed form.

    Given the square, the two coordinates are independent, and eps = (x_t - alpha x_0) / sigma is a
    standard normal cut off where x_0 meets the edges, at e and e' > e:

        E[eps | x_t] = (phi(e) - phi(e')) / Z,    Z = Phi(e') - Phi(e),

    and the square's own weight is its share times the Z of both coordinates. Z and phi / Z are
    read on the side of the tail, so neither small noise nor a far-off particle loses them; where
    the noise is wide beside the square, quadrature stands in. Worked out in float64.

    Args:
        tiles: the board.

    Raises:
        ValueError: the board has more than `SQUARES` squares, empty ones included.
    """

    tiles: Tiles

    def __post_init__(self) -> None:
        """Refuse a board that is too large, and work out what does not change."""
        super().__post_init__()
        low, side, weights = self.tiles
        if weights.numel() > SQUARES:
            raise ValueError(
                f"the exact field of a board of {weights.numel()} squares is too slow, the most "
                f"is {SQUARES}; shrink the picture"
            )
        columns, rows = (side * torch.arange(n + 1, dtype=torch.float64) for n in weights.T.shape)
        object.__setattr__(self, "_edges", (low[0] + columns, low[1] + rows))
        object.__setattr__(self, "_log_share", torch.log(weights.double() / weights.sum()))
        object.__setattr__(self, "_draw", self.tiles.drawing())

    @property
    def dim(self) -> int:
        """See `Field`."""
        return 2

    def given(self, label: int) -> TilesField:
        """The field of one square, by its number along rows, lowest row first.

        Raises:
            ValueError: there is no such square.
        """
        row, column, share = self.tiles.filled()
        if not door.whole(label, "label", 0) < len(share):
            raise ValueError(f"label must be 0 to {len(share) - 1}, one per square, got {label}")
        only = torch.zeros_like(self.tiles.weights)
        only[row[label], column[label]] = 1.0
        return TilesField(self.process, self.tiles._replace(weights=only))

    def sample(self, n: int, seed: int) -> Tensor:
        """See `BayesField`."""
        return self._draw(door.whole(n, "n"), door.whole(seed, "seed", 0))[0]  # type: ignore[attr-defined]

    def density(self, grid: Grid, t: float | None) -> Density:
        """See `BayesField`."""
        return self.tiles.on_grid(grid, *self._noise_at(t))

    def log_prob(self, x: Tensor, t: Tensor | float) -> Tensor:
        """ln p_t(x), (n,); x, t and errors as for `split`."""
        c = self.process(self.process.at(t, door.cloud(x, dim=self.dim))).along(x)
        parts = [self._cut(*portion)[0] for portion in _portions(x, *c[:2])]
        alpha = torch.as_tensor(c.alpha, dtype=torch.float64).reshape(-1)
        log_area = 2 * torch.log(alpha * self.tiles.side)
        return (torch.logsumexp(torch.cat(parts), (1, 2)) - log_area).to(x)

    def posterior(self, x: Tensor, c: Coefficients) -> Posterior:
        """See `BayesField`."""
        parts = []
        for rows, alpha, sigma in _portions(x, *c[:2]):
            logits, sides = self._cut(rows, alpha, sigma)
            r = torch.softmax(logits.flatten(1), 1).reshape(logits.shape)
            shares = r.sum(1), r.sum(2)  # of each column, of each row
            noise = torch.stack(
                [(w * mean).sum(1) for w, (_, mean, _) in zip(shares, sides, strict=True)], 1
            )
            spread = sum(
                (w * ((mean - noise[:, i : i + 1]) ** 2 + variance)).sum(1)
                for i, (w, (_, mean, variance)) in enumerate(zip(shares, sides, strict=True))
            )
            ruler = sigma / alpha
            parts.append((rows / alpha - ruler * noise, noise, ruler[:, 0] ** 2 * spread))
        return Posterior(*(torch.cat(part).to(x) for part in zip(*parts, strict=True)))

    def _cut(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, list[Cut]]:
        """ln(share Z Z') per square (n, rows, columns); what is known per column and per row."""
        sides = [
            _cut_normal((x[:, i : i + 1] - alpha * edges) / sigma)
            for i, edges in enumerate(self._edges)  # type: ignore[attr-defined]
        ]
        (across, *_), (up, *_) = sides
        return self._log_share + up[:, :, None] + across[:, None, :], sides  # type: ignore[attr-defined]


def _portions(
    x: Tensor, alpha: Tensor | float, sigma: Tensor | float
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """A cloud with its alpha and sigma (n, 1), in float64, `ROWS` particles at a time."""
    a, s = (torch.as_tensor(v, dtype=torch.float64).reshape(-1, 1) for v in (alpha, sigma))
    a, s = a.expand(len(x), 1), s.expand(len(x), 1)
    for i in range(0, len(x), ROWS):
        yield x[i : i + ROWS].double(), a[i : i + ROWS], s[i : i + ROWS]


def _cut_normal(edges: Tensor) -> Cut:
    """ln Z, mean and variance (n, m) of standard normals between falling edges (n, m + 1)."""
    high, low = edges[:, :-1], edges[:, 1:]
    middle, half = (low + high) / 2, (high - low) / 2
    # Read from the side where the tail is: there ln Phi keeps its digits.
    turned = middle > 0
    low, high = torch.where(turned, -high, low), torch.where(turned, -low, high)
    below, above = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    inside = -torch.expm1(below - above)  # Z / Phi(high)
    # phi / Phi at the end next to the tail, not through logarithms: they are large there.
    mills = torch.special.erfcx(-high.clamp_max(30.0) / math.sqrt(2))
    right = math.sqrt(2 / math.pi) / (mills * inside)
    left = right * torch.exp((high - low) * (high + low) / 2)
    log_z, mean = above + torch.log(inside), left - right
    variance = (1 + low * left - high * right - mean**2).clamp_min(0)
    wide = log_z, torch.where(turned, -mean, mean), variance
    # Between near edges these are differences of nearly equal numbers; the integrals are not.
    narrow = (half < 0.5) & (half * middle.abs() < 2)
    if not narrow.any():
        return wide
    near = _narrow(torch.where(narrow, middle, 0.0), torch.where(narrow, half, 0.5))
    log_z, mean, variance = (torch.where(narrow, a, b) for a, b in zip(near, wide, strict=True))
    return log_z, mean, variance


def _narrow(middle: Tensor, half: Tensor) -> Cut:
    """The same between middle - half and middle + half, for a small half, by Gauss-Legendre."""
    off = half[..., None] * NODES
    height = WEIGHTS * torch.exp(-off * (middle[..., None] + off / 2))
    total = height.sum(-1)
    mean = (height * off).sum(-1) / total
    variance = (height * (off - mean[..., None]) ** 2).sum(-1) / total
    return torch.log(half * total) - middle**2 / 2 - HALF_LOG, middle + mean, variance


Draw = Callable[[int, int], tuple[Tensor, Tensor]]


class Tiles(NamedTuple):
    """A board of squares: weights (rows, columns), row 0 lowest; `low` (2,) its lower left.

    Uniform inside each square, each as likely as its weight. The filled squares (weight above
    zero) are numbered along rows, lowest row first.
    """

    low: Tensor
    side: float
    weights: Tensor

    def filled(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and share of each filled square, (m,); the shares add up to one."""
        row, column = torch.nonzero(self.weights > 0, as_tuple=True)
        weights = self.weights[row, column]
        return row, column, weights / weights.sum()

    def on_grid(
        self, grid: Grid, alpha: float = 1.0, sigma: float = 0.0, *, missing: float = 1e-4
    ) -> Density:
        r"""The exact cell masses of alpha x_0 + sigma eps, x_0 uniform on weighted squares.

        Given the square, the axes are independent, and a coordinate's mass between two faces is a
        second difference of G(y) = sigma (z Phi(z) + phi(z)), z = y / sigma: of max(y, 0) without
        noise.

        Args:
            alpha, sigma: as in `Coefficients`; by default the law itself.
            missing: the mass that may lie outside the grid.

        Raises:
            ValueError: the grid is no plane or misses more than that; alpha not positive, sigma
                negative.
        """
        if grid.dim != 2:
            raise ValueError(f"squares lie in a plane, the grid has dimension {grid.dim}")
        alpha, sigma = door.positive(alpha, "alpha"), door.positive(sigma, "sigma", zero=True)
        side = alpha * self.side
        shares = []
        for i, count in enumerate(self.weights.T.shape):
            starts = alpha * float(self.low[i]) + side * np.arange(count + 1)
            ramp = _ramp(grid.edges(i).numpy()[:, None] - starts, sigma)
            shares.append(-np.diff(np.diff(ramp, axis=0), axis=1) / side)
        weights = (self.weights.double() / self.weights.double().sum()).numpy()
        mass = np.maximum(shares[0] @ weights.T @ shares[1].T, 0.0)
        return captured(mass, grid, missing)

    def drawing(self) -> Draw:
        """Exact draws: (n, seed) -> float64 cloud (n, 2), and the square (n,) that each is in."""
        row, column, _ = self.filled()
        corner = self.low + self.side * torch.stack([column, row], 1).double()
        edges = torch.cumsum(self.weights[row, column], 0)

        def draw(n: int, seed: int) -> tuple[Tensor, Tensor]:
            which = torch.searchsorted(edges, uniform(seed, 0, n) * edges[-1], right=True)
            which = which.clamp_max(len(edges) - 1)
            u = torch.stack([uniform(seed, 1, n), uniform(seed, 2, n)], 1)
            return corner[which] + self.side * u, which

        return draw


def _ramp(y: np.ndarray, sigma: float) -> np.ndarray:
    """E max(y + sigma z, 0), z standard normal."""
    if sigma == 0.0:
        return np.maximum(y, 0.0)
    z = y / sigma
    return y * ndtr(z) + sigma * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
