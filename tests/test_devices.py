"""Every public function on every device there is: it answers there, or on the CPU.

Each line of a table calls one function with what lies on a device, and is compared with the same
call on the CPU. Where there is no GPU, `FakeDevice` finds what a GPU would refuse: to mix tensors
of two devices.
"""

import copy
import inspect
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow._blocks import GPU_ROWS, blocked
from sdeflow.command.cli import main
from sdeflow.experiment import run, simulation, view
from sdeflow.experiment.config import Config
from sdeflow.solvers.adapters import StepIndices
from tests.fake_device import FAKE, FakeDevice, MixedDevicesError
from tests.problems import f64, lopsided, randn
from tests.refusals import members

pr, di, fi, tr, sd, so = (
    sf.processes, sf.distributions, sf.fields, sf.training, sf.sdes, sf.solvers,
)  # fmt: skip
fp, dg, an, im, ig = (
    sf.fokker_planck, sf.diagnostics, sf.analysis, sf.images, sf.integrations,
)  # fmt: skip

GPUS = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
DEVICES = GPUS or [FAKE]


def fake_device_works() -> bool:
    """Whether this torch can make a subclass of a tensor under a dispatch mode, as solvers do."""
    try:
        with FakeDevice():
            StepIndices.of([0, 1])
    except RuntimeError:  # torch 2.4
        return False
    return True


pytestmark = pytest.mark.skipif(
    not (GPUS or fake_device_works()), reason="no GPU, and a torch too old for the fake device"
)
REDUCERS = [
    sf.simulation.Histogram(sf.Grid(-6.0, 6.0, (8, 8))), sf.simulation.Moments(),
    sf.simulation.Quantiles(), sf.simulation.Keep(2),
    sf.simulation.Values(lambda path: path.x[-1].norm(dim=1), sf.simulation.Quantiles()),
]  # fmt: skip
Move = Callable[[Any], Any]
"""Moves a tensor, a network or a distribution to the device."""


def moved(thing: Any, device: torch.device) -> Any:
    """The thing on a device; a copy, so that calls do not see one another."""
    return (copy.deepcopy(thing) if isinstance(thing, nn.Module) else thing).to(device)


def here(thing: Any) -> Any:
    """A copy on the CPU."""
    return copy.deepcopy(thing)


@pytest.fixture(params=DEVICES, ids=str)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each GPU, and the fake device if there is none."""
    return request.param


def entered(device: torch.device) -> FakeDevice | nullcontext:
    """A context in which tensors can be moved to the device."""
    return FakeDevice() if device == FAKE else nullcontext()


# ------------------------------------------------------------------------------- what is moved

X = randn(100, 2)
INSIDE = X.clamp(-2, 2)
SINGLE = X.float()
VP = sf.VP()
MIX = lopsided()
POINTS = di.PointSet(X[:8], torch.arange(8) % 2)
CHECKED = sf.datasets.checkerboard()
SQUARES = CHECKED.distribution
PARTS = (MIX, POINTS, SQUARES)
MOVED = (MIX, POINTS, sf.GaussianMixture.isotropic(X[:3], 0.3))
EXACT = sf.ExactField(VP, MIX)
PROCESSES = (VP, pr.SubVP(), sf.VE(), sf.Linear(), sf.EDM(), pr.Cosine(), pr.Tabulated.ddpm(9))
OU = sd.ornstein_uhlenbeck([[1.0, 0.5], [0.0, 2.0]], [1.0, 0.8])
MILD = sf.SDE(lambda x, t: -x, lambda x, t: 1 + x.sin() / 2, 0.0, 1.0)
MATRIX = sf.SDE(
    lambda x, t: -x, lambda x, t: torch.diag_embed(1 + x**2), 0.0, 1.0, noises=2,
    calculus="stratonovich",
)  # fmt: skip
NARROW = sd.Box([-3.0, -3.0], [3.0, 3.0], ["periodic", ("reflecting", "absorbing")])
WALLED = sd.langevin(sd.double_well(), walls=NARROW)
RING = sd.langevin(force=lambda x, t: torch.ones_like(x), walls=sd.Box(-3.0, 3.0, "periodic"))
GRID = sf.Grid(-6.0, 6.0, (16, 16))
LINE = sf.Grid(-2.5, 2.5, (64,))
DENSITY = MIX.on_grid(GRID)
TIMES, T3 = [1.0, 0.6, 0.3], [1.0, 0.5, 1e-4]
T, T9, HALF = f64([0.2, 0.7]), f64([2.0, 3.0]), torch.full((100,), 0.5)
RHO = f64([3.0, 1.0, 0.3])
LOOSE: dict[str, Any] = {"steps": 4, "refuse": fp.Diagnostics(1.0, 1.0, 9.0, 1.0, 1.0, 0.1)}
EULER, HEUN = sf.SDESolver("euler", steps=5), sf.SDESolver("heun", steps=4)
RK4 = sf.ODESolver("rk4", steps=3)
COARSE = sf.ODESolver("dopri5", rtol=1.0, atol=1.0)
FLOW = sf.reverse(EXACT, 0.0)
PAGES = torch.linspace(-1, 1, 4 * 256).reshape(4, 256)
CLIP = im.ContrastiveModel(dim=4, channels=4, width=8, depth=1, heads=2)
VECTORS = torch.eye(4)


def driven(x: Tensor, control: Any = 1.0) -> Tensor:
    """A potential whose stiffness changes in time."""
    return control * (x**2).sum(1)


DRIVEN = sd.langevin(driven, protocol=lambda t: 1 + t)
WORK = (driven, lambda t: 1 + t)


def outside(x: Tensor) -> Tensor:
    """The distance from the unit disc."""
    return x.norm(dim=1) - 1


def leaving(x: Tensor, t: Tensor) -> Tensor:
    """The distance to a wall that recedes."""
    return 4 + t - x[:, 0]


class Two(nn.Module):
    """A network of another program."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.inner(x) * t.reshape(-1, 1)


