r"""Measure how well a network predicts, with a weighting of times and a density of times.

    L = E_t E [ w(t) |eps_hat(x_t, t) - eps|^2 ] / d.

Every regression target is a row of (x_0, eps), and at given x_t the error of one row is that of
any other times a function of time. So the losses of the literature, such as DDPM's simple loss,
the data loss and flow matching's, are this one with other weightings w: `prediction_weighting`.
Only the product w p(t) with the time density p counts for the loss; p alone changes how much its
gradient varies. The exact field does not make L zero, because x_t does not determine eps:

    L = E [ w |eps_hat - E[eps | x_t]|^2 ] / d + E [ w tr Cov(eps | x_t) ] / d
      = excess + irreducible.

`loss_decomposition` reports both terms. See docs/theory.md, (6.1) and (6.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
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
from sdeflow._wording import markdown_table
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field, check_score
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.prediction import Prediction, Row, encode, unit_row
from sdeflow.processes.process import Coefficients, Process
from sdeflow.random_streams import Stream, normals_like

Weighting = Callable[[Coefficients[Tensor]], Tensor]
TimeDensity = Callable[[Process, Tensor], Tensor]


# ---- weightings: w(t), relative to the squared error of eps -------------------------------------


def prediction_weighting(row: Prediction) -> Weighting:
    """The weighting with which L is the squared error of a row (a, b).

        w = ((alpha b - sigma a) / alpha)^2.

    Source: Ho et al. 2020, eq. 14, for the noise row.
    """
    return partial(_weight_of_row, check_kind(row, Prediction, "row"))


def edm_weighting(data_std: float) -> Weighting:
    """The weighting with which L is the squared error of EDM's unit row.

        w = 1 + (sigma / (alpha s))^2,    s = data_std.

    Source: Karras et al. 2022, table 1.
    """
    return partial(_weight_of_unit_row, check_positive(data_std, "data_std"))


def min_snr(gamma: float = 5.0) -> Weighting:
    """The weighting w = min(SNR, gamma) / SNR, with SNR = (alpha / sigma)^2.

    Source: Hang et al. 2023, section 3.4, for noise prediction.
    """
    return partial(_clipped_snr, check_positive(gamma, "gamma"))


def default_weighting(field: LearnedField) -> Weighting:
    """The weighting with which L is the squared error of the network's own output."""
    return partial(_weight_of_row, field)


# Functions of the module, because closures cannot be sent to another process.
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
    """Times uniform on [t_min, t_max], (n,), for shares u (n,) in (0, 1) (Ho et al. 2020)."""
    check_kind(p, Process, "p")
    return p.t_min + _shares(u) * (p.t_max - p.t_min)


def _shares(u: Tensor) -> Tensor:
    """Return u (n,), numbers between 0 and 1, as a tensor."""
    u = u if isinstance(u, Tensor) else check_numbers(u, "u")
    if u.ndim != 1:
        raise ValueError(f"u must be (n,), numbers between 0 and 1, got {tuple(u.shape)}")
    return u


def uniform_log_snr(p: Process, u: Tensor) -> Tensor:
    """Times (n,) whose log SNR is uniform between t_max and t_min, for shares u (n,) in (0, 1)."""
    check_kind(p, Process, "p")
    u = _shares(u)
    ends = p.log_snr(torch.tensor([p.t_max, p.t_min], dtype=u.dtype))
    if torch.isinf(ends[1]):
        raise ValueError(
            f"log SNR is infinite at t_min = {p.t_min:g}, where sigma is 0; give the field a "
            "data_std, the training a time_density, or the process a larger t_min"
        )
    return _inside(p, p.time(ends[0] + u * (ends[1] - ends[0])))


