"""First passages through several bounds, and through one that moves, against closed forms."""

import math

import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

import sdeflow as sf
from sdeflow import SDESolver
from sdeflow.analysis import Passage, first_passage
from sdeflow.analysis.bounds import Bounds
from tests.problems import close, f64

F64 = torch.float64


def drifting(drift: float, t_end: float) -> sf.SDE:
    return sf.SDE(
        lambda x, t: torch.full_like(x, drift), lambda x, t: x.new_tensor(1.0), 0.0, t_end
    )


def high(x: Tensor) -> Tensor:
    return 1.2 - x[:, 0]


def low(x: Tensor) -> Tensor:
    return x[:, 0] + 0.7


def moving(x: Tensor, t: Tensor) -> Tensor:
    """Distance to the level 1 + t / 2 from below."""
    return 1 + t / 2 - x[:, 0]


def test_exit_of_drifting_brownian_motion_from_an_interval_has_wald_s_probabilities() -> None:
    """P(high) = (1 - e^{2 mu a}) / (e^{-2 mu b} - e^{2 mu a}) from 0 between -a and b; the mean
    time is (b P(high) - a P(low)) / mu. Steps of 0.05 exit by 0.22, a fifth of the way."""
    mu, a, b = 0.4, 0.7, 1.2
    x = torch.zeros(20_000, 1, dtype=F64)
    found = first_passage(drifting(mu, 30.0), x, [low, high], SDESolver(steps=600, seed=4))
    up = (1 - math.exp(2 * mu * a)) / (math.exp(-2 * mu * b) - math.exp(2 * mu * a))
    assert found.censored == 0
    assert (found.probabilities().standard_score(f64([1 - up, up])).abs() < 3).all()
    assert abs(found.mean().standard_score((b * up - a * (1 - up)) / mu)) < 3
    assert repr(found) == "first passage of 20000 particles: 20000 arrived through 2 bounds"


def test_passage_through_a_line_that_moves_is_bachelier_levy_at_any_step() -> None:
    """P(T <= t) = 1 - Phi((a + b t) / sqrt t) + e^{-2 a b} Phi((b t - a) / sqrt t)."""
    a, b, n = 1.0, 0.5, 20_000
    x = torch.zeros(n, 1, dtype=F64)
    found = first_passage(drifting(0.0, 4.0), x, moving, SDESolver(steps=16, seed=5))
    for t in (0.5, 1.0, 2.0, 4.0):
        root = math.sqrt(t)
        exact = norm.sf((a + b * t) / root) + math.exp(-2 * a * b) * norm.cdf((b * t - a) / root)
        share = float(((found.time < t) & found.arrived).double().mean())
        assert abs(share - exact) < 3 * math.sqrt(exact * (1 - exact) / n), t
    assert close(found.probabilities().value, found.arrived.double().mean()[None])


def test_a_bound_that_moves_is_a_bound_at_rest_in_its_frame() -> None:
    x, solver = torch.zeros(400, 1, dtype=F64), SDESolver(steps=50, seed=3)
    there = first_passage(drifting(0.7, 5.0), x, moving, solver)
    here = first_passage(drifting(0.2, 5.0), x, lambda x: 1 - x[:, 0], solver)
    assert torch.equal(there.time, here.time)
    assert torch.equal(there.bound, here.bound)


def test_a_corner_is_left_through_each_side_as_often_as_by_symmetry() -> None:
    """From the middle of a square all four sides are alike; a fifth bound is out of reach."""
    sides = [lambda x, i=i, s=s: 1 - s * x[:, i] for i in (0, 1) for s in (1, -1)]
    far = [*sides, lambda x: 9 + x[:, 0]]
    x = torch.zeros(4000, 2, dtype=F64)
    found = first_passage(sf.sdes.brownian(0.5, 8.0), x, far, SDESolver(steps=160, seed=1))
    share = found.probabilities()
    assert (share.standard_score(f64([0.25] * 4 + [1.0]))[:4].abs() < 3).all()
    assert share.value[4] == 0


@pytest.mark.filterwarnings("ignore:.* of the arrivals fall into one:RuntimeWarning")
def test_of_two_bounds_in_one_step_the_nearer_counts() -> None:
    """One step as long as the interval, from 0.02 above its low end: P(low) = 0.98."""
    x = torch.zeros(2000, 1, dtype=F64)
    near = (high, lambda x: x[:, 0] + 0.02)
    found = first_passage(drifting(0.0, 100.0), x, near, SDESolver(times=[0.0, 2.0], seed=2))
    assert found.probabilities().value[1] > 0.9


def test_particles_that_start_beyond_a_bound_have_arrived_there() -> None:
    solver = SDESolver(steps=20, seed=0)
    start = f64([[-1.0], [2.0], [0.0]])
    found = first_passage(drifting(0.0, 1e-4), start, (low, high), solver)
    assert found.bound.tolist() == [0, 1, -1]
    assert found.time[:2].tolist() == [0, 0]
    assert found.probabilities().value.tolist() == pytest.approx([1 / 3, 1 / 3])
    late = first_passage(drifting(0.0, 1e-4), start, lambda x, t: -t - 1 + x[:, 0], solver)
    assert late.bound.tolist() == [0, -1, 0]


def test_a_function_of_x_and_t_moves_and_one_of_x_does_not() -> None:
    class Level(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return x[:, 0] - t

    functions = [moving, Level(), lambda x, t=0.0: x[:, 0] - t, low, lambda x, c=1.0: c - x[:, 0]]
    assert Bounds.of(functions).moving == (True, True, True, False, False)


def test_a_passage_made_by_hand_has_one_bound() -> None:
    hand = Passage(f64([1.0, 2.0]), torch.tensor([True, False]))
    assert hand.probabilities().value.tolist() == [0.5]


@pytest.mark.parametrize(
    ("distance", "error", "words"),
    [
        ([], ValueError, "empty sequence; give one function for each bound"),
        ([low, 1.0], TypeError, r"distance\[1\] must be a function of the cloud"),
        (lambda x, t: x, ValueError, r"one number per particle, \(9,\), got \(9, 1\)"),
    ],
)
def test_what_is_no_distance_is_refused(distance, error, words: str) -> None:
    with pytest.raises(error, match=words):
        first_passage(drifting(1.0, 1.0), torch.zeros(9, 1), distance, SDESolver())