TWO = Two()
OU0 = replace(OU, diffusion=None, transition=None)


def calibrated(m: Move) -> sf.SDE:
    """Fitted steps, by a flow of few steps."""
    with patch("sdeflow.sdes.calibration.TEACHER", 8):
        return sd.calibrate(learned(m), 2, m(X[:16]))


def exact(m: Move) -> sf.ExactField:
    """An exact field whose distribution lies on the device."""
    return sf.ExactField(VP, m(MIX))


def learned(m: Move, labels: int = 0, process: pr.Process = VP, **given: Any) -> sf.LearnedField:
    """A learned field whose network lies on the device."""
    network = m(sf.MLP(width=8, depth=1, waves=4, labels=labels))
    return sf.LearnedField(process, network, data_std=1.0, **given)


def vectors(m: Move, dim: int = 2) -> sf.LearnedField:
    """A field conditioned on vectors."""
    network = m(fi.VectorMLP(dim, width=8, depth=1, table=torch.eye(dim)))
    return sf.LearnedField(sf.EDM(), network, data_std=1.0)


def fields(m: Move) -> list[fi.Field]:
    """A field of every kind, with what it is made of here and there."""
    told, one = learned(m, 2), learned(m, 2).given(1)
    return [
        EXACT, exact(m), sf.ExactField(VP, POINTS), sf.ExactField(VP, SQUARES), learned(m), one,
        sf.GuidedField(one, told, 2.0), sf.GuidedField(EXACT.given(0), exact(m), 2.0),
        sf.GuidedField(told.given(0), told.given(None), 2.0),
        fi.LossGuidedField(EXACT, lambda x: x[:, 0] ** 2, data_std=1.0),
        sf.LearnedField(VP, sf.MLP(width=8, depth=1, waves=4), data_std=1.0),
    ]  # fmt: skip


def walk(m: Move, sde: sf.SDE = OU, steps: int = 5, x: Tensor = X) -> so.Path:
    """A run on the device, every step of it saved."""
    method = "euler" if sde.walls else "heun"
    return sf.SDESolver(method, steps=steps, seed=3).solve(sde, m(x), save=steps + 1)


def end(m: Move, sde: sf.SDE, solver: Any = EULER) -> Tensor:
    """The end of a run on the device."""
    return solver.solve(sde, m(INSIDE)).x[-1]


def gradient(m: Move, solver: Any, sde: sf.SDE, how: Any = True) -> Tensor:
    """The gradient of the end of a run by its start."""
    x = m(X).requires_grad_()
    solver.solve(sde, x, differentiable=how).x[-1].square().sum().backward()
    assert x.grad is not None
    return x.grad


def trained(m: Move, sample: Any, labels: int = 0, **more: Any) -> list[Tensor]:
    """The weights after two steps of training."""
    pairs = fi.Pairs.COUPLED if more else fi.Pairs.INDEPENDENT
    field = learned(m, labels, pairs=pairs)
    sf.fit(field, sample, 2, config=tr.TrainingConfig(batch=16), **more)
    return [p.detach() for p in field.network.parameters()]


def budget(m: Move) -> str:
    """The error budget of a cloud on the device."""
    sde, times = sf.ancestral(exact(m)), pr.log_snr_times(VP, 4)
    start = VP.prior(200, 2, 0, torch.float64, device=m(X).device)
    x = sf.SDESolver("euler", times=times).solve(sde, start).x[-1]
    return repr(dg.error_budget(x, sde, times, exact(m), GRID, **LOOSE))


# ------------------------------------------------------------------ functions that answer there

