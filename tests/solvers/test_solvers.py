"""Solvers: reproducibility, saved states, counts of evaluations, memory, errors.

Accuracy has its own files in tests/theorems. Here: a run is a function of its arguments, particle
by particle; saved states are computed states; evaluations are counted; memory does not grow with
the number of steps; wrong arguments are refused in one sentence.
"""

import math
import os
import random
import re
import subprocess
import sys
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn
from torchdiffeq._impl.odeint import SOLVERS

import sdeflow as sf
from sdeflow.random_streams import BLOCK
from sdeflow.solvers.adapters import StepIndex
from sdeflow.solvers.checks import ADAPTIVE, FIXED
from sdeflow.solvers.ode_solver import _stages
from sdeflow.solvers.sde_solver import METHODS as SDE_METHODS
from tests.problems import lopsided, randn

F64 = torch.float64
MEMORY = ("implicit_adams", "reversible_heun")  # they reuse earlier steps
RUNGE_KUTTA = [m for m in FIXED if m not in MEMORY]
ONE_STEP = [m for m in SDE_METHODS if m not in MEMORY]


def mlp(seed: int = 0) -> sf.MLP:
    """A network whose last layer is not zero."""
    network = sf.MLP(width=32, depth=2, waves=8)
    network.last.weight.data = randn(2, 32, seed=seed).float() / 8
    return network.requires_grad_(False)


FIELDS = {
    "exact": sf.ExactField(sf.VP(), lopsided()),
    "exact float32": sf.ExactField(sf.VP(), lopsided(torch.float32)),
    "learned": sf.LearnedField(sf.VP(), mlp()),
    "learned velocity": sf.LearnedField(sf.Linear(), mlp(), sf.fields.Prediction.VELOCITY),
    "preconditioned": sf.LearnedField(sf.EDM(), mlp(), data_std=0.8),
}
every_field = pytest.mark.parametrize("known", FIELDS.values(), ids=FIELDS.keys())


def prior(known: sf.fields.Field, n: int) -> Tensor:
    wide = isinstance(known, sf.ExactField) and known.distribution.means.dtype == F64
    return known.process.prior(n, 2, seed=7, dtype=F64 if wide else torch.float32)


def solver(method: str, **options) -> sf.SDESolver | sf.ODESolver:
    kind = sf.ODESolver if method in ("heun2", "heun3", "rk4", "ode euler") else sf.SDESolver
    return kind(method.removeprefix("ode "), **options)


def sde_for(method: str, known: sf.fields.Field) -> sf.SDE:
    return sf.reverse(known, 0.0 if isinstance(solver(method, steps=1), sf.ODESolver) else 1.0)


METHODS = ["euler", "heun", "milstein", "srk", "midpoint", "ode euler", "heun2", "rk4"]


# -------------------------------------------------------------------------- one particle at a time


@every_field
@pytest.mark.parametrize("method", METHODS)
def test_first_particles_of_a_run_are_the_run_of_those_particles(known, method):
    sde, x = sde_for(method, known), prior(known, 1000)
    run = solver(method, steps=9)
    whole = run.solve(sde, x, save=4).x
    for k in (1, 3, 255, 257, 333, 999):
        assert torch.equal(whole[:, :k], run.solve(sde, x[:k], save=4).x)


@every_field
@pytest.mark.parametrize("method", ["euler", "heun", "srk"])
def test_run_in_parts_equals_the_whole_run(known, method):
    """For parts of any size: noise depends on the particle's id, and kernels on fixed blocks."""
    sde, x = sf.reverse(known), prior(known, 37)
    run = sf.SDESolver(method, steps=6, seed=3)
    whole = run.solve(sde, x, save=1).x
    for size in range(1, 38):
        parts = [
            run.solve(sde, part, save=1, first=i * size).x for i, part in enumerate(x.split(size))
        ]
        assert torch.equal(torch.cat(parts, 1), whole)


def test_parts_across_noise_blocks_equal_the_whole_run():
    sde, n = sf.ancestral(FIELDS["learned"]), BLOCK + 300
    x = prior(FIELDS["learned"], n)
    run = sf.SDESolver(steps=4, seed=3)
    whole = run.solve(sde, x).x[-1]
    for first, stop in ((BLOCK - 5, BLOCK + 6), (BLOCK, n), (1, BLOCK + 1)):
        part = run.solve(sde, x[first:stop], first=first).x[-1]
        assert torch.equal(part, whole[first:stop])


def test_parts_of_a_run_have_different_noise():
    sde, x = sf.reverse(FIELDS["exact"]), prior(FIELDS["exact"], 1).expand(2, 2)
    run = sf.SDESolver(steps=4, seed=3)
    a, b = run.solve(sde, x[:1], first=0).x[-1], run.solve(sde, x[:1], first=1).x[-1]
    assert not torch.equal(a, b)
    assert torch.equal(run.solve(sde, x).x[-1], torch.cat([a, b]))


