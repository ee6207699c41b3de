r"""The exact field of a distribution under a process."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from sdeflow import _validation as door
from sdeflow._blocks import in_blocks
from sdeflow.density import Density, Grid
from sdeflow.distributions.mixture import Mixture, Posterior
from sdeflow.fields.field import Field
from sdeflow.fields.prediction import Prediction, Row
from sdeflow.processes.process import Coefficients, Scalar


@dataclass(frozen=True, eq=False)
class BayesField(Field):
    """A field that is known exactly, with its own uncertainty."""

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """Noise: well defined at every t, and what motion needs."""
        return Prediction.NOISE.row(c)

    def evaluate(self, x: Tensor, t: Tensor, c: Coefficients) -> Tensor:
        """E[eps | x_t], (n, d)."""
        if t.ndim == 0 and not torch.is_grad_enabled():
            return in_blocks(lambda rows: self.posterior(rows, c).noise, x)
        return self.posterior(x, c).noise

    def split(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """See `Field`; here neither is derived from the other, so neither loses digits."""
        t = self.process.at(t, door.cloud(x, dim=self.dim))
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
    """The field of a Gaussian mixture, in closed form (see `Mixture.posterior`).

    Raises:
        TypeError: mixture is no `Mixture`, or process no `Process`.
    """

    mixture: Mixture

    def __post_init__(self) -> None:
        """Refuse what is no mixture."""
        super().__post_init__()
        if not isinstance(self.mixture, Mixture):
            raise TypeError(
                f"mixture must be a Mixture, got {type(self.mixture).__name__}; a data set that "
                "is one has it as .mixture"
            )

    @property
    def dim(self) -> int:
        """See `Field`."""
        return self.mixture.dim

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
        return self.mixture.noised(*self._noise_at(t)).on_grid(grid)


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
        super().__post_init__()
        points = door.cloud(self.points, "points")
        object.__setattr__(self, "width", door.positive(self.width, "width", zero=True))
        if self.labels is not None:
            labels = door.labels(self.labels, "labels")
            if labels.shape != points.shape[:1]:
                raise ValueError(
                    f"labels must be ({len(points)},), one per point, got {tuple(labels.shape)}"
                )
            object.__setattr__(self, "labels", labels)
        centre = points.double().mean(0)
        off = points.double() - centre
        square = (off**2).sum(1, keepdim=True)
        # The kernel wants rows of a multiple of 16.
        pad = off.new_zeros(len(off), -(points.shape[1] + 1) % 16)
        keys = torch.cat([off, square, pad], 1)
        object.__setattr__(self, "_centre", centre)
        object.__setattr__(self, "_keys", {k: keys.to(k) for k in (torch.float32, torch.float64)})
        object.__setattr__(self, "_radius2", float(square.max()))

    @property
    def dim(self) -> int:
        """See `Field`."""
        return self.points.shape[1]

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
        return law.noised(*self._noise_at(t)).on_grid(grid)

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
