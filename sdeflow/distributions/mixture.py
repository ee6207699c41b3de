r"""Make a Gaussian mixture, whose density, score and posterior are exact at every noise level.

If x_0 has the density p(x) = sum_k w_k N(x; mu_k, C_k), then alpha x_0 + sigma eps is distributed
as a mixture too, with the same weights and

    mu_k -> alpha mu_k,    C_k -> alpha^2 C_k + sigma^2 I.

Noise changes the eigenvalues lambda of C_k = U diag(lambda) U^T and not the eigenvectors, so that
one eigendecomposition for each component is enough for all noise levels.

See docs/theory.md, (3.5) and (3.6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate
from sdeflow._validation import (
    as_floating,
    check_cloud,
    check_finite,
    check_int,
    check_positive,
)
from sdeflow.density import Density, Grid, captured
from sdeflow.distributions.arguments import (
    check_asked,
    check_coefficient,
    check_covariances,
    check_draw,
    check_move,
    check_noise,
    check_place,
    check_wide,
    widened,
)
from sdeflow.distributions.distribution import Distribution, Noise, Posterior
from sdeflow.distributions.gaussian_masses import gaussian_masses
from sdeflow.distributions.responsibilities import AXES, noise_mean, round_noise_mean
from sdeflow.grid import check_grid
from sdeflow.processes.process import Process, check_process
from sdeflow.random_streams import Stream, normals, uniform


@dataclass(frozen=True, eq=False, repr=False)
class GaussianMixture(Distribution):
    r"""A mixture of k Gaussians: p(x) = sum_k w_k N(x; mu_k, C_k).

    The label of a draw is the number of its component.

    Args:
        weights: (k,) positive numbers, which are divided by their sum.
        means: (k, d), a floating-point tensor.
        covariances: (k, d, d), symmetric and positive semi-definite; zero for a point.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def __post_init__(self) -> None:
        means = check_cloud(self.means, "means")
        k, d = means.shape
        weights, covariances = (
            as_floating(v, name).to(means)
            for v, name in ((self.weights, "weights"), (self.covariances, "covariances"))
        )
        if weights.shape != (k,) or covariances.shape != (k, d, d):
            raise ValueError(
                f"a mixture of {k} components in {d} dimensions needs weights ({k},) and "
                f"covariances ({k}, {d}, {d}), got {tuple(weights.shape)} and "
                f"{tuple(covariances.shape)}"
            )
        if not (torch.isfinite(weights).all() and (weights > 0).all()):
            raise ValueError("weights must be positive and finite; drop empty components")
        check_covariances(covariances.double())
        # Copies: the mixture does not change when the arguments do.
        object.__setattr__(self, "weights", weights / weights.sum())
        object.__setattr__(self, "means", means.clone())
        object.__setattr__(self, "covariances", covariances.clone())
        self._eigen[0].clamp_(min=0)

    @cached_property
    def _eigen(self) -> tuple[Tensor, Tensor]:
        """The variances (k, d) along the principal axes, the columns of (k, d, d); in float64."""
        variances, axes = torch.linalg.eigh(self.covariances.double())
        return variances, axes

    @staticmethod
    def isotropic(means: Tensor, width: float, weights: Tensor | None = None) -> GaussianMixture:
        """The mixture of round Gaussians of standard deviation `width` >= 0 at `means` (k, d).

        The weights (k,) are equal by default.
        """
        k, d = check_cloud(means, "means").shape
        width = check_positive(width, "width", zero=True)
        if width > 0.0 == torch.tensor(width**2, dtype=means.dtype):
            raise ValueError(
                f"the square of width {width:g} is zero in {means.dtype}; give means in float64, "
                "or rescale"
            )
        covariance = width**2 * torch.eye(d, dtype=means.dtype).expand(k, d, d)
        return GaussianMixture(
            means.new_ones(k) if weights is None else weights, means, covariance
        )

    def to(
        self, where: torch.device | str | torch.dtype, dtype: torch.dtype | None = None
    ) -> GaussianMixture:
        device, kind = check_place(where, dtype)
        parts = (self.weights, self.means, self.covariances)
        return GaussianMixture(*(part.to(device=device, dtype=kind) for part in parts))

    @property
    def dim(self) -> int:
        return self.means.shape[1]

    @property
    def has_posterior(self) -> bool:
        return True

    def mean(self) -> Tensor:
        """E[x] = sum_k w_k mu_k, (d,)."""
        return self.weights @ self.means

    def std(self) -> float:
        return math.sqrt(float(self.covariance().trace()) / self.dim)

    def narrowest(self) -> float:
        return float(torch.linalg.eigvalsh(self.covariances.double()).min().clamp_min(0).sqrt())

    def moved(self, shift: Tensor, scale: float | Tensor) -> GaussianMixture:
        shift, scale = check_move(shift, scale, self.dim)
        if isinstance(scale, float):
            means = (self.means - shift.to(self.means)) / scale
            return GaussianMixture(self.weights, means, self.covariances / scale**2)
        inverse = torch.linalg.inv(scale).to(self.means.device)
        means = (self.means.double() - shift.to(inverse)) @ inverse.T
        covariances = inverse @ self.covariances.double() @ inverse.T
        covariances = (covariances + covariances.mT) / 2
        return GaussianMixture(
            self.weights, means.to(self.means), covariances.to(self.covariances)
        )

    def given(self, label: int) -> GaussianMixture:
        """The component of number `label` alone, as a mixture of one Gaussian."""
        k = check_int(label, "label", 0)
        if k >= len(self.weights):
            raise ValueError(
                f"label must be 0 to {len(self.weights) - 1}, one per component, got {label}"
            )
        one = slice(k, k + 1)
        return GaussianMixture(self.weights[one], self.means[one], self.covariances[one])

    def __repr__(self) -> str:
        kind = f"a mixture of {k} Gaussians" if (k := len(self.weights)) > 1 else "a Gaussian"
        return f"{kind} in {self.dim} dimension{'s' * (self.dim > 1)}"

    def covariance(self) -> Tensor:
        """Cov[x] = sum_k w_k (C_k + (mu_k - mean)(mu_k - mean)^T), (d, d)."""
        off = self.means - self.mean()
        outer = off[:, :, None] * off[:, None, :]
        return torch.einsum("k,kij->ij", self.weights, self.covariances + outer)

    def noised(self, alpha: Tensor | float, sigma: Tensor | float) -> GaussianMixture:
        """The mixture of alpha x_0 + sigma eps, with means alpha mu_k and covariances
        alpha^2 C_k + sigma^2 I.

        It is differentiable in alpha and sigma, each one number or a tensor ().
        """
        alpha, sigma = check_coefficient(alpha, "alpha"), check_coefficient(sigma, "sigma")
        if (sigma.detach() if isinstance(sigma, Tensor) else sigma) < 0:
            raise ValueError("sigma must be zero or more")
        # Not by __init__, because the arguments are checked and the eigenvectors known.
        noised = object.__new__(GaussianMixture)
        identity = torch.eye(self.dim, dtype=self.means.dtype, device=self.means.device)
        variances, axes = self._eigen
        noised.__dict__.update(
            weights=self.weights,
            means=alpha * self.means,
            covariances=alpha**2 * self.covariances + sigma**2 * identity,
            _eigen=(alpha**2 * variances + sigma**2, axes),
        )
        return noised

    def sample_labelled(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        n, seed = check_draw(n, seed)
        edges = torch.cumsum(self.weights.double(), 0)
        u = uniform(seed, 0, n).to(edges) * edges[-1]
        which = torch.searchsorted(edges, u, right=True).clamp_max(len(edges) - 1)
        # In float64, so that the same mixture in another type has the same draws, rounded.
        z = normals(seed, Stream.DATA, n, self.dim, torch.float64).to(self.means)
        variances, axes = (v.to(self.means) for v in self._eigen)
        roots = axes * variances.sqrt()[:, None, :]
        return self.means[which] + torch.einsum("nij,nj->ni", roots[which], z), which

    def log_prob(self, x: Tensor, alpha: Noise = 1.0, sigma: Noise = 0.0) -> Tensor:
        wide = widened(check_cloud(x, dim=self.dim))
        a, s = check_noise(alpha, sigma, wide)
        logits, _, spectrum = self._logits(wide, a, s)
        check_wide(spectrum)
        return torch.logsumexp(logits, -1).to(x)

    def score(self, x: Tensor) -> Tensor:
        """grad ln p(x) = sum_k r_k C_k^{-1} (mu_k - x), (n, d); r_k = P(component k | x)."""
        wide = widened(check_cloud(x, dim=self.dim))
        logits, off, spectrum = self._logits(wide, wide.new_ones(()), wide.new_zeros(()))
        check_wide(spectrum)
        axes = self._eigen[1].to(wide)
        pull = torch.einsum("kde,nke->nkd", axes, -off / spectrum)
        return torch.einsum("nk,nkd->nd", torch.softmax(logits, -1), pull).to(x)

    def _logits(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ln(w_k N(x; m_k, S_k)) (n, k), U^T (x - m_k) (n, k, d), eigenvalues of S_k (., k, d)."""
        alpha, sigma = (c.reshape(-1, 1, 1).to(x) for c in (alpha, sigma))
        variances, axes = (v.to(x) for v in self._eigen)
        means, spectrum = self.means.to(x), alpha**2 * variances + sigma**2
        off = torch.einsum("nkd,kde->nke", x[:, None, :] - alpha * means, axes)
        size = (off**2 / spectrum).sum(-1) + torch.log(spectrum).sum(-1)
        logits = torch.log(self.weights.to(x)) - (size + self.dim * math.log(2 * math.pi)) / 2
        return logits, off, spectrum

    @cached_property
    def _width2(self) -> float | None:
        """The variance of round components of equal width; None if they are not of that kind."""
        variances = self._eigen[0]
        first = variances.flatten()[0]
        return float(first) if bool((variances == first).all()) else None

    def noise_mean(self, alpha: float, sigma: float, like: Tensor) -> Evaluate:
        means, log_weights = self.means.double(), torch.log(self.weights.double())
        if self._width2 is not None:
            s2 = alpha**2 * self._width2 + sigma**2
            return round_noise_mean(means, log_weights, s2, alpha, sigma, like)
        if self.dim > AXES:
            return super().noise_mean(alpha, sigma, like)
        variances, axes = self._eigen
        variances = alpha**2 * variances + sigma**2
        return noise_mean(alpha * means, log_weights, axes, variances, sigma, like)

    def posterior(self, x: Tensor, alpha: Noise, sigma: Noise) -> Posterior:
        r"""The `Posterior` given x = alpha x_0 + sigma eps (n, d); alpha, sigma () or (n,).

        For each component, in its principal axes, with s^2 = alpha^2 lambda + sigma^2,

            E[x_0 | x, k] = mu + alpha lambda / s^2 (x - alpha mu),
            E[eps | x, k] = sigma / s^2 (x - alpha mu),

        in which nothing is divided by alpha or sigma.
        """
        alpha, sigma = check_asked(x, alpha, sigma, self.dim, self.narrowest)
        given, x = x, widened(x)
        logits, off, s2 = self._logits(x, alpha, sigma)
        alpha, sigma = (c.reshape(-1, 1, 1).to(x) for c in (alpha, sigma))
        r = torch.softmax(logits, -1)
        spectrum, axes = (v.to(x) for v in self._eigen)
        means = self.means.to(x)
        each = means + torch.einsum("kde,nke->nkd", axes, alpha * spectrum / s2 * off)
        data = torch.einsum("nk,nkd->nd", r, each)
        noise = torch.einsum("nk,nkd->nd", r, torch.einsum("kde,nke->nkd", axes, sigma / s2 * off))
        within = (sigma**2 * spectrum / s2).sum(-1).expand_as(r)
        spread = ((each - data[:, None]) ** 2).sum(-1)
        variance = (r * (within + spread)).sum(-1)
        return Posterior(data.to(given), noise.to(given), variance.to(given))

    def on_grid(
        self, grid: Grid, alpha: float = 1.0, sigma: float = 0.0, *, missing: float = 1e-4
    ) -> Density:
        r"""The density of alpha x_0 + sigma eps as exact cell masses.

            m_i = sum_k w_k int_{cell i} N(x; alpha mu_k, alpha^2 C_k + sigma^2 I) dx

        More mass than `missing` outside the grid raises a ValueError, and so does a tilted
        component whose standard deviation is less than 1e-3 of a cell.
        """
        check_grid(grid)
        check_positive(missing, "missing", zero=True)
        alpha, sigma = check_positive(alpha, "alpha"), check_positive(sigma, "sigma", zero=True)
        if self.dim != grid.dim:
            raise ValueError(
                f"the mixture has dimension {self.dim}, the grid {grid.dim}; they must agree"
            )
        noised = self.to("cpu", torch.float64).noised(alpha, sigma)
        parts = (noised.weights.numpy(), noised.means.numpy(), noised.covariances.numpy())
        return captured(gaussian_masses(grid, *parts), grid, missing)


def prior_density(grid: Grid, process: Process, t: float | None = None) -> Density:
    """The density N(0, sigma(t)^2 I) on a grid, in which samplers start; by default t = t_max.

    If more than 1e-4 of the mass lies outside the grid, a ValueError says so.
    """
    check_process(process)
    centre = torch.zeros(1, check_grid(grid).dim, dtype=torch.float64)
    when = process.at(process.t_max if t is None else check_finite(t, "t"), centre)
    return GaussianMixture.isotropic(centre, float(process(when).sigma)).on_grid(grid)