def log_uniform_noise(low: float, high: float) -> TimeDensity:
    """The density of times whose noise level sigma / alpha is log-uniform from low to high.

    Levels outside the range of the process are left out.
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
    """The default density of times: log-uniform noise, from 1/200 to 20 data standard deviations.

    Outside that range the target of a preconditioned network hardly depends on the noise level.
    Where the field has no data_std, the range is that of the process.
    """
    if field.data_std is None:
        return uniform_log_snr
    return log_uniform_noise(field.data_std / 200, 20 * field.data_std)


def normal_log_snr(mean: float = 2.4, std: float = 2.4) -> TimeDensity:
    """The density of times with log SNR ~ N(mean, std^2), clipped to the range of the process.

    By default it is EDM's, ln sigma ~ N(-1.2, 1.2^2).

    Source: Karras et al. 2022, table 1.
    """
    return partial(_normal_log_snr, check_finite(mean, "mean"), check_positive(std, "std"))


def _normal_log_snr(mean: float, std: float, p: Process, u: Tensor) -> Tensor:
    return _inside(p, p.time(mean + std * torch.special.ndtri(u)))


def logit_normal_time(mean: float = 0.0, std: float = 1.0) -> TimeDensity:
    """The density of times with logit((t - t_min) / (t_max - t_min)) ~ N(mean, std^2).

    Source: Esser et al. 2024, section 3.1.
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
    """The loss w |eps_hat - eps|^2 / d of each particle, (n,).

    It is computed in the network's own row, whose error is that of eps times a function of t.

    Args:
        field: the field that is trained.
        x0, eps: data and noise, (n, d) each.
        t: (n,) times in [t_min, t_max].
        weighting: w; by default the loss is the squared error of the network's output.
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
    """`loss` without its checks, for the steps of a training; t may be on the CPU."""
    c = field.process(t)
    wide = c.along(x0)
    x = wide.alpha * x0 + wide.sigma * eps
    row = field.row(wide)
    error = field.predicted(x, t, c) - encode(row, x0, eps)
    weight = weighting(c) / _error_ratio(field.row(c), c) ** 2
    return weight.to(x) * (error**2).mean(1)


@dataclass(frozen=True, eq=False)
class LossReport:
    """The loss at each noise level and its two parts, in units of w |eps|^2 per coordinate.

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
        """The expected loss irreducible + excess, (L,), without the sampling noise of eps."""
        return self.irreducible + self.excess

    def __repr__(self) -> str:
        loss, irreducible, excess = (
            float(v.mean()) for v in (self.loss, self.irreducible, self.excess)
        )
        return (
            f"loss {loss:.4g} = irreducible {irreducible:.4g} + excess {excess:.4g}, "
            f"mean over {len(self.t)} noise levels"
        )

    def _repr_markdown_(self) -> str:
        """A Markdown table of at most nine of the noise levels, and the mean over all."""
        shown = torch.linspace(0, len(self.t) - 1, min(len(self.t), 9)).round().long()
        columns = (self.t, self.loss, self.irreducible, self.excess, self.error)
        rows = [[f"{float(v[k]):.3g}" for v in columns] for k in shown]
        headers = ("t", "loss", "irreducible", "excess", "error of excess")
        return f"{markdown_table(headers, rows)}\n\n{self!r}"


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

    The conditional moments at each x_t are exact.

    Args:
        field: the learned field.
        truth: the exact field under the same process.
        levels: number of times, evenly spaced in log SNR.
        n: number of particles x_t at each time, noised draws of the truth.
        seed: of the draws.
        weighting: w; by default that of the noise loss.
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
            _decomposed(field, truth, x0, t, weighting, normals_like(x0, seed, Stream.PROBE, i))
            for i, t in enumerate(times)
        ]
    return LossReport(times, *torch.tensor(rows, dtype=torch.float64).unbind(1))


def _decomposed(
    field: LearnedField, truth: ExactField, x0: Tensor, t: Tensor, weighting: Weighting,
    eps: Tensor,
) -> tuple[float, float, float]:  # fmt: skip
    """The irreducible part, the excess and its standard error at one time."""
    n, d = x0.shape
    c = field.process(t)
    x = field.process.perturb(x0, t, eps)
    w, snr = float(weighting(c)), float((c.alpha / c.sigma) ** 2)
    known = truth.posterior(x, c.along(x))
    off = ((field.noise(x, t) - known.noise) ** 2).mean(1).double()
    irreducible = w * snr * known.data_variance.double().mean() / d
    return float(irreducible), float(w * off.mean()), float(w * off.std() / math.sqrt(n))
