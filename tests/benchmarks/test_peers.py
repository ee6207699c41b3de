"""The solvers of other packages as the comparison runs them: equal to what they are known to be.

A peer whose package is not installed is skipped; `make bench` installs all but flow_matching.
"""

import importlib.util
import math
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import sdeflow as sf
from benchmarks.solvers import contender, contenders
from benchmarks.solvers.contender import Counted
from benchmarks.solvers.contenders import FLOWS, NOISY, SKIPPED
from benchmarks.solvers.peers import azula, loading, torchdiffeq
from benchmarks.solvers.peers.coordinates import Levels
from benchmarks.solvers.problems import PROCESS, circle, known, modes
from sdeflow.processes.time_grids import angle_times, log_snr_times

F64 = torch.float64
ALL = {one.name: one for one in (*FLOWS, *NOISY)}
EIGHT = known("eight", circle(8, 0.3))
GAUSSIAN = known("gaussian", modes(torch.zeros(1, 2), 1.0))
OPTIONAL = {
    "diffusers": "diffusers",
    "k-diffusion": "k_diffusion",
    "azula": "azula",
    "smalldiffusion": "smalldiffusion",
    "torchcfm": "torchdyn",
    "flow_matching": "flow_matching",
}


def peer(name):
    """The contender of this name, whose package may be missing."""
    if name not in ALL:
        package = next((p for p in SKIPPED if name.endswith(f"({p})")), "diffusers")
        pytest.skip(SKIPPED[package])
    return ALL[name]


def end(one, times, problem=EIGHT, n=20, seed=0, x=None):
    x = problem.start(n, 0) if x is None else x
    return one.solve(one.sde(problem, problem.field, len(times) - 1), x, times, seed)


def off(a, b):
    return float((a - b).abs().max())


