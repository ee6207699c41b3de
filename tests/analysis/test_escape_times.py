"""Mean first-passage times against closed forms, a generator, and each other in other units."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.special import erfcx
from torch import Tensor

import sdeflow as sf
from sdeflow import Grid
from sdeflow.analysis import kramers_time, mean_first_passage_time

KT = 4e-21  # J, at room temperature


def quartic(barrier: float, unit: float = 1.0):
    """A double well with minima at -unit and unit."""
    return lambda x: barrier * ((x[:, 0] / unit) ** 2 - 1) ** 2


def test_mean_first_passage_time_equals_that_of_the_markov_generator() -> None:
    """From cell to cell of a lopsided well, up and down, at another temperature and mobility."""

    def lopsided(x: Tensor) -> Tensor:
        return 2 * (x[:, 0] ** 2 - 1) ** 2 + x[:, 0] / 2

    grid = Grid(-2.4, 2.4, (1200,))
    x = grid.middles(0)
    chain = sf.fokker_planck.markov_generator(sf.sdes.langevin(lopsided, 0.8, 1.7), grid)
    low, high = 350, 850
    for start, target, there in ((low, high, x >= x[high]), (high, low, x <= x[low])):
        ours = mean_first_passage_time(lopsided, float(x[start]), float(x[target]), 0.8, 1.7)
        assert ours == pytest.approx(float(chain.passage_time(there)[start]), rel=2e-4)


def test_kramers_time_is_the_first_term_of_the_series() -> None:
    """exact / Kramers = 1 + 3 T / 8 barrier + ...: 3/16 of it from the cubic and quartic terms of
    the well, 3/16 from the quartic of the top (Laplace's method by hand)."""
    barriers = (8.0, 16.0, 32.0)
    excess = [
        mean_first_passage_time(sf.sdes.double_well(b), -1.0, 1.0)
        / kramers_time(sf.sdes.double_well(b), -1.0, 0.0)
        - 1
        for b in barriers
    ]
    assert excess[0] > excess[1] > excess[2] > 0
    scaled = [b * e for b, e in zip(barriers, excess, strict=True)]
    assert 2 * scaled[2] - scaled[1] == pytest.approx(3 / 8, abs=0.01)  # Richardson
    hot = kramers_time(sf.sdes.double_well(8.0), -1.0, 0.0, temperature=2.0, mobility=3.0)
    assert hot == pytest.approx(kramers_time(sf.sdes.double_well(4.0), -1.0, 0.0) / 6, rel=1e-12)


def staircase(x: Tensor) -> Tensor:
    return torch.sin(2 * math.pi * x[:, 0]) + 4 * x[:, 0]


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1e-3, 1.0, 1e3, 1e12])
def test_times_do_not_depend_on_the_units(unit: float) -> None:
    """A time is a length squared over a diffusivity, whatever metre and joule are."""
    found = mean_first_passage_time(quartic(4.0, unit), -unit, unit)
    assert found == pytest.approx(17.3159111902 * unit**2, rel=1e-9)
    joule = mean_first_passage_time(quartic(4.0 * KT, unit), -unit, unit, KT, 1 / KT)
    assert joule == pytest.approx(found, rel=1e-9)
    high = kramers_time(quartic(4.0 * KT, unit), -unit, 0.0, KT, 1 / KT)
    assert high == pytest.approx(kramers_time(quartic(4.0), -1.0, 0.0) * unit**2, rel=1e-9)


@pytest.mark.parametrize(
    ("potential", "exact"),
    [
        (lambda x: x[:, 0].abs(), 2 * (math.e - 1) - 1),  # int_0^1 e^y (2 - e^-y) dy
        (lambda x: -x[:, 0], 1.0),  # distance over speed
        # int_0^1 (1 + y^2) (pi / 2 + arctan y) dy: the tails of e^-U fall as z^-2
        (lambda x: torch.log1p(x[:, 0] ** 2), math.pi - math.log(2) / 3 - 1 / 6),
        # a step up by 1 at 0.5, and a wall at -1
        (
            lambda x: torch.where(x[:, 0] < -1, math.inf, (x[:, 0] > 0.5).double()),
            0.75 + 0.75 * math.e,
        ),
    ],
)  # fmt: skip
def test_times_are_the_closed_forms(potential, exact: float) -> None:
    """A kink, a slope, slow tails, a step and a wall; and each of them mirrored."""
    assert mean_first_passage_time(potential, 0.0, 1.0) == pytest.approx(exact, rel=1e-8)
    mirrored = mean_first_passage_time(lambda x: potential(-x), 0.0, -1.0)
    assert mirrored == pytest.approx(exact, rel=1e-8)
    assert mean_first_passage_time(potential, 0.3, 0.3) == 0.0


