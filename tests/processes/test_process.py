"""Processes: schedules, rates, inverse, the noising SDE, and the literature."""

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import Tensor

import sdeflow as sf
from tests.problems import PROCESSES, close, f64, randn, times_of

VARIANCE_PRESERVING = [name for name in PROCESSES if name not in ("SubVP", "VE", "EDM", "Linear")]
parts = st.floats(0.0, 1.0)


def between(process: sf.processes.Process, part: float) -> Tensor:
    """The time at this fraction of the interval."""
    t = process.t_min + part * (process.t_max - process.t_min)
    return f64(t)


def slope(f, t: Tensor) -> Tensor:
    t = t.clone().requires_grad_()
    return torch.autograd.grad(f(t).sum(), t)[0]


# ----------------------------------------------------------------------------------- the schedules


@pytest.mark.parametrize("name", PROCESSES)
@given(part=parts)
def test_rates_are_derivatives_of_the_schedules(name: str, part: float) -> None:
    process = PROCESSES[name]
    t = between(process, part)
    c = process(t)
    for rate, i in ((c.alpha_dot, 0), (c.sigma_dot, 1)):
        t_ = t.clone().requires_grad_()
        value = process(t_)[i]
        want = torch.zeros_like(t)
        if value.requires_grad:
            want = torch.autograd.grad(value, t_, allow_unused=True)[0]
        assert torch.allclose(rate, want, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", PROCESSES)
@given(part=parts)
def test_time_is_the_inverse_of_log_snr(name: str, part: float) -> None:
    process = PROCESSES[name]
    t = between(process, part)
    assert abs(float(process.time(process.log_snr(t)) - t)) < 1e-9 * process.t_max


def test_time_accepts_a_row_of_times(process: sf.processes.Process) -> None:
    t = times_of(process, 11)
    assert close(process.time(process.log_snr(t)), t, 1e-9)
    for mine, one in zip(
        process(t)[:2], zip(*(process(s)[:2] for s in t), strict=True), strict=True
    ):
        assert close(mine, torch.stack(one), 1e-15)


def test_time_is_the_inverse_of_log_snr_at_constant_beta() -> None:
    """beta_min = beta_max, where the quadratic equation for t becomes linear."""
    for process in (
        sf.VP(beta_min=2.0, beta_max=2.0),
        sf.processes.SubVP(beta_min=2.0, beta_max=2.0),
    ):
        t = times_of(process, 11)
        assert close(process.time(process.log_snr(t)), t, 1e-9)


def test_log_snr_falls_strictly_from_data_to_noise(process: sf.processes.Process) -> None:
    t = torch.linspace(process.t_min, process.t_max, 2001, dtype=torch.float64)
    snr = process.log_snr(t)
    assert (snr.diff() < 0).all()
    assert snr[0] > 6  # nearly clean: sigma / alpha below e^-3
    assert snr[-1] < -4.6  # nearly noise: sigma / alpha above 10 (VE's own choice)
    c = process(t)
    assert close(snr, torch.log(c.alpha**2 / c.sigma**2), 1e-9)


def test_sigma_in_float32_is_accurate_near_the_data(process: sf.processes.Process) -> None:
    """Entry by entry; 1 - alpha^2 would lose digits near the data."""
    t = times_of(process, 200).float()
    assert torch.allclose(process(t).sigma.double(), process(t.double()).sigma, rtol=1e-6)


@pytest.mark.parametrize("name", VARIANCE_PRESERVING)
@given(part=parts)
def test_variance_preserving_schedules_preserve_variance(name: str, part: float) -> None:
    c = PROCESSES[name](between(PROCESSES[name], part))
    assert float(c.alpha**2 + c.sigma**2) == pytest.approx(1, abs=1e-12)
    assert float(c.alpha * c.alpha_dot + c.sigma * c.sigma_dot) == pytest.approx(0, abs=1e-10)


def test_alpha_is_one_and_sigma_zero_at_time_zero() -> None:
    """alpha(0) = 1 and sigma(0) = 0; VE starts at sigma_min, and a table has no time zero."""
    for name in ("VP", "SubVP", "EDM", "Linear", "Cosine"):
        c = replace(PROCESSES[name], t_min=1e-15)(1e-15)
        assert float(c.alpha) == pytest.approx(1, abs=1e-13)
        assert float(c.sigma) == pytest.approx(0, abs=1e-7)
    c = sf.VE(sigma_min=0.03)(torch.zeros((), dtype=torch.float64))
    assert (float(c.alpha), float(c.sigma)) == pytest.approx((1, 0.03))


# ---------------------------------------------------------------------------------- the linear SDE


@pytest.mark.parametrize("name", PROCESSES)
@given(part=parts)
def test_drift_and_diffusion_satisfy_the_moment_equations(name: str, part: float) -> None:
    """d alpha / dt = f alpha and d sigma^2 / dt = 2 f sigma^2 + g^2, the slopes by autograd."""
    process = PROCESSES[name]
    t = between(process, part)
    f, g2 = process.drift(t), process.diffusion(t) ** 2
    sigma2 = process(t).sigma ** 2
    still = name in ("VE", "EDM")
    assert float(f) == (
        0
        if still
        else pytest.approx(float(slope(lambda t: torch.log(process(t).alpha), t)), rel=1e-9)
    )
    want = slope(lambda t: process(t).sigma ** 2, t)
    terms = max(abs(float(2 * f * sigma2)), float(g2))
    assert float(2 * f * sigma2 + g2) == pytest.approx(float(want), abs=1e-9 * terms)
    assert g2 > 0


def test_moment_equations_integrate_to_the_schedules(process: sf.processes.Process) -> None:
    """scipy integrates (ln alpha, sigma^2) from t_min to t_max, given f and g alone."""
    ends = f64([process.t_min, process.t_max])

    def rate(t: float, y: np.ndarray) -> list[float]:
        now = f64(t)
        f, g2 = float(process.drift(now)), float(process.diffusion(now)) ** 2
        return [f, 2 * f * y[1] + g2]

    first, last = process(ends).alpha.log(), process(ends).sigma ** 2
    out = integrate.solve_ivp(
        rate, ends.tolist(), [float(first[0]), float(last[0])], "LSODA", rtol=1e-7, atol=1e-9
    )
    assert out.y[0, -1] == pytest.approx(float(first[1]), rel=1e-4, abs=1e-7)
    assert out.y[1, -1] == pytest.approx(float(last[1]), rel=1e-4)


def test_noising_in_two_steps_equals_noising_in_one(process: sf.processes.Process) -> None:
    """Through the SDE's own kernel from s to t, x_t = e^F x_s + N(0, int e^2F_u g_u^2 du)."""
    s, t = times_of(process, 4).flip(0)[1:3]
    (as_, ss), (at, st_) = (map(float, process(v)[:2]) for v in (s, t))

    nodes, weights = np.polynomial.legendre.leggauss(40)

    def rule(f: Callable[[float], float], u: float) -> float:
        """int_u^t f, by Gauss and Legendre."""
        half = float(t - u) / 2
        return half * sum(w * f(u + half * (1 + v)) for v, w in zip(nodes, weights, strict=True))

    def f(u: float) -> float:
        return float(process.drift(f64(u)))

    def gain(u: float) -> float:
        return math.exp(rule(f, u))

    def noise(u: float) -> float:
        return gain(u) ** 2 * float(process.diffusion(f64(u))) ** 2

    # A table has a kink of f at each of its knots, which a smooth rule does not see.
    rel = 1e-5 if isinstance(process, sf.processes.Tabulated) else 1e-9
    assert gain(float(s)) * as_ == pytest.approx(at, rel=rel)
    assert gain(float(s)) ** 2 * ss**2 + rule(noise, float(s)) == pytest.approx(st_**2, rel=rel)


# ---------------------------------------------------------------------------------- the literature


@given(part=parts, low=st.floats(0.01, 1.0), high=st.floats(2.0, 30.0))
def test_vp_and_subvp_equal_those_of_song(part: float, low: float, high: float) -> None:
    """Song et al. 2021, eq. 11, 14: f = -beta / 2, g^2 = beta, or beta (1 - e^(-2 int beta))."""
    vp, sub = (kind(beta_min=low, beta_max=high) for kind in (sf.VP, sf.processes.SubVP))
    t = between(sub, part)

    def beta(u: float) -> float:
        return low + u * (high - low)

    now = beta(float(t))
    total = integrate.quad(beta, 0, float(t))[0]
    for process, g2 in ((vp, now), (sub, now * (1 - math.exp(-2 * total)))):
        assert float(process.drift(t)) == pytest.approx(-now / 2, rel=1e-12)
        assert float(process.diffusion(t)) ** 2 == pytest.approx(g2, rel=1e-9)
        assert float(process(t).alpha) == pytest.approx(math.exp(-total / 2), rel=1e-12)
    assert float(sub(t).sigma) == pytest.approx(1 - math.exp(-total), rel=1e-9)


@given(part=parts)
def test_ve_equals_that_of_song_and_edm_that_of_karras(part: float) -> None:
    """g = sigma sqrt(2 ln(sigma_max / sigma_min)), eq. 30; Karras et al.: dx = sqrt(2 t) dW."""
    ve, edm = sf.VE(sigma_min=0.02, sigma_max=50.0), sf.EDM()
    t = between(ve, part)
    sigma = 0.02 ** (1 - part) * 50**part
    assert float(ve(t).sigma) == pytest.approx(sigma, rel=1e-12)
    assert float(ve.diffusion(t)) == pytest.approx(sigma * math.sqrt(2 * math.log(2500)), rel=1e-9)
    t = between(edm, part)
    assert float(edm.diffusion(t)) == pytest.approx(math.sqrt(2 * float(t)), rel=1e-12)


def test_ve_default_equals_that_of_the_lecture() -> None:
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    assert close(sf.VE()(t).sigma, 10 ** (3 * t - 2), 1e-12)


def test_linear_moves_at_constant_velocity() -> None:
    """Velocity eps - x_0 at every time, so x_t moves from x_0 to eps at constant speed."""
    t = times_of(sf.Linear(), 5)
    x0, eps = randn(5, 2), randn(5, 2, seed=1)
    x = sf.Linear().perturb(x0, t, eps)
    assert close((x - x0) / t[:, None], eps - x0, 1e-11)


def test_table_reaches_clean_data_at_zero() -> None:
    """Below t = 1 sigma is t sigma(1), variance preserved; the table itself does not move."""
    table = sf.processes.Tabulated.stable_diffusion()
    longer = replace(table, t_min=0.0)
    t = f64([0.0, 0.25, 0.999999, 1.0])
    c = longer(t)
    assert torch.allclose(c.sigma, t * table(1.0).sigma, rtol=1e-12, atol=0)
    assert torch.allclose(c.alpha**2 + c.sigma**2, torch.ones_like(t))
    assert torch.allclose(c.alpha * c.alpha_dot + c.sigma * c.sigma_dot, f64([0.0]), atol=1e-15)
    assert torch.allclose(longer.time_of(longer.noise_level(t)), t, atol=1e-9)
    inside = f64([1.0, 2.5, 1000.0])
    assert all(map(torch.equal, longer(inside), table(inside)))


@pytest.mark.parametrize(
    ("table", "options"),
    [
        (sf.processes.Tabulated.ddpm(), {"beta_schedule": "linear"}),
        (
            sf.processes.Tabulated.stable_diffusion(),
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        ),
    ],
    ids=["DDPM", "StableDiffusion"],
)
def test_tables_equal_those_of_diffusers(table: sf.processes.Tabulated, options: dict) -> None:
    """Its timestep k is our t = k + 1; it accumulates in float32."""
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDPMScheduler(**options).alphas_cumprod.double()
    k = torch.arange(1000, dtype=torch.float64)
    assert torch.allclose(table(k + 1).alpha ** 2, theirs, rtol=5e-5)


def test_cosine_equals_that_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.double()
    k = torch.arange(1, 990, dtype=torch.float64)  # before its cap on beta
    assert torch.allclose(sf.processes.Cosine()(k / 1000).alpha ** 2, theirs[:989], rtol=1e-4)


def test_tables_have_the_published_first_and_last_entries() -> None:
    one, last = f64([1.0, 1000.0])
    assert float(sf.processes.Tabulated.ddpm()(last).alpha ** 2) == pytest.approx(
        4.036e-5, rel=2e-4
    )
    assert float(sf.processes.Tabulated.ddpm()(one).alpha ** 2) == pytest.approx(
        1 - 1e-4, rel=1e-12
    )
    for t, want in ((one, 0.0292), (last, 14.61)):
        c = sf.processes.Tabulated.stable_diffusion()(t)
        assert float(c.sigma / c.alpha) == pytest.approx(want, rel=2e-3)


@given(st.lists(st.floats(1e-4, 0.3), min_size=2, max_size=30))
def test_tabulated_process_equals_its_table_at_whole_times(betas: list[float]) -> None:
    bars = [math.prod(1 - b for b in betas[: k + 1]) for k in range(len(betas))]
    process = sf.processes.Tabulated.from_betas(f64(betas))
    t = torch.arange(1, len(betas) + 1, dtype=torch.float64)
    assert torch.allclose(process(t).alpha ** 2, f64(bars), rtol=1e-11)
    assert (process.t_min, process.t_max) == (1, len(betas))
    assert (process.log_snr(torch.linspace(1, len(betas), 301).double()).diff() < 0).all()


def test_betas_are_multiplied_in_float64() -> None:
    """A table of float32 betas equals that of the same numbers in float64."""
    betas = torch.linspace(1e-4, 0.02, 1000)
    assert sf.processes.Tabulated.from_betas(betas) == sf.processes.Tabulated.from_betas(
        betas.double()
    )


def test_ddpm_tables_converge_to_vp_with_the_number_of_steps() -> None:
    """beta_k = beta(k / T) / T: ln alpha is off by O(1 / T)."""
    t = torch.linspace(0.1, 1.0, 10, dtype=torch.float64)
    off = []
    for steps in (1000, 4000):
        table = sf.processes.Tabulated.ddpm(steps, 0.1 / steps, 20.0 / steps)
        off.append((table(t * steps).alpha.log() - sf.VP()(t).alpha.log()).abs().max())
    assert off[0] < 0.05  # of 5
    assert float(off[0] / off[1]) == pytest.approx(4, rel=0.02)


# --------------------------------------------------------------------------- noising and the prior


def test_perturb_scales_data_and_noise_and_adds_them(process: sf.processes.Process) -> None:
    """Linear in x_0 and in eps, with variances alpha^2 and sigma^2; one time, or one each."""
    n = 20_000
    t = times_of(process, 3)[1]
    c = process(t)
    x0, eps = torch.full((n, 2), 3.0, dtype=torch.float64), randn(n, 2)
    x = process.perturb(x0, t, eps)
    assert (
        stats.kstest(x.flatten().numpy(), "norm", (3 * float(c.alpha), float(c.sigma))).pvalue
        > 1e-3
    )
    each = times_of(process, 6)
    x0, eps = randn(6, 2, seed=1), randn(6, 2, seed=2)
    rows = [process.perturb(x0[i : i + 1], each[i], eps[i : i + 1]) for i in range(6)]
    assert torch.allclose(process.perturb(x0, each, eps), torch.cat(rows), rtol=1e-12)
    mean = process.perturb(x0, t, 0 * eps)
    assert torch.allclose(process.perturb(x0, t, eps) - mean, process.perturb(0 * x0, t, eps))


def test_perturb_has_the_rates_as_time_derivative(process: sf.processes.Process) -> None:
    """At fixed (x_0, eps), d x_t / dt = alpha_dot x_0 + sigma_dot eps."""
    t = times_of(process, 3)[1]
    x0, eps = randn(4, 2), randn(4, 2, seed=1)
    rate = torch.autograd.functional.jacobian(lambda t: process.perturb(x0, t, eps), t)
    c = process(t)
    assert close(c.alpha_dot * x0 + c.sigma_dot * eps, rate, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prior_is_normal_with_sigma_at_t_max(
    process: sf.processes.Process, dtype: torch.dtype
) -> None:
    sigma = float(process(f64(process.t_max)).sigma)
    x = process.prior(5000, 2, seed=1, dtype=dtype)
    assert (x.shape, x.dtype) == ((5000, 2), dtype)
    assert stats.kstest(x.flatten().double().numpy(), "norm", (0, sigma)).pvalue > 1e-3
    assert torch.equal(process.prior(1234, 2, seed=1, dtype=dtype), x[:1234])
    assert not torch.isclose(process.prior(1234, 2, seed=2, dtype=dtype), x[:1234]).any()
    assert process.prior(2, 2, 0).dtype == torch.get_default_dtype()


def test_prior_of_one_seed_is_the_same_for_all_processes_in_units_of_sigma(
    process: sf.processes.Process,
) -> None:
    """Of one seed, for all processes: x / sigma(t_max) = z, to all the digits of float64."""
    sigma = process(f64(process.t_max)).sigma
    other = sf.EDM(t_max=64.0)
    x = process.prior(100, 2, 5, dtype=torch.float64)
    assert close(x / sigma, other.prior(100, 2, 5, dtype=torch.float64) / 64, 1e-14)
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.equal(process.prior(100, 2, 5), x)
    finally:
        torch.set_default_dtype(default)


SHORT = {
    "DDPM in 10 steps": sf.processes.Tabulated.ddpm(10),
    "DDPM in 100 steps": sf.processes.Tabulated.ddpm(100),
    "VP to 0.3": replace(sf.VP(), t_max=0.3),
    "straight path to 0.5": sf.Linear(t_max=0.5),
}


def test_prior_is_silent_where_it_is_right_and_warns_where_it_is_not(
    process: sf.processes.Process,
) -> None:
    """SNR(t_max) of the processes as they come is at most 0.01; warnings are errors here."""
    assert float(process.log_snr(process.t_max)) < math.log(0.0101)
    process.prior(2, 2, 0)


@pytest.mark.parametrize("name", SHORT)
def test_prior_of_a_short_process_says_what_is_missing(name: str) -> None:
    short = SHORT[name]
    alpha = float(short(short.t_max).alpha)
    with pytest.warns(UserWarning, match=rf"alpha is {alpha:.3g} at the end.*data=") as said:
        short.prior(2, 2, 0)
    assert "\n" not in str(said[0].message)


@pytest.mark.parametrize("name", SHORT)
def test_prior_of_the_data_is_the_distribution_at_t_max(name: str) -> None:
    """N(m, s^2) becomes N(alpha m, alpha^2 s^2 + sigma^2), and the flow leads back to it."""
    short, data = SHORT[name], sf.GaussianMixture.isotropic(f64([[1.0, -2.0]]), 3.0)
    c = short(short.t_max)
    x = short.prior(8000, 2, 1, torch.float64, data=data)
    size = math.hypot(3 * float(c.alpha), float(c.sigma))
    z = (x - c.alpha * data.mean()) / size
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    assert torch.equal(short.prior(100, 2, 1, torch.float64, data=data), x[:100])
    flow = sf.reverse(sf.ExactField(short, data), 0.0)
    end = sf.ODESolver("heun2", 20).solve(flow, x).x[-1]
    assert float(end.std(0).mean()) == pytest.approx(3.0, abs=0.1)


def test_prior_draws_data_from_a_cloud_apart_from_the_noise() -> None:
    """Rows of the cloud; not the draws of the same seed, which it may be compared with."""
    short, cloud = SHORT["DDPM in 10 steps"], randn(50, 2)
    alpha, sigma = (float(v) for v in short(short.t_max)[:2])
    x = short.prior(500, 2, 3, torch.float64, data=cloud)
    noise = sf.EDM().prior(500, 2, 3, torch.float64) / 80
    x0 = (x - sigma * noise) / alpha
    distance, row = (x0[:, None] - cloud).norm(dim=-1).min(1)
    assert float(distance.max()) < 1e-12
    assert len(row.unique()) > 45
    data = sf.datasets.ring()
    same = short.prior(500, 2, 3, torch.float64, data=data)
    off = (same - sigma * noise) / alpha - data.sample(500, 3, torch.float64)
    assert float(off.norm(dim=1).median()) > 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (sf.GaussianMixture, "got GaussianMixture"),
        (sf.datasets.ring, "got function"),
        ([[1.0, 2.0]], "got list"),
        (torch.zeros(3, 5), "data must have dimension 2, got 5"),
        (sf.GaussianMixture.isotropic(f64([[0.0]]), 1.0), "data has dimension 1, but d is 2"),
    ],
)
def test_prior_refuses_data_that_are_none(data, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        sf.VP().prior(4, 2, 0, data=data)


# --------------------------------------------------------------------------------- wrong arguments


def test_times_outside_the_interval_are_refused(process: sf.processes.Process) -> None:
    x = randn(3, 2)
    for t in (process.t_max * 1.001, process.t_min - 2e-3, float("nan"), -1.0):
        with pytest.raises(ValueError, match=r"outside .* where this \w+ process is defined"):
            process.perturb(x, t, x)
    for t in (process.t_min, process.t_max):  # the ends belong to it, also once rounded
        assert torch.isfinite(process.perturb(x.float(), torch.tensor(t), x.float())).all()
        assert torch.isfinite(process.perturb(x, t, x)).all()
        once_rounded = torch.tensor(t)
        assert torch.isfinite(process.perturb(x, once_rounded, x)).all()
        assert torch.isfinite(process.perturb(x.float(), float(once_rounded), x.float())).all()
    for bad in (torch.full((2,), process.t_max), torch.full((3, 1), process.t_max)):
        with pytest.raises(ValueError, match=r"t must be \(\) or \(3,\)"):
            process.perturb(x, bad, x)


QUESTIONS = ("__call__", "log_snr", "noise_level", "drift", "diffusion")


@pytest.mark.parametrize("ask", QUESTIONS)
def test_no_process_answers_outside_of_its_interval(
    process: sf.processes.Process, ask: str
) -> None:
    """A table was extrapolated, a formula went on."""
    for t in (process.t_max * 1.001, process.t_min - 2e-3, math.nan, math.inf):
        for time in (t, f64(t), f64([process.t_max, t]), torch.tensor(t)):
            with pytest.raises(ValueError, match=r"outside .* give times inside it"):
                getattr(process, ask)(time)


def test_table_of_ddpm_ends_at_1000() -> None:
    with pytest.raises(ValueError, match=r"t = 1001 lies outside \[1, 1000\]"):
        sf.processes.Tabulated.ddpm()(1001)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_ends_that_were_rounded_belong_to_the_interval(
    process: sf.processes.Process, dtype: torch.dtype
) -> None:
    """The coefficients are those of the end itself, in the type of t, and differentiable."""
    for end in (process.t_min, process.t_max):
        t = torch.tensor(end, dtype=dtype).requires_grad_()
        got, sure = process(t), process(end)
        assert all(c.dtype == dtype and torch.isfinite(c) for c in got)
        if not process.t_min <= t.item() <= process.t_max:
            assert torch.equal(torch.stack(got), torch.stack(sure).to(dtype))
        if dtype != torch.bfloat16:
            rate = torch.autograd.grad(got.sigma, t)[0]
            assert float(rate) == pytest.approx(got.sigma_dot.item(), rel=0.05)


def test_end_that_was_float32_once_belongs_to_the_interval(process: sf.processes.Process) -> None:
    for end in (process.t_min, process.t_max):
        once = torch.tensor(end).double()
        assert torch.isfinite(torch.stack(process(once))).all()
        assert torch.isfinite(torch.stack(process(float(once)))).all()


def test_end_that_float32_cannot_tell_from_one_is_exact() -> None:
    """float32(1 - 1e-9) = 1, where alpha is 0 and the rate of the straight path infinite."""
    for process in (sf.Linear(t_max=1 - 1e-9), sf.processes.Cosine(t_max=1 - 1e-9)):
        c = process(torch.tensor(process.t_max, dtype=torch.float32))
        assert c.alpha.dtype == torch.float32
        assert torch.equal(c.alpha, process(process.t_max).alpha.float())
        assert torch.isfinite(process.drift(torch.tensor(1.0)))


@pytest.mark.parametrize(
    "wrong",
    [
        "0.5",
        None,
        True,
        2j,
        sf.VP,
        torch.tensor(True),
        {},
        np.array([0.5 + 0.1j]),
        np.array([True]),
    ],
)
@pytest.mark.parametrize("ask", [*QUESTIONS, "time", "time_of"])
def test_process_refuses_times_that_are_no_numbers(ask: str, wrong) -> None:
    with pytest.raises(TypeError, match="must be real numbers, in a tensor, an array or a list"):
        getattr(sf.VP(), ask)(wrong)


def test_process_takes_lists_and_arrays_in_float64() -> None:
    times = [0.1, 0.7]
    for ask in (*QUESTIONS, "time", "time_of"):
        sure = getattr(sf.VP(), ask)(f64(times))
        for same in (times, np.array(times), tuple(times)):
            got = getattr(sf.VP(), ask)(same)
            for a, b in zip(got, sure, strict=True):
                assert torch.equal(a, b)
    with pytest.raises(ValueError, match="noise_level must be zero or more, got -1"):
        sf.VP().time_of(-1.0)


@pytest.mark.parametrize(
    "change",
    [{"t_max": 0.3}, {"t_min": 0.2}, {"beta_max": 5.0}, {"beta_min": 1.0}],
    ids=lambda c: next(iter(c)),
)
def test_replaced_constant_makes_the_process_that_has_it(change: dict) -> None:
    assert replace(sf.VP(), **change) == sf.VP(**change)
    table = sf.processes.Tabulated.ddpm(20)
    table(5.0)  # works out its cubic
    longer = replace(table, alpha_bar=sf.processes.Tabulated.ddpm(40).alpha_bar, t_max=40.0)
    assert torch.equal(longer(30.5).alpha, sf.processes.Tabulated.ddpm(40)(30.5).alpha)


def test_times_beyond_the_ends_by_rounding_are_accepted(process: sf.processes.Process) -> None:
    """A float64 time may miss an end by float64's rounding, a float32 one by float32's."""
    x, span = randn(3, 2), process.t_max - process.t_min
    for dtype, off in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        for t in (process.t_max + off * span, process.t_min - off * span):
            with pytest.raises(ValueError, match="outside"):
                process.perturb(x.to(dtype), torch.tensor(t, dtype=dtype), x.to(dtype))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sf.VP(beta_min=0.0), "beta_min must be positive"),
        (lambda: sf.VP(beta_min=2.0, beta_max=1.0), "beta_min 2.0 must not exceed beta_max 1.0"),
        (
            lambda: sf.processes.SubVP(beta_max=float("inf")),
            "beta_max must be positive and finite",
        ),
        (lambda: sf.VE(sigma_min=-0.1), "sigma_min must be positive"),
        (lambda: sf.VE(sigma_min=2.0, sigma_max=1.0), "must lie below sigma_max"),
        (lambda: sf.processes.Cosine(s=-0.1), "s must be zero or more"),
        (lambda: sf.EDM(t_min=3.0, t_max=2.0), "t_min must lie below t_max"),
        (lambda: sf.Linear(t_min=-0.1), "t_min must be zero or more"),
        (lambda: sf.VP(t_max=float("nan")), "t_max must be positive and finite"),
        (lambda: sf.processes.Tabulated((0.9,)), "at least two numbers"),
        (lambda: sf.processes.Tabulated.from_betas(0.5), r"a row of numbers \(T,\), got \(\)"),
        (lambda: sf.processes.Tabulated.ddpm(1), "steps must be at least 2"),
        (lambda: sf.processes.Tabulated.ddpm(10, 0.0), "beta_min must be positive"),
        (lambda: sf.processes.Tabulated((0.5, 0.9)), "must fall strictly"),
        (lambda: sf.processes.Tabulated((0.9, 0.9)), "must fall strictly"),
        (lambda: sf.processes.Tabulated((0.9, 0.5, 0.0)), "between 0 and 1"),
        (lambda: sf.processes.Tabulated((1.0, 0.5)), "between 0 and 1"),
        (lambda: sf.processes.Tabulated((0.9, float("nan"))), "between 0 and 1"),
        (lambda: sf.processes.Tabulated((0.9, 0.5), t_max=3.0), "times up to 2"),
        (lambda: sf.processes.Tabulated((0.9, 0.5), t_max=0.5), "t_min must lie below t_max"),
        (lambda: sf.VP().prior(0, 2, 0), "n must be at least 1"),
        (lambda: sf.VP().prior(2, 0, 0), "d must be at least 1"),
        (lambda: sf.VP().prior(2, 2, -1), "seed must be at least 0"),
        (lambda: sf.VP().prior(2, 2, 2**64), r"seed must be below 2\^64"),
    ],
)
def test_wrong_constants_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_time_is_as_precise_as_the_cloud(process: sf.processes.Process) -> None:
    """A plain float, or a float32 time, is not worked out in float32 for a float64 cloud."""
    x, eps = randn(3, 2), randn(3, 2, seed=1)
    t = times_of(process, 3)[1]
    assert torch.equal(process.perturb(x, float(t), eps), process.perturb(x, t, eps))
    rounded = t.float()
    assert torch.equal(process.perturb(x, rounded, eps), process.perturb(x, rounded.double(), eps))
    whole = torch.tensor(2)
    if process.t_max > 2:
        assert torch.equal(process.perturb(x, whole, eps), process.perturb(x, 2.0, eps))


