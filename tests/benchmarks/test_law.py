"""The error in law of the solvers' benchmark: what is wrong is told from what is right."""

import math
import re
from itertools import pairwise

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

import sdeflow as sf
from benchmarks.solvers import law, ours, total_variation
from benchmarks.solvers.contender import Contender, grids
from benchmarks.solvers.law import EXACT, Interval
from benchmarks.solvers.problems import PROCESS, problem
from benchmarks.solvers.rows import Job

CONTENDERS = {one.name: one for one in ours.NOISY}
JOB = Job("law", "eight modes", 10, "multistep, eta 1", "own")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(law, "PARTICLES", 2000)
    monkeypatch.setattr(law, "SEEDS", 5)


def by_hand(factor: float, seed: int = 5) -> Contender:
    """Multistep sampling with eta 1, step by step, its noise times a factor."""

    def solve(sde: sf.SDE, x: Tensor, times: Tensor, _: int) -> Tensor:
        normal = torch.Generator().manual_seed(seed)
        stepped = sde.stepped(times, x)
        for k in range(len(times) - 1):
            z = torch.randn(x.shape, generator=normal, dtype=x.dtype)
            x = x + stepped.drift(k, 0.0, x) + factor * stepped.diffusion(k, 0.0, x) * z
        return x

    def sde(p, field, calls: int) -> sf.SDE:
        return sf.multistep(field, 1.0, spread=p.spread)

    return Contender(JOB.solver, sde, solve, 1, ("own",))


def interval(one: Contender | None, name: str = "gaussian", kind: str = "sliced W2") -> Interval:
    found = law.measure(JOB._replace(problem=name), one)[kind]
    assert isinstance(found, list)
    return Interval.of(found)


def test_a_wrong_noise_is_told_from_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the size of a full run; steps are exact on Gaussian data, so nothing else is wrong."""
    monkeypatch.setattr(law, "SEEDS", 10)
    monkeypatch.setattr(law, "PARTICLES", 10_000)
    monkeypatch.setattr(law, "DISTANCES", {"sliced W2": law.DISTANCES["sliced W2"]})
    right, engine = interval(by_hand(1.0)), interval(CONTENDERS["multistep, eta 1"])
    floor = interval(None)
    for one in (engine, floor):
        assert right.low <= one.high
        assert one.low <= right.high
    assert interval(by_hand(0.97)).low > max(right.high, floor.high)
    assert interval(by_hand(0.0)).low > 10 * right.high


def test_exact_data_tie_with_the_floor_in_every_distance() -> None:
    exact = Contender(
        "copy", lambda p, f, k: sf.reverse(f),
        lambda sde, x, times, seed: law.exact("eight modes", len(x), 2), 1, ("Karras",),
    )  # fmt: skip
    job = JOB._replace(solver="copy", grid="Karras")
    found, floor = law.measure(job, exact), law.measure(job, None)
    for kind in law.DISTANCES:
        one, other = (Interval.of(row[kind]) for row in (found, floor))
        assert one.low <= other.high
        assert other.low <= one.high
    assert found["counted"] == 0


def test_blocks_are_seeds_of_their_own() -> None:
    """A row has one number per seed, no two alike, and the calls of a particle."""
    row = law.measure(JOB, CONTENDERS[JOB.solver])
    for kind in law.DISTANCES:
        assert len(row[kind]) == law.SEEDS
    assert len(set(row["sliced W2"])) == law.SEEDS
    assert row[law.WHOLE] < min(row["sliced W2"])
    assert row["counted"] == JOB.calls


def test_a_solver_that_fails_leaves_a_gap_with_its_reason() -> None:
    def broken(sde, x: Tensor, times: Tensor, seed: int) -> Tensor:
        raise ValueError("no such method")

    one = by_hand(1.0)
    row = law.measure(JOB, Contender("x", one.sde, broken, 1, ("own",)))
    assert row["gap"] == "ValueError: no such method"
    row = law.measure(JOB, Contender("x", one.sde, lambda s, x, t, i: x / 0, 1, ("own",)))
    assert "not finite" in str(row["gap"])


def test_jobs_are_named_once_and_take_the_laws_that_are_known() -> None:
    names = [job for job, _ in law.jobs(quick=False)]
    assert len(set(names)) == len(names)
    assert not any("network" in job.problem for job in names)
    assert {job for job, _ in law.jobs(quick=True)} < set(names)


def row(solver: str, values: list[float], grid: str = "own") -> law.Row:
    job = Job("law", "moons", 10, solver, grid)
    about = {"ours": solver.startswith("multistep"), "noisy": solver != EXACT}
    return {**job._asdict(), **about, "sliced W2": values, law.WHOLE: 0.5}


def test_the_summary_takes_the_best_peer_and_compares_intervals() -> None:
    mine = next(one.name for one in law.NOISY if one.ours)
    floor = {**row(EXACT, [0.99, 1.01] * 5), "calls": 0}
    peers = [row("DDPM", [1.4, 1.6] * 5, "Karras"), row("DDPM", [1.3, 1.5] * 5, "angle 2")]
    (line,) = law.summary([floor, *peers, row(mine, [1.4, 1.6] * 5)])
    assert line["best peer"] == "DDPM, angle 2"
    assert str(line["floor"]).startswith("1.0000 (0.99")
    assert line["at least a tie"]
    assert not line["at the floor"]
    assert str(line["difference"]) == "0.1000 (0.1000 to 0.1000)"
    (line,) = law.summary([floor, *peers, row(mine, [1.8, 1.81] * 5)])
    assert not line["at least a tie"]
    (line,) = law.summary([floor, *peers, row(mine, [0.9, 1.1] * 5)])
    assert line["at the floor"]


# -------------------------------------------------------------------------------- total variation


def test_the_density_of_ddpm_is_that_of_its_particles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pearson's statistic of 40,000 particles on blocks of cells: DDPM's density passes, the
    exact one does not.
    """
    monkeypatch.setattr(total_variation, "CELLS", {"two modes": 96})
    p, n = problem("two modes"), 40_000
    times = grids(p)["angle 2"](10)
    y = ours.euler(sf.ancestral(p.field), p.start(n, 3), times, 1)
    scaled = sf.fokker_planck.sampler_density(
        sf.ancestral(p.field), total_variation.start("two modes", 96), times,
        rescaling=total_variation.RESCALING, refuse=total_variation.LIMITS,
    )[-1]  # fmt: skip
    counts = sf.Density.from_samples(scaled.grid, y).coarsen(4).mass * n

    def p_value(q: sf.Density) -> float:
        meant = n * q.coarsen(4).mass
        big = meant > 10
        gaps = torch.cat([(counts - meant)[big], (counts - meant)[~big].sum()[None]])
        sizes = torch.cat([meant[big], n - meant[big].sum()[None]])
        return float(chi2.sf(float((gaps**2 / sizes).sum()), len(gaps) - 1))

    assert p_value(scaled) > 1e-3
    exact = p.data.on_grid(scaled.grid, 1.0, PROCESS.t_min)
    assert p_value(exact) < 1e-30
    found = total_variation.measure(
        Job("total variation", "two modes", 10, "DDPM", "angle 2"), total_variation.CHAINS["DDPM"]
    )
    assert found["total variation"] == pytest.approx(scaled.total_variation(exact), rel=1e-3)