@pytest.mark.parametrize("start", [-30.0, -300.0])
def test_fall_by_many_temperatures_takes_the_time_of_the_drift(start: float) -> None:
    """In U = x^2 / 2 down to the bottom: int sqrt(pi / 2) erfcx(y / sqrt 2) dy, or ln |start|."""

    def integrand(u: float) -> float:  # in u = ln y
        y = math.exp(u)
        return math.sqrt(math.pi / 2) * erfcx(y / math.sqrt(2)) * y

    exact = quad(integrand, -40, math.log(-start), epsabs=0, epsrel=1e-11, limit=500)[0]
    found = mean_first_passage_time(lambda x: x[:, 0] ** 2 / 2, start, 0.0)
    assert found == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("barrier", [40.0, 300.0, 690.0])
def test_time_over_a_deep_barrier_is_kramers_with_its_first_correction(barrier: float) -> None:
    well = quartic(barrier)
    ratio = mean_first_passage_time(well, -1.0, 1.0) / kramers_time(well, -1.0, 0.0)
    assert ratio - 1 == pytest.approx(3 / 8 / barrier, rel=1.3 / barrier)


@pytest.mark.parametrize(
    ("potential", "words"),
    [
        (lambda x: 0 * x[:, 0], "does not confine"),
        (lambda x: 0.4 * torch.log1p(x[:, 0] ** 2), "does not confine"),
        (lambda x: torch.sin(7 * x[:, 0]), "does not confine"),
        (lambda x: x[:, 0], "does not confine"),
        (lambda x: x[:, 0] ** 3, "does not confine"),
        (
            lambda x: torch.where((x[:, 0] - 0.5).abs() < 0.1, math.inf, 0) + x[:, 0] ** 2,
            "infinite between start and target",
        ),
        (lambda x: 1000 * x[:, 0] ** 2, r"e\^9\d+.*raise the temperature"),
        (lambda x: x[:, 0] - torch.log(x[:, 0] + 0.5), "NaN at -0.5.*return inf"),
        (lambda x: 1e9 * torch.rand(len(x)).double(), "changes too much"),
    ],
)  # fmt: skip
def test_times_that_are_infinite_or_not_known_are_refused(potential, words: str) -> None:
    with pytest.raises(sf.SdeflowError, match=words):
        mean_first_passage_time(potential, 0.0, 1.0)


def test_kramers_time_of_a_low_barrier_warns() -> None:
    with pytest.warns(RuntimeWarning, match="only 0.5 temperatures high.*use mean_first_passage"):
        kramers_time(quartic(1.0), -1.0, 0.0, temperature=2.0)
    ratio = mean_first_passage_time(quartic(1.99), -1, 1) / kramers_time(quartic(2.0), -1, 0)
    assert ratio > 1.2


# ----------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (
            lambda: mean_first_passage_time(quartic(2.0), -1.0, 1.0, temperature=-1.0),
            ValueError, "temperature must be positive",
        ),
        (lambda: mean_first_passage_time(None, 0.0, 1.0), TypeError, "potential must be a func"),
        (lambda: mean_first_passage_time(quartic(2.0), "0", 1.0), TypeError, "start must be a nu"),
        (lambda: mean_first_passage_time(quartic(2.0), 0.0, math.inf), ValueError, "target must"),
        (lambda: kramers_time(None, -1.0, 0.0), TypeError, "potential must be a function"),
        (lambda: kramers_time(quartic(2.0), 0.0, -1.0), ValueError, "a minimum and a maximum"),
        (lambda: kramers_time(quartic(4.0), -0.8, 0.2), ValueError, "not zero at the well -0.8"),
        (lambda: kramers_time(quartic(4.0), -1.0, 0.2), ValueError, "not zero at the top 0.2"),
        (lambda: kramers_time(quartic(900.0), -1.0, 0.0), sf.SdeflowError, "raise the temper"),
        (
            lambda: kramers_time(staircase, 2.640166, 0.359834),  # a maximum, but two steps down
            ValueError, "is not above the well",
        ),
        (lambda: kramers_time(lambda x: torch.ones(2), -1.0, 0.0), ValueError, "no gradient"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)
