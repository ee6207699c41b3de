"""What users type by mistake, over every public name: one sentence that names the cure.

Each line of a table is a call and what it should give: a piece of the sentence that refuses it,
or, where it ought to work, a check of the result. A refusal is a TypeError, a ValueError or an
SdeflowError that the package itself raises, in one sentence on one line.
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from tests.problems import f64, lopsided, randn
from tests.refusals import faults, members

# ------------------------------------------------------------------- the things that are mistaken

pr, di, fi, tr, sd, so = (
    sf.processes, sf.distributions, sf.fields, sf.training, sf.sdes, sf.solvers,
)  # fmt: skip
fp, dg, an, ds, plot, ex = (
    sf.fokker_planck, sf.diagnostics, sf.analysis, sf.datasets, sf.plot, sf.experiment,
)  # fmt: skip

sm = sf.simulation

X = randn(6, 2)
ROW = X[:, 0]
LINE = X[:, :1].clone()
X3 = randn(6, 3)
IMAGES = randn(6, 2, 3)
NUMPY = X.numpy().copy()
LIST = X.tolist()
INTS = torch.ones(6, 2, dtype=torch.int64)
NAN = X.clone()
NAN[2, 1] = math.nan
INF = X.clone()
INF[4, 0] = math.inf
EMPTY = X[:0]
COMPLEX = X.to(torch.complex128)
HARD = X.clone().requires_grad_()

BOX = sd.Box([-4.0, -4.0], [4.0, 4.0], ["periodic", ("reflecting", "absorbing")])
VP = sf.VP()
MIX = lopsided()
MIX1 = sf.GaussianMixture.isotropic(f64([[-1.0], [0.8]]), 0.4)
FIELD = sf.ExactField(VP, MIX)
FIELD1 = sf.ExactField(VP, MIX1)
NET = sf.MLP(width=4, depth=1, waves=2)
LEARNED = sf.LearnedField(sf.VE(), NET, data_std=1.0)
COUPLED = sf.LearnedField(sf.VE(), NET, data_std=1.0, pairs=fi.Pairs.COUPLED)
SOURCED = sf.LearnedField(sf.VE(), NET, data_std=1.0, pairs=fi.Pairs.SOURCED)
LABELLED = sf.LearnedField(sf.VE(), sf.MLP(width=4, depth=1, waves=2, labels=3), data_std=1.0)
ARC = ds.two_moons().curve[0].place
POINTS = di.PointSet(X, torch.tensor([0, 0, 1, 1, 2, 2]))
POINT_FIELD = sf.ExactField(VP, POINTS)
CLEAN = sf.ExactField(sf.EDM(t_min=0.0), POINTS)
CHECKERBOARD = ds.checkerboard().distribution
GUIDED = sf.GuidedField(FIELD.given(0), FIELD, 2.0)
LOSS_GUIDED = fi.LossGuidedField(FIELD, lambda x: x[:, 0] ** 2, data_std=1.0)
OU = sd.ornstein_uhlenbeck([[1.0, 0.0], [0.0, 2.0]], 1.0)
OU3 = sd.ornstein_uhlenbeck([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], 1.0)
OU1 = sd.ornstein_uhlenbeck([[1.0]], 1.0)
ODE_AS_SDE = sf.SDE(lambda x, t: -x, lambda x, t: f64(1.0), 0.0, 1.0)
ODE = sf.SDE(lambda x, t: -x, None, 0.0, 1.0)
REVERSE = sf.reverse(FIELD)
FLOW = sf.reverse(FIELD, 0.0)
MATRIX = sf.SDE(lambda x, t: -x, lambda x, t: torch.ones(2, 2).double(), 0.0, 1.0, noises=2)
BOXED = sd.langevin(sd.double_well(), walls=BOX)
HEUN = sf.SDESolver("heun", steps=4)
EULER = sf.SDESolver("euler", steps=4)
RK4 = sf.ODESolver("rk4", steps=4)
PATH = HEUN.solve(OU, X, save=5)
PATH1 = HEUN.solve(OU1, LINE, save=5)
GRID = sf.Grid(-6.0, 6.0, (24, 24))
GRID1 = sf.Grid(-6.0, 6.0, (32,))
DENSITY = MIX.on_grid(GRID)
DENSITY1 = MIX1.on_grid(GRID1)
FINE = MIX1.on_grid(sf.Grid(-6.0, 6.0, (128,)))
OTHER = MIX.on_grid(sf.Grid(-6.0, 6.0, (32, 32)))
TIMES = f64([0.0, 0.5, 1.0])
DOWN = f64([1.0, 0.5, 1e-4])
RHO = f64([3.0, 1.0, 0.3])
WELL = sd.double_well(2.0)
LEVEL = an.NoiseLevel(1.0)
GENERATOR = fp.markov_generator(OU1, GRID1)
DENSITIES = fp.DensityPath(TIMES, (DENSITY, DENSITY, DENSITY), fp.Diagnostics())
VARIANCE = an.small_variance(VP, DOWN)
ESTIMATE = an.Estimate.of(X)
CLOUD200 = MIX.sample(200, 0)
LONG = sf.SDESolver("heun", steps=40).solve(OU, CLOUD200, save=41)
VERDICT = dg.check_density(CLOUD200, DENSITY, bins=16)
AX = plot.Figure().subplots()
LOG_AX = plot.Figure().subplots()
NOWHERE = "/nowhere/at/all"
FOLDER = str(Path(__file__).parent)


def works(result: object) -> bool:
    """Anything will do."""
    return True


def finite(result: object) -> bool:
    """Every number is finite."""
    return bool(torch.isfinite(torch.as_tensor(result)).all())


def drift_to(value: object) -> Callable[[], object]:
    """A solve whose drift returns `value`."""
    return lambda: HEUN.solve(sf.SDE(lambda x, t: value, None, 0.0, 1.0), X)


def noise_to(value: object) -> Callable[[], object]:
    """A solve whose diffusion returns `value`."""
    return lambda: HEUN.solve(sf.SDE(lambda x, t: -x, lambda x, t: value, 0.0, 1.0), X)


class Wrong(nn.Module):
    """A network that returns what it is made with."""

    def __init__(self, out: object) -> None:
        super().__init__()
        self.out = out

    def forward(self, x: Tensor, t: Tensor) -> object:
        return self.out


class Echo(nn.Module):
    """A network of some other program."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x


def ig() -> ModuleType:
    """sdeflow.integrations, when it is asked for."""
    return sf.integrations


Expected = str | Callable[[object], bool]
Table = dict[str, tuple[Callable[[], object], Expected]]

# ---------------------------------------------------------------------------------- the mistakes

PROCESSES: Table = {
    "VP(beta_min=str)": (lambda: sf.VP(beta_min="0.1"), "beta_min must be a number"),
    "VP(beta_min=None)": (lambda: sf.VP(beta_min=None), "beta_min must be a number"),
    "VP(beta_min=0)": (lambda: sf.VP(beta_min=0.0), "beta_min must be positive"),
    "VP(beta swapped)": (lambda: sf.VP(beta_min=20.0, beta_max=0.1), "must not exceed beta_max"),
    "VP(t_min=0)": (lambda: sf.VP(t_min=0.0), "t_min"),
    "VP(t swapped)": (lambda: sf.VP(t_min=1.0, t_max=0.1), "t_min"),
    "VP(t_max=inf)": (lambda: sf.VP(t_max=math.inf), "t_max"),
    "VP(t_max=nan)": (lambda: sf.VP(t_max=math.nan), "t_max"),
    "VP(t_max=[1])": (lambda: sf.VP(t_max=[1.0]), "t_max must be a number"),
    "VP(int)": (lambda: sf.VP(t_max=1, beta_max=np.int64(20)), works),
    "VP(tensor)": (lambda: sf.VP(t_max=torch.tensor(1.0)), works),
    "SubVP(t_min<0)": (lambda: pr.SubVP(t_min=-1.0), "t_min"),
    "VE(sigma swapped)": (lambda: sf.VE(sigma_min=10, sigma_max=0.01), "must lie below"),
    "VE(sigma_min=0)": (lambda: sf.VE(sigma_min=0), "sigma_min must be positive"),
    "VE(True)": (lambda: sf.VE(sigma_min=True), "sigma_min must be a number"),
    "EDM(t_max=0)": (lambda: sf.EDM(t_max=0.0), "t_m"),
    "EDM(t_min=0)": (lambda: pr.log_snr_times(sf.EDM(t_min=0.0), 4), "karras_times"),
    "Linear(t_max=1)": (lambda: sf.Linear(t_max=1.0), "t_max"),
    "Linear(t_max=1000)": (lambda: sf.Linear(t_max=1000), "t_max"),
    "Linear(t_min=0)": (lambda: pr.log_snr_times(sf.Linear(t_min=0.0), 4), "karras_times"),
    "EDM(t_min=0) with Karras": (lambda: pr.karras_times(sf.EDM(t_min=0.0), 4), finite),
    "Cosine(t_max=1)": (lambda: pr.Cosine(t_max=1.0), "t_max"),
    "Cosine(s<0)": (lambda: pr.Cosine(s=-0.1), "s must be zero or more"),
    "Cosine(s=str)": (lambda: pr.Cosine(s="small"), "s must be a number"),
    "Tabulated(betas)": (lambda: pr.Tabulated(tuple(np.linspace(1e-4, 0.02, 5))), "alpha_bar"),
    "Tabulated(int)": (lambda: pr.Tabulated(1000), "alpha_bar"),
    "Tabulated(str)": (lambda: pr.Tabulated("ddpm"), "alpha_bar"),
    "Tabulated(None)": (lambda: pr.Tabulated(None), "alpha_bar"),
    "Tabulated(nan)": (lambda: pr.Tabulated((0.9, math.nan, 0.1)), "alpha_bar"),
    "Tabulated(2D)": (lambda: pr.Tabulated([[0.9, 0.5], [0.4, 0.1]]), "alpha_bar"),
    "Tabulated(tensor)": (lambda: pr.Tabulated(f64([0.9, 0.5, 0.1])), works),
    "Tabulated(too late)": (lambda: pr.Tabulated((0.9, 0.5), t_max=3.0), "table holds times"),
    "ddpm(steps=float)": (lambda: pr.Tabulated.ddpm(10.0), "steps must be a whole number"),
    "ddpm(steps=1)": (lambda: pr.Tabulated.ddpm(1), "steps must be at least 2"),
    "ddpm(beta=str)": (lambda: pr.Tabulated.ddpm(10, "1e-4"), "beta_min must be a number"),
    "ddpm(beta>1)": (lambda: pr.Tabulated.ddpm(10, 1e-4, 2.0), "between 0 and 1"),
    "stable_diffusion(steps=-1)": (lambda: pr.Tabulated.stable_diffusion(-1), "steps"),
    "from_betas(list)": (lambda: pr.Tabulated.from_betas([0.1, 0.2, 0.3]), works),
    "from_betas(numpy)": (lambda: pr.Tabulated.from_betas(np.full(5, 0.1)), works),
    "from_betas(2D)": (lambda: pr.Tabulated.from_betas(torch.ones(2, 2) / 10), "row"),
    "from_betas(None)": (lambda: pr.Tabulated.from_betas(None), "betas"),
    "process(str)": (lambda: VP("0.5"), "t must"),
    "process(None)": (lambda: VP(None), "t must"),
    "process(list)": (lambda: VP([0.2, 0.5]), works),
    "process(numpy)": (lambda: VP(np.array([0.2, 0.5])), works),
    "process(int tensor)": (lambda: pr.Tabulated.ddpm()(torch.tensor(875)), works),
    "table(beyond)": (lambda: pr.Tabulated.ddpm()(1001.0), "1000"),
    "table(0)": (lambda: pr.Tabulated.ddpm()(0.0), "1000"),
    "prior(n=float)": (lambda: VP.prior(10.0, 2, 0), "n must be a whole number"),
    "prior(n=0)": (lambda: VP.prior(0, 2, 0), "n must be at least 1"),
    "prior(d=None)": (lambda: VP.prior(10, None, 0), "d must be a whole number"),
    "prior(seed=-1)": (lambda: VP.prior(10, 2, -1), "seed must be at least 0"),
    "prior(seed=big)": (lambda: VP.prior(10, 2, 2**64), "seed must be below 2^64"),
    "prior(numpy ints)": (lambda: VP.prior(np.int64(3), np.int32(2), np.uint8(1)), finite),
    "prior(device=gpu)": (lambda: VP.prior(3, 2, 0, device="gpu"), "device must be a device"),
    "prior(device=absent)": (lambda: VP.prior(3, 2, 0, device="xpu:9"), "of this machine"),
    "prior(dtype=int)": (lambda: VP.prior(3, 2, 0, torch.int64), "dtype"),
    "prior(dtype=str)": (lambda: VP.prior(3, 2, 0, "float32"), "dtype"),
    "perturb(list)": (lambda: VP.perturb(LIST, 0.5, X), "x0 must be"),
    "perturb(numpy eps)": (lambda: VP.perturb(X, 0.5, NUMPY), "eps must be"),
    "perturb(eps shape)": (lambda: VP.perturb(X, 0.5, X3), "eps must"),
    "perturb(int time of 1000)": (lambda: VP.perturb(X, torch.tensor(500), X), "outside"),
    "perturb(t per particle)": (lambda: VP.perturb(X, torch.rand(5), X), "t must be"),
    "perturb(t nan)": (lambda: VP.perturb(X, math.nan, X), "t "),
    "time(float)": (lambda: VP.time(0.0), works),
    "time(None)": (lambda: VP.time(None), "log_snr"),
    "time_of(negative)": (lambda: VP.time_of(-1.0), "noise_level"),
    "time_of(str)": (lambda: VP.time_of("1"), "noise_level"),
    "noise_level(str)": (lambda: VP.noise_level("0.5"), "t must"),
    "at(cloud as time)": (lambda: VP.at(X, X), "t must be"),
    "uniform_times(steps=0)": (lambda: pr.uniform_times(0, 1, 0), "steps must be at least 1"),
    "uniform_times(str)": (lambda: pr.uniform_times("0", 1, 5), "t_start must be a number"),
    "uniform_times(nan)": (lambda: pr.uniform_times(0.0, math.nan, 5), "t_end must be finite"),
    "uniform_times(same)": (lambda: pr.uniform_times(1.0, 1.0, 5), "no length"),
    "log_snr_times(swapped)": (lambda: pr.log_snr_times(10, VP), "process must be"),
    "log_snr_times(class)": (lambda: pr.log_snr_times(sf.VP, 10), "process must be"),
    "log_snr_times(float)": (lambda: pr.log_snr_times(VP, 10.0), "steps must be a whole number"),
    "angle_times(scale=0)": (lambda: pr.angle_times(VP, 4, 0.0), "scale must be positive"),
    "angle_times(power)": (lambda: pr.angle_times(VP, 4, 1.0, -2.0), "power must be positive"),
    "karras_times(field)": (lambda: pr.karras_times(FIELD, 10), "process must be"),
    "karras_times(rho=0)": (lambda: pr.karras_times(VP, 10, 0.0), "rho must be positive"),
    "karras_times(rho=str)": (lambda: pr.karras_times(VP, 10, "7"), "rho must be a number"),
    "Coefficients.along(list)": (lambda: VP(0.5).along(LIST), "x must be"),
}

