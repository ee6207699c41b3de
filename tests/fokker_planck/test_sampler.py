"""`sampler_density` against the sampler's particles, and against chains of Gaussians by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

import sdeflow as sf
from sdeflow import Density, Grid, SdeflowError, evolve
from sdeflow.fokker_planck import Rescaling
from tests.problems import (
    NO_LIMITS,
    OU,
    coarse_density,
    density_at_t_max,
    exact_density,
    f64,
    pair,
    reverse_span,
    ring,
    untrained,
)

F64 = torch.float64


PROCESSES = {"VP": sf.VP(), "VE": sf.VE(), "EDM": sf.EDM(), "Linear": sf.Linear()}


def tau(steps: int) -> tuple[sf.SDE, Tensor, sf.GaussianMixture]:
    """The problem of docs/sources.md, N19: VP in the time tau = (1/2) int beta, in which it is
    dx = -x dt + sqrt(2) dW, on the time grid uniform in ln(rho^2 + sd^2).
    """
    process = sf.VP(beta_min=2.0, beta_max=2.0, t_max=5.03, t_min=1e-6)
    mixture = ring(equal=True)
    rescaling = Rescaling(process, 1.0, 0.25)
    first, last = rescaling.rescaled_time(reverse_span(process)).tolist()
    times = rescaling.time(torch.linspace(first, last, steps + 1, dtype=F64))
    times[0], times[-1] = process.t_max, process.t_min
    return sf.reverse(sf.ExactField(process, mixture), 1.0), times, mixture


def sampled(steps: int, cells: int) -> tuple[Density, Density]:
    sde, times, mixture = tau(steps)
    grid = Grid(-5.0, 5.0, (cells, cells))
    process = sde.field.process  # type: ignore[attr-defined]
    p = exact_density(process, mixture, process.t_max, grid)
    return sf.fokker_planck.sampler_density(sde, p, times)[-1], exact_density(
        process, mixture, process.t_min, grid
    )


STUDY = {25: 0.188, 50: 0.0948, 100: 0.0475, 200: 0.0237, 400: 0.0118}


def test_euler_maruyama_density_has_the_known_errors() -> None:
    """The numbers of docs/sources.md, N19, at 96^2 and few steps."""
    for steps in (25, 50):
        ours, truth = sampled(steps, 96)
        assert ours.total_variation(truth) == pytest.approx(STUDY[steps], rel=0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_euler_maruyama_density_is_of_first_order() -> None:
    errors = []
    for steps, tv in STUDY.items():
        ours, truth = sampled(steps, 128)
        errors.append(ours.total_variation(truth))
        assert errors[-1] == pytest.approx(tv, rel=0.02)
    slope = np.polyfit(np.log(list(STUDY)), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1, abs=0.03)


def goodness_of_fit_p_values(n: int, cells: int) -> tuple[float, float]:
    """p-values of EM-25's particles against EM-25's own density and the exact one, by Pearson's
    statistic on blocks of cells.
    """
    sde, times, mixture = tau(25)
    process = sde.field.process  # type: ignore[attr-defined]
    c = process(f64(process.t_max))
    ours, truth = sampled(25, cells)
    x = mixture.noised(c.alpha, c.sigma).sample(n, seed=1)
    y = sf.SDESolver("euler", times=times, seed=2).solve(sde, x, save=1).x[-1]
    block = cells // 16
    counts = Density.from_samples(ours.grid, y).coarsen(block).mass * n

    def p_value(q: Density) -> float:
        expected = n * q.coarsen(block).mass
        big = expected > 10
        found = torch.cat([counts[big], n - counts[big].sum()[None]])
        meant = torch.cat([expected[big], n - expected[big].sum()[None]])
        statistic = float(((found - meant) ** 2 / meant).sum())
        return float(chi2.sf(statistic, len(found) - 1))

    return p_value(ours), p_value(truth)


def test_particles_have_the_sampler_density_and_not_the_exact_one() -> None:
    own, truth = goodness_of_fit_p_values(60_000, 96)
    assert own > 1e-3
    assert truth < 1e-100


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_million_particles_have_the_sampler_density_and_not_the_exact_one() -> None:
    own, truth = goodness_of_fit_p_values(1_000_000, 128)
    assert own > 1e-3
    assert truth < 1e-300


def gaussian_chain(
    process: sf.processes.Process, times: Tensor, variance: float, eta: float, kind: str
):
    """Mean and variance of each state of a sampler with the exact field of N(0.6, variance)."""
    c = process(times)
    a, s, ad, sd = (v.tolist() for v in c)
    mean, var = a[0] * 0.6, a[0] ** 2 * variance + s[0] ** 2
    for k in range(len(times) - 1):
        total = a[k] ** 2 * variance + s[k] ** 2
        # x0_hat = 0.6 + pull (x - a 0.6), eps_hat = push (x - a 0.6)
        pull, push = a[k] * variance / total, s[k] / total
        if kind == "euler":
            dt = float(times[k + 1] - times[k])
            extra = sd[k] - ad[k] / a[k] * s[k]
            keep = 1 + dt * (ad[k] * pull + (sd[k] + eta**2 * extra) * push)
            shift = a[k] * 0.6 + dt * ad[k] * 0.6
            noise = eta**2 * 2 * s[k] * extra * abs(dt)
        else:
            ratio = (s[k + 1] / a[k + 1]) / (s[k] / a[k])
            v = eta**2 * s[k + 1] ** 2 * (1 - ratio**2)
            keep = a[k + 1] * pull + math.sqrt(s[k + 1] ** 2 - v) * push
            shift, noise = a[k + 1] * 0.6, v
        mean = shift + keep * (mean - a[k] * 0.6)
        var = keep**2 * var + noise
    return mean, var


def gaussian_errors(name: str, kind: str, eta: float, cells: int) -> tuple[float, float]:
    """TV of the density of a sampler of a Gaussian to its closed form, and to the exact density:
    every step is linear. 40 steps in log SNR, down to sigma = 0.05.
    """
    process = PROCESSES[name]
    field = sf.ExactField(process, sf.GaussianMixture.isotropic(f64([[0.6]]), 0.5))
    sde = sf.reverse(field, eta) if kind == "euler" else sf.ancestral(field, eta)
    times = sf.processes.log_snr_times(process, 40)
    times = times[: int((process(times).sigma > 0.05).nonzero()[-1]) + 1]
    rescaling = Rescaling(process)
    p = density_at_t_max(process, field.distribution, rescaling, cells, 7.0)
    ours = sf.fokker_planck.sampler_density(sde, p, times, rescaling=rescaling)[-1]
    mean, var = gaussian_chain(process, times, 0.25, eta, kind)
    truth = sf.GaussianMixture.isotropic(f64([[mean]]), math.sqrt(var)).on_grid(ours.grid)
    meant = exact_density(process, field.distribution, float(times[-1]), ours.grid)
    return ours.total_variation(truth), ours.total_variation(meant)


SAMPLERS = [
    ("euler", 1.0),
    ("euler", 0.6),
    ("ancestral", 1.0),
    ("ancestral", 0.5),
    ("ancestral", 0.0),
]


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize(("kind", "eta"), SAMPLERS)
def test_sampler_density_of_a_gaussian_has_the_closed_form(
    name: str, kind: str, eta: float
) -> None:
    """EM, DDPM, DDIM-eta and DDIM; without noise the splines smooth a little."""
    error, bias = gaussian_errors(name, kind, eta, 256)
    assert error < (2e-5 if eta else 3e-4)
    assert bias > 1e-4


@pytest.mark.filterwarnings("ignore:.*became negative:RuntimeWarning")
@pytest.mark.parametrize(("kind", "bound"), [("euler", 2e-4), ("ancestral", 3e-4)])
def test_sampler_density_is_accurate_on_coarse_cells(kind: str, bound: float) -> None:
    """Measured 1.3e-4 and 1.8e-4 at h = 0.44 standard deviations."""
    assert gaussian_errors("VP", kind, 1.0, 64)[0] < bound


def test_sampler_density_converges_to_evolve() -> None:
    """As the steps shrink, the density of the sampler converges to that of the SDE."""
    process, mixture = sf.VP(), pair()
    sde = sf.reverse(sf.ExactField(process, mixture), 0.7)
    rescaling = Rescaling(process, 1.0, 0.25)
    p = density_at_t_max(process, mixture, rescaling, 256)
    meant = evolve(sde, p, reverse_span(process), steps=400, rescaling=rescaling)[-1]
    gaps = [
        sf.fokker_planck.sampler_density(
            sde, p, sf.processes.log_snr_times(process, k), rescaling=rescaling
        )[-1].total_variation(meant)
        for k in (50, 100, 200)
    ]
    assert gaps[0] > 1.5 * gaps[1] > 2.5 * gaps[2]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_sampler_density_conserves_mass(process: sf.processes.Process, eta: float) -> None:
    for sde in (sf.reverse(untrained(process), eta), sf.ancestral(untrained(process), eta)):
        times, rescaling = sf.processes.log_snr_times(process, 12), Rescaling(process, 1.0, 0.1)
        p = density_at_t_max(process, ring(), rescaling, 32).normalised()
        q = sf.fokker_planck.sampler_density(sde, p, times, rescaling=rescaling, refuse=NO_LIMITS)[
            -1
        ]
        assert abs(q.total() - 1) <= 1e-12
        assert float(q.mass.min()) >= 0


# --------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (
            lambda: sf.fokker_planck.sampler_density(
                replace(OU, diffusion=lambda x, t: 1 + x**2),
                coarse_density(),
                f64([0.0, 0.1, 1.0]),
            ),
            ValueError,
            "depends on the state",
        ),
        (
            lambda: sf.fokker_planck.sampler_density(
                OU, coarse_density(), f64([0.0, 0.1, 1.0]), save=f64([0.0, 0.2])
            ),
            ValueError,
            "save time 0.2 is not on the time grid",
        ),
        (
            lambda: sf.fokker_planck.sampler_density(
                replace(OU, drift=lambda x, t: 1 / (x - x[0])),
                coarse_density(),
                f64([0.0, 0.1, 1.0]),
            ),
            SdeflowError,
            "NaN or infinite at t = 0, first at .* of the grid",
        ),
        (
            lambda: sf.fokker_planck.sampler_density(coarse_density(), OU, f64([0.0, 1.0])),
            TypeError,
            "sde must be an SDE, got Density",
        ),
    ],
)
def test_sampler_density_refuses_wrong_arguments_in_one_sentence(
    mistake, error, words: str
) -> None:
    with pytest.raises(error, match=words) as refusal:
        mistake()
    assert "\n" not in str(refusal.value)