THERE: dict[str, Callable[[Move], Any]] = {
    "Process.__call__": lambda m: [p(m(T9 if p.t_max == 9 else T)) for p in PROCESSES],
    "Process.drift, diffusion": lambda m: [
        f(m(T)) for p in PROCESSES[:6] for f in (p.drift, p.diffusion)
    ],
    "Process.log_snr, noise_level, time, time_of": lambda m: [
        f(m(T9 if p.t_max == 9 else T))
        for p in PROCESSES
        for f in (p.log_snr, p.noise_level, p.time, p.time_of)
    ],
    "Process.perturb": lambda m: [VP.perturb(m(X), t, m(X)) for t in (f64(0.4), m(f64(0.4)))],
    "Process.prior": lambda m: [
        VP.prior(5, 2, 0, device=m(X).device),
        VP.prior(5, 2, 0, device=m(X).device, data=MIX),
        VP.prior(5, 2, 0, data=m(X)),
        VP.prior(5, 2, 0, data=m(MIX)),
    ],
    "Distribution.log_prob": lambda m: [
        p.log_prob(m(X), a, s)
        for p in (*PARTS, *map(m, MOVED))
        for a, s in ((0.7, 0.5), (0.7, m(HALF)))
    ],
    "GaussianMixture.score": lambda m: [p.score(m(X)) for p in (MIX, m(MIX))],
    "PiecewiseConstant.log_prob": lambda m: SQUARES.log_prob(m(X)),
    "Distribution.posterior": lambda m: [
        p.posterior(m(X), 0.7, 0.5) for p in (*PARTS, *map(m, MOVED))
    ],
    "Distribution.noise_mean": lambda m: [
        p.noise_mean(0.7, 0.5, m(X))(m(X)) for p in (*PARTS, *map(m, MOVED))
    ],
    "Distribution.to, sample_labelled, mean": lambda m: [
        [m(p).sample_labelled(5, 0), m(p).mean()] for p in MOVED
    ],
    "Distribution.given, moved": lambda m: [
        [
            m(p).given(0).sample(5, 0),
            m(p).moved([1.0, 0.0], 2.0).sample(5, 0),
            m(p).moved([1.0, 0.0], [[1.0, 0.5], [0.0, 1.0]]).sample(5, 0),
        ]
        for p in MOVED[:2]
    ],
    "GaussianMixture.noised, covariance": lambda m: [
        m(MIX).noised(0.7, 0.5).sample(5, 0),
        m(MIX).covariance(),
    ],
    "PointSet.mixture": lambda m: m(di.PointSet(X, width=0.1)).log_prob(m(X)),
    "cell": lambda m: [
        f(m(X)) for f in (SQUARES.cell, sf.datasets.checkerboard().cell, GRID.cell)
    ],
    "Density.log_prob": lambda m: DENSITY.log_prob(m(X)),
    "Units, Dataset.restore": lambda m: [
        di.Units([1.0, 0.0], [[2.0, 0.5], [0.0, 1.0]]).restore(m(X)),
        di.Units([1.0, 0.0], 2.0).standardise(m(X)),
        sf.datasets.two_moons().standardised().restore(m(X)),
        sf.datasets.two_moons().curve[0].place(m(T)),
    ],
    "Dataset.distance": lambda m: sf.datasets.two_moons().distance(m(X)),
    "Field.data": lambda m: [f.data(m(X), 0.5) for f in fields(m)],
    "Field.velocity": lambda m: [f.velocity(m(X), m(HALF)) for f in fields(m)],
    "Field.noise, predict, split": lambda m: [
        [f.noise(m(X), HALF), f.predict(fi.Prediction.V, m(X), HALF), f.split(m(X), f64(0.5))]
        for f in (EXACT, learned(m))
    ],
    "Field.score": lambda m: [f.score(m(X), m(f64(0.5))) for f in fields(m)],
    "ExactField.log_prob, sample": lambda m: [
        EXACT.log_prob(m(X), 0.4),
        exact(m).log_prob(m(X), 0.4),
        exact(m).sample(5, 0),
    ],
    "LearnedField.given, told": lambda m: [
        *(learned(m, 2).given(c).score(m(X), 0.4) for c in (1, m(HALF.long()), HALF.long())),
        *(vectors(m).told(v).score(m(X), 0.4) for v in (X, m(X))),
    ],
    "from_torch": lambda m: ig.from_torch(m(TWO), ig.FlowMatching(1)).score(m(SINGLE), 0.5),
    "UNet": lambda m: m(fi.UNet((1, 4, 4), channels=8, labels=2))(
        m(torch.ones(3, 1, 4, 4)), m(torch.zeros(3)), m(torch.arange(3) % 2)
    ),
    "loss": lambda m: [
        tr.loss(learned(m), m(SINGLE), t, m(SINGLE), tr.min_snr()).detach()
        for t in (HALF, m(HALF))
    ],
    "loss of a network elsewhere": lambda m: tr.loss(
        learned(here), m(SINGLE), HALF, m(SINGLE)
    ).detach(),
    "weightings": lambda m: [
        tr.loss(learned(m), m(SINGLE), m(HALF), m(SINGLE), w).detach()
        for w in (tr.edm_weighting(1.0), tr.prediction_weighting(fi.Prediction.V))
    ],
    "time densities": lambda m: [
        f(VP, m(T))
        for f in (
            tr.uniform_time,
            tr.uniform_log_snr,
            tr.log_uniform_noise(0.1, 1.0),
            tr.normal_log_snr(),
            tr.logit_normal_time(),
        )
    ],
    "optimal_transport": lambda m: tr.optimal_transport(m(X), m(X.flip(0) + 1)),
    "fit": lambda m: [trained(m, s) for s in (MIX.sample, m(MIX).sample)],
    "fit, labels": lambda m: [
        trained(m, s, 3) for s in (MIX.sample_labelled, m(MIX).sample_labelled)
    ],
    "fit, coupling": lambda m: trained(m, m(MIX).sample, coupling=tr.optimal_transport),
    "SDE.drift": lambda m: [
        s.drift(m(X), t)
        for s in (sf.reverse(learned(m)), sf.forward(VP), OU, DRIVEN, sd.underdamped(driven))
        for t in (f64(0.5), m(f64(0.5)))
    ],
    "rescale": lambda m: fp.rescale(sf.reverse(learned(m)), fp.Rescaling(VP)).drift(m(X), HALF[0]),
    "reverse, comoving, ancestral, multistep": lambda m: [
        end(m, s)
        for f in (exact(m), learned(m))
        for s in (sf.reverse(f), sd.comoving(f), sf.ancestral(f), sf.multistep(f, 1.0))
    ],
    "multistep, Spread": lambda m: end(
        m, sf.multistep(learned(m), spread=sd.Spread(m(torch.zeros(2)), 1.0, 1.0))
    ),
    "forward, classical, walls, starting": lambda m: [
        end(m, s)
        for s in (
            sf.forward(VP),
            OU,
            DRIVEN,
            WALLED,
            RING,
            sd.brownian(),
            sd.geometric_brownian(0.1, 0.2),
            sd.langevin(sd.mexican_hat()),
            sd.underdamped(sd.harmonic()),
            sd.starting(OU, OU.times(5)[torch.arange(len(X)) % 3]),
        )
    ],
    "SDESolver.solve": lambda m: [
        end(m, s, sf.SDESolver(k, steps=4))
        for k, s in (
            ("heun", OU),
            ("srk", MILD),
            ("milstein", MILD),
            ("srk", OU),
            ("reversible_heun", OU),
            ("midpoint", OU),
            ("log_ode", MATRIX),
        )
    ],
    "SDESolver.solve, noise drawn there": lambda m: [
        end(m, s, sf.SDESolver(k, steps=2, noise="device"))
        for k, s in (("euler", OU), ("srk", MILD), ("log_ode", MATRIX), ("euler", WALLED))
    ],
    "SDESolver.solve, one path": lambda m: [
        end(m, OU, sf.SDESolver("srk", times=[0, 0.5, 1], fine=np.linspace(0, 1, 5), noise=where))
        for where in ("cpu", "device")
    ],
    "SDESolver.solve, a path": lambda m: EULER.solve(OU, EULER.solve(OU, m(X))).x,
    "solve, differentiable": lambda m: [
        gradient(m, HEUN, OU),
        gradient(m, RK4, FLOW),
        gradient(m, RK4, FLOW, "adjoint"),
    ],
    "ODESolver.solve": lambda m: [
        s.solve(sf.reverse(f, 0.0), m(X)).x[-1] for s in (RK4, COARSE) for f in (EXACT, learned(m))
    ],
    "ODESolver.solve, event": lambda m: [
        (p := replace(COARSE, event=leaving).solve(OU0, m(X))).x[-1],
        p.events.x,
    ],
    "Brownian": lambda m: [
        b
        for where in ("cpu", "device")
        for b in (
            so.Brownian(0, 5, 2, device=m(X).device, noise=where)(0, 1),
            *so.Brownian(0, 5, 2, device=m(X).device, levy=True, noise=where)(0, 1, True),
            *so.Brownian(0, 5, 2, device=m(X).device, area=True, noise=where)(0, 1, False, True),
            so.Brownian(0, 5, 2, device=m(X).device, walls=True, noise=where).crossing(0),
        )
    ],
    "Box.clamped": lambda m: NARROW.clamped(m(X)),
    "calibrate": lambda m: end(m, calibrated(m), sf.SDESolver(steps=2)),
    "log_likelihood": lambda m: [
        an.log_likelihood(EXACT, m(X[:4]), RK4),
        an.log_likelihood(learned(m), m(X[:4]), RK4, lambda x: -(x**2).sum(1)),
    ],
    "hutchinson_log_likelihood": lambda m: an.hutchinson_log_likelihood(EXACT, m(X[:4]), RK4, 2),
    "encode, decode": lambda m: [an.encode(EXACT, m(X), RK4), an.decode(learned(m), m(X), RK4)],
    "gaussian_kl": lambda m: an.gaussian_kl(m(X), 1.0, m(X + 1), m(X.abs())),
    "work, heat": lambda m: [f(walk(m, DRIVEN), *WORK) for f in (an.work, an.heat)],
    "ContrastiveModel": lambda m: [
        m(CLIP).embed_pictures(PAGES),
        m(CLIP).embed_text(["a hat"]),
        m(CLIP).loss(m(PAGES), ["hat", "belt", "one", "two"]).detach(),
    ],
    "contrastive_loss, zero_shot, retrieval, direction": lambda m: [
        im.contrastive_loss(m(VECTORS), m(VECTORS), 1.0),
        im.zero_shot(m(CLIP), PAGES),
        im.retrieval(m(CLIP), m(PAGES), ["hat"]),
        im.direction(m(CLIP), m(PAGES), m(PAGES) / 2),
    ],
    "nearest_words": lambda m: im.nearest_words(m(CLIP), VECTORS)[1],
    "Judge.judge": lambda m: m(im.Judge(channels=4)).judge(PAGES).confidence,
    "Prior.embeddings": lambda m: im.Prior(vectors(m, 4)).embeddings(m(VECTORS), steps=2),
    "Decoder.pictures": lambda m: im.Decoder(vectors(m, 4)).pictures(m(VECTORS), steps=2),
    "LinearPrior, fit_linear_prior": lambda m: im.fit_linear_prior(
        m(randn(9, 4)), randn(9, 4, seed=1)
    ).embeddings(m(VECTORS.double())),
}


