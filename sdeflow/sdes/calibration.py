r"""Fit the steps of a multistep sampler to one field, to lower its error at the same cost.

A pilot cloud of a few particles follows the probability flow in many small steps to x*_1, ...,
x*_K. Then the fitted steps move the pilot, and the change c of the weights of step k solves

    min_c  sum_n q_n |x*_{n, k+1} - y_n - M_n c|^2 / (n d) + 1e-6 |c|^2.

y is the step of order 2 from the state that the fitted steps have reached; the columns of M are
F_k, F_{k-1}, ..., x_k, x_{k-1} (see `plan`), scaled to RMS 1; q_n = 1 / (1 + r_n^2 / 9 median r^2)
with r = |x*_{k+1} - y|. Each fit is one small linear system. It is done for several time grids.
The best fit on the pilot, the default recipe and the safe recipe are then compared on particles
that were not used in the fit, since a fit has a smaller error on its own particles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_seed
from sdeflow.fields.field import Field, Pairs
from sdeflow.fields.prediction import mixing, unit_row
from sdeflow.processes.process import Process
from sdeflow.processes.time_grids import angle_times, karras_times, log_snr_times
from sdeflow.sdes.generative import check_one_label
from sdeflow.sdes.multistep import MultistepSDE, Spread, multistep
from sdeflow.sdes.plan import DEFAULT, SAFE, SAFEST, FittedPlan, FittedTimes, Plan, recipe

TEACHER = 96
"""Steps in which the pilot follows the flow."""

FRESH = 128
"""Particles in each of the two clouds that are not used in the fit."""

DEPTH = 4
"""Number of values of F that a fitted step combines."""

ANGLES = (
    *((1.0, power) for power in (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)),
    *((factor, power) for factor in (0.6, 1.7) for power in (2.0, 3.0)),
)
"""Factor on `Spread.widest` and power of each of the `angle_times` that are tried."""


def calibrate(
    field: Field,
    steps: int,
    pilot: int | Tensor = 128,
    seed: int = 0,
    spread: Spread | None = None,
) -> MultistepSDE:
    """The probability flow in K multistep steps that are fitted to this field.

    The best fitted plan, the default recipe and the safe recipe are compared on 128 fresh
    particles, and the best of them is taken. Its error is measured on 128 others and stands in
    `.fitted` and in the repr. Calibration pays for a field that is sampled often in at most 20
    calls, and for a guided field. It costs pilot (96 + 14 K) + 256 (96 + 3 K) evaluations.

    Args:
        field: the field to be sampled; with a label, the same one for all particles.
        steps: K, the calls of the sampler.
        pilot: number of particles of the pilot cloud, or their starting points (n, d).
        seed: of the pilot; seed + 1 and seed + 2 are those of the fresh particles.
        spread: of the data, as in `multistep`.

    Raises:
        TypeError, ValueError: field is not a `Field`, has one label for each particle, or has no
            known dimension and pilot is a number; or a number is out of range.
    """
    sde, seed = multistep(field, spread=spread), check_seed(seed)
    check_one_label(field)
    if field.pairs is Pairs.SOURCED:
        raise ValueError(
            "the steps are fitted to particles that start from Gaussian noise, but the flow of "
            "this field starts from another source; use multistep(field)"
        )
    steps, start = check_int(steps, "steps", 2), _start(field, pilot, seed)
    flow = _Flow(sde, start)
    plans = list(_candidates(flow, steps))
    finalists = [*plans[:2], min(plans[2:], key=lambda plan: plan.error)]
    trial, fresh = (
        _Flow(sde, _start(field, FRESH, seed + k, start.shape[1])).errors(finalists)
        for k in (1, 2)
    )
    best = min(finalists, key=lambda plan: trial[plan.name])
    cost = len(start) * (TEACHER + steps * len(plans)) + 2 * FRESH * (TEACHER + 3 * steps)
    fitted = FittedPlan(
        best.times, best.plan, best.name, fresh, {plan.name: plan.error for plan in plans}, cost,
        start[:8], answers(field, start[:8]),
    )  # fmt: skip
    return _on(sde, fitted)


def with_plan(sde: MultistepSDE, fitted: FittedPlan) -> MultistepSDE:
    """The same sampler with steps that an earlier `calibrate` has fitted to its field.

    Raises:
        ValueError: the steps were fitted to another field, another guidance or another span, or
            the field has one label for each particle.
    """
    check_one_label(sde.field)
    _on(sde, fitted)
    if fitted.points.shape[1] != (sde.field.dim or fitted.points.shape[1]):
        raise ValueError(
            "these steps were fitted to a field of another dimension; calibrate again"
        )
    now = answers(sde.field, fitted.points)
    if not torch.allclose(now, fitted.answers, rtol=1e-3, atol=1e-3 * float(now.std())):
        raise ValueError(
            "these steps were fitted to another field, or to another strength of guidance; "
            "calibrate again"
        )
    return _on(sde, fitted)


def _on(sde: MultistepSDE, fitted: FittedPlan) -> MultistepSDE:
    if sde.eta:
        raise ValueError(
            f"these steps were fitted to the probability flow, which has no noise; use them with "
            f"eta = 0, got {sde.eta:g}"
        )
    return replace(sde, fitted=fitted, time_grid=FittedTimes(sde.t_start, sde.t_end, fitted))


def answers(field: Field, points: Tensor) -> Tensor:
    """eps_hat at the points (n, d) and two times, by which a field is recognised, (2, n, d)."""
    p = field.process
    times = p.time_of(p.noise_level(torch.tensor([p.t_max, p.t_min])).prod().sqrt()), p.t_max
    return torch.stack([field.noise(points, float(t)) for t in times]).detach()


def _start(field: Field, pilot: int | Tensor, seed: int, dim: int | None = None) -> Tensor:
    dim = field.dim or dim
    if isinstance(pilot, Tensor):
        return check_cloud(pilot, "pilot", field.dim).double()
    if dim is None:
        raise ValueError(
            "the dimension of this field is not known; give pilot= as a cloud (n, d), such as "
            "field.process.prior(128, d, seed)"
        )
    return field.process.prior(check_int(pilot, "pilot", 16), dim, seed, torch.float64)


class _Candidate(NamedTuple):
    error: float
    name: str
    times: Tensor
    plan: Plan


def _candidates(flow: _Flow, steps: int) -> Iterator[_Candidate]:
    """The default recipe first, then the safe one for guided fields, then the fitted plans."""
    sde, process = flow.sde, flow.sde.field.process
    widest = sde.spread.widest
    for name, one in ((DEFAULT, recipe(steps, finest=sde.spread.finest)), (SAFE, SAFEST)):
        power, order, corrector, widen = one
        times = angle_times(process, steps, widen * widest, power)
        plan = replace(sde, order=order, corrector=corrector).plan(times)
        yield _Candidate(flow.distance(flow.walk(times, plan)[-1]), name, times, plan)
    for name, times in _grids(process, steps, widest):
        plan, end = _fit(flow, times)
        yield _Candidate(flow.distance(end), f"fitted, {name}", times, plan)


def _grids(process: Process, steps: int, widest: float) -> list[tuple[str, Tensor]]:
    angles = [
        (f"angle, width {factor:g}, power {power:g}",
         angle_times(process, steps, factor * widest, power))
        for factor, power in ANGLES
    ]  # fmt: skip
    return [
        *angles,
        ("Karras", karras_times(process, steps)),
        ("log SNR", log_snr_times(process, steps)),
    ]


class _Flow:
    """A pilot cloud and its path along the flow in many small steps.

    States are those of centred data: x - alpha mean.

    Attributes:
        start, end: (n, d) the first and the last state.
    """

    def __init__(self, sde: MultistepSDE, start: Tensor) -> None:
        self.sde = sde
        times = angle_times(sde.field.process, TEACHER, sde.spread.widest, 2.0)
        c = sde.field.process(times)
        mean = sde.spread.mean
        self.mean = start.new_zeros(start.shape[1]) if mean is None else mean.to(start)
        self.start = start - c.alpha[0] * self.mean
        self.path = self.walk(times, replace(sde, order=4, corrector=4).plan(times))
        self.end = self.path[-1]
        self._level, self._alpha = torch.log(c.sigma / c.alpha), c.alpha

    def units(self, times: Tensor) -> Callable[[int, Tensor], Tensor]:
        """(k, x) -> F (n, d) at the k-th time, for centred data."""
        field, process = self.sde.field, self.sde.field.process
        c = process(times[:-1])
        row = unit_row(c, self.sde.spread.std)
        unit = row[0] + 0 * c.alpha
        u, v = (w + 0 * c.alpha for w in mixing(field.row(c), c, row))
        table = field.table(times[:-1], c, self.start)

        def evaluate(k: int, x: Tensor) -> Tensor:
            at = x + c.alpha[k] * self.mean
            return u[k] * at + v[k] * table(k)(at) - unit[k] * self.mean

        return evaluate

    def rounding(self, t: Tensor, x: Tensor) -> float:
        """The rounding error of F = u x + v field(x) in float32."""
        field, c = self.sde.field, self.sde.field.process(t)
        u, _ = mixing(field.row(c), c, unit_row(c, self.sde.spread.std))
        return torch.finfo(torch.float32).eps * abs(float(u)) * float(x.square().mean().sqrt())

    def walk(self, times: Tensor, plan: Plan) -> list[Tensor]:
        """The states of the pilot under a plan."""
        units, memory, states = self.units(times), list[Tensor](), [self.start]
        with torch.no_grad():
            for k in range(len(times) - 1):
                memory = [units(k, states[-1]), *memory][: plan.units.shape[1]]
                states.append(_step(plan, k, memory, states))
        return states

    def state(self, t: Tensor) -> Tensor:
        """The path at t (), by Lagrange's formula in ln rho through the 6 nearest states."""
        c = self.sde.field.process(t)
        x, level = float(torch.log(c.sigma / c.alpha)), self._level.tolist()
        first = min(max(sum(v > x for v in level) - 3, 0), len(level) - 6)
        near = range(first, first + 6)
        parts = (
            math.prod((x - level[b]) / (level[a] - level[b]) for b in near if b != a)
            * self.path[a] / self._alpha[a]
            for a in near
        )  # fmt: skip
        return c.alpha * sum(parts, torch.zeros_like(self.start))

    def errors(self, plans: list[_Candidate]) -> dict[str, float]:
        """The distance of each plan, by name."""
        return {one.name: self.distance(self.walk(one.times, one.plan)[-1]) for one in plans}

    def distance(self, end: Tensor) -> float:
        """RMS distance per coordinate to the flow's end, without the worst 1 % of particles."""
        square = (end - self.end).square().mean(1).sort().values
        error = float(square[: max(1, int(0.99 * len(square)))].mean().sqrt())
        return error if math.isfinite(error) else math.inf


