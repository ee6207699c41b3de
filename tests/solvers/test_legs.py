"""A run cut in parts is the run, and a run that goes on from another has noise of its own."""

import itertools
import warnings

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow._validation import SdeflowError
from sdeflow.analysis.thermodynamics import (
    entropy_flow,
    free_energy_difference,
    two_time_covariance,
    work,
)

F64 = torch.float64
GRID = torch.linspace(0, 1, 101, dtype=F64)
WIENER = sf.SDE(lambda x, t: 0 * x, lambda x, t: torch.ones((), dtype=F64), 0.0, 1.0)
ORIGIN = torch.zeros(20_000, 1, dtype=F64)
SEEDS = pytest.mark.parametrize("seed", [None, 4], ids=["default seed", "seed 4"])


def part(first: int, last: int, seed: int | None, **more: object) -> sf.SDESolver:
    return sf.SDESolver("euler", times=GRID[first : last + 1], seed=seed, **more)


def correlation(x: Tensor, y: Tensor) -> float:
    """Of two columns, in units of its standard error."""
    return float(torch.corrcoef(torch.cat([x, y], 1).T)[0, 1]) * len(x) ** 0.5


def relaxing(seed: int | None = None) -> tuple[sf.SDE, sf.SDESolver]:
    sde = sf.sdes.ornstein_uhlenbeck([[1.0]], 1.0, t_end=2.0)
    return sde, sf.SDESolver("heun", steps=100, seed=seed)


# ------------------------------------------------------------------------------------ cut in parts


@SEEDS
@pytest.mark.parametrize("cuts", [(0, 50, 100), tuple(range(0, 101, 10))], ids=["two", "ten"])
def test_run_that_is_cut_in_parts_is_the_run(seed, cuts):
    whole = part(0, 100, seed).solve(WIENER, ORIGIN).x[-1]
    path = ORIGIN
    for first, last in itertools.pairwise(cuts):
        path = part(first, last, seed).solve(WIENER, path)
    assert path.leg == 0
    assert torch.equal(path.x[-1], whole)


def test_parts_with_one_seed_need_no_path():
    middle = part(0, 50, 4).solve(WIENER, ORIGIN).x[-1]
    end = part(50, 100, 4).solve(WIENER, middle).x[-1]
    assert torch.equal(end, part(0, 100, 4).solve(WIENER, ORIGIN).x[-1])


def test_parts_of_a_fine_path_are_the_run():
    coarse, start = GRID[::10], ORIGIN[:50]
    path: sf.solvers.Path | Tensor = start
    for times in (coarse[:6], coarse[5:]):
        path = sf.SDESolver("srk", times=times, fine=GRID, seed=1).solve(WIENER, path)
    whole = sf.SDESolver("srk", times=coarse, fine=GRID, seed=1).solve(WIENER, start)
    assert torch.equal(path.x[-1], whole.x[-1])
    assert torch.allclose(path.x[-1], part(0, 100, 1).solve(WIENER, start).x[-1], atol=1e-12)


def test_parts_without_a_seed_are_independent():
    """Var W(1) = 1, where the noise of one half that came twice would give 2."""
    middle = part(0, 50, None).solve(WIENER, ORIGIN).x[-1]
    end = part(50, 100, None).solve(WIENER, middle).x[-1]
    assert abs(float(end.var()) - 1) < 4 * (2 / len(end)) ** 0.5
    assert abs(correlation(end - middle, middle)) < 4


# -------------------------------------------------------------------------- burn-in and production


@pytest.mark.parametrize("how", ["default seed", "path", "other seed"])
def test_run_after_a_burn_in_has_the_covariance_of_a_stationary_process(how):
    """Cov(x_2, x_0) = e^-2 / 2 = 0.0677; the noise of the burn-in again gives 0.550."""
    sde, solver = relaxing(None if how == "default seed" else 3)
    rest = solver.solve(sde, ORIGIN)
    other = relaxing(5)[1] if how == "other seed" else solver
    path = other.solve(sde, rest if how == "path" else rest.x[-1])
    found = two_time_covariance(path, 2.0, 0.0)
    assert abs(float(found.value) - 0.5 * 2.718281828**-2) < 4 * float(found.error)


def test_each_leg_has_other_noise():
    sde, solver = relaxing(1)
    legs = [solver.solve(sde, ORIGIN)]
    for _ in range(2):
        legs.append(solver.solve(sde, legs[-1]))
    assert [path.leg for path in legs] == [0, 1, 2]
    kept = 2.718281828**-2
    kicks = [path.x[-1] - kept * path.x[0] for path in legs]
    assert all(abs(correlation(kicks[i], kicks[j])) < 4 for i, j in ((0, 1), (1, 2), (0, 2)))


@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_run_without_noise_between_two_runs_keeps_their_noise_apart(method):
    """Var = e^-2 + 1 after W, x' = -x and W again; the same noise twice gives 1.87."""
    halve = sf.SDE(lambda x, t: -x, None, 0.0, 1.0)
    between = sf.ODESolver(method, 100) if method == "euler" else sf.ODESolver(method)
    first = part(0, 100, 5).solve(WIENER, ORIGIN)
    last = part(0, 100, 5).solve(WIENER, between.solve(halve, first, save=1))
    kept = 0.99**200 if method == "euler" else 2.718281828**-2
    assert abs(float(last.x[-1].var()) / (kept + 1) - 1) < 4 * (2 / len(ORIGIN)) ** 0.5


