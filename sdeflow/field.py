r"""What we know about the noised data, exactly or by learning.

All knowledge is the conditional mean E[. | x_t], in any of the rows of `prediction`: clean data,
noise, score, velocity. A `Field` evaluates one row, once, and the algebra gives the others.

    ExactField      of a Gaussian mixture: closed form
    EmpiricalField  of a finite point set: closed form, a softmax over the points
    TilesField      of a board of squares: closed form, a normal cut off at each one's edges
    LearnedField    of any torch module

The first three are truth to compare with, and also tell how much of (x_0, eps) stays unknown given
x_t: the floor under every training loss.

See docs/theory.md, (3.3); (3.5) to (3.7) for the exact fields, (3.8) for the learned one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from sdeflow import door
from sdeflow.dataset import Tiles
from sdeflow.density import Density, Grid
from sdeflow.mixture import Mixture, Posterior
from sdeflow.network import Condition, Conditioned
from sdeflow.prediction import Prediction, Row, decode, encode, unit_row
from sdeflow.process import Coefficients, Process, Scalar

ROWS = 256
"""Particles per kernel call and thread, which is also what fits in cache. Small blocks take other
kernels, which round differently: so calls are made in whole blocks, the last one padded, and
particle i gets the same bits in a cloud of any size."""


PAGE = 64
"""Times for which a network's noise features are worked out at once."""

SQUARES = 4096
"""The largest board that a `TilesField` takes: it looks at every square for every particle."""

Evaluate = Callable[[int, Tensor], Tensor]
Tabulate = Callable[[Tensor, Coefficients[Tensor]], Evaluate]
NODES, WEIGHTS = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(16))
HALF_LOG = math.log(2 * math.pi) / 2

Cut = tuple[Tensor, Tensor, Tensor]
"""ln Z, mean and variance of a standard normal between two edges, each (n, m)."""


def _rows() -> int:
    return ROWS * torch.get_num_threads()