def _step(plan: Plan, k: int, memory: list[Tensor], states: list[Tensor]) -> Tensor:
    out = float(plan.state[k]) * states[-1]
    if k:
        out = out + float(plan.before[k]) * states[-2]
    for weight, unit in zip(plan.units[k].tolist(), memory):  # noqa: B905
        out = out + weight * unit
    return out


def _fit(flow: _Flow, times: Tensor) -> tuple[Plan, Tensor]:
    """The plan on these times by least squares, and the pilot's state at its end."""
    prior = replace(flow.sde, order=2, corrector=0).plan(times)
    steps = len(times) - 1
    plan = Plan(
        prior.state.copy(),
        np.zeros(steps),
        np.pad(prior.units, ((0, 0), (0, DEPTH - 2))),
        np.zeros(steps),
    )
    units, memory, states = flow.units(times), list[Tensor](), [flow.start]
    with torch.no_grad():
        for k in range(steps):
            memory = [units(k, states[-1]), *memory][:DEPTH]
            goal = flow.end if k == steps - 1 else flow.state(times[k + 1])
            rest = goal - _step(plan, k, memory, states)
            columns = torch.stack([*memory, *states[:-3:-1]], 2)
            rounding = [flow.rounding(times[j], states[j]) for j in range(k, k - len(memory), -1)]
            change = _least_squares(columns, rest, rounding).cpu().numpy()
            plan.units[k, : len(memory)] += change[: len(memory)]
            plan.state[k] += change[len(memory)]
            plan.before[k] += change[len(memory) + 1] if k else 0.0
            states.append(_step(plan, k, memory, states))
    return plan, states[-1]


def _least_squares(columns: Tensor, rest: Tensor, rounding: list[float]) -> Tensor:
    """c (C,) of the module's formula, for M (n, d, C) and rest = x* - y (n, d)."""
    square = rest.square().sum(1)
    trust = 1 / (1 + square / (9 * square.median() + 1e-14))
    scale = columns.square().mean((0, 1)).sqrt() + 1e-12
    columns = columns / scale
    normal = torch.einsum("nic,nie,n->ce", columns, columns, trust) / rest.numel()
    right = torch.einsum("nic,ni,n->c", columns, rest, trust) / rest.numel()
    # The error that the rounding of F in float32 would add: without this term, plans that are
    # fitted in float64 take differences of F that float32 cannot hold.
    noise = torch.zeros(len(right)).to(normal)
    noise[: len(rounding)] = torch.tensor(rounding).to(normal)
    normal += torch.diag((noise / scale) ** 2)
    return torch.linalg.solve(normal + 1e-6 * torch.eye(len(right)).to(normal), right) / scale
