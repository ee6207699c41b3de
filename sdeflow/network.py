r"""A small network F(x, t, label) -> (n, d) that a 2D problem needs, and no more.

Three choices matter, in this order (PERFORMANCE.md has the measurements):

- *Fourier features of the position*, sin and cos of random projections, let a smooth network resolve
  detail much finer than the cloud (Tancik et al. 2020).
- *Time enters as a bias* of the first layer: its features depend on t alone, so a solver pays for them
  once per step and not once per particle.
- Labels are embedded and added there too; one more row of the table means "no label".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sdeflow import door
from sdeflow.noise import Purpose, normals


class MLP(nn.Module):
    """A multi-layer perceptron with time features and, if asked, labels.

    Args:
        dim: d, of the cloud.
        width, depth: hidden units per layer and number of hidden layers.
        frequencies: number of random Fourier features of the position (0: none).
        scale: standard deviation of their wave vectors, in cycles per unit of the input (which a
            preconditioned field measures in standard deviations of x_t).
        labels: number of classes (0: none); label `labels` means "no label".
        seed: of the initial weights.
    """

    def __init__(
        self,
        dim: int = 2,
        width: int = 128,
        depth: int = 4,
        frequencies: int = 48,
        scale: float = 1.0,
        labels: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        door.whole(dim, "dim")
        door.whole(width, "width")
        door.whole(depth, "depth")
        door.whole(frequencies, "frequencies", 0)
        door.whole(labels, "labels", 0)
        door.positive(scale, "scale")
        self.config = {
            "dim": dim, "width": width, "depth": depth, "frequencies": frequencies,
            "scale": float(scale), "labels": labels, "seed": seed,
        }  # fmt: skip
        self.labels = labels
        waves = normals(seed, Purpose.WEIGHTS, frequencies or 1, dim, torch.float32)
        waves = 2 * math.pi * scale * waves.T[:, :frequencies]
        self.register_buffer("projection", waves.contiguous())
        # t, or ln(sigma / alpha) / 4, spans a few units; finer time features buy nothing.
        self.register_buffer("octaves", 2.0 ** torch.arange(-1, 4))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Linear(dim + 2 * frequencies, width)
            self.time = nn.Linear(1 + 2 * len(self.octaves), width, bias=False)
            self.label = nn.Embedding(labels + 1, width) if labels else None
            hidden = [nn.Linear(width, width) for _ in range(depth - 1)]
            self.hidden = nn.Sequential(*(m for h in hidden for m in (h, nn.SiLU(inplace=True))))
            self.last = nn.Linear(width, dim)
            nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """x (n, d), t () or (n,), label () or (n,) of whole numbers -> (n, d)."""
        return self.body(x, self.condition(t, label))

    def condition(self, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Everything that does not depend on x: (1, width) or (n, width), added to the first layer."""
        t = t.reshape(-1, 1).to(self.octaves)
        phase = t * self.octaves
        bias = self.time(torch.cat([t, torch.sin(phase), torch.cos(phase)], 1))
        if self.label is not None:
            if label is None:
                label = torch.tensor(self.labels, device=t.device)
            bias = bias + self.label(label.reshape(-1))
        return bias

    def body(self, x: Tensor, condition: Tensor) -> Tensor:
        """The network with its time and label already worked out."""
        if self.projection.numel():
            phase = x @ self.projection
            x = torch.cat([x, torch.sin(phase), torch.cos(phase)], 1)
        h = self.first(x) + condition
        return self.last(self.hidden(nn.functional.silu(h, inplace=True)))