# ---------------------------------------------------------- functions that answer on the CPU


def written(m: Move) -> np.ndarray:
    """A cloud in a file, where zarr is installed."""
    if find_spec("zarr") is None:
        return np.zeros(1)
    with tempfile.TemporaryDirectory() as folder:
        sf.simulate(OU, m(X), solver=EULER, out=Path(folder) / "cloud.zarr")
        return sf.open_cloud(Path(folder) / "cloud.zarr")[:]


HERE: dict[str, Callable[[Move], Any]] = {
    "simulate": lambda m: [
        (r := sf.simulate(OU, m(X), None, REDUCERS, solver=EULER))[0].mass,
        r[1].covariance, *r[2:],
    ],
    "open_cloud": written,
    "Density.from_samples, Grid.count, Density": lambda m: [
        sf.Density.from_samples(GRID, m(X)).mass, GRID.count(m(X))[0],
        sf.Density(GRID, m(DENSITY.mass)).mass,
    ],
    "Distribution.on_grid, ExactField.density": lambda m: [
        *(m(p).on_grid(GRID, 0.7, 0.5).mass for p in MOVED), exact(m).density(GRID, 0.5).mass,
    ],
    "Distribution.std, widest, narrowest": lambda m: [
        (m(p).std(), m(p).widest(), m(p).narrowest()) for p in MOVED
    ],
    "evolve": lambda m: [
        fp.evolve(s, DENSITY, times, **LOOSE)[-1].mass
        for s, times in ((sf.reverse(exact(m)), TIMES), (sf.reverse(learned(m)), TIMES),
                         (OU, [0.0, 0.5]))
    ],
    "evolve, rescaled": lambda m: fp.evolve(
        sf.reverse(exact(m), 0.0), DENSITY, TIMES, rescaling=fp.Rescaling(VP), **LOOSE
    )[-1].mass,
    "sampler_density": lambda m: fp.sampler_density(
        sf.ancestral(learned(m)), DENSITY, TIMES, refuse=LOOSE["refuse"]
    )[-1].mass,
    "tabulate_field": lambda m: fp.tabulate_field(learned(m), GRID, TIMES, levels=8).values,
    "probability_current": lambda m: fp.probability_current(sf.reverse(learned(m)), DENSITY, 0.5),
    "markov_generator": lambda m: fp.markov_generator(
        sd.langevin(sd.double_well()), LINE, potential=m(sd.double_well()(LINE.centres()))
    ).stationary().mass,
    "wasserstein, sliced_wasserstein, energy_distance": lambda m: [
        f(m(X), m(X + 1)) for f in (sf.wasserstein, dg.sliced_wasserstein, dg.energy_distance)
    ],
    "sampling_floor": lambda m: dg.sampling_floor(m(MIX).sample, 32, repeats=2),
    "column_scale, spread, nearest, coverage": lambda m: [
        dg.column_scale(m(X)), dg.spread(m(X), m(torch.eye(2))), dg.nearest(m(X), m(X[:5])),
        dg.coverage(m(X), X[:5]),
    ],
    "class_shares": lambda m: dg.class_shares(m(X), m(X[:5]), m(torch.arange(5) % 2)),
    "check_density, two_sample_test": lambda m: [
        repr(sf.check_density(m(MIX.sample(200, 0)), DENSITY, bins=16)),
        repr(dg.two_sample_test(m(X), m(X + 0.1), bins=16)),
    ],
    "check_path": lambda m: repr(
        dg.check_path(walk(m, steps=1), fp.evolve(OU, DENSITY, [0.0, 1.0], **LOOSE), bins=16)
    ),
    "dynkin_test": lambda m: [
        repr(dg.dynkin_test(walk(m, s, 12, randn(120, 2)), s)) for s in (OU, sf.reverse(EXACT))
    ],
    "error_budget": budget,
    "first_passage, survival, Passage": lambda m: [
        (p := an.first_passage(OU, m(3 * X), [outside, leaving], EULER)).time, p.bound,
        an.survival(p, [0.5]).value, p.probabilities().value, p.rate().value,
    ],
    "survival": lambda m: an.survival(EULER.solve(WALLED, m(INSIDE)), [0.5]).value,
    "two_time_covariance": lambda m: an.two_time_covariance(walk(m), 0.0, 1.0).value,
    "entropy_flow": lambda m: [
        an.entropy_flow(OU, walk(m)).value, an.entropy_flow(RING, walk(m, RING, x=INSIDE)).value,
    ],
    "free_energy_difference, Estimate.of": lambda m: [
        an.free_energy_difference(m(X[:, 0])).value, an.Estimate.of(m(X)).value,
    ],
    "elbo": lambda m: [
        an.elbo(f, m(X), T3, an.small_variance(VP, T3)).terms for f in (EXACT, learned(m))
    ],
    "learned_variance, optimal_variance": lambda m: [
        an.learned_variance(learned(m), m(X), T3).value,
        an.optimal_variance(exact(m), T3, 16).value,
    ],
    "guided_law, guided_density": lambda m: [
        repr(an.guided_law(guided(m), GRID, n=128, **LOOSE)),
        an.guided_density(guided(m), GRID, **LOOSE).mass,
    ],
    "turning_rate": lambda m: [
        an.turning_rate(f, m(X), RHO).value for f in (EXACT, learned(m, process=sf.VE()))
    ],
    "alignment": lambda m: [c.value for c in an.alignment(EXACT, m(X[:4]), m(X), RHO)],
    "first_outward_level": lambda m: an.first_outward_level(learned(m), 1.0, 0.5, RHO, rays=4),
    "speciation": lambda m: an.speciation(m(torch.eye(2))).rho,
    "effective_dimension, class_purity, inverse_participation_ratio": lambda m: [
        f(sf.ExactField(VP, m(POINTS)), RHO, 16).value
        for f in (an.effective_dimension, an.class_purity, an.inverse_participation_ratio)
    ],
    "noiseless_law": lambda m: an.noiseless_law(
        m(torch.zeros(2)), m(torch.eye(2)), an.NoiseLevel(1.0), an.NoiseLevel(0.1)
    ),
    "loss_decomposition": lambda m: [
        repr(tr.loss_decomposition(learned(m), truth, levels=3, n=16))
        for truth in (EXACT, exact(m))
    ],
    "entropy_production": lambda m: an.entropy_production(sf.reverse(learned(m)), DENSITY, 0.5),
    "plot": lambda m: [drawn(m)],
    "Path.to_numpy, to_csv, save": lambda m: saved(walk(m)),
    "training.save, load": lambda m: reloaded(learned(m)),
    "embedded_pool, train_prior, train_decoder": lambda m: pooled(m),
    "train_contrastive, train_judge": lambda m: [
        im.train_contrastive(m(CLIP), captioned(m), 1, batch=4),
        im.train_judge(m(im.Judge(channels=4)), captioned(m), 1, batch=4),
    ],
}  # fmt: skip