def stationary(steps: int) -> None:
    """dx = -x dt + sqrt(2) dW from 0 for 10 units of time: N(0, 1), Euler's bias h / 2."""
    sde = sf.SDE(lambda x, t: -x, lambda x, t: torch.tensor(2.0).sqrt(), 0.0, 10.0)
    path = sf.SDESolver(steps=steps, seed=8).solve(sde, torch.zeros(32, 2), save=1)
    assert (path.nfe, path.status) == (steps, "finished")
    energy = float(path.x[-1].double().square().sum())
    assert 2 * min(chi2.sf(energy, 64), chi2.cdf(energy, 64)) > 1e-3


def test_long_run_exceeds_no_recursion_limit():
    stationary(20 * sys.getrecursionlimit())


@pytest.mark.slow  # a million steps at some 60 us each
@pytest.mark.timeout(900)
def test_run_of_a_million_steps_has_the_stationary_variance():
    stationary(1_000_000)


# ------------------------------------------------------------------------ reproducible and counted


@pytest.mark.parametrize("method", [*METHODS, "dopri5"])
def test_run_is_a_function_of_its_arguments_and_keeps_global_state(method):
    """Twice the same; the generators of torch, numpy and Python are neither used nor changed."""
    known = FIELDS["learned"]
    x = prior(known, 50)
    if method == "dopri5":
        run, sde = sf.ODESolver(), sf.reverse(known, 0.0)
    else:
        run, sde = solver(method, steps=7), sde_for(method, known)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    kept = x.clone()
    once = run.solve(sde, x).x
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert (before[1] == after[1]).all()
    assert before[2] == after[2]
    assert torch.equal(x, kept)
    torch.rand(3)
    assert torch.equal(run.solve(sde, x).x, once)


def test_another_seed_gives_another_path():
    sde, x = sf.reverse(FIELDS["exact"]), prior(FIELDS["exact"], 5)
    a, b = (sf.SDESolver(steps=5, seed=seed).solve(sde, x).x[-1] for seed in (1, 2))
    assert (a != b).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [sf.reverse, sf.sdes.comoving])
def test_saved_state_equals_the_end_of_a_shorter_run(method, make):
    """A state saved at a grid time is, bit for bit, the end of the run that stops there."""
    known = FIELDS["exact"]
    sde = make(known, 0.0 if isinstance(solver(method, steps=1), sf.ODESolver) else 0.7)
    x, grid = prior(known, 20), sde.times(8)
    path = solver(method, times=grid).solve(sde, x, save=grid[[0, 3, 5]])
    assert torch.equal(path.t, grid[[0, 3, 5, 8]])  # the end is always kept
    assert torch.equal(path.x[0], x)
    for j, state in zip((3, 5, 8), path.x[1:], strict=True):
        assert torch.equal(solver(method, times=grid[: j + 1]).solve(sde, x).x[-1], state)


@pytest.mark.parametrize("method", ["euler", "ode euler"])
def test_number_of_saved_states_does_not_change_them(method):
    known = FIELDS["exact"]
    sde, x = sde_for(method, known), prior(known, 20)
    full = solver(method, steps=12).solve(sde, x, save=13)
    assert torch.equal(full.t, sde.times(12))
    for save, index in ((1, [12]), (2, [0, 12]), (3, [0, 6, 12]), (5, [0, 3, 6, 9, 12])):
        path = solver(method, steps=12).solve(sde, x, save)
        assert torch.equal(path.t, full.t[index])
        assert torch.equal(path.x, full.x[index])
        assert (path.status, path.nfe) == ("finished", 12)
        assert path.seconds > 0
    assert torch.equal(solver(method, steps=12).solve(sde, x, [sde.t_end]).x, full.x[[12]])


def test_saved_states_are_evenly_spaced_and_hold_no_other_memory():
    """None is more than half a step from its even place, and no other states stay in memory."""
    known = FIELDS["exact"]
    for method in ("euler", "ode euler"):
        sde, x = sde_for(method, known), prior(known, 5)
        grid = sde.times(11)
        for save in range(1, 13):
            path = solver(method, steps=11).solve(sde, x, save)
            at = torch.searchsorted(-grid, -path.t).double()
            even = torch.linspace(0, 11, save, dtype=F64) if save > 1 else torch.tensor([11.0])
            assert (at - even).abs().max() <= 0.5 + 1e-9
            assert path.x.untyped_storage().nbytes() == path.x.nbytes


