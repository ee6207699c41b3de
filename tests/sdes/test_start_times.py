"""Particles with start times of their own are those of runs that begin then."""

from dataclasses import replace

import pytest
import torch

import sdeflow as sf
from sdeflow import ODESolver, SDESolver
from sdeflow.sdes import starting
from tests.problems import close, f64, lopsided, randn

X = randn(3, 2)
WELL = sf.sdes.langevin(sf.sdes.double_well(), 0.5, t_end=1.0)
REVERSE = sf.reverse(sf.ExactField(sf.VP(), lopsided()))


@pytest.mark.parametrize("sde", [WELL, REVERSE], ids=["up", "down"])
@pytest.mark.parametrize("method", ["euler", "milstein"])
def test_each_particle_is_that_of_a_run_from_its_start(sde: sf.SDE, method: str) -> None:
    times, first = sde.times(8), [0, 4, 2]
    late = starting(sde, times[first])
    path = SDESolver(method, times=times, seed=1).solve(late, X, save=9)
    for i, k in enumerate(first):
        run = SDESolver(method, times=times[k:], seed=1).solve(sde, X, save=9 - k)
        assert close(path.x[k:, i], run.x[:, i], rtol=1e-13)
        assert (path.x[: k + 1, i] == X[i]).all()
    half = SDESolver(method, times=times[:4], seed=1).solve(late, X)
    rest = SDESolver(method, times=times[3:], seed=1).solve(late, half)
    assert close(rest.x[-1], path.x[-1], rtol=1e-13)


@pytest.mark.parametrize("method", ["rk4", "midpoint"])
def test_every_stage_of_a_method_waits_for_the_start(method: str) -> None:
    flow, starts = sf.SDE(lambda x, t: -x * (1 + t), None, 0.0, 1.0), f64([0.0, 0.5, 0.25])
    end = ODESolver(method, steps=8).solve(starting(flow, starts), X).x[-1]
    for i, t in enumerate(starts.tolist()):
        part = replace(flow, t_start=t)
        run = ODESolver(method, steps=8 - round(8 * t)).solve(part, X).x[-1]
        assert end[i].equal(run[i])


def test_densities_of_particles_with_several_starts_are_refused() -> None:
    grid = sf.Grid((-2.0, -2.0), (2.0, 2.0), (8, 8))
    start = sf.Density(grid, torch.full((8, 8), 1 / 64))
    with pytest.raises(ValueError, match=r"3 start times, but \d+ particles"):
        sf.evolve(starting(WELL, [0.0, 0.5, 0.2]), start, [0.0, 1.0])
