"""Orders of convergence: slopes in float64, on the window between round-off and the first steps.

A slope is fitted to ln(error) against ln(step). Deterministic orders are compared with SciPy's
DOP853 on the flow written with the score of the noised mixture: another library and formula.
Strong orders compare solvers on one Brownian path (the same seed and `fine` grid) with the exact
solution where there is one, else with the order 1.5 method on the finest grid, whose own error is
at least 8^1.5 = 22 times smaller than any that is fitted. Weak orders use the same path for all
steps too: the noise of a difference of means then shrinks as fast as the difference itself.

Theory: Hairer, Norsett and Wanner 1993, II.3; Kloeden and Platen 1992, 10.2 (Euler-Maruyama 0.5,
and 1 if the noise is additive), 10.3 (Milstein 1), 14.1 (weak 1); Roessler 2010 (srk 1.5).
"""

import math

import numpy as np
import pytest
import torch
import torchdiffeq
from scipy.integrate import solve_ivp
from scipy.stats import chi2, norm
from torch import Tensor

import sdeflow as sf
from sdeflow.solvers import brownian
from sdeflow.solvers.checks import FIXED
from sdeflow.solvers.sde_solver import METHODS
from tests.problems import lopsided

F64 = torch.float64
FLOWS = {"VP": sf.VP(t_min=0.01), "Linear": sf.Linear(), "EDM": sf.EDM(t_min=0.05, t_max=10.0)}


def slope(errors: list[float]) -> float:
    """The order, for errors at steps that are halved each time."""
    return -float(np.polyfit(np.arange(len(errors)), np.log2(errors), 1)[0])


def exact_start(process: sf.processes.Process, mixture: sf.GaussianMixture, n: int) -> Tensor:
    """A cloud (n, d) from the exact distribution at t_max."""
    c = process(torch.tensor(process.t_max, dtype=F64))
    return mixture.noised(c.alpha, c.sigma).sample(n, 3)


# ----------------------------------------------------------------------------------- deterministic


@pytest.fixture(scope="module", params=FLOWS, ids=str)
def flow(request) -> tuple[sf.processes.Process, sf.GaussianMixture, Tensor, Tensor]:
    """Process, mixture, a start, and the end of the probability flow by SciPy."""
    process, mixture = FLOWS[request.param], lopsided()
    x = exact_start(process, mixture, 8)

    def velocity(t: float, y: np.ndarray) -> np.ndarray:
        time, state = torch.tensor(t, dtype=F64), torch.from_numpy(y).reshape(x.shape)
        c = process(time)
        score = mixture.noised(c.alpha, c.sigma).score(state)
        return (process.drift(time) * state - process.diffusion(time) ** 2 / 2 * score).flatten()

    span = process.t_max, process.t_min
    end = solve_ivp(velocity, span, x.flatten(), method="DOP853", rtol=1e-13, atol=1e-13)
    return process, mixture, x, torch.from_numpy(end.y[:, -1]).reshape(x.shape)


WINDOW = (64, 128, 256)  # rk4 ends at about 1e-9, ten thousand roundings


@pytest.mark.parametrize("frame", ["reverse", "comoving"])
@pytest.mark.parametrize(
    ("method", "order"), [("euler", 1), ("midpoint", 2), ("heun2", 2), ("heun3", 3), ("rk4", 4)]
)
def test_ode_methods_have_their_order(flow, method, order, frame):
    process, mixture, x, end = flow
    field = sf.ExactField(process, mixture)
    sde, first, last = sf.reverse(field, 0.0), 1.0, 1.0
    if frame == "comoving":
        sde = sf.sdes.comoving(field)
        first, last = process(torch.tensor([process.t_max, process.t_min], dtype=F64)).alpha
    errors = [
        float((sf.ODESolver(method, k).solve(sde, x / first).x[-1] * last - end).abs().max())
        for k in WINDOW
    ]
    assert slope(errors) == pytest.approx(order, abs=0.2)


def test_ddim_has_order_one(flow):
    process, mixture, x, end = flow
    sde = sf.ancestral(sf.ExactField(process, mixture), 0.0)
    errors = [
        float((sf.ODESolver("euler", k).solve(sde, x).x[-1] - end).abs().max()) for k in WINDOW
    ]
    assert slope(errors) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3"])
def test_adaptive_methods_keep_their_tolerance(flow, method):
    """Per step they hold the error below the tolerance; the flow adds some hundred steps."""
    process, mixture, x, end = flow
    sde = sf.reverse(sf.ExactField(process, mixture), 0.0)
    for tolerance in (1e-5, 1e-8):
        solver = sf.ODESolver(method, rtol=tolerance, atol=tolerance)
        path = solver.solve(sde, x)
        assert float((path.x[-1] - end).abs().max()) <= 100 * tolerance
        assert path.t[-1] == process.t_min


