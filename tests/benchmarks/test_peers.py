"""The solvers of other packages as the comparison runs them: equal to what they are known to be.

A peer whose package is not installed is skipped; `make bench` installs all but flow_matching.
"""

import itertools
import math

import pytest
import torch

import sdeflow as sf
from benchmarks.solvers import contender
from benchmarks.solvers.contender import Counted
from benchmarks.solvers.contenders import FLOWS, NOISY, SKIPPED
from benchmarks.solvers.peers import azula
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
        ("DPM++ 2M (k-diffusion)", "DPM++ 2M", 16),  # below 15 steps diffusers ends at order 1
    ],
)
def test_methods_that_two_packages_have_are_equal(one, other, steps):
    times = angle_times(PROCESS, steps)
    assert off(end(peer(one), times), end(peer(other), times)) < 1e-11


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
    for a, b in itertools.pairwise(rho):
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

ORDERS = {
    "Heun (diffusers)": 2, "Heun (k-diffusion)": 2, "Heun (azula)": 2, "Heun (EDM)": 2,
    "KDPM2 (diffusers)": 2, "DPM2 (k-diffusion)": 2, "Midpoint (torchcfm)": 2,
    "Midpoint (flow_matching)": 2, "Midpoint (torchdiffeq)": 2, "Heun 3 (flow_matching)": 3,
    "RK4 (torchdiffeq)": 4, "DPM++ 2M": 2, "UniPC 2": 2, "UniPC 3": 3, "DEIS 2": 2,
    "DPM++ 2S": 2, "DPM++ 2M (k-diffusion)": 2, "DPM++ 2S (k-diffusion)": 2,
    "LMS 4 (k-diffusion)": 2, "multistep, default": 2, "IPNDM": 2,
    **{f"{row}AB {k} (azula)": k for row in ("z", "v", "zE", "xE") for k in (2, 3)},
    **{f"REAB {k}, sigma 1 (azula)": k for k in (2, 3)},
}  # fmt: skip


@pytest.mark.parametrize("name", [one.name for one in FLOWS if "dopri5" not in one.name])
def test_order_of_each_peer_is_its_own(name):
    """At least the order that its authors state, up to 0.4, which a multistep start may cost."""
    one, x = ALL[name], EIGHT.start(6, 0)
    if name == "multistep, calibrated":
        pytest.skip("fitted at a number of steps")
    truth, errors, calls = EIGHT.end(x), [], (48, 96)
    for k in calls:
        times = angle_times(PROCESS, k // one.stages)
        errors.append(float((end(one, times, x=x) - truth).square().mean().sqrt()))
    slope = math.log(errors[0] / errors[1]) / math.log(2)
    print(name, errors, slope)
    assert slope > ORDERS.get(name, 1) - 0.4
