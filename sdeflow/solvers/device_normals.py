r"""Draw standard normals on the device of a cloud, by the same addresses as `random_streams`.

    z = sqrt(-2 ln u) (cos 2 pi v, sin 2 pi v),    u, v: uniform numbers

The generator is Philox 4x32-10 (Salmon, Moraes, Dror and Shaw 2011), in operations of torch on
whole numbers. So every device computes the same words, and its normals differ from those of
another device by the rounding of ln, cos and sin alone. They are other numbers than those of
`KeyedNormals`, whose rejection sampling on the CPU has no parallel form.

Source: Box and Muller 1958, for the normals.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal, get_args

import torch
from torch import Tensor

from sdeflow._validation import shown
from sdeflow.random_streams import AHEAD, KeyedNormals, Stream

ROUNDS = 10
FACTORS, WEYL, WORD = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 0xFFFFFFFF
NoisePlace = Literal["cpu", "device"]
"""Where the normal numbers of a run are drawn."""

PIECE = 2**16, 2**22  # groups of words computed at once: what a CPU's cache holds; on a GPU


class DeviceNormals:
    """The standard normals of a run: `draw(step)` gives (n, d) on `device`.

    The numbers of a particle are the same for any n, any `first` and any order of steps. None is
    larger than 6.8 in float32 and 8.6 in float64.

    Args:
        seed, stream, n, d, dtype, first, scales, steps, leg: as in `KeyedNormals`.
        device: where they are computed.
    """

    def __init__(
        self, seed: int, stream: Stream, n: int, d: int, dtype: torch.dtype, first: int = 0,
        *, device: torch.device, scales: Tensor | None = None, steps: list[int] | None = None,
        leg: int = 0,
    ) -> None:  # fmt: skip
        self.n, self.d, self.first, self.dtype, self.device = n, d, first, dtype, device
        self._address, self._steps = (int(seed), int(stream), leg), steps
        self._length = max(1, min(64, AHEAD // (n * d)))
        self._group, self._drawn = -1, tuple[Tensor, ...]()
        self._scales = None if scales is None else scales.to(device, dtype)[:, None, None]

    def read(self, step: int) -> Tensor:
        """`scales[step] * draw(step)`, for steps in order; do not write to the result.

        Several steps of a small cloud are drawn at once, because one draw is some hundred
        operations, whatever its size.
        """
        group, k = divmod(step, self._length)
        if group != self._group:
            start, self._group = group * self._length, group
            left = self._length if self._steps is None else len(self._steps) - start
            z = self._normals(list(range(start, start + min(self._length, left))))
            if self._scales is not None:
                scales = self._scales[start : start + self._length]
                z[: len(scales)] *= scales
            self._drawn = z.unbind()
        return self._drawn[k]

    def draw(self, step: int) -> Tensor:
        """The standard normals z (n, d) of this step."""
        return self._normals([step])[0]

    def _normals(self, steps: list[int]) -> Tensor:
        """The normals (K, n, d) of K steps."""
        wide = self.dtype == torch.float64
        each = 2 if wide else 4  # normals of a group of four words
        begin, end = self.first * self.d, (self.first + self.n) * self.d
        groups = range(begin // each, -(-end // each))
        most = PIECE[self.device.type != "cpu"] // len(steps) or 1
        address = torch.tensor([self._words(k) for k in steps], dtype=torch.int64).to(self.device)
        parts = [
            _normal(
                _philox(
                    torch.arange(k, min(k + most, groups.stop), device=self.device),
                    *address.T[:, :, None],
                ),
                wide,
            )
            for k in range(groups.start, groups.stop, most)
        ]
        z = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        start = begin - each * groups.start
        return z[:, start : start + end - begin].reshape(-1, self.n, self.d).to(self.dtype)

    def _words(self, step: int) -> list[int]:
        """Four words of 32 bits, a digest of seed, stream, leg and step."""
        at = step if self._steps is None else self._steps[step]
        text = " ".join(map(str, (*self._address, at)))
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]


Normals = KeyedNormals | DeviceNormals


def _philox(
    i: Tensor, c2: Tensor, c3: Tensor, key0: Tensor, key1: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four words of the counters (i mod 2^32, i / 2^32, c2, c3), in tensors of int64.

    A product of two words overflows to the right 64 bits; the shift copies its sign, which the
    mask removes.
    """
    a, b, c, d = torch.broadcast_tensors(i & WORD, i >> 32, c2, c3)
    for _ in range(ROUNDS):
        p, q = a * FACTORS[0], c * FACTORS[1]
        a = (q >> 32).bitwise_xor_(b).bitwise_xor_(key0).bitwise_and_(WORD)
        c = (p >> 32).bitwise_xor_(d).bitwise_xor_(key1).bitwise_and_(WORD)
        b, d = q, p  # with their upper halves, which the mask removes later
        key0, key1 = key0 + WEYL[0] & WORD, key1 + WEYL[1] & WORD
    return a, b.bitwise_and_(WORD), c, d.bitwise_and_(WORD)


def _normal(words: tuple[Tensor, Tensor, Tensor, Tensor], wide: bool) -> Tensor:
    """The normals (K, 4 m) of words (K, m), in float32; or (K, 2 m) in float64."""
    if wide:
        bits = [words[k] << 21 ^ words[k + 1] >> 11 for k in (0, 2)]
        u = [x.to(torch.float64).add_(0.5).mul_(2.0**-53) for x in bits]
    else:
        u = [x.to(torch.float32).add_(0.5).mul_(2.0**-32) for x in words]
    rows, half = [], len(u) // 2
    for v, angle in zip(u[:half], u[half:], strict=True):
        radius, angle = v.log_().mul_(-2).sqrt_(), angle.mul_(2 * math.pi)
        rows += [angle.cos().mul_(radius), angle.sin_().mul_(radius)]
    return torch.stack(rows, -1).flatten(1)


def check_noise_place(noise: object) -> str:
    """Return `noise` if it says where normal numbers are drawn."""
    if noise not in get_args(NoisePlace):
        raise ValueError(
            f'noise must be "cpu" (every device has the same) or "device" (other numbers, drawn '
            f"where the cloud lies), got {shown(noise)}"
        )
    return str(noise)
