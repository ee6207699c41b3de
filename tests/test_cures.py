"""A refusal names a cure, and the cure works: each is followed to the letter.

Each line is a call that is refused, a piece of its sentence, and the same call after what the
sentence says has been done.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import sdeflow as sf
from tests import test_mistakes as m
from tests.problems import f64, randn

pr, sd, fp, dg, an = sf.processes, sf.sdes, sf.fokker_planck, sf.diagnostics, sf.analysis
GBM = sd.geometric_brownian(0.1, 0.2)
STRATONOVICH = sd.geometric_brownian(0.1, 0.2, calculus="stratonovich")
UNEQUAL = replace(m.ODE, time_grid=lambda k: torch.linspace(0, 1, k + 1).double() ** 2)
CROWD = randn(300, 2)
SHORT = sf.SDESolver("heun", steps=20).solve(m.OU, CROWD)
NARROW = sf.GaussianMixture(f64([1.0]), torch.zeros(1, 2), f64([[[1.0, 0.99999], [0.99999, 1.0]]]))


class Plain(nn.Module):
    """A network that is not ours."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x * self.scale


def solved(method: str, sde: sf.SDE = GBM) -> Callable[[], object]:
    """A run with this method."""
    return lambda: sf.SDESolver(method, steps=4).solve(sde, m.X)


Cures = dict[str, tuple[Callable[[], object], str, Callable[[], object]]]

