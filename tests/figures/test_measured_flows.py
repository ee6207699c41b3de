"""What the figures of flows measure: local orders, turning, cost, a current without divergence."""

import math
from dataclasses import replace

import pytest
import torch

import sdeflow as sf
from figures import coupling, flow_curvature, local_error, probability_current
from figures.problems import Problem, problem
from sdeflow.fokker_planck import probability_current as current_of
from tests.problems import f64

GAUSSIAN = sf.GaussianMixture(f64([1.0]), f64([[0.0, 0.0]]), f64([[[1.0, 0.6], [0.6, 1.0]]]))


def test_local_errors_are_an_order_above_the_methods() -> None:
    """Over h and h / 2, from noise level 2 to 1: Euler and DDIM h^2, Heun h^3."""
    data = problem("ring")
    span = replace(data.process, t_min=0.15, t_max=0.35)
    found = []
    for steps in (32, 64):
        times = sf.processes.angle_times(span, steps)
        start = span.prior(20, 2, seed=0, data=data.data.sample(20, seed=1)).double()
        flow = replace(sf.reverse(data.field, eta=0.0), t_start=0.35, t_end=0.15)
        exact = sf.ODESolver("dopri5", rtol=1e-11).solve(flow, start, save=times).x
        found.append(local_error.local_errors(data, times, exact))
    for name, order in (("Euler", 2), ("Heun", 3), ("DDIM", 2), ("Heun (EDM)", 3)):
        slope = math.log2(float(found[0][name].mean() / found[1][name].mean()))
        assert slope == pytest.approx(order, abs=0.15), name


def test_multistep_keeps_gaussian_data_at_every_step() -> None:
    isotropic = sf.GaussianMixture(f64([1.0]), f64([[0.3, 0.0]]), f64([[[1.0, 0.0], [0.0, 1.0]]]))
    data = Problem("Gaussian", isotropic)
    times = sf.processes.angle_times(data.process, 8)
    exact, floor = local_error.exact_flow(data, times, 20)
    found = local_error.local_errors(data, times, exact)
    assert float(found["multistep"].max()) < 1e-6 < float(found["DDIM"].max())
    assert float(floor.max()) < 1e-6


def test_turning_and_length_of_known_curves() -> None:
    angle = torch.linspace(0.0, 2.0, 401, dtype=torch.float64)[:, None]
    arc = torch.stack([angle.cos(), angle.sin()], -1)
    line = torch.stack([angle, 3 * angle], -1)
    for way in (arc, arc.flip(0)):
        assert float(flow_curvature.turning(way)[-1]) == pytest.approx(2.0 * 399 / 400, rel=1e-9)
    assert float(flow_curvature.length(arc)) == pytest.approx(2.0, rel=1e-5)
    assert float(flow_curvature.turning(line)[-1]) < 1e-9
    assert float(flow_curvature.length(line)) == pytest.approx(2 * 10**0.5, rel=1e-12)


def test_paths_of_round_data_are_straight_and_of_long_data_are_not() -> None:
    isotropic = sf.GaussianMixture(f64([1.0]), f64([[0.0, 0.0]]), f64([[[0.5, 0.0], [0.0, 0.5]]]))
    for data, straight in ((isotropic, True), (GAUSSIAN, False)):
        path = flow_curvature.flow_paths(sf.ExactField(sf.VP(), data), 20, 60)
        assert (float(flow_curvature.turning(path.x)[-1].max()) < 1e-6) is straight


@pytest.mark.parametrize("name", ["ring", "checkerboard"])
def test_the_turning_force_keeps_the_density(name: str) -> None:
    """div J = 0, and J = w R grad p."""
    data = problem(name)
    p = data.field.density(sf.Grid(-4.0, 4.0, (96, 96)), probability_current.LEVEL)
    sde = probability_current.turning(data.field, probability_current.LEVEL)
    current = current_of(sde, p, 0.5)
    h = p.grid.width[0]
    first = (current[2:, 1:-1, 0] - current[:-2, 1:-1, 0]) / (2 * h)
    second = (current[1:-1, 2:, 1] - current[1:-1, :-2, 1]) / (2 * h)
    assert float((first + second).abs().max()) < 0.02 * float(first.abs().max())
    slope = (p.mass[2:, 1:-1] - p.mass[:-2, 1:-1]) / (2 * h * p.grid.volume)
    off = (current[1:-1, 1:-1, 1] - probability_current.TURN * slope).abs().max()
    assert float(off) < 0.03 * float(current.abs().max())


def test_the_cost_of_a_path_is_least_where_it_is_straight_and_even() -> None:
    t = torch.linspace(1.0, 0.0, 101, dtype=torch.float64)
    ends = f64([[[0.0, 0.0], [3.0, 4.0]]])
    even = sf.solvers.Path(t, (1 - t)[:, None, None] * ends, 0, 0.0)
    late = sf.solvers.Path(t, ((1 - t) ** 2)[:, None, None] * ends, 0, 0.0)
    assert coupling.path_cost(even) == pytest.approx(12.5)  # of 0 and 25
    assert coupling.path_cost(late) == pytest.approx(12.5 * 4 / 3, rel=1e-3)
