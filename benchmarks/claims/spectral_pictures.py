"""Draw random pictures of 8 x 8 pixels, whose density is known, beside handwritten digits."""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor

from benchmarks.claims import drawings
from sdeflow import plot
from sdeflow.distributions.mixture import GaussianMixture


def spectral_pictures() -> GaussianMixture:
    """Three kinds of 8 x 8 pictures: three smooth means, and random detail of 1 / (1 + k^2)."""
    waves = torch.from_numpy(dct(np.eye(8), axis=0, norm="ortho"))  # row k: the wave of number k
    basis = torch.einsum("ax,by->abxy", waves, waves).reshape(64, 64)
    k = torch.arange(8, dtype=torch.float64)
    power = 0.3 / (1 + k[:, None] ** 2 + k**2).flatten()
    means = 3 * basis[[16, 2, 9]]  # two bars across, two bars up, a diagonal
    covariance = basis.T @ torch.diag(power) @ basis
    return GaussianMixture(torch.ones(3), means, covariance.expand(3, 64, 64))


def draw_both(fig: plot.Figure, spectral: dict[str, Tensor], ours: dict[str, Tensor]) -> None:
    """Draw random pictures, and digits 0 to 3 twice, of each kind."""
    left, right = fig.subfigures(1, 2)
    drawings.pictures(left, spectral, 8)
    place = [0, 10, 1, 11, 2, 12, 3, 13]
    drawings.pictures(right, {n: x[place] for n, x in ours.items()}, 8, span=(-1.0, 1.0))