DISTRIBUTIONS: Table = {
    "mixture(lists)": (
        lambda: sf.GaussianMixture([1.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]]),
        "means must be",
    ),
    "mixture(numpy)": (
        lambda: sf.GaussianMixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None]),
        "means must be",
    ),
    "mixture(1-D means)": (
        lambda: sf.GaussianMixture(torch.ones(2), torch.zeros(2), torch.ones(2)),
        "means must be",
    ),
    "mixture(int means)": (
        lambda: sf.GaussianMixture(torch.ones(1), torch.zeros(1, 2).long(), torch.eye(2)[None]),
        "means must be",
    ),
    "mixture(covariance of one)": (
        lambda: sf.GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.eye(2)),
        "covariances (1, 2, 2)",
    ),
    "mixture(weights=None)": (
        lambda: sf.GaussianMixture(None, torch.zeros(1, 2), torch.eye(2)[None]),
        "weights",
    ),
    "mixture(weights=str)": (
        lambda: sf.GaussianMixture("equal", torch.zeros(1, 2), torch.eye(2)[None]),
        "weights",
    ),
    "mixture(negative weight)": (
        lambda: sf.GaussianMixture(f64([-1.0]), torch.zeros(1, 2), torch.eye(2)[None]),
        "weights must be positive",
    ),
    "mixture(asymmetric)": (
        lambda: sf.GaussianMixture(f64([1.0]), X[:1], f64([[[1.0, 0.5], [0.0, 1.0]]])),
        "symmetric",
    ),
    "mixture(not definite)": (
        lambda: sf.GaussianMixture(f64([1.0]), X[:1], f64([[[1.0, 2.0], [2.0, 1.0]]])),
        "semi-definite",
    ),
    "mixture(nan covariance)": (
        lambda: sf.GaussianMixture(f64([1.0]), X[:1], f64([[[1.0, math.nan], [0.0, 1.0]]])),
        "covariances must be finite",
    ),
    "isotropic(list)": (lambda: sf.GaussianMixture.isotropic(LIST, 0.1), "means must be"),
    "isotropic(width<0)": (lambda: sf.GaussianMixture.isotropic(X, -0.1), "width must be"),
    "isotropic(width list)": (lambda: sf.GaussianMixture.isotropic(X, [0.1] * 6), "width must be"),
    "isotropic(width tensor)": (lambda: sf.GaussianMixture.isotropic(X, torch.tensor(0.1)), works),
    "isotropic(weights)": (lambda: sf.GaussianMixture.isotropic(X, 0.1, torch.ones(5)), "weights"),
    "isotropic(weights list)": (lambda: sf.GaussianMixture.isotropic(X, 0.1, [1.0] * 6), works),
    "sample(n=float)": (lambda: MIX.sample(10.0, 0), "n must be a whole number"),
    "sample(1e4)": (lambda: MIX.sample(1e4, 0), "n must be a whole number"),
    "sample(n=0)": (lambda: MIX.sample(0, 0), "n must be at least 1"),
    "sample(seed=None)": (lambda: MIX.sample(5, None), "seed must be a whole number"),
    "sample(seed=-1)": (lambda: MIX.sample(5, -1), "seed must be at least 0"),
    "sample(seed=big)": (lambda: MIX.sample(5, 2**70), "seed must be below 2^64"),
    "sample(generator)": (lambda: MIX.sample(5, torch.Generator()), "seed must be a whole"),
    "sample(numpy ints)": (lambda: MIX.sample(np.int64(5), np.int64(0)), finite),
    "given(-1)": (lambda: MIX.given(-1), "label must be"),
    "given(3)": (lambda: MIX.given(3), "label must be 0 to 2"),
    "given(str)": (lambda: MIX.given("dog"), "label must be"),
    "given(tensor)": (lambda: MIX.given(torch.tensor(1)), works),
    "to(str)": (lambda: MIX.to("float32"), "where must be a device"),
    "to(int)": (lambda: MIX.to(torch.int64), "floating-point"),
    "to(device, type)": (lambda: MIX.to("cpu", torch.float32), works),
    "to(type, type)": (lambda: MIX.to(torch.float32, torch.float32), "where must be a device"),
    "to(absent)": (lambda: POINTS.to("xpu:9"), "where must be a device of this machine"),
    "to(squares)": (lambda: CHECKERBOARD.to("cpu"), "move its draws"),
    "log_prob(list)": (lambda: MIX.log_prob(LIST), "x must be"),
    "log_prob(3D)": (lambda: MIX.log_prob(X3), "dimension 2, got 3"),
    "log_prob(one point)": (lambda: MIX.log_prob(X[0]), "cloud of shape (n, d)"),
    "log_prob(float32)": (lambda: MIX.log_prob(X.float()), finite),
    "log_prob(grad)": (lambda: MIX.log_prob(HARD), works),
    "log_prob(alpha str)": (lambda: MIX.log_prob(X, "1"), "alpha"),
    "log_prob(sigma<0)": (lambda: MIX.log_prob(X, 1.0, -1.0), "sigma"),
    "score(list)": (lambda: MIX.score(LIST), "x must be"),
    "noised(str)": (lambda: MIX.noised("a", 0.1), "alpha"),
    "noised(sigma<0)": (lambda: MIX.noised(1.0, -0.1), "sigma"),
    "moved(list)": (lambda: MIX.moved([0.0, 1.0], 1.0), works),
    "moved(scale=0)": (lambda: MIX.moved(torch.zeros(2), 0.0), "scale must be positive"),
    "posterior(list)": (lambda: MIX.posterior(LIST, f64(1.0), f64(1.0)), "x must be"),
    "on_grid(tuple)": (lambda: MIX.on_grid((-4, 4, 32)), "grid must be a Grid"),
    "on_grid(1D grid)": (lambda: MIX.on_grid(GRID1), "dimension"),
    "on_grid(too small)": (lambda: MIX.on_grid(sf.Grid(-1.0, 1.0, (16, 16))), "missing"),
    "on_grid(missing=str)": (lambda: MIX.on_grid(GRID, missing="1e-4"), "missing must be"),
    "on_grid(missing<0)": (lambda: MIX.on_grid(GRID, missing=-1.0), "missing must be"),
    "on_grid(sigma<0)": (lambda: MIX.on_grid(GRID, sigma=-0.1), "sigma"),
    "prior_density(swapped)": (lambda: di.prior_density(VP, GRID), "must be a"),
    "prior_density(t=str)": (lambda: di.prior_density(GRID, VP, "1"), "t must be"),
    "prior_density(t late)": (lambda: di.prior_density(GRID, VP, 2.0), "t"),
    "PointSet(list)": (lambda: di.PointSet(LIST), "points must be"),
    "PointSet(numpy)": (lambda: di.PointSet(NUMPY), "points must be"),
    "PointSet(nan)": (lambda: di.PointSet(NAN), "NaN or infinite"),
    "PointSet(labels float)": (lambda: di.PointSet(X, ROW), "labels must be whole numbers"),
    "PointSet(labels length)": (lambda: di.PointSet(X, torch.zeros(5).long()), "labels"),
    "PointSet(labels list)": (lambda: di.PointSet(X, [0, 1, 0, 1, 0, 1]), works),
    "PointSet(labels negative)": (lambda: di.PointSet(X, torch.full((6,), -1)), "labels"),
    "PointSet(width<0)": (lambda: di.PointSet(X, width=-1.0), "width must be"),
    "PointSet(swapped)": (lambda: di.PointSet(X, 0.1), "labels"),
    "points.given(7)": (lambda: POINTS.given(7), "label"),
    "points without labels": (lambda: di.PointSet(X).given(0), "label"),
    "points.on_grid": (lambda: di.PointSet(X).on_grid(GRID), works),
    "points.log_prob": (lambda: di.PointSet(X).log_prob(X), "density"),
    "Piecewise(list)": (lambda: di.PiecewiseConstant([0.0, 0.0], 1.0, torch.ones(2, 2)), works),
    "Piecewise(side=0)": (
        lambda: di.PiecewiseConstant(f64([0, 0]), 0.0, torch.ones(2, 2)),
        "side",
    ),
    "Piecewise(1-D weights)": (
        lambda: di.PiecewiseConstant(f64([0, 0]), 1.0, f64([1.0])),
        "weights",
    ),
    "Piecewise(negative)": (
        lambda: di.PiecewiseConstant(f64([0, 0]), 1.0, -torch.ones(2, 2)),
        "weights",
    ),
    "Piecewise(None)": (lambda: di.PiecewiseConstant(f64([0, 0]), 1.0, None), "weights"),
    "checkerboard.cell(list)": (lambda: CHECKERBOARD.cell(LIST), "x must be"),
    "checkerboard.given(9)": (lambda: CHECKERBOARD.given(9), "label"),
    "Curves(empty)": (lambda: di.Curves(()), "arc"),
    "Curves(noise<0)": (lambda: di.Curves(ds.two_moons().curve, -1.0), "noise must be"),
    "Curves(function)": (lambda: di.Curves((torch.sin,)), "Arc"),
    "Arc(no function)": (lambda: di.Curves((di.Arc(1.0, 0.0, 1.0),)), "place of an arc must be"),
    "Arc(NaN)": (
        lambda: di.Curves((di.Arc(ARC, 0.0, math.nan),)),
        "high of an arc must be",
    ),
    "Pinwheel(arms)": (lambda: ds.Pinwheel(2.5, 0.3, 0.1, 0.25), "arms must be a whole number"),
    "Pinwheel(radial)": (lambda: ds.Pinwheel(5, -0.3, 0.1, 0.25), "radial must be zero or more"),
    "Units(scale)": (lambda: di.Units(f64([0.0, 1.0]), -2.0), "scale must be positive"),
    "Units(matrix)": (lambda: di.Units(f64([0.0, 1.0]), torch.ones(2, 2)), "with an inverse"),
    "Units(centre)": (lambda: di.Units(f64([[0.0, 1.0]]), 2.0), "centre must hold finite numbers"),
    "PiecewiseConstant(complex)": (
        lambda: di.PiecewiseConstant([0.0, 0.0], 1.0, torch.ones(2, 2) * 1j),
        "weights must be real",
    ),
    "curves.log_prob": (lambda: ds.two_moons().distribution.log_prob(X), "density"),
    "curves.posterior": (lambda: sf.ExactField(VP, ds.two_moons().distribution), "posterior"),
    "Dataset(points)": (lambda: di.Dataset("mine", X), "distribution must be"),
    "Dataset(swapped)": (lambda: di.Dataset(MIX, "mine"), "distribution must be"),
    "data.sample(float)": (lambda: ds.ring().sample(5.0, 0), "n must be a whole number"),
    "data.sample(dtype)": (lambda: ds.ring().sample(5, 0, torch.int64), "dtype must be"),
    "data.sample(dtype str)": (lambda: ds.ring().sample(5, 0, "float32"), "dtype must be"),
    "data.sample(dtype numpy)": (lambda: ds.ring().sample(5, 0, np.float32), "dtype must be"),
    "no labels": (lambda: ds.s_curve().sample_labelled(5, 0), "no labels"),
    "smooth(ring)": (lambda: ds.ring().smooth(0.1), "not a set of points"),
    "smooth(0)": (lambda: ds.spiral().smooth(0), "width must be positive"),
    "distance(ring)": (lambda: ds.ring().distance(X), "no curve"),
    "distance(3D)": (lambda: ds.spiral().distance(X3), "2"),
    "distance(list)": (lambda: ds.spiral().distance(LIST), "x must be"),
    "cell(ring)": (lambda: ds.ring().cell(X), "not made of squares"),
    "restore(list)": (lambda: ds.ring().restore(LIST), "must be"),
    "restore(3D)": (lambda: ds.ring().restore(X3), "2"),
    "from_points(list)": (lambda: ds.from_points(LIST), "points must be"),
    "from_points(3D)": (lambda: ds.from_points(X3).sample(5, 0).shape, lambda s: s == (5, 3)),
    "from_points(pictures)": (lambda: ds.from_points(IMAGES), "shape"),
    "from_pictures(pictures)": (lambda: ds.from_pictures(IMAGES).shape, lambda s: s == (1, 2, 3)),
    "from_pictures(lists)": (lambda: ds.from_pictures(IMAGES.tolist()).sample(5, 0), works),
    "from_pictures(one)": (lambda: ds.from_pictures(X), r"must be (m, rows, columns)"),
    "from_pictures(flat)": (lambda: ds.from_pictures(X3), r"must be (m, rows, columns)"),
    "from_pictures(channels last)": (
        lambda: ds.from_pictures(torch.rand(6, 8, 8, 3)),
        "channels last",
    ),
    "from_pictures(words)": (lambda: ds.from_pictures(["a"]), "must be real numbers"),
    "from_pictures(same)": (lambda: ds.from_pictures(torch.ones(4, 2, 2)), "two distinct points"),
    "from_pictures(labels)": (lambda: ds.from_pictures(IMAGES, [0, 1]), "one per point"),
    "from_pictures(label 0.5)": (lambda: ds.from_pictures(IMAGES, [0.5] * 6), "whole numbers"),
    "from_pictures(classes)": (lambda: ds.from_pictures(IMAGES, classes=("a",)), "no labels"),
    "from_pictures(held_out=1)": (lambda: ds.from_pictures(IMAGES, held_out=1), "take 2 to 3"),
    "from_pictures(held_out=5)": (lambda: ds.from_pictures(IMAGES, held_out=5), "take 2 to 3"),
    "from_pictures(held_out=0.2)": (lambda: ds.from_pictures(IMAGES, held_out=0.2), "held_out"),
    "digits(test)": (lambda: ds.digits().held_out.sample(5, 0).shape, lambda s: s == (5, 64)),
    "digits().distance": (lambda: ds.digits().distance(X), "no curve"),
    "digits().sample(0)": (lambda: ds.digits().sample(0, 0), "n must be"),
    "Dataset(shape)": (lambda: di.Dataset("x", POINTS, shape=(1, 8, 8)), "a point 2"),
    "Dataset(shape 8)": (lambda: di.Dataset("x", POINTS, shape=8), "shape must be whole numbers"),
    "Dataset(held out)": (lambda: di.Dataset("x", POINTS, held_out=X), "held_out must be"),
    "Dataset(held out 3D)": (
        lambda: di.Dataset("x", POINTS, held_out=ds.from_points(X3)),
        "held_out has 3",
    ),
    "Dataset(curve 3D)": (
        lambda: ds.from_points(X3, curve=ds.two_moons().curve),
        "2 coordinates, got 3",
    ),
    "from_points(numpy)": (lambda: ds.from_points(NUMPY), "points must be"),
    "from_points(labels list)": (lambda: ds.from_points(X, [0] * 6), works),
    "from_points(classes)": (lambda: ds.from_points(X, classes=("a", "b")), "no labels"),
    "from_points(few classes)": (
        lambda: ds.from_points(X, torch.arange(6), classes=("a", "b")),
        "class names",
    ),
    "from_points(one point)": (lambda: ds.from_points(X[:1]), "two distinct points"),
    "from_points(classes str)": (
        lambda: ds.from_points(X, torch.zeros(6).long(), classes="dog"),
        "classes",
    ),
    "named(unknown)": (lambda: ds.named("mnist"), "there is no data set 'mnist'"),
    "named(None)": (lambda: ds.named(None), "path must be a file name"),
    "named(list)": (lambda: ds.named(["spiral"]), "path must be a file name"),
    "from_file(nowhere)": (lambda: ds.from_file("/nowhere/x.csv"), "does not exist"),
    "from_file(folder)": (lambda: ds.from_file(FOLDER), "is a folder"),
    "from_file(suffix)": (lambda: ds.from_file(__file__), "suffix that is not known"),
    "from_file(array)": (lambda: ds.from_file(NUMPY), "path must be a file name"),
    "ring(modes=0)": (lambda: ds.ring(0), "modes must be at least 1"),
    "ring(radius<0)": (lambda: ds.ring(radius=-1), "radius must be positive"),
    "ring(weights=str)": (lambda: ds.ring(weights="equal"), "weights"),
    "ring(weights count)": (lambda: ds.ring(5, weights=[1.0, 2.0]), "weights"),
    "spiral(points=1)": (lambda: ds.spiral(1), "points must be at least 2"),
    "spiral(turns=0.1)": (lambda: ds.spiral(turns=0.1), "turns must exceed"),
    "circles(number)": (lambda: ds.circles(0.5), "radii"),
    "circles(empty)": (lambda: ds.circles(()), "radii is empty"),
    "two_moons(noise=str)": (lambda: ds.two_moons("0.1"), "noise must be a number"),
    "s_curve(noise<0)": (lambda: ds.s_curve(-0.1), "noise must be zero or more"),
    "swiss_roll(None)": (lambda: ds.swiss_roll(None), "noise must be a number"),
    "pinwheel(arms=1)": (lambda: ds.pinwheel(1), "arms must be at least 2"),
    "gaussian_grid(2.5)": (lambda: ds.gaussian_grid(2.5), "side must be a whole number"),
    "eight_gaussians(0)": (lambda: ds.eight_gaussians(0), "radius must be positive"),
    "Arc.moved": (lambda: ds.two_moons().curve[0].moved([0.0, 0.0], 1.0), works),
}

FIELDS: Table = {
    "ExactField(class)": (lambda: sf.ExactField(sf.VP, MIX), "process must be a Process"),
    "ExactField(swapped)": (lambda: sf.ExactField(MIX, VP), "process must be a Process"),
    "ExactField(name)": (lambda: sf.ExactField("VP", MIX), "process must be a Process"),
    "ExactField(points)": (lambda: sf.ExactField(VP, X), "distribution"),
    "ExactField(dataset)": (lambda: sf.ExactField(VP, ds.ring()), "distribution"),
    "ExactField(class of distribution)": (
        lambda: sf.ExactField(VP, sf.GaussianMixture),
        "distribution",
    ),
    "score(list)": (lambda: FIELD.score(LIST, 0.5), "x must be"),
    "score(numpy)": (lambda: FIELD.score(NUMPY, 0.5), "x must be"),
    "score(1-D)": (lambda: FIELD.score(X[0], 0.5), "cloud of shape (n, d)"),
    "score(3-D)": (lambda: FIELD.score(IMAGES, 0.5), "cloud of shape (n, d)"),
    "score(dim)": (lambda: FIELD.score(X3, 0.5), "dimension 2, got 3"),
    "score(ints)": (lambda: FIELD.score(INTS, 0.5), "floating-point"),
    "score(nan)": (lambda: FIELD.score(NAN, 0.5), "row 2"),
    "score(inf)": (lambda: FIELD.score(INF, 0.5), "row 4"),
    "score(empty)": (lambda: FIELD.score(EMPTY, 0.5), "empty"),
    "score(complex)": (lambda: FIELD.score(COMPLEX, 0.5), "floating-point"),
    "score(one particle)": (lambda: FIELD.score(X[:1], 0.5), finite),
    "score(float32)": (lambda: FIELD.score(X.float(), 0.5), finite),
    "score(grad)": (lambda: FIELD.score(HARD, 0.5), works),
    "score(swapped)": (lambda: FIELD.score(0.5, X), "x must be"),
    "score(t=0)": (lambda: FIELD.score(X, 0.0), "outside"),
    "score(t=1000)": (lambda: FIELD.score(X, 1000), "outside"),
    "score(t=str)": (lambda: FIELD.score(X, "0.5"), "t must be"),
    "score(t=None)": (lambda: FIELD.score(X, None), "t must be"),
    "score(t=nan)": (lambda: FIELD.score(X, math.nan), "t "),
    "score(t=int)": (lambda: FIELD.score(X, 1), finite),
    "score(t=list)": (lambda: FIELD.score(X, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), finite),
    "score(t=numpy)": (lambda: FIELD.score(X, np.full(6, 0.5)), finite),
    "score(t=numpy float)": (lambda: FIELD.score(X, np.float32(0.5)), finite),
    "score(t=column)": (lambda: FIELD.score(X, torch.full((6, 1), 0.5)), "t must be"),
    "score(t=5 of 6)": (lambda: FIELD.score(X, torch.full((5,), 0.5)), "t must be"),
    "score(t=complex)": (lambda: FIELD.score(X, torch.tensor(0.5j)), "t must be"),
    "data(points at t=0)": (lambda: CLEAN.data(X, 0.0), "sigma is 0"),
    "noise(points at t=0)": (lambda: CLEAN.noise(X, 0.0), "sigma is 0"),
    "predict(str)": (lambda: FIELD.predict("noise", X, 0.5), "row must be a Prediction"),
    "predict(swapped)": (lambda: FIELD.predict(X, 0.5, fi.Prediction.NOISE), "row must be"),
    "split(list)": (lambda: FIELD.split(LIST, 0.5), "x must be"),
    "field.given(9)": (lambda: FIELD.given(9), "label"),
    "field.given(str)": (lambda: FIELD.given("dog"), "label"),
    "field.sample(-1)": (lambda: FIELD.sample(-1, 0), "n must be at least 1"),
    "field.log_prob(list)": (lambda: FIELD.log_prob(LIST, 0.5), "x must be"),
    "field.log_prob(t)": (lambda: FIELD.log_prob(X, 2.0), "outside"),
    "field.density(tuple)": (lambda: FIELD.density((32, 32), 0.5), "grid must be a Grid"),
    "field.density(swapped)": (lambda: FIELD.density(0.5, GRID), "grid must be a Grid"),
    "field.density(t)": (lambda: FIELD.density(GRID, 3.0), "outside"),
    "field.density(1D)": (lambda: FIELD.density(GRID1, 0.5), "dimension"),
    "LearnedField(class)": (lambda: sf.LearnedField(VP, sf.MLP), "network must be"),
    "LearnedField(function)": (lambda: sf.LearnedField(VP, lambda x, t: x), "network must be"),
    "LearnedField(swapped)": (lambda: sf.LearnedField(NET, VP), "process must be"),
    "LearnedField(predicts str)": (lambda: sf.LearnedField(VP, NET, "noise"), "predicts must be"),
    "LearnedField(std as predicts)": (lambda: sf.LearnedField(VP, NET, 1.0), "predicts must be"),
    "LearnedField(std=0)": (lambda: sf.LearnedField(VP, NET, data_std=0), "data_std must be"),
    "LearnedField(std tensor)": (
        lambda: sf.LearnedField(VP, NET, data_std=torch.ones(2)),
        "data_std must be a number",
    ),
    "LearnedField(mean alone)": (lambda: sf.LearnedField(VP, NET, data_mean=X[0]), "data_std"),
    "LearnedField(mean list)": (
        lambda: sf.LearnedField(VP, NET, data_std=1.0, data_mean=[0.0, 1.0]),
        works,
    ),
    "LearnedField(mean str)": (
        lambda: sf.LearnedField(VP, NET, data_std=1.0, data_mean="zero"),
        "data_mean must be",
    ),
    "LearnedField(mean dim)": (
        lambda: sf.LearnedField(VP, NET, data_std=1.0, data_mean=X3[0]).noise(X, 0.5),
        "data_mean",
    ),
    "learned(no labels)": (lambda: LEARNED.given(1), "has no labels"),
    "learned(label 7)": (lambda: LABELLED.given(7), "got 7"),
    "learned(label -1)": (lambda: LABELLED.given(-1), "got -1"),
    "learned(label float)": (lambda: LABELLED.given(1.0), "label must be"),
    "learned(label list)": (
        lambda: LABELLED.given([0, 1, 2, 0, 1, 2]).noise(X.float(), 0.5),
        works,
    ),
    "learned(label numpy)": (lambda: LABELLED.given(np.int64(1)), works),
    "learned(label length)": (
        lambda: LABELLED.given(torch.tensor([0, 1])).noise(X.float(), 0.5),
        "label",
    ),
    "learned(dim)": (lambda: LEARNED.noise(X3.float(), 0.5), "dimension 2, got 3"),
    "learned(float64)": (lambda: LEARNED.noise(X, 0.5), finite),
    "network(None)": (lambda: sf.LearnedField(VP, Wrong(None)).noise(X, 0.5), "network returned"),
    "network(numpy)": (
        lambda: sf.LearnedField(VP, Wrong(NUMPY)).noise(X, 0.5),
        "network returned",
    ),
    "network(tuple)": (
        lambda: sf.LearnedField(VP, Wrong((X, X))).noise(X, 0.5),
        "network returned",
    ),
    "network(shape)": (lambda: sf.LearnedField(VP, Wrong(X3)).noise(X, 0.5), "network returned"),
    "Guided(one field)": (lambda: sf.GuidedField(FIELD, None, 2.0), "against"),
    "Guided(scale first)": (lambda: sf.GuidedField(2.0, FIELD, FIELD), "conditional"),
    "Guided(scale str)": (lambda: sf.GuidedField(FIELD, FIELD, "2"), "scale must be a number"),
    "Guided(scale nan)": (lambda: sf.GuidedField(FIELD, FIELD, math.nan), "scale must be finite"),
    "Guided(processes)": (
        lambda: sf.GuidedField(FIELD, sf.ExactField(sf.VE(), MIX), 2.0),
        "process",
    ),
    "Guided(rescale)": (
        lambda: sf.GuidedField(FIELD, FIELD, 2.0, rescale=2.0),
        "rescale must be from 0 to 1",
    ),
    "LossGuided(no loss)": (lambda: fi.LossGuidedField(FIELD, None), "loss must be a function"),
    "LossGuided(loss per axis)": (
        lambda: fi.LossGuidedField(FIELD, lambda x: x**2).score(X, 0.5),
        "sum over the coordinates",
    ),
    "LossGuided(coupled)": (
        lambda: fi.LossGuidedField(COUPLED, lambda x: x[:, 0]),
        "needs the score",
    ),
    "LossGuided": (
        lambda: fi.LossGuidedField(FIELD, lambda x: x[:, 0] ** 2, data_std=1.0).score(X, 0.5),
        finite,
    ),
    "Guided(dims)": (lambda: sf.GuidedField(FIELD, FIELD1, 2.0), "dimension"),
    "Guided(interval float)": (lambda: sf.GuidedField(FIELD, FIELD, 2.0, 0.5), "interval must be"),
    "Guided(interval text)": (lambda: sf.GuidedField(FIELD, FIELD, 2.0, "12"), "interval must be"),
    "Guided(interval reversed)": (
        lambda: sf.GuidedField(FIELD, FIELD, 2.0, (1.0, 0.1)),
        "interval must be",
    ),
    "scale_from_strength(str)": (lambda: fi.scale_from_strength("2"), "strength must be a number"),
    "scale_from_strength(nan)": (lambda: fi.scale_from_strength(math.nan), "strength must be"),
    "strength_from_scale(None)": (lambda: fi.strength_from_scale(None), "scale must be a number"),
    "UNet(side)": (lambda: fi.UNet(8), "shape must be (channels, height, width)"),
    "UNet(picture)": (lambda: fi.UNet((8, 8)), "shape must be (channels, height, width)"),
    "UNet(odd)": (lambda: fi.UNet((1, 7, 7)), "pad the pictures"),
    "UNet(shrunk)": (lambda: fi.UNet((1, 6, 6), shrink=2), "multiples of 4"),
    "UNet(channels)": (lambda: fi.UNet(channels=12), "multiple of 8"),
    "UNet(how)": (lambda: fi.UNet(labels=3, how="film"), "how must be one of"),
    "UNet(seed)": (lambda: fi.UNet(seed=-1), "seed must be at least 0"),
    "UNet(table list)": (lambda: fi.UNet(table=LIST), "table must be a floating-point tensor"),
    "UNet(table nan)": (lambda: fi.UNet(table=NAN), "table has NaN"),
    "UNet(table and labels)": (lambda: fi.UNet(labels=3, table=X), "leave out labels"),
    "UNet(tokens, add)": (lambda: fi.UNet(table=IMAGES), "for tokens take UNet(how='attend')"),
    "UNet(vectors, attend)": (lambda: fi.UNet(table=X, how="attend"), "table[:, None]"),
    "VectorMLP(dim)": (lambda: fi.VectorMLP(2.0), "dim must be a whole number"),
    "VectorMLP(tokens)": (lambda: fi.VectorMLP(2, table=IMAGES), "table must be (m, k)"),
    "holding(classes)": (lambda: fi.VectorMLP(2, 8, 1, labels=3).holding(X), "has no table"),
    "holding(width)": (lambda: fi.VectorMLP(2, 8, 1, table=X).holding(X3), "rows of width 2"),
    "told(MLP)": (lambda: LABELLED.told(X), "holds no table of vectors"),
    "Learned(shape int)": (lambda: sf.LearnedField(VP, nn.Tanh(), shape=4), "row of sizes"),
    "Learned(shape text)": (lambda: sf.LearnedField(VP, nn.Tanh(), shape="4"), "row of sizes"),
    "Learned(shape twice)": (
        lambda: sf.LearnedField(VP, fi.UNet(channels=8), shape=(1, 4, 4)),
        "leave out shape",
    ),
    "Guided(two clouds)": (
        lambda: sf.GuidedField(
            LABELLED.given(torch.tensor([0, 1])), LABELLED.given(torch.tensor([0, 1, 2])), 2.0
        ),
        "clouds of 2 and 3 particles",
    ),
    "MLP(dim=float)": (lambda: sf.MLP(2.0), "dim must be a whole number"),
    "MLP(width=0)": (lambda: sf.MLP(width=0), "width must be at least 1"),
    "MLP(how)": (lambda: sf.MLP(how="concat"), "how must be one of"),
    "MLP(finest=0)": (lambda: sf.MLP(finest=0), "finest must be positive"),
    "MLP(seed=big)": (lambda: sf.MLP(seed=2**64), "seed must be below 2^64"),
    "MLP(labels=list)": (lambda: sf.MLP(labels=["dog", "cat"]), "labels must be a whole number"),
    "Prediction(str)": (lambda: fi.Prediction("eps"), "there is no prediction 'eps'"),
}