def test_total_variation_has_the_closed_form_on_gaussian_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every step of DDPM is linear there: from level a to b, x -> (1 + b^2) / (1 + a^2) x + noise
    of variance b^2 (1 - b^2 / a^2).
    """
    monkeypatch.setattr(total_variation, "CELLS", {"gaussian": 192})
    levels = grids(problem("gaussian"))["Karras"](10).tolist()
    variance = 1 + levels[0] ** 2
    for a, b in pairwise(levels):
        variance *= ((1 + b**2) / (1 + a**2)) ** 2
        variance += b**2 * (1 - (b / a) ** 2)
    share = variance / (1 + levels[-1] ** 2)
    crossing = 2 * math.log(1 / share) / (1 / share - 1)  # r^2 where the two densities are equal
    meant = abs(math.exp(-crossing / 2 / share) - math.exp(-crossing / 2))
    job = Job("total variation", "gaussian", 10, "DDPM", "Karras")
    found = total_variation.measure(job, total_variation.CHAINS["DDPM"])
    assert found["total variation"] == pytest.approx(meant, abs=2e-4)
    assert found["solid"]


def test_what_has_memory_or_leaves_the_grid_is_a_gap_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(total_variation, "CELLS", {"gaussian": 96})
    for solver, grid, words in (
        ("multistep, eta 0.5", "Karras", "remembers earlier"),
        ("Euler-Maruyama", "angle 2", "boundary|walls|edge"),
    ):
        row = total_variation.measure(
            Job("total variation", "gaussian", 10, solver, grid), total_variation.CHAINS[solver]
        )
        assert "total variation" not in row
        assert re.search(words, str(row["gap"]))
    rows = [row, {**row, "solver": "DDPM", "total variation": 0.2, "error": 0.01}]
    (line,) = total_variation.summary(rows)
    assert line["Euler-Maruyama"] == "gap"
    assert line["DDPM"] == "0.2000 +- 0.0100, angle 2"
