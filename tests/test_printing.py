"""Processes, distributions, fields, SDEs and solvers print themselves in one line of words."""

import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow.distributions import Arc, Curves, PiecewiseConstant, PointSet
from sdeflow.fields import Prediction
from tests.problems import PROCESSES, lopsided, randn

DOUBLE = torch.float64


class Still(nn.Module):
    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x)


EXACT = sf.ExactField(sf.VP(), lopsided())
LEARNED = sf.LearnedField(sf.EDM(), Still())
GUIDED = sf.GuidedField(EXACT, EXACT, 2.0)
SQUARES = PiecewiseConstant(torch.zeros(2, dtype=DOUBLE), 1.0, torch.ones(2, 3, dtype=DOUBLE))
LINE = Curves((Arc(lambda u: torch.stack([u, u], 1), 0.0, 1.0),))
EXACT_WORDS = "exact field of VP over a mixture of 3 Gaussians in 2 dimensions"

WORDS = [
    (sf.VP(), "VP, beta 0.1 to 20, t from 0.0001 to 1"),
    (sf.processes.SubVP(beta_max=10), "SubVP, beta 0.1 to 10, t from 0.001 to 1"),
    (sf.VE(), "VE, sigma 0.01 to 10, t from 0 to 1"),
    (sf.EDM(), "EDM, t from 0.002 to 80"),
    (sf.Linear(), "Linear, t from 0.001 to 0.999"),
    (sf.processes.Cosine(), "Cosine, s 0.008, t from 0.001 to 0.999"),
    (
        sf.processes.Tabulated((0.9, 0.5, 0.25)),
        "Tabulated, alpha-bar 0.9 to 0.25 in 3 entries, t from 1 to 3",
    ),
    (lopsided(), "a mixture of 3 Gaussians in 2 dimensions"),
    (lopsided().noised(0.5, 0.1), "a mixture of 3 Gaussians in 2 dimensions"),
    (PointSet(randn(7, 2)), "a set of 7 points"),
    (SQUARES, "a density constant on 6 squares"),
    (LINE, "a distribution along curves"),
    (EXACT, EXACT_WORDS),
    (LEARNED, "learned field of EDM, Still, predicts noise"),
    (
        sf.LearnedField(sf.VP(), sf.MLP(labels=4), data_std=0.7).given(3),
        "learned field of VP, MLP, predicts the unit row, data std 0.7, label 3",
    ),
    (
        sf.LearnedField(sf.VP(), sf.MLP(), Prediction.VELOCITY),
        "learned field of VP, MLP, predicts velocity",
    ),
    (
        LEARNED.given(torch.tensor([0, 1])),
        "learned field of EDM, Still, predicts noise, one label per particle",
    ),
    (GUIDED, f"guided field, scale 2: {EXACT_WORDS}; away from {EXACT_WORDS}"),
    (
        sf.GuidedField(EXACT, EXACT, 1.5, (0.1, 5)),
        f"guided field, scale 1.5 at noise levels 0.1 to 5: {EXACT_WORDS}; "
        f"away from {EXACT_WORDS}",
    ),
    (sf.reverse(EXACT), "reverse SDE of VP, eta 1, t from 1 to 0.0001"),
    (sf.reverse(EXACT, 0.0), "probability flow of VP, eta 0, t from 1 to 0.0001"),
    (sf.ancestral(EXACT, 0.5), "ancestral sampling of VP, eta 0.5, t from 1 to 0.0001"),
    (sf.forward(sf.VE()), "forward SDE of VE, t from 0 to 1"),
    (sf.SDESolver("heun", 50, seed=3), "torchsde heun, 50 steps, seed 3"),
    (sf.ODESolver("rk4", steps=9), "torchdiffeq rk4, 9 steps"),
    (sf.ODESolver(), "torchdiffeq dopri5, rtol 1e-05, atol the cloud's width times rtol"),
    (
        sf.solvers.Brownian(3, 100, 2),
        "Brownian path of 100 particles in 2 dimensions, seed 3",
    ),
]


@pytest.mark.parametrize(("noun", "words"), WORDS, ids=[words for _, words in WORDS])
def test_nouns_print_themselves_in_words(noun: object, words: str) -> None:
    assert repr(noun) == str(noun) == words


def test_a_path_prints_its_size_times_and_cost() -> None:
    path = sf.ODESolver("euler", steps=4).solve(sf.reverse(EXACT, 0.0), randn(5, 2))
    assert repr(path) == (
        "path of 5 particles in 2 dimensions, 2 states from t = 1 to 0.0001, 4 evaluations, "
        "finished"
    )


@pytest.mark.parametrize("name", sf.datasets.NAMES)
def test_fields_and_sdes_of_every_data_set_and_process_print_in_one_line(name: str) -> None:
    """And name the process."""
    data = sf.datasets.named(name)
    assert "\n" not in repr(data)
    assert repr(data.distribution) in repr(data)
    for process in PROCESSES.values():
        kind = type(process).__name__
        assert repr(process).startswith(f"{kind}, ")
        if data.distribution.has_posterior:
            field = sf.ExactField(process, data.distribution)
            for noun in (field, sf.reverse(field), sf.sdes.comoving(field)):
                assert f" of {kind}" in repr(noun)
                assert "\n" not in repr(noun)


class Mine(sf.fields.Field):
    """A field of the user, without a `__repr__` of its own."""

    def row(self, c):
        return Prediction.NOISE.row(c)

    def at(self, t, c, like):
        return torch.zeros_like


def test_a_field_of_your_own_prints_its_class_and_process() -> None:
    assert repr(Mine(sf.EDM())) == "Mine of EDM"