SAMPLE = MIX.sample
TRAINING: Table = {
    "fit(exact)": (lambda: sf.fit(FIELD, SAMPLE, 1), "LearnedField"),
    "fit(network)": (lambda: sf.fit(NET, SAMPLE, 1), "LearnedField"),
    "fit(data)": (lambda: sf.fit(LEARNED, X, 1), "sample must"),
    "fit(dataset)": (lambda: sf.fit(LEARNED, ds.ring(), 1), "sample must"),
    "fit(loader)": (lambda: sf.fit(LEARNED, [X, X], 1), "sample must"),
    "fit(sample of n)": (lambda: sf.fit(LEARNED, lambda n: X, 1), "sample must take (n, seed)"),
    "fit(sample 3D)": (lambda: sf.fit(LEARNED, lambda n, s: X3, 1), "dimension 2, got 3"),
    "fit(sample numpy)": (lambda: sf.fit(LEARNED, lambda n, s: NUMPY, 1), "training data must be"),
    "fit(sample None)": (lambda: sf.fit(LEARNED, lambda n, s: None, 1), "training data must be"),
    "fit(sample nan)": (lambda: sf.fit(LEARNED, lambda n, s: NAN, 1), "NaN"),
    "fit(labels float)": (lambda: sf.fit(LABELLED, lambda n, s: (X, ROW), 1), "labels must be"),
    "fit(labels late)": (
        lambda: sf.fit(LABELLED, lambda n, s: (X, torch.full((6,), 9)), 1),
        "labels must count",
    ),
    "fit(labels, none known)": (
        lambda: sf.fit(LEARNED, lambda n, s: (X, torch.zeros(6).long()), 1),
        "labels",
    ),
    "fit(steps=0)": (lambda: sf.fit(LEARNED, SAMPLE, 0), "steps must be at least 1"),
    "fit(steps=1e3)": (lambda: sf.fit(LEARNED, SAMPLE, 1e3), "steps must be a whole number"),
    "fit(seed=-1)": (lambda: sf.fit(LEARNED, SAMPLE, 1, -1), "seed must be at least 0"),
    "fit(seed=big)": (lambda: sf.fit(LEARNED, SAMPLE, 1, 2**64), "seed must be below 2^64"),
    "fit(config=dict)": (
        lambda: sf.fit(LEARNED, SAMPLE, 1, config={"batch": 2}),
        "config must be",
    ),
    "fit(config=class)": (
        lambda: sf.fit(LEARNED, SAMPLE, 1, config=tr.TrainingConfig),
        "config must be",
    ),
    "fit(every=0)": (lambda: sf.fit(LEARNED, SAMPLE, 1, every=0), "every must be at least 1"),
    "fit(every_seconds=-1)": (
        lambda: sf.fit(LEARNED, SAMPLE, 1, every_seconds=-1.0),
        "every_seconds must be zero or more",
    ),
    "fit(checkpoint=int)": (lambda: sf.fit(LEARNED, SAMPLE, 1, checkpoint=3), "checkpoint must"),
    "fit(checkpoint=folder)": (lambda: sf.fit(LEARNED, SAMPLE, 1, checkpoint=FOLDER), FOLDER),
    "fit(weighting=float)": (lambda: sf.fit(LEARNED, SAMPLE, 1, weighting=1.0), "weighting must"),
    "fit(time_density=str)": (
        lambda: sf.fit(LEARNED, SAMPLE, 1, time_density="uniform"),
        "time_density must",
    ),
    "fit(coupling not known)": (
        lambda: sf.fit(LEARNED, SAMPLE, 1, coupling=tr.optimal_transport),
        "pairs=Pairs.COUPLED",
    ),
    "fit(coupling forgotten)": (lambda: sf.fit(COUPLED, SAMPLE, 1), "pairs=Pairs.INDEPENDENT"),
    "fit(source not known)": (lambda: sf.fit(COUPLED, SAMPLE, 1, source=SAMPLE), "Pairs.SOURCED"),
    "fit(coupling=str)": (
        lambda: sf.fit(COUPLED, SAMPLE, 1, coupling="optimal_transport"),
        "coupling must take (x0, eps, seed)",
    ),
    "fit(coupling gives eps)": (
        lambda: sf.fit(COUPLED, SAMPLE, 1, coupling=lambda x0, eps, seed: eps),
        "coupling must give (512,) whole numbers",
    ),
    "fit(coupling out of range)": (
        lambda: sf.fit(
            COUPLED, SAMPLE, 1, coupling=lambda x0, eps, seed: torch.arange(len(x0)) + 1
        ),
        "rows 0 to 511",
    ),
    "fit(source=cloud)": (
        lambda: sf.fit(SOURCED, SAMPLE, 1, source=X),
        "source must take (n, seed)",
    ),
    "fit(source 3D)": (
        lambda: sf.fit(SOURCED, SAMPLE, 1, source=lambda n, s: X3),
        "the source must have dimension 2",
    ),
    "fit(source short)": (lambda: sf.fit(SOURCED, SAMPLE, 1, source=lambda n, s: X), "512 points"),
    "fit(source labelled)": (
        lambda: sf.fit(SOURCED, SAMPLE, 1, source=ds.ring().sample_labelled),
        "without labels",
    ),
    "optimal_transport(list)": (lambda: tr.optimal_transport(LIST, X), "x0 must be"),
    "optimal_transport(3D)": (lambda: tr.optimal_transport(X, X3), "dimension 2, got 3"),
    "optimal_transport(sizes)": (lambda: tr.optimal_transport(X, X[:4]), "eps must have 6 rows"),
    "Pairs(str)": (
        lambda: sf.LearnedField(VP, NET, pairs="coupled"),
        "pairs must be one of Pairs",
    ),
    "reverse(coupled)": (lambda: sf.reverse(COUPLED), "use its flow (eta = 0)"),
    "score(sourced)": (lambda: SOURCED.score(X, 0.5), "needs the score"),
    "fit(frozen)": (
        lambda: sf.fit(
            sf.LearnedField(VP, sf.MLP(width=2, depth=1).requires_grad_(False)), SAMPLE, 1
        ),
        "no parameter that can be trained",
    ),
    "config(batch=0)": (lambda: tr.TrainingConfig(batch=0), "batch must be at least 1"),
    "config(rate=0)": (lambda: tr.TrainingConfig(rate=0), "rate must be positive"),
    "config(rate=str)": (lambda: tr.TrainingConfig(rate="1e-3"), "rate must be a number"),
    "config(decay=1)": (lambda: tr.TrainingConfig(decay=1.0), "decay must lie in"),
    "config(drop=2)": (lambda: tr.TrainingConfig(drop=2), "drop must lie in"),
    "loss(exact)": (lambda: tr.loss(FIELD, X, torch.rand(6), X), "field must be a LearnedField"),
    "loss(list)": (lambda: tr.loss(LEARNED, LIST, torch.rand(6), X), "x0 must be"),
    "loss(eps shape)": (lambda: tr.loss(LEARNED, X, torch.rand(6), X3), "eps must"),
    "loss(t late)": (lambda: tr.loss(LEARNED, X, torch.full((6,), 5.0), X), "outside"),
    "loss(network)": (lambda: tr.loss(NET, X, torch.rand(6), X), "field must"),
    "loss(weighting)": (lambda: tr.loss(LEARNED, X, torch.rand(6), X, 1.0), "weighting must"),
    "loss_decomposition(swapped)": (lambda: tr.loss_decomposition(FIELD, LEARNED), "truth"),
    "loss_decomposition(mixture)": (lambda: tr.loss_decomposition(LEARNED, MIX), "truth"),
    "loss_decomposition(levels=0)": (
        lambda: tr.loss_decomposition(LEARNED, sf.ExactField(sf.VE(), MIX), levels=0),
        "levels",
    ),
    "loss_decomposition(process)": (lambda: tr.loss_decomposition(LEARNED, FIELD), "process"),
    "prediction_weighting(str)": (lambda: tr.prediction_weighting("noise"), "row must be"),
    "edm_weighting(0)": (lambda: tr.edm_weighting(0), "data_std must be positive"),
    "edm_weighting(None)": (lambda: tr.edm_weighting(None), "data_std must be a number"),
    "min_snr(0)": (lambda: tr.min_snr(0), "gamma must be positive"),
    "min_snr(field)": (lambda: tr.min_snr(FIELD), "gamma must be a number"),
    "uniform_time(n)": (lambda: tr.uniform_time(VP, 5), "u must"),
    "uniform_time(swapped)": (lambda: tr.uniform_time(torch.rand(5), VP), "p must be a Process"),
    "uniform_log_snr(list)": (lambda: tr.uniform_log_snr(VP, [0.1, 0.5]), works),
    "log_uniform_noise(swapped)": (lambda: tr.log_uniform_noise(10.0, 0.1), "low"),
    "log_uniform_noise(0)": (lambda: tr.log_uniform_noise(0, 1), "low must be positive"),
    "normal_log_snr(std=0)": (lambda: tr.normal_log_snr(0.0, 0.0), "std must be positive"),
    "normal_log_snr(mean=None)": (lambda: tr.normal_log_snr(None), "mean must be a number"),
    "logit_normal_time(std<0)": (lambda: tr.logit_normal_time(0, -1), "std must be positive"),
    "load(nowhere)": (lambda: tr.load(NOWHERE), "there is no file"),
    "load(folder)": (lambda: tr.load(FOLDER), FOLDER),
    "load(text)": (lambda: tr.load(__file__), "damaged or not a file of sdeflow"),
    "load(None)": (lambda: tr.load(None), "path must"),
    "load(dict)": (lambda: tr.load(NET.state_dict()), "path must"),
    "load(network)": (lambda: tr.load(__file__, "mlp"), "damaged or not a file of sdeflow"),
    "save(network)": (lambda: tr.save(NET, "x"), "only a LearnedField can be saved"),
    "save(swapped)": (lambda: tr.save("x", LEARNED), "only a LearnedField can be saved"),
    "save(None)": (lambda: tr.save(LEARNED, None), "path must"),
    "save(folder)": (lambda: tr.save(LEARNED, FOLDER), FOLDER),
}

