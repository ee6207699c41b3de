r"""Split the error of a cloud of samples into its causes, each a total variation.

A chain of densities leads from the data to the cloud. Neighbours in the chain differ by one cause:

    truncation   data                   noised data at the last time
    field        noised data            `evolve` with the learned field, from the exact start
    prior        the latter             the same from the start N(0, sigma^2 I)
    step         the latter             `sampler_density`, that of finite steps
    sampler      the latter             the cloud, beyond its sampling noise (only a bug)
    sampling     `sampler_density`      a perfect cloud of this size

The first four have no sampling noise. The sum is an upper bound of the distance between cloud and
data, by the triangle inequality. Points have no density, and then there is no truncation.

Source: docs/theory.md, (9.4); Chen et al. 2023, theorem 2, for a bound in prior, step and field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from sdeflow._validation import check_cloud, check_kind
from sdeflow._wording import markdown_table
from sdeflow.density import Density, Grid
from sdeflow.diagnostics.goodness_of_fit import check_density
from sdeflow.diagnostics.verdict import Verdict
from sdeflow.distributions.mixture import prior_density
from sdeflow.fields.exact import ExactField
from sdeflow.fokker_planck.arguments import check_refuse, check_rescaling
from sdeflow.fokker_planck.density_path import REFUSE, DensityPath, Diagnostics
from sdeflow.fokker_planck.evolve import evolve
from sdeflow.fokker_planck.field_table import FieldTable
from sdeflow.fokker_planck.rescaling import Rescaling, fitted_rescaling
from sdeflow.fokker_planck.sampler import sampler_density
from sdeflow.sdes.field_sde import FieldSDE

CAUSES = ("truncation", "field", "prior", "step", "sampler", "sampling")


@dataclass(frozen=True)
class ErrorSource:
    """One cause of the error of a cloud: a total variation and its interval.

        value = (1/2) int |p - q| dx

    Attributes:
        name: one of `CAUSES`.
        value: the total variation of two densities that differ by this cause alone. For
            `sampling` it is the sampling floor, for `sampler` the excess over it.
        low, high: the interval, by the grid's error for two densities, of 95 % for the cloud.
        detected: whether a cloud of this size shows this cause.
    """

    name: str
    value: float
    low: float
    high: float
    detected: bool

    def __repr__(self) -> str:
        return (
            f"error source {self.name}: total variation {self.value:.2e} in [{self.low:.1e}, "
            f"{self.high:.1e}], {'detected' if self.detected else 'not detected'}"
        )


@dataclass(frozen=True, eq=False)
class ErrorBudget:
    """The error of a cloud of samples, split into its causes; `str` gives a Markdown table.

        TV(data, cloud) <= sum of the sources

    Attributes:
        sources: the causes, in the order from the data to the cloud.
        total: the verdict on the cloud against the exact density at its last time.
        own: the verdict on the cloud against the sampler's own density.
        detectable: the smallest total variation that a cloud of this size shows.
        densities: at the last time, by name: "exact"; "learned", from the exact start; "prior",
            the same from the prior; "sampler"; and "data", where the data have a density.
    """

    sources: tuple[ErrorSource, ...]
    total: Verdict
    own: Verdict
    detectable: float
    densities: dict[str, Density]

    def __getitem__(self, name: str) -> ErrorSource:
        """The source of this name."""
        return next(source for source in self.sources if source.name == name)

    @property
    def causes(self) -> tuple[str, ...]:
        """The names of the detected sources; () for a cloud as good as exact draws."""
        return tuple(source.name for source in self.sources if source.detected)

    def __repr__(self) -> str:
        return (
            f"error budget of {self.total.n} particles: total variation "
            f"{self.total.distance:.2e}, detected: {', '.join(self.causes) or 'nothing'}"
        )

    def __str__(self) -> str:
        """A Markdown table of the sources."""
        rows = [
            (s.name, f"{s.value:.2e}", f"{s.low:.1e} to {s.high:.1e}", "yes" if s.detected else "")
            for s in self.sources
        ]
        rows.append(("total", f"{self.total.distance:.2e}", "", ""))
        table = markdown_table(("cause", "total variation", "interval", "detected"), rows)
        return f"{table}\n\n{self.total.n} particles show {self.detectable:.1e} or more."

    _repr_markdown_ = __str__


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
    r"""Split the error of a cloud that a sampler brought from the prior to the end of `times`.

        TV(data, cloud) <= truncation + field + prior + step + sampler + sampling

    Args:
        x: (n, d) the cloud at times[-1].
        sde: the SDE of the sampler, whose method is Euler's: `reverse` or `ancestral` of a field.
        times: (K + 1,) the steps of the sampler.
        truth: the exact field of the data, of the same process.
        grid: for the densities at the last time; it must hold them.
        rescaling: of the grid in time; by default its half-width is five times s(t), with steps
            uniform in log SNR.
        steps: of `evolve`.
        seed: of the verdicts.
        refuse: as in `evolve`.

    Raises:
        ValueError: sde is no `reverse` or `ancestral` of a field, or has another process.
        SdeflowError: a diagnostic of `evolve` is above `refuse`.

    Source: Chen et al. 2023, theorem 2, for a bound in prior, step and field.
    """
    check_kind(grid, Grid, "grid")
    check_cloud(x, dim=grid.dim)
    densities = intermediate_densities(
        sde, times, truth, grid, rescaling=rescaling, steps=steps, refuse=refuse
    )
    return split_error(x, densities, seed=seed)


def intermediate_densities(
    sde: FieldSDE,
    times: Tensor,
    truth: ExactField,
    grid: Grid,
    *,
    rescaling: Rescaling | None = None,
    steps: int = 200,
    refuse: Diagnostics = REFUSE,
    from_prior: DensityPath | None = None,
) -> dict[str, Density]:
    """The densities between data and cloud, as in `ErrorBudget.densities`.

    Args:
        from_prior: the result of `evolve` from the prior under this drift on this grid, between
            the ends of `times`, if it is known; the other density then takes the same steps.

    Other arguments and errors are those of `error_budget`.
    """
    _check_sde(sde, truth)
    check_kind(grid, Grid, "grid")
    check_refuse(refuse)
    check_rescaling(rescaling)
    process, times = truth.process, sde.check_times(times)
    first, last = float(times[0]), float(times[-1])
    rescaling = fitted_rescaling(grid, process, last) if rescaling is None else rescaling
    wide = grid.scaled(rescaling(first) / rescaling(last))
    exact, start = truth.density(grid, last), truth.density(wide, first)
    prior = prior_density(wide, process, first)
    ends = times[[0, -1]] if from_prior is None else _known(from_prior, times)
    cached = _cached(sde)
    starts = [start, prior] if from_prior is None else [start]
    learned, *again = (
        evolve(cached, p, ends, steps=steps, rescaling=rescaling, refuse=refuse)[-1]
        for p in starts
    )
    last_from_prior = again[0] if from_prior is None else from_prior[-1]
    sampler = sampler_density(sde, prior, times, rescaling=rescaling, refuse=refuse)[-1]
    # Points have no density that could be compared with that of a cloud.
    data = {"data": truth.density(grid, None)} if truth.distribution.has_density else {}
    return {
        **data,
        "exact": exact,
        "learned": learned,
        "prior": last_from_prior,
        "sampler": sampler,
    }


def split_error(x: Tensor, densities: dict[str, Density], *, seed: int = 0) -> ErrorBudget:
    """The error budget of a cloud x (n, d), from its `intermediate_densities`."""
    total, own = (check_density(x, densities[name], seed=seed) for name in ("exact", "sampler"))
    detectable = _detectable(total)
    learned, from_prior = densities["learned"], densities["prior"]
    contrast = learned.total_variation(from_prior)
    sources = [
        _between("field", densities["exact"], learned, detectable),
        # Both have the same error of the grid, and an SDE never increases their distance.
        _source("prior", contrast, (learned.error or 0.0) * contrast, detectable),
        _between("step", from_prior, densities["sampler"], detectable),
        *_of_the_cloud(own),
    ]
    if "data" in densities:
        truncation = _between("truncation", densities["data"], densities["exact"], detectable)
        sources.insert(0, truncation)
    return ErrorBudget(tuple(sources), total, own, detectable, densities)


def _check_sde(sde: FieldSDE, truth: ExactField) -> None:
    check_kind(truth, ExactField, "truth", "ExactField(process, distribution) of the data")
    process = truth.process
    if not isinstance(sde, FieldSDE) or sde.field.process != process:
        raise ValueError(
            "sde must be of a field with the process of the exact field; give reverse(field) or "
            "ancestral(field)"
        )
    if (sde.t_start, sde.t_end) != (process.t_max, process.t_min):
        raise ValueError("sde runs in another time than its process; give reverse(field)")


def _known(path: DensityPath, times: Tensor) -> Tensor:
    """The times of a known path, which runs from the first to the last of `times`."""
    check_kind(path, DensityPath, "from_prior")
    ends = path.t[[0, -1]]
    if not (ends - times[[0, -1]]).abs().max() <= 1e-9 * times.abs().max():
        raise ValueError(
            f"from_prior runs from {float(ends[0]):g} to {float(ends[1]):g}, and the sampler from "
            f"{float(times[0]):g} to {float(times[-1]):g}; evolve it between the same times"
        )
    return path.t


def _cached(sde: FieldSDE) -> FieldSDE:
    """The same SDE with a drift that keeps its values, since two runs use the same points.

    An SDE of a `FieldTable` stays as it is: it is as quick, and `evolve` estimates its error.
    """
    if isinstance(sde.field, FieldTable):
        return sde
    known: dict[tuple[float, int], Tensor] = {}

    def drift(x: Tensor, t: Tensor) -> Tensor:
        key = float(t), len(x)
        if key not in known:
            known[key] = sde.drift(x, t)
        return known[key]

    return replace(sde, drift=drift)


def _detectable(verdict: Verdict) -> float:
    """The smallest total variation that shows, by TV <= sqrt(chi-square divergence) / 2.

    A divergence of 2.5 sqrt(2 df) / n is 2.5 standard deviations of its estimate.
    """
    return math.sqrt(2.5 * math.sqrt(2 * (verdict.bins - 1)) / verdict.n) / 2


def _between(name: str, p: Density, q: Density, detectable: float) -> ErrorSource:
    error = (p.error or 0.0) + (q.error or 0.0)
    return _source(name, p.total_variation(q), error, detectable)


def _source(name: str, value: float, error: float, detectable: float) -> ErrorSource:
    low = max(0.0, value - error)
    return ErrorSource(name, value, low, min(1.0, value + error), low > detectable)


def _of_the_cloud(verdict: Verdict) -> tuple[ErrorSource, ErrorSource]:
    """The excess over the sampling floor, below sqrt(chi-square divergence) / 2, and the floor."""
    mean, sd = verdict.sampling_floor
    above = max(0.0, verdict.distance - mean)
    high = min(1.0, max(above, math.sqrt(verdict.bound) / 2))
    return (
        ErrorSource("sampler", above, max(0.0, above - 1.96 * sd), high, not verdict.passed()),
        ErrorSource("sampling", mean, mean - 2 * sd, mean + 2 * sd, False),
    )