# ---------------------------------------------------------------------------------------- calls


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("calls", [8, 15])
def test_calls_are_counted_at_the_field(name, calls):
    """As many steps as fit into the calls, and as many calls as the hand count says."""
    one, asked = ALL[name], [0]
    field = Counted(GAUSSIAN.field.process, GAUSSIAN.field, asked)
    sde = one.sde(GAUSSIAN, field, calls)
    asked[0] = 0
    x = GAUSSIAN.start(11, 0)
    times = one.times(GAUSSIAN, sde, one.grids[0], calls)
    assert one.solve(sde, x, times, 0).shape == x.shape
    counted = asked[0] / 11
    assert counted <= calls
    if not name.startswith("dopri5"):
        assert counted == one.stages * (calls // one.stages)


def test_names_are_unique_and_grids_known():
    assert len(ALL) == len(FLOWS) + len(NOISY)
    grids = contender.grids(EIGHT)
    for one in ALL.values():
        assert set(one.grids) - {"own"} <= set(grids), one.name
    for name, grid in grids.items():
        times = grid(9)
        assert times[[0, -1]].tolist() == [PROCESS.t_max, PROCESS.t_min], name
        assert (times.diff() < 0).all(), name


def test_grids_of_peers_are_uniform_in_their_own_time():
    grids, k = contender.grids(EIGHT), 9
    rho = PROCESS.noise_level(grids["flow time"](k))
    assert off((rho / (1 + rho)).diff(2), torch.zeros(k - 1)) < 1e-12
    rho = PROCESS.noise_level(
        grids["squared sine"](k)
    )  # sigma = sin(u)^2 of IPNDM's set_timesteps
    u = torch.asin(torch.sqrt(rho / torch.sqrt(1 + rho**2)))
    assert off(u.diff(n=2), torch.zeros(k - 1)) < 1e-9
    rho = PROCESS.noise_level(grids["azula's VP time"](k))
    alpha = torch.sqrt((1 + 1e-6) / (1 + rho**2))  # alpha = c^(t^2), sigma^2 = 1 - alpha^2 + 1e-6
    assert off(torch.sqrt(-torch.log(alpha)).diff(n=2), torch.zeros(k - 1)) < 1e-9


# ------------------------------------------------------------------------------ equal to our own

DDIM = ["DDIM (diffusers)", "Euler (k-diffusion)", "Euler (azula)", "DDIM (smalldiffusion)"]
HEUN = ["Heun (diffusers)", "Heun (k-diffusion)", "Heun (azula)"]
STRAIGHT = [
    ("FlowMatchEuler", "euler"),
    ("Euler (torchcfm)", "euler"),
    ("Euler (flow_matching)", "euler"),
    ("Midpoint (torchcfm)", "midpoint"),
    ("Midpoint (flow_matching)", "midpoint"),
    ("Heun 3 (flow_matching)", "heun3"),
]


@pytest.mark.parametrize("name", [*DDIM, "Euler (torchdiffeq)"])
def test_ddim_of_every_package_is_ancestral_without_noise(name):
    times = log_snr_times(PROCESS, 7)
    want = sf.ODESolver("euler", times=times).solve(
        sf.ancestral(EIGHT.field, 0.0), EIGHT.start(20, 0)
    )
    assert off(end(peer(name), times), want.x[-1]) < 1e-11


@pytest.mark.parametrize("name", HEUN)
def test_heun_of_every_package_is_heun_in_the_noise_level(name):
    times = log_snr_times(PROCESS, 7)
    sde = sf.sdes.comoving(EIGHT.field)
    want = sf.ODESolver("heun2", times=times).solve(sde, EIGHT.start(20, 0)).x[-1]
    assert off(end(peer(name), times), want) < 1e-11


@pytest.mark.parametrize(("name", "method"), STRAIGHT)
def test_flow_matching_packages_solve_the_straight_line_flow(name, method):
    """z = x / (1 + rho) is the state of `Linear`, whose time is rho / (1 + rho)."""
    times, x = contender.grids(EIGHT)["angle 2"](8), EIGHT.start(20, 0)
    linear = sf.Linear(t_min=0.005, t_max=0.99)
    sde = sf.reverse(sf.ExactField(linear, EIGHT.data), 0.0)
    row = times / (1 + times)
    want = sf.ODESolver(method, times=row).solve(sde, x / (1 + times[0])).x[-1]
    got = end(peer(name), times, x=x)
    assert off(got / (1 + times[-1]), want) < (1e-5 if name == "FlowMatchEuler" else 1e-11)


# ------------------------------------------------------------------------- equal to one another


@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [
        ("DPM2 (k-diffusion)", "KDPM2 (diffusers)", 7),
        ("DDPM (azula)", "DDPM (diffusers)", 7),
        ("DDPM (smalldiffusion)", "DDPM (diffusers)", 7),
        ("Euler ancestral (k-diffusion)", "DDPM (diffusers)", 7),
        ("DPM++ 2M (k-diffusion)", "DPM++ 2M", 16),  # below 15 steps diffusers ends at order 1
    ],
)
def test_methods_that_two_packages_have_are_equal(one, other, steps):
    """With noise too: all draw it from torch's generator in the same order."""
    times = angle_times(PROCESS, steps)
    # diffusers computes a step of DPM++ in float32
    assert off(end(peer(one), times), end(peer(other), times)) < 2e-6


def test_lms_of_k_diffusion_is_adams_bashforth_of_azula():
    times = angle_times(PROCESS, 9)
    want = end(peer("LMS 4 (k-diffusion)"), times)
    peer("Euler (azula)")
    got = azula.sampler("zAB", order=4)(sf.reverse(EIGHT.field, 0.0), EIGHT.start(20, 0), times, 0)
    assert off(got, want) < 1e-9


# ------------------------------------------------------------------ closed forms, Gaussian data


def gaussian_factor(times, step):
    """The end over the start of a deterministic scheme on N(0, 1) data, where eps = slope y."""
    y, slopes = 1.0, []
    rho = PROCESS.noise_level(times).tolist()
    for a, b in pairwise(rho):
        slopes.append(a / (1 + a**2) * y)
        y += step(slopes, a, b)
    return y