SDES: Table = {
    "SDE(float drift)": (lambda: sf.SDE(-1.0, None, 0.0, 1.0), "drift must be a function"),
    "SDE(float noise)": (lambda: sf.SDE(lambda x, t: x, 1.0, 0.0, 1.0), "diffusion must be"),
    "SDE(same times)": (lambda: sf.SDE(lambda x, t: x, None, 1.0, 1.0), "must differ"),
    "SDE(nan)": (lambda: sf.SDE(lambda x, t: x, None, 0.0, math.nan), "t_end must be finite"),
    "SDE(str)": (lambda: sf.SDE(lambda x, t: x, None, "0", 1.0), "t_start must be a number"),
    "SDE(calculus)": (lambda: sf.SDE(lambda x, t: x, None, 0, 1, "Ito"), "calculus must be"),
    "SDE(time_grid=tensor)": (
        lambda: sf.SDE(lambda x, t: x, None, 0, 1, time_grid=TIMES),
        "time_grid must be",
    ),
    "SDE(tensor times)": (lambda: sf.SDE(lambda x, t: x, None, f64(0.0), f64(1.0)), works),
    "sde.times(float)": (lambda: OU.times(10.0), "steps must be a whole number"),
    "sde.check_times(list)": (lambda: OU.check_times([0.0, 0.5]), works),
    "sde.check_times(numpy)": (lambda: OU.check_times(np.array([0.0, 0.5])), works),
    "sde.check_times(int)": (lambda: OU.check_times(5), "times must"),
    "sde.check_times(down)": (lambda: OU.check_times(TIMES.flip(0)), "flip them"),
    "forward(class)": (lambda: sf.forward(sf.VP), "Process"),
    "forward(field)": (lambda: sf.forward(FIELD), "Process"),
    "reverse(process)": (lambda: sf.reverse(VP), "needs a Field"),
    "reverse(mixture)": (lambda: sf.reverse(MIX), "needs a Field"),
    "reverse(network)": (lambda: sf.reverse(NET), "needs a Field"),
    "reverse(eta<0)": (lambda: sf.reverse(FIELD, -1.0), "eta must be zero or more"),
    "reverse(eta str)": (lambda: sf.reverse(FIELD, "sde"), "eta must be a number"),
    "reverse(eta int)": (lambda: sf.reverse(FIELD, 1), works),
    "comoving(process)": (lambda: sd.comoving(VP), "needs a Field"),
    "comoving(eta None)": (lambda: sd.comoving(FIELD, None), "eta must be a number"),
    "ancestral(eta=2)": (lambda: sf.ancestral(FIELD, 2.0), "eta between 0"),
    "ancestral(process)": (lambda: sf.ancestral(VP), "needs a Field"),
    "ancestral(variance str)": (lambda: sf.ancestral(FIELD, variance="small"), "variance must be"),
    "ancestral(variance, eta)": (
        lambda: sf.ancestral(FIELD, 0.5, variance=lambda t: t[1:]),
        "eta = 1",
    ),
    "ancestral(variance None)": (
        lambda: EULER.solve(sf.ancestral(FIELD, variance=lambda t: None), X),
        "variance must",
    ),
    "ancestral(variance shape)": (
        lambda: EULER.solve(sf.ancestral(FIELD, variance=lambda t: t), X),
        "variance must give",
    ),
    "multistep(process)": (lambda: sf.multistep(VP), "needs a Field"),
    "multistep(eta str)": (lambda: sf.multistep(FIELD, "0"), "eta must be a number"),
    "multistep(eta=9)": (lambda: sf.multistep(FIELD, 9.0), "eta must be at most 3"),
    "multistep(order=5)": (lambda: sf.multistep(FIELD, order=5), "order must be at most 4"),
    "multistep(order=float)": (lambda: sf.multistep(FIELD, order=2.0), "order must be a whole"),
    "multistep(spread=std)": (lambda: sf.multistep(FIELD, spread=1.0), "spread must be a Spread"),
    "Spread(std=0)": (
        lambda: sf.multistep(FIELD, spread=sf.sdes.Spread(None, 0.0, 1.0)),
        "spread.std must be positive",
    ),
    "multistep(heun)": (lambda: HEUN.solve(sf.multistep(FIELD, 1.0), X), "euler"),
    "multistep(line)": (
        lambda: sf.ODESolver("euler", 3).solve(sf.multistep(FIELD1), X[:, :1]).x,
        finite,
    ),
    "recipe(steps=0)": (lambda: sf.sdes.recipe(0), "steps must be at least 1"),
    "Recipe(steps)": (lambda: sf.sdes.recipe("8"), "steps must be a whole number"),
    "recipe(finest)": (lambda: sf.sdes.recipe(8, finest=float("nan")), "finest must be"),
    "Spread(narrowest)": (
        lambda: sf.multistep(FIELD, spread=sf.sdes.Spread(None, 1.0, 1.0, -1.0)),
        "spread.narrowest must be",
    ),
    "recipe(guided, few)": (lambda: sf.sdes.recipe(4, guided=True), works),
    "calibrate(steps=1)": (lambda: sf.sdes.calibrate(FIELD, 1), "steps must be at least 2"),
    "calibrate(pilot=3)": (lambda: sf.sdes.calibrate(FIELD, 4, 3), "pilot must be at least 16"),
    "calibrate(sde)": (lambda: sf.sdes.calibrate(REVERSE, 4), "needs a Field"),
    "ancestral(heun)": (lambda: HEUN.solve(sf.ancestral(FIELD), X), "euler"),
    "brownian(0)": (lambda: sd.brownian(0), "diffusivity must be positive"),
    "brownian(matrix)": (lambda: sd.brownian(torch.eye(2)), "diffusivity must be a number"),
    "brownian(t_end<0)": (lambda: sd.brownian(1.0, -1.0), "t_end must be positive"),
    "starting(outside)": (lambda: sd.starting(OU, [9.0]), "within the span"),
    "starting(None)": (lambda: sd.starting(None, [0.0]), "sde must be an SDE"),
    "starting(text)": (lambda: sd.starting(OU, "now"), "starts must"),
    "starting(whole steps)": (lambda: sd.starting(sf.ancestral(FIELD), [0.5]), "no start times"),
    "ou(number)": (lambda: sd.ornstein_uhlenbeck(1.0), "matrix must be square"),
    "ou(str)": (lambda: sd.ornstein_uhlenbeck("A"), "matrix must"),
    "ou(None)": (lambda: sd.ornstein_uhlenbeck(None), "matrix must"),
    "ou(ragged)": (lambda: sd.ornstein_uhlenbeck([[1.0], [1.0, 2.0]]), "matrix must"),
    "ou(unstable)": (lambda: sd.ornstein_uhlenbeck([[-1.0]]), "positive real parts"),
    "ou(noise matrix)": (lambda: sd.ornstein_uhlenbeck(torch.eye(2), torch.eye(2)), "noise must"),
    "ou(noise str)": (lambda: sd.ornstein_uhlenbeck(torch.eye(2), "1"), "noise must"),
    "ou(noise<0)": (lambda: sd.ornstein_uhlenbeck(torch.eye(2), -1.0), "noise must be finite"),
    "ou(numpy)": (lambda: sd.ornstein_uhlenbeck(np.eye(2), np.ones(2)), works),
    "ou.covariance(lag<0)": (lambda: OU.covariance(-1.0), "lag must be zero or more"),
    "ou.evolved(dim)": (lambda: OU.evolved(MIX1, 1.0), "dimension"),
    "ou.evolved(density)": (lambda: OU.evolved(DENSITY, 1.0), "start must be"),
    "ou.evolved(time)": (lambda: OU.evolved(MIX, -1.0), "time must be zero or more"),
    "ou.entropy": (
        lambda: sd.ornstein_uhlenbeck(torch.eye(2), [1.0, 0.0]).entropy_production(),
        "noise",
    ),
    "ou in 3D": (lambda: HEUN.solve(OU, X3), "(6, 3)"),
    "Box(crossed)": (lambda: sd.Box(1.0, 0.0), "low must be below high"),
    "Box(text)": (lambda: sd.Box("0", 1.0), "low must be a number or one number per axis"),
    "Box(misspelled)": (lambda: sd.Box(0.0, 1.0, "reflective"), "a wall is reflecting, absorbing"),
    "Box(pair for an axis)": (
        lambda: sd.Box(0.0, 1.0, ["absorbing", ("reflecting", "absorbing")]).axes(1),
        "the walls stand across 2 axes, not 1",
    ),
    "Box(half a ring)": (
        lambda: sd.Box(0.0, 1.0, [("periodic", "absorbing")]),
        "periodic on both sides",
    ),
    "Box(endless ring)": (lambda: sd.Box(0.0, math.inf, "periodic"), "needs two finite walls"),
    "Box(rows)": (lambda: sd.Box([0.0, 0.0], [1.0, 1.0, 1.0]), "one entry, or one per axis"),
    "walls(heun)": (lambda: HEUN.solve(BOXED, X / 9), "between walls use SDESolver('euler')"),
    "walls(outside)": (
        lambda: sf.SDESolver(steps=2).solve(BOXED, 9 + X),
        "particles start outside the walls",
    ),
    "walls(3D cloud)": (lambda: sf.SDESolver(steps=2).solve(BOXED, X3), "not 3"),
    "walls(number)": (lambda: sf.SDE(lambda x, t: -x, None, 0.0, 1.0, walls=1.0), "walls must be"),
    "walls(multistep)": (
        lambda: replace(sf.multistep(FIELD), walls=BOX),
        "takes whole steps, which cannot stop",
    ),
    "walls(dynkin)": (
        lambda: dg.dynkin_test(sf.SDESolver(steps=2).solve(BOXED, X / 9, 3), BOXED),
        "does not allow for walls",
    ),
    "walls(grid beyond)": (
        lambda: sf.evolve(BOXED, sf.Density.from_samples(sf.Grid(-6.0, 6.0, (24, 24)), X), [0, 1]),
        "give a Grid that ends at the walls",
    ),
    "walls(rescaling)": (
        lambda: fp.rescale(replace(sf.forward(VP), walls=BOX), fp.Rescaling(VP, 1.0)),
        "does not allow for walls",
    ),
    "noises(0)": (lambda: sf.SDE(lambda x, t: x, lambda x, t: x, 0.0, 1.0, noises=0), "noises"),
    "noises(no diffusion)": (
        lambda: sf.SDE(lambda x, t: -x, None, 0.0, 1.0, noises=2),
        "has no noises",
    ),
    "noises(diagonal)": (
        lambda: sf.SDESolver(steps=2).solve(
            sf.SDE(lambda x, t: -x, lambda x, t: x, 0.0, 1.0, noises=2), X
        ),
        "with noises=2 it is a matrix, (2, 2) or (6, 2, 2)",
    ),
    "noises(left out)": (
        lambda: sf.SDESolver(steps=2).solve(
            sf.SDE(lambda x, t: -x, lambda x, t: torch.ones(2, 3), 0.0, 1.0), X
        ),
        "say SDE(..., noises=m)",
    ),
    "noises(srk)": (lambda: sf.SDESolver("srk").solve(MATRIX, X), "does not take a diffusion mat"),
    "log_ode(diagonal)": (
        lambda: sf.SDESolver("log_ode").solve(sd.brownian(), X),
        "is for a diffusion matrix",
    ),
    "noises(generator)": (
        lambda: fp.markov_generator(MATRIX, sf.Grid(-4.0, 4.0, (8, 8))),
        "not available for a diff",
    ),
    "noises(state)": (
        lambda: sf.evolve(
            sf.SDE(lambda x, t: -x, lambda x, t: x[:, :, None], 0.0, 1.0, noises=1),
            sf.Density.from_samples(sf.Grid(-9.0, 9.0, (24, 24)), X),
            [0, 1],
        ),
        "would not stay positive",
    ),
    "noises(walls)": (lambda: replace(MATRIX, walls=BOX), "not a matrix"),
    "start that asks for a gradient": (
        lambda: HEUN.solve(sd.brownian(), HARD),
        "say differentiable=True, or x.detach()",
    ),
    "differentiable(1)": (
        lambda: HEUN.solve(sd.brownian(), HARD, differentiable=1),
        "must be True, False or 'adj",
    ),
    "differentiable(nothing)": (
        lambda: HEUN.solve(sd.brownian(), X, differentiable=True),
        "nothing in this run asks",
    ),
    "differentiable(multistep)": (
        lambda: sf.ODESolver("euler", steps=2).solve(
            sf.multistep(FIELD), HARD, differentiable=True
        ),
        "carries no gradient",
    ),
    "differentiable(walls)": (
        lambda: sf.SDESolver(steps=2).solve(BOXED, HARD / 9, differentiable=True),
        "carries no gradient",
    ),
    "simulate(nothing)": (lambda: sf.simulate(OU, MIX, 10), "give reduce="),
    "simulate(cloud first)": (lambda: sf.simulate(X, MIX, 10, sm.Moments()), "sde must be an SDE"),
    "simulate(no n)": (lambda: sf.simulate(OU, MIX, None, sm.Moments()), "give n"),
    "simulate(n=1e6)": (
        lambda: sf.simulate(OU, MIX, 1e6, sm.Moments()),
        "n must be a whole number",
    ),
    "simulate(n beyond)": (lambda: sf.simulate(OU, X, 7, sm.Moments()), "start has 6 particles"),
    "simulate(list)": (lambda: sf.simulate(OU, LIST, 6, sm.Moments()), "start must be a distrib"),
    "simulate(prior of OU)": (lambda: sf.simulate(OU, VP, 9, sm.Moments()), "how many dimensions"),
    "simulate(class)": (lambda: sf.simulate(OU, MIX, 9, [sm.Moments]), "reduce must be a Reducer"),
    "simulate(solver)": (
        lambda: sf.simulate(OU, MIX, 9, sm.Moments(), solver="euler"),
        "solver must be an ODESolver",
    ),
    "simulate(chunk)": (
        lambda: sf.simulate(OU, MIX, 9, sm.Moments(), chunk=1000),
        "chunk must be a multiple of 4096",
    ),
    "simulate(png)": (lambda: sf.simulate(OU, "x.png", 9, sm.Moments()), "must end in .npy or"),
    "simulate(no file)": (lambda: sf.simulate(OU, "x.npy", 9, sm.Moments()), "there is no x.npy"),
    "Histogram(bins)": (lambda: sm.Histogram(64), "grid must be a Grid"),
    "Histogram(3D)": (lambda: sf.simulate(OU3, X3, None, sm.Histogram(GRID)), "dimension 2"),
    "Moments(1)": (lambda: sm.Moments(1), "order must be 2 to 8"),
    "Moments(inf)": (
        lambda: sf.simulate(OU, X, None, sm.Values(lambda p: p.x[-1] / 0, sm.Moments())),
        "moments of NaN or infinite values",
    ),
    "CloudMoments(order 2)": (
        lambda: sf.simulate(OU, X, None, sm.Moments(2)).variance_error,
        "ask for order=4",
    ),
    "Quantiles(percent)": (lambda: sm.Quantiles((5, 95)), "levels must be numbers from 0 to 1"),
    "simulate(wrong count)": (
        lambda: sf.simulate(OU, lambda first, count: X[:3], 9, sm.Moments()),
        "start gave 3 particles from number 0 on, not 9",
    ),
    "simulate(numpy)": (
        lambda: sf.simulate(OU, NUMPY, None, sm.Moments()),
        "use torch.from_numpy",
    ),
    "simulate(bfloat16 file)": (
        lambda: sf.simulate(sd.brownian(), X.bfloat16(), None, sm.Moments(), out="b.zarr"),
        "has no bfloat16",
    ),
    "Histogram(elsewhere)": (
        lambda: sf.simulate(OU, X + 99, None, sm.Histogram(GRID)),
        "no particle lies in the grid",
    ),
    "Moments(n=1)": (
        lambda: sf.simulate(OU, X[:1], None, sm.Moments()).covariance,
        lambda covariance: covariance.isnan().all(),
    ),
    "Keep(bfloat16)": (
        lambda: sf.simulate(sd.brownian(), X.bfloat16(), None, sm.Keep(1)),
        works,
    ),
    "Keep(10)": (lambda: sm.Keep(10), "every must be a power of two"),
    "Values(no function)": (lambda: sm.Values(X, sm.Moments()), "function must be a function"),
    "Values(class)": (lambda: sm.Values(lambda p: p, sm.Moments), "into must be a Reducer"),
    "Values(mean)": (
        lambda: sf.simulate(OU, X, None, sm.Values(lambda p: p.x.mean(), sm.Moments())),
        "one row for each",
    ),
    "open_cloud(none)": (lambda: sf.open_cloud("cloud.zarr"), "there is no cloud.zarr"),
    "CloudFile(number)": (lambda: sf.open_cloud(1), "path must be"),
    "Reducer(alone)": (lambda: sf.simulate(OU, X, 6, sm.Reducer), "reduce must be"),
    "survival(no walls)": (
        lambda: an.survival(sf.SDESolver(steps=2).solve(BOXED, X / 9), math.nan),
        "t must be finite",
    ),
    "survival(open)": (
        lambda: an.survival(HEUN.solve(sd.brownian(), X), 0.5),
        "no wall of this run absorbs",
    ),
    "survival(cloud)": (lambda: an.survival(X, 0.5), "run must be a Path"),
    "langevin(number)": (lambda: sd.langevin(1.0), "potential must be a function"),
    "langevin()": (lambda: sd.langevin(), "needs a potential, or force="),
    "langevin(both)": (lambda: sd.langevin(WELL, force=ODE.drift), "leave those out"),
    "langevin(T of x and t)": (lambda: sd.langevin(WELL, lambda x, t: 1.0), "function of (t)"),
    "langevin(T=0)": (lambda: sd.langevin(WELL, 0.0), "temperature must be positive"),
    "langevin(mu str)": (lambda: sd.langevin(WELL, 1.0, "1"), "mobility must be a number"),
    "langevin(protocol=1)": (lambda: sd.langevin(WELL, protocol=1.0), "protocol must be"),
    "langevin(numpy potential)": (
        lambda: HEUN.solve(sd.langevin(lambda x: np.zeros(6)), X),
        "per particle",
    ),
    "langevin(energy per axis)": (
        lambda: HEUN.solve(sd.langevin(lambda x: x**2), X),
        "sum over the coordinates",
    ),
    "langevin(detached)": (
        lambda: HEUN.solve(sd.langevin(lambda x: (x.detach() ** 2).sum(1)), X),
        "no gradient",
    ),
    "underdamped(1 column)": (
        lambda: HEUN.solve(sd.underdamped(sd.harmonic()), LINE),
        "append a velocity",
    ),
    "underdamped(mass=0)": (lambda: sd.underdamped(WELL, mass=0.0), "mass must be positive"),
    "underdamped(friction<0)": (lambda: sd.underdamped(WELL, -1.0), "friction must be positive"),
    "underdamped(None)": (lambda: sd.underdamped(None), "potential must be a function"),
    "gbm(volatility=0)": (lambda: sd.geometric_brownian(0.1, 0.0), "volatility must be positive"),
    "gbm(growth=nan)": (lambda: sd.geometric_brownian(math.nan, 1.0), "growth must be finite"),
    "gbm(calculus)": (lambda: sd.geometric_brownian(0.1, 1.0, 1.0, "strat"), "calculus must be"),
    "harmonic(0)": (lambda: sd.harmonic(0), "stiffness must be positive"),
    "harmonic(cloud)": (lambda: sd.harmonic(X), "stiffness must be a number"),
    "double_well(str)": (lambda: sd.double_well("high"), "barrier must be a number"),
    "mexican_hat(-1)": (lambda: sd.mexican_hat(-1), "barrier must be positive"),
}

