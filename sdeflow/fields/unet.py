r"""Make a small convolutional network for pictures: `UNet`.

    field = LearnedField(process, UNet((1, 8, 8), labels=10), data_std=s, data_mean=m)

Clouds are (n, d) as everywhere; the field calls the network with (n, channels, height, width).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sdeflow._validation import check_int, check_seed, shown
from sdeflow.fields.film import PLANES, Attention, Film, FilmNetwork, initial, zero
from sdeflow.fields.networks import How


class UNet(FilmNetwork):
    """A convolutional network for pictures at two resolutions, with noise level and labels.

    Its output is zero before training, so that a field with `data_std` is that of Gaussian data.

    Args:
        shape: (channels, height, width) of one picture; both sides are multiples of 2 shrink.
        channels: features at full resolution, a multiple of 8; twice as many at half of it.
        labels: number of classes (0: none); label `labels` means "none".
        table: vectors (m, k) or, for "attend", token sequences (m, tokens, k) in place of classes.
            A label is then the number of a row, and label m means "none".
        how: how labels enter. "add": as a term of the features of the noise level; "append": as
            further channels; "attend": by cross-attention of the pixels at both resolutions.
        shrink: the side of a block of pixels that becomes one pixel with more channels. With 2 a
            picture of 16 x 16 costs as much as one of 8 x 8.
        seed: the seed of the initial weights.

    Source: Ronneberger et al. 2015; Dhariwal and Nichol 2021, for the residual blocks.
    """

    def __init__(
        self,
        shape: Sequence[int] = (1, 8, 8),
        channels: int = 16,
        labels: int = 0,
        table: Tensor | None = None,
        how: How = "add",
        shrink: int = 1,
        seed: int = 0,
    ) -> None:
        shrink, seed = check_int(shrink, "shrink"), check_seed(seed)
        sizes, a = _sizes(shape, shrink), check_int(channels, "channels")
        if a % 8:
            raise ValueError(f"channels must be a multiple of 8, got {a}")
        with initial(seed):
            super().__init__(labels, table, how)
            planes = sizes[0] * shrink**2
            self.first = nn.Conv2d(planes + PLANES * self._beside, a, 3, 1, 1)
            self.fine, self.down = Residual(a, a), nn.Conv2d(a, 2 * a, 3, 2, 1)
            self.coarse = nn.ModuleList([Residual(2 * a, 2 * a), Residual(2 * a, 2 * a)])
            self.up, self.last = nn.Conv2d(2 * a, a, 3, 1, 1), Residual(2 * a, a)
            looks = [2 * a, a] if how == "attend" and self.labels else []
            self.look = nn.ModuleList(Attention(width, self.token) for width in looks)
            self.norm, self.out = _norm(a), zero(nn.Conv2d(a, planes, 3, 1, 1))
        self.shape, self.dim, self.shrink = sizes, math.prod(sizes), shrink
        self.config = {
            "shape": list(sizes), "channels": a, "labels": self.labels,
            "table": None if self.table is None else list(self.table.shape),
            "how": how, "shrink": shrink, "seed": seed,
        }  # fmt: skip

    @property
    def _beside(self) -> bool:
        return self.how == "append" and self.labels > 0

    def forward(self, x: Tensor, c: Tensor, label: Tensor | None = None) -> Tensor:
        """The output (n, *shape) for x (n, *shape), c () or (n,), and label () or (n,)."""
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"this UNet takes pictures (n, {str(self.shape)[1:]}, got {tuple(x.shape)}"
            )
        e = self.features(c, label)
        h = functional.pixel_unshuffle(x, self.shrink)
        if self._beside:
            planes = self.rows(label)[:, :, None, None].expand(len(h), -1, *h.shape[2:])
            h = torch.cat([h, planes], 1)
        tokens = self.rows(label) if len(self.look) else None
        kept = self.fine(self.first(h), e)
        h = self._told(0, self.coarse[0](self.down(kept), e), tokens)
        h = self.up(functional.interpolate(self.coarse[1](h, e), scale_factor=2.0))
        h = self.last(torch.cat([self._told(1, h, tokens), kept], 1), e)
        return functional.pixel_shuffle(self.out(functional.silu(self.norm(h))), self.shrink)

    def _told(self, place: int, h: Tensor, tokens: Tensor | None) -> Tensor:
        return h if tokens is None else self.look[place](h, tokens)


class Residual(nn.Module):
    """A residual block of two convolutions with FiLM, (n, a, H, W) -> (n, b, H, W)."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.before, self.one = _norm(a), nn.Conv2d(a, b, 3, 1, 1)
        self.between, self.film, self.two = _norm(b), Film(b), zero(nn.Conv2d(b, b, 3, 1, 1))
        self.skip = nn.Conv2d(a, b, 1) if a != b else nn.Identity()

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        """The output (n, b, H, W) for h (n, a, H, W) and features e (1 or n, width)."""
        inner = self.one(functional.silu(self.before(h)))
        inner = self.two(functional.silu(self.film(self.between(inner), e)))
        return self.skip(h) + inner


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(8, width // 4), width)


def _sizes(shape: Sequence[int], shrink: int) -> tuple[int, int, int]:
    if isinstance(shape, str) or not isinstance(shape, Sequence) or len(shape) != 3:
        raise TypeError(f"shape must be (channels, height, width), got {shown(shape)}")
    channels, height, width = (check_int(size, "shape") for size in shape)
    if height % (2 * shrink) or width % (2 * shrink):
        raise ValueError(
            f"height and width must be multiples of {2 * shrink}, twice shrink, got {height} x "
            f"{width}; pad the pictures"
        )
    return channels, height, width
