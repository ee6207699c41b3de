"""Make pictures of one prompt from many seeds by the real pipeline, and compare them (S11).

With the exact denoiser of N(0, s^2) and without noise, many steps take a start z to

    x_0 = z sqrt(a) s^2 / (a s^2 + 1 - a),    a = alpha-bar at the last timestep,

since each step multiplies z by the ratio of the posterior means.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.claims.real_pipelines import TABLE, latents, noise_line, stable_diffusion
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.fields.exact import ExactField
from sdeflow.fields.learned import LearnedField
from sdeflow.integrations import from_diffusers
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

CLASSES, SEEDS, STEPS = 10, 40, 50


class Painter:
    """The pipeline around a field of digits, asked for one digit from `SEEDS` starts."""

    def __init__(self, field: LearnedField, digit: int, seed: int) -> None:
        self.field, self.seed = replace(field, process=TABLE), seed
        asked = torch.full((SEEDS, 1), digit)
        self.prompts = torch.nn.functional.one_hot(asked, CLASSES).float()
        self.start = torch.randn(SEEDS, 64, generator=torch.Generator().manual_seed(seed))

    def made(self, kind: str, kept: float) -> Tensor:
        """The pictures (n, 64) of DDPM, with its noise multiplied by `kept`, or of DDIM."""
        with noise_line(kept, self.seed):
            return latents(self._pipe(kind), self.prompts, self.start, STEPS)

    def ours(self) -> Tensor:
        """The pictures of our own chain without noise, on the pipeline's field."""
        one = self.prompts[:1]
        field, times = from_diffusers(self._pipe("DDPM"), one, one, steps=STEPS)
        chain = ancestral(field.given(0), variance=lambda t: torch.zeros(len(t) - 1))
        return SDESolver("euler", times=times).solve(chain, self.start).x[-1]

    def _pipe(self, kind: str) -> object:
        return stable_diffusion(lambda e: self.field.given(e.argmax(2)[:, 0]), CLASSES, kind)


def spread(x: Tensor) -> float:
    """The root mean square deviation of a pixel from its mean over the seeds."""
    return float((x - x.mean(0)).square().mean().sqrt())


def between_seeds(x: Tensor) -> float:
    """The median distance of two pictures of x (n, 64)."""
    return float(torch.pdist(x).median())


def nearest(x: Tensor) -> float:
    """The median distance of a picture of x (n, 64) to the nearest other."""
    apart = torch.cdist(x, x).fill_diagonal_(torch.inf)
    return float(apart.amin(1).median())


def gradient(x: Tensor) -> float:
    """The root mean square difference of neighbouring pixels."""
    page = x.reshape(-1, 8, 8)
    return float((page.diff(dim=1).square().mean() + page.diff(dim=2).square().mean()).sqrt())


def left_of_gaussian(std: float, kept: float, seed: int, steps: int = 500) -> tuple[float, float]:
    """The spread of 40 seeds around the exact denoiser of N(0, std^2), and its closed form."""
    data = GaussianMixture.isotropic(torch.zeros(1, 64), std)
    exact = ExactField(TABLE, data)
    start = torch.randn(SEEDS, 64, generator=torch.Generator().manual_seed(seed))
    with noise_line(kept, seed):
        pipe = stable_diffusion(lambda e: exact, CLASSES, "DDPM")
        end = latents(pipe, torch.zeros(SEEDS, 1, CLASSES), start, steps)
    a = TABLE.alpha_bar[-1]
    return spread(end) / spread(start), a**0.5 * std**2 / (a * std**2 + 1 - a)
