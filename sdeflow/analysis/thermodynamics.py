r"""Compute entropy, work, heat and two-time covariances along a path.

In a driven potential U(x, lambda) the first law of thermodynamics holds along each path,

    dU = (dU / d lambda) d lambda + (dU / dx) o dx = work + heat,

with Stratonovich products. They are means over the two ends of a step, so every step of the path
must be saved. For additive noise with diffusivity D = g^2 / 2 the entropy given to the bath is
int (f / D) o dx. In a stationary state its rate equals the entropy production int J^2 / (D p) dx,
which `entropy_production` computes from a density. Boltzmann's constant is 1.

Source: Sekimoto 2010; Seifert 2012.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow._validation import check_finite, check_int, check_kind, check_numbers, check_positive
from sdeflow.analysis.estimate import Estimate
from sdeflow.density import ROUND_OFF, Density
from sdeflow.fokker_planck.current import probability_current
from sdeflow.sdes.potentials import Potential, Protocol, scalar
from sdeflow.sdes.sde import SDE, check_function, check_sde
from sdeflow.sdes.walls import Box
from sdeflow.solvers.path import Path, check_path

# --------------------------------------------------------------------------------------- two times


def two_time_covariance(path: Path, t: float, s: float) -> Estimate:
    """The covariance of a path's states at two times, (d, d): rows for x_t, columns for x_s.

        Cov(x_t, x_s) = E (x_t - E x_t) (x_s - E x_s)^T

    Raises:
        ValueError: the path has no state at t or s.
    """
    check_path(path)
    x, y = (_state(path, check_finite(v, name)) for v, name in ((t, "t"), (s, "s")))
    x, y = x - x.mean(0), y - y.mean(0)
    n = check_int(len(x), "the number of particles", 2)
    return Estimate.of(x[:, :, None] * y[:, None, :] * (n / (n - 1)))


def _state(path: Path, t: float) -> Tensor:
    gap, k = (path.t - t).abs().min(0)
    if gap > 1e-9 * path.t.abs().max():
        raise ValueError(f"the path has no state at t = {t:g}; ask for it in the solver's save=")
    return path.x[int(k)].double()


# -------------------------------------------------------------------------------- entropy and work


def _diffusivity(sde: SDE, x: Tensor, t: Tensor) -> Tensor:
    """D = g^2 / 2 of additive noise, (d,)."""
    g = (
        x.new_zeros(())
        if sde.diffusion is None
        else torch.as_tensor(sde.diffusion(x.clone(), t)).to(x)
    )
    if g.ndim > 1 or not (g > 0).all():
        raise ValueError(
            "entropy needs positive noise on every axis that does not depend on the state; give a "
            "diffusion of shape () or (d,)"
        )
    return (g**2 / 2).expand(x.shape[1])


def entropy_flow(sde: SDE, path: Path) -> Estimate:
    r"""The mean entropy that a particle gives to the bath per unit of time.

        (1 / T) int_0^T (f / D) o dx,    D = g^2 / 2

    Every step of the path must be saved; f is the mean over the two ends of each step.

    Raises:
        ValueError: the noise depends on the state or is zero on an axis.

    Source: Seifert 2005; Seifert 2012.
    """
    check_sde(sde).check_times(check_path(path).t, "path.t")
    path.check_every_step("the entropy flow")
    if path.absorbed is not None:
        raise ValueError("the entropy flow is that of particles that go on, and a wall absorbs")
    total = torch.zeros(path.x.shape[1], dtype=torch.float64, device=path.x.device)
    times = path.t.to(path.x.device)  # in float64, whatever the type of the cloud
    with torch.no_grad():
        before = sde.drift(path.x[0].clone(), times[0])  # one that writes into its x has a copy
        for k in range(len(times) - 1):
            after = sde.drift(path.x[k + 1].clone(), times[k + 1])
            diffusivity = _diffusivity(sde, path.x[k], (times[k] + times[k + 1]) / 2)
            moved = _shortest(path.x[k + 1] - path.x[k], sde.walls)
            rate = (before + after) / (2 * diffusivity)
            total += sde.direction * (rate * moved).sum(1).double()
            before = after
    return Estimate.of(total / float((path.t[-1] - path.t[0]).abs()))


def _shortest(moved: Tensor, walls: Box | None) -> Tensor:
    """The displacements (n, d); around a ring the short way."""
    if walls is None or "periodic" not in walls.kinds():
        return moved
    columns = []
    for each, axis in zip(moved.unbind(1), walls.axes(moved.shape[1]), strict=True):
        length = axis.high - axis.low if axis.at_low == "periodic" else torch.inf
        columns.append(each - length * (each / length).round() if length < torch.inf else each)
    return torch.stack(columns, 1)


def entropy_production(sde: SDE, density: Density, t: float) -> float:
    r"""The entropy that particles and bath together produce per unit of time.

        int J^2 / (D p) dx,    J the probability current, D = g^2 / 2

    It is zero under detailed balance. Cells with no mass but rounding errors are left out.

    Raises:
        ValueError: the noise depends on the state or is zero on an axis.

    Source: Seifert 2005; Seifert 2012.
    """
    when = torch.tensor(check_finite(t, "t"), dtype=torch.float64)
    check_kind(density, Density, "density")
    current = probability_current(sde, density, t)
    diffusivity = _diffusivity(check_sde(sde), density.grid.centres(), when)
    p = density.mass / density.grid.volume
    held = density.mass > ROUND_OFF * density.total()
    velocity = current[held] / p[held][:, None]
    return float((density.mass[held][:, None] * velocity**2 / diffusivity).sum())


def work(path: Path, potential: Potential, protocol: Protocol) -> Tensor:
    """The work done on each particle by a driven potential, (n,) in float64.

        W = int (dU / d lambda) d lambda

    Args:
        path: with every step saved.
        potential, protocol: U(x, lambda) and t -> lambda, as given to `langevin`.

    Source: Jarzynski 1997; Sekimoto 2010, chapter 4.
    """
    return _along(path, potential, protocol, driven=True)


def heat(path: Path, potential: Potential, protocol: Protocol) -> Tensor:
    """The heat that each particle takes from the bath, (n,) in float64.

        Q = int (dU / dx) o dx,    W + Q = U(end) - U(start) up to rounding

    Args:
        path, potential, protocol: as in `work`.

    Source: Sekimoto 2010, chapter 4.
    """
    return _along(path, potential, protocol, driven=False)


def _along(path: Path, potential: Potential, protocol: Protocol, driven: bool) -> Tensor:
    check_path(path).check_every_step("the work" if driven else "the heat")
    check_function(protocol, "protocol", "t")
    check_function(potential, "potential", "x", "control")
    total = torch.zeros(path.x.shape[1], dtype=torch.float64, device=path.x.device)
    for k in range(len(path.t) - 1):
        x, y = path.x[k].double(), path.x[k + 1].double()
        first, last = protocol(path.t[k]), protocol(path.t[k + 1])
        total += scalar(potential, y, last) - scalar(potential, x, first)
        crossed = scalar(potential, x, last) - scalar(potential, y, first)
        total += crossed if driven else -crossed
    return total / 2


def free_energy_difference(work: Tensor, temperature: float = 1.0) -> Estimate:
    """The free energy difference of two equilibrium states, by Jarzynski's equality.

        Delta F = -T ln <e^{-W / T}>

    Rare small W dominate the mean: where std(W) is many T, the stated error is too small.

    Args:
        work: W (n,), n >= 2, of runs that started in equilibrium.
        temperature: T.

    Source: Jarzynski 1997, eq. 2.
    """
    kt = check_positive(temperature, "temperature")
    work = check_numbers(work, "work")
    if work.ndim != 1 or len(work) < 2:
        raise ValueError(f"work must be a row of at least two numbers, got {tuple(work.shape)}")
    lowest = work.min()
    mean = Estimate.of(torch.exp(-(work - lowest) / kt))
    return Estimate(lowest - kt * mean.value.log(), kt * mean.error / mean.value)