def adams(eps, a, b):
    weights = {1: [1], 2: [3 / 2, -1 / 2], 3: [23 / 12, -16 / 12, 5 / 12]}
    row = weights.get(len(eps), [55 / 24, -59 / 24, 37 / 24, -9 / 24])
    return (b - a) * sum(w * e for w, e in zip(row, reversed(eps), strict=False))


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("IPNDM", adams),
        (
            "accelerated (smalldiffusion)",
            lambda e, a, b: (b - a) * (2 * e[-1] - e[-2] if len(e) > 1 else e[-1]),
        ),
    ],
)
def test_linear_multistep_methods_on_gaussian_data(name, step):
    times, x = log_snr_times(PROCESS, 9), GAUSSIAN.start(20, 0)
    got = end(peer(name), times, GAUSSIAN, x=x)
    assert off(got, gaussian_factor(times, step) * x) < 1e-10


def test_exponential_method_in_the_frame_of_gaussian_data_is_exact_where_its_sigma_is_right():
    """REAB's frame makes N(0, 1) data trivial; the released factor is wrong at alpha = 1 / ..."""
    times, x = log_snr_times(PROCESS, 5), EIGHT.start(20, 0)
    shape = {"x": x, "problem": EIGHT}
    good, released = (
        end(peer(f"REAB 2{frame} (azula)"), times, **shape) for frame in (", sigma 1", "")
    )
    assert off(good, released) > 1e-3
    exact = math.sqrt((1 + PROCESS.t_min**2) / (1 + PROCESS.t_max**2))
    for name in ("REAB 2, sigma 1 (azula)", "REAB 2 (azula)", "REAB 3, sigma 1 (azula)"):
        assert off(end(peer(name), times, GAUSSIAN, x=x), exact * x) < 1e-12 * off(x, 0 * x)


# --------------------------------------------------------------------- orders, on eight Gaussians

# A multistep method that starts with a step of order 1 ends at order 2, whatever comes after.
ORDERS = {
    "Heun (diffusers)": 2, "Heun (k-diffusion)": 2, "Heun (azula)": 2, "Heun (EDM)": 2,
    "KDPM2 (diffusers)": 2, "DPM2 (k-diffusion)": 2, "Midpoint (torchcfm)": 2,
    "Midpoint (flow_matching)": 2, "Midpoint (torchdiffeq)": 2, "Heun 3 (flow_matching)": 3,
    "RK4 (torchdiffeq)": 4, "DPM++ 2M": 2, "DPM++ 3M": 2, "UniPC 2": 2, "UniPC 3": 2, "DEIS 2": 2,
    "DEIS 3": 2, "DPM++ 2S": 2, "DPM++ 3S": 2, "DPM++ 2M (k-diffusion)": 2,
    "DPM++ 2S (k-diffusion)": 2, "LMS 4 (k-diffusion)": 2, "multistep, default": 2, "IPNDM": 2,
    **{f"{row}AB 2 (azula)": 2 for row in ("z", "v", "zE", "xE")},
    **{f"REAB {k}, sigma 1 (azula)": 2 for k in (2, 3)},
}  # fmt: skip
FITTED_AT_ONE_NUMBER_OF_STEPS = ("multistep, calibrated", "dopri5 (torchdiffeq)")


@cache
def truth():
    """Six starts and their true ends."""
    x = EIGHT.start(6, 0)
    return x, EIGHT.end(x)


@pytest.mark.parametrize(
    "name", [one.name for one in FLOWS if one.name not in FITTED_AT_ONE_NUMBER_OF_STEPS]
)
def test_order_of_each_peer_is_its_own(name):
    """At least the order that its authors state, up to 0.4; 1 where none is in the table."""
    (x, exact), errors = truth(), []
    for steps in (40, 80):
        got = end(ALL[name], angle_times(PROCESS, steps), x=x)
        errors.append(float((got - exact).square().mean().sqrt()))
    assert math.log2(errors[0] / errors[1]) > ORDERS.get(name, 1) - 0.4