SOLVERS: Table = {
    "SDESolver(EM)": (lambda: sf.SDESolver("euler_maruyama"), "SDE method"),
    "SDESolver(rk4)": (lambda: sf.SDESolver("rk4"), "SDE method"),
    "SDESolver(None)": (lambda: sf.SDESolver(None), "SDE method"),
    "SDESolver(list)": (lambda: sf.SDESolver(["euler"]), "method"),
    "SDESolver(steps first)": (lambda: sf.SDESolver(100), "SDE method"),
    "SDESolver(steps=0)": (lambda: sf.SDESolver(steps=0), "steps must be at least 1"),
    "SDESolver(steps=1e3)": (lambda: sf.SDESolver(steps=1e3), "steps must be a whole number"),
    "SDESolver(steps=numpy)": (lambda: sf.SDESolver(steps=np.int64(3)).solve(OU, X), works),
    "SDESolver(noise=gpu)": (lambda: sf.SDESolver(noise="gpu"), "noise must be"),
    "SDESolver(seed=-1)": (lambda: sf.SDESolver(seed=-1), "seed must be at least 0"),
    "SDESolver(seed=big)": (lambda: sf.SDESolver(seed=2**64), "seed must be below 2^64"),
    "SDESolver(seed=None)": (lambda: sf.SDESolver(seed=None), works),
    "SDESolver(seed=1.0)": (lambda: sf.SDESolver(seed=1.0), "seed must be a whole number"),
    "solve(times=list)": (lambda: sf.SDESolver(times=[0.0, 0.3, 1.0]).solve(OU, X), works),
    "solve(times=numpy)": (lambda: sf.SDESolver(times=np.linspace(0, 1, 4)).solve(OU, X), works),
    "solve(times=int)": (lambda: sf.SDESolver(times=100).solve(OU, X), "times must"),
    "solve(times=str)": (lambda: sf.SDESolver(times="uniform").solve(OU, X), "times must"),
    "solve(times=one)": (lambda: sf.SDESolver(times=TIMES[:1]).solve(OU, X), "two times"),
    "solve(times down)": (lambda: sf.SDESolver(times=TIMES.flip(0)).solve(OU, X), "flip them"),
    "solve(times unsorted)": (
        lambda: sf.SDESolver(times=f64([0.0, 0.7, 0.3, 1.0])).solve(OU, X),
        "strictly monotone",
    ),
    "solve(times twice)": (
        lambda: sf.SDESolver(times=f64([0.0, 0.5, 0.5, 1.0])).solve(OU, X),
        "strictly monotone",
    ),
    "solve(times beyond)": (lambda: sf.SDESolver(times=f64([0, 2])).solve(OU, X), "outside"),
    "solve(times nan)": (
        lambda: sf.SDESolver(times=f64([0.0, math.nan, 1.0])).solve(OU, X),
        "times must be finite",
    ),
    "solve(times 2D)": (lambda: sf.SDESolver(times=X).solve(OU, X), "one row"),
    "solve(times=1000 of reverse)": (
        lambda: sf.SDESolver(times=torch.arange(1000, 0, -1)).solve(REVERSE, X),
        "outside",
    ),
    "solve(fine)": (
        lambda: sf.SDESolver(times=TIMES, fine=f64([0.0, 0.4, 1.0])).solve(OU, X),
        "fine",
    ),
    "solve(fine=int)": (lambda: sf.SDESolver(fine=100).solve(OU, X), "fine must"),
    "solve(field)": (lambda: HEUN.solve(FIELD, X), "sde must be an SDE"),
    "solve(process)": (lambda: HEUN.solve(VP, X), "sde must be an SDE"),
    "solve(function)": (lambda: HEUN.solve(lambda x, t: x, X), "sde must be an SDE"),
    "solve(swapped)": (lambda: HEUN.solve(X, OU), "SDE"),
    "solve(maker)": (lambda: HEUN.solve(sf.reverse, X), "sde must be an SDE"),
    "solve(list)": (lambda: HEUN.solve(OU, LIST), "x must be"),
    "solve(numpy)": (lambda: HEUN.solve(OU, NUMPY), "x must be"),
    "solve(n)": (lambda: HEUN.solve(OU, 100), "x must be"),
    "solve(1-D)": (lambda: HEUN.solve(OU1, ROW), "cloud of shape (n, d)"),
    "solve(3-D)": (lambda: HEUN.solve(OU, IMAGES), "cloud of shape (n, d)"),
    "solve(ints)": (lambda: HEUN.solve(OU, INTS), "floating-point"),
    "solve(nan)": (lambda: HEUN.solve(OU, NAN), "row 2"),
    "solve(empty)": (lambda: HEUN.solve(OU, EMPTY), "empty"),
    "solve(complex)": (lambda: HEUN.solve(OU, COMPLEX), "floating-point"),
    "solve(float32)": (lambda: HEUN.solve(OU, X.float()), works),
    "solve(one particle)": (lambda: HEUN.solve(OU, X[:1]), works),
    "solve(dim of field)": (lambda: HEUN.solve(REVERSE, X3), "dimension"),
    "solve(save=0)": (lambda: HEUN.solve(OU, X, 0), "save must be at least 1"),
    "solve(save=float)": (lambda: HEUN.solve(OU, X, 2.0), "save"),
    "solve(save=str)": (lambda: HEUN.solve(OU, X, "all"), "save"),
    "solve(save=None)": (lambda: HEUN.solve(OU, X, None), "save"),
    "solve(save=True)": (lambda: HEUN.solve(OU, X, True), "save"),
    "solve(save too many)": (lambda: HEUN.solve(OU, X, 100), "save"),
    "solve(save off grid)": (lambda: HEUN.solve(OU, X, [0.0, 0.3]), "not on the time grid"),
    "solve(save empty)": (lambda: HEUN.solve(OU, X, []), "save"),
    "solve(save beyond)": (lambda: HEUN.solve(OU, X, [0.0, 7.0]), "save"),
    "solve(save twice)": (lambda: HEUN.solve(OU, X, [0.5, 0.5]), works),
    "solve(save numpy)": (lambda: HEUN.solve(OU, X, np.array([0.0, 0.5])), works),
    "solve(save numpy int)": (lambda: HEUN.solve(OU, X, np.int64(3)), works),
    "solve(first=-1)": (lambda: HEUN.solve(OU, X, first=-1), "first must be at least 0"),
    "solve(first=str)": (lambda: HEUN.solve(OU, X, first="a"), "first must be a whole number"),
    "drift None": (drift_to(None), "the drift returned"),
    "drift float": (drift_to(0.0), "the drift returned"),
    "drift numpy": (drift_to(NUMPY), "the drift returned"),
    "drift list": (drift_to(LIST), "the drift returned"),
    "drift row": (drift_to(X[0]), "the drift returned"),
    "drift transposed": (drift_to(X.T), "the drift returned"),
    "drift complex": (drift_to(COMPLEX), "the drift returned"),
    "drift ints": (drift_to(INTS), works),
    "drift nan": (drift_to(NAN), "NaN"),
    "drift float32": (drift_to(X.float()), works),
    "noise None": (noise_to(None), "the diffusion returned"),
    "noise numpy": (noise_to(np.ones(2)), "the diffusion returned"),
    "noise list": (noise_to([1.0, 1.0]), "the diffusion returned"),
    "noise float": (noise_to(0.5), works),
    "noise str": (noise_to("1"), "the diffusion returned"),
    "noise matrix": (noise_to(torch.ones(6, 2, 2)), "diffusion"),
    "noise (n,)": (noise_to(torch.ones(6)), "diffusion"),
    "noise (d, d)": (noise_to(torch.eye(2)), "diffusion"),
    "noise nan": (noise_to(f64(math.nan)), "diffusion"),
    "noise of state in Ito": (
        lambda: HEUN.solve(sd.geometric_brownian(0.1, 0.2), X),
        "does not fit noise",
    ),
    "ODESolver(euler)": (lambda: sf.ODESolver("euler"), "give steps= or times="),
    "ODESolver(dopri5, steps)": (lambda: sf.ODESolver("dopri5", 100), "chooses its own steps"),
    "ODESolver(RK45)": (lambda: sf.ODESolver("RK45"), "ODE method"),
    "ODESolver(None)": (lambda: sf.ODESolver(None), "ODE method"),
    "ODESolver(steps first)": (lambda: sf.ODESolver(100), "ODE method"),
    "ODESolver(rtol=0)": (lambda: sf.ODESolver(rtol=0), "rtol must be positive"),
    "ODESolver(atol=str)": (lambda: sf.ODESolver(atol="1e-5"), "atol must be a number"),
    "ODESolver(max_steps=0)": (lambda: sf.ODESolver(max_steps=0), "max_steps must be at least 1"),
    "ode(noise)": (lambda: RK4.solve(OU, X), "has noise"),
    "ode(reverse)": (lambda: RK4.solve(REVERSE, X), "has noise"),
    "ode(ancestral)": (lambda: RK4.solve(sf.ancestral(FIELD, 0.0), X), "euler"),
    "ode(list)": (lambda: RK4.solve(ODE, LIST), "x must be"),
    "ode(field)": (lambda: RK4.solve(FIELD, X), "sde must be an SDE"),
    "ode(times list)": (lambda: sf.ODESolver("rk4", times=[0.0, 0.5, 1.0]).solve(ODE, X), works),
    "ode(adaptive, save beyond)": (lambda: sf.ODESolver().solve(ODE, X, [0.5, 7.0]), "save"),
    "ode(adaptive, save down)": (lambda: sf.ODESolver().solve(ODE, X, [0.7, 0.2]), "save"),
    "ode(adaptive, save list)": (lambda: sf.ODESolver().solve(ODE, X, [0.2, 0.7]), works),
    "ode(adaptive, None)": (
        lambda: sf.ODESolver().solve(sf.SDE(lambda x, t: None, None, 0.0, 1.0), X),
        "the drift returned",
    ),
    "ode(adaptive, shape)": (
        lambda: sf.ODESolver().solve(sf.SDE(lambda x, t: x[0], None, 0.0, 1.0), X),
        "the drift returned",
    ),
    "Path(lists)": (lambda: so.Path([0.0, 1.0], LIST, 1, 0.0), "t must be"),
    "Path(lengths)": (lambda: so.Path(TIMES, X[None], 1, 0.0), "t"),
    "Brownian(d=0)": (lambda: so.Brownian(0, 5, 0), "d must be"),
    "Brownian(seed=-1)": (lambda: so.Brownian(-1, 5, 2), "seed must be"),
    "Brownian(n=str)": (lambda: so.Brownian(0, "5", 2), "n must be"),
    "Brownian(dtype)": (lambda: so.Brownian(0, 5, 2, torch.int64), "dtype"),
    "Brownian(cuda)": (lambda: so.Brownian(0, 5, 2, device="gpu"), "device"),
    "Brownian(scales=-1)": (lambda: so.Brownian(0, 5, 2, scales=-1), "one number for each of"),
    "Brownian(scales, times)": (
        lambda: so.Brownian(0, 5, 2, times=TIMES, scales=torch.ones(len(TIMES))),
        "one number for each of",
    ),
    "Brownian()(str)": (lambda: so.Brownian(0, 5, 2)("a"), "ta"),
}

DENSITIES_OF: Table = {
    "tabulate_field(str)": (
        lambda: fp.tabulate_field("f", GRID, f64([0.5, 1.0])),
        "source must be a Field",
    ),
    "FieldTable(str)": (
        lambda: fp.FieldTable.denser(fp.tabulate_field(FIELD, "grid", f64([0.5, 1.0]))),
        "grid must be a Grid",
    ),
    "evolve(field)": (lambda: sf.evolve(FIELD, DENSITY, TIMES), "sde must be an SDE"),
    "evolve(process)": (lambda: sf.evolve(VP, DENSITY, TIMES), "sde must be an SDE"),
    "evolve(cloud)": (lambda: sf.evolve(OU, X, TIMES), "density must be a Density"),
    "evolve(mixture)": (lambda: sf.evolve(OU, MIX, TIMES), "density must be a Density"),
    "evolve(grid)": (lambda: sf.evolve(OU, GRID, TIMES), "density must be a Density"),
    "evolve(swapped)": (lambda: sf.evolve(DENSITY, OU, TIMES), "sde must be an SDE"),
    "evolve(list)": (lambda: sf.evolve(OU1, FINE, [0.0, 0.1]), works),
    "evolve(one time)": (lambda: sf.evolve(OU, DENSITY, 1.0), "times must"),
    "evolve(down)": (lambda: sf.evolve(OU, DENSITY, f64([0.1, 0.0])), "flip them"),
    "evolve(beyond)": (lambda: sf.evolve(OU, DENSITY, f64([0.0, 7.0])), "outside"),
    "evolve(steps=0)": (lambda: sf.evolve(OU, DENSITY, TIMES, steps=0), "steps must be"),
    "evolve(time_grid=int)": (
        lambda: sf.evolve(OU, DENSITY, TIMES, time_grid=9),
        "time_grid must",
    ),
    "evolve(rescaling=2)": (lambda: sf.evolve(OU, DENSITY, TIMES, rescaling=2.0), "rescaling"),
    "evolve(refuse=None)": (lambda: sf.evolve(OU, DENSITY, TIMES, refuse=None), "refuse must"),
    "evolve(refuse=False)": (lambda: sf.evolve(OU, DENSITY, TIMES, refuse=False), "refuse must"),
    "evolve(dimension)": (lambda: sf.evolve(OU, DENSITY1, TIMES), "axis"),
    "evolve(drift numpy)": (
        lambda: sf.evolve(sf.SDE(lambda x, t: x.numpy(), None, 0, 1), DENSITY, TIMES),
        "the drift returned",
    ),
    "evolve(noise None)": (
        lambda: sf.evolve(sf.SDE(lambda x, t: -x, lambda x, t: None, 0, 1), DENSITY, TIMES),
        "the diffusion returned",
    ),
    "evolve(REFUSE)": (lambda: sf.evolve(OU1, FINE, [0.0, 0.1], refuse=fp.REFUSE), works),
    "DensityPath(list)": (lambda: fp.DensityPath(TIMES, [DENSITY], fp.Diagnostics()), "densities"),
    "DensityPath(diagnostics)": (
        lambda: fp.DensityPath(TIMES, (DENSITY,) * 3, None),
        "diagnostics",
    ),
    "Diagnostics(str)": (lambda: fp.Diagnostics(courant="1"), "courant must be a number"),
    "Rescaling(class)": (lambda: fp.Rescaling(sf.VP), "process must be"),
    "Rescaling(std=0)": (lambda: fp.Rescaling(VP, 0.0), "std must be positive"),
    "Rescaling(width<0)": (lambda: fp.Rescaling(VP, 1.0, -1.0), "width must be"),
    "rescaling(str)": (lambda: fp.Rescaling(VP)("1"), "t must"),
    "rescaling.time(float)": (lambda: fp.Rescaling(VP).time(0.0), works),
    "rescaling.rescaled_time(float)": (lambda: fp.Rescaling(VP).rescaled_time(0.5), works),
    "rescale(process)": (lambda: fp.rescale(OU, VP), "Rescaling"),
    "rescale(swapped)": (lambda: fp.rescale(fp.Rescaling(VP), OU), "Rescaling"),
    "rescale(span)": (lambda: fp.rescale(OU, fp.Rescaling(VP)), "outside"),
    "current(cloud)": (lambda: fp.probability_current(OU, X, 0.5), "density must be"),
    "current(str)": (lambda: fp.probability_current(OU, DENSITY, "0"), "t must be a number"),
    "current(None)": (lambda: fp.probability_current(OU, DENSITY, None), "t must be a number"),
    "current(field)": (lambda: fp.probability_current(FIELD, DENSITY, 0.5), "sde must be an SDE"),
    "current(dimension)": (lambda: fp.probability_current(OU, DENSITY1, 0.5), "axis"),
    "sampler_density(noise of state)": (
        lambda: fp.sampler_density(sd.geometric_brownian(0.1, 0.2), DENSITY, TIMES),
        "noise",
    ),
    "sampler_density(cloud)": (lambda: fp.sampler_density(REVERSE, X, DOWN), "density must be"),
    "sampler_density(list)": (lambda: fp.sampler_density(OU1, FINE, [0.0, 0.02]), works),
    "sampler_density(save)": (
        lambda: fp.sampler_density(OU, DENSITY, TIMES, f64([0.0, 0.3])),
        "not on the time grid",
    ),
    "sampler_density(times=10)": (lambda: fp.sampler_density(OU, DENSITY, 10), "times must"),
    "generator(tuple)": (lambda: fp.markov_generator(OU1, (-6, 6, 32)), "grid must be a Grid"),
    "generator(field)": (lambda: fp.markov_generator(FIELD, GRID), "sde must be an SDE"),
    "generator(swapped)": (lambda: fp.markov_generator(GRID1, OU1), "sde must be an SDE"),
    "generator(t=str)": (lambda: fp.markov_generator(OU1, GRID1, t="0"), "t must be a number"),
    "generator(potential numpy)": (
        lambda: fp.markov_generator(OU1, GRID1, potential=np.zeros(32)),
        works,
    ),
    "generator(potential function)": (
        lambda: fp.markov_generator(OU1, GRID1, potential=WELL),
        "potential must",
    ),
    "generator(potential shape)": (
        lambda: fp.markov_generator(OU1, GRID1, potential=torch.zeros(5)),
        "potential must be",
    ),
    "generator(potential nan)": (
        lambda: fp.markov_generator(OU1, GRID1, potential=torch.full((32,), math.nan)),
        "potential",
    ),
    "generator(dimension)": (lambda: fp.markov_generator(OU, GRID1), "one axis for each"),
    "generator(matrix noise)": (
        lambda: fp.markov_generator(
            sf.SDE(lambda x, t: -x, lambda x, t: torch.eye(2), 0, 1), GRID
        ),
        "diffusion",
    ),
    "passage_time(function)": (lambda: GENERATOR.passage_time(lambda x: x > 0), "target must be"),
    "passage_time(list)": (lambda: GENERATOR.passage_time([True] * 32), works),
    "passage_time(index)": (lambda: GENERATOR.passage_time(31), "target must be"),
    "passage_time(numpy)": (lambda: GENERATOR.passage_time(np.arange(32) > 20), works),
    "passage_time(none true)": (
        lambda: GENERATOR.passage_time(torch.zeros(32, dtype=torch.bool)),
        "at least one",
    ),
    "propagate(cloud)": (lambda: GENERATOR.propagate(LINE, 1.0), "density must be"),
    "propagate(time<0)": (lambda: GENERATOR.propagate(DENSITY1, -1.0), "time must be"),
    "propagate(grid)": (lambda: GENERATOR.propagate(DENSITY, 1.0), "grid"),
    "rate(array)": (lambda: GENERATOR.rate(np.ones(32)), "density must be"),
    "relaxation_rates(0)": (lambda: GENERATOR.relaxation_rates(0), "count must be at least 1"),
    "relaxation_rates(31)": (lambda: GENERATOR.relaxation_rates(31), "count"),
    "relaxation_rates(float)": (lambda: GENERATOR.relaxation_rates(2.0), "count must be a whole"),
    "MarkovGenerator(tensor)": (lambda: fp.MarkovGenerator(GRID1, torch.eye(32)), "matrix"),
    "Grid(str)": (lambda: sf.Grid("a", "b", (8,)), "low must be real numbers"),
    "Grid(reversed)": (lambda: sf.Grid(1.0, -1.0, (8,)), "low must lie below high"),
    "Grid(float cells)": (lambda: sf.Grid(0.0, 1.0, (8.0,)), "shape must be a whole number"),
    "Grid(int)": (lambda: sf.Grid(0.0, 1.0, 8), works),
    "Grid(3 cells)": (lambda: sf.Grid(0.0, 1.0, 3), "at least 4"),
    "Grid(3D)": (lambda: sf.Grid(0.0, 1.0, (8, 8, 8)), "one or two axes"),
    "Grid(corner)": (lambda: sf.Grid((0.0, 0.0), (1.0, 1.0), (8,)), "low must hold 1"),
    "Grid(nan)": (lambda: sf.Grid(math.nan, 1.0, (8,)), "finite"),
    "Grid(None)": (lambda: sf.Grid(None, 1.0, (8,)), "low must be real numbers"),
    "Grid(shape None)": (lambda: sf.Grid(0.0, 1.0, None), "shape"),
    "Grid(numpy)": (lambda: sf.Grid(np.zeros(2), torch.ones(2), np.array([8, 8])), works),
    "grid.edges(7)": (lambda: GRID.edges(7), "axis"),
    "grid.middles(str)": (lambda: GRID.middles("x"), "axis"),
    "grid.cell(3D)": (lambda: GRID.cell(X3), "dimension 2, got 3"),
    "grid.count(list)": (lambda: GRID.count(LIST), "x must be"),
    "grid.scaled(0)": (lambda: GRID.scaled(0.0), "factor must be positive"),
    "grid.coarser(5)": (lambda: GRID.coarser(5), "cannot be merged"),
    "grid.coarser(0)": (lambda: GRID.coarser(0), "factor must be at least 1"),
    "grid.same(density)": (lambda: GRID.same(DENSITY), "must be a Grid"),
    "Density(list)": (lambda: sf.Density(GRID1, [1 / 32] * 32), works),
    "Density(numpy)": (lambda: sf.Density(GRID1, np.full(32, 1 / 32)), works),
    "Density(shape)": (lambda: sf.Density(GRID1, torch.ones(5) / 5), "mass must be (32,)"),
    "Density(heights)": (lambda: sf.Density(GRID1, torch.ones(32)), "divide them by their sum"),
    "Density(negative)": (lambda: sf.Density(GRID1, -torch.ones(32) / 32), "negative"),
    "Density(nan)": (lambda: sf.Density(GRID1, torch.full((32,), math.nan)), "NaN"),
    "Density(swapped)": (lambda: sf.Density(torch.ones(32) / 32, GRID1), "grid must be a Grid"),
    "Density(complex)": (lambda: sf.Density(GRID1, torch.ones(32) * 1j), "mass must be"),
    "from_samples(swapped)": (lambda: sf.Density.from_samples(X, GRID), "grid must be a Grid"),
    "from_samples(outside)": (lambda: sf.Density.from_samples(GRID, X + 100), "no particle lies"),
    "from_samples(list)": (lambda: sf.Density.from_samples(GRID, LIST), "x must be"),
    "kl(tensor)": (lambda: DENSITY.kl(DENSITY.mass), "other must be a Density"),
    "kl(grid)": (lambda: DENSITY.kl(OTHER), "different grids"),
    "kl(cloud)": (lambda: DENSITY.kl(X), "other must be a Density"),
    "tv(None)": (lambda: DENSITY.total_variation(None), "other must be a Density"),
    "tv(dimension)": (lambda: DENSITY.total_variation(DENSITY1), "different grids"),
    "marginal(2)": (lambda: DENSITY.marginal(2), "axis must be 0 to 1"),
    "marginal(str)": (lambda: DENSITY.marginal("x"), "axis must be"),
    "density.coarsen(0)": (lambda: DENSITY.coarsen(0), "factor must be at least 1"),
    "density.scaled(str)": (lambda: DENSITY.scaled("2"), "factor must be a number"),
    "density.log_prob(3D)": (lambda: DENSITY.log_prob(X3), "dimension 2, got 3"),
    "density.sample(n=float)": (lambda: DENSITY.sample(5.0, 0), "n must be a whole number"),
    "captured(grid)": (lambda: sf.density.captured(np.ones(5) / 5, GRID1, 1e-3), "mass must be"),
    "captured(missing)": (lambda: sf.density.captured(np.ones(32) / 32, GRID1, "a"), "missing"),
}

