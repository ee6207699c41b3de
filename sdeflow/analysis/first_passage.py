r"""Simulate when particles first reach a target, and compute their escape rate.

A particle may cross a boundary and come back within one step. First passages that are taken from
the ends of the steps alone are late by O(sqrt(dt)). Between two states at distances s and s' on
one side of a plane the path is a Brownian bridge, which touches the plane with probability

    exp(-2 s s' / (g^2 dt))

for any constant drift. `first_passage` draws this event, which leaves an error of O(dt) (Gobet
2000), for each of several bounds, which may move. In one dimension `escape_times` computes mean
times without particles.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sdeflow._validation import SdeflowError, check_cloud, check_kind
from sdeflow.analysis.bounds import Bounds, Distance
from sdeflow.analysis.coupling import depends_on_other_rows
from sdeflow.analysis.estimate import Estimate
from sdeflow.random_streams import Stream, random_generator, seed_of
from sdeflow.sdes.requirements import check_markov
from sdeflow.sdes.sde import SDE, time_tensor
from sdeflow.solvers.path import Path
from sdeflow.solvers.sde_solver import SDESolver

STEPS_HELD = 64  # steps solved at once, whose clouds are all held in memory
TINY = torch.finfo(torch.float64).tiny
FEW, CROWDED = 20, 0.3  # more than this share of the arrivals in one step gives a warning
KEPT = 0.75  # arrived particles are taken out where at most this share has not arrived


@dataclass(frozen=True, eq=False)
class Passage:
    """The first-passage time of each particle, and the bound through which it arrived.

    All rows lie on the CPU, as the times of a `Path` do.

    Attributes:
        time: (n,) from the start to the arrival, or to the end of the run without arrival.
        arrived: (n,) bool.
        bound: (n,) whole numbers, the place of the bound among the distances; -1 for those that
            did not arrive. By default all have arrived through bound 0.
        bounds: how many bounds there were.
    """

    time: Tensor
    arrived: Tensor
    bound: Tensor | None = None
    bounds: int = 1

    def __repr__(self) -> str:
        count = len(self.time) - self.censored
        through = f" through {self.bounds} bounds" if self.bounds > 1 else ""
        return f"first passage of {len(self.time)} particles: {count} arrived{through}"

    @property
    def censored(self) -> int:
        """How many particles had not arrived at the end of the run."""
        return int((~self.arrived).sum())

    def mean(self) -> Estimate:
        """The mean first-passage time.

        Raises:
            SdeflowError: a particle did not arrive, so the mean is not known.
        """
        if self.censored:
            raise SdeflowError(
                f"{self.censored} of {len(self.time)} particles had not arrived after "
                f"{float(self.time.max()):.4g}, so their mean time is not known; give the SDE a "
                "later t_end, or ask for rate()"
            )
        return Estimate.of(self.time)

    def probabilities(self) -> Estimate:
        """The probability (m,) to arrive through each bound before the end of the time span.

        Those that did not arrive count as particles of neither; the error of a share p of n is
        sqrt(p (1 - p) / n).
        """
        bound = torch.where(self.arrived, 0, -1) if self.bound is None else self.bound
        share = torch.stack([(bound == j).double().mean() for j in range(self.bounds)])
        return Estimate(share, (share * (1 - share) / len(bound)).sqrt())

    def rate(self) -> Estimate:
        """The escape rate, for escapes that happen at a constant rate.

            rate = arrivals / (sum of all times),    relative error 1 / sqrt(arrivals)

        is the maximum-likelihood estimate for exponential times, of which some are censored.

        Raises:
            SdeflowError: no particle arrived.
        """
        count = self.arrived.sum().double()
        if not count:
            raise SdeflowError("no particle arrived, so there is no rate; give a later t_end")
        rate = count / self.time.sum()
        return Estimate(rate, rate / count.sqrt())


def first_passage(
    sde: SDE, x: Tensor, distance: Distance | Sequence[Distance], solver: SDESolver
) -> Passage:
    """The times at which particles from x (n, d) first reach a target, where distance(x) <= 0.

        P(a step from s to s' > 0 has crossed) = exp(-2 s s' / (|g grad s|^2 dt))

    is exact for a flat boundary that rests or moves at constant speed and a constant drift; else
    the times have an error of O(dt). A passage counts at the middle of its step; of two bounds
    crossed in one step the one that was nearer counts, in units of the noise. The run stops when
    all have arrived; memory is O(n). Particles that have arrived are no longer moved, unless the
    motion of others depends on them.

    Args:
        sde: with noise.
        x: the cloud at the start.
        distance: s, (n, d) -> (n,), the signed distance to the boundary, differentiable; or any
            smooth function that is positive outside and zero on the boundary. For a boundary that
            moves, a function of (x, t), t () in float64; for several, a sequence of functions.
        solver: its steps cover the whole time span of the SDE.

    Raises:
        ValueError: the SDE has no noise, distance is a truth value, or it is negative at the start
            of all particles.

    Warns:
        RuntimeWarning: many arrivals fall into one step.

    Source: Gobet 2000.
    """
    bounds = Bounds.of(distance)
    _check(sde, solver)
    times = sde.check_times(sde.times(solver.steps) if solver.times is None else solver.times)
    middle = ((times[1:] + times[:-1]) / 2 - times[0]).abs()
    x = check_cloud(x).clone()
    seed = seed_of(x[0]) if solver.seed is None else solver.seed
    distances = bounds.values(x, float(times[0])).cpu()
    _check_start(distances)
    bound = _first(distances <= 0)
    arrived = bound >= 0
    time = (times[-1] - times[0]).abs().expand(len(x)).masked_fill(arrived, 0.0)
    moved, coupled = torch.arange(len(x)), False
    first, held = 0, STEPS_HELD
    while first < len(middle) and not arrived.all():
        away = ~arrived[moved]
        if not coupled and away.sum() <= (KEPT if held == STEPS_HELD else 1) * (len(away) - 1):
            coupled = _coupled(sde, bounds, x, away, times[first])
            if not coupled:
                x, moved, away = x[away], moved[away], away[away]
        part = times[first : first + held + 1]
        try:
            path = replace(solver, times=part, seed=seed).solve(sde, x, save=len(part))
        except SdeflowError:
            if held == 1:
                raise
            held //= 4  # a particle that diverged may have arrived before, and is then taken out
            continue
        through = _crossed(sde, path, bounds, seed, first)
        crossed = (through >= 0) & away
        now, step = crossed.any(0), crossed.int().argmax(0)
        time[moved[now]] = middle[first + step[now]]
        bound[moved[now]] = through.gather(0, step[None])[0][now]
        arrived[moved[now]] = True
        x, first = path.x[-1], first + len(part) - 1
    _check_resolved(time[arrived & (time > 0)], middle)
    return Passage(time, arrived, bound, len(bounds.distances))


def _check_start(distances: Tensor) -> None:
    """Check that not all particles start beyond one bound, at distances (m, n)."""
    beyond = (distances < 0).all(1)
    if beyond.any():
        raise ValueError(
            f"all particles start beyond bound {int(beyond.int().argmax())}, where distance is "
            "negative, so that all times are 0; it is positive before the bound: change its sign, "
            "or the start"
        )


def _check_resolved(times: Tensor, middle: Tensor) -> None:
    """Warn if the steps are too long to tell the times of arrivals apart."""
    if len(times) < FEW:
        return
    share = float(torch.unique(times, return_counts=True)[1].max()) / len(times)
    if share > CROWDED:
        warnings.warn(
            f"{share:.0%} of the arrivals fall into one of {len(middle)} steps, whose middle is "
            "taken for their time; take more steps",
            RuntimeWarning,
            stacklevel=3,
        )


def _check(sde: SDE, solver: SDESolver) -> None:
    check_markov(check_kind(sde, SDE, "sde"), "a first passage")
    check_kind(solver, SDESolver, "solver")
    if sde.diffusion is None:
        raise ValueError(
            "this SDE has no noise, so the time is not random; use ODESolver(event=distance)"
        )


def _first(reached: Tensor, far: Tensor | None = None) -> Tensor:
    """Which of the bounds that were reached (m, n) is nearest, or comes first; -1: none. (n,)."""
    if far is None:
        nearest = reached.int().argmax(0)
    else:
        nearest = torch.where(reached, far, torch.inf).argmin(0)
    return torch.where(reached.any(0), nearest, -1)


def _coupled(sde: SDE, bounds: Bounds, x: Tensor, away: Tensor, t: Tensor) -> bool:
    """Whether the motion of the rows `away` of x (n, d) depends on the other rows."""
    when = time_tensor(float(t), x)

    def noise(y: Tensor) -> Tensor:
        assert sde.diffusion is not None
        g = torch.as_tensor(sde.diffusion(y.clone(), when))
        return g.expand(y.shape if sde.noises is None else (*y.shape, sde.noises)).flatten(1)

    def distances(y: Tensor) -> Tensor:
        return bounds.values(y, float(t)).T

    functions = (lambda y: sde.drift(y.clone(), when), noise, distances)
    return any(depends_on_other_rows(function, x, away) for function in functions)


def _crossed(sde: SDE, path: Path, bounds: Bounds, seed: int, first: int) -> Tensor:
    """The bound that each particle crosses in each step of the path, (T - 1, n); -1: none."""
    assert sde.diffusion is not None
    out = torch.empty(len(path.t) - 1, path.x.shape[1], dtype=torch.int64)
    times = path.t.tolist()
    for k, (x, y) in enumerate(zip(path.x[:-1], path.x[1:], strict=True)):
        g = sde.diffusion(x.clone(), time_tensor(times[k], x))
        rows = []
        for slope in bounds.slopes(x, times[k]):
            row = g * slope if sde.noises is None else (g * slope[:, :, None]).sum(1)
            # In float64: the square of a float32 may be zero.
            rows.append((row.double() ** 2).sum(1) * abs(times[k + 1] - times[k]))
        variance = torch.stack(rows).clamp_min(TINY)
        s, after = bounds.values(x, times[k]).double(), bounds.values(y, times[k + 1]).double()
        chance = torch.exp(-2 * s * after / variance)
        u = torch.from_numpy(random_generator(seed, Stream.CROSSING, first + k).random(s.shape))
        out[k] = _first((after <= 0).cpu() | (u < chance.cpu()), (s / variance.sqrt()).cpu())
    return out