def test_adaptive_steps_keep_within_the_calls_and_use_them():
    """The tolerance is the smallest that fits; without one the cloud is NaN."""
    x, errors = GAUSSIAN.start(100, 0), []
    truth = x * math.sqrt((1 + PROCESS.t_min**2) / (1 + PROCESS.t_max**2))
    for calls in (4, 20, 60):
        asked = [0]
        field = Counted(PROCESS, GAUSSIAN.field, asked)
        times = log_snr_times(PROCESS, calls)
        got = torchdiffeq.dopri5(sf.reverse(field, 0.0), x, times, 0)
        assert asked[0] <= calls * 100
        errors.append(float((got - truth).square().mean().sqrt()))
    assert math.isnan(errors[0])
    assert errors[2] < errors[1] / 4


# ------------------------------------------------------------------------ noise, Gaussian data

N = 5_000


def chain_variance(times, mean, noise):
    """Of y' = mean(a, b) y + sqrt(noise(a, b)) z from the exact start, for N(0, 1) data."""
    rho = PROCESS.noise_level(times).tolist()
    variance, factor = 1 + rho[0] ** 2, 1.0
    for a, b in pairwise(rho):
        m = mean(a, b)
        variance, factor = m**2 * variance + noise(a, b), factor * m
    return variance, factor


def ddpm(a, b):
    return (1 + b**2) / (1 + a**2)


def ito(a, b):
    return 1 + 2 * (b / a - 1) * a**2 / (1 + a**2)


def euler(a, b):
    return 1 + 2 * (b - a) * a / (1 + a**2)


def corrected(a, b):
    """PC: a corrector with delta = 0.01, then DDIM."""
    return (1 + b * a) / (1 + a**2) * (1 + math.sqrt(0.99) * a**2) / (1 + a**2)


CHAINS = {
    **dict.fromkeys(
        [
            "DDPM",
            "DDPM (diffusers)",
            "Euler ancestral (k-diffusion)",
            "DDPM (azula)",
            "DDPM (smalldiffusion)",
        ],
        (ddpm, lambda a, b: b**2 * (a**2 - b**2) / a**2),
    ),
    "Ito (azula)": (ito, lambda a, b: a**2 - b**2),
    "Euler-Maruyama (torchsde)": (euler, lambda a, b: 2 * a * (a - b)),
    "PC (azula)": (corrected, lambda a, b: 0.01 * a**2 * ((1 + b * a) / (1 + a**2)) ** 2),
}


@pytest.mark.parametrize("name", CHAINS)
def test_noisy_chains_have_the_variance_and_the_memory_of_their_formula(name):
    """Both within 4.5 standard errors of 2 N normals, at few steps, where a chain is not exact."""
    times, x = log_snr_times(PROCESS, 6), GAUSSIAN.start(N, 0)
    mean, noise = CHAINS[name]
    got = end(peer(name), times, GAUSSIAN, x=x, seed=3)
    variance, factor = chain_variance(times, mean, noise)
    assert float(got.square().mean()) == pytest.approx(variance, rel=4.5 / math.sqrt(N))
    residual = (got - factor * x).square().mean()
    alone = variance - factor**2 * (1 + PROCESS.t_max**2)
    assert float(residual) == pytest.approx(alone, rel=4.5 / math.sqrt(N))