def test_constants_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="beta_min must be a number"):
        sf.VP(beta_min="small")
    with pytest.raises(TypeError, match="n must be a whole number"):
        sf.VP().prior(2.5, 2, 0)
    with pytest.raises(TypeError, match="dtype must be a floating-point type of torch"):
        sf.VP().prior(2, 2, 0, "float32")
    with pytest.raises(TypeError, match="alpha_bar must be real numbers"):
        sf.processes.Tabulated("ddpm")
    with pytest.raises(TypeError, match="steps must be a whole number"):
        sf.processes.Tabulated.stable_diffusion(2.5)
    with pytest.raises(TypeError, match="eps must be a floating-point tensor"):
        sf.VP().perturb(randn(2, 2), 0.5, None)
    with pytest.raises(TypeError, match="x must be a cloud, a tensor"):
        sf.VP()(0.5).along([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: sf.Linear(t_max=1.0), "Linear"),
        (lambda: sf.Linear(t_max=2.0), "Linear"),
        (lambda: sf.VP(t_min=0.0), "VP"),
        (lambda: sf.VP(t_max=1000.0), "VP"),
        (lambda: sf.VE(t_max=400.0), "VE"),
        (lambda: sf.processes.Cosine(t_min=0.0), "Cosine"),
        (lambda: sf.processes.Cosine(t_max=1.1), "Cosine"),
        (lambda: sf.processes.Cosine(t_max=8.5, s=1.0), "Cosine"),  # alpha > 0 at both ends
    ],
)
def test_intervals_with_infinite_rates_are_refused(make, name: str) -> None:
    """An interval may start at the data, if the rates are finite there."""
    with pytest.raises(ValueError, match=f"a {name} process is not defined from t_min") as said:
        make()
    assert "\n" not in str(said.value)
    assert sf.Linear(t_min=0.0)(0.0).sigma == 0
    assert sf.VE().t_min == 0
    with pytest.raises(ValueError, match="s must be at most 1000, got 1e"):
        sf.processes.Cosine(s=1e12)