def guided(m: Move) -> sf.GuidedField:
    return sf.GuidedField(exact(m).given(0), exact(m), 1.5)


def captioned(m: Move) -> Any:
    """Four pictures with captions, on the CPU as ever."""
    words = ["hat", "belt", "one", "two"]
    drawn = im.Captioned(PAGES, words, torch.arange(4), torch.zeros(4, 9))
    return lambda n, seed: drawn


def drawn(m: Move) -> int:
    """Drawings of what lies on the device, and how many."""
    plot, path = sf.plot, walk(m)
    ax = plot.Figure().subplots()
    made = [
        plot.cloud(ax, m(X), m(X[:, 0])),
        plot.trails(ax, path, [0]),
        plot.window(path, m(X)),
        plot.trajectories(ax, path, [0]),
        plot.arrows(ax, sf.reverse(learned(m)), 0.5, 1.0),
        plot.streamlines(ax, learned(m), 0.5, 1.0),
        plot.pictures(ax, m(PAGES), (1, 16, 16)),
    ]
    return len(made)


def saved(path: so.Path) -> list[Tensor]:
    """The states of a path that was written and read."""
    with tempfile.TemporaryDirectory() as folder:
        path.save(f"{folder}/path.npz")
        path.to_csv(f"{folder}/path.csv")
        return [so.Path.load(f"{folder}/path.npz").x, torch.from_numpy(path.to_numpy()[1])]


