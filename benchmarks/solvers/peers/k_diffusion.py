"""The samplers of k-diffusion, with its default options.

Its own time grid is that of Karras et al. 2022 (sample.py), for DPM++ 3M SDE the exponential one.
They use x / alpha and the levels sigma / alpha; the last level is not 0, so that Heun and DPM2
evaluate the field twice in the last step too.
"""

from __future__ import annotations

from torch import Tensor

from benchmarks.solvers.contender import Contender, few
from benchmarks.solvers.ours import flow, reverse
from benchmarks.solvers.peers.coordinates import Levels, seeded
from benchmarks.solvers.peers.loading import not_here, sampler_file
from sdeflow.integrations.diffusers import Solver
from sdeflow.sdes.sde import SDE

SKIPPED = ""
try:
    sampling = sampler_file("k_diffusion.sampling", ("torchvision", "torchvision.transforms"))
except ModuleNotFoundError as error:
    SKIPPED = not_here(
        error,
        "pip install --no-deps k-diffusion (its dependencies train and judge networks of images)",
    )

COORDINATES = "x / alpha at levels sigma / alpha"


def sampler(name: str, **options: object) -> Solver:
    """A solver by `sample_<name>` of k-diffusion.

    Steps with one draw get independent normals; DPM++ SDE, which draws twice in overlapping
    intervals, has its default Brownian tree.
    """

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        run = Levels.of(sde, times)
        first, last = run.scales()
        given = dict(options)
        if name == "dpmpp_sde":
            low, high = float(run.rho[-1]) * 0.999, float(run.rho[0]) * 1.001
            given["noise_sampler"] = sampling.BrownianTreeNoiseSampler(x, low, high, seed)
        elif name.endswith("m_sde"):
            given["noise_sampler"] = sampling.default_noise_sampler(x)
        sample = getattr(sampling, f"sample_{name}")
        with seeded(seed):
            y = sample(
                lambda y, rho: run.data(y, rho[0]), x / first, run.rho.to(x), disable=True, **given
            )
        return y * last

    return solve


def of_flow(
    name: str, kind: str, stages: int, grids: tuple[str, ...], **options: object
) -> Contender:
    """A sampler of the probability flow."""
    name, solve = f"{name} (k-diffusion)", sampler(kind, **options)
    return Contender(name, flow, solve, stages, grids, "k-diffusion", COORDINATES)


def of_sde(name: str, kind: str, stages: int, grids: tuple[str, ...]) -> Contender:
    """A sampler of the reverse SDE."""
    name = f"{name} (k-diffusion)"
    return Contender(name, reverse, sampler(kind), stages, grids, "k-diffusion", COORDINATES)


FLOWS = [
    of_flow("Euler", "euler", 1, ("Karras",)),
    of_flow("Heun", "heun", 2, ("Karras",)),
    of_flow("DPM2", "dpm_2", 2, few("Karras")),
    of_flow("LMS 4", "lms", 1, few("Karras")),
    of_flow("DPM++ 2M", "dpmpp_2m", 1, few("Karras")),
    of_flow("DPM++ 2S", "dpmpp_2s_ancestral", 2, few("Karras"), eta=0.0),
]

NOISY = [
    of_sde("Euler ancestral", "euler_ancestral", 1, ("Karras",)),
    of_sde("DPM2 ancestral", "dpm_2_ancestral", 2, few("Karras")),
    of_sde("DPM++ 2S ancestral", "dpmpp_2s_ancestral", 2, few("Karras")),
    of_sde("DPM++ SDE", "dpmpp_sde", 2, few("Karras")),
    of_sde("DPM++ 2M SDE", "dpmpp_2m_sde", 1, few("Karras")),
    of_sde("DPM++ 3M SDE", "dpmpp_3m_sde", 1, few("log SNR")),
]

if SKIPPED:
    FLOWS, NOISY = [], []