@pytest.mark.parametrize("text", ["10", b"10", True])
def test_text_and_booleans_are_refused_as_constants(text) -> None:
    with pytest.raises(TypeError, match="must be a number"):
        sf.VE(sigma_max=text)


@pytest.mark.parametrize("number", [np.float32(5), np.int64(5), torch.tensor(5.0), 5])
def test_constants_are_stored_as_plain_floats(number) -> None:
    """A file holds them as JSON."""
    for process in (sf.VE(sigma_max=number), sf.VP(beta_max=number), sf.EDM(t_max=number)):
        assert {type(v) for v in vars(process).values()} == {float}
        assert json.loads(json.dumps(vars(process))) == vars(process)
    assert sf.VE(sigma_max=number) == sf.VE(sigma_max=5.0)


def test_plain_number_is_a_time_in_float64(process: sf.processes.Process) -> None:
    t = times_of(process, 3)[1]
    for got, sure in zip(process(float(t)), process(t), strict=True):
        assert got.dtype == torch.float64
        assert torch.equal(got, sure)
    for read in (process.drift, process.diffusion, process.log_snr):
        assert torch.equal(read(float(t)), read(t))
    if process.t_max > 1:
        whole = process(torch.tensor([1, int(process.t_max)]))
        sure = process(torch.tensor([1.0, int(process.t_max)]))
        assert all(torch.equal(a, b) for a, b in zip(whole, sure, strict=True))


def test_noise_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"eps must have the shape of x0, \(3, 2\)"):
        sf.VP().perturb(randn(3, 2), 0.5, randn(3, 1))