def test_path_times_run_in_the_direction_of_the_sde():
    """Falling in a reverse run, rising in a forward one, with exact ends."""
    known = FIELDS["exact"]
    process, x = known.process, prior(known, 4)
    for path in (
        sf.SDESolver(steps=5).solve(sf.reverse(known), x, save=6),
        sf.ODESolver("rk4", steps=5).solve(sf.reverse(known, 0.0), x, save=6),
        sf.ODESolver("dopri5").solve(sf.reverse(known, 0.0), x, save=6),
    ):
        assert (path.t.diff() < 0).all()
        assert (float(path.t[0]), float(path.t[-1])) == (process.t_max, process.t_min)
        assert path.t.dtype == F64
        assert path.x.shape == (6, 4, 2)
    path = sf.SDESolver(steps=5).solve(sf.forward(process), x, save=6)
    assert (path.t.diff() > 0).all()
    assert (float(path.t[0]), float(path.t[-1])) == (process.t_min, process.t_max)


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
def test_adaptive_runs_save_at_any_time(method):
    known = FIELDS["exact"]
    sde, x = sf.reverse(known, 0.0), prior(known, 10)
    fine = {"rtol": 1e-7, "atol": 1e-7}
    wanted = torch.tensor([0.7, 0.3, 0.05], dtype=F64)
    path = sf.ODESolver(method, **fine).solve(sde, x, save=wanted)
    assert path.t.tolist() == [0.7, 0.3, 0.05, known.process.t_min]  # as on a grid
    for t, state in zip(wanted, path.x[:-1], strict=True):
        stopped = sf.ODESolver("rk4", times=torch.linspace(1.0, float(t), 801, dtype=F64))
        assert torch.allclose(stopped.solve(sde, x).x[-1], state, rtol=0, atol=1e-4)
    kept = sf.ODESolver(method, **fine).solve(sde, x, save=[1.0, 0.3])
    assert kept.t.tolist() == [1.0, 0.3, known.process.t_min]
    assert torch.equal(kept.x[0], x)
    alone = sf.ODESolver(method, **fine).solve(sde, x, save=1)
    ends = sf.ODESolver(method, **fine).solve(sde, x, save=[sde.t_end])
    for path in (alone, ends):
        assert path.t.tolist() == [sde.t_end]
        assert torch.allclose(path.x, kept.x[[-1]], rtol=0, atol=1e-4)


class Counting(nn.Module):
    """Counts rows, and records times."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.times = 0, []

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.rows += len(x)
        self.times.append(float(t))
        return 0.1 * torch.sin(x) + t


CALLS = {name: SDE_METHODS[name].calls[0] for name in ONE_STEP}
CALLS |= {"ode euler": 1, "heun2": 2, "ode midpoint": 2, "heun3": 3, "rk4": 4}


@pytest.mark.parametrize("method", CALLS)
def test_nfe_equals_the_evaluations_that_the_method_needs(method):
    """nfe counts the network calls; the shape checks of torchsde and torchdiffeq add none."""
    network, n = Counting(), 512
    known = sf.LearnedField(sf.VP(), network)
    path = solver(method, steps=6).solve(
        sde_for(method, known) if method != "ode midpoint" else sf.reverse(known, 0.0),
        prior(known, n),
    )
    assert path.nfe == network.rows / n == 6 * CALLS[method]


@pytest.mark.parametrize("method", SDE_METHODS)
@pytest.mark.parametrize("kind", [0, 1], ids=["additive", "depends on x"])
def test_a_step_makes_the_calls_of_the_table(method, kind):
    """The difference of two runs: reversible_heun makes one more call than that in a run."""
    noise = (lambda x, t: torch.tensor(0.5, dtype=F64), lambda x, t: 0.1 * x)[kind]
    row = SDE_METHODS[method]
    sde = sf.SDE(lambda x, t: -x, noise, 0.0, 1.0, row.calculus or "ito")
    few, many = (sf.SDESolver(method, k).solve(sde, randn(5, 2)).nfe for k in (4, 8))
    assert many - few == 4 * row.calls[kind]


@pytest.mark.parametrize("method", SDE_METHODS)
def test_help_of_the_solver_shows_the_table_of_methods(method):
    row, words = SDE_METHODS[method], {None: "Ito, Stratonovich", "ito": "Ito"}
    calls = " or ".join(map(str, sorted({*row.calls})))
    additive, other = (str(Fraction(order)) for order in row.order)
    calculus = words.get(row.calculus, "Stratonovich")
    line = rf"^ +{method} +{calls} +{additive} +{other} +\S* +{calculus}$"
    assert re.search(line, sf.SDESolver.__doc__, re.MULTILINE)


@pytest.mark.parametrize("method", [*RUNGE_KUTTA, *ADAPTIVE])
def test_help_of_the_ode_solver_shows_the_orders_of_torchdiffeq(method):
    calls = len(FIXED.get(method) or _stages(method))
    line = rf"\b{method} +{SOLVERS[method].order} +{calls}\b"
    assert re.search(line, sf.ODESolver.__doc__)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_nfe_of_adaptive_methods_equals_the_network_calls(method):
    network, n = Counting(), 256
    known = sf.LearnedField(sf.VP(), network)
    path = sf.ODESolver(method, rtol=1e-3, atol=1e-3).solve(
        sf.reverse(known, 0.0), prior(known, n)
    )
    assert path.nfe == network.rows / n > 6


@dataclass(frozen=True, eq=False)
class Recording(sf.ExactField):
    """Records the times at which it is evaluated."""

    asked: list[float] = field(default_factory=list)

    def at(self, t, c, like):
        self.asked.append(float(t))
        return super().at(t, c, like)


@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize("tolerance", [1e-2, 1e-5])
def test_adaptive_methods_never_evaluate_outside_the_span(process, method, tolerance):
    for dtype, slack in ((F64, 0.0), (torch.float32, torch.finfo(torch.float32).eps)):
        known = Recording(process, lopsided(dtype))
        x = process.prior(16, 2, seed=0, dtype=dtype)
        run = sf.ODESolver(method, rtol=tolerance, atol=tolerance)
        path = run.solve(sf.reverse(known, 0.0), x)
        assert len(known.asked) == path.nfe
        assert min(known.asked) >= process.t_min * (1 - slack)
        assert max(known.asked) <= process.t_max * (1 + slack)
        assert math.isclose(min(known.asked), process.t_min, rel_tol=1e-6, abs_tol=1e-12)


@pytest.mark.parametrize("method", SDE_METHODS)
def test_noise_equal_on_all_axes_gives_the_bits_of_scalar_noise(method):
    """Noise of shape (d,) is additive like (), for every method."""
    one, row = (
        sf.SDE(lambda x, t: -x, lambda x, t, g=g: (1 + t) * g, 0.0, 1.0)
        for g in (torch.tensor(1.3, dtype=F64), torch.full((2,), 1.3, dtype=F64))
    )
    x, run = randn(20, 2).float(), sf.SDESolver(method, steps=5, seed=2)
    assert torch.equal(run.solve(one, x).x, run.solve(row, x).x)


@pytest.mark.parametrize("method", [m for m in SDE_METHODS if m in ONE_STEP])
def test_unequal_steps_keep_the_variance(method):
    """Steps 1, 3, 1, 3 ...: forward VP from 0 to sigma^2, to the scatter of 2e4 numbers."""
    process = sf.VP()
    gaps = torch.tensor([1.0, 3.0], dtype=F64).repeat(256).cumsum(0)
    u = torch.cat([torch.zeros(1, dtype=F64), gaps]) / gaps[-1]
    times = process.t_min + (process.t_max - process.t_min) * u
    sde = sf.forward(process)
    end = sf.SDESolver(method, times=times, seed=4).solve(sde, torch.zeros(10_000, 2)).x[-1]
    energy = float(end.double().square().sum() / process(times[-1]).sigma ** 2)
    # Four standard deviations, and beta h = 20 / 512 for the methods of weak order one.
    assert energy / 20_000 == pytest.approx(1, abs=4 * math.sqrt(2 / 20_000) + 20 / 512)


# ------------------------------------------------------------------------------------------ memory

MEMORY_SCRIPT = """
import sys, torch, sdeflow as sf
torch.set_num_threads(1)
n, steps = int(sys.argv[1]), [int(k) for k in sys.argv[2:]]

