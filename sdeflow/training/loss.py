r"""Measure how well a network predicts: one loss, a weighting, a time density.

With x_t = alpha x_0 + sigma eps, every regression target is a row of (x_0, eps), and an error in
one row is an error in any other times a function of time alone. So there is one loss,

    L = E_t E [ w(t) |eps_hat(x_t, t) - eps|^2 ] / d.

`prediction_weighting` gives the weightings w of the literature: DDPM's simple loss, the data loss,
flow matching. The time density does not change the loss w p(t), only how much its gradient varies.
The exact field does not bring L to zero, because x_t does not determine eps:

    L = E [ w |eps_hat - E[eps | x_t]|^2 ] / d + E [ w tr Cov(eps | x_t) ] / d
      = excess + irreducible.

`loss_decomposition` reports both terms. See docs/theory.md, (6.1) and (6.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor

from sdeflow._validation import (
    check_cloud,
    check_finite,
    check_function,
    check_int,
    check_kind,
    check_numbers,
    check_positive,
)
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field, check_score
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.prediction import Prediction, Row, encode, unit_row
from sdeflow.processes.process import Coefficients, Process
from sdeflow.random_streams import Stream, random_generator

Weighting = Callable[[Coefficients[Tensor]], Tensor]
TimeDensity = Callable[[Process, Tensor], Tensor]


# ---- weightings: w(t), relative to the squared error of eps -------------------------------------


def prediction_weighting(row: Prediction) -> Weighting:
    """w such that L is the plain squared error of this row: ((alpha b - sigma a) / alpha)^2.

    Source: Ho et al. 2020, eq. 14, for the noise row.
    """
    return partial(_weight_of_row, check_kind(row, Prediction, "row"))


def edm_weighting(data_std: float) -> Weighting:
    """w such that L is the plain squared error of the unit row (Karras et al. 2022, table 1).

        w = 1 + (sigma / (alpha s))^2,    s = data_std.

    Raises:
        ValueError, TypeError: data_std is not a positive number.
    """
    return partial(_weight_of_unit_row, check_positive(data_std, "data_std"))


def min_snr(gamma: float = 5.0) -> Weighting:
    """w = min(SNR, gamma) / SNR (Hang et al. 2023, section 3.4, for noise prediction).

    Raises:
        ValueError, TypeError: gamma is not a positive number.
    """
    return partial(_clipped_snr, check_positive(gamma, "gamma"))


def default_weighting(field: LearnedField) -> Weighting:
    """w such that L is the plain squared error of what the network itself gives."""
    return partial(_weight_of_row, field)


# Functions of a module, because closures cannot be sent to another process.
def _weight_of_row(row: Prediction | LearnedField, c: Coefficients[Tensor]) -> Tensor:
    return _error_ratio(row.row(c), c) ** 2


def _weight_of_unit_row(data_std: float, c: Coefficients[Tensor]) -> Tensor:
    return _error_ratio(unit_row(c, data_std), c) ** 2


def _clipped_snr(gamma: float, c: Coefficients[Tensor]) -> Tensor:
    return (gamma * (c.sigma / c.alpha) ** 2).clamp_max(1.0)


def _error_ratio(row: Row[Tensor], c: Coefficients[Tensor]) -> Tensor:
    """Change of this row per change of eps at fixed x_t: (alpha b - sigma a) / alpha."""
    a, b = row
    return b - a * c.sigma / c.alpha


# ---- time densities: from u in (0, 1) to t ------------------------------------------------------


def uniform_time(p: Process, u: Tensor) -> Tensor:
    """t uniform on [t_min, t_max] (Ho et al. 2020)."""
    check_kind(p, Process, "p")
    return p.t_min + _shares(u) * (p.t_max - p.t_min)


def _shares(u: Tensor) -> Tensor:
    """u (n,) as a tensor: numbers between 0 and 1."""
    u = u if isinstance(u, Tensor) else check_numbers(u, "u")
    if u.ndim != 1:
        raise ValueError(f"u must be (n,), numbers between 0 and 1, got {tuple(u.shape)}")
    return u


def uniform_log_snr(p: Process, u: Tensor) -> Tensor:
    """log SNR uniform between its values at t_max and t_min: equal weight for every scale.

    Raises:
        ValueError: sigma is 0 at t_min, where log SNR is infinite.
    """
    check_kind(p, Process, "p")
    u = _shares(u)
    ends = p.log_snr(torch.tensor([p.t_max, p.t_min], dtype=u.dtype))
    if torch.isinf(ends[1]):
        raise ValueError(
            f"log SNR is infinite at t_min = {p.t_min:g}, where sigma is 0; give the field "
            "data_std, a time density, or a process with a larger t_min"
        )
    return _inside(p, p.time(ends[0] + u * (ends[1] - ends[0])))


def log_uniform_noise(low: float, high: float) -> TimeDensity:
    """log SNR uniform between the noise levels sigma / alpha = low and high.

    Levels outside the process's own range are left out.

    Raises:
        ValueError, TypeError: not 0 < low < high.
    """
    if not check_positive(low, "low") < check_positive(high, "high"):
        raise ValueError(f"low must lie below high, got {low} and {high}")

    return partial(_log_uniform, low, high)


def _log_uniform(low: float, high: float, p: Process, u: Tensor) -> Tensor:
    reach = p.log_snr(torch.tensor([p.t_max, p.t_min], dtype=u.dtype))
    noisy, clean = (-2 * math.log(v) for v in (high, low))
    noisy, clean = max(noisy, float(reach[0])), min(clean, float(reach[1]))
    return _inside(p, p.time(noisy + u * (clean - noisy)))


def default_time_density(field: LearnedField) -> TimeDensity:
    """Log-uniform noise; from 1/200 to 20 data standard deviations where these are known.

    Outside that range the preconditioned network's target hardly depends on the level.
    """
    if field.data_std is None:
        return uniform_log_snr
    return log_uniform_noise(field.data_std / 200, 20 * field.data_std)


def normal_log_snr(mean: float = 2.4, std: float = 2.4) -> TimeDensity:
    """log SNR ~ N(mean, std^2), clipped to the span; by default EDM's ln sigma ~ N(-1.2, 1.2^2).

    Raises:
        ValueError, TypeError: std is not a positive number.

    Source: Karras et al. 2022, table 1.
    """
    return partial(_normal_log_snr, check_finite(mean, "mean"), check_positive(std, "std"))


def _normal_log_snr(mean: float, std: float, p: Process, u: Tensor) -> Tensor:
    return _inside(p, p.time(mean + std * torch.special.ndtri(u)))


def logit_normal_time(mean: float = 0.0, std: float = 1.0) -> TimeDensity:
    """logit((t - t_min) / (t_max - t_min)) ~ N(mean, std^2) (Esser et al. 2024, section 3.1).

    Raises:
        ValueError, TypeError: std is not a positive number.
    """
    return partial(_logit_normal_time, mean, check_positive(std, "std"))


def _logit_normal_time(mean: float, std: float, p: Process, u: Tensor) -> Tensor:
    return uniform_time(p, torch.sigmoid(mean + std * torch.special.ndtri(u)))


def _inside(p: Process, t: Tensor) -> Tensor:
    return t.clamp(p.t_min, p.t_max)


# ---- the loss -----------------------------------------------------------------------------------


def loss(
    field: LearnedField, x0: Tensor, t: Tensor, eps: Tensor, weighting: Weighting | None = None
) -> Tensor:
    """w |eps_hat - eps|^2 / d per particle, (n,): x0, eps (n, d), t (n,).

    Computed in the network's own row, whose error is the error of eps times a function of t.

    Raises:
        TypeError, ValueError: x0 is no finite cloud of the field's dimension, eps has another
            shape, or t is not (n,) in [t_min, t_max].
    """
    check_kind(field, LearnedField, "field")
    check_cloud(x0, "x0", field.dim)
    if check_cloud(eps, "eps").shape != x0.shape:
        raise ValueError(
            f"eps must have the shape of x0, {tuple(x0.shape)}, got {tuple(eps.shape)}"
        )
    if weighting is not None and not callable(weighting):
        raise TypeError(
            f"weighting must be a function, such as min_snr(), got {type(weighting).__name__}"
        )
    t = field.process.at(t, x0).expand(len(x0))
    weighting = default_weighting(field) if weighting is None else weighting
    return regression_error(field, x0, t, eps, weighting)


def regression_error(
    field: LearnedField, x0: Tensor, t: Tensor, eps: Tensor, weighting: Weighting
) -> Tensor:
    """`loss` without its checks, as each step of a training needs it; t may be on the CPU."""
    c = field.process(t)
    wide = c.along(x0)
    x = wide.alpha * x0 + wide.sigma * eps
    row = field.row(wide)
    error = field.predicted(x, t, c) - encode(row, x0, eps)
    weight = weighting(c) / _error_ratio(field.row(c), c) ** 2
    return weight.to(x) * (error**2).mean(1)


@dataclass(frozen=True, eq=False)
class LossReport:
    """Loss at each noise level and its two parts, in units of w |eps|^2 per coordinate.

    Attributes:
        t: (L,) times, evenly spaced in log SNR.
        irreducible: (L,) E[w tr Cov(eps | x_t)] / d, which no network can remove.
        excess: (L,) E[w |eps_hat - E[eps | x_t]|^2] / d, which a better network would remove.
        error: (L,) standard error of `excess`.
    """

    t: Tensor
    irreducible: Tensor
    excess: Tensor
    error: Tensor

    @property
    def loss(self) -> Tensor:
        """irreducible + excess (L,): the expected loss, without the sampling noise of eps."""
        return self.irreducible + self.excess

    def __repr__(self) -> str:
        """In words."""
        loss, irreducible, excess = (
            float(v.mean()) for v in (self.loss, self.irreducible, self.excess)
        )
        return (
            f"loss {loss:.4g} = irreducible {irreducible:.4g} + excess {excess:.4g}, "
            f"mean over {len(self.t)} noise levels"
        )

    def __str__(self) -> str:
        """A Markdown table of at most nine of the noise levels, and the mean over all."""
        shown = torch.linspace(0, len(self.t) - 1, min(len(self.t), 9)).round().long()
        columns = (self.t, self.loss, self.irreducible, self.excess, self.error)
        rows = [[f"{float(v[k]):.3g}" for v in columns] for k in shown]
        headers = ("t", "loss", "irreducible", "excess", "error of excess")
        table = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
        return f"{table}\n\n{self!r}"

    def _repr_markdown_(self) -> str:
        return str(self)


def loss_decomposition(
    field: LearnedField,
    truth: ExactField,
    *,
    levels: int = 64,
    n: int = 2000,
    seed: int = 0,
    weighting: Weighting | None = None,
) -> LossReport:
    """Split the expected loss of a learned field into its irreducible part and its excess.

        irreducible = w E tr Cov(eps | x_t) / d,    excess = w E |eps_hat - E[eps | x_t]|^2 / d.

    Both are means over n particles x_t, noised draws of the truth, at each of `levels` times; the
    conditional moments of each particle are exact. The weighting is that of the noise loss unless
    given.

    Raises:
        ValueError: the two fields do not share a process; TypeError: truth is not exact.
    """
    if not isinstance(truth, ExactField):
        raise TypeError(f"truth must be an ExactField, got {type(truth).__name__}")
    check_score(check_kind(field, Field, "field"), "loss_decomposition")
    p = field.process
    if p != truth.process:
        raise ValueError(f"the fields have different processes: {p} and {truth.process}")
    check_int(levels, "levels")
    check_int(n, "n", 2)
    u = (torch.arange(levels, dtype=torch.float64) + 0.5) / levels
    times = uniform_log_snr(p, u)
    weighting = prediction_weighting(Prediction.NOISE) if weighting is None else weighting
    check_function(weighting, "weighting")
    x0 = truth.sample(n, seed)
    with torch.no_grad():
        rows = [
            _decomposed(field, truth, x0, t, weighting, random_generator(seed, Stream.PROBE, i))
            for i, t in enumerate(times)
        ]
    return LossReport(times, *torch.tensor(rows, dtype=torch.float64).unbind(1))


def _decomposed(
    field: LearnedField,
    truth: ExactField,
    x0: Tensor,
    t: Tensor,
    weighting: Weighting,
    g: np.random.Generator,
) -> tuple[float, float, float]:
    """Irreducible part, excess and its standard error at one time."""
    n, d = x0.shape
    c = field.process(t)
    eps = torch.from_numpy(g.standard_normal((n, d))).to(x0)
    x = field.process.perturb(x0, t, eps)
    w, snr = float(weighting(c)), float((c.alpha / c.sigma) ** 2)
    known = truth.posterior(x, c.along(x))
    off = ((field.noise(x, t) - known.noise) ** 2).mean(1).double()
    irreducible = w * snr * known.data_variance.double().mean() / d
    return float(irreducible), float(w * off.mean()), float(w * off.std() / math.sqrt(n))
