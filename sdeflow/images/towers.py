r"""Build the two networks of a contrastive model: `ImageTower` and `TextTower`.

    image: conv 3x3 c, 2c (stride 2), 2c, 4c (stride 2), linear 128, linear dim   (GELU between)
    text:  h = token + place, blocks: h += attention(norm h), h += MLP(norm h), linear(norm h_end)

With c = 32 the image network has 400,000 weights for pictures of 16 x 16; the text network of
width 64 with two blocks of four heads has 130,000. The rows of a batch do not affect each other.

Source: Radford et al. 2021, section 2.4, for the text tower.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdeflow.images.vocabulary import END, PAD

HIDDEN = 128


class ImageTower(nn.Module):
    """A convolutional network from pictures (n, side^2) to features (n, dim); 4 divides side."""

    def __init__(self, side: int, channels: int, dim: int) -> None:
        super().__init__()
        self.side, c = side, channels
        self.layers = nn.Sequential(
            nn.Conv2d(1, c, 3, 1, 1), nn.GELU(),
            nn.Conv2d(c, 2 * c, 3, 2, 1), nn.GELU(),
            nn.Conv2d(2 * c, 2 * c, 3, 1, 1), nn.GELU(),
            nn.Conv2d(2 * c, 4 * c, 3, 2, 1), nn.GELU(),
            nn.Flatten(),
            nn.Linear(4 * c * (side // 4) ** 2, HIDDEN), nn.GELU(),
            nn.Linear(HIDDEN, dim),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, dim)."""
        return self.layers(x.reshape(-1, 1, self.side, self.side))


class TextTower(nn.Module):
    """A transformer from tokens (n, k) to features (n, dim), those of the last token of a text."""

    def __init__(
        self, size: int, length: int, width: int, depth: int, heads: int, dim: int
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(size, width)
        self.place = nn.Parameter(0.01 * torch.randn(length, width))
        nn.init.normal_(self.token.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, dim, bias=False)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Features (n, k, width) of every token; those of padding have no meaning."""
        known = (tokens != PAD)[:, None, None, :]
        h = self.token(tokens) + self.place[: tokens.shape[1]]
        for block in self.blocks:
            h = block(h, known)
        return self.norm(h)

    def forward(self, tokens: Tensor) -> Tensor:
        """Features (n, dim)."""
        end = (tokens == END).int().argmax(1)
        return self.last(self.hidden(tokens)[torch.arange(len(tokens)), end])


class Block(nn.Module):
    """A block of a transformer, with normalisation before attention and before the MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, h: Tensor, known: Tensor) -> Tensor:
        """Transform h (n, k, width); `known` (n, 1, 1, k) is true where a text has a token."""
        n, k, width = h.shape
        parts = self.enter(self.before(h)).reshape(n, k, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=known)
        h = h + self.leave(found.transpose(1, 2).reshape(n, k, width))
        return h + self.mlp(self.between(h))
