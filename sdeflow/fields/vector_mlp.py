r"""Make a residual network for vectors of many coordinates, such as embeddings: `VectorMLP`."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from sdeflow._validation import check_int, check_seed
from sdeflow.fields.film import Film, FilmNetwork, initial, zero


class VectorMLP(FilmNetwork):
    """A residual multilayer perceptron for vectors, with noise level and labels by FiLM.

    Unlike `MLP` it has no Fourier features, since embeddings need no fine detail. Its output is
    zero before training, so that a field with `data_std` is that of Gaussian data.

    Args:
        dim: d, the dimension of the cloud.
        width, depth: hidden units, and number of residual blocks.
        labels: number of classes (0: none); label `labels` means "none".
        table: vectors (m, k) in place of classes. A label is then the number of a row, and label m
            means "none".
        seed: the seed of the initial weights.
    """

    def __init__(
        self,
        dim: int,
        width: int = 256,
        depth: int = 3,
        labels: int = 0,
        table: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        dim, width = check_int(dim, "dim"), check_int(width, "width")
        depth, seed = check_int(depth, "depth"), check_seed(seed)
        with initial(seed):
            super().__init__(labels, table, "add")
            self.first, self.last = nn.Linear(dim, width), zero(nn.Linear(width, dim))
            self.blocks = nn.ModuleList(_Residual(width) for _ in range(depth))
        self.dim = dim
        self.config = {
            "dim": dim, "width": width, "depth": depth, "labels": self.labels,
            "table": None if self.table is None else list(self.table.shape), "seed": seed,
        }  # fmt: skip

    def forward(self, x: Tensor, c: Tensor, label: Tensor | None = None) -> Tensor:
        """The output (n, d) for x (n, d), c () or (n,), and label () or (n,), whole numbers."""
        e, h = self.features(c, label), self.first(x)
        for block in self.blocks:
            h = block(h, e)
        return self.last(h)


class _Residual(nn.Module):
    """A residual block of two layers with FiLM, (n, width) -> (n, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.film = nn.LayerNorm(width), Film(width)
        self.one, self.two = nn.Linear(width, width), zero(nn.Linear(width, width))

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        return h + self.two(functional.silu(self.one(self.film(self.norm(h), e))))
