"""What is copied or sent to another process gives the same answers, and goes its own way."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.fields import Prediction
from sdeflow.training.loss import log_uniform_noise, logit_normal_time, normal_log_snr
from tests.problems import PROCESSES, f64, lopsided, randn

X, HALF = randn(6, 2), f64(0.5)
GRID = sf.Grid(-6.0, 6.0, (16, 16))


def network() -> sf.MLP:
    """Small, in float64, with weights that are not 0."""
    mlp = sf.MLP(dim=2, width=6, depth=2, labels=2).double()
    torch.nn.init.normal_(mlp.last.weight, generator=torch.Generator().manual_seed(0))
    return mlp


MLP = network()
LEARNED = sf.LearnedField(sf.VP(), MLP, data_std=0.8)
FIELDS: dict[str, sf.fields.Field] = {
    "mixture": sf.ExactField(sf.VP(), lopsided()),
    "gaussian": sf.ExactField(sf.VP(), sf.GaussianMixture.isotropic(f64([[1.0, 0.0]]), 0.5)),
    "points": sf.ExactField(sf.VP(), sf.datasets.spiral().distribution),
    "squares": sf.ExactField(sf.VP(), sf.datasets.checkerboard().distribution),
    "learned": LEARNED,
    "guided": sf.GuidedField(LEARNED.given(0), LEARNED.given(1), 2.0),
}
SDES: dict[str, Callable[[], sf.SDE]] = {
    "forward": lambda: sf.forward(sf.VP()),
    "reverse": lambda: sf.reverse(LEARNED),
    "flow": lambda: sf.reverse(FIELDS["guided"], 0.0),
    "one Gaussian": lambda: sf.reverse(FIELDS["gaussian"]),
    "comoving": lambda: sf.sdes.comoving(LEARNED, 1.0),
    "ancestral": lambda: sf.ancestral(LEARNED),
    "brownian": sf.sdes.brownian,
    "linear": lambda: sf.sdes.ornstein_uhlenbeck([[1.0, 0.5], [0.0, 2.0]], [1.0, 0.3]),
    "trap": lambda: sf.sdes.langevin(sf.sdes.harmonic(2.0), 0.5),
    "wells": lambda: sf.sdes.langevin(sf.sdes.double_well(2.0)),
    "hat": lambda: sf.sdes.langevin(sf.sdes.mexican_hat()),
    "inertia": lambda: sf.sdes.underdamped(sf.sdes.double_well()),
    "geometric": lambda: sf.sdes.geometric_brownian(0.1, 0.2, calculus="stratonovich"),
}


def of_sde(sde: sf.SDE) -> list[Any]:
    path = sf.SDESolver("euler" if sde.whole_step else "milstein", 3).solve(sde, X)
    kernel = [] if sde.transition is None else list(sde.transition(*sde.times(1).tolist()))
    return [repr(sde), sde.drift(X, HALF), path.x, sde.times(3), *kernel]


def of_dataset(data: sf.datasets.Dataset) -> list[Any]:
    far = [data.distance(X)] if data.curve else []
    return [repr(data), data.sample(5, 0), data.mean, data.std, *far]


NOUNS: dict[str, tuple[Callable[[], Any], Callable[[Any], list[Any]]]] = {
    **{f"process {k}": (lambda p=p: p, lambda p: [*p(p.t_max / 2), p.time_of(0.5)])
       for k, p in PROCESSES.items()},
    **{f"data {k}": (make, of_dataset) for k, make in sf.datasets.NAMES.items()},
    **{f"data {k}, standardised": (lambda m=make: m().standardised(), of_dataset)
       for k, make in sf.datasets.NAMES.items()},
    **{f"field {k}": (lambda f=f: f, lambda f: [repr(f), f.noise(X, 0.5)])
       for k, f in FIELDS.items()},
    **{f"SDE {k}": (make, of_sde) for k, make in SDES.items()},
    "time grid": (lambda: sf.reverse(LEARNED).time_grid, lambda g: [g(5)]),
    "weightings": (
        lambda: [sf.training.prediction_weighting(Prediction.DATA), sf.training.min_snr(),
                 sf.training.edm_weighting(0.5)],
        lambda ws: [w(sf.VP()(f64([0.2, 0.7]))) for w in ws]),
    "time densities": (
        lambda: [log_uniform_noise(0.1, 2.0), normal_log_snr(), logit_normal_time()],
        lambda ps: [p(sf.VP(), f64([0.2, 0.7])) for p in ps]),
    "solvers": (lambda: [sf.SDESolver("heun", 9), sf.ODESolver()], lambda s: list(map(repr, s))),
    "path": (lambda: sf.SDESolver(steps=3).solve(sf.reverse(LEARNED), X), lambda p: [p.x, p.t]),
    "density": (lambda: lopsided().on_grid(GRID), lambda p: [p.mass, p.mean(), repr(p)]),
    "prediction": (lambda: Prediction.VELOCITY, lambda p: [p is Prediction.VELOCITY]),
}  # fmt: skip


def sent(thing: Any) -> Any:
    """As it arrives in another process."""
    return pickle.loads(pickle.dumps(thing))


def same(a: list[Any], b: list[Any]) -> bool:
    """Bit for bit."""
    return len(a) == len(b) and all(
        torch.equal(u, v) if isinstance(u, Tensor) else u == v for u, v in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("travel", [copy.deepcopy, sent])
@pytest.mark.parametrize("noun", NOUNS)
def test_copy_gives_the_same_answers(noun: str, travel: Callable[[Any], Any]) -> None:
    """Before the original has been used, and after: what it has worked out travels too."""
    make, ask = NOUNS[noun]
    thing = make()
    fresh = travel(thing)
    answers = ask(thing)
    assert same(ask(fresh), answers)
    assert same(ask(travel(thing)), answers)


@pytest.mark.parametrize("travel", [copy.deepcopy, sent])
@pytest.mark.parametrize("name", ["reverse", "flow", "comoving", "ancestral"])
def test_copied_sde_has_a_field_of_its_own(name: str, travel: Callable[[Any], Any]) -> None:
    """After the original was trained on, the drift of the copy had moved and its field had not."""
    sde = SDES[name]()
    apart = travel(sde)
    before, moved = of_sde(apart), of_sde(sde)
    kept = {k: v.clone() for k, v in MLP.state_dict().items()}
    try:
        with torch.no_grad():
            for weight in MLP.parameters():
                weight.add_(0.1)
        assert same(of_sde(apart), before)
        assert not torch.equal(sde.drift(X, HALF), moved[1])
    finally:
        MLP.load_state_dict(kept)
    assert apart.drift.coefficients.field is apart.field


def test_sde_keeps_the_matrix_that_it_was_made_with() -> None:
    matrix, noise = f64([[1.0, 0.0], [0.0, 2.0]]), f64([0.5, 0.3])
    sde = sf.sdes.ornstein_uhlenbeck(matrix, noise)
    before = of_sde(sde)
    matrix.mul_(3)
    noise.mul_(3)
    assert same(of_sde(sde), before)