def reloaded(field: sf.LearnedField) -> list[Tensor]:
    """The weights of a field that was written and read."""
    with tempfile.TemporaryDirectory() as folder:
        tr.save(field, f"{folder}/field.safetensors")
        return [p.detach() for p in tr.load(f"{folder}/field.safetensors").network.parameters()]


def pooled(m: Move) -> list[str]:
    """Priors and decoders of a model on the device are trained there."""
    pool = im.embedded_pool(m(CLIP), 4)
    kept = im.train_prior(pool, 1, width=8), im.train_decoder(pool, 1, channels=8)
    places = {next(k.field.network.parameters()).device for k in kept}
    assert places == {m(X).device}
    return [repr(k) for k in kept]


# ------------------------------------------------------------------------------- the laws


def leaves(value: Any) -> Iterator[Any]:
    """What a result is made of."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    else:
        yield torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def same(value: Any, other: Any) -> bool:
    """Whether two results agree up to rounding."""
    if isinstance(value, str):
        return value == other
    a, b = (torch.as_tensor(getattr(v, "held", v)).detach().cpu().double() for v in (value, other))
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:the start has")  # coarse grids
@pytest.mark.parametrize("name", [*THERE, *HERE])
def test_a_device_gives_what_the_cpu_gives(name: str, device: torch.device) -> None:
    """The same numbers, on the device of the cloud or on the CPU."""
    call, place = (THERE[name], device) if name in THERE else (HERE[name], torch.device("cpu"))
    want = list(leaves(call(here)))
    with entered(device):
        got = list(leaves(call(lambda thing: moved(thing, device))))
    assert {v.device for v in got if isinstance(v, Tensor)} <= {place}
    assert len(want) == len(got) > 0
    assert all(map(same, want, got))


def test_there_is_a_gpu() -> None:
    """The tests of this file run on each GPU of the machine."""
    if not GPUS:
        pytest.skip("torch finds no GPU on this machine; a fake device takes its place")


def test_a_path_keeps_its_times_on_the_cpu(device: torch.device) -> None:
    with entered(device):
        path = walk(lambda thing: moved(thing, device))
        assert (path.t.device.type, path.x.device) == ("cpu", device)
        assert path.to_numpy()[1].shape == path.x.shape


def test_noise_is_the_same_on_every_device(device: torch.device) -> None:
    """Bit for bit if the CPU draws it, up to rounding if the device does."""
    with entered(device):
        for where in ("cpu", "device"):
            kept = so.Brownian(1, 9, 2, noise=where)(0, 1)
            there = so.Brownian(1, 9, 2, device=device, noise=where)(0, 1)
            exact = where == "cpu"
            assert torch.allclose(there.cpu(), kept, *((0, 0) if exact else (1e-5, 1e-6)))


def test_a_run_continues_on_another_device(
    device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "STEPS", 4)
    config = Config("ring", steps=10, batch=8, width=8, depth=1)
    with entered(device):
        built = run.fit(config, tmp_path, device=device)
        assert built.device == device
        x = run.draw(run.reopen(tmp_path, device), 20)[1]
        assert x.device.type == "cpu"
        fitted = run.calibrate(tmp_path, 2, 16, device=device)
        page = view.view(tmp_path, n=4, frames=2, density=False, device=device)
        simulation.simulate(tmp_path, 9, eta=1.0, noise="device", cells=4, device=device)
    assert fitted.name in run.calibrate(tmp_path, 2, 16).pilot_errors
    assert page.read_text().startswith("<!")
    again = run.reopen(tmp_path)
    assert torch.allclose(run.draw(again, 20)[1], x, rtol=1e-4, atol=1e-4)
    longer = run.fit(replace(config, steps=11), tmp_path)
    assert longer.device.type == "cpu"


def test_a_field_answers_where_the_cloud_is(device: torch.device) -> None:
    """A network on a device serves a cloud of the CPU, and one on the CPU that of a device."""
    with entered(device):
        there, cloud = learned(lambda thing: moved(thing, device)), SINGLE.to(device)
        assert there.score(SINGLE, 0.5).device.type == "cpu"
        assert learned(here).score(cloud, 0.5).device == device
        for row in (0.5, HALF, moved(HALF, device)):
            assert torch.allclose(there.score(SINGLE, row), there.score(cloud, row).cpu(), 1e-5)


def test_distributions_without_tensors_of_their_own_say_so() -> None:
    for distribution in (SQUARES, sf.datasets.two_moons().distribution):
        with pytest.raises(ValueError, match="draws on the CPU in float64; move its draws"):
            distribution.to("cpu")


# ------------------------------------------------------------------------- what is covered

NO_CLOUD = """
uniform_times karras_times angle_times scale_from_strength strength_from_scale recipe holm
arm_resolution mean_first_passage_time kramers_time: functions of numbers
prior_density captured tilted elbo_weights large_variance: of densities and times
handwritten train_unclip: make their own pictures; from_diffusers: a pipeline, which has its device
"""


def test_every_public_function_is_called() -> None:
    """Each name is in this file: in a table, or among those that take nothing of a device."""
    text = Path(__file__).read_text()
    packages = [name for name in sf.__all__ if name not in ("plot", "experiment")]
    verbs = [
        name
        for package in packages
        for name, thing in members(getattr(sf, package))
        if inspect.isfunction(thing)
    ]
    assert len(verbs) > 80
    assert not [name for name in verbs if not re.search(rf"\b{name}\b", text)]


MISTAKES: dict[str, Callable[[Tensor], Any]] = {
    "a sum": lambda x: x + torch.ones(2),
    "a product": lambda x: x @ torch.eye(2).double(),
    "a number of the device": lambda x: X * x.sum(),
    "an index": lambda x: X[x[:, 0] > 0],
    "a value": lambda x: x.__setitem__(x[:, 0] > 0, torch.ones(2).double()),
    "numbers in a row": lambda x: torch.stack([x[0, 0], f64(1.0)]),
    "numpy": lambda x: x.numpy(),
    "an array": lambda x: np.asarray(x),
    "a network": lambda x: nn.Linear(2, 2).double()(x),
    "a target": lambda x: x.copy_(X).lerp_(X, 0.5),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_fake_device_finds_a_mistake(mistake: str) -> None:
    with FakeDevice(), pytest.raises((MixedDevicesError, RuntimeError, TypeError)) as found:
        MISTAKES[mistake](X.to(FAKE))
    assert re.search("of the device and of the CPU|numpy|tensor subclasses", str(found.value))


def test_the_fake_device_takes_what_a_gpu_takes() -> None:
    with FakeDevice():
        x = X.to(FAKE)
        assert x.device == (x * f64(2.0)).device == x.new_tensor([1.0]).device == FAKE
        assert same(x[X[:, 0] > 0] + 1, X[X[:, 0] > 0] + 1)
        assert same(x[[1, 0]], X[[1, 0]])
        assert same(torch.tensor([1.0, 2.0], device=FAKE), f64([1.0, 2.0]))
        assert same(torch.empty(3, 2, device=FAKE).copy_(x[:3]), X[:3])
        x[0], row = 7.0, x.tolist()[1]
        assert (float(x[0, 0]), row) == (7.0, X.tolist()[1])


@pytest.mark.parametrize(("name", "broken"), [
    ("SDESolver.solve", ("sdeflow.solvers.brownian.check_device", lambda d: torch.device("cpu"))),
    ("work, heat", ("torch.zeros", lambda *n, device=None, **k: torch.ones(*n, **k) * 0)),
])  # fmt: skip
def test_a_planted_mistake_is_found(
    name: str, broken: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise, or a sum, that stays on the CPU."""
    monkeypatch.setattr(*broken)
    with FakeDevice(), pytest.raises(MixedDevicesError, match="of the device and of the CPU"):
        THERE[name](lambda thing: moved(thing, FAKE))


# ---------------------------------------------------------------------------- the command line


@pytest.mark.parametrize("command", ["train", "demo"])
def test_the_command_refuses_a_device_that_is_not_there(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it removes or writes anything."""
    with warnings.catch_warnings(), pytest.raises(SystemExit) as stopped:
        main([command, "--device", "xpu:9", "--out", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert "device must be a device of this machine, got" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_info_names_the_gpus(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"H{device.index}")
    with warnings.catch_warnings():
        main(["info"])
    assert "cuda:0, H0; cuda:1, H1" in capsys.readouterr().out


def test_a_gpu_is_given_blocks_of_one_shape() -> None:
    shapes = []

    def network(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return 2 * x

    with FakeDevice():
        for n in (1, 300, GPU_ROWS, GPU_ROWS + 1):
            x = torch.arange(2.0 * n).reshape(n, 2)
            assert blocked(network, FAKE)((), x.to(FAKE)).cpu().equal(2 * x)
    assert shapes == 5 * [(GPU_ROWS, 2)]
