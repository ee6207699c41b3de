"""An SDE as an object: its span, its stepped form, and what happens when a part is replaced."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import sdeflow as sf
from tests.problems import close, f64, lopsided, pair, randn

FIELD = sf.ExactField(sf.VP(), lopsided())


@pytest.mark.parametrize("steps", [7])
def test_replaced_drift_moves_particles_and_density_alike(steps: int) -> None:
    """No part of the SDE goes on with the drift that it was made with."""
    sde = sf.reverse(FIELD, 0.0)
    still = replace(sde, drift=lambda x, t: torch.zeros_like(x))
    x = randn(20, 2)
    assert torch.equal(sf.ODESolver("euler", steps).solve(still, x).x[-1], x)
    assert not torch.equal(sf.ODESolver("euler", steps).solve(sde, x).x[-1], x)


def test_replaced_diffusion_moves_particles() -> None:
    sde, x = sf.reverse(FIELD), randn(20, 2)
    quiet = replace(sde, diffusion=None)
    end = sf.ODESolver("euler", 30).solve(quiet, x).x[-1]
    plain = sf.SDE(sde.drift, None, sde.t_start, sde.t_end, time_grid=sde.time_grid)
    assert close(end, sf.ODESolver("euler", 30).solve(plain, x).x[-1], 1e-9)


def test_replaced_drift_drops_the_transition() -> None:
    """`evolve` would else take the kernel of the SDE as it was."""
    sde = sf.forward(sf.VP())
    assert sde.transition is not None
    assert replace(sde, t_end=0.5).transition is not None
    assert replace(sde, drift=lambda x, t: 0 * x).transition is None
    assert replace(sde, diffusion=None).transition is None
    assert sf.SDE(sde.drift, None, 0.0, 1.0, transition=sde.transition).transition is not None


def test_ancestral_sampling_refuses_a_drift_of_its_own() -> None:
    sde = replace(sf.ancestral(FIELD), drift=lambda x, t: 0 * x)
    with pytest.raises(ValueError, match="replace the drift of reverse"):
        sf.SDESolver("euler", 5).solve(sde, randn(4, 2))


def test_direction_is_that_of_the_span() -> None:
    sde = sf.reverse(FIELD)
    assert (sde.direction, sf.forward(sf.VP()).direction) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="flip them"):
        sde.check_times(f64([0.1, 0.2]))
    assert torch.equal(sde.check_times(f64([0.2, 0.1])), f64([0.2, 0.1]))


# ------------------------------------------------------------------------------ another span

RHO = float(sf.VP().noise_level(0.5))
CUT: dict[str, tuple[Callable[[], sf.SDE], float]] = {
    "reverse": (lambda: sf.reverse(FIELD), 0.5),
    "flow": (lambda: sf.reverse(FIELD, 0.0), 0.5),
    "comoving": (lambda: sf.sdes.comoving(FIELD, 0.7), RHO),
    "ancestral": (lambda: sf.ancestral(FIELD), 0.5),
    "forward": (lambda: sf.forward(sf.VP()), 0.5),
    "brownian": (lambda: sf.sdes.brownian(t_end=2.0), 0.5),
    "linear": (lambda: sf.sdes.ornstein_uhlenbeck([[1.0, 0.5], [0.0, 2.0]]), 0.5),
    "trap": (lambda: sf.sdes.langevin(sf.sdes.harmonic()), 0.5),
    "inertia": (lambda: sf.sdes.underdamped(sf.sdes.harmonic()), 0.5),
    "geometric": (lambda: sf.sdes.geometric_brownian(0.1, 0.2), 0.5),
    "your own": (lambda: sf.SDE(lambda x, t: -x, lambda x, t: f64(1.0), 0.0, 1.0), 0.5),
}


@pytest.mark.parametrize("name", CUT)
def test_replaced_end_is_where_the_run_ends(name: str) -> None:
    """`replace(reverse(f), t_end=0.5)` said 0.5 and ran to 1e-4."""
    make, end = CUT[name]
    sde = replace(make(), t_end=end)
    times = sde.times(5)
    assert (float(times[0]), float(times[-1])) == (sde.t_start, end)
    method = "euler" if sde.whole_step else "milstein"
    path = sf.SDESolver(method, 5).solve(sde, randn(4, 2), save=6)
    assert torch.equal(path.t, times)
    by_hand = sf.SDESolver(method, times=times).solve(make(), randn(4, 2))
    assert torch.equal(path.x[-1], by_hand.x[-1])


@pytest.mark.parametrize("solver", [sf.ODESolver(), sf.ODESolver("heun2", 80)])
def test_flow_may_be_run_in_parts_and_back(solver: sf.ODESolver) -> None:
    flow, x = sf.reverse(FIELD, 0.0), randn(50, 2)
    first, second = replace(flow, t_end=0.5), replace(flow, t_start=0.5)
    half = solver.solve(first, x).x[-1]
    end = solver.solve(second, half).x[-1]
    assert close(end, solver.solve(flow, x).x[-1], 4e-3)
    back = replace(second, t_start=second.t_end, t_end=second.t_start)
    assert back.times(3)[0] < back.times(3)[-1]
    assert close(solver.solve(back, end).x[-1], half, 4e-3)


@pytest.mark.parametrize("name", CUT)
def test_noise_whose_time_is_turned_is_refused(name: str) -> None:
    """It is another SDE: a forward SDE that is run back is not the reverse SDE."""
    sde = CUT[name][0]()
    if sde.diffusion is None:
        assert replace(sde, t_start=sde.t_end, t_end=sde.t_start).transition is None
        return
    with pytest.raises(ValueError, match=r"does not retrace its path .* take sf.reverse"):
        replace(sde, t_start=sde.t_end, t_end=sde.t_start)


@pytest.mark.parametrize("t_end", [0.0, 5e-5])
def test_span_outside_of_the_process_is_refused(t_end: float) -> None:
    for make in (sf.reverse, sf.ancestral):
        with pytest.raises(ValueError, match=r"outside \[0.0001, 1\] where this VP process is"):
            replace(make(FIELD), t_end=t_end)
    rounded = float(torch.tensor(1e-4))  # just below t_min
    assert rounded < 1e-4
    sde = replace(sf.reverse(FIELD, 0.0), t_end=rounded)
    assert torch.isfinite(sf.ODESolver().solve(sde, randn(4, 2)).x).all()


# ------------------------------------------------------------------------------ parts of an SDE


@pytest.mark.parametrize("make", [sf.reverse, sf.sdes.comoving, sf.ancestral])
@pytest.mark.parametrize(
    "part",
    [
        {"field": sf.ExactField(sf.VP(), pair())},
        {"eta": 0.5},
        {"coefficients": sf.reverse(FIELD, 0.3).coefficients},
    ],
    ids=lambda part: next(iter(part)),
)
def test_parts_that_the_drift_belongs_to_cannot_be_replaced(make, part: dict) -> None:
    """The drift went on with the old ones."""
    with pytest.raises(ValueError, match="make it anew, as in sf"):
        replace(make(FIELD), **part)


def test_matrix_of_a_linear_sde_cannot_be_replaced() -> None:
    sde = sf.sdes.ornstein_uhlenbeck([[1.0, 0.5], [0.0, 2.0]])
    for part in ({"matrix": torch.eye(2, dtype=torch.float64)}, {"noise": f64([1.0, 2.0])}):
        with pytest.raises(ValueError, match="make a new one with"):
            replace(sde, **part)  # type: ignore[arg-type]
    other = replace(sde, drift=lambda x, t: -5 * x)
    for ask in (other.covariance, other.stationary, other.entropy_production):
        with pytest.raises(ValueError, match="has been replaced"):
            ask()


def test_replaced_variance_is_checked_as_a_given_one() -> None:
    with pytest.raises(ValueError, match="use eta = 1, not 0"):
        replace(sf.ancestral(FIELD, 0.5), variance=lambda t: t[1:])
    with pytest.raises(TypeError, match=r"variance must be a function of \(times\)"):
        sf.ancestral(FIELD, variance=1.0)  # type: ignore[arg-type]


def test_sde_says_that_a_part_was_replaced() -> None:
    sde = sf.reverse(FIELD)
    assert repr(sde) == "reverse SDE of VP, eta 1, t from 1 to 0.0001"
    other = replace(sde, drift=lambda x, t: -x)
    assert "eta 1, with another drift or diffusion, t from" in repr(other)
    assert "another" not in repr(replace(sde, t_end=0.5))


# ------------------------------------------------------------------------------ time grids


def with_grid(grid: object, t_start: float = 0.0, t_end: float = 1.0) -> sf.SDE:
    return sf.SDE(lambda x, t: -torch.ones_like(x), None, t_start, t_end, time_grid=grid)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (lambda k: torch.linspace(0, 0.5, k + 1), "run from 0 to 0.5, but this SDE from 0 to 1"),
        (lambda k: torch.linspace(1, 0, k + 1), "flip them"),
        (lambda k: [0.0, 0.7, 0.3, 1.0], "strictly monotone"),
        (lambda k: torch.linspace(0, 2, k + 1), "outside"),
        (lambda k: torch.linspace(0, 1, k), "gave 3 times for 3 steps; it must give 4"),
        (lambda k: [0.0, float("nan"), 0.5, 1.0], "finite"),
        (lambda k: 0.5, "row"),
    ],
)
def test_time_grid_of_an_sde_is_checked_like_times_of_a_user(grid, words: str) -> None:
    """Half a span was taken as the whole, reversed times ran the SDE back."""
    for ask in (lambda sde: sde.times(3), lambda sde: sf.ODESolver("euler", 3).solve(sde, one())):
        with pytest.raises(ValueError, match=words):
            ask(with_grid(grid))


def one() -> Tensor:
    return torch.ones(1, 1, dtype=torch.float64)


@pytest.mark.parametrize(
    "grid",
    [
        lambda k: [0.0, 0.2, 0.7, 1.0],
        lambda k: np.array([0.0, 0.2, 0.7, 1.0]),
        lambda k: torch.tensor([0.0, 0.2, 0.7, 1.0], dtype=torch.float32),
    ],
    ids=["list", "array", "float32"],
)
def test_time_grid_may_be_a_list_an_array_or_float32(grid) -> None:
    times = with_grid(grid).times(3)
    assert times.dtype == torch.float64
    assert close(times, f64([0.0, 0.2, 0.7, 1.0]), 1e-7)
    end = sf.ODESolver("euler", 3).solve(with_grid(grid), one()).x[-1]
    assert float(end) == pytest.approx(0.0, abs=1e-7)
    rounded = with_grid(lambda k: torch.linspace(0.1, 0.7, k + 1), 0.1, 0.7).times(6)
    assert (float(rounded[0]), float(rounded[-1])) == (0.1, 0.7)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: with_grid([0.0, 1.0]), r"time_grid must be a function of \(steps\), got list"),
        (lambda: with_grid(lambda: 0), r"time_grid must be a function of \(steps\), got one of"),
        (lambda: with_grid(lambda k: None).times(3), "the times of time_grid must be"),
        (lambda: sf.SDE(lambda x: -x, None, 0.0, 1.0), r"drift must be .* got one of \(x\)"),
        (lambda: sf.SDE(torch.nn.Linear, None, 0.0, 1.0), "got the class Linear"),
        (lambda: sf.SDE(lambda x, t: -x, 1.0, 0.0, 1.0), "diffusion must be .* got float"),
        (lambda: sf.SDE(lambda x, t: -x, lambda t: t, 0.0, 1.0), r"got one of \(t\)"),
        (lambda: sf.SDE(lambda x, t: -x, None, "0", 1.0), "t_start must be a number"),
        (lambda: replace(sf.sdes.brownian(), name=None), "name must be a text"),
        (lambda: sf.forward(sf.VP), r"got the class VP; make one, VP\(...\)"),
        (lambda: sf.reverse(sf.ExactField), "got the class ExactField"),
    ],
)
def test_sde_refuses_parts_of_another_kind_in_one_sentence(make, words: str) -> None:
    with pytest.raises(TypeError, match=words) as said:
        make()
    assert "\n" not in str(said.value)
