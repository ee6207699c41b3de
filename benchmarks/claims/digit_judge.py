"""Classify digits by an independent network, and compare sets of pictures by its features.

    conv 3x3 1 -> 32, conv 32 -> 64 (stride 2), conv 64 -> 64 (stride 2), linear 64, linear 10

The classifier is trained on the training digits, shifted by up to a pixel and with noise. It
shares no weights with any sampler; `accuracy` is its accuracy on held-out digits.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.claims.digits import CLASSES, digits, held_out, points

STEPS, BATCH, RATE = 3000, 128, 2e-3
FEATURES = 64


class Judge(nn.Module):
    """A classifier: pictures (n, 64) -> features (n, 64) -> scores of classes (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, 1, 1), nn.GELU(), nn.Conv2d(32, 64, 3, 2, 1), nn.GELU(),
            nn.Conv2d(64, 64, 3, 2, 1), nn.GELU(), nn.Flatten(), nn.Dropout(0.3),
            nn.Linear(256, FEATURES), nn.GELU(),
        )  # fmt: skip
        self.last = nn.Linear(FEATURES, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """The features (n, 64) of pictures (n, 64)."""
        out: Tensor = self.body(x.float().reshape(-1, 1, 8, 8))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """The scores (n, 10) of pictures (n, 64)."""
        out: Tensor = self.last(self.features(x))
        return out


@cache
def judge(seed: int = 0, steps: int = STEPS) -> Judge:
    """The classifier, trained once in a process."""
    learn = points(digits())
    x, label = learn.points.float().reshape(-1, 1, 8, 8), learn.labels
    assert label is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Judge()
        adam = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        for _ in range(steps):
            i = torch.randint(len(x), (BATCH,))
            shown = _disturbed(x[i])
            value = functional.cross_entropy(network(shown), label[i])
            adam.zero_grad()
            value.backward()
            adam.step()
            rate.step()
    return network.eval().requires_grad_(False)


def _disturbed(x: Tensor) -> Tensor:
    """The pictures turned, stretched, moved by up to 0.7 pixels, and with noise."""
    n = len(x)
    angle, scale = 0.2 * torch.randn(n), 1 + 0.08 * torch.randn(n)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).reshape(n, 2, 2)
    move = (2 * torch.rand(n, 2, 1) - 1) * 0.7 / 4
    grid = functional.affine_grid(
        torch.cat([scale[:, None, None] * turn, move], 2), list(x.shape), align_corners=False
    )
    moved = functional.grid_sample(x + 1, grid, align_corners=False) - 1
    return moved + 0.1 * torch.rand(n, 1, 1, 1) * torch.randn_like(moved)


def named(x: Tensor, seed: int = 0) -> Tensor:
    """The class (n,) of each picture (n, 64) by the classifier."""
    return judge(seed)(x).argmax(1)


def accuracy(seed: int = 0) -> float:
    """The share of held-out digits that the classifier names right."""
    rest = points(held_out())
    assert rest.labels is not None
    return float((named(rest.points, seed) == rest.labels).double().mean())


def confidence(x: Tensor, seed: int = 0) -> float:
    """The mean probability of the class that the classifier names."""
    return float(judge(seed)(x).softmax(1).amax(1).mean())


def frechet(x: Tensor, y: Tensor, seed: int = 0) -> float:
    """The Frechet distance between the classifier's features of two sets of pictures.

    |m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2))
    """
    a, b = (judge(seed).features(c).double().numpy() for c in (x, y))
    one, two = np.cov(a.T), np.cov(b.T)
    values, axes = np.linalg.eigh(one)
    root = axes * np.sqrt(values.clip(0)) @ axes.T
    both = np.sqrt(np.linalg.eigvalsh(root @ two @ root).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + two) - 2 * both)
