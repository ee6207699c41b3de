r"""Observables of matter in motion, each with its statistical error.

A number from n particles is an `Estimate`: a mean, and the standard error of that mean. What can
be known without particles stands beside it: an integral, a formula, a sum over a density.

Passage. A particle may cross a boundary inside a step and come back before the step ends. Looked
at the ends alone, first passages come late by O(sqrt(dt)). Between two states at distances s and
s' on one side of a plane the path is a Brownian bridge, and it has touched the plane with the
probability exp(-2 s s' / (g^2 dt)), whatever a constant drift is; drawing that event leaves an
error of O(dt) (Gobet 2000).

Heat and work. Along a path in a driven potential the first law holds term by term,

    dU = (dU/d lambda) d lambda + (dU/dx) o dx = work + heat,

with both products taken at the middle (Stratonovich), here as means over the two ends of a step.
So the state must be kept at every step. The heat that goes to the bath, over T, is the entropy
that flows there: for any additive noise int (f / D) o dx. At rest it is what the motion produces,
int J^2 / (D p) dx, the same number from a density. Boltzmann's constant is 1.

Source: Sekimoto 2010; Seifert 2012.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow._validation import check_int, check_positive
from sdeflow.analysis.estimate import Estimate
from sdeflow.density import ROUND_OFF, Density
from sdeflow.fokker_planck.current import probability_current
from sdeflow.sdes.potentials import Potential, Protocol, scalar
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.path import Path

# --------------------------------------------------------------------------------------- two times


def two_time_covariance(path: Path, t: float, s: float) -> Estimate:
    """Cov(x_t, x_s) of the particles of a path, (d, d): row by x_t, column by x_s.

    Raises:
        ValueError: no state was kept at t or s, or there are fewer than two particles.
    """
    at, then = (_state(path, time) for time in (t, s))
    at, then = at - at.mean(0), then - then.mean(0)
    n = check_int(len(at), "the number of particles", 2)
    return Estimate.of(at[:, :, None] * then[:, None, :] * (n / (n - 1)))


def _state(path: Path, t: float) -> Tensor:
    gap, k = (path.t - t).abs().min(0)
    if gap > 1e-9 * path.t.abs().max():
        raise ValueError(f"no state was kept at {t:g}; name it in the solver's save=")
    return path.x[int(k)].double()


# -------------------------------------------------------------------------------- entropy and work


def _diffusivity(sde: SDE, x: Tensor, t: Tensor) -> Tensor:
    """D = g^2 / 2 of additive noise, (d,)."""
    g = x.new_zeros(()) if sde.diffusion is None else torch.as_tensor(sde.diffusion(x, t)).to(x)
    if g.ndim > 1 or not (g > 0).all():
        raise ValueError(
            "entropy needs noise on every axis that does not depend on the state: g () or (d,), "
            "and positive"
        )
    return (g**2 / 2).expand(x.shape[1])


def entropy_flow(sde: SDE, path: Path) -> Estimate:
    r"""Entropy given to the bath per unit of time, (1 / t) int (f / D) o dx, over the particles.

    Each step takes f as the mean over its two ends; states that were not kept are missed.

    Raises:
        ValueError: noise that depends on the state or is zero on an axis.

    Source: Seifert 2005; Seifert 2012.
    """
    sign = 1.0 if path.t[-1] > path.t[0] else -1.0
    total = torch.zeros(path.x.shape[1], dtype=torch.float64)
    times = path.t.to(path.x)
    with torch.no_grad():
        before = sde.drift(path.x[0], times[0])
        for k in range(len(times) - 1):
            after = sde.drift(path.x[k + 1], times[k + 1])
            size = _diffusivity(sde, path.x[k], (times[k] + times[k + 1]) / 2)
            moved = path.x[k + 1] - path.x[k]
            total += sign * ((before + after) / (2 * size) * moved).sum(1).double()
            before = after
    return Estimate.of(total / float((path.t[-1] - path.t[0]).abs()))


def entropy_production(sde: SDE, density: Density, t: float) -> float:
    r"""int J^2 / (D p) dx: entropy made per unit of time, of the motion and the bath together.

    Zero where there is detailed balance. Cells that hold nothing but rounding are left out.

    Raises:
        ValueError: noise that depends on the state or is zero on an axis.

    Source: Seifert 2005; Seifert 2012.
    """
    when = torch.tensor(float(t), dtype=torch.float64)
    size = _diffusivity(sde, density.grid.centres(), when)
    p = density.mass / density.grid.volume
    held = density.mass > ROUND_OFF * density.total()
    velocity = probability_current(sde, density, t)[held] / p[held][:, None]
    return float((density.mass[held][:, None] * velocity**2 / size).sum())


def work(path: Path, potential: Potential, protocol: Protocol) -> Tensor:
    """int (dU / d lambda) d lambda: the work done on each particle, (n,) in float64.

    Args:
        path: with every step kept.
        potential, protocol: U(x, control) and t -> control, as given to `langevin`.

    Source: Jarzynski 1997; Sekimoto 2010, chapter 4.
    """
    return _along(path, potential, protocol, driven=True)


def heat(path: Path, potential: Potential, protocol: Protocol) -> Tensor:
    """int (dU / dx) o dx: the heat that each particle takes from the bath, (n,) in float64.

    Work and heat add up to the change of U, to rounding. Arguments as in `work`.

    Source: Sekimoto 2010, chapter 4.
    """
    return _along(path, potential, protocol, driven=False)


def _along(path: Path, potential: Potential, protocol: Protocol, driven: bool) -> Tensor:
    total = torch.zeros(path.x.shape[1], dtype=torch.float64)
    for k in range(len(path.t) - 1):
        x, y = path.x[k].double(), path.x[k + 1].double()
        now, then = protocol(path.t[k]), protocol(path.t[k + 1])
        total += scalar(potential, y, then) - scalar(potential, x, now)
        turned = scalar(potential, x, then) - scalar(potential, y, now)
        total += turned if driven else -turned
    return total / 2


def free_energy_difference(work: Tensor, temperature: float = 1.0) -> Estimate:
    """-T ln <e^{-W / T}>, from the work (n,) of runs that started at rest; error to first order.

    The mean is carried by rare small W: where std(W) is many T, the error is not to be trusted.

    Raises:
        TypeError, ValueError: temperature is not positive.

    Source: Jarzynski 1997, eq. 2.
    """
    kt = check_positive(temperature, "temperature")
    lowest = work.min()
    mean = Estimate.of(torch.exp(-(work - lowest) / kt))
    return Estimate(lowest - kt * mean.value.log(), kt * mean.error / mean.value)
