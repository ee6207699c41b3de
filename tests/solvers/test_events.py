"""Events of single particles against closed forms, and runs that a callback stops."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.special import lambertw
from torch import Tensor

import sdeflow as sf
from sdeflow import ODESolver, SDESolver
from tests.problems import close, f64, randn

ROTATION = sf.SDE(lambda x, t: torch.stack([x[:, 1], -x[:, 0]], 1), None, 0.0, 6.0)
START = torch.stack([torch.linspace(0.2, 3, 30), torch.linspace(0.1, 2, 30)], 1).double()
ZERO = torch.atan2(START[:, 0], -START[:, 1])  # of x cos t + v sin t


def first(x: Tensor, t: Tensor) -> Tensor:
    return x[:, 0]


@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_every_particle_has_its_own_event_to_1e_8(method: str) -> None:
    path = ODESolver(method, rtol=1e-10, event=first).solve(ROTATION, START, save=[0.0, 2.0, 6.0])
    assert (path.events.time - ZERO).abs().max() < 1e-8
    radius = START.norm(dim=1)
    assert (path.events.x - torch.stack([0 * radius, -radius], 1)).abs().max() < 1e-8
    assert path.events.happened.all()
    assert "30 of 30 particles had their event" in repr(path)
    plain = ODESolver(method, rtol=1e-10).solve(ROTATION, START, save=[0.0, 2.0, 6.0])
    moving = ZERO > 2.0
    assert moving.any()
    assert (path.x[1, moving] - plain.x[1, moving]).abs().max() < 1e-8
    assert torch.equal(path.x[1, ~moving], path.events.x[~moving])
    assert torch.equal(path.x[2], path.events.x)


def test_a_loose_run_has_events_as_exact_as_its_states() -> None:
    path = ODESolver(rtol=1e-5, event=first).solve(ROTATION, START)
    assert (path.events.time - ZERO).abs().max() < 1e-5


def test_an_event_may_move_and_time_may_run_backwards() -> None:
    """x = x_0 e^{-t} from t = 2 down to 0 meets c t: c t e^t = x_2 e^2 (SciPy's Lambert W)."""
    decay = sf.SDE(lambda x, t: -x, None, 2.0, 0.0)
    x = f64([[0.1], [0.2], [0.5], [1e-6]])
    path = ODESolver(rtol=1e-10, event=lambda x, t: x[:, 0] - t / 2).solve(decay, x)
    exact = f64(lambertw(2 * x[:, 0].numpy() * math.e**2).real)
    assert (path.events.time[:3] - exact[:3]).abs().max() < 1e-8
    assert float(path.events.time[3]) == pytest.approx(float(exact[3]), abs=1e-8)


def test_a_particle_may_run_away_behind_its_event() -> None:
    """x' = x^2 reaches 10 at 1 / x_0 - 1 / 10 and infinity at 1 / x_0; the last has no event."""
    x = f64([[1.0], [0.7], [0.5], [-1.0]])
    sde = sf.SDE(lambda x, t: x * x, None, 0.0, 3.0)
    path = ODESolver(rtol=1e-9, event=lambda x, t: 10 - x[:, 0]).solve(sde, x)
    assert (path.events.time[:3] - (1 / x[:3, 0] - 0.1)).abs().max() < 1e-8
    assert path.events.time[3] == math.inf
    assert close(path.x[-1, 3], f64([-0.25]), 1e-6)


def test_an_event_of_the_whole_cloud_stops_all_at_once() -> None:
    """The mean of x_0 e^{-t} is a tenth at ln(10 mean)."""
    x = f64([[1.0], [2.0], [6.0]])
    sde = sf.SDE(lambda x, t: -x, None, 0.0, 9.0)
    path = ODESolver(rtol=1e-10, event=lambda x, t: x.mean() - 0.1).solve(sde, x)
    assert (path.events.time - math.log(30)).abs().max() < 1e-8
    assert close(path.x[-1], x / 30, 1e-8)


def test_a_start_on_the_surface_counts_when_it_comes_back() -> None:
    x = f64([[0.0, 1.0], [0.0, -2.0]])
    path = ODESolver(rtol=1e-10, event=first).solve(ROTATION, x)
    assert (path.events.time - math.pi).abs().max() < 1e-8


def test_float32_particles_have_events_to_their_precision() -> None:
    path = ODESolver(rtol=1e-6, event=first).solve(ROTATION, START.float())
    assert (path.events.time - ZERO).abs().max() < 1e-5
    assert path.x.dtype == torch.float32


def test_the_flow_of_a_field_has_events() -> None:
    """VE flows of N(0, 1) scale by sqrt((1 + s^2) / (1 + S^2)): |x| halves at a known s."""
    field = sf.ExactField(sf.VE(), sf.GaussianMixture.isotropic(torch.zeros(1, 2).double(), 1.0))
    flow, x = sf.reverse(field, eta=0.0), 20 * randn(5, 2)
    half = x.norm(dim=1) / 2
    path = ODESolver(rtol=1e-10, event=lambda x, t: x.norm(dim=1) - half).solve(flow, x)
    sigma = field.process(path.events.time).sigma
    top = float(field.process(f64(flow.t_start)).sigma)
    assert close((1 + sigma**2) / (1 + top**2), f64([0.25] * 5), 1e-7)


# --------------------------------------------------------------------------------- the callback

OU = sf.sdes.ornstein_uhlenbeck([[1.0]], 1.0)
STATE = sf.SDE(lambda x, t: -x, lambda x, t: 1 + x * x / 9, 0.0, 1.0)
STRATONOVICH = sf.SDE(lambda x, t: -x, lambda x, t: 1 + x * x / 9, 0.0, 1.0, "stratonovich")
ODE = sf.SDE(lambda x, t: -x, None, 0.0, 1.0)
SLOW = sf.SDE(lambda x, t: -x / 50, None, 0.0, 1.0)
BOX = sf.sdes.Box([-0.5], [0.5], "absorbing")
MATRIX = sf.SDE(lambda x, t: -x, lambda x, t: torch.ones(1, 2).double(), 0.0, 1.0, noises=2)
RUNS = [
    (SDESolver("euler", 7), OU), (SDESolver("heun", 7), OU), (SDESolver("srk", 7), OU),
    (SDESolver("milstein", 7), STATE), (SDESolver("srk", 7), STATE),
    (SDESolver("euler_heun", 7), STRATONOVICH), (SDESolver("midpoint", 7), STRATONOVICH),
    (SDESolver("log_ode", 7), MATRIX), (SDESolver("euler", 7), sf.sdes.langevin(
        sf.sdes.harmonic(), walls=BOX)),
    (ODESolver("rk4", 7), ODE), (ODESolver("implicit_adams", 7), SLOW),
    (ODESolver("heun2", 7), ODE),
]  # fmt: skip


@pytest.mark.parametrize(("solver", "sde"), RUNS, ids=lambda run: getattr(run, "method", ""))
def test_a_callback_meets_every_state_and_may_stop_the_run(solver, sde) -> None:
    x, seen = f64([[0.3], [0.1], [-0.2]]), []
    path = solver.solve(sde, x, save=8)
    again = solver.solve(sde, x, save=8, callback=lambda k, t, x: seen.append((k, t, x)))
    assert torch.equal(path.x, again.x)
    assert [k for k, _, _ in seen] == [*range(1, 8)]
    assert [t for _, t, _ in seen] == path.t[1:].tolist()
    assert close(torch.stack([x for _, _, x in seen]), path.x[1:], 1e-14)
    cut = solver.solve(sde, x, save=8, callback=lambda k, t, x: k == 4)
    assert cut.status == "stopped by the callback after step 4, at t = 0.571429"
    assert torch.equal(cut.x, path.x[:5])
    assert (cut.steps, cut.seed, cut.began) == (4, path.seed, 0.0)


def test_a_stopped_run_goes_on_as_the_run_that_was_not() -> None:
    x, solver = randn(5, 1), SDESolver(steps=8, seed=3)
    whole = solver.solve(OU, x)
    cut = solver.solve(OU, x, callback=lambda k, t, x: t >= 0.5)
    rest = replace(solver, times=whole.t.new_tensor([0.5, 0.625, 0.75, 0.875, 1.0]))
    assert torch.equal(rest.solve(OU, cut).x[-1], whole.x[-1])


def test_an_adaptive_run_is_stopped_after_its_step() -> None:
    seen = []
    path = ODESolver().solve(ODE, randn(5, 1), callback=lambda k, t, x: seen.append((k, t, x)))
    assert [k for k, _, _ in seen] == [*range(1, path.steps + 1)]
    assert torch.equal(seen[-1][2], path.x[-1])
    saved = [0.0, 0.1, 1.0]
    cut = ODESolver().solve(ODE, randn(5, 1), saved, callback=lambda k, t, x: t > 0.2)
    assert cut.status.startswith("stopped by the callback after step")
    assert cut.t[:2].tolist() == [0.0, 0.1]
    assert 0.2 < cut.t[-1] < 1
    exact = cut.x[0] * torch.exp(-cut.t)[:, None, None]
    assert close(cut.x, exact, 1e-4)


def test_a_callback_is_called_in_inference_mode() -> None:
    with torch.inference_mode():
        path = SDESolver(steps=8).solve(OU, randn(4, 1), 9, callback=lambda k, t, x: k == 3)
        other = ODESolver(event=first).solve(ROTATION, START)
    assert len(path.t) == 4
    assert other.events.happened.all()


def test_a_callback_gets_a_copy() -> None:
    x, solver = randn(4, 1), SDESolver(steps=5, seed=1)
    path = solver.solve(OU, x)
    other = solver.solve(OU, x, callback=lambda k, t, x: x.zero_().any())
    assert torch.equal(path.x, other.x)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: ODESolver("rk4", 9, event=first), ValueError, "fixed steps: for an event use"),
        (lambda: ODESolver(event=1.0), TypeError, "event must be a function"),
        (lambda: ODESolver(event=lambda x: x[:, 0]), TypeError, r"function of \(x, t\)"),
        (
            lambda: ODESolver(event=lambda x, t: x).solve(ROTATION, START),
            ValueError, r"one number for each particle, \(30,\)",
        ),
        (
            lambda: ODESolver(event=lambda x, t: x[:, 0] * math.nan).solve(ROTATION, START),
            sf.SdeflowError, "the event is NaN",
        ),
        (
            lambda: ODESolver(event=first).solve(
                ROTATION, START.clone().requires_grad_(), differentiable=True
            ),
            ValueError, "differentiable run takes no event",
        ),
        (
            lambda: SDESolver("reversible_heun").solve(OU, START[:, :1], callback=print),
            ValueError, "use 'heun'",
        ),
        (
            lambda: SDESolver().solve(OU, START[:, :1], callback=lambda k, t, x: x),
            TypeError, "must return True to stop the run",
        ),
        (
            lambda: SDESolver().solve(OU, START[:, :1], callback=7),
            TypeError, r"callback must be a function of \(k, t, x\)",
        ),
        (
            lambda: ODESolver().solve(
                ROTATION, START.clone().requires_grad_(), differentiable=True, callback=print
            ),
            ValueError, "differentiable run takes no callback",
        ),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)


def test_a_run_that_continues_a_path_keeps_its_events() -> None:
    """x' = 1 from 0 and -1 meets 1/2 at 1/2 and 3/2, also where the run is cut at 1."""
    sde = sf.SDE(lambda x, t: torch.ones_like(x), None, 0.0, 2.0)
    solver = ODESolver(event=lambda x, t: x[:, 0] - 0.5)
    half = solver.solve(replace(sde, t_end=1.0), f64([[0.0], [-1.0]]))
    path = solver.solve(replace(sde, t_start=1.0), half)
    assert (path.events.time - f64([0.5, 1.5])).abs().max() < 1e-8
    assert (path.x[-1] - 0.5).abs().max() < 1e-8
    noisy = sf.sdes.langevin(sf.sdes.harmonic(), t_end=1.0)
    for other, rest in ((ODESolver(), replace(sde, t_start=1.0)), (SDESolver(), noisy)):
        with pytest.raises(ValueError, match="1 particles of the path stopped at their event"):
            other.solve(rest, half)