@pytest.mark.parametrize("name", [one.name for one in NOISY])
def test_noisy_solvers_end_in_the_law_and_forget_their_start(name):
    """The variance of the data and, as in the forward run, no memory; PC has little noise."""
    one, x = ALL[name], GAUSSIAN.start(N, 0)
    got = end(one, log_snr_times(PROCESS, 60 // one.stages), GAUSSIAN, x=x, seed=1)
    exact, spread = 1 + PROCESS.t_min**2, 4.5 / math.sqrt(N)
    bias = 0.15 if name in CHAINS else 0.0  # their chains at 60 steps are a step's order away
    assert float(got.square().mean()) == pytest.approx(exact, rel=spread + bias)
    if name not in ("PC (azula)", "multistep, eta 0.35", "multistep, eta 0.5"):
        memory = float((got * x).mean() / got.std() / x.std())
        assert memory < math.sqrt(exact / (1 + PROCESS.t_max**2)) + spread


def test_same_seed_gives_the_same_noise_and_leaves_torch_alone():
    times, x = log_snr_times(PROCESS, 4), GAUSSIAN.start(9, 0)
    for one in NOISY:
        state = torch.random.get_rng_state()
        a, b, c = (end(one, times, GAUSSIAN, x=x, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(a, b), one.name
        assert not torch.equal(a, c), one.name
        assert torch.equal(state, torch.random.get_rng_state()), one.name


# ---------------------------------------------------------------------- coordinates, packages


@pytest.mark.parametrize("name", [n for n, one in ALL.items() if one.coordinates[0] in "xz"])
def test_process_does_not_matter_to_peers(name):
    """At equal levels the cloud x / alpha is the same under every process."""
    one, ends = ALL[name], []
    levels, y = PROCESS.noise_level(angle_times(PROCESS, 6)), EIGHT.start(10, 0)
    for process in (PROCESS, sf.VP(t_min=1e-5)):
        times = process.time_of(levels)
        alpha, field = process(times).alpha, sf.ExactField(process, EIGHT.data)
        sde = one.sde(EIGHT, field, 6)
        got = one.solve(sde, y * float(alpha[0]), times, 3)
        ends.append(got / float(alpha[-1]))
    assert off(*ends) < 2e-6


def test_level_outside_of_the_span_is_refused():
    run = Levels.of(sf.reverse(EIGHT.field, 0.0), log_snr_times(PROCESS, 4))
    x = EIGHT.start(3, 0)
    assert off(run.data(x, PROCESS.t_max * (1 + 1e-12)), run.data(x, PROCESS.t_max)) < 1e-9
    for rho in (PROCESS.t_max * 1.01, PROCESS.t_min / 2, math.nan):
        with pytest.raises(ValueError, match="outside"):
            run.data(x, rho)
    with pytest.raises(TypeError, match="SDE of a field"):
        Levels.of(sf.sdes.brownian(), log_snr_times(PROCESS, 4))


@pytest.mark.parametrize(("package", "module"), OPTIONAL.items())
def test_missing_package_is_skipped_with_a_sentence_that_names_the_cure(
    package, module, monkeypatch
):
    for name in {module, *(n for n in sys.modules if n.startswith(f"{module}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    file = Path(contenders.PEERS[package].__file__)
    spec = importlib.util.spec_from_file_location("fresh", file)
    fresh = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fresh", fresh)
    spec.loader.exec_module(fresh)
    assert "pip install" in fresh.SKIPPED
    assert module.split(".")[0] in fresh.SKIPPED
    assert fresh.FLOWS == fresh.NOISY == []


def test_packages_are_run_or_skipped():
    ran = {one.package for one in ALL.values()} - {"sdeflow"}
    assert ran | set(SKIPPED) == set(contenders.PEERS)
    assert not ran & set(SKIPPED)
    assert {"torchsde", "torchdiffeq"} <= ran


def test_sampler_files_leave_no_stand_in_behind(tmp_path, monkeypatch):
    """A package whose `__init__` would fail, and whose file names a tool that is not there."""
    package = tmp_path / "heavy"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('the tools of training')\n")
    (package / "sampling.py").write_text(
        "import no_such_tool\nfrom no_such_tool.part import Thing\nfrom . import other\n"
        "def f():\n    return other.ONE\n"
    )
    (package / "other.py").write_text("ONE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    unused = ("no_such_tool", "no_such_tool.part")
    assert loading.sampler_file("heavy.sampling", unused).f() == 1
    assert not {"heavy", "heavy.other", *unused} & set(sys.modules)
    with pytest.raises(ModuleNotFoundError):
        loading.sampler_file("heavy.sampling")
    with pytest.raises(ModuleNotFoundError):
        loading.sampler_file("no_such_package.sampling")
