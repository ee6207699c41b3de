r"""Where the error comes from: one total variation, split into its causes.

Between the law of the data and a cloud stand laws that differ in one thing each:

    data  --truncation-->  p at the last time  --field-->  density under the learned drift
          --prior-->  the same, from the prior  --step-->  law of the sampler  --sampler-->  cloud

    truncation   the run stops before t = 0 (left out for bare points, which have no density)
    field        the drift is learned: `evolve` under it, from the exact law at the first time
    prior        the run starts from N(0, sigma^2 I)
    step         the sampler takes finite steps: `sampler_law` against `evolve`
    sampler      the cloud against the sampler's own law: if that is rejected, there is a bug
    sampling     what a perfect cloud of this size shows: the floor of that distance

All but the last two are distances of densities on one grid, without sampling noise, so a cause is
seen whatever another one does. The last two are what a verdict (see `check`) says of the cloud:
its distance from the sampler's law, the floor taken off, and the floor. Total variation obeys the
triangle inequality, so all the parts together are no less than the distance of the cloud from the
data's law, up to a fluctuation of the floor: a cloud is counted in each density's own bins.

Source: the triangle inequality, docs/theory.md, (9.4); Chen et al. 2023 ("Sampling is as easy as
learning the score"), theorem 2, for a bound in three of its parts: prior, step, field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from sdeflow._validation import check_times
from sdeflow.density import Density, Grid
from sdeflow.diagnostics.goodness_of_fit import check_density
from sdeflow.diagnostics.verdict import Verdict
from sdeflow.distributions.mixture import prior_density
from sdeflow.fields.exact import ExactField
from sdeflow.fokker_planck.density_path import REFUSE, Diagnostics
from sdeflow.fokker_planck.evolve import evolve
from sdeflow.fokker_planck.rescaling import Rescaling, fitted_rescaling
from sdeflow.fokker_planck.sampler import sampler_density
from sdeflow.sdes.generative import FieldSDE

CAUSES = ("truncation", "field", "prior", "step", "sampler", "sampling")


@dataclass(frozen=True)
class ErrorSource:
    """One cause of error, as a total variation with an interval.

    Attributes:
        name: one of `CAUSES`.
        value: total variation between the two laws that differ in this cause alone; for the cloud
            what is above the floor, which is `sampling`.
        low, high: the interval: the grid's own error for two densities, 95 % for the cloud.
        seen: whether a cloud of this size would show it.
    """

    name: str
    value: float
    low: float
    high: float
    seen: bool


@dataclass(frozen=True, eq=False)
class ErrorBudget:
    """The error of a cloud, split into its causes.

    Attributes:
        parts: from the data to the cloud.
        total: the cloud against the exact law at its last time.
        own: the cloud against the sampler's own law.
        detectable: the total variation that a cloud of this size would just show.
        laws: the densities between the parts: exact, learned, from the prior, of the sampler.
    """

    parts: tuple[ErrorSource, ...]
    total: Verdict
    own: Verdict
    detectable: float
    laws: dict[str, Density]

    def __getitem__(self, name: str) -> ErrorSource:
        """One part by its name."""
        return next(part for part in self.parts if part.name == name)

    @property
    def causes(self) -> tuple[str, ...]:
        """What a cloud of this size shows to be wrong; none, if it is as good as exact draws."""
        return tuple(part.name for part in self.parts if part.seen)

    def __str__(self) -> str:
        """A short table."""
        rows = [
            f"{p.name:<12}{p.value:>11.2e}   [{p.low:.1e}, {p.high:.1e}]{'  seen' * p.seen}"
            for p in self.parts
        ]
        return "\n".join(
            [
                f"{'cause':<12}{'TV':>11}   interval",
                *rows,
                f"{'total':<12}{self.total.distance:>11.2e}   "
                f"{self.total.n} particles would show {self.detectable:.1e}",
            ]
        )


def error_budget(
    x: Tensor,
    sde: FieldSDE,
    times: Tensor,
    truth: ExactField,
    grid: Grid,
    *,
    rescaling: Rescaling | None = None,
    steps: int = 200,
    seed: int = 0,
    refuse: Diagnostics = REFUSE,
) -> ErrorBudget:
    r"""Split the error of a cloud that a sampler brought from the prior to the last of `times`.

    TV(data, cloud) <= truncation + field + prior + step + sampler + sampling floor.

    Args:
        x: (n, d) the cloud at times[-1].
        sde: the law that the sampler steps with Euler's method: `reverse` or `bridge` of a field.
        times: (K + 1,) the sampler's own, from the first to the last.
        truth: the exact field of the data, of the same process.
        grid: for the law at the last time, and large enough for it.
        ruler: lets the grid breathe; by default so that its half-width is five times s(t), on a
            clock uniform in log SNR.
        steps: of `evolve`.
        seed: of the verdicts.
        refuse: as in `evolve`.

    Raises:
        TypeError, ValueError: at the door, in one sentence; SdeflowError: as `evolve`.
    """
    process = truth.process
    if not isinstance(sde, FieldSDE) or sde.field.process != process:
        raise ValueError(
            "the law must be reverse(field) or bridge(field), of the process of the exact field"
        )
    if (sde.t_start, sde.t_end) != (process.t_max, process.t_min):
        raise ValueError("the law runs on another clock than its process; give reverse(field)")
    times = check_times(times, process.t_min, process.t_max)
    first, last = float(times[0]), float(times[-1])
    rescaling = fitted_rescaling(grid, process, last) if rescaling is None else rescaling
    exact = truth.density(grid, last)
    wide = grid.scaled(rescaling(first) / rescaling(last))
    start = truth.density(wide, first)
    prior = prior_density(wide, process, first)
    law, ends = _remembering(sde), times[[0, -1]]
    learned, ours = (
        evolve(law, p, ends, steps=steps, rescaling=rescaling, refuse=refuse)[-1]
        for p in (start, prior)
    )
    own = sampler_density(sde, prior, times, rescaling=rescaling, refuse=refuse)[-1]
    total, bug = (check_density(x, p, seed=seed) for p in (exact, own))
    seen = _detectable(total)
    contrast = learned.total_variation(ours)
    parts = (
        *_truncation(truth, exact, seen),
        _between("field", exact, learned, seen),
        # Both carry the same error of the grid; a Markov semigroup brings laws only closer.
        _part("prior", contrast, (learned.error or 0.0) * contrast, seen),
        _between("step", ours, own, seen),
        *_cloud(bug),
    )
    laws = {"exact": exact, "learned": learned, "prior": ours, "sampler": own}
    return ErrorBudget(parts, total, bug, seen, laws)


def _remembering(sde: FieldSDE) -> FieldSDE:
    """The same law; a drift that was asked for on a grid is not worked out again."""
    known: dict[tuple[float, int], Tensor] = {}

    def drift(x: Tensor, t: Tensor) -> Tensor:
        key = float(t), len(x)
        if key not in known:
            known[key] = sde.drift(x, t)
        return known[key]

    return replace(sde, drift=drift)


def _detectable(verdict: Verdict) -> float:
    """TV <= sqrt(chi-square divergence) / 2, and the divergence is seen at 2.5 sqrt(2 df) / n."""
    return math.sqrt(2.5 * math.sqrt(2 * (verdict.bins - 1)) / verdict.n) / 2


def _truncation(truth: ExactField, exact: Density, seen: float) -> tuple[ErrorSource, ...]:
    """Bare points have no density to be near to: any cloud with noise left is all beside them."""
    if not truth.distribution.has_density:
        return ()
    return (_between("truncation", truth.density(exact.grid, None), exact, seen),)


def _between(name: str, p: Density, q: Density, seen: float) -> ErrorSource:
    return _part(name, p.total_variation(q), (p.error or 0.0) + (q.error or 0.0), seen)


def _part(name: str, value: float, error: float, seen: float) -> ErrorSource:
    low = max(0.0, value - error)
    return ErrorSource(name, value, low, min(1.0, value + error), low > seen)


def _cloud(verdict: Verdict) -> tuple[ErrorSource, ErrorSource]:
    """Above the floor, sure to lie below sqrt(chi-square divergence) / 2; and the floor."""
    mean, sd = verdict.floor
    above = max(0.0, verdict.distance - mean)
    high = min(1.0, max(above, math.sqrt(verdict.bound) / 2))
    return (
        ErrorSource("sampler", above, max(0.0, above - 1.96 * sd), high, not verdict.passed()),
        ErrorSource("sampling", mean, mean - 2 * sd, mean + 2 * sd, False),
    )