def _blocked(evaluate: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """evaluate(x), `ROWS` for each of torch's threads at a time; x (n, d) -> (n, d)."""
    n, rows = len(x), _rows()
    if n <= rows and n % ROWS == 0:
        return evaluate(x)
    out = torch.empty_like(x)
    whole = n - n % ROWS
    for i in range(0, whole, rows):
        out[i : min(i + rows, whole)] = evaluate(x[i : min(i + rows, whole)])
    if whole < n:
        last = x[whole:]
        padded = torch.cat([last, last[-1:].expand(ROWS - len(last), -1)])
        out[whole:] = evaluate(padded)[: n - whole]
    return out


@dataclass(frozen=True, eq=False)
class Field(ABC):
    """Conditional means given x_t, under one process. Each costs one evaluation."""

    process: Process

    @abstractmethod
    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The row that `evaluate` gives."""

    @abstractmethod
    def evaluate(self, x: Tensor, t: Tensor, c: Coefficients) -> Tensor:
        """The one evaluation, (n, d), with process(t) = c at hand: lined up with x, or floats."""

    def tabulator(self, like: Tensor) -> Tabulate:
        """For clouds like this one: times t (K,) and process(t) -> `evaluate` there, as (k, x).

        What depends on time alone is worked out beforehand: a solver's step pays for x only.
        """

        def tabulate(t: Tensor, c: Coefficients[Tensor]) -> Evaluate:
            times, rows = t.to(like), torch.stack([*c], 1).numpy()
            return lambda k, x: self.evaluate(x, times[k], Coefficients(*rows[k].tolist()))

        return tabulate

    def split(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(x0_hat, eps_hat) = (E[x_0 | x_t = x], E[eps | x_t = x]), each (n, d).

        x: (n, d); t: () or (n,) in [t_min, t_max].

        Raises:
            TypeError, ValueError: x is no finite cloud; t does not fit or is out of range.
        """
        t = self.process.at(t, door.cloud(x))
        c = self.process(t).along(x)
        return decode(self.row(c), self.evaluate(x, t.to(x.dtype), c), x, c)

    def predict(self, row: Prediction, x: Tensor, t: Tensor | float) -> Tensor:
        """a x0_hat + b eps_hat for one row (a, b), (n, d); x, t and errors as for `split`."""
        c = self.process(self.process.at(t, door.cloud(x))).along(x)
        return encode(row.row(c), *self.split(x, t))

    def data(self, x: Tensor, t: Tensor | float) -> Tensor:
        """x0_hat = E[x_0 | x_t], the denoiser, (n, d)."""
        return self.predict(Prediction.DATA, x, t)

    def noise(self, x: Tensor, t: Tensor | float) -> Tensor:
        """eps_hat = E[eps | x_t], (n, d)."""
        return self.predict(Prediction.NOISE, x, t)

    def score(self, x: Tensor, t: Tensor | float) -> Tensor:
        """grad ln p_t = -eps_hat / sigma, (n, d), 1 / length (Tweedie; Vincent 2011, eq. 7)."""
        return self.predict(Prediction.SCORE, x, t)

    def velocity(self, x: Tensor, t: Tensor | float) -> Tensor:
        """alpha_dot x0_hat + sigma_dot eps_hat, (n, d) (Lipman et al. 2023, eq. 8)."""
        return self.predict(Prediction.VELOCITY, x, t)


@dataclass(frozen=True, eq=False)
class BayesField(Field):
    """A field that is known exactly, with its own uncertainty."""

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """Noise: well defined at every t, and what motion needs."""
        return Prediction.NOISE.row(c)

    def evaluate(self, x: Tensor, t: Tensor, c: Coefficients) -> Tensor:
        """E[eps | x_t], (n, d)."""
        if t.ndim == 0 and not torch.is_grad_enabled():
            return _blocked(lambda rows: self.posterior(rows, c).noise, x)
        return self.posterior(x, c).noise

    def split(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """See `Field`; here neither is derived from the other, so neither loses digits."""
        t = self.process.at(t, door.cloud(x))
        known = self.posterior(x, self.process(t).along(x))
        return known.data, known.noise

    @abstractmethod
    def posterior(self, x: Tensor, c: Coefficients) -> Posterior:
        """E[x_0 | x_t], E[eps | x_t] and tr Cov(x_0 | x_t) at x_t = x (n, d)."""

    @abstractmethod
    def sample(self, n: int, seed: int) -> Tensor:
        """Draws (n, d) from the law of x_0 that this field belongs to."""

    @abstractmethod
    def density(self, grid: Grid, t: float | None) -> Density:
        """The exact cell masses of the law of x_t, or of x_0 where t is None.

        Raises:
            ValueError: t out of range; the grid's dimension is another, or it misses mass.
        """

    def _noise_at(self, t: float | None) -> tuple[float, float]:
        if t is None:
            return 1.0, 0.0
        now = torch.tensor(float(t), dtype=torch.float64)
        c = self.process(self.process.at(now, torch.zeros(1, 1, dtype=torch.float64)))
        return float(c.alpha), float(c.sigma)


@dataclass(frozen=True, eq=False)
class ExactField(BayesField):
    """The field of a Gaussian mixture, in closed form (see `Mixture.posterior`)."""

    mixture: Mixture

    def posterior(self, x: Tensor, c: Coefficients) -> Posterior:
        """See `BayesField`."""
        # Floats must come in x's own type: left to itself, torch rounds them to float32.
        alpha, sigma = (torch.as_tensor(v, dtype=x.dtype, device=x.device) for v in c[:2])
        return self.mixture.posterior(x, alpha, sigma)

    def sample(self, n: int, seed: int) -> Tensor:
        """See `BayesField`."""
        return self.mixture.sample(n, seed)

    def density(self, grid: Grid, t: float | None) -> Density:
        """See `BayesField`."""
        return Density.from_mixture(grid, self.mixture.noised(*self._noise_at(t)))


@dataclass(frozen=True, eq=False)
class EmpiricalField(BayesField):
    r"""The field of a finite point set, in closed form: a softmax over the points.

        x0_hat = sum_i w_i x_i,    w = softmax_i(-|x - alpha x_i|^2 / 2 s^2),

    where s = sigma for bare points (width = 0).

    Args:
        points: (m, d).
        labels: (m,) whole numbers, or None; `given(label)` is the field of one class's points, so
            the conditional and the unconditional field come from the same data.
        width: standard deviation of a round Gaussian that each point may carry, so that a density
            exists: s^2 = alpha^2 width^2 + sigma^2, and for x_i stands its own conditional mean.

    Raises:
        ValueError, TypeError: points are no finite cloud, labels do not fit, width is negative.

    The softmax is attention of the cloud to the points; torch's fused kernel never forms the n x m
    matrix. Expanding the square costs digits once |x_i| >> s: then it runs in float64.

    Source: Karras et al. 2022, appendix B.3.
    """

    points: Tensor
    labels: Tensor | None = None
    width: float = 0.0

    def __post_init__(self) -> None:
        """Check, and centre the points (the logits then lose fewest digits)."""
        points = door.cloud(self.points, "points")
        door.positive(self.width, "width", zero=True)
        if self.labels is not None and self.labels.shape != points.shape[:1]:
            raise ValueError(
                f"labels must be ({len(points)},), one per point, got {tuple(self.labels.shape)}"
            )
        centre = points.double().mean(0)
        off = points.double() - centre
        square = (off**2).sum(1, keepdim=True)
        # The kernel wants rows of a multiple of 16.
        pad = off.new_zeros(len(off), -(points.shape[1] + 1) % 16)
        keys = torch.cat([off, square, pad], 1)
        object.__setattr__(self, "_centre", centre)
        object.__setattr__(self, "_keys", {k: keys.to(k) for k in (torch.float32, torch.float64)})
        object.__setattr__(self, "_radius2", float(square.max()))

    def given(self, label: int) -> EmpiricalField:
        """The field of the points that carry this label.

        Raises:
            ValueError: there are no labels, or no point carries this one.
        """
        if self.labels is None:
            raise ValueError("this field has no labels; pass labels= when making it")
        mine = self.labels == label
        if not mine.any():
            raise ValueError(
                f"no point carries label {label}; there are {sorted(set(self.labels.tolist()))}"
            )
        return EmpiricalField(self.process, self.points[mine], None, self.width)

    def sample(self, n: int, seed: int) -> Tensor:
        """See `BayesField`."""
        return Mixture.isotropic(self.points, self.width).sample(n, seed)

    def density(self, grid: Grid, t: float | None) -> Density:
        """See `BayesField`; bare points fill the cells that they lie in."""
        law = Mixture.isotropic(self.points.double(), self.width)
        return Density.from_mixture(grid, law.noised(*self._noise_at(t)))

    def posterior(self, x: Tensor, c: Coefficients) -> Posterior:
        """See `BayesField`."""
        alpha, sigma = (torch.as_tensor(v, dtype=torch.float64, device=x.device) for v in c[:2])
        s2 = (alpha * self.width) ** 2 + sigma**2
        lossy = float((alpha**2 / s2).max()) * self._radius2 > 1e3  # type: ignore[attr-defined]
        dtype = torch.float64 if lossy or x.dtype == torch.float64 else torch.float32
        keys = self._keys[dtype].to(x.device)  # type: ignore[attr-defined]
        centre = self._centre.to(x.device, dtype)  # type: ignore[attr-defined]
        alpha, sigma, s2 = alpha.to(dtype), sigma.to(dtype), s2.to(dtype)
        d = x.shape[1]
        off = x.to(dtype) - alpha * centre
        means = _attend(off, alpha, s2, keys)
        near, square = means[:, :d], means[:, d]
        pull = (off - alpha * near) / s2  # minus the score
        data = centre + near + alpha * self.width**2 * pull
        # Rounding can take the difference of two large numbers below zero; a variance is not.
        spread = (square - (near**2).sum(1)).clamp_min(0)
        shrink = (sigma**2 / s2).reshape(-1)
        variance = shrink**2 * spread + shrink * self.width**2 * d
        return Posterior(data.to(x), (sigma * pull).to(x), variance.to(x))


def _attend(x: Tensor, alpha: Tensor, s2: Tensor, keys: Tensor) -> Tensor:
    """sum w_i [x_i, |x_i|^2, 0...], w = softmax_i((alpha x . x_i - alpha^2 |x_i|^2 / 2) / s^2)."""
    pull, push = alpha / s2, -(alpha**2) / (2 * s2)
    pad = x.new_zeros(len(x), keys.shape[1] - x.shape[1] - 1)
    queries = torch.cat([pull * x, push.reshape(-1, 1).expand(len(x), 1).to(x), pad], 1)
    # The fused kernel has neither a second derivative nor a forward one.
    if queries.requires_grad or forward_ad.unpack_dual(queries).tangent is not None:
        return torch.softmax(queries @ keys.T, 1) @ keys
    return nn.functional.scaled_dot_product_attention(
        queries[None, None], keys[None, None], keys[None, None], scale=1.0
    )[0, 0]


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

    def given(self, label: int) -> TilesField:
        """The field of one square, by its number along rows, lowest row first.

        Raises:
            ValueError: there is no such square.
        """
        row, column, share = self.tiles.filled()
        if not 0 <= label < len(share):
            raise ValueError(f"label must be 0 to {len(share) - 1}, one per square, got {label}")
        only = torch.zeros_like(self.tiles.weights)
        only[row[label], column[label]] = 1.0
        return TilesField(self.process, self.tiles._replace(weights=only))

    def sample(self, n: int, seed: int) -> Tensor:
        """See `BayesField`."""
        return self._draw(door.whole(n, "n"), door.whole(seed, "seed", 0))[0]  # type: ignore[attr-defined]

    def density(self, grid: Grid, t: float | None) -> Density:
        """See `BayesField`."""
        return Density.from_tiles(grid, self.tiles, *self._noise_at(t))

    def log_prob(self, x: Tensor, t: Tensor | float) -> Tensor:
        """ln p_t(x), (n,); x, t and errors as for `split`."""
        c = self.process(self.process.at(t, door.cloud(x, dim=2))).along(x)
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


@dataclass(frozen=True, eq=False)
class LearnedField(Field):
    """The field that a network has learned.

    Args:
        network: any torch module, called as network(x, t) -> (n, d), or network(x, t, label) when
            a label is bound by `given`; x (n, d), t () or (n,), label () or (n,) of int64.
        predicts: the row it was trained for.
        data_std: the data's standard deviation per coordinate. If given, the network is
            preconditioned as in EDM: it sees x_t / sqrt(V) and gives the `unit` row, whatever
            `predicts` says. Then, and for our own `MLP` always, it sees
            ln(sigma / (alpha data_std)) / 4 for t.
        label: what `given` binds.

    Raises:
        ValueError: data_std is not positive; or, when evaluated, the network returns another
            shape than it was given.
        TypeError: network is no torch module, predicts is no `Prediction`.

    Source: Karras et al. 2022, eq. 7 and table 1.
    """

    network: nn.Module
    predicts: Prediction = Prediction.NOISE
    data_std: float | None = None
    label: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse what is no network, no row, no size."""
        if not isinstance(self.network, nn.Module):
            raise TypeError(f"network must be a torch module, got {type(self.network).__name__}")
        if not isinstance(self.predicts, Prediction):
            raise TypeError(f"predicts must be a Prediction, got {self.predicts!r}")
        if self.data_std is not None:
            door.positive(self.data_std, "data_std")

    def given(self, label: Tensor | int | None) -> LearnedField:
        """The same field with a class bound: one for all (), one each (n,), or None for none."""
        return replace(self, label=None if label is None else torch.as_tensor(label))

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """See `Field`."""
        return self.predicts.row(c) if self.data_std is None else unit_row(c, self.data_std)

    def evaluate(self, x: Tensor, t: Tensor, c: Coefficients) -> Tensor:
        """One network call on the whole cloud; in blocks of rows where no gradient is due.

        A cloud of another floating type is rounded to the network's on the way in.
        """
        given, parameter = x.dtype, next(self.network.parameters(), None)
        if parameter is not None and parameter.dtype != given:
            own = parameter.dtype
            rounded = Coefficients(*(v.to(own) if isinstance(v, Tensor) else v for v in c))
            return self.evaluate(x.to(own), t.to(own), rounded).to(given)
        if self.data_std is not None:
            x = x * (c.alpha**2 * self.data_std**2 + c.sigma**2) ** -0.5
        if self.data_std is not None or isinstance(self.network, Conditioned):
            level = torch.as_tensor(c.sigma / (c.alpha * (self.data_std or 1.0)), dtype=x.dtype)
            t = torch.log(level).reshape(t.shape) / 4
        each = self.label is not None and self.label.ndim == 1
        if t.ndim or each or torch.is_grad_enabled():
            out = self.network(x, t) if self.label is None else self.network(x, t, self.label)
            return self._checked(out, x)
        network = self.network
        if isinstance(network, Conditioned):
            condition = network.condition(t, self.label)
            return _blocked(lambda rows: network.body(rows, condition), x)
        label = () if self.label is None else (self.label,)
        return _blocked(lambda rows: self._checked(self.network(rows, t, *label), rows), x)

    def tabulator(self, like: Tensor) -> Tabulate:
        """See `Field`; our own MLP's noise and label features are a table too."""
        network, std = self.network, self.data_std
        parameter = next(network.parameters(), like)
        if parameter.dtype != like.dtype or (self.label is not None and self.label.ndim == 1):
            return super().tabulator(like)
        # One working space for all tables: the stages of a step share the cache.
        own = (network, network.bound(_rows())) if isinstance(network, Conditioned) else None

        def tabulate(t: Tensor, c: Coefficients[Tensor]) -> Evaluate:
            levels = torch.log(c.sigma / (c.alpha * (std or 1.0))) / 4
            if own is not None:
                rows_at = self._paged(*own, levels.to(like))
            else:
                rows_at = self._timed((t if std is None else levels).to(like))
            if std is None:
                return lambda k, x: _blocked(rows_at(k), x)
            scale = ((c.alpha * std) ** 2 + c.sigma**2).rsqrt().tolist()
            return lambda k, x: _blocked(rows_at(k), x * scale[k])

        return tabulate

    def _paged(
        self, network: Conditioned, body: Callable[[Tensor, Condition], Tensor], levels: Tensor
    ) -> Callable[[int], Callable[[Tensor], Tensor]]:
        """Our own network at each of these noise levels (K,), a page of its features at a time.

        A run of a million steps must not cost memory.
        """
        page, known = -1, list[Condition]()

        def rows_at(k: int) -> Callable[[Tensor], Tensor]:
            nonlocal page, known
            if k // PAGE != page:
                page = k // PAGE
                parts = network.condition(levels[page * PAGE : (page + 1) * PAGE], self.label)
                known = list(zip(*(part.split(1) for part in parts), strict=True))
            condition = known[k % PAGE]
            return lambda rows: body(rows, condition)

        return rows_at

    def _timed(self, seen: Tensor) -> Callable[[int], Callable[[Tensor], Tensor]]:
        """Any other network at each of these times (K,)."""
        network, label = self.network, () if self.label is None else (self.label,)

        def rows_at(k: int) -> Callable[[Tensor], Tensor]:
            now = seen[k]
            return lambda rows: self._checked(network(rows, now, *label), rows)

        return rows_at

    @staticmethod
    def _checked(out: Tensor, x: Tensor) -> Tensor:
        if not isinstance(out, Tensor) or out.shape != x.shape:
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"the network returned {got} for a cloud of shape {tuple(x.shape)}")
        return out
