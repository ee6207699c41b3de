"""Named problems with exact answers, which the tests of every package share."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import sdeflow as sf
from benchmarks.large import mixture

PROCESSES: dict[str, sf.processes.Process] = {
    "VP": sf.VP(),
    "SubVP": sf.processes.SubVP(),
    "VE": sf.VE(),
    "EDM": sf.EDM(),
    "Linear": sf.Linear(),
    "Cosine": sf.processes.Cosine(),
    "DDPM": sf.processes.Tabulated.ddpm(),
    "StableDiffusion": sf.processes.Tabulated.stable_diffusion(),
}


def lopsided(dtype: torch.dtype = torch.float64) -> sf.GaussianMixture:
    """Three tilted ellipses of unequal weight: no symmetry for a wrong sign to hide in."""
    return mixture().to(dtype)


def times_of(process: sf.processes.Process, n: int, seed: int = 0) -> Tensor:
    """n times (n,) in float64, one in each nth part of the span of log SNR, falling."""
    u = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    ends = process.log_snr(torch.tensor([process.t_max, process.t_min], dtype=torch.float64))
    part = (torch.arange(n, dtype=torch.float64) + u) / n
    return process.time(ends[0] + part * (ends[1] - ends[0]))


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normals that are not ours."""
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def f64(value: float | Sequence) -> Tensor:
    """A tensor of these numbers, not rounded to float32 on the way."""
    return torch.tensor(value, dtype=torch.float64)


def close(a: Tensor, b: Tensor, rtol: float = 1e-12, atol: float = 0.0) -> bool:
    """|a - b| <= atol + rtol max|b|: relative to the whole, not to each entry."""
    if a.shape != b.shape or not torch.isfinite(a).all():
        return False
    return float((a - b).abs().max()) <= atol + rtol * max(float(b.abs().max()), math.ulp(0.0))


# ------------------------------------------------- problems that several judges are tried on

VP_TAU = sf.VP(beta_min=2.0, beta_max=2.0, t_max=5.03, t_min=1e-6)


def ring(equal: bool = False) -> sf.GaussianMixture:
    """The study's problem; unequal weights leave no mirror for a wrong sign."""
    law = sf.datasets.ring(weights=None if equal else (5, 4, 3, 2, 1)).distribution
    assert law is not None
    return law.to(torch.float64)


def pair(width: float = 0.25, first: float = -1.2) -> sf.GaussianMixture:
    """Two unequal Gaussians on the line."""
    return sf.GaussianMixture.isotropic(f64([[first], [0.8]]), width, f64([2.0, 1.0]))


def tau_times(steps: int) -> Tensor:
    """Uniform in ln(rho^2 + sd^2): the study's grid."""
    rescaling = sf.fokker_planck.Rescaling(VP_TAU, 1.0, 0.25)
    span = f64([VP_TAU.t_max, VP_TAU.t_min])
    first, last = rescaling.rescaled_time(span).tolist()
    times = rescaling.time(torch.linspace(first, last, steps + 1, dtype=torch.float64))
    times[0], times[-1] = span
    return times


def noised(t: float | Tensor) -> sf.GaussianMixture:
    """The ring at time t of `VP_TAU`."""
    c = VP_TAU(f64(float(t)))
    return ring().noised(c.alpha, c.sigma)


def scored(field: sf.fields.Field, factor: float, eta: float = 1.0, noise: float = 1.0) -> sf.SDE:
    """The reverse law with a wrong score, or wrong noise: dx = [f x - (...) score] dt."""
    base, process = sf.reverse(field, eta), field.process

    def drift(x: Tensor, t: Tensor) -> Tensor:
        own = process.drift(t) * x
        return own + factor * (base.drift(x, t) - own)

    g = base.diffusion
    return sf.SDE(
        drift, None if g is None else (lambda x, t: noise * g(x, t)), base.t_start, base.t_end,
        time_grid=base.time_grid,
    )  # fmt: skip


def walk(n: int, seed: int = 0, steps: int = 40) -> tuple[sf.solvers.Path, sf.SDE]:
    """An Ornstein-Uhlenbeck path and its law."""
    law = sf.SDE(lambda x, t: -x, lambda x, t: f64(1.2), 0.0, 1.0)
    x = pair().sample(n, seed=1000 + seed)
    return sf.SDESolver("heun", steps=steps, seed=seed).solve(law, x, save=steps + 1), law


def rejected(p: np.ndarray, level: float = 0.05) -> float:
    """Share of p-values below the level."""
    return float((p < level).mean())


# ----------------------------------------------------------------------------- densities in motion