def test_cycles_that_save_one_state_have_noise_of_their_own():
    """Up and down with one seed and save=1: every leg is another."""
    down = sf.SDE(lambda x, t: 0 * x, lambda x, t: torch.ones((), dtype=F64), 1.0, 0.0)
    path, solver = ORIGIN, sf.SDESolver("euler", 20, seed=2)
    for k in range(5):
        path = solver.solve(down if k % 2 else WIENER, path, save=1)
    assert path.leg == 4
    assert abs(float(path.x[-1].var()) / 5 - 1) < 4 * (2 / len(ORIGIN)) ** 0.5


def test_seed_that_returns_in_a_chain_of_paths_has_new_noise():
    path = ORIGIN
    for seed in (0, 1, 0):
        path = part(0, 100, seed).solve(WIENER, path)
    assert abs(float(path.x[-1].var()) / 3 - 1) < 4 * (2 / len(ORIGIN)) ** 0.5


def test_noise_that_would_come_again_is_told():
    sde, solver = relaxing(7)
    path = solver.solve(sde, ORIGIN[:100], save=5)
    end = path.x[-1]
    for again in (end, end.clone(), end[3:], end[:1], path.x[2]):
        with pytest.warns(UserWarning, match=r"give the path .*or another seed"):
            solver.solve(sde, again)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solver.solve(sde, ORIGIN[:100])
        solver.solve(sde, end + 1e-9)
        relaxing()[1].solve(sde, end)


@SEEDS
def test_forward_and_back_are_independent(seed):
    """From x_0 = 0 pure noise goes up, and the noise of the way back is not that of the way up."""
    process, n = sf.VE(), 20_000
    field = sf.ExactField(process, sf.GaussianMixture.isotropic(torch.zeros(1, 1, dtype=F64), 1.0))
    x = field_start = torch.randn(n, 1, generator=torch.Generator().manual_seed(0), dtype=F64)
    solver = sf.SDESolver("euler", steps=50, seed=seed)
    up = solver.solve(sf.forward(process), x)
    for top in (up, up.x[-1]):
        back = solver.solve(sf.reverse(field), top).x[-1]
        assert abs(correlation(field_start, back)) < 4


def test_entropy_flow_after_a_burn_in_is_zero_in_equilibrium():
    sde, solver = relaxing()
    path = solver.solve(sde, solver.solve(sde, ORIGIN).x[-1], save=101)
    flow = entropy_flow(sde, path)
    assert abs(float(flow.value)) < 4 * float(flow.error)


def test_jarzynski_holds_after_a_burn_in():
    """A trap that moves: the free energy does not change."""

    def trap(x: Tensor, centre: Tensor) -> Tensor:
        return (x[:, 0] - centre) ** 2 / 2

    still, moved = (
        sf.sdes.langevin(trap, protocol=protocol, t_end=2.0)
        for protocol in (lambda t: 0 * t, lambda t: t)
    )
    solver = sf.SDESolver("heun", 100)
    path = solver.solve(moved, solver.solve(still, ORIGIN).x[-1], save=101)
    change = free_energy_difference(work(path, trap, lambda t: t))
    assert abs(float(change.value)) < 4 * float(change.error)


# ------------------------------------------------------------------------------------------ a path


def test_path_knows_its_steps_and_its_seed():
    path = part(0, 100, 4).solve(WIENER, ORIGIN[:3], save=[0.5, 1.0])
    assert (path.steps, path.seed, path.leg) == (50, 4, 0)
    again = part(0, 100, None).solve(WIENER, ORIGIN[:3])
    assert torch.equal(part(0, 100, again.seed).solve(WIENER, ORIGIN[:3]).x, again.x)


@pytest.mark.parametrize(
    "use",
    [
        lambda path: entropy_flow(relaxing()[0], path),
        lambda path: work(path, lambda x, c: (x[:, 0] - c) ** 2, lambda t: t),
    ],
    ids=["entropy_flow", "work"],
)
def test_path_with_missing_steps_is_refused_where_every_step_counts(use):
    sde, solver = relaxing()
    path = solver.solve(sde, ORIGIN[:5], save=11)
    with pytest.raises(ValueError, match="save=101"):
        use(path)


def test_part_of_a_cloud_needs_a_seed():
    with pytest.raises(ValueError, match="give seed="):
        part(0, 10, None).solve(WIENER, ORIGIN[:3], first=2)


def test_failed_path_has_no_next_leg():
    path = sf.solvers.Path(GRID[:1], ORIGIN[None, :3], 0, 0.0, "the state is NaN")
    with pytest.raises(SdeflowError, match="NaN"):
        part(0, 10, None).solve(WIENER, path)


@pytest.mark.parametrize("times", [GRID[:11].tolist(), GRID[:11].numpy()], ids=["list", "numpy"])
def test_times_are_any_row_of_numbers(times):
    want = part(0, 10, 1).solve(WIENER, ORIGIN[:3]).x
    solver = sf.SDESolver("euler", times=times, fine=times, seed=1)
    assert torch.equal(solver.solve(WIENER, ORIGIN[:3]).x, want)
