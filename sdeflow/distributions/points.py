r"""Make a distribution of a finite set of points, each with or without a round Gaussian around it.

Without Gaussians its posterior is a softmax,

    E[x_0 | x] = sum_i w_i x_i,    w_i = softmax_i(-|x - alpha x_i|^2 / (2 sigma^2)).

That is attention of a cloud to the points, which torch computes without the n x m matrix of
weights. Expanding the square loses digits if |x_i| >> sigma; then it is computed in float64.

Source: Karras et al. 2022, appendix B.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from sdeflow._blocks import Evaluate
from sdeflow._validation import check_cloud, check_int, check_labels, check_positive
from sdeflow.density import Density, Grid
from sdeflow.distributions.arguments import (
    check_asked,
    check_draw,
    check_move,
    check_noise,
    check_place,
)
from sdeflow.distributions.distribution import Distribution, Noise, Posterior
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.distributions.responsibilities import round_noise_mean
from sdeflow.random_streams import Stream, normals, uniform

DIGITS = 1e3  # (alpha |x_i| / s)^2 above which float32 loses more than three of its seven digits


@dataclass(frozen=True, eq=False, repr=False)
class PointSet(Distribution):
    r"""The distribution of m equally likely points: x = x_i + width z, z ~ N(0, I).

    Args:
        points: (m, d), a floating-point tensor.
        labels: (m,) whole numbers, or None: then every draw has label 0.
        width: standard deviation of the round Gaussian around each point (length). With 0 there
            are only the points, which have no density.
    """

    points: Tensor
    labels: Tensor | None = None
    width: float = 0.0

    def __post_init__(self) -> None:
        points = check_cloud(self.points, "points").clone()  # the user may change the argument
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "width", check_positive(self.width, "width", zero=True))
        if self.width > torch.finfo(points.dtype).max / 100:
            raise ValueError(
                f"draws of width {self.width:g} are no numbers in {points.dtype}; give points in "
                "float64, or rescale"
            )
        if self.labels is not None:
            labels = check_labels(self.labels, "labels", count=len(points))
            object.__setattr__(self, "labels", labels.clone())

    def __repr__(self) -> str:
        return f"a set of {len(self.points)} points"

    @property
    def dim(self) -> int:
        return self.points.shape[1]

    @property
    def has_posterior(self) -> bool:
        return True

    @property
    def has_density(self) -> bool:
        """Whether the width is positive."""
        return self.width > 0.0

    def mean(self) -> Tensor:
        return self.points.double().mean(0)

    def std(self) -> float:
        spread = float(((self.points.double() - self.mean()) ** 2).mean())
        return math.sqrt(spread + self.width**2)

    def narrowest(self) -> float:
        return self.width

    def moved(self, shift: Tensor, scale: float | Tensor) -> Distribution:
        """The distribution of scale^-1 (x - shift), a mixture for a matrix and a width above 0."""
        shift, scale = check_move(shift, scale, self.dim)
        if isinstance(scale, float):
            return PointSet(
                (self.points - shift.to(self.points)) / scale, self.labels, self.width / scale
            )
        if self.width > 0.0:
            if self.labels is not None:
                raise ValueError(f"{self} with a width and labels takes a scale of one number")
            return self.mixture.moved(shift, scale)
        off = self.points.double() - shift.to(self.points.device)
        points = off @ torch.linalg.inv(scale).T.to(off.device)
        return PointSet(points.to(self.points), self.labels)

    def sample_labelled(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        n, seed = check_draw(n, seed)
        i = (uniform(seed, 0, n) * len(self.points)).long().to(self.points.device)
        x = self.points[i]
        if self.width:
            x = x + self.width * normals(seed, Stream.DATA, n, self.dim, torch.float64).to(x)
        return x, torch.zeros_like(i) if self.labels is None else self.labels[i]

    def to(
        self, where: torch.device | str | torch.dtype, dtype: torch.dtype | None = None
    ) -> PointSet:
        device, kind = check_place(where, dtype)
        labels = None if self.labels is None else self.labels.to(device=device)
        return PointSet(self.points.to(device=device, dtype=kind), labels, self.width)

    def given(self, label: int) -> PointSet:
        """The distribution of the points with this label."""
        if self.labels is None:
            raise ValueError("these points have no labels; make the set with labels=")
        mine = self.labels == check_int(label, "label", int(self.labels.min()))
        if not mine.any():
            known = self.labels.unique().tolist()[:20]
            raise ValueError(f"no point has label {label}; take one of {known}")
        return PointSet(self.points[mine], None, self.width)

    @cached_property
    def mixture(self) -> GaussianMixture:
        """The same distribution as a mixture of round Gaussians, in float64."""
        return GaussianMixture.isotropic(self.points.double(), self.width)

    def log_prob(self, x: Tensor, alpha: Noise = 1.0, sigma: Noise = 0.0) -> Tensor:
        if self.width == 0.0 and not check_noise(alpha, sigma, check_cloud(x))[1].all():
            raise ValueError(
                "points without a width have no density; give them a width, or pass sigma > 0"
            )
        return self.mixture.log_prob(x, alpha, sigma)

    def on_grid(
        self, grid: Grid, alpha: float = 1.0, sigma: float = 0.0, *, missing: float = 1e-4
    ) -> Density:
        return self.mixture.on_grid(grid, alpha, sigma, missing=missing)

    def noise_mean(self, alpha: float, sigma: float, like: Tensor) -> Evaluate:
        points = self.points.double()
        s2 = (alpha * self.width) ** 2 + sigma**2
        return round_noise_mean(points, points.new_zeros(len(points)), s2, alpha, sigma, like)

    @cached_property
    def _centre(self) -> Tensor:
        return self.points.double().mean(0)

    @cached_property
    def _keys(self) -> dict[torch.dtype, Tensor]:
        """Rows (x_i, |x_i|^2, 0...), x_i relative to the mean, which loses fewest digits."""
        off = self.points.double() - self._centre
        square = (off**2).sum(1, keepdim=True)
        pad = off.new_zeros(len(off), -(self.dim + 1) % 16)  # kernels are fast for multiples of 16
        keys = torch.cat([off, square, pad], 1)
        return {kind: keys.to(kind) for kind in (torch.float32, torch.float64)}

    @cached_property
    def _radius2(self) -> float:
        return float(self._keys[torch.float64][:, self.dim].max())

    def posterior(self, x: Tensor, alpha: Noise, sigma: Noise) -> Posterior:
        alpha, sigma = (
            v.to(x.device, torch.float64).reshape(-1, 1)
            for v in check_asked(x, alpha, sigma, self.dim, self.narrowest)
        )
        s2 = (alpha * self.width) ** 2 + sigma**2
        lossy = float((alpha**2 / s2).max()) * self._radius2 > DIGITS
        dtype = torch.float64 if lossy or x.dtype == torch.float64 else torch.float32
        keys, centre = self._keys[dtype].to(x.device), self._centre.to(x.device, dtype)
        alpha, sigma, s2 = alpha.to(dtype), sigma.to(dtype), s2.to(dtype)
        d = x.shape[1]
        off = x.to(dtype) - alpha * centre
        means = _attend(off, alpha, s2, keys)
        near, square = means[:, :d], means[:, d]
        pull = (off - alpha * near) / s2  # minus the score
        data = centre + near + alpha * self.width**2 * pull
        # The difference of two large numbers may be negative by rounding.
        spread = (square - (near**2).sum(1)).clamp_min(0)
        shrink = (sigma**2 / s2).reshape(-1)
        variance = shrink**2 * spread + shrink * self.width**2 * d
        return Posterior(data.to(x), (sigma * pull).to(x), variance.to(x))


def _attend(x: Tensor, alpha: Tensor, s2: Tensor, keys: Tensor) -> Tensor:
    """sum_i w_i (x_i, |x_i|^2, 0...), w = softmax((alpha x . x_i - alpha^2 |x_i|^2 / 2) / s2)."""
    pull, push = alpha / s2, -(alpha**2) / (2 * s2)
    pad = x.new_zeros(len(x), keys.shape[1] - x.shape[1] - 1)
    queries = torch.cat([pull * x, push.reshape(-1, 1).expand(len(x), 1).to(x), pad], 1)
    # The fused kernel has no second derivative, and none in forward mode.
    if queries.requires_grad or forward_ad.unpack_dual(queries).tangent is not None:
        return torch.softmax(queries @ keys.T, 1) @ keys
    return nn.functional.scaled_dot_product_attention(
        queries[None, None], keys[None, None], keys[None, None], scale=1.0
    )[0, 0]