@pytest.mark.filterwarnings("ignore:Functional iteration did not converge")
@pytest.mark.parametrize("method", FIXED)
def test_equal_steps_on_the_step_index_equal_torchdiffeq_in_time(method):
    """On equal steps torchdiffeq in process time gives the same states.


    Also for the Adams methods, which start with rk4 and grow to order 12: no one slope describes
    them, and the explicit one is so unstable that 40 steps from t = 2 end at 1e111."""
    sde = sf.SDE(lambda x, t: x * t.cos() + x**2 / 3, None, 1.0, 0.0)
    x, times = torch.linspace(0.5, 2.0, 8, dtype=F64).reshape(4, 2), sde.times(16)
    path = sf.ODESolver(method, steps=16).solve(sde, x, save=17)
    engine = torchdiffeq.odeint(lambda t, y: sde.drift(y, t), x, times, method=method)
    assert torch.allclose(path.x, engine, rtol=1e-12, atol=0)


# ------------------------------------------------------------------------------------------ strong


def strong_errors(method, sde, x, fine: Tensor, ends: Tensor, steps: tuple[int, ...]):
    """sqrt(E |X_h - X|^2) at the end, for each number of steps, all on the path of seed 4."""
    errors = []
    for k in steps:
        times = fine[:: (len(fine) - 1) // k]
        path = sf.SDESolver(method, times=times, fine=fine, seed=4).solve(sde, x)
        errors.append(float((path.x[-1] - ends).square().mean().sqrt()))
    return errors


@pytest.mark.parametrize(("method", "order"), [(m, row.order[0]) for m, row in METHODS.items()])
def test_methods_have_their_strong_order_with_additive_noise(method, order):
    """A particle in a double well: the drift is not linear, so srk's remainder is not zero."""
    sde = sf.SDE(lambda x, t: x - x**3, lambda x, t: torch.as_tensor(0.5, dtype=F64), 0.0, 1.0)
    x, fine = torch.full((1000, 1), 0.5, dtype=F64), sf.processes.uniform_times(0.0, 1.0, 2048)
    ends = sf.SDESolver("srk", times=fine, fine=fine, seed=4).solve(sde, x).x[-1]
    errors = strong_errors(method, sde, x, fine, ends, (32, 64, 128, 256))
    assert slope(errors) == pytest.approx(order, abs=0.3)


def overlapping() -> sf.GaussianMixture:
    """Two components that overlap: where they do not, a few particles that hesitate between two
    modes carry the whole mean square, and a fitted slope is theirs alone."""
    means = torch.tensor([[0.6, 0.2], [-0.5, -0.4]], dtype=F64)
    covariances = torch.tensor([[[0.5, 0.1], [0.1, 0.3]], [[0.3, -0.1], [-0.1, 0.6]]], dtype=F64)
    return sf.GaussianMixture(torch.tensor([0.65, 0.35], dtype=F64), means, covariances)


@pytest.fixture(scope="module", params=["VP", "Linear", "EDM"])
def stochastic(request) -> tuple[sf.SDE, Tensor, Tensor, Tensor]:
    """A reverse SDE with noise, a start, the fine grid, and the ends by srk on all of it."""
    process = {"VP": sf.VP(), "Linear": sf.Linear(), "EDM": sf.EDM()}[request.param]
    mixture = overlapping()
    sde = sf.reverse(sf.ExactField(process, mixture), 1.0)
    x, fine = exact_start(process, mixture, 256), sde.times(1024)
    return sde, x, fine, sf.SDESolver("srk", times=fine, fine=fine, seed=4).solve(sde, x).x[-1]


@pytest.mark.parametrize("method", ["euler", "milstein", "heun", "midpoint", "srk"])
def test_methods_have_their_strong_order_on_the_reverse_sde(stochastic, method):
    sde, x, fine, ends = stochastic
    order = slope(strong_errors(method, sde, x, fine, ends, (32, 64, 128)))
    if (
        method == "srk"
    ):  # 1.5 is what is proved; where the noise is small its drift part is of order 2
        assert 1.2 <= order <= 2.4
    else:
        assert order == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("eta", [0.5, 1.0])
@pytest.mark.parametrize(
    "process", [sf.VP(), sf.processes.SubVP(), sf.Linear()], ids=lambda p: type(p).__name__
)
def test_comoving_and_reverse_converge_to_the_same_path(process, eta, monkeypatch):
    """x and alpha y, driven by the same normals, converge to each other as the steps shrink, with
    strong order one like each of them."""
    # Their times differ, t and sigma / alpha, and so would the noise of a step.
    monkeypatch.setattr(brownian, "addresses", lambda times: list(range(len(times) - 1)))
    mixture = overlapping()
    field, x = sf.ExactField(process, mixture), exact_start(process, mixture, 256)
    first, last = process(torch.tensor([process.t_max, process.t_min], dtype=F64)).alpha
    errors = []
    for steps in (64, 128, 256):
        run = sf.SDESolver("heun", steps, seed=6)
        ends = run.solve(sf.reverse(field, eta), x).x[-1]
        frame = run.solve(sf.sdes.comoving(field, eta), x / first).x[-1] * last
        errors.append(float((frame - ends).square().mean().sqrt()))
    assert slope(errors) > 0.7


def walk(fine: Tensor, n: int, d: int) -> Tensor:
    """W at the end of the path of seed 4, summed by hand."""
    w = sf.solvers.Brownian(4, n, d, F64, times=fine)
    return sum(h**0.5 * w(j, j + 1) for j, h in enumerate(fine.diff().abs().tolist()))


@pytest.mark.parametrize(
    ("calculus", "method", "order"),
    [
        (calculus, m, row.order[1])
        for calculus in ("ito", "stratonovich")
        for m, row in METHODS.items()
        if row.calculus in (None, calculus) and m != "reversible_heun"  # it needs equal steps
    ],
)
def test_methods_have_their_strong_order_on_geometric_brownian_motion(calculus, method, order):
    """dx = a x dt + b x dW: x = x_0 exp((a - b^2 / 2) t + b W) after Ito, exp(a t + b W) after
    Stratonovich. The wrong calculus has order 0. Steps of two sizes."""
    a, b, n = 0.5, 0.8, 1000
    gaps = torch.tensor([0.5, 1.5], dtype=F64).repeat_interleave(1024) / 2048
    fine = torch.cat([torch.zeros(1, dtype=F64), gaps.cumsum(0)])
    sde = sf.SDE(lambda x, t: a * x, lambda x, t: b * x, 0.0, float(fine[-1]), calculus)
    rate = a - b**2 / 2 if calculus == "ito" else a
    ends = torch.exp(rate + b * walk(fine, n, 2))
    x = torch.ones(n, 2, dtype=F64)
    errors = strong_errors(method, sde, x, fine, ends, (32, 64, 128, 256))
    assert slope(errors) == pytest.approx(order, abs=0.3)


def test_brownian_path_is_the_same_on_any_grid():
    """Pure noise, dx = dW: the end is W(1), whatever the step, to round-off."""
    sde = sf.SDE(lambda x, t: 0 * x, lambda x, t: torch.ones((), dtype=F64), 1.0, 0.0)
    fine = sde.times(96)
    x = torch.zeros(50, 2, dtype=F64)
    for k in (1, 3, 8, 96):
        path = sf.SDESolver(times=fine[:: 96 // k], fine=fine, seed=4).solve(sde, x)
        assert torch.allclose(path.x[-1], walk(fine, 50, 2), rtol=0, atol=1e-13)


# -------------------------------------------------------------------------------------------- weak


def test_euler_maruyama_has_the_moments_of_its_markov_chain():
    """On dx = -k x dt + s dW, Euler's chain is Gaussian with moments that are a sum of powers.

    At 8 steps they are far from the exact ones, so no better method passes."""
    k, s, steps, n = 2.0, 0.7, 8, 100_000
    sde = sf.SDE(lambda x, t: -k * x, lambda x, t: torch.as_tensor(s, dtype=F64), 0.0, 1.0)
    end = sf.SDESolver("euler", steps, seed=1).solve(sde, torch.ones(n, 1, dtype=F64)).x[-1]
    keep = 1 - k / steps
    mean = keep**steps
    variance = s**2 / steps * sum(keep ** (2 * j) for j in range(steps))
    z = float(end.mean() - mean) / math.sqrt(variance / n)
    statistic = float((end - mean).square().sum()) / variance
    assert 2 * norm.sf(abs(z)) > 1e-3
    assert 2 * min(chi2.sf(statistic, n), chi2.cdf(statistic, n)) > 1e-3
    continuous = s**2 * (1 - math.exp(-2 * k)) / (2 * k)
    assert chi2.sf(statistic * variance / continuous, n) < 1e-9


@pytest.mark.parametrize("name", ["VP", "EDM"])
def test_euler_maruyama_has_weak_order_one(name):
    """E|x|^2 at the end of the reverse SDE; each bias is well above its scatter."""
    process, mixture = {"VP": sf.VP(), "EDM": sf.EDM()}[name], overlapping()
    sde = sf.reverse(sf.ExactField(process, mixture), 1.0)
    x, fine = exact_start(process, mixture, 2048), sde.times(256)

    def energy(method: str, steps: int) -> Tensor:
        times = fine[:: 256 // steps]
        end = sf.SDESolver(method, times=times, fine=fine, seed=5).solve(sde, x).x[-1]
        return end.square().sum(1)

    truth = energy("heun", 256)  # biased by less than Euler at 128 steps by two orders
    biases = []
    for steps in (32, 64, 128):
        off = energy("euler", steps) - truth
        biases.append(float(off.mean()))
        assert abs(biases[-1]) > 10 * float(off.std()) / math.sqrt(len(off))
    assert slope(biases) == pytest.approx(1.0, abs=0.3)