DIAGNOSTICS: Table = {
    "wasserstein(list)": (lambda: sf.wasserstein(LIST, X), "x must be"),
    "wasserstein(numpy)": (lambda: sf.wasserstein(X, NUMPY), "y must be"),
    "wasserstein(sizes)": (lambda: sf.wasserstein(X, X[:3]), "clouds of one size"),
    "wasserstein(dims)": (lambda: sf.wasserstein(X, X3), "dimension 2, got 3"),
    "wasserstein(density)": (lambda: sf.wasserstein(X, DENSITY), "y must be"),
    "wasserstein(path)": (lambda: sf.wasserstein(PATH, X), "x must be"),
    "wasserstein(path.x)": (lambda: sf.wasserstein(PATH.x, X), "cloud of shape (n, d)"),
    "wasserstein(large)": (
        lambda: sf.wasserstein(torch.zeros(5001, 1), torch.zeros(5001, 1)),
        "sliced_wasserstein",
    ),
    "wasserstein(dtypes)": (lambda: sf.wasserstein(X, X.float()), finite),
    "wasserstein(grad)": (lambda: sf.wasserstein(X, HARD), finite),
    "column_scale(list)": (lambda: dg.column_scale(LIST), "x must be"),
    "column_scale(row)": (lambda: dg.column_scale(ROW), "cloud of shape (n, d)"),
    "column_scale(nan)": (lambda: dg.column_scale(NAN), "row 2"),
    "wasserstein(scale str)": (lambda: sf.wasserstein(X, X, scale="std"), "scale must be"),
    "wasserstein(scale 0)": (lambda: sf.wasserstein(X, X, scale=0.0), "scale must be"),
    "wasserstein(scale of 3)": (lambda: sf.wasserstein(X, X, scale=[1, 1, 1]), "scale must be"),
    "wasserstein(scale list)": (lambda: sf.wasserstein(X, X, scale=[1.0, 2.0]), finite),
    "sliced(directions=0)": (lambda: dg.sliced_wasserstein(X, X, 0), "directions must be"),
    "sliced(seed)": (lambda: dg.sliced_wasserstein(X, X, seed=-1), "seed must be at least 0"),
    "sliced(nan)": (lambda: dg.sliced_wasserstein(X, NAN), "row 2"),
    "sliced(sizes)": (lambda: dg.sliced_wasserstein(X, X[:3]), finite),
    "energy(one)": (lambda: dg.energy_distance(X[:1], X), "two particles"),
    "energy(1-D)": (lambda: dg.energy_distance(ROW, ROW), "cloud of shape (n, d)"),
    "floor(cloud)": (lambda: dg.sampling_floor(X, 5), "sample must be a function"),
    "floor(mixture)": (lambda: dg.sampling_floor(MIX, 5), "give its method .sample"),
    "floor(repeats=1)": (lambda: dg.sampling_floor(SAMPLE, 5, repeats=1), "repeats must be"),
    "floor(distance str)": (lambda: dg.sampling_floor(SAMPLE, 5, "w2"), "distance must be"),
    "floor(n float)": (lambda: dg.sampling_floor(SAMPLE, 5.0), "n must be a whole number"),
    "floor(seed=-1)": (lambda: dg.sampling_floor(SAMPLE, 5, seed=-1), "seed must be at least 0"),
    "spread(std)": (lambda: dg.spread(X, 1.0), "covariance must be"),
    "spread(numpy)": (lambda: dg.spread(X, np.eye(2)), "covariance must be"),
    "spread(one)": (lambda: dg.spread(X[:1], torch.eye(2)), "number of particles"),
    "spread(zero)": (lambda: dg.spread(X, torch.zeros(2, 2)), "covariance"),
    "nearest(dims)": (lambda: dg.nearest(X, X3), "dimension 2, got 3"),
    "nearest(dataset)": (lambda: dg.nearest(X, ds.spiral()), "points must be"),
    "coverage(list)": (lambda: dg.coverage(LIST, X), "x must be"),
    "class_shares(float)": (lambda: dg.class_shares(X, X, ROW), "labels must be"),
    "class_shares(length)": (
        lambda: dg.class_shares(X, X, torch.tensor([0, 1])),
        "labels must be",
    ),
    "class_shares(list)": (lambda: dg.class_shares(X, X, [0, 1, 0, 1, 0, 1]), works),
    "class_shares(negative)": (lambda: dg.class_shares(X, X, torch.full((6,), -1)), "labels"),
    "holm(number)": (lambda: dg.holm(0.5), "p-values must"),
    "holm(2)": (lambda: dg.holm([0.5, 2.0]), "p-values must"),
    "holm(nan)": (lambda: dg.holm([math.nan]), "p-values must"),
    "holm(empty)": (lambda: dg.holm([]), works),
    "holm(tensor)": (lambda: dg.holm(f64([0.5, 0.1])), works),
    "check_density(swapped)": (lambda: sf.check_density(DENSITY, X), "x must be"),
    "check_density(mixture)": (lambda: sf.check_density(X, MIX), "density must be a Density"),
    "check_density(clouds)": (lambda: sf.check_density(X, X), "density must be a Density"),
    "check_density(path)": (lambda: sf.check_density(PATH, DENSITY), "x must be"),
    "check_density(few)": (lambda: sf.check_density(X[:1], DENSITY), "particles"),
    "check_density(dims)": (
        lambda: sf.check_density(randn(200, 3), DENSITY),
        "dimension 2, got 3",
    ),
    "check_density(bins=1)": (lambda: sf.check_density(CLOUD200, DENSITY, bins=1), "bins must"),
    "check_density(bins=str)": (
        lambda: sf.check_density(CLOUD200, DENSITY, bins="a"),
        "bins must",
    ),
    "check_density(seed)": (lambda: sf.check_density(CLOUD200, DENSITY, seed=-1), "seed must"),
    "passed(level=5)": (lambda: VERDICT.passed(5), "level must"),
    "passed(level=str)": (lambda: VERDICT.passed("0.05"), "level must"),
    "equivalent(None)": (lambda: VERDICT.equivalent(None), "within must"),
    "check_path(cloud)": (lambda: dg.check_path(X, DENSITIES), "needs a Path"),
    "check_path(density)": (
        lambda: dg.check_path(PATH, DENSITY),
        "needs a Path and a DensityPath",
    ),
    "check_path(times)": (
        lambda: dg.check_path(HEUN.solve(OU, CLOUD200, [0.25]), DENSITIES),
        "density",
    ),
    "check_path(sde=field)": (
        lambda: dg.check_path(HEUN.solve(OU, CLOUD200, 3), DENSITIES, sde=FIELD),
        "sde must be",
    ),
    "two_sample(density)": (lambda: dg.two_sample_test(X, DENSITY), "y must be"),
    "two_sample(dims)": (lambda: dg.two_sample_test(X, X3), "dimension 2, got 3"),
    "two_sample(one point)": (
        lambda: dg.two_sample_test(torch.ones(100, 2), torch.ones(100, 2)),
        "one point",
    ),
    "two_sample(bins=0)": (lambda: dg.two_sample_test(CLOUD200, CLOUD200, bins=0), "bins must"),
    "two_sample(few)": (lambda: dg.two_sample_test(X[:1], X[:1]), "particles"),
    "dynkin(cloud)": (lambda: dg.dynkin_test(X, OU), "path must be a Path"),
    "dynkin(swapped)": (lambda: dg.dynkin_test(OU, PATH), "path must be a Path"),
    "dynkin(field)": (lambda: dg.dynkin_test(LONG, FIELD), "sde must be"),
    "dynkin(other sde)": (lambda: dg.dynkin_test(LONG, OU1), "dimension"),
    "dynkin(seed)": (lambda: dg.dynkin_test(LONG, OU, seed="0"), "seed must be"),
    "error_budget(sde)": (lambda: dg.error_budget(X, OU, DOWN, FIELD, GRID), "sde must"),
    "error_budget(truth)": (lambda: dg.error_budget(X, REVERSE, DOWN, MIX, GRID), "truth must"),
    "error_budget(grid)": (lambda: dg.error_budget(X, REVERSE, DOWN, FIELD, 64), "grid must be"),
    "error_budget(times)": (lambda: dg.error_budget(X, REVERSE, 64, FIELD, GRID), "times must"),
    "error_budget(cloud)": (
        lambda: dg.error_budget(LIST, REVERSE, DOWN, FIELD, GRID),
        "x must be",
    ),
}

ANALYSIS: Table = {
    "log_likelihood(sde solver)": (lambda: an.log_likelihood(FIELD, X, HEUN), "ODESolver"),
    "log_likelihood(swapped)": (lambda: an.log_likelihood(X, FIELD, RK4), "must be"),
    "log_likelihood(sde)": (lambda: an.log_likelihood(REVERSE, X, RK4), "field must be"),
    "log_likelihood(list)": (lambda: an.log_likelihood(FIELD, LIST, RK4), "x must be"),
    "log_likelihood(3D)": (lambda: an.log_likelihood(FIELD, X3, RK4), "dimension 2, got 3"),
    "log_likelihood(name)": (lambda: an.log_likelihood(FIELD, X, "dopri5"), "ODESolver"),
    "log_likelihood(prior array)": (lambda: an.log_likelihood(FIELD, X, RK4, NUMPY), "prior must"),
    "log_likelihood(prior float)": (
        lambda: an.log_likelihood(FIELD, X, RK4, lambda x: 0.0),
        "the prior returned",
    ),
    "log_likelihood(float32)": (lambda: an.log_likelihood(FIELD, X.float(), RK4), finite),
    "hutchinson(probes=1)": (
        lambda: an.hutchinson_log_likelihood(FIELD, X, RK4, 1),
        "probes must be at least 2",
    ),
    "hutchinson(probes=None)": (
        lambda: an.hutchinson_log_likelihood(FIELD, X, RK4, None),
        "probes must be",
    ),
    "hutchinson(field)": (lambda: an.hutchinson_log_likelihood(MIX, X, RK4, 2), "Field"),
    "encode(sde)": (lambda: an.encode(REVERSE, X, RK4), "eta=0.0"),
    "encode(solver)": (lambda: an.encode(FIELD, X, HEUN), "ODESolver"),
    "encode(3D)": (lambda: an.encode(FIELD, X3, RK4), "dimension"),
    "decode(swapped)": (lambda: an.decode(X, FIELD, RK4), "Field"),
    "decode(nan)": (lambda: an.decode(FIELD, NAN, RK4), "row 2"),
    "decode(None)": (lambda: an.decode(FIELD, X, None), "ODESolver"),
    "elbo(times up)": (lambda: an.elbo(FIELD, X, DOWN.flip(0), VARIANCE), "flip them"),
    "elbo(variance number)": (lambda: an.elbo(FIELD, X, DOWN, 0.1), "variance must"),
    "elbo(variance function)": (lambda: an.elbo(FIELD, X, DOWN, lambda t: t[1:]), "variance must"),
    "elbo(times other)": (lambda: an.elbo(FIELD, X, f64([1.0, 1e-4]), VARIANCE), "variance"),
    "elbo(list)": (lambda: an.elbo(FIELD, LIST, DOWN, VARIANCE), "x0 must be"),
    "elbo(times int)": (lambda: an.elbo(FIELD, X, 100, VARIANCE), "times must"),
    "elbo(seed)": (lambda: an.elbo(FIELD, X, DOWN, VARIANCE, -1), "seed must be at least 0"),
    "KernelVariance(lengths)": (lambda: an.KernelVariance(DOWN, f64([0.1])), "value"),
    "KernelVariance(list)": (lambda: an.KernelVariance(DOWN, [0.1, 0.2, 0.3]), works),
    "KernelVariance(negative)": (lambda: an.KernelVariance(DOWN, f64([-0.1, 0.2, 0.3])), "value"),
    "elbo_weights(swapped)": (lambda: an.elbo_weights(VARIANCE, VP), "process must be"),
    "elbo_weights(array)": (lambda: an.elbo_weights(VP, f64([0.1])), "variance must"),
    "gaussian_kl(str)": (lambda: an.gaussian_kl("0", 1.0, X, 1.0), "mean1"),
    "gaussian_kl(variance=0)": (lambda: an.gaussian_kl(X, 0.0, X, 1.0), "must be positive"),
    "gaussian_kl(variance<0)": (lambda: an.gaussian_kl(X, 1.0, X, -1.0), "must be positive"),
    "gaussian_kl(dims)": (lambda: an.gaussian_kl(X, 1.0, X3, 1.0), "mean2"),
    "small_variance(field)": (lambda: an.small_variance(FIELD, DOWN), "process must be"),
    "small_variance(int)": (lambda: an.small_variance(VP, 100), "times must"),
    "small_variance(list)": (lambda: an.small_variance(VP, [1.0, 0.5, 0.1]), works),
    "small_variance(up)": (lambda: an.small_variance(VP, DOWN.flip(0)), "times"),
    "large_variance(late)": (lambda: an.large_variance(VP, f64([2.0, 1.0])), "outside"),
    "optimal_variance(learned)": (lambda: an.optimal_variance(LEARNED, DOWN), "exact field"),
    "optimal_variance(n=0)": (lambda: an.optimal_variance(FIELD, DOWN, 0), "n must be at least"),
    "learned_variance(list)": (lambda: an.learned_variance(FIELD, LIST, DOWN), "x0 must be"),
    "learned_variance(mixture)": (lambda: an.learned_variance(MIX, X, DOWN), "field must be"),
    "guided_law(field)": (lambda: an.guided_law(FIELD, GRID), "GuidedField"),
    "guided_law(grid)": (lambda: an.guided_law(GUIDED, 64), "grid must be a Grid"),
    "guided_law(n=0)": (lambda: an.guided_law(GUIDED, GRID, n=0), "n must be at least 1"),
    "guided_density(eta<0)": (lambda: an.guided_density(GUIDED, GRID, eta=-1), "eta must be"),
    "guided_density(refuse)": (
        lambda: an.guided_density(GUIDED, GRID, refuse=None),
        "refuse must",
    ),
    "tilted(cloud)": (lambda: an.tilted(X, DENSITY, 2.0), "conditional must be"),
    "tilted(grids)": (lambda: an.tilted(DENSITY, OTHER, 2.0), "grid"),
    "tilted(scale)": (lambda: an.tilted(DENSITY, DENSITY, "2"), "scale must be a number"),
    "NoiseLevel(0)": (lambda: an.NoiseLevel(0.0), "rho must be positive"),
    "NoiseLevel(str)": (lambda: an.NoiseLevel("1"), "rho must be a number"),
    "NoiseLevel.of(swapped)": (lambda: an.NoiseLevel.of(0.5, VP), "process must be"),
    "NoiseLevel.of(late)": (lambda: an.NoiseLevel.of(VP, 2.0), "outside"),
    "NoiseLevel.t(field)": (lambda: LEVEL.t(FIELD), "process must be"),
    "NoiseLevel.t(never)": (lambda: an.NoiseLevel(1e9).t(VP), "lies outside"),
    "Curve(lists)": (lambda: an.Curve([3.0, 1.0], [0.0, 1.0]), works),
    "Curve(lengths)": (lambda: an.Curve(RHO, RHO[:2]), "one value for each"),
    "Curve(negative)": (lambda: an.Curve(-RHO, RHO), "rho"),
    "crossing(never)": (lambda: an.Curve(RHO, RHO).crossing(9.0), "does not reach"),
    "crossing(str)": (lambda: an.Curve(RHO, RHO).crossing("a"), "level must be a number"),
    "peak(end)": (lambda: an.Curve(RHO, RHO).peak(), "largest at the end"),
    "turning_rate(list)": (lambda: an.turning_rate(FIELD, LIST, RHO), "y must be"),
    "turning_rate(rho number)": (lambda: an.turning_rate(FIELD, X, 1.0), "rho must"),
    "turning_rate(rho beyond)": (lambda: an.turning_rate(FIELD, X, f64([1e9, 1e8])), "outside"),
    "turning_rate(mixture)": (lambda: an.turning_rate(MIX, X, RHO), "field must be"),
    "turning_rate(times)": (lambda: an.turning_rate(FIELD, X, [3.0, 1.0, 0.3]), works),
    "alignment(dims)": (lambda: an.alignment(FIELD, X3, X, RHO), "points must"),
    "alignment(swapped)": (lambda: an.alignment(X, FIELD, X, RHO), "must be"),
    "arm_resolution(0)": (lambda: an.arm_resolution(0.0, 1.0), "radius must be positive"),
    "arm_resolution(str)": (lambda: an.arm_resolution(1.0, "a"), "gap must be a number"),
    "first_outward(rays=0)": (
        lambda: an.first_outward_level(FIELD, 1.0, 0.1, RHO, 0),
        "rays must be",
    ),
    "first_outward(1D)": (lambda: an.first_outward_level(FIELD1, 1.0, 0.1, RHO), "dimension"),
    "speciation(number)": (lambda: an.speciation(1.0), "covariance must be"),
    "speciation(cloud)": (lambda: an.speciation(X), "covariance must be (d, d)"),
    "speciation(zero)": (lambda: an.speciation(torch.zeros(2, 2)), "positive"),
    "effective_dimension(learned)": (lambda: an.effective_dimension(LEARNED, RHO), "exact"),
    "effective_dimension(rho)": (lambda: an.effective_dimension(FIELD, 5), "rho must"),
    "effective_dimension(n)": (lambda: an.effective_dimension(FIELD, RHO, 0), "n must be"),
    "class_purity(mixture)": (lambda: an.class_purity(FIELD, RHO), "point set"),
    "class_purity(no labels)": (
        lambda: an.class_purity(sf.ExactField(VP, di.PointSet(X)), RHO),
        "labels",
    ),
    "class_purity(rho list)": (lambda: an.class_purity(POINT_FIELD, [3.0, 1.0, 0.3], 9), works),
    "ipr(field)": (lambda: an.inverse_participation_ratio(FIELD, RHO), "point set"),
    "ipr(seed)": (lambda: an.inverse_participation_ratio(POINT_FIELD, RHO, 9, -1), "seed must"),
    "noiseless(list)": (
        lambda: an.noiseless_law([0.0, 0.0], torch.eye(2), LEVEL, LEVEL),
        works,
    ),
    "noiseless(levels)": (
        lambda: an.noiseless_law(torch.zeros(2), torch.eye(2), 3.0, 0.1),
        "start must be",
    ),
    "noiseless(covariance)": (
        lambda: an.noiseless_law(torch.zeros(2), torch.eye(3), LEVEL, LEVEL),
        "covariance (d, d)",
    ),
    "first_passage(number)": (
        lambda: an.first_passage(OU1, LINE, 1.0, EULER),
        "distance must be a function",
    ),
    "first_passage(no bounds)": (
        lambda: an.first_passage(OU1, LINE, [], EULER),
        "one function for each bound",
    ),
    "Passage.probabilities": (
        lambda: an.Passage(f64([1.0, 2.0]), torch.tensor([True, False])).probabilities(),
        lambda p: p.value.tolist() == [0.5],
    ),
    "first_passage(ode)": (
        lambda: an.first_passage(ODE, X, lambda x: x[:, 0], EULER),
        "no noise",
    ),
    "first_passage(ODESolver)": (
        lambda: an.first_passage(OU1, LINE, lambda x: x[:, 0] + 9, RK4),
        "SDESolver",
    ),
    "first_passage(bool)": (
        lambda: an.first_passage(OU1, LINE, lambda x: x[:, 0] > 0, EULER),
        "write it with torch",
    ),
    "first_passage(list)": (
        lambda: an.first_passage(OU1, LIST, lambda x: x[:, 0], EULER),
        "x must be",
    ),
    "first_passage(column)": (
        lambda: an.first_passage(OU1, LINE, lambda x: x, EULER),
        "per particle",
    ),
    "first_passage(field)": (
        lambda: an.first_passage(FIELD, X, lambda x: x[:, 0], EULER),
        "sde must be",
    ),
    "Passage.mean": (
        lambda: an.Passage(f64([1.0, 2.0]), torch.tensor([True, False])).mean(),
        "not arrived",
    ),
    "Passage.rate": (lambda: an.Passage(f64([1.0]), torch.tensor([False])).rate(), "no particle"),
    "mfpt(None)": (lambda: an.mean_first_passage_time(None, -1.0, 1.0), "potential must be"),
    "mfpt(flat)": (
        lambda: an.mean_first_passage_time(lambda x: 0 * x[:, 0], 0.0, 1.0),
        "infinite",
    ),
    "mfpt(str)": (lambda: an.mean_first_passage_time(WELL, "a", 1.0), "start must be a number"),
    "mfpt(same)": (lambda: an.mean_first_passage_time(WELL, 1.0, 1.0), works),
    "mfpt(T=0)": (lambda: an.mean_first_passage_time(WELL, -1, 1, 0.0), "temperature must be"),
    "kramers(swapped)": (lambda: an.kramers_time(WELL, 0.0, -1.0), "minimum and a maximum"),
    "kramers(off)": (lambda: an.kramers_time(WELL, -0.8, 0.2), "well"),
    "kramers(None)": (lambda: an.kramers_time(None, -1.0, 0.0), "potential must be"),
    "kramers(str)": (lambda: an.kramers_time(WELL, "left", 0.0), "well must be a number"),
    "Estimate.of(list)": (lambda: an.Estimate.of([1.0, 2.0]), works),
    "Estimate.of(one)": (lambda: an.Estimate.of(f64([1.0])), "number of samples"),
    "Estimate.of(None)": (lambda: an.Estimate.of(None), "samples must"),
    "Estimate.of(nan)": (lambda: an.Estimate.of(NAN), "samples"),
    "standard_score(str)": (lambda: ESTIMATE.standard_score("0"), "truth must"),
    "two_time(off)": (lambda: an.two_time_covariance(PATH, 0.3, 0.0), "no state at t = 0.3"),
    "two_time(str)": (lambda: an.two_time_covariance(PATH, "0", 0.0), "t must be a number"),
    "two_time(cloud)": (lambda: an.two_time_covariance(X, 1.0, 0.0), "path must be a Path"),
    "two_time(one)": (
        lambda: an.two_time_covariance(HEUN.solve(OU, X[:1]), 1.0, 0.0),
        "number of particles",
    ),
    "entropy_flow(swapped)": (lambda: an.entropy_flow(PATH, OU), "sde must be an SDE"),
    "entropy_flow(cloud)": (lambda: an.entropy_flow(OU, X), "path must be a Path"),
    "entropy_flow(noise)": (
        lambda: an.entropy_flow(sd.geometric_brownian(0.1, 0.2), PATH),
        "does not depend",
    ),
    "entropy_flow(ode)": (lambda: an.entropy_flow(ODE, PATH), "noise"),
    "entropy_production(cloud)": (lambda: an.entropy_production(OU, X, 0.0), "density must be"),
    "entropy_production(str)": (
        lambda: an.entropy_production(OU, DENSITY, "0"),
        "t must be a number",
    ),
    "work(cloud)": (lambda: an.work(X, WELL, lambda t: t), "path must be a Path"),
    "work(number)": (lambda: an.work(PATH, WELL, 1.0), "protocol must be"),
    "work(potential)": (lambda: an.work(PATH, 1.0, lambda t: t), "potential must be"),
    "work(no control)": (lambda: an.work(PATH, WELL, lambda t: t), "(x, control)"),
    "heat(swapped)": (lambda: an.heat(WELL, PATH, lambda t: t), "path must be a Path"),
    "free_energy(list)": (lambda: an.free_energy_difference([1.0, 2.0]), works),
    "free_energy(nan)": (lambda: an.free_energy_difference(f64([1.0, math.nan])), "finite"),
    "free_energy(path)": (lambda: an.free_energy_difference(PATH), "work must be"),
    "free_energy(cloud)": (lambda: an.free_energy_difference(X), "work must be"),
    "free_energy(one)": (lambda: an.free_energy_difference(f64([1.0])), "at least two"),
    "free_energy(T=0)": (lambda: an.free_energy_difference(ROW, 0.0), "temperature must be"),
}

