"""The exact density solves the Fokker-Planck equation of every SDE; exact steps and drifts.

The exact density of a mixture must solve the Fokker-Planck equation of `forward`, `reverse` and
`comoving`, for every process and every eta. Nothing is simulated: the density comes from
`GaussianMixture.noised`, drift and diffusion are those of the SDE, and torch differentiates. So
what is left is round-off.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.fields.prediction import Row
from sdeflow.processes.process import Coefficients
from tests.problems import close, lopsided, randn, times_of

ETAS = (0.0, 0.5, 1.0, 1.7)
Schedule = Callable[[Tensor], tuple[Tensor, Tensor]]


def of_x(process: sf.processes.Process) -> Schedule:
    """x_t is distributed as alpha x_0 + sigma eps."""
    return lambda t: process(t)[:2]


def of_y(rho: Tensor) -> tuple[Tensor, Tensor]:
    """y = x / alpha at noise level rho is distributed as x_0 + rho eps."""
    return torch.ones_like(rho), rho


def slope(f: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    """df/dt, by autograd."""
    return torch.autograd.functional.jacobian(f, t, vectorize=True)


def fokker_planck(sde: sf.SDE, schedule: Schedule, x: Tensor, t: Tensor) -> Tensor:
    """Terms (3, n) of  0 = dp/dt + div(drift p) -+ sum_i d_i d_i (g_i^2 p) / 2  at x (n, d).

    Run forwards the noise spreads p: minus. Run backwards it spreads p as t falls: plus.
    """
    x = x.detach().requires_grad_()

    def density(t: Tensor) -> Tensor:
        return lopsided().noised(*schedule(t)).log_prob(x).exp()

    p = density(t)
    rate = slope(density, t)

    def derivative(y: Tensor, i: int) -> Tensor:
        return torch.autograd.grad(y.sum(), x, create_graph=True)[0][:, i]

    current = sde.drift(x, t) * p[:, None]
    flow = sum(derivative(current[:, i], i) for i in range(2))
    spread = torch.zeros_like(p)
    if sde.diffusion is not None:
        heat = (sde.diffusion(x, t) ** 2).expand_as(x) * p[:, None] / 2
        spread = sum(derivative(derivative(heat[:, i], i), i) for i in range(2))
    sign = -1 if sde.t_end > sde.t_start else 1
    return torch.stack([rate, flow, sign * spread]).detach()


def violation(sde: sf.SDE, schedule: Schedule, points: int = 20) -> tuple[float, float]:
    """The largest residual of p: absolute, and relative to the largest term at its own point.

    At four times, one in each quarter of the SDE's time grid, and at both ends; at 20 points each,
    drawn from p and from a density twice as wide (its tails).
    """
    grid = sde.times(4)
    part = torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    times = [*(grid[:-1] + part * (grid[1:] - grid[:-1])), grid[0], grid[-1]]
    absolute = relative = 0.0
    for k, t in enumerate(times):
        mixture = lopsided().noised(*schedule(t))
        x = mixture.sample(points, seed=k)
        x[points // 2 :] = mixture.mean() + 2 * (x[points // 2 :] - mixture.mean())
        terms = fokker_planck(sde, schedule, x, t)
        residual = terms.sum(0).abs()
        absolute = max(absolute, float(residual.max()))
        relative = max(relative, float((residual / terms.abs().amax(0)).max()))
        if relative > BROKEN:
            break
    return absolute, relative


# Of rates up to p f, and f is 1000 for Linear and Cosine at t = 0.999: measured, 4e-13 at most.
ABSOLUTE = 1e-11
# Of the largest of the three terms at the same point, so that a small p hides nothing. The worst,
# 1.3e-10, is the flow (eta = 0) of SubVP at t_max: p is all but at rest there, and both terms are
# 1e-6 of the f p that they are made of. Every other SDE keeps 1e-10.
RELATIVE = 1e-8
BROKEN = 1e-2  # six orders above it


def reverse_sdes(process: sf.processes.Process, eta: float) -> list[tuple[sf.SDE, Schedule]]:
    field = sf.ExactField(process, lopsided())
    return [(sf.reverse(field, eta), of_x(process)), (sf.sdes.comoving(field, eta), of_y)]


def test_exact_density_solves_the_fokker_planck_equation_of_the_forward_sde(
    process: sf.processes.Process,
) -> None:
    absolute, relative = violation(sf.forward(process), of_x(process))
    assert absolute < ABSOLUTE
    assert relative < RELATIVE


@pytest.mark.parametrize("eta", ETAS)
def test_exact_density_solves_the_fokker_planck_equation_of_the_reverse_sdes(
    process: sf.processes.Process, eta: float
) -> None:
    for sde, schedule in reverse_sdes(process, eta):
        absolute, relative = violation(sde, schedule)
        assert absolute < ABSOLUTE
        assert relative < RELATIVE


@dataclass(frozen=True, eq=False)
class Scaled(sf.ExactField):
    """An exact field whose every score is off by one factor."""

    factor: float = 1.0

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Callable[[Tensor], Tensor]:
        known = super().at(t, c, like)
        return lambda x: self.factor * known(x)


def scaled(sde: sf.SDE, drift: float = 1.0, diffusion: float = 1.0) -> sf.SDE:
    noise = sde.diffusion
    assert noise is not None
    return replace(
        sde,
        drift=lambda x, t: drift * sde.drift(x, t),
        diffusion=lambda x, t: diffusion * noise(x, t),
    )


@pytest.mark.parametrize(
    "broken",
    [
        lambda sde: scaled(sde, drift=-1.0),
        lambda sde: scaled(sde, drift=2.0),
        lambda sde: scaled(sde, diffusion=2**0.5),  # the 2 of g^2 = 2 sigma (...), twice
        lambda sde: scaled(sde, diffusion=1.05),
        lambda sde: replace(sde, diffusion=None),
        lambda sde: sf.SDE(sde.drift, sde.diffusion, sde.t_end, sde.t_start),
    ],
    ids=["drift reversed", "drift doubled", "2 g^2", "g 5 %", "no noise", "time reversed"],
)
def test_broken_sde_leaves_a_residual(
    process: sf.processes.Process,
    broken: Callable[[sf.SDE], sf.SDE],
    request: pytest.FixtureRequest,
) -> None:
    both = [(sf.forward(process), of_x(process)), *reverse_sdes(process, 0.7)]
    if "drift" in request.node.name and process.drift(torch.tensor(process.t_max)) == 0:
        both = both[1:]  # VE and EDM have no drift forwards: nothing to break
    for sde, schedule in both:
        assert violation(broken(sde), schedule)[1] > BROKEN


@pytest.mark.parametrize("eta", [0.5, 1.7])
def test_broken_eta_or_score_leaves_a_residual(process: sf.processes.Process, eta: float) -> None:
    exact = sf.ExactField(process, lopsided())
    for make, schedule in ((sf.reverse, of_x(process)), (sf.sdes.comoving, of_y)):
        right = make(exact, eta)
        wrong = {
            "eta^2 dropped": replace(right, drift=make(exact, 0.0).drift),
            "eta for eta^2": replace(right, drift=make(exact, eta**0.5).drift),
            "eta dropped": replace(right, diffusion=make(exact, 1.0).diffusion),
            "score reversed": make(Scaled(process, lopsided(), -1.0), eta),
            "score 5 %": make(Scaled(process, lopsided(), 1.05), eta),
        }
        for name, sde in wrong.items():
            assert violation(sde, schedule)[1] > BROKEN, name
        assert violation(make(Scaled(process, lopsided(), 1.05), 0.0), schedule)[1] > BROKEN


# ---------------------------------------------------------- what Fokker-Planck alone does not tell
# (a divergence-free part of the flow does not change p: these compare the drift itself)


def rates(process: sf.processes.Process, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """alpha, sigma, f = d ln alpha / dt, g^2 = sigma^2 d/dt ln(sigma^2 / alpha^2), by autograd."""
    alpha, sigma = process(t)[:2]
    f = slope(lambda t: torch.log(process(t).alpha), t)
    g2 = sigma**2 * slope(lambda t: 2 * torch.log(process(t).sigma / process(t).alpha), t)
    return alpha, sigma, f, g2


@pytest.mark.parametrize("eta", ETAS)
def test_reverse_drift_is_the_forward_drift_less_the_score(
    process: sf.processes.Process, mixture: sf.GaussianMixture, eta: float
) -> None:
    """Anderson 1982; Song et al. 2021, eq. 6 and 13: f x - (1 + eta^2) / 2 g^2 grad ln p."""
    sde = sf.reverse(sf.ExactField(process, mixture), eta)
    for t in times_of(process, 5):
        alpha, sigma, f, g2 = rates(process, t)
        x = (alpha + sigma) * randn(7, 2)
        y = x.clone().requires_grad_()
        score = torch.autograd.grad(mixture.noised(alpha, sigma).log_prob(y).sum(), y)[0]
        assert close(sde.drift(x, t), f * x - (1 + eta**2) / 2 * g2 * score, 1e-9)
        if sde.diffusion is None:
            assert eta == 0
        else:
            assert close(sde.diffusion(x, t) ** 2, eta**2 * g2, 1e-9)


@pytest.mark.parametrize("eta", ETAS)
def test_comoving_equals_reverse_in_rescaled_space_and_time(
    process: sf.processes.Process, mixture: sf.GaussianMixture, eta: float
) -> None:
    """y = x / alpha: dy/dt = (drift - f x) / alpha, and the noise is g / alpha."""
    field = sf.ExactField(process, mixture)
    one, other = sf.reverse(field, eta), sf.sdes.comoving(field, eta)
    assert other.t_start > other.t_end

    def level(t: Tensor) -> Tensor:
        return process(t).sigma / process(t).alpha

    for t in times_of(process, 5):
        alpha, sigma, f, _ = rates(process, t)
        speed = slope(level, t)
        x = (alpha + sigma) * randn(7, 2)
        drift = other.drift(x / alpha, level(t)) * speed
        assert close(drift, (one.drift(x, t) - f * x) / alpha, 1e-9)
        if one.diffusion is not None and other.diffusion is not None:
            noise = other.diffusion(x, level(t)) * speed**0.5
            assert close(noise, one.diffusion(x, t) / alpha, 1e-9)
        assert (one.diffusion is None) == (other.diffusion is None) == (eta == 0)


@pytest.mark.parametrize("row", sf.fields.Prediction)
def test_every_prediction_gives_the_same_drift(
    mixture: sf.GaussianMixture, row: sf.fields.Prediction
) -> None:
    """The drift does not depend on which row the network predicts."""
    process = sf.processes.Cosine()

    class Perfect(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return sf.ExactField(process, mixture).predict(row, x, t)

    exact = sf.ExactField(process, mixture)
    learned = sf.LearnedField(process, Perfect(), predicts=row)
    x = randn(5, 2)
    for t in times_of(process, 4):
        for make in (sf.reverse, sf.sdes.comoving):
            at = t if make is sf.reverse else process(t).sigma / process(t).alpha
            assert close(make(learned, 0.6).drift(x, at), make(exact, 0.6).drift(x, at), 1e-9)


# ------------------------------------------------------------------- the form that solvers step in


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.7])
def test_stepped_sde_equals_the_sde_times_the_step(
    process: sf.processes.Process, mixture: sf.GaussianMixture, eta: float
) -> None:
    """Per unit of the step index: drift dt and diffusion sqrt |dt|, at both ends and inside."""
    field = sf.ExactField(process, mixture)
    for sde in (sf.forward(process), sf.reverse(field, eta), sf.sdes.comoving(field, eta)):
        times = sde.times(4)
        steps = sde.stepped(times, randn(1, 2))
        for k in range(4):
            dt = times[k + 1] - times[k]
            for part in (0.0, 0.5, 1.0):
                t = torch.lerp(times[k], times[k + 1], part)
                x = mixture.sample(5, seed=k) + randn(5, 2, seed=k)
                assert close(steps.drift(k, part, x), sde.drift(x, t) * dt, 1e-12)
                got = steps.diffusion(k, part, x)
                if sde.diffusion is None:
                    assert got is None
                else:
                    want = sde.diffusion(x, t) * dt.abs().sqrt()
                    assert close(torch.as_tensor(got, dtype=torch.float64), want, 1e-12)


@pytest.mark.parametrize("grid", [sf.processes.log_snr_times, sf.processes.karras_times])
def test_time_grids_fall_from_t_max_to_t_min(
    process: sf.processes.Process, grid: Callable[[sf.processes.Process, int], Tensor]
) -> None:
    times = grid(process, 17)
    assert times.shape == (18,)
    assert (times[0], times[-1]) == (process.t_max, process.t_min)
    assert (times.diff() < 0).all()


def test_log_snr_times_divide_the_noise_level_by_equal_factors(
    process: sf.processes.Process,
) -> None:
    level = process(sf.processes.log_snr_times(process, 9))
    ratios = torch.exp(torch.log(level.sigma / level.alpha).diff())
    assert close(ratios, ratios[:1].expand(9), 1e-8)


def test_karras_times_equal_those_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    scheduler.set_timesteps(18)
    ours = sf.processes.karras_times(sf.EDM(), 17)
    assert close(ours, scheduler.sigmas[:-1].double(), 1e-6)


# --------------------------------------------------------------------------------- ancestral steps


@dataclass(frozen=True, eq=False)
class Frozen(sf.fields.Field):
    """The field of a single known point x_0, in the row (a, b) of any prediction."""

    x0: Tensor
    predicts: sf.fields.Prediction

    def row(self, c: Coefficients) -> Row:
        return self.predicts.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Callable[[Tensor], Tensor]:
        a, b = self.predicts.row(c)
        return lambda x: a * self.x0 + b * (x - c.alpha * self.x0) / c.sigma


def affine_step(
    process: sf.processes.Process,
    predicts: sf.fields.Prediction,
    eta: float,
    times: Tensor,
    k: int,
):
    """The step k is x_s = scale x_t + shift + noise z, each read off the step itself."""
    x0 = torch.tensor([[0.7, -1.3]], dtype=torch.float64)
    steps = sf.ancestral(Frozen(process, x0, predicts), eta).stepped(times, x0)
    zero, one = torch.zeros_like(x0), torch.ones_like(x0)
    shift = zero + steps.drift(k, 0.0, zero)
    scale = one + steps.drift(k, 0.0, one) - shift
    x = randn(1, 2, seed=3)
    assert close(x + steps.drift(k, 0.0, x), scale * x + shift, 1e-9)
    return x0, scale, shift, float(steps.diffusion(k, 0.0, x) or 0.0)


@pytest.mark.parametrize("predicts", sf.fields.Prediction)
def test_ancestral_step_is_the_gaussian_posterior(
    process: sf.processes.Process, predicts: sf.fields.Prediction
) -> None:
    """eta = 1: q(x_s | x_t, x_0), by conditioning the joint Gaussian of (x_s, x_t) given x_0."""
    times = times_of(process, 6)
    for k in range(5):
        x0, scale, shift, noise = affine_step(process, predicts, 1.0, times, k)
        (at, st), (as_, ss) = (map(float, process(t)[:2]) for t in times[k : k + 2])
        # Given x_0, x_t = (at / as_) x_s + fresh noise, of whatever size gives x_t variance st^2.
        joint = np.array([[ss**2, at / as_ * ss**2], [at / as_ * ss**2, st**2]])
        gain = joint[0, 1] / joint[1, 1]
        want = as_ * x0 + gain * (0.4 - at * x0)
        assert close(scale * 0.4 + shift, want, 1e-9, 1e-11)
        assert noise**2 == pytest.approx(np.linalg.det(joint) / joint[1, 1], rel=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.8, 1.0])
def test_ancestral_step_keeps_the_marginal(process: sf.processes.Process, eta: float) -> None:
    """x_t ~ N(alpha_t x_0, sigma_t^2) goes to x_s ~ N(alpha_s x_0, sigma_s^2) for every eta."""
    times = times_of(process, 6)
    noises = []
    for k in range(5):
        x0, scale, shift, noise = affine_step(process, sf.fields.Prediction.NOISE, eta, times, k)
        (at, st), (as_, ss) = (process(t)[:2] for t in times[k : k + 2])
        assert close(scale * at * x0 + shift, as_ * x0, 1e-9, 1e-11)
        assert close(scale**2 * st**2 + noise**2, (ss**2).expand(1, 2), 1e-9)
        noises.append(noise)
    assert (min(noises) > 0) == (eta > 0)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_short_ancestral_step_approaches_a_step_of_reverse(
    process: sf.processes.Process, mixture: sf.GaussianMixture, eta: float
) -> None:
    """They differ by O(dt^2): halve the step and the difference falls to a quarter."""
    field = sf.ExactField(process, mixture)
    x = mixture.sample(9, seed=1)
    start, end = times_of(process, 3)[1:]
    drift, noise = [], []
    for h in (0.01, 0.005):
        times = torch.stack([start, torch.lerp(start, end, h)])
        pair = [make(field, eta).stepped(times, x) for make in (sf.ancestral, sf.reverse)]
        one, other = (steps.drift(0, 0.0, x) for steps in pair)
        drift.append(float((one - other).norm()))
        one, other = (float(steps.diffusion(0, 0.0, x) or 0.0) ** 2 for steps in pair)
        noise.append(abs(one - other))
    if eta == 0 and isinstance(process, sf.EDM | sf.Linear):
        assert max(drift) < 1e-13  # there a frozen x_0 moves x along a straight line
    else:
        assert np.log2(drift[0] / drift[1]) == pytest.approx(2, abs=0.1)
    if eta:
        assert np.log2(noise[0] / noise[1]) == pytest.approx(2, abs=0.1)


def test_sdes_refuse_wrong_arguments(mixture: sf.GaussianMixture) -> None:
    field = sf.ExactField(sf.VP(), mixture)
    for make in (sf.reverse, sf.sdes.comoving, sf.ancestral):
        for eta in (-0.1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="eta must be zero or more"):
                make(field, eta)
    with pytest.raises(ValueError, match=r"between 0 \(DDIM\) and 1 \(DDPM\)"):
        sf.ancestral(field, 1.01)
    with pytest.raises(ValueError, match="must differ"):
        sf.SDE(lambda x, t: x, None, 1.0, 1.0)
    sde = sf.ancestral(field)
    with pytest.raises(ValueError, match="whole steps"):
        sde.stepped(sde.times(3), randn(1, 2)).drift(0, 0.5, randn(1, 2))
    with pytest.raises(ValueError, match="steps must be at least 1"):
        sde.times(0)
