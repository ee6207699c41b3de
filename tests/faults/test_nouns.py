"""Nouns from arguments that are valid or nearly so, and what is done with them.

The outcome is a result that is finite and obeys a cheap law, or a refusal in one sentence of the
package; never an error of an operation inside, a NaN without a word, or a hang.
"""

import contextlib
import math
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

import sdeflow as sf
from tests.faults import nouns
from tests.refusals import faults, unprintable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
LONGEST = 60  # seconds of one case
MANY, FEW = 2000, 1000
Tally = Callable[[str, Counter[str]], None]
Draw = Callable[[st.SearchStrategy], Any]


class RefusalError(Exception):
    """A call was refused as it should be; the case ends."""


def tried(call: Callable[[], Any]) -> Any:
    """What a call gives; an error must be a refusal, which ends the case."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            value = call()
        except Exception as error:
            if isinstance(error, RefusalError | TimeoutError):
                raise
            fault = faults(error)
            assert not fault, fault
            raise RefusalError(str(error)) from None
    for each in told:
        raw = "encountered in" in str(each.message) or "division by" in str(each.message)
        assert not raw, f"raw warning: {each.message} at {each.filename}:{each.lineno}"
    assert not unprintable(value)
    return value


def finite(*values: Any) -> None:
    """Every number is finite."""
    for value in values:
        x = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        assert bool(torch.isfinite(x).all()), f"not finite: {x.flatten()[:6].tolist()}"


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """An error after a minute."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"a hang over {LONGEST} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def drive(case: Callable[[Draw], None], cases: int) -> Counter[str]:
    """Count the cases that end well, and those that are refused."""
    count = Counter[str]()

    @settings(
        max_examples=cases, phases=[Phase.generate, Phase.shrink], deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def each(data: st.DataObject) -> None:
        count["cases"] += 1
        with limited():
            try:
                case(data.draw)
            except RefusalError:
                count["refused"] += 1
            else:
                count["done"] += 1

    each()
    return count


# ------------------------------------------------------------------------------------- the cases


def process(draw: Draw) -> None:
    """Coefficients are finite, noise level and time are inverse, time grids run down."""
    p = tried(draw(nouns.processes()))
    span = p.t_max - p.t_min
    u = draw(nouns.rarely(st.floats(0.0, 1.0)))
    t = p.t_min + span * u if isinstance(u, float) else u
    c = tried(lambda: p(t))
    finite(c.alpha, c.sigma, c.alpha_dot, c.sigma_dot, c.noise_rate)
    assert float(c.alpha.min()) >= 0
    assert float(c.sigma.min()) >= 0
    rho = tried(lambda: p.noise_level(t))
    if 1e-6 < float(rho) < 1e6:
        back = tried(lambda: p.noise_level(p.time_of(rho)))
        assert math.isclose(float(back), float(rho), rel_tol=1e-5), (float(rho), float(back))
    x = draw(nouns.clouds(2))
    if float(c.sigma) < 1e-2 * torch.finfo(x.dtype).max:
        finite(tried(lambda: p.perturb(x, t, torch.ones_like(x))))
    finite(tried(lambda: p.prior(3, 2, draw(nouns.seeds()))))
    steps, power = draw(nouns.count(20)), draw(nouns.size(0.5, 9.0))
    grid = draw(st.sampled_from([
        lambda: sf.processes.log_snr_times(p, steps),
        lambda: sf.processes.karras_times(p, steps, power),
        lambda: sf.processes.angle_times(p, steps, power, 2.0),
        lambda: sf.processes.uniform_times(p.t_max, p.t_min, steps),
    ]))  # fmt: skip
    times = tried(grid)
    finite(times)
    assert bool((times.diff() < 0).all())
    assert (float(times[0]), float(times[-1])) == (p.t_max, p.t_min)


def distribution(draw: Draw) -> None:
    """Samples, moments, log densities and posterior means are finite; cells hold at most one."""
    d = draw(st.integers(1, 3))
    made = tried(draw(nouns.distributions(d)))
    x = draw(nouns.clouds(made.dim))
    if x.dtype == torch.float16 and float(made.mean().abs().max() + made.std()) > 1e3:
        x = x.float()  # the type cannot hold the points
    sample = tried(lambda: made.sample(5, draw(nouns.seeds())))
    finite(sample, made.mean(), made.std())
    assert torch.equal(sample[:2], tried(lambda: made.sample(5, 3))[:2]) or len(sample) == 5
    a, b = tried(lambda: made.sample(7, 3)), tried(lambda: made.sample(3, 3))
    assert torch.equal(a[:3], b)
    alpha, sigma = draw(nouns.size(1e-3, 1.0)), draw(nouns.size(1e-3, 30.0))
    log_p = tried(lambda: made.log_prob(x, alpha, sigma))
    assert not bool(torch.isnan(log_p).any())
    assert not bool((log_p == math.inf).any())
    posterior = tried(lambda: made.posterior(x, torch.tensor(alpha), torch.tensor(sigma)))
    if not narrow(x):
        finite(posterior.data)
    if made.dim <= 2:
        density = tried(lambda: made.on_grid(draw(nouns.grids(made.dim, 30))(), missing=1.0))
        finite(density.mass)
        assert -1e-12 <= density.total() <= 1 + 1e-9


def field(draw: Draw) -> None:
    """Data, noise, score and velocity are finite, also far away."""
    d = draw(st.integers(1, 3))
    made = tried(draw(nouns.fields(d)))
    p, x = made.process, draw(nouns.clouds(made.dim or d))
    u = draw(nouns.rarely(st.floats(0.0, 1.0)))
    t = p.t_min + (p.t_max - p.t_min) * u if isinstance(u, float) else u
    for name in ("data", "noise", "score", "velocity"):
        value = tried(lambda name=name: getattr(made, name)(x, t))
        assert value.shape == x.shape
        assert value.dtype == x.dtype
        finite(value)


def narrow(x: Tensor) -> bool:
    """Whether the type of x may not hold x / alpha; a step of a run does not check that."""
    return x.dtype == torch.float16 or float(x.abs().max()) > 1e6


def density(draw: Draw) -> None:
    """Masses are kept by coarser cells and by units; distances are those of probabilities."""
    d = draw(st.integers(1, 2))
    p = tried(draw(nouns.densities(d)))
    finite(p.mass, p.total())
    if p.total() > 0:
        q = tried(p.normalised)
        assert math.isclose(q.total(), 1.0, rel_tol=1e-9)
        finite(q.mean(), q.covariance(), q.entropy())
        assert abs(q.total_variation(q)) < 1e-12
        assert abs(tried(lambda: q.kl(q))) < 1e-9
        sample = tried(lambda: q.sample(6, draw(nouns.seeds())))
        finite(sample)
        assert q.grid.count(sample)[1] == 0
    scaled = tried(lambda: p.scaled(draw(nouns.size(1e-3, 1e3))))
    assert math.isclose(scaled.total(), p.total(), rel_tol=1e-9, abs_tol=1e-300)
    other = draw(nouns.densities(d)) if draw(st.integers(0, 5)) == 3 else lambda: p
    tv = tried(lambda: p.total_variation(tried(other)))
    assert -1e-12 <= tv <= 1 + 1e-9
    factor = draw(nouns.count(4))
    coarse = tried(lambda: p.coarsen(factor))
    assert math.isclose(coarse.total(), p.total(), rel_tol=1e-9, abs_tol=1e-300)


def run(draw: Draw) -> None:
    """A path is finite, and its first particles are the run of these alone."""
    d = draw(st.integers(1, 3))
    sde = tried(draw(nouns.sdes(d)))
    solver = tried(draw(nouns.solvers(sde.diffusion is not None)))
    x = draw(nouns.clouds(draw(st.sampled_from([d, d, d, d, d + 1])) if d < 3 else d))
    save = draw(st.sampled_from([2, 3, 1, None]))
    path = tried(lambda: solver.solve(sde, x, save or 2))
    finite(path.x, path.t)
    assert path.x.shape[1:] == x.shape
    alone = not (isinstance(solver, sf.ODESolver) and solver.steps is None)
    if alone and len(x) > 1 and getattr(solver, "seed", 0) is not None:
        fewer = tried(lambda: solver.solve(sde, x[:-1], save or 2))
        assert torch.equal(fewer.x, path.x[:, :-1]), "other bits for fewer particles"
    if path.x.shape[0] > 1 and d == 1:
        finite(tried(lambda: sf.diagnostics.energy_distance(path.x[-1], path.x[-1])))


def evolution(draw: Draw) -> None:
    """Mass is kept and not negative."""
    sde = tried(draw(nouns.sdes(1)))
    start = tried(draw(st.one_of(nouns.wide(), nouns.wide(), nouns.densities(1))))
    ends = sorted([sde.t_start, sde.t_end], reverse=sde.t_start > sde.t_end)
    spans = [[sde.t_start, sde.t_end]] * 5 + [ends, [0.0, 0.1], [0.5]]
    times, estimate = draw(st.sampled_from(spans)), draw(st.booleans())
    found = tried(lambda: sf.evolve(sde, start, times, steps=60, estimate=estimate))
    for p in found:
        finite(p.mass)
        assert float(p.mass.min()) >= 0
        assert p.total() <= 1 + 1e-6
    finite(found[-1].total())


def distance(draw: Draw) -> None:
    """p-values lie in [0, 1], distances are finite and not negative."""
    d = draw(st.integers(1, 3))
    x, y = draw(nouns.clouds(d, 200)), draw(nouns.clouds(d, 200))
    if draw(st.integers(0, 5)) != 3:
        n = min(len(x), len(y))
        x, y = x[:n], y[:n].to(x)
    name = draw(st.sampled_from(["wasserstein", "energy_distance", "sliced_wasserstein"]))
    value = tried(lambda: getattr(sf.diagnostics, name)(x, y))
    finite(value)
    assert value >= -1e-9
    if d < 3:
        p = tried(draw(nouns.densities(d)))
        bins = draw(nouns.count(16))
        verdict = tried(lambda: sf.check_density(x, p, bins=bins))
        assert 0 <= verdict.p_value <= 1


CASES: dict[str, tuple[Callable[[Draw], None], int]] = {
    "processes": (process, MANY),
    "distributions": (distribution, MANY),
    "fields": (field, MANY),
    "densities": (density, MANY),
    "runs": (run, MANY),
    "evolutions": (evolution, FEW),
    "distances": (distance, FEW),
}


@pytest.mark.parametrize("name", CASES)
def test_any_noun_gives_a_finite_result_or_a_sentence(name: str, tally: Tally) -> None:
    case, cases = CASES[name]
    tally(f"drawn {name}", drive(case, cases))
