"""Compute the moments of a stochastic sampler of Gaussian data, without sampling error.

The reverse SDE of Gaussian data is linear, and a sampler of it is a linear map of its start and of
the normals that it draws. The map is fitted by least squares to a few particles whose normals are
known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

import sdeflow as sf
from benchmarks.solvers.contender import Counted
from benchmarks.solvers.order_cases import SEED, rms
from benchmarks.solvers.problems import F64, PROCESS
from sdeflow.fields.field import Field
from sdeflow.integrations.diffusers import Solver
from sdeflow.sdes.sde import SDE

Normals = Callable[[int, int, Tensor], Tensor]
"""(seed, n, times (K + 1,)) -> the normals (n, m) that a solver draws for a cloud (n, 1)."""

STDS = 0.3, 0.6, 1.5
"""Standard deviations of the data: several, because terms of the error may cancel for one.
`multistep` assumes 1."""


def of_engine(levy: bool = False) -> Normals:
    """The normals of `SDESolver`; for `srk` also the space-time Levy areas."""

    def drawn(seed: int, n: int, times: Tensor) -> Tensor:
        path = sf.solvers.Brownian(seed, n, 1, F64, times=times, levy=levy)
        steps = range(len(times) - 1)
        parts = [path(k, k + 1, return_U=levy) for k in steps]
        return torch.cat([torch.cat(p, 1) if isinstance(p, tuple) else p for p in parts], 1)

    return drawn


def of_generator(dtype: torch.dtype = F64) -> Normals:
    """The normals of torch.randn(n, 1), one draw in each step, from a generator with the seed."""

    def drawn(seed: int, n: int, times: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        steps = range(len(times) - 1)
        draws = [torch.randn(n, 1, generator=generator, dtype=dtype) for _ in steps]
        return torch.cat(draws, 1).to(F64)

    return drawn


def gaussian_field(std: float, asked: list[int]) -> Counted:
    """The exact field of N(0, std^2) in one dimension."""
    data = sf.GaussianMixture.isotropic(torch.zeros(1, 1, dtype=F64), std)
    field = sf.ExactField(PROCESS, data)
    return Counted(PROCESS, field, asked)


class Moments(NamedTuple):
    """The linear map of a sampler from a start of the exact variance.

    Attributes:
        gain: x_end / x_start without noise.
        variance: the variance of x_end.
        off: the remainder of the fit, by rounding.
        calls: evaluations of the field per particle.
    """

    gain: float
    variance: float
    off: float = 0.0
    calls: float = 0.0


def linear(
    solve: Solver, to_sde: Callable[[Field], SDE], std: float, times: Tensor, normals: Normals
) -> Moments:
    """Fit x_end = gain x_start + sum_j c_j z_j by least squares to more particles than normals."""
    count = normals(SEED, 1, times).shape[1]
    n = 2 * count + 40
    x = torch.randn(n, 1, generator=torch.Generator().manual_seed(0), dtype=F64)
    sde = to_sde(gaussian_field(std, asked := [0]))
    asked[0] = 0
    end = solve(sde, x, times, SEED).to(F64)
    known = torch.cat([x, normals(SEED, n, times)], 1)
    # The last bits of torch's default driver differ from process to process.
    found = torch.linalg.lstsq(known, end, driver="gelsd").solution
    off = rms(known @ found - end)
    if off > 1e-5 * rms(end):  # some peers round to float32
        raise ValueError(
            f"the end is not linear in the start and these normals (remainder {off:.1e}); give "
            "normals= as the solver draws them"
        )
    gain, noise = float(found[0]), found[1:]
    c = PROCESS(times[:1])
    width = float(c.alpha**2 * std**2 + c.sigma**2)
    # w and u of one step of `srk` are correlated: their covariance is (1, 1/2; 1/2, 1/3).
    if count == 2 * (len(times) - 1):
        w, u = noise[::2], noise[1::2]
        added = float((w**2 + w * u + u**2 / 3).sum())
    else:
        added = float(noise.square().sum())
    return Moments(gain, gain**2 * width + added, off, asked[0] / n)


def exact_moments(std: float, eta: float) -> Moments:
    """The moments of the reverse SDE: u_b = c^(eta^2) u_a + noise, with u = x / sqrt(V) and
    c = cos a / cos b."""
    c = PROCESS([PROCESS.t_max, PROCESS.t_min])
    width = c.alpha**2 * std**2 + c.sigma**2
    cosine = c.alpha * std / width.sqrt()
    gain = (cosine[0] / cosine[1]) ** eta**2 * (width[1] / width[0]).sqrt()
    return Moments(float(gain), float(width[1]))


def moment_error(
    solve: Solver, to_sde: Callable[[Field], SDE], times: Tensor, normals: Normals, eta: float
) -> tuple[float, float, float]:
    """The mean square error of correlation and variance over the data, its rounding, the calls."""
    square = rounding = calls = 0.0
    for std in STDS:
        got, exact = linear(solve, to_sde, std, times, normals), exact_moments(std, eta)
        root = ((PROCESS.t_max**2 + std**2) / exact.variance) ** 0.5
        square += ((got.gain - exact.gain) * root) ** 2 + (got.variance / exact.variance - 1) ** 2
        rounding, calls = max(rounding, got.off / exact.variance**0.5), max(calls, got.calls)
    return square / len(STDS), rounding, calls