PLOTS: Table = {
    "figure(str)": (lambda: plot.figure("wide").__enter__(), "width must be a number"),
    "figure(0)": (lambda: plot.figure(0, 1).__enter__(), "width must be positive"),
    "figure(venue)": (lambda: plot.figure(venue="nips").__enter__(), "venue must be one of"),
    "figure(columns)": (
        lambda: plot.figure(venue="iclr", columns=2).__enter__(),
        "iclr has 1 column",
    ),
    "figure(no venue)": (lambda: plot.figure(columns=2).__enter__(), "give venue="),
    "figure(both)": (lambda: plot.figure(3.0, venue="prl").__enter__(), "leave out width"),
    "figure(panels)": (lambda: plot.figure(panels=5).__enter__(), "a pair (rows, columns)"),
    "write(eps)": (lambda: plot.write(plot.Figure(), "mistake.eps"), "write a .pdf"),
    "write(swapped)": (lambda: plot.write("a.png", plot.Figure()), "fig must be"),
    "write(suffix)": (
        lambda: plot.write(plot.Figure(), "mistake.xyz"),
        "must end in",
    ),
    "write(no suffix)": (lambda: plot.write(plot.Figure(), "mistake"), "must end in"),
    "write(folder)": (lambda: plot.write(plot.Figure(), FOLDER), FOLDER),
    "write(None)": (lambda: plot.write(plot.Figure(), None), "path must"),
    "write(about list)": (
        lambda: plot.write(plot.Figure(), "mistake.png", ["a"]),
        "about must",
    ),
    "pictures(figure)": (lambda: plot.pictures(plot.Figure(), X, (1, 1, 2)), "ax must be"),
    "pictures(list)": (lambda: plot.pictures(AX, LIST, (1, 2)), works),
    "pictures(IMAGES)": (lambda: plot.pictures(AX, IMAGES, [2, 3]), works),
    "pictures(shape)": (lambda: plot.pictures(AX, X, (1, 8, 8)), "x must be pictures (n, 64)"),
    "pictures(no shape)": (lambda: plot.pictures(AX, X, None), "shape must be"),
    "pictures(2 channels)": (lambda: plot.pictures(AX, X, (2, 1, 1)), "one channel or three"),
    "pictures(columns=0)": (lambda: plot.pictures(AX, X, (1, 2), 0), "columns must be"),
    "pictures(labels)": (lambda: plot.pictures(AX, X, (1, 2), labels=["a"]), "labels must be 6"),
    "pictures(label str)": (lambda: plot.pictures(AX, X, (1, 2), labels="abcdef"), "list of 6"),
    "pictures(range)": (lambda: plot.pictures(AX, X, (1, 2), low=1.0), "low must lie below"),
    "pictures(NaN)": (lambda: plot.pictures(AX, NAN, (1, 2)), "finite"),
    "cloud(figure)": (lambda: plot.cloud(plot.Figure(), X), "ax must be"),
    "cloud(list)": (lambda: plot.cloud(AX, LIST), works),
    "cloud(1-D)": (lambda: plot.cloud(AX, ROW), "cloud of shape (n, d)"),
    "cloud(1D)": (lambda: plot.cloud(AX, LINE), works),
    "cloud(3D)": (lambda: plot.cloud(AX, X3), "3 coordinates"),
    "cloud(path)": (lambda: plot.cloud(AX, PATH), works),
    "cloud(nan)": (lambda: plot.cloud(AX, NAN), "row 2"),
    "cloud(colours)": (lambda: plot.cloud(AX, X, torch.rand(5)), "colour"),
    "cloud(colour name)": (lambda: plot.cloud(AX, X, "blueish"), "colour"),
    "cloud(grad)": (lambda: plot.cloud(AX, HARD), works),
    "trails(cloud)": (lambda: plot.trails(AX, X, [0]), "path must be a Path"),
    "trails(1D)": (lambda: plot.trails(AX, PATH1, [0]), works),
    "trails(99)": (lambda: plot.trails(AX, PATH, [99]), "particles"),
    "trails(5)": (lambda: plot.trails(AX, PATH, 5), works),
    "trails(floats)": (lambda: plot.trails(AX, PATH, [0.5]), "particle"),
    "arrows(sde)": (lambda: plot.arrows(AX, REVERSE, 0.5, 1.0), works),
    "arrows(velocity)": (lambda: plot.arrows(AX, FIELD.velocity, 0.5, 1.0), works),
    "arrows(no time)": (lambda: plot.arrows(AX, FIELD, None, 1.0), "t must be"),
    "arrows(density)": (lambda: plot.arrows(AX, DENSITY, 0.5, 1.0), "flow must be"),
    "arrows(one number)": (lambda: plot.arrows(AX, lambda x, t: x[:, 0], 0.5, 1.0), "(169, 2)"),
    "arrows(current, half)": (
        lambda: plot.arrows(AX, fp.probability_current(OU, DENSITY, 0.5), None, 1.0),
        "where must be a Grid",
    ),
    "arrows(current)": (
        lambda: plot.arrows(AX, fp.probability_current(OU, DENSITY, 0.5), None, GRID),
        works,
    ),
    "arrows(1D sde)": (lambda: plot.arrows(AX, OU1, 0.5, 1.0), "must take points (n, 2)"),
    "arrows(numpy)": (lambda: plot.arrows(AX, lambda x, t: -x.numpy(), 0.5, 1.0), works),
    "window(list)": (lambda: plot.window([X, PATH]), works),
    "streamlines(sde late)": (lambda: plot.streamlines(AX, OU, 5.0, 1.0), "t must lie in"),
    "streamlines(zero)": (lambda: plot.streamlines(AX, lambda x, t: 0 * x, 0.5, 1.0), "zero"),
    "trajectories(cloud)": (lambda: plot.trajectories(AX, X, [0]), "path must be a Path"),
    "trajectories(states)": (lambda: plot.trajectories(AX, PATH.x, [0]), works),
    "trajectories(end)": (lambda: plot.trajectories(AX, PATH.x[-1:], [0]), "save="),
    "trajectories(colours)": (
        lambda: plot.trajectories(AX, PATH, [0], "rainbows"),
        "colours must be a colour map",
    ),
    "window()": (lambda: plot.window(), "nothing to show"),
    "window(mixed)": (lambda: plot.window(X, DENSITY1), "share no window"),
    "window(3D)": (lambda: plot.window(X3), "3 coordinates"),
    "Window(crossed)": (lambda: plot.Window((1.0, 1.0), (0.0, 2.0)), "low below high"),
    "peak(cloud)": (lambda: plot.peak(X), "must be a Density"),
    "tube(density)": (lambda: plot.tube(AX, DENSITY1), "densities must be a DensityPath"),
    "tube(2D)": (lambda: plot.tube(AX, DENSITIES), "one coordinate"),
    "colour_bar(one colour)": (
        lambda: plot.colour_bar(AX, plot.cloud(AX, X)),
        "artist has one colour",
    ),
    "colour_bar(ax)": (lambda: plot.colour_bar(plot.cloud(AX, X), AX), "ax must be"),
    "density(where)": (lambda: plot.density(AX, DENSITY, "all"), "half the side"),
    "density(where 1D)": (lambda: plot.density(AX, DENSITY, GRID1), "2 dimension"),
    "arrows(1D)": (lambda: plot.arrows(AX, FIELD1, 0.5, 1.0), "dimension"),
    "arrows(half=0)": (lambda: plot.arrows(AX, FIELD, 0.5, 0.0), "where must be positive"),
    "arrows(nodes=0)": (lambda: plot.arrows(AX, FIELD, 0.5, 1.0, 0), "at least"),
    "arrows(t late)": (lambda: plot.arrows(AX, FIELD, 5.0, 1.0), "outside"),
    "frame(half str)": (lambda: plot.frame(AX, "1"), "half the side"),
    "frame(ax None)": (lambda: plot.frame(None, 1.0), "ax must be"),
    "arrows(grid of arrows)": (lambda: plot.arrows(AX, PATH.x, None), "where must be the grid"),
    "density(decades)": (lambda: plot.density(AX, DENSITY, decades=0), "decades must be positive"),
    "strip(ax)": (lambda: plot.strip(AX, DENSITIES), "fig must be"),
    "strip(density)": (lambda: plot.strip(plot.Figure(), DENSITY), "things must be"),
    "strip(none)": (lambda: plot.strip(plot.Figure(), []), "nothing to show"),
    "strip(1D)": (lambda: plot.strip(plot.Figure(), [DENSITY1]), "shows two coordinates"),
    "strip(below)": (lambda: plot.strip(plot.Figure(), [X], X), "below must be"),
    "paths(cloud)": (lambda: plot.paths(AX, X), "path must be a Path"),
    "paths(below)": (lambda: plot.paths(AX, PATH, DENSITIES), "p must be a Density"),
    "paths(below 1D)": (lambda: plot.paths(AX, PATH1, DENSITY1), "densities must be"),
    "comparison(ax)": (lambda: plot.comparison(AX, CLOUD200, DENSITY), "fig must be"),
    "comparison(1D)": (lambda: plot.comparison(plot.Figure(), LINE, DENSITY1), "two dimensions"),
    "comparison(few)": (lambda: plot.comparison(plot.Figure(), X, DENSITY), "100"),
    "film(grid)": (lambda: plot.film(PATH, GRID), "needs an ExactField"),
    "film(cloud)": (lambda: plot.film(X), "states (T, n, d)"),
    "film(3D)": (lambda: plot.film(IMAGES, file="mistake.gif"), "choose two"),
    "film(history)": (lambda: plot.film(PATH, DENSITY), "history must be a DensityPath"),
    "film(swapped)": (lambda: plot.film(PATH, FIELD, DENSITIES), "flow must be"),
    "film(avi)": (lambda: plot.film(PATH, file="mistake.avi"), ".gif or .mp4"),
    "film(fps=0)": (lambda: plot.film(PATH, fps=0), "fps must be positive"),
    "film(fps, seconds)": (lambda: plot.film(PATH, fps=10, seconds=1), "give one of them"),
    "film(grid of arrows)": (lambda: plot.film(PATH, field=PATH.x), "f(x, t)"),
    "loss_levels(dict)": (lambda: plot.loss_levels(AX, {}, RHO), "report must be"),
    "distances(lengths)": (
        lambda: plot.distances(AX, ["a"], [1.0, 2.0], (0.1, 0.01), "W2"),
        "values",
    ),
    "distances(floor)": (lambda: plot.distances(AX, ["a"], [1.0], 0.1, "W2"), "sampling_floor"),
    "density(cloud)": (lambda: plot.density(AX, X), "p must be a Density"),
    "density(1D)": (lambda: plot.density(AX, DENSITY1), works),
    "residual(1D)": (lambda: plot.residual(AX, VERDICT, DENSITY1), "the verdict is on"),
    "residual(grids)": (lambda: plot.residual(AX, VERDICT, OTHER), "the verdict is on"),
    "residual(cloud)": (lambda: plot.residual(AX, X, DENSITY), "verdict must be"),
    "work_precision(list)": (lambda: plot.work_precision(LOG_AX, [1.0]), "curves must be"),
    "work_precision(one)": (lambda: plot.work_precision(LOG_AX, {"a": 1.0}), "must be a pair"),
    "work_precision(swapped)": (
        lambda: plot.work_precision(LOG_AX, {"a": ([[1.0, 2.0]], [8])}),
        "(K,) or (K, seeds)",
    ),
    "work_precision(paths)": (
        lambda: plot.work_precision(LOG_AX, {"a": [PATH]}),
        "give truth=",
    ),
    "work_precision(truth)": (
        lambda: plot.work_precision(LOG_AX, {"a": [PATH1]}, truth=PATH),
        "same particles",
    ),
    "work_precision(zero)": (
        lambda: plot.work_precision(LOG_AX, {"a": ([8], [0.0])}),
        "reference_error=",
    ),
    "convergence(h)": (lambda: plot.convergence(LOG_AX, [0.1, 0.2], [1.0, 2.0]), "span / h"),
    "convergence(guide)": (lambda: plot.convergence(LOG_AX, [1, 2], [1.0, 0.5], "2"), "guide"),
    "error_budget(verdict)": (lambda: plot.error_budget(AX, VERDICT), "found must be"),
}