class Gauss(torch.nn.Module):  # E[eps | x_t] for data N(0, 1 / 4) under EDM
    def forward(self, x, t):
        return x * (t / (t * t + 0.25))

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

field = sf.LearnedField(sf.EDM(), Gauss())
sde = sf.reverse(field)
x = field.process.prior(n, 2, seed=0)
sf.SDESolver(steps=1).solve(sde, x[:300], save=1)
before = status("VmRSS")
for k in steps:
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    path = sf.SDESolver(steps=k).solve(sde, x, save=1)
    print(k, status("VmHWM") - before, float(path.x.std()), path.nfe, path.seconds, flush=True)
    del path
"""


def peak_growth(n: int, *steps: int, exact: bool) -> list[float]:
    """MiB by which a run's peak stands above the start, for runs of so many steps in one process.

    exact: freed clouds are returned to the system at once; otherwise glibc keeps some."""
    out = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, str(n), *map(str, steps)],
        env=os.environ | ({"MALLOC_MMAP_THRESHOLD_": "1000000"} if exact else {}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    print(out)
    rows = [line.split() for line in out.splitlines()]
    assert [int(row[0]) for row in rows] == [int(row[3]) for row in rows] == list(steps)
    return [float(row[1]) for row in rows]


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_memory_of_a_run_does_not_grow_with_its_steps():
    """A million particles are 8 MiB: not one cloud more for 12 more steps, or a third run."""
    short, long, again = peak_growth(1_000_000, 4, 16, 4, exact=True)
    assert max(short, long) < 300
    assert abs(long - short) < 8
    assert abs(again - short) < 8


@linux
@pytest.mark.slow  # a million particles, 256 steps, twice: two to four minutes
@pytest.mark.timeout(1800)
def test_a_million_particles_and_256_steps_stay_below_300_mib():
    short, long = peak_growth(1_000_000, 8, 256, exact=True)
    assert abs(long - short) < 8
    assert peak_growth(1_000_000, 256, exact=False)[0] < 300


# --------------------------------------------------------------------------------- wrong arguments

KNOWN = sf.ExactField(sf.VP(), lopsided(torch.float32))
CLOUD = KNOWN.process.prior(8, 2, seed=0)
NOISY, FLOW = sf.reverse(KNOWN), sf.reverse(KNOWN, 0.0)
TIMES = NOISY.times(4)
GBM = sf.SDE(lambda x, t: x, lambda x, t: x, 0.0, 1.0)
UNEQUAL = torch.tensor([0.0, 0.1, 0.4, 1.0])


class Wrong(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x[:, :1]


def euler(sde: sf.SDE = NOISY, x: Tensor = CLOUD, save=2, **options) -> sf.solvers.Path:
    return sf.SDESolver("euler", **options).solve(sde, x, save)


def ode(
    sde: sf.SDE = FLOW, x: Tensor = CLOUD, save=2, method="euler", **options
) -> sf.solvers.Path:
    return sf.ODESolver(method, **options).solve(sde, x, save)


def cloud_with(value: float) -> Tensor:
    x = CLOUD.clone()
    x[3, 1] = value
    return x


REFUSED = {
    "a NaN": (lambda: euler(x=cloud_with(math.nan)), ValueError, "row 3"),
    "an infinity": (lambda: ode(x=cloud_with(math.inf), steps=3), ValueError, "row 3"),
    "one axis": (lambda: euler(x=CLOUD[0]), ValueError, r"\(n, d\)"),
    "three axes": (lambda: ode(x=CLOUD[None], steps=3), ValueError, r"\(n, d\)"),
    "no particle": (lambda: euler(x=CLOUD[:0]), ValueError, "empty"),
    "no coordinate": (lambda: euler(x=CLOUD[:, :0]), ValueError, "empty"),
    "whole numbers": (lambda: euler(x=CLOUD.long()), TypeError, "floating"),
    "a list": (lambda: euler(x=[[0.0, 1.0]]), TypeError, "tensor"),
    "no step": (lambda: euler(steps=0), ValueError, "steps"),
    "no step of an ODE": (lambda: ode(steps=0), ValueError, "steps"),
    "half a step": (lambda: euler(steps=2.5), TypeError, "steps"),
    "a negative seed": (lambda: euler(seed=-1), ValueError, "seed"),
    "a negative eta": (lambda: sf.reverse(KNOWN, -0.1), ValueError, "eta"),
    "a NaN eta": (lambda: sf.sdes.comoving(KNOWN, math.nan), ValueError, "eta"),
    "an ancestral eta above 1": (lambda: sf.ancestral(KNOWN, 1.1), ValueError, "between 0"),
    "an unknown method": (lambda: sf.SDESolver("rk5"), ValueError, "euler"),
    "an unknown ODE method": (lambda: sf.ODESolver("heun"), ValueError, "heun2"),
    "times that turn": (
        lambda: euler(times=torch.tensor([0.9, 0.5, 0.6])),
        ValueError,
        "strictly monotone",
    ),
    "times twice": (lambda: euler(times=torch.tensor([0.9, 0.9])), ValueError, "monotone"),
    "times beyond": (lambda: euler(times=torch.tensor([1.5, 0.5])), ValueError, "outside"),
    "time zero": (lambda: euler(times=torch.tensor([1.0, 0.0])), ValueError, "outside"),
    "times the other way": (lambda: euler(times=TIMES.flip(0)), ValueError, "flip"),
    "ODE times the other way": (lambda: ode(times=TIMES.flip(0)), ValueError, "flip"),
    "one time": (lambda: euler(times=TIMES[:1]), ValueError, "two times"),
    "a NaN time": (lambda: euler(times=TIMES * math.nan), ValueError, "finite"),
    "a save off the grid": (lambda: euler(save=[0.512], times=TIMES), ValueError, "nearest"),
    "an ODE save off the grid": (lambda: ode(save=[0.512], times=TIMES), ValueError, "nearest"),
    "too many saves": (lambda: euler(save=6, times=TIMES), ValueError, "more states"),
    "no save": (lambda: euler(save=0), ValueError, "save"),
    "an empty save": (lambda: euler(save=[]), ValueError, "save"),
    "an adaptive save beyond": (lambda: ode(save=[1.2], method="dopri5"), ValueError, "save"),
    "an adaptive save of none": (lambda: ode(save=[], method="dopri5"), ValueError, "save"),
    "noise in an ODE": (lambda: ode(NOISY, steps=3), ValueError, "noise"),
    "noise in an adaptive ODE": (lambda: ode(NOISY, method="dopri5"), ValueError, "noise"),
    "adaptive with steps": (lambda: sf.ODESolver("dopri5", steps=5), ValueError, "own steps"),
    "adaptive with times": (lambda: sf.ODESolver("dopri5", times=TIMES), ValueError, "own steps"),
    "fixed without steps": (lambda: sf.ODESolver("rk4"), ValueError, "steps="),
    "a tolerance of zero": (lambda: sf.ODESolver(rtol=0.0), ValueError, "rtol"),
    "ancestral by Heun": (
        lambda: sf.SDESolver("heun", 5).solve(sf.ancestral(KNOWN), CLOUD),
        ValueError,
        "euler",
    ),
    "ancestral by rk4": (
        lambda: ode(sf.ancestral(KNOWN, 0), method="rk4", steps=5),
        ValueError,
        "eul",
    ),
    "ancestral by dopri5": (
        lambda: ode(sf.ancestral(KNOWN, 0), method="dopri5"),
        ValueError,
        "euler",
    ),
    "Ito by Heun": (lambda: sf.SDESolver("heun").solve(GBM, CLOUD), ValueError, "milstein"),
    "unequal steps of Adams": (
        lambda: ode(method="implicit_adams", times=TIMES),
        ValueError,
        "equal",
    ),
    "unequal steps remembered": (
        lambda: sf.SDESolver("reversible_heun", times=TIMES).solve(NOISY, CLOUD),
        ValueError,
        "equal",
    ),
    "a path too coarse": (
        lambda: euler(times=TIMES, fine=TIMES[[0, 2, 4]]),
        ValueError,
        "fine",
    ),
    "a save beside the grid": (
        lambda: euler(save=[float(TIMES[2]) * (1 + 1e-4)], times=TIMES),
        ValueError,
        "nearest",
    ),
    "a path beside the grid": (
        lambda: euler(times=TIMES, fine=torch.cat([TIMES[:2], TIMES[2:3] * 0.9999, TIMES[3:]])),
        ValueError,
        "fine",
    ),
    "a path of another span": (lambda: euler(times=TIMES, fine=TIMES[1:]), ValueError, "grid"),
    "a path the other way": (
        lambda: euler(times=TIMES, fine=TIMES.flip(0)),
        ValueError,
        "flip it",
    ),
    "a path of nothing": (lambda: euler(times=TIMES, fine=TIMES[:0]), ValueError, "fine"),
    "a path of one number": (lambda: euler(times=TIMES, fine=TIMES[0]), ValueError, "fine"),
    "a path of two axes": (lambda: euler(times=TIMES, fine=TIMES[None]), ValueError, "fine"),
    "a path that turns": (
        lambda: euler(times=TIMES, fine=TIMES[[0, 1, 3, 2, 4]]),
        ValueError,
        "fine must be strictly monotone",
    ),
    "a NaN save": (lambda: euler(save=[math.nan], times=TIMES), ValueError, "not on the time"),
    "a NaN save, adaptive": (lambda: ode(save=[math.nan], method="dopri5"), ValueError, "finite"),
    "a save of None": (lambda: euler(save=None), ValueError, "save must be a number of states"),
    "a save in words": (lambda: ode(save="all", method="dopri5"), ValueError, "save must be"),
    "a save in a list of words": (lambda: euler(save=["a"]), ValueError, "save must be"),
    "half a save": (lambda: euler(save=2.5), TypeError, "save must be a whole number"),
    "a save of two axes": (lambda: euler(save=TIMES[None]), ValueError, "save must be"),
    "a network of another shape": (
        lambda: euler(sf.reverse(sf.LearnedField(sf.VP(), Wrong()))),
        ValueError,
        "returned",
    ),
    "a drift of another shape": (
        lambda: euler(sf.SDE(lambda x, t: x[:, :1], lambda x, t: 1.0, 0.0, 1.0)),
        ValueError,
        "returned",
    ),
    "a matrix of noise": (
        lambda: euler(sf.SDE(lambda x, t: x, lambda x, t: torch.eye(2), 0.0, 1.0)),
        ValueError,
        "say SDE",
    ),
    "a row of noise for a cloud": (
        lambda: euler(sf.SDE(lambda x, t: x, lambda x, t: torch.ones(1, 2), 0.0, 1.0)),
        ValueError,
        "say SDE",
    ),
    "an empty span": (lambda: sf.SDE(lambda x, t: x, None, 1.0, 1.0), ValueError, "differ"),
    "a span without end": (lambda: sf.SDE(GBM.drift, None, 0.0, math.inf), ValueError, "t_end"),
    "a span from NaN": (lambda: sf.SDE(GBM.drift, None, math.nan, 1.0), ValueError, "t_start"),
    "a span in words": (lambda: sf.SDE(GBM.drift, None, "0", 1.0), TypeError, "t_start"),
    "a drift that is a tensor": (lambda: sf.SDE(CLOUD, None, 0.0, 1.0), TypeError, "drift"),
    "a diffusion that is a number": (
        lambda: sf.SDE(GBM.drift, 1.0, 0.0, 1.0),
        TypeError,
        "diffusion",
    ),
    "a drift of nothing": (
        lambda: euler(sf.SDE(lambda x, t: None, None, 0.0, 1.0)),
        ValueError,
        "returned NoneType",
    ),
    "a drift of one number": (
        lambda: ode(sf.SDE(lambda x, t: 0.0, None, 0.0, 1.0), method="dopri5"),
        ValueError,
        "returned float",
    ),
    "a field for an SDE": (lambda: euler(KNOWN), TypeError, r"pass sf.reverse\(field\)"),
    "a process for an SDE": (lambda: ode(sf.VP(), steps=3), TypeError, r"sf.forward\(process\)"),
    "an SDE for a field": (lambda: sf.reverse(NOISY), TypeError, "needs a Field, got FieldSDE"),
    "a mixture for a field": (lambda: sf.sdes.comoving(lopsided()), TypeError, "needs a Field"),
    "no field": (lambda: sf.ancestral(None), TypeError, "needs a Field"),
    "a field for a process": (lambda: sf.forward(KNOWN), TypeError, "must be a Process"),
    "a variance that is a tensor": (
        lambda: sf.ancestral(KNOWN, variance=0.5),
        TypeError,
        "variance must be a function",
    ),
    "a first particle before the first": (
        lambda: sf.SDESolver("euler", 3).solve(NOISY, CLOUD, first=-1),
        ValueError,
        "first",
    ),
    "half a first particle": (
        lambda: sf.SDESolver("euler", 3).solve(NOISY, CLOUD, first=1.5),
        TypeError,
        "first",
    ),
    "no budget": (lambda: sf.ODESolver(max_steps=0), ValueError, "max_steps"),
    "half a step of a budget": (lambda: sf.ODESolver(max_steps=2.5), TypeError, "max_steps"),
    "a tolerance in words": (lambda: sf.ODESolver(rtol="1e-5"), TypeError, "rtol"),
    "a seed that is a truth": (lambda: sf.SDESolver(seed=True), TypeError, "seed"),
    "a mistyped calculus": (
        lambda: sf.SDE(GBM.drift, GBM.drift, 0.0, 1.0, "Ito"),
        ValueError,
        "calculus must be",
    ),
}


def one_sentence(message: str) -> bool:
    """No line break, no second sentence, and it ends."""
    return "\n" not in message and ". " not in message and 10 < len(message) < 300


@pytest.mark.parametrize(("do", "kind", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_wrong_input_is_refused_in_one_sentence(do, kind, says):
    with pytest.raises(kind, match=says) as caught:
        do()
    assert type(caught.value) is kind
    assert one_sentence(str(caught.value))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_grid_rounded_to_float32_is_the_same_grid(dtype):
    """Save times and the path's grid may be rounded, with their ends; a count may be numpy's."""
    noisy, steps = sf.reverse(KNOWN), sf.SDESolver("euler", 50)
    grid = noisy.times(50)
    whole = steps.solve(noisy, CLOUD, save=51)
    some = steps.solve(noisy, CLOUD, save=grid[[3, 17, 50]].to(dtype))
    assert torch.equal(some.x, whole.x[[3, 17, 50]])
    assert torch.equal(steps.solve(noisy, CLOUD, save=np.int64(51)).x, whole.x)
    assert torch.equal(steps.solve(noisy, CLOUD, save=torch.tensor(51)).x, whole.x)
    rounded = sf.SDESolver("euler", times=grid, fine=grid.to(dtype)).solve(noisy, CLOUD)
    near = sf.SDESolver("euler", times=grid.to(dtype)).solve(noisy, CLOUD)
    assert (rounded.x - near.x).abs().max() < 1e-4


@pytest.mark.parametrize("process", [sf.VP(), sf.EDM(), sf.Linear()], ids=repr)
def test_ends_of_the_span_rounded_to_float32_are_accepted(process):
    flow = sf.reverse(sf.ExactField(process, lopsided(torch.float32)), 0.0)
    x = process.prior(5, 2, 0, torch.float32)
    wanted = torch.tensor([process.t_max, (process.t_min + process.t_max) / 2, process.t_min])
    assert wanted.dtype == torch.float32
    path = sf.ODESolver("dopri5").solve(flow, x, save=wanted)
    assert (len(path.x), path.t[0], path.t[-1]) == (3, process.t_max, process.t_min)
    assert torch.equal(sf.ODESolver("dopri5").solve(flow, x, save=wanted[1:]).x, path.x[1:])
    fixed = sf.ODESolver("euler", times=wanted).solve(flow, x)
    assert process.t_min <= float(fixed.t[-1]) < float(fixed.t[0]) <= process.t_max


# ------------------------------------------------------------------------------------ failing runs


class Failing(nn.Module):
    """NaN for one row, once t has fallen below `below`."""

    def __init__(self, below: float) -> None:
        super().__init__()
        self.below = below

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        out = 0.1 * torch.sin(x)
        if float(t) < self.below:
            out[1, 0] = math.nan
        return out


@pytest.mark.parametrize("method", METHODS)
def test_failed_run_stops_with_its_last_finite_state(method):
    """The network is NaN from step 7 on: the error holds the state at step 7, or at step 6 if the
    method looks ahead."""
    probe = sf.LearnedField(sf.VP(), Failing(0.0))
    sde, x = sde_for(method, probe), prior(probe, 5)
    times = sde.times(12)
    below = float(times[6]) * (1 - 1e-6)
    bad = sf.LearnedField(sf.VP(), Failing(below))
    with pytest.raises(
        sf.SdeflowError, match="NaN or infinite in 1 of 5 particles, first in particle 1, at t = "
    ) as caught:
        solver(method, times=times).solve(sde_for(method, bad), x)
    assert one_sentence(str(caught.value))
    named = float(str(caught.value).partition("at t = ")[2].partition(";")[0])
    assert float(times[7]) * (1 - 1e-5) <= named < below  # where it was NaN, not where it was good
    path = caught.value.path
    looks_ahead = method not in ("euler", "milstein", "ode euler")
    good = 6 if looks_ahead else 7
    assert path.t.tolist() == [float(times[0]), float(times[good])]
    assert f"{float(times[good]):.6g}" in str(caught.value)
    stopped = solver(method, times=times[: good + 1]).solve(sde, x).x
    assert torch.equal(path.x, stopped)
    assert "NaN" in path.status
    assert path.nfe > good


@pytest.mark.parametrize("method", ["euler", "heun", "ode euler", "rk4"])
@pytest.mark.parametrize("first", ["drift", "state"])
def test_overflowing_state_is_not_kept_as_finite(method, first):
    """Steps of one: x^3 is infinite before x is; 3e38 + 3e38 / 2 is, while the drift was not."""
    sde, x = {
        "drift": (sf.SDE(lambda x, t: x**3, None, 0.0, 20.0), torch.full((3, 2), 4.0)),
        "state": (sf.SDE(lambda x, t: x / 2, None, 0.0, 20.0), torch.full((1, 1), 3e38)),
    }[first]
    with pytest.raises(sf.SdeflowError, match="infinite") as caught:
        solver(method, steps=20).solve(sde, x)
    assert torch.isfinite(caught.value.path.x).all()
    assert 0 <= float(caught.value.path.t[-1]) < 20


def test_failed_adaptive_run_stops_with_its_last_finite_state():
    bad = sf.LearnedField(sf.VP(), Failing(0.5))
    with pytest.raises(sf.SdeflowError, match="at t = ") as caught:
        sf.ODESolver("dopri5").solve(sf.reverse(bad, 0.0), prior(bad, 5))
    # The network takes its time in float32.
    assert float(caught.value.path.t[-1]) == pytest.approx(0.5, abs=1e-7)
    assert torch.isfinite(caught.value.path.x).all()


def test_adaptive_run_stops_after_max_steps():
    with pytest.raises(sf.SdeflowError, match="dopri5 stopped") as caught:
        sf.ODESolver("dopri5", max_steps=5).solve(FLOW, CLOUD)
    assert one_sentence(str(caught.value))
    assert torch.isfinite(caught.value.path.x).all()


def test_final_state_that_overflows_is_not_returned():
    """3e38 + 1.5e38 is infinite in float32: the last step overflows."""
    sde = sf.SDE(lambda x, t: 1.5e38 * torch.sign(x), None, 0.0, 1.0)
    for method in ("euler", "ode euler"):
        with pytest.raises(sf.SdeflowError, match="final state") as caught:
            solver(method, steps=1).solve(sde, torch.full((2, 1), 3e38))
        assert float(caught.value.path.t[-1]) == 0.0
        assert torch.isfinite(caught.value.path.x).all()


def test_drift_whose_sum_overflows_is_finite():
    """60 rows of 3000 sum to more than float16 holds."""
    sde = sf.SDE(lambda x, t: torch.full_like(x, 3000.0), None, 0.0, 1.0)
    for method in ("euler", "ode euler"):
        x = solver(method, steps=2).solve(sde, torch.zeros(60, 2, dtype=torch.float16)).x[-1]
        assert torch.equal(x, torch.full_like(x, 3000.0))


# ----------------------------------------------------------------------------------- step indices


@pytest.mark.parametrize("method", ["euler", "heun", "midpoint"])
@pytest.mark.parametrize("save", [1, 2, 4])
def test_step_indices_as_numbers_or_tensors_give_the_same_bits(
    method: str, save: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's arithmetic on times is exact either way."""
    field = sf.ExactField(sf.VP(), lopsided(torch.float32))
    run, x = sf.SDESolver(method, 12, seed=3), prior(field, 5)
    numbers = run.solve(sf.reverse(field), x, save)
    monkeypatch.setattr(
        sf.SDESolver, "_step_indices", lambda self, steps: torch.tensor(steps, dtype=F64)
    )
    assert torch.equal(numbers.x, run.solve(sf.reverse(field), x, save).x)


@pytest.mark.parametrize("method", ["euler", "midpoint", "heun2", "heun3", "rk4"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_step_indices_of_an_ode_or_tensors_give_the_same_bits(method, dtype, monkeypatch):
    """torchdiffeq on our indices, whose answers are known, and on plain tensors ()."""
    x, solver = CLOUD.to(dtype), sf.ODESolver(method, 7)
    known = solver.solve(FLOW, x, 4).x
    monkeypatch.setattr(
        StepIndex, "grid", staticmethod(lambda steps, saved: torch.arange(steps + 1, dtype=dtype))
    )
    assert torch.equal(solver.solve(FLOW, x, 4).x, known)