# Limits that let everything pass but a loss of mass: conservation always holds.
NO_LIMITS = sf.fokker_planck.Diagnostics(math.inf, math.inf, math.inf, math.inf, 1e-12)
UNIT_INTERVAL = f64([0.0, 1.0])
OU = sf.SDE(lambda x, t: -x, lambda x, t: f64(1.0), 0.0, 1.0)  # Ornstein-Uhlenbeck
GRID_64 = sf.Grid(-5.0, 5.0, (64, 64))
TILTED_GAUSSIAN = sf.GaussianMixture(
    f64([1.0]), f64([[1.2, 0.3]]), f64([[[0.3, 0.1], [0.1, 0.2]]])
)
ROTATING_DRIFT = [[-1.0, -2.0], [2.0, -1.0]]


def exact_density(
    process: sf.processes.Process, mixture: sf.GaussianMixture, t: float, grid: sf.Grid
) -> sf.Density:
    """The density at time t of noised data."""
    c = process(f64(t))
    return mixture.noised(c.alpha, c.sigma).on_grid(grid)


def density_at_t_max(
    process: sf.processes.Process,
    mixture: sf.GaussianMixture,
    rescaling: sf.fokker_planck.Rescaling | None,
    cells: int,
    half=5.0,
):
    """The density at t_max, on a grid that holds it."""
    size = half if rescaling is None else half * rescaling(process.t_max)
    grid = sf.Grid(-size, size, (cells,) * mixture.dim)
    return exact_density(process, mixture, process.t_max, grid)


def reverse_span(process: sf.processes.Process) -> Tensor:
    """t_max and t_min, (2,): the span of the reverse SDE."""
    return f64([process.t_max, process.t_min])


def linear_sde(matrix: Tensor, noise: Tensor, t_end: float) -> sf.SDE:
    """dx = A x dt + diag(noise) dW."""
    scalar = bool((noise == noise[0]).all())
    return sf.SDE(
        lambda x, t: x @ matrix.T,
        (lambda x, t: noise[0]) if scalar else (lambda x, t: noise.expand_as(x)),
        0.0,
        t_end,
    )


def linear_sde_solution(
    mixture: sf.GaussianMixture, matrix: Tensor, noise: Tensor, t: float
) -> sf.GaussianMixture:
    """`linear_sde` at t: m -> e^{At} m, C -> e^{At} C e^{A't} + int e^{As} Q e^{A's} ds."""
    block = torch.zeros(4, 4, dtype=torch.float64)
    block[:2, :2], block[:2, 2:], block[2:, 2:] = -matrix, torch.diag(noise**2), matrix.T
    e = torch.matrix_exp(block * t)
    grown, added = e[2:, 2:].T, e[2:, 2:].T @ e[:2, 2:]
    spread = grown @ mixture.covariances @ grown.T + added
    return sf.GaussianMixture(mixture.weights, mixture.means @ grown.T, (spread + spread.mT) / 2)


def untrained(process: sf.processes.Process, seed: int = 0) -> sf.LearnedField:
    """A network whose last layer was not left at zero: a field of no known distribution."""
    network = sf.MLP(width=16, depth=2, waves=4)
    generator = torch.Generator().manual_seed(seed)
    network.last.weight.data = torch.randn(2, 16, generator=generator) / 8
    return sf.LearnedField(process, network.requires_grad_(False), data_std=1.0)


def coarse_density() -> sf.Density:
    """The tilted Gaussian on 16 x 16 cells."""
    return TILTED_GAUSSIAN.on_grid(sf.Grid(-5.0, 5.0, (16, 16)))


# ------------------------------------------------------------------------- short runs of training

DATA = sf.datasets.spiral()
SMALL = sf.training.TrainingConfig(batch=32)


class Wavy(nn.Module):
    """Some smooth function of (x, t), in float64, with parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(randn(3, 5, seed=1))
        self.b = nn.Parameter(randn(5, 2, seed=2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        level = t.reshape(-1, 1).expand(len(x), 1)
        return torch.tanh(torch.cat([x, level], 1) @ self.a) @ self.b


def small(seed: int = 0, labels: int = 0) -> sf.LearnedField:
    """A small network for the spiral, the same for the same seed."""
    network = sf.MLP(width=8, depth=2, waves=4, labels=labels, seed=seed)
    return sf.LearnedField(sf.VE(), network, data_std=DATA.std)


def weights(field: sf.LearnedField) -> dict[str, Tensor]:
    """A copy of them."""
    return {k: v.clone() for k, v in field.network.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """To the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def trained(steps: int = 30, seed: int = 0, **more: object) -> dict[str, Tensor]:
    """The weights at the end of a short run."""
    field = small()
    sf.fit(field, DATA.sample, steps, seed, config=SMALL, **more)
    return weights(field)


def half_done(file: Path, done: int = 16) -> None:
    """A run of 30 steps, a checkpoint every 7, left after `done`."""
    run = sf.training.Training(small(), DATA.sample, 30, config=SMALL, checkpoint=file, every=7)
    for _ in range(done):
        next(run)