CURES: Cures = {
    "a list": (
        lambda: m.FIELD.score(m.LIST, 0.5),
        "use torch.tensor(..., dtype=torch.float64)",
        lambda: m.FIELD.score(torch.tensor(m.LIST, dtype=torch.float64), 0.5),
    ),
    "rows in a list": (
        lambda: m.FIELD.score(list(m.X), 0.5),
        "use torch.stack",
        lambda: m.FIELD.score(torch.stack(list(m.X)), 0.5),
    ),
    "an array": (
        lambda: m.FIELD.score(m.NUMPY, 0.5),
        "use torch.from_numpy",
        lambda: m.FIELD.score(torch.from_numpy(m.NUMPY), 0.5),
    ),
    "an array of ints": (
        lambda: m.FIELD.score(np.ones((2, 2), int), 0.5),
        "use torch.from_numpy(...).double()",
        lambda: m.FIELD.score(torch.from_numpy(np.ones((2, 2), int)).double(), 0.5),
    ),
    "whole numbers": (
        lambda: m.FIELD.score(m.INTS, 0.5),
        "convert it with .double()",
        lambda: m.FIELD.score(m.INTS.double(), 0.5),
    ),
    "complex numbers": (
        lambda: m.FIELD.score(m.COMPLEX, 0.5),
        "take its real part",
        lambda: m.FIELD.score(m.COMPLEX.real, 0.5),
    ),
    "a path": (
        lambda: sf.wasserstein(m.PATH, m.X),
        "its last cloud is .x[-1]",
        lambda: sf.wasserstein(m.PATH.x[-1], m.X),
    ),
    "a data set": (
        lambda: sf.wasserstein(sf.datasets.ring(), m.X),
        "draw a cloud with its .sample(n, seed)",
        lambda: sf.wasserstein(sf.datasets.ring().sample(6, 0), m.X),
    ),
    "a density": (
        lambda: sf.wasserstein(m.DENSITY, m.X),
        "draw a cloud with its .sample(n, seed)",
        lambda: sf.wasserstein(m.DENSITY.sample(6, 0), m.X),
    ),
    "a row": (
        lambda: m.FIELD1.score(m.ROW, 0.5),
        "use x[:, None] for particles on a line",
        lambda: m.FIELD1.score(m.ROW[:, None], 0.5),
    ),
    "one particle": (
        lambda: m.FIELD.score(m.X[0], 0.5),
        "x[None] for one particle",
        lambda: m.FIELD.score(m.X[0][None], 0.5),
    ),
    "images": (
        lambda: m.HEUN.solve(m.ODE_AS_SDE, m.IMAGES),
        "flatten each particle with x.flatten(1)",
        lambda: m.HEUN.solve(m.ODE_AS_SDE, m.IMAGES.flatten(1)),
    ),
    "NaN rows": (
        lambda: m.FIELD.score(m.NAN, 0.5),
        "drop those rows",
        lambda: m.FIELD.score(m.NAN[m.NAN.isfinite().all(1)], 0.5),
    ),
    "labels of floats": (
        lambda: m.LABELLED.given(f64([0.0, 1.0])),
        "use .long()",
        lambda: m.LABELLED.given(f64([0.0, 1.0]).long()),
    ),
    "times against the run": (
        lambda: sf.SDESolver(times=m.TIMES).solve(m.REVERSE, m.X),
        "",
        lambda: sf.SDESolver(times=m.DOWN).solve(m.REVERSE, m.X),
    ),
    "times to flip": (
        lambda: sf.evolve(m.OU1, m.DENSITY1, m.TIMES.flip(0)),
        "flip them",
        lambda: sf.evolve(m.OU1, m.DENSITY1, m.TIMES),
    ),
    "a save beside the grid": (
        lambda: m.HEUN.solve(m.OU, m.X, [0.26]),
        "the nearest time is 0.25",
        lambda: m.HEUN.solve(m.OU, m.X, [0.25]),
    ),
    "an ODE solver with noise": (
        lambda: m.RK4.solve(m.REVERSE, m.X),
        "use SDESolver, or the probability flow (eta = 0)",
        lambda: m.RK4.solve(sf.reverse(m.FIELD, eta=0.0), m.X),
    ),
    "fixed steps": (
        lambda: sf.ODESolver("rk4"),
        "give steps= or times=",
        lambda: sf.ODESolver("rk4", times=[0.0, 1.0]),
    ),
    "adaptive steps": (
        lambda: sf.ODESolver("dopri5", steps=5),
        "give rtol= and atol=",
        lambda: sf.ODESolver("dopri5", rtol=1e-3, atol=1e-3),
    ),
    "ancestral steps": (
        lambda: m.HEUN.solve(sf.ancestral(m.FIELD), m.X),
        "use the method 'euler' with steps= or times=",
        lambda: sf.SDESolver("euler", times=m.DOWN).solve(sf.ancestral(m.FIELD), m.X),
    ),
    "ancestral steps of an ODE": (
        lambda: m.RK4.solve(sf.ancestral(m.FIELD, 0.0), m.X),
        "use the method 'euler' with steps= or times=",
        lambda: sf.ODESolver("euler", steps=4).solve(sf.ancestral(m.FIELD, 0.0), m.X),
    ),
    "equal steps": (
        lambda: sf.ODESolver("implicit_adams", steps=9).solve(UNEQUAL, m.X),
        "times=sf.processes.uniform_times(",
        lambda: sf.ODESolver("implicit_adams", times=pr.uniform_times(0.0, 1.0, 9)).solve(
            UNEQUAL, m.X
        ),
    ),
    "narrow times": (
        lambda: sf.ODESolver("implicit_adams", steps=4).solve(m.ODE, m.X.bfloat16()),
        "use x.double()",
        lambda: sf.ODESolver("implicit_adams", steps=64).solve(m.ODE, m.X.double()),
    ),
    "Levy area": (
        lambda: sf.solvers.Brownian(0, 5, 2)(0, 1, return_U=True),
        "make it with levy=True",
        lambda: sf.solvers.Brownian(0, 5, 2, levy=True)(0, 1, return_U=True),
    ),
    "a process beyond its end": (
        lambda: sf.Linear(t_max=1.0),
        "move the ends inwards",
        lambda: sf.Linear(t_max=1.0 - 1e-6),
    ),
    "a data set for a distribution": (
        lambda: sf.ExactField(m.VP, sf.datasets.ring()),
        "pass its .distribution",
        lambda: sf.ExactField(m.VP, sf.datasets.ring().distribution),
    ),
    "a mean without a std": (
        lambda: sf.LearnedField(m.VP, m.NET, data_mean=m.X[0]),
        "give both",
        lambda: sf.LearnedField(m.VP, m.NET, data_mean=m.X[0], data_std=1.0),
    ),
    "labels unknown": (
        lambda: m.LEARNED.given(0),
        "make it with labels=",
        lambda: sf.LearnedField(m.VP, sf.MLP(width=4, labels=2)).given(0),
    ),
    "labels of a file": (
        lambda: sf.fit(m.LEARNED, lambda n, s: (m.X, torch.zeros(6).long()), 1),
        "use MLP(labels=...)",
        lambda: sf.fit(
            sf.LearnedField(m.VP, sf.MLP(width=4, labels=1)),
            lambda n, s: (m.X, torch.zeros(6).long()),
            1,
        ),
    ),
    "a data set for its draws": (
        lambda: sf.fit(m.LEARNED, sf.datasets.ring(), 1),
        "pass data.sample",
        lambda: sf.fit(m.LEARNED, sf.datasets.ring().sample, 1),
    ),
    "a floor of a mixture": (
        lambda: dg.sampling_floor(m.MIX, 5),
        "give its method .sample",
        lambda: dg.sampling_floor(m.MIX.sample, 5),
    ),
    "large clouds": (
        lambda: sf.wasserstein(torch.zeros(5001, 1), torch.zeros(5001, 1)),
        "use sliced_wasserstein",
        lambda: dg.sliced_wasserstein(torch.zeros(5001, 1), torch.zeros(5001, 1)),
    ),
    "clouds of two sizes": (
        lambda: sf.wasserstein(m.X, m.X[:3]),
        "take the first",
        lambda: sf.wasserstein(m.X[:3], m.X[:3]),
    ),
    "few particles": (
        lambda: sf.check_density(m.X, m.DENSITY),
        "at least 100 particles",
        lambda: sf.check_density(m.MIX.sample(100, 0), m.DENSITY),
    ),
    "half a density": (
        lambda: sf.check_density(CROWD, sf.Density(m.GRID, m.DENSITY.mass * 0.4)),
        "normalise it",
        lambda: sf.check_density(CROWD, sf.Density(m.GRID, m.DENSITY.mass * 0.4).normalised()),
    ),
    "a path without densities": (
        lambda: dg.check_path(
            sf.SDESolver(steps=8).solve(m.OU1, randn(200, 1), 9), _evolved(m.TIMES)
        ),
        "evolve to path.t",
        lambda: dg.check_path(
            (path := sf.SDESolver(steps=8).solve(m.OU1, randn(200, 1), 9)), _evolved(path.t)
        ),
    ),
    "a sparse path": (
        lambda: dg.dynkin_test(SHORT, m.OU),
        "solve with save=steps + 1",
        lambda: dg.dynkin_test(sf.SDESolver("heun", steps=20).solve(m.OU, CROWD, 21), m.OU),
    ),
    "heights": (
        lambda: sf.Density(m.GRID1, torch.ones(32)),
        "divide them by their sum",
        lambda: sf.Density(m.GRID1, torch.ones(32) / torch.ones(32).sum()),
    ),
    "negative mass": (
        lambda: sf.Density(m.GRID1, torch.linspace(-0.01, 0.05, 32)),
        "set it to zero there",
        lambda: sf.Density(m.GRID1, torch.linspace(-0.01, 0.05, 32).clamp_min(0)),
    ),
    "a cloud outside": (
        lambda: sf.Density.from_samples(m.GRID, m.X + 50),
        "move or widen it",
        lambda: sf.Density.from_samples(sf.Grid(-60.0, 60.0, (24, 24)), m.X + 50),
    ),
    "another grid than the generator": (
        lambda: m.GENERATOR.rate(m.DENSITY),
        "use generator.grid",
        lambda: m.GENERATOR.rate(m.MIX1.on_grid(m.GENERATOR.grid)),
    ),
    "a coarse grid": (
        lambda: sf.evolve(_still(), _peak(32), m.TIMES),
        "use finer cells",
        lambda: sf.evolve(_still(), _peak(128), m.TIMES),
    ),
    "a small box": (
        lambda: sf.evolve(sd.brownian(4.0), _peak(64, 4.0), m.TIMES),
        "use a larger box",
        lambda: sf.evolve(sd.brownian(4.0), _peak(512, 40.0), m.TIMES),
    ),
    "long steps": (
        lambda: sf.evolve(_steep(), _peak(128), m.TIMES, steps=4),
        "use more steps",
        lambda: sf.evolve(_steep(), _peak(128), m.TIMES, steps=800),
    ),
    "a tilted ridge": (
        lambda: NARROW.on_grid(sf.Grid(-80.0, 80.0, (16, 16))),
        "refine the grid",
        lambda: NARROW.on_grid(sf.Grid(-80.0, 80.0, (256, 256))),
    ),
    "a tilted line": (
        lambda: sf.GaussianMixture(f64([1.0]), torch.zeros(1, 2), torch.ones(1, 2, 2)).on_grid(
            m.GRID
        ),
        "add noise",
        lambda: sf.GaussianMixture(f64([1.0]), torch.zeros(1, 2), torch.ones(1, 2, 2)).on_grid(
            m.GRID, sigma=0.1
        ),
    ),
    "bare points": (
        lambda: m.POINTS.log_prob(m.X),
        "pass sigma > 0",
        lambda: m.POINTS.log_prob(m.X, 1.0, 0.1),
    ),
    "points without labels": (
        lambda: an.class_purity(sf.ExactField(m.VP, sf.distributions.PointSet(m.X)), m.RHO, 9),
        "pass labels= to PointSet",
        lambda: an.class_purity(
            sf.ExactField(m.VP, sf.distributions.PointSet(m.X, labels=torch.arange(6))), m.RHO, 9
        ),
    ),
    "labels in a list": (
        lambda: sf.datasets.from_points(m.X, ROW_OF_FLOATS),
        "use .long()",
        lambda: sf.datasets.from_points(m.X, ROW_OF_FLOATS.long()),
    ),
    "one place": (
        lambda: sf.datasets.from_points(1e9 + m.X),
        "subtract their mean or rescale them",
        lambda: sf.datasets.from_points(1e9 + m.X - (1e9 + m.X).mean(0)),
    ),
    "an energy per axis": (
        lambda: m.HEUN.solve(sd.langevin(lambda x: x**2), m.X),
        "sum over the coordinates",
        lambda: m.HEUN.solve(sd.langevin(lambda x: (x**2).sum(1)), m.X),
    ),
    "an unstable matrix": (
        lambda: sd.ornstein_uhlenbeck([[-1.0]]),
        "use SDE for an unstable drift",
        lambda: m.HEUN.solve(sf.SDE(lambda x, t: x, lambda x, t: f64(1.0), 0.0, 1.0), m.LINE),
    ),
    "one column": (
        lambda: m.HEUN.solve(sd.underdamped(sd.harmonic()), m.LINE),
        "append a velocity for each position",
        lambda: m.HEUN.solve(
            sd.underdamped(sd.harmonic()), torch.cat([m.LINE, torch.zeros_like(m.LINE)], 1)
        ),
    ),
    "one label per particle": (
        lambda: sd.calibrate(m.LABELLED.given(torch.tensor([0, 1, 2])), 2),
        "give all particles one label, as field.given(k) does",
        lambda: sd.calibrate(m.LABELLED.given(1), 2, pilot=16),
    ),
    "a variance with eta": (
        lambda: sf.ancestral(m.FIELD, 0.5, variance=lambda t: t[1:]),
        "use eta = 1",
        lambda: sf.ancestral(m.FIELD, 1.0, variance=lambda t: t[1:]),
    ),
    "a variance at other times": (
        lambda: m.EULER.solve(sf.ancestral(m.FIELD, variance=m.VARIANCE), m.X),
        "give the solver times= with the same ones",
        lambda: sf.SDESolver(times=m.VARIANCE.times).solve(
            sf.ancestral(m.FIELD, variance=m.VARIANCE), m.X
        ),
    ),
    "a variance of a learned field": (
        lambda: an.optimal_variance(m.LEARNED, m.DOWN),
        "use learned_variance",
        lambda: an.learned_variance(m.LEARNED, m.X.float(), m.DOWN),
    ),
    "no state there": (
        lambda: an.two_time_covariance(m.HEUN.solve(m.OU, m.X), 0.5, 0.0),
        "ask for it in the solver's save=",
        lambda: an.two_time_covariance(m.HEUN.solve(m.OU, m.X, [0.0, 0.5]), 0.5, 0.0),
    ),
    "none arrived": (
        lambda: an.first_passage(m.OU1, m.LINE + 2, _left, m.EULER).mean(),
        "ask for rate()",
        lambda: an.first_passage(
            replace(m.OU1, t_end=40.0), m.LINE + 2, _left, sf.SDESolver(steps=400)
        ).mean(),
    ),
    "a peak at the end": (
        lambda: an.Curve(m.RHO, f64([1.0, 2.0, 3.0])).peak(),
        "take a wider range of levels",
        lambda: an.Curve(f64([3.0, 1.0, 0.3, 0.1]), f64([1.0, 2.0, 3.0, 2.0])).peak(),
    ),
    "a guided field of networks": (
        lambda: an.guided_law(sf.GuidedField(m.LEARNED, m.LEARNED, 2.0), m.GRID),
        "give conditional=",
        lambda: None,
    ),
    "an error budget in another time": (
        lambda: dg.error_budget(m.X, sd.comoving(m.FIELD), m.DOWN, m.FIELD, m.GRID),
        "give reverse(field)",
        lambda: None,
    ),
}