EXPERIMENT: Table = {
    "Config(data=None)": (lambda: ex.config.Config(None), "data must be"),
    "Config(process=class)": (lambda: ex.config.Config(process=sf.VP), "process must be one of"),
    "Config(process=lower)": (lambda: ex.config.Config(process="vp"), "process must be one of"),
    "Config(predicts=eps)": (lambda: ex.config.Config(predicts="eps"), "predicts must be one of"),
    "Config(predicts=list)": (lambda: ex.config.Config(predicts=["noise"]), "predicts must be"),
    "Config(steps=float)": (lambda: ex.config.Config(steps=1e3), "steps must be a whole number"),
    "Config(width=huge)": (lambda: ex.config.Config(width=10**6), "width must be at most"),
    "Config(conditional=str)": (lambda: ex.config.Config(conditional="yes"), "conditional must"),
    "Config(rate=0)": (lambda: ex.config.Config(rate=0), "rate must be positive"),
    "problem(str)": (lambda: ex.problem.problem("spiral"), "config must be"),
    "problem(unknown)": (lambda: ex.problem.problem(ex.config.Config("mnist")), "no data set"),
    "problem(no file)": (
        lambda: ex.problem.problem(ex.config.Config("/nowhere/x.csv")),
        "does not exist",
    ),
    "problem(no classes)": (
        lambda: ex.problem.problem(ex.config.Config("s_curve", conditional=True)),
        "labels",
    ),
    "run.fit(str)": (lambda: ex.run.fit("spiral", "mistake"), "config must be"),
    "run.fit(None)": (lambda: ex.run.fit(ex.config.Config(), None), "folder must"),
    "run.reopen(nowhere)": (lambda: ex.run.reopen(Path(NOWHERE)), "no"),
    "run.reopen(str)": (lambda: ex.run.reopen(NOWHERE), "no"),
    "run.reopen(None)": (lambda: ex.run.reopen(None), "folder must"),
    "run.sample(nowhere)": (lambda: ex.run.sample(Path(NOWHERE), 5, HEUN, 1.0), "no"),
    "run.choose_solver(eta=0)": (lambda: ex.run.choose_solver("srk", 5, 0.0, 0), "method"),
    "run.choose_solver(method)": (lambda: ex.run.choose_solver("rk4", 5, 1.0, 0), "method"),
    "run.summary(nowhere)": (lambda: ex.run.summary(Path(NOWHERE)), "no"),
    "demo.check_particles(0)": (lambda: ex.demo.check_particles(0), "n must"),
    "demo.demo(str)": (lambda: ex.demo.demo("spiral", "mistake"), "config must be"),
    "view.page(cloud)": (lambda: ex.view.page(X), "sde must be a Path"),
    "view.page(1D)": (lambda: ex.view.page(PATH1), "a page shows two"),
    "view.page(3D)": (lambda: ex.view.page(X3[None]), "choose two of three"),
    "view.page(states)": (lambda: ex.view.page(PATH.x, PATH.x.numpy()), works),
    "view.page(end)": (lambda: ex.view.page(PATH.x[-1:]), "save="),
    "view.page(nan)": (lambda: ex.view.page(NAN[None].repeat(3, 1, 1)), "finite"),
    "view.page(fewer)": (lambda: ex.view.page(PATH, PATH.x[:, :3]), "as many particles"),
    "view.page(times)": (lambda: ex.view.page(PATH, PATH.x), "the same times"),
    "view.page(density)": (lambda: ex.view.page(PATH, None, DENSITY), "densities must be"),
    "view.page(density times)": (lambda: ex.view.page(PATH.x, None, DENSITIES), "path.t"),
    "view.page(pair)": (
        lambda: ex.view.page(PATH, None, (DENSITIES, None)),
        "densities must be one",
    ),
    "view.page(field)": (lambda: ex.view.page(PATH, field="score"), "flow must be"),
    "view.page(names)": (lambda: ex.view.page(PATH, names="a"), "names must be a list"),
    "view.page(about)": (lambda: ex.view.page(PATH, about=["a"]), "about must be"),
    "view.page(title)": (lambda: ex.view.page(PATH, title=3), "title must be"),
    "view.view(nowhere)": (lambda: ex.view.view(Path(NOWHERE)), "no"),
    "view.view(huge)": (lambda: ex.view.view(Path(NOWHERE), n=10**6), "at most"),
    "page_data.windows": (lambda: ex.page_data.windows(PATH.x.numpy()), works),
    "verify.check(nowhere)": (lambda: ex.verify.check(Path(NOWHERE)), "no"),
}

BAR = torch.linspace(0.99, 0.01, 10, dtype=torch.float64)
INTEGRATIONS: Table = {
    "DDPM(betas)": (lambda: ig().DDPM(torch.linspace(1e-4, 0.02, 10)), "alpha"),
    "DDPM(alphas)": (lambda: ig().DDPM(1 - torch.linspace(1e-4, 0.02, 10)), "hardly noised"),
    "DDPM(int)": (lambda: ig().DDPM(1000), "alpha"),
    "DDPM(str)": (lambda: ig().DDPM("linear"), "alphas_cumprod"),
    "DDPM(None)": (lambda: ig().DDPM(None), "alphas_cumprod"),
    "DDPM(list)": (lambda: ig().DDPM(BAR.tolist()), works),
    "DDPM(numpy)": (lambda: ig().DDPM(BAR.numpy()), works),
    "DDPM(predicts str)": (lambda: ig().DDPM(BAR, "v_prediction"), "predicts must be"),
    "DDPM(velocity)": (lambda: ig().DDPM(BAR, fi.Prediction.VELOCITY), "Prediction.V"),
    "DDPM.times(float)": (lambda: ig().DDPM(BAR).times(5.0), "steps must be a whole number"),
    "DDPM.times(too many)": (lambda: ig().DDPM(BAR).times(10), "steps"),
    "DDPM between": (
        lambda: ig().from_torch(Echo(), ig().DDPM(BAR)).noise(X, 1.5),
        "two timesteps",
    ),
    "from_scheduler(None)": (lambda: ig().DDPM.from_scheduler(None), "scheduler must have"),
    "from_scheduler(table)": (lambda: ig().DDPM.from_scheduler(BAR), "scheduler must have"),
    "FlowMatching(2)": (lambda: ig().FlowMatching(2), "data_at must be 0 or 1"),
    "FlowMatching(None)": (lambda: ig().FlowMatching(None), "data_at must be 0 or 1"),
    "FlowMatching(str)": (lambda: ig().FlowMatching("noise"), "data_at must be 0 or 1"),
    "FlowMatching(scale=0)": (lambda: ig().FlowMatching(1, 0.0), "scale must be positive"),
    "FlowMatching(t_max=1)": (lambda: ig().FlowMatching(1, t_max=1.0), "t_max"),
    "Denoiser(swapped)": (lambda: ig().Denoiser(80.0, 0.002), "sigma_min must lie below"),
    "Denoiser(str)": (lambda: ig().Denoiser("0.1"), "sigma_min must be a number"),
    "from_diffusers(None)": (lambda: ig().from_diffusers(None, "a tree"), "pipe must be a"),
    "from_diffusers(name)": (lambda: ig().from_diffusers("sd-2-1", "a"), "from_pretrained"),
    "from_diffusers(network)": (lambda: ig().from_diffusers(NET, "a tree"), "pipe must be a"),
    "from_torch(swapped)": (lambda: ig().from_torch(ig().Denoiser(), Echo()), "must be a"),
    "from_torch(name)": (lambda: ig().from_torch(Echo(), "ddpm"), "convention must be"),
    "from_torch(class)": (lambda: ig().from_torch(Echo(), ig().Denoiser), "convention must be"),
    "from_torch(process)": (lambda: ig().from_torch(Echo(), VP), "convention must be"),
    "from_torch(class of network)": (
        lambda: ig().from_torch(Echo, ig().Denoiser()),
        "network must be",
    ),
    "from_torch(function)": (
        lambda: ig().from_torch(lambda x, t: x, ig().Denoiser()),
        "network must be",
    ),
    "from_torch(MLP)": (lambda: ig().from_torch(NET, ig().Denoiser()), "LearnedField"),
    "from_torch(shape int)": (lambda: ig().from_torch(Echo(), ig().Denoiser(), 4), "shape"),
    "from_torch(shape float)": (
        lambda: ig().from_torch(Echo(), ig().Denoiser(), (2.0,)),
        "shape must be a whole number",
    ),
    "from_torch(shape other)": (
        lambda: ig().from_torch(Echo(), ig().Denoiser(), (3, 4)).noise(X, 1.0),
        "dimension 12",
    ),
    "from_torch(conditions tensor)": (
        lambda: ig().from_torch(Echo(), ig().Denoiser(), conditions=X),
        "conditions",
    ),
    "from_torch(conditions of n)": (
        lambda: ig().from_torch(Echo(), ig().Denoiser(), conditions={"c": X}),
        "condition 'c'",
    ),
    "from_torch(batch=0)": (lambda: ig().from_torch(Echo(), ig().Denoiser(), batch=0), "batch"),
    "from_torch(batch=True)": (
        lambda: ig().from_torch(Echo(), ig().Denoiser(), batch="all"),
        "batch",
    ),
    "Convention()": (lambda: ig().from_torch(Echo(), ig().Convention), "convention must be"),
    "a field of TimeInput": (lambda: sf.LearnedField(VP, fi.TimeInput.TIME), "network must be"),
}

im = sf.images
CLIP = im.ContrastiveModel(dim=4, channels=4, width=8, depth=1, heads=2)
JUDGE = im.Judge(channels=4)
PAGES = torch.zeros(3, 256)
VECTORS = torch.eye(4)[:3]
TOLD = torch.ones(2, 4)
PRIOR = im.Prior(sf.LearnedField(sf.EDM(), fi.VectorMLP(4, 8, 1, table=TOLD), data_std=1.0))
PAINTER = fi.UNet((1, 16, 16), 8, table=TOLD, shrink=2)
DECODER = im.Decoder(sf.LearnedField(sf.EDM(), PAINTER, data_std=1.0))
LINEAR = im.LinearPrior(torch.eye(4), torch.zeros(4))
UNCLIP = im.UnCLIP(CLIP, PRIOR, DECODER, LINEAR)
POOL = im.Pool(PAGES, VECTORS, VECTORS)
NINE = torch.zeros(3, 9, dtype=torch.bool)


def pages(n: int, seed: int) -> object:
    """Pictures with captions that all say the same."""
    return im.Captioned(
        torch.zeros(n, 256), n * ["one"], torch.ones(n).long(), NINE[:1].expand(n, 9)
    )


WORDS: Table = {
    "Vocabulary(text)": (lambda: im.Vocabulary("hat"), "words must be a sequence"),
    "Vocabulary(twice)": (lambda: im.Vocabulary(("hat", "hat")), "all different"),
    "Vocabulary(upper case)": (lambda: im.Vocabulary(("Hat",)), "lower case"),
    "Vocabulary(length)": (lambda: im.Vocabulary(("hat",), 1), "length must be at least 2"),
    "tokens(text)": (lambda: im.VOCABULARY.tokens("a hat"), "put it in brackets: ['a hat']"),
    "tokens(none)": (lambda: im.VOCABULARY.tokens([]), "texts is empty"),
    "tokens(numbers)": (lambda: im.VOCABULARY.tokens([1]), "must be a list of texts"),
    "tokens(unknown)": (lambda: im.VOCABULARY.tokens(["hatt"]), "similar words are: hat"),
    "tokens(long)": (lambda: im.VOCABULARY.tokens(["hat " * 50]), "at most 39 words"),
    "texts(float)": (lambda: im.VOCABULARY.texts(X), "tokens must be"),
    "texts(beyond)": (lambda: im.VOCABULARY.texts([[9999]]), "tokens must be"),
    "CaptionedPictures(part)": (lambda: im.CaptionedPictures("valid"), "'train' or 'test'"),
    "CaptionedPictures(rate)": (lambda: im.CaptionedPictures(rate=2.0), "rate must lie in [0, 1]"),
    "sample(n=0)": (lambda: im.CaptionedPictures().sample(0), "n must be at least 1"),
    "captions(digit)": (lambda: im.captions(torch.tensor([10]), NINE[:1]), "digit must be 0 to 9"),
    "captions(drawn)": (lambda: im.captions(torch.ones(3).long(), NINE.float()), "booleans"),
    "captions(of two)": (lambda: im.captions(torch.ones(2).long(), NINE), "drawn must be (2, 9)"),
    "captions(chance)": (
        lambda: im.captions(torch.ones(3).long(), NINE, mention=1.5),
        "mention must lie in [0, 1]",
    ),
    "draw(0..16)": (lambda: im.draw(torch.full((3, 8, 8), 16.0), NINE), "from 0 to 1"),
    "draw(flat)": (lambda: im.draw(torch.zeros(3, 64), NINE), "(n, height, width)"),
    "draw(shift)": (lambda: im.draw(torch.zeros(3, 8, 8), NINE, torch.ones(3)), "shift must be"),
    "draw(shift 2)": (
        lambda: im.draw(torch.zeros(3, 8, 8), NINE, torch.full((3, 2), 2)),
        "shift must be -1, 0 or 1",
    ),
    "handwritten(part)": (lambda: im.handwritten("all"), "'train' or 'test'"),
    "pairs(attribute)": (lambda: im.pairs("cap"), "attribute must be one of hat,"),
    "Captioned as a tuple": (
        lambda: im.Captioned(PAGES, [], ROW, NINE).captions,
        lambda c: c == [],
    ),
    "ContrastiveModel(heads)": (lambda: im.ContrastiveModel(heads=3), "a multiple of heads"),
    "ContrastiveModel(side)": (lambda: im.ContrastiveModel(side=15), "a multiple of 4"),
    "ContrastiveModel(words)": (lambda: im.ContrastiveModel(["hat"]), "must be a Vocabulary"),
    "embed_pictures(8x8)": (lambda: CLIP.embed_pictures(torch.zeros(3, 64)), "dimension 256"),
    "embed_pictures(pages)": (
        lambda: CLIP.embed_pictures(torch.zeros(3, 16, 16)),
        "flatten each particle",
    ),
    "embed_text(text)": (lambda: CLIP.embed_text("a hat"), "put it in brackets"),
    "loss(captions)": (
        lambda: CLIP.loss(PAGES, ["one"]),
        "captions must be one for each of the 3",
    ),
    "contrastive_loss(pairs)": (
        lambda: im.contrastive_loss(VECTORS, VECTORS[:2], 1.0),
        "u and v must be pairs",
    ),
    "contrastive_loss(scale)": (
        lambda: im.contrastive_loss(VECTORS, VECTORS, -1.0),
        "scale must be zero or more",
    ),
    "train_contrastive(cloud)": (
        lambda: im.train_contrastive(CLIP, lambda n, seed: PAGES, 1),
        "sample must give Captioned pictures",
    ),
    "train_contrastive(batch=1)": (
        lambda: im.train_contrastive(CLIP, pages, 1, batch=1),
        "batch must be at least 2",
    ),
    "train_contrastive(pictures)": (
        lambda: im.train_contrastive(CLIP, im.CaptionedPictures(), 1),
        "sample must be a function",
    ),
    "zero_shot(text)": (lambda: im.zero_shot(CLIP, PAGES, ["hat"]), "prompts must be a list"),
    "zero_shot(judge)": (lambda: im.zero_shot(JUDGE, PAGES), "model must be a ContrastiveModel"),
    "retrieval(text)": (lambda: im.retrieval(CLIP, PAGES, "hat"), "put it in brackets"),
    "direction(same)": (lambda: im.direction(CLIP, PAGES, PAGES), "must differ in each pair"),
    "direction(pairs)": (lambda: im.direction(CLIP, PAGES, PAGES[:2]), "must be pairs"),
    "nearest_words(pictures)": (lambda: im.nearest_words(CLIP, PAGES), "dimension 4"),
    "nearest_words(many)": (lambda: im.nearest_words(CLIP, VECTORS, 999), "count must be at most"),
    "Judge(channels)": (lambda: im.Judge(channels=0), "channels must be at least 1"),
    "Judge of a file that is not there": (lambda: im.Judge.load(NOWHERE), "there is no file"),
    "Judgement": (lambda: JUDGE.judge(PAGES), lambda j: isinstance(j, im.Judgement)),
    "train_judge(model)": (lambda: im.train_judge(CLIP, pages, 1), "judge must be a Judge"),
    "fit_linear_prior(few)": (lambda: im.fit_linear_prior(VECTORS, VECTORS), "give more"),
    "LinearPrior(bias)": (lambda: im.LinearPrior(torch.eye(4), torch.zeros(3)), "bias must be"),
    "Prior(no table)": (lambda: im.Prior(LEARNED), "a network with a table"),
    "Prior(decoder's field)": (lambda: im.Prior(DECODER.field), "of its own dimension"),
    "Decoder(exact)": (lambda: im.Decoder(FIELD), "field must be a LearnedField"),
    "Decoder.pictures(zero)": (lambda: DECODER.pictures(0 * VECTORS), "row 0 is zero"),
    "Decoder.pictures(against)": (
        lambda: DECODER.pictures(VECTORS, against=VECTORS[:2]),
        "against must have one row, or 3",
    ),
    "UnCLIP(prior)": (lambda: im.UnCLIP(CLIP, DECODER, DECODER), "prior must be a Prior or"),
    "UnCLIP.pictures(text)": (lambda: UNCLIP.pictures("a hat"), "put it in brackets"),
    "UnCLIP.pictures(scale)": (lambda: UNCLIP.pictures(["hat"], "2"), "scale must be a number"),
    "UnCLIP.load(nowhere)": (lambda: im.UnCLIP.load(NOWHERE), "there is no file"),
    "UnCLIPConfig(steps=0)": (lambda: im.UnCLIPConfig(clip_steps=0), "clip_steps must be"),
    "Pool(rows)": (lambda: im.Pool(PAGES, VECTORS, VECTORS[:2]), "as many rows"),
    "embedded_pool(judge)": (lambda: im.embedded_pool(JUDGE, 10), "must be a ContrastiveModel"),
    "train_decoder(tensor)": (lambda: im.train_decoder(PAGES, 1), "pool must be a Pool"),
    "train_prior(steps)": (lambda: im.train_prior(POOL, 0), "steps must be at least 1"),
    "train_unclip(seed)": (lambda: im.train_unclip(0), "config must be a"),
}

TABLES: dict[str, Table] = {
    "processes": PROCESSES,
    "distributions": DISTRIBUTIONS,
    "fields": FIELDS,
    "training": TRAINING,
    "sdes": SDES,
    "solvers": SOLVERS,
    "densities": DENSITIES_OF,
    "diagnostics": DIAGNOSTICS,
    "analysis": ANALYSIS,
    "plot": PLOTS,
    "experiment": EXPERIMENT,
    "integrations": INTEGRATIONS,
    "images": WORDS,
}

# ------------------------------------------------------------------------------------- the tests

CASES = {
    f"{table}: {name}": case for table, cases in TABLES.items() for name, case in cases.items()
}


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Files that a mistake writes go to a folder of their own."""
    with contextlib.chdir(tmp_path_factory.mktemp("mistakes")):
        yield


@pytest.mark.parametrize(("call", "expected"), CASES.values(), ids=CASES.keys())
def test_mistake_is_refused_in_one_sentence(
    call: Callable[[], object], expected: Expected
) -> None:
    result, error = outcome(call)
    if error is None:
        assert callable(expected), f"accepted: {type(result).__name__}"
        assert expected(result)
        return
    assert not faults(error), faults(error)
    assert isinstance(expected, str), f"refused: {error}"
    assert expected in str(error)


def outcome(call: Callable[[], object]) -> tuple[object, Exception | None]:
    """What a call gives, or raises."""
    try:
        return call(), None
    except Exception as error:
        return None, error


@pytest.mark.parametrize("name", ["Mixture", "sample", "langevin", "Cosine", "diffusion"])
def test_a_name_that_is_not_there_tells_where_it_is(name: str) -> None:
    home = {"langevin": "; it is sf.sdes.langevin", "Cosine": "; it is sf.processes.Cosine"}
    with pytest.raises(AttributeError) as error:
        getattr(sf, name)
    assert str(error.value) == f"module 'sdeflow' has no attribute '{name}'{home.get(name, '')}"
    with pytest.raises(AttributeError, match="has no attribute"):
        getattr(sf.experiment, name)


def test_every_public_name_is_mistaken_somewhere() -> None:
    """A new public name needs a line here: what do people type?"""
    text = Path(__file__).read_text()
    known = [each for package in sf.__all__ for each in members(getattr(sf, package))]
    names = {name for name, thing in known if callable(thing)}
    missing = {name for name in names if not re.search(rf"\b{name}\b", text)}
    assert missing <= NAMES_OF_RESULTS, f"no mistake tries {sorted(missing - NAMES_OF_RESULTS)}"
    assert sum(map(len, TABLES.values())) >= 300


NAMES_OF_RESULTS = {
    "Bound", "ErrorBudget", "ErrorSource", "GuidedLaw", "LossReport", "OrnsteinUhlenbeck",
    "PathVerdict", "Posterior", "Training", "Units", "Verdict",
    "Distribution", "TransitionKernel", "Coupling", "TimeDensity", "Weighting",
    "cli", "pictures",
}  # fmt: skip
"""What the package makes and users read; then kinds to derive from; then what experiment calls."""
