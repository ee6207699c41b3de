"""Run DDPM's forward chain on images of two pixels, which are points in the plane.

Where the lecture shows digits, an image here has two pixels. DDPM's step, with 1000 betas from
1e-4 to 0.02, is

    q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.claim import Lab
from benchmarks.claims.setting import POINTS
from sdeflow.processes.tabulated import Tabulated
from sdeflow.random_streams import KeyedNormals, Stream

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
DDPM = Tabulated.from_betas(BETAS)
START = POINTS[75]  # of the spiral: the point that the lecture diffuses


def noise_step(x: Tensor, beta: float, z: Tensor) -> Tensor:
    """One step of DDPM's forward chain."""
    return math.sqrt(1 - beta) * x + math.sqrt(beta) * z


def normals(lab: Lab, n: int, stream: int = 0) -> Tensor:
    """Standard normals (n, 2); different streams are independent."""
    return KeyedNormals(lab.seed, Stream.MOTION, n, 2, torch.float64).draw(stream)