ROW_OF_FLOATS = f64([0, 0, 1, 1, 2, 2])


def _left(x: Tensor) -> Tensor:
    return x[:, 0]


def _evolved(times: Tensor) -> sf.fokker_planck.DensityPath:
    return sf.evolve(m.OU1, m.DENSITY1, times)


def _peak(cells: int, half: float = 6.0) -> sf.Density:
    return sf.GaussianMixture.isotropic(f64([[0.0]]), 0.3).on_grid(sf.Grid(-half, half, (cells,)))


def _still() -> sf.SDE:
    return sf.SDE(lambda x, t: torch.cos(x), lambda x, t: f64(0.05), 0.0, 1.0)


def _steep() -> sf.SDE:
    return sf.SDE(lambda x, t: -8 * x, lambda x, t: f64(2.0), 0.0, 1.0)


@pytest.mark.parametrize(("call", "sentence", "cured"), CURES.values(), ids=CURES.keys())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # above a warning's limit still
def test_cure_works(
    call: Callable[[], object], sentence: str, cured: Callable[[], object]
) -> None:
    with pytest.raises((TypeError, ValueError, sf.SdeflowError)) as error:
        call()
    assert sentence in str(error.value)
    cured()


@pytest.mark.parametrize("sde", [GBM, STRATONOVICH], ids=["ito", "stratonovich"])
def test_methods_that_are_advised_run(sde: sf.SDE) -> None:
    wrong = "heun" if sde.calculus == "ito" else "euler"
    with pytest.raises(ValueError, match="use one of") as error:
        solved(wrong, sde)()
    for method in str(error.value).split("use one of ")[1].split(", "):
        assert torch.isfinite(solved(method, sde)().x).all()


@given(st.floats(0.05, 6.0))
def test_mass_that_may_be_missing_is_enough(half: float) -> None:
    normal = sf.GaussianMixture.isotropic(torch.zeros(1, 1, dtype=torch.float64), 1.0)
    grid = sf.Grid(-half, half, (16,))
    try:
        normal.on_grid(grid)
    except ValueError as error:
        normal.on_grid(grid, missing=float(str(error).split("missing=")[1]))
