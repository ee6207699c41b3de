"""Walls: particles, densities and the Markov generator against series and closed forms."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from torch import Tensor

import sdeflow as sf
from sdeflow import SDE, Density, Grid, SDESolver, evolve
from sdeflow.analysis import survival
from sdeflow.fokker_planck import markov_generator
from sdeflow.sdes import Box
from sdeflow.solvers import walls
from tests.problems import close, f64

Cdf = Callable[..., np.ndarray]
N = 100_000


def moving(box: Box, drift: float = 0.0, noise: float = 1.0, end: float = 1.0) -> SDE:
    return SDE(
        lambda x, t: torch.full_like(x, drift), lambda x, t: x.new_tensor(noise), 0.0, end,
        walls=box,
    )  # fmt: skip


def at(place: float, n: int = N) -> Tensor:
    return torch.full((n, 1), place, dtype=torch.float64)


K = np.arange(1, 100)[:, None] * math.pi


def absorbed(x: np.ndarray, t: float, start: float = 0.3) -> np.ndarray:
    """P(X_t <= x, not absorbed), Brownian motion between absorbing walls at 0 and 1."""
    wave = np.sin(K * start) * (1 - np.cos(K * x))
    out: np.ndarray = (2 / K * wave * np.exp(-(K**2) * t / 2)).sum(0)
    return out


def reflected(x: np.ndarray, t: float, start: float = 0.3) -> np.ndarray:
    """P(X_t <= x), Brownian motion between reflecting walls at 0 and 1."""
    wave = np.cos(K * start) * np.sin(K * x)
    out: np.ndarray = x + (2 / K * wave * np.exp(-(K**2) * t / 2)).sum(0)
    return out


def sediment(x: np.ndarray, t: float, start: float = 1.5) -> np.ndarray:
    """P(X_t <= x) for dX = -dt + sqrt(2) dW above a reflecting wall at 0 (Harrison 1985)."""
    s = math.sqrt(2 * t)
    out: np.ndarray = ndtr((x - start + t) / s) - np.exp(-x) * ndtr((-x - start + t) / s)
    return out


def ring(x: np.ndarray, t: float, start: float = 3.0) -> np.ndarray:
    """P(-pi < X_t <= x): the wrapped Gaussian of Brownian motion on a ring."""
    turns, s = 2 * math.pi * np.arange(-9, 10)[:, None] - start, math.sqrt(t)
    out: np.ndarray = (ndtr((x + turns) / s) - ndtr((-math.pi + turns) / s)).sum(0)
    return out


def box_of_ou(x: np.ndarray, t: float, start: float = 0.5) -> np.ndarray:
    """P(X_t <= x) for dX = -X dt + dW above a reflecting wall at 0: the folded Gaussian."""
    mean, s = start * math.exp(-t), math.sqrt((1 - math.exp(-2 * t)) / 2)
    out: np.ndarray = ndtr((x - mean) / s) - ndtr((-x - mean) / s)
    return out


HALF = Box(0.0, math.inf)
CASES: dict[str, tuple[SDE, Cdf, float, tuple[float, float]]] = {
    "absorbed": (moving(Box(0.0, 1.0, "absorbing"), end=0.2), absorbed, 0.3, (0.0, 1.0)),
    "reflected": (moving(Box(0.0, 1.0), end=0.2), reflected, 0.3, (0.0, 1.0)),
    "sediment": (moving(HALF, -1.0, math.sqrt(2), 1.2), sediment, 1.5, (0.0, 10.0)),
    "ring": (moving(Box(-math.pi, math.pi, "periodic")), ring, 3.0, (-math.pi, math.pi)),
    "OU": (replace(moving(HALF), drift=lambda x, t: -x), box_of_ou, 0.5, (0.0, 4.0)),
}
EXACT = ["absorbed", "reflected", "sediment", "ring"]  # at any step, or nearly


@pytest.mark.parametrize("name", CASES)
def test_particles_between_walls_have_the_density_of_the_closed_form(name: str) -> None:
    """At ten steps: exact for one wall, and for two where a step hardly reaches both."""
    sde, cdf, start, (low, high) = CASES[name]
    path = SDESolver(steps=10 if name in EXACT else 100, seed=1).solve(sde, at(start))
    x = path.x[-1][~path.gone(1)]
    edges = np.linspace(low, high, 21)
    expected = N * np.diff(cdf(edges, sde.t_end))
    counts = np.histogram(x.numpy(), edges)[0]
    score = (counts - expected) / np.sqrt(expected * (1 - expected / N))
    held = expected > 20
    assert np.abs(score[held]).max() < 4
    assert abs((score[held] ** 2).mean() - 1) < 1
    alive = float(cdf(np.array([high]), sde.t_end)[0])
    assert abs(len(x) / N - alive) <= 3 * math.sqrt(alive * abs(1 - alive) / N) + 2 / N
    assert float(path.x.min()) >= low
    assert float(path.x.max()) <= high + 1e9 * (high == 10)


@pytest.mark.parametrize("name", CASES)
def test_densities_between_walls_are_those_of_the_closed_form_and_of_order_two(
    name: str,
) -> None:
    sde, cdf, start, (low, high) = CASES[name]
    begin, errors = 0.2 * sde.t_end, []
    for cells in (32, 64, 128):
        grid = Grid(low, high, (cells,))
        edges = grid.edges(0).numpy()
        first, last = (f64(np.diff(cdf(edges, t, start))) for t in (begin, sde.t_end))
        part = replace(sde, t_start=begin)
        start_density = Density(grid, first.clamp_min(0.0))
        path = evolve(part, start_density, [begin, sde.t_end], steps=4 * cells)
        errors.append(float((path[-1].mass - last).abs().sum()) / 2)
        assert errors[-1] < 3 * path.diagnostics.error
        assert path[-1].total() == pytest.approx(float(last.sum()), abs=3 * path.diagnostics.error)
    assert errors[-1] < 1e-4
    order = math.log2(errors[0] / errors[2]) / 2
    assert order > (3.8 if name in ("sediment", "ring") else 1.8)


@pytest.mark.parametrize("name", CASES)
def test_the_generator_and_evolve_agree_between_walls(name: str) -> None:
    sde, cdf, start, (low, high) = CASES[name]
    grid, begin = Grid(low, high, (64,)), 0.1 * sde.t_end
    first = Density(grid, f64(np.diff(cdf(grid.edges(0).numpy(), begin, start))).clamp_min(0.0))
    part = replace(sde, t_start=begin)
    stepped = evolve(part, first, [begin, sde.t_end], steps=400, estimate=False)[-1]
    jumped = markov_generator(part, grid).propagate(first, sde.t_end - begin)
    assert jumped.total_variation(stepped) < 1.5 * (jumped.error or 0.0) < 2e-3


def test_survival_of_particles_and_of_densities_is_that_of_the_series() -> None:
    sde, cdf, start, _ = CASES["absorbed"]
    times = [0.05, 0.1, 0.2]
    exact = f64([cdf(np.ones(1), t)[0] for t in times])
    run = SDESolver(steps=40, seed=2).solve(sde, at(start))
    assert (survival(run, times).standard_score(exact).abs() < 3).all()
    grid = Grid(0.0, 1.0, (128,))
    first = Density(grid, f64(np.diff(cdf(grid.edges(0).numpy(), 0.02))))
    path = evolve(replace(sde, t_start=0.02), first, [0.02, *times])
    found = survival(path, times)
    assert ((found.value - exact).abs() < 3 * found.error).all()
    assert float((found.value - exact).abs().max()) < 1e-4


def test_the_mean_lifetime_in_two_dimensions_is_that_of_particles() -> None:
    """Around a ring with a drift, between a reflecting and an absorbing wall: 1 - y^2."""
    box = Box([0.0, 0.0], [1.0, 1.0], ["periodic", ("reflecting", "absorbing")])
    drift = f64([3.0, 0.0])
    sde = replace(moving(box, end=9.0), drift=lambda x, t: drift.expand_as(x))
    grid = Grid((0.0, 0.0), (1.0, 1.0), (12, 32))
    tau = markov_generator(sde, grid).passage_time()
    assert close(tau, (1 - grid.middles(1) ** 2).expand(12, 32), atol=1e-3)
    run = SDESolver(steps=900, seed=3).solve(sde, f64([[0.5, 0.25]]).repeat(2000, 1))
    assert run.absorbed is not None
    assert (run.absorbed.wall == 3).all()
    mean = sf.analysis.Estimate.of(run.absorbed.time)
    assert abs(mean.standard_score(1 - 0.25**2)) < 3


def _weak_errors(steps: tuple[int, ...], n: int) -> np.ndarray:
    """Of E[x^2] at t = 1 of `OU`: that of the Gaussian which is folded."""
    sde, _, start, _ = CASES["OU"]
    exact = start**2 * math.exp(-2) + (1 - math.exp(-2)) / 2
    runs = [SDESolver(steps=k, seed=551).solve(sde, at(start, n)) for k in steps]
    return np.abs([float((run.x[-1] ** 2).mean()) - exact for run in runs])


def _order(steps: tuple[int, ...], errors: np.ndarray) -> float:
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


def test_reflection_is_of_weak_order_one_and_a_mere_projection_of_one_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = (4, 8, 16)
    assert _order(steps, _weak_errors(steps, 4 * N)) >= 0.9

    def projected(axis: walls.Axis, y: Tensor, z: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        return z.clamp(axis.low, axis.high), z > torch.inf, z > torch.inf

    monkeypatch.setattr(walls, "_along", projected)
    assert _order(steps, _weak_errors(steps, N)) < 0.6


def test_a_run_between_walls_is_the_run_of_its_first_particles_and_of_its_parts() -> None:
    box = Box([0.0, -1.0], [1.0, 1.0], [("reflecting", "absorbing"), "periodic"])
    sde = SDE(lambda x, t: torch.sin(x), lambda x, t: 1 + x**2 / 4, 0.0, 1.0, walls=box)
    x = torch.rand(5000, 2, generator=torch.Generator().manual_seed(0))
    solver = SDESolver(steps=16, seed=4)
    run, part = solver.solve(sde, x), solver.solve(sde, x[:700])
    assert run.absorbed is not None
    assert part.absorbed is not None
    assert 500 < int((run.absorbed.wall == 1).sum()) < 4500
    assert run.x[:, :700].equal(part.x)
    assert run.absorbed.wall[:700].equal(part.absorbed.wall)
    times = sde.times(16)
    half = replace(solver, times=times[:9]).solve(sde, x)
    rest = replace(solver, times=times[8:]).solve(sde, half)
    assert rest.absorbed is not None
    assert rest.x[-1].equal(run.x[-1])
    assert rest.absorbed.wall.equal(run.absorbed.wall)
    assert rest.absorbed.time.equal(run.absorbed.time)


@pytest.mark.parametrize("steps", [1, 4])
def test_two_reflecting_walls_keep_the_uniform_density_where_a_step_reaches_both(
    steps: int,
) -> None:
    x = torch.rand(20_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    end = SDESolver(steps=steps, seed=1).solve(moving(Box(0.0, 1.0)), x).x[-1]
    counts = torch.histc(end, 20, 0.0, 1.0)
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 19 + 6 * math.sqrt(38)
    assert not ((end == 0) | (end == 1)).any()


def test_a_push_of_a_reflecting_wall_onto_an_absorbing_one_is_absorbed() -> None:
    """By symmetry the survival from the middle between absorbing walls; one step is 0.69."""
    sde = moving(Box(0.0, 0.5, [("reflecting", "absorbing")]), end=0.25)
    run = SDESolver(steps=4, seed=1).solve(sde, at(0.0, 40_000))
    exact = absorbed(np.ones(1), 0.25, 0.5)[0]
    assert 1 - float(run.gone(-1).double().mean()) == pytest.approx(exact, abs=0.013)


def test_particles_absorbed_before_a_run_are_gone_at_its_start() -> None:
    sde = moving(Box(0.0, 1.0, "absorbing"), end=0.2)
    solver = SDESolver(steps=4, seed=1)
    first = solver.solve(sde, at(0.51, 500))
    again = solver.solve(sde, first)
    back = solver.solve(replace(sde, t_start=0.2, t_end=0.0, made_for=None), first)
    for run in (again, back):
        assert run.gone(0).equal(first.gone(-1))
        assert survival(run, run.t[0]).value == survival(first, 0.2).value


def test_a_path_whose_particles_were_absorbed_goes_on_between_absorbing_walls_only() -> None:
    sde = moving(Box(0.0, 1.0, "absorbing"), end=0.2)
    path = SDESolver(steps=4, seed=1).solve(sde, at(0.52, 500))
    free = replace(sde, walls=None)
    with pytest.raises(ValueError, match="no absorbing walls where"):
        SDESolver(steps=4).solve(free, path)
    with pytest.raises(ValueError, match="no absorbing walls where"):
        sf.ODESolver("rk4", steps=4).solve(replace(free, diffusion=None), path)
    for other in (Box(0.0, 1.5, "absorbing"), Box(0.0, 1.0, [("absorbing", "reflecting")])):
        with pytest.raises(ValueError, match="no absorbing walls where"):
            SDESolver(steps=4).solve(replace(sde, walls=other), path)
    wider = replace(sde, walls=Box([0.0], [1.0], "absorbing"), t_end=0.4, made_for=None)
    assert SDESolver(steps=4).solve(wider, path).gone(0).equal(path.gone(-1))


def test_stratonovich_noise_between_walls_is_refused_with_its_cure() -> None:
    sde = replace(moving(Box(0.0, 1.0)), diffusion=lambda x, t: x, calculus="stratonovich")
    with pytest.raises(ValueError, match="must be of the Ito calculus; add g g' / 2"):
        SDESolver(steps=4).solve(sde, at(0.5, 5))


def test_boxes_of_equal_walls_are_equal() -> None:
    assert Box(torch.zeros(2), [1, 1]) == Box([0, 0], torch.ones(2))
    assert len({Box(0, [1, 2]), Box([0, 0], [1.0, 2.0], "reflecting")}) == 1
    assert Box(0, 1) != Box(0, 1, "absorbing")


def test_the_error_of_a_single_step_of_a_density_is_estimated() -> None:
    grid = Grid(0.0, 1.0, (64,))
    start = Density(grid, torch.softmax(-50 * (grid.middles(0) - 0.4) ** 2, 0))
    sde = moving(Box(0.0, 1.0), drift=-2.0, end=0.3)
    exact = evolve(sde, start, [0.0, 0.3], estimate=False)[-1]
    with pytest.warns(RuntimeWarning, match="more steps"):
        one = evolve(sde, start, [0.0, 0.3], steps=1)
    assert one[-1].total_variation(exact) < 3 * one.diagnostics.error


def test_entropy_on_a_ring_is_produced_at_the_rate_force_squared_over_diffusivity() -> None:
    """dx = dt + dW on a ring: J = 1 / (2 pi), D = 1/2, so 1 / D = 2 per unit of time."""
    sde = moving(Box(-math.pi, math.pi, "periodic"), drift=1.0)
    rest = markov_generator(sde, Grid(-math.pi, math.pi, (32,)), estimate=False).stationary()
    assert sf.analysis.entropy_production(sde, rest, 0.0) == pytest.approx(2.0, rel=1e-9)
    path = SDESolver(steps=64, seed=1).solve(sde, at(3.0, 20_000), save=65)
    assert abs(sf.analysis.entropy_flow(sde, path).standard_score(2.0)) < 3


def test_sediment_has_no_current_at_a_reflecting_wall() -> None:
    grid = Grid(0.0, 10.0, (100,))
    rest = Density(grid, f64(-np.diff(np.exp(-grid.edges(0).numpy()))))
    current = sf.fokker_planck.probability_current(CASES["sediment"][0], rest, 0.0)
    assert float(current.abs().max()) < 1e-3  # of p = 1 there


def test_a_path_between_absorbing_walls_passes_its_check_and_one_between_others_does_not() -> None:
    sde, cdf, _, _ = CASES["absorbed"]
    times = [0.02, 0.05, 0.15]
    part = replace(sde, t_start=0.02, t_end=0.15)
    grid = Grid(0.0, 1.0, (128,))
    start = Density(grid, f64(np.diff(cdf(grid.edges(0).numpy(), 0.02)))).normalised()
    densities, x = evolve(part, start, times), start.sample(20_000, seed=0)
    solver = SDESolver(times=sf.processes.uniform_times(0.02, 0.15, 26), seed=1)
    assert sf.diagnostics.check_path(solver.solve(part, x, times), densities).p_value > 1e-3
    half = replace(part, walls=Box(0.0, 1.0, [("reflecting", "absorbing")]))
    wrong = sf.diagnostics.check_path(solver.solve(half, x, times), densities)
    assert wrong.p_value < 1e-6


def test_a_langevin_cloud_in_a_box_has_the_boltzmann_density_of_the_box() -> None:
    potential = sf.sdes.double_well(1.0)
    sde = sf.sdes.langevin(potential, 0.5, t_end=1.0, walls=Box([-0.8, -1.0], [1.2, 0.5]))
    grid = Grid((-0.8, -1.0), (1.2, 0.5), (32, 32))
    energy = potential(grid.centres()) / 0.5
    at_rest = Density(grid, torch.softmax(-energy, 0).reshape(32, 32))
    start = Density(grid, torch.full((32, 32), 1 / 1024, dtype=torch.float64))
    assert markov_generator(sde, grid).stationary().total_variation(at_rest) < 1e-3
    end = evolve(sde, start, [0.0, 1.0], steps=40)[-1]
    run = SDESolver(steps=100, seed=0).solve(sde, start.sample(20_000, 0))
    assert sf.check_density(run.x[-1], end).p_value > 1e-3


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_walls_absorb_clouds_of_narrow_types(kind: torch.dtype) -> None:
    sde, cdf, start, _ = CASES["absorbed"]
    run = SDESolver(steps=10, seed=1).solve(sde, at(start, 4000).to(kind))
    alive = float(cdf(np.ones(1), sde.t_end)[0])
    assert run.x.dtype is kind
    assert abs(float(survival(run, 0.2).value) - alive) < 4 * math.sqrt(alive * (1 - alive) / 4000)


def test_survival_after_the_end_of_a_run_is_refused() -> None:
    run = SDESolver(steps=10, seed=1).solve(CASES["absorbed"][0], at(0.3, 500))
    with pytest.raises(ValueError, match="after the end of the run"):
        survival(run, [0.1, 5.0])


@pytest.mark.filterwarnings("error")
def test_a_start_on_a_wall_is_not_taken_for_the_end_of_a_run_that_was_absorbed_there() -> None:
    sde = CASES["absorbed"][0]
    SDESolver(steps=40, seed=1).solve(replace(sde, t_end=5.0), at(0.01, 50))
    SDESolver(steps=4, seed=1).solve(sf.sdes.brownian(), at(0.0, 50))


def test_a_wall_that_would_not_turn_a_velocity_is_refused() -> None:
    sde = sf.sdes.underdamped(sf.sdes.harmonic())
    with pytest.raises(ValueError, match="does not turn the velocity of underdamped motion"):
        replace(sde, walls=sf.sdes.Box([0.0, -math.inf], math.inf))
    ring = sf.sdes.Box([0.0, -math.inf], [1.0, math.inf], ["periodic", "reflecting"])
    assert replace(sde, walls=ring).walls == ring
