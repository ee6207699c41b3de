r"""Keyed noise: every normal number of a run has an address.

A counter-based generator (Philox; Salmon, Moraes, Dror and Shaw 2011) is a function, not a state:

    normals = Philox(key = (seed, purpose); counter = (step, block of particles)).

So particle i at step k gets the same number in any order of access, in a run of any size, cut into
any chunks, on any number of workers. Nothing is stored, nothing is searched: no tree, no
recursion.

`Brownian` is the object handed to torchsde as `bm`. It runs on the step-number clock, on which
step k is the interval [k, k + 1] and W(k + 1) - W(k) is one standard normal per coordinate; the
solver owns the physical size of the step. When it is told of a finer grid, each step sums the
finer increments,

    W = sum_j sqrt(h_j) z_j,    U = int (W_u - W_0) du = sum_j [h_j W_j + u_j],
    u_j = h_j (w_j / 2 + H_j),    H_j ~ N(0, h_j / 12),

so that the same path can be walked at any coarser step (sum_j h_j = 1; Roessler 2010 for U, the
space-time Levy area).

See docs/theory.md, section 5 and (5.2).
"""

from __future__ import annotations

import operator
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

AHEAD = 2**15  # numbers drawn at once in a run: a small cloud's steps are drawn by the page
BLOCK = 4096  # particles per stream: long enough that drawing, not addressing, is what costs


class Stream(IntEnum):
    """The second word of the key: streams of different purpose never meet."""

    MOTION = 0
    LEVY = 1
    PRIOR = 2
    DATA = 3
    CHOICE = 4
    TRAINING = 5
    WEIGHTS = 6
    PROBE = 7
    CROSSING = 8


def _philox_state(seed: int, purpose: Stream) -> Any:
    return {
        "bit_generator": "Philox",
        "state": {
            "counter": np.zeros(4, dtype=np.uint64),
            # numpy's own integers would overflow
            "key": np.array([operator.index(seed) % 2**64, purpose], dtype=np.uint64),
        },
        "buffer": np.zeros(4, dtype=np.uint64),
        "buffer_pos": 4,  # the buffer is used up: the next draw starts at the counter
        "has_uint32": 0,
        "uinteger": 0,
    }


class KeyedNormals:
    """Standard normals at an address: `draw(step)` gives z (n, d) of particles first, first + 1...

    A particle's number is the same for any n, any `first` and any order of steps.
    """

    def __init__(
        self, seed: int, purpose: Stream, n: int, d: int, dtype: torch.dtype, first: int = 0
    ) -> None:
        self.n, self.d, self.first = n, d, first
        # numpy draws float32 and float64; narrower types are rounded from float32.
        self.dtype = dtype
        self._numpy = np.float64 if dtype == torch.float64 else np.float32
        self._state = _philox_state(seed, purpose)
        self._counter = self._state["state"]["counter"]
        self._bits = np.random.Philox(key=0)
        self._normal = np.random.Generator(self._bits).standard_normal
        self._length = max(1, min(64, AHEAD // (n * d)))
        self._page, self._drawn = -1, list[Tensor]()

    def read(self, step: int) -> Tensor:
        """`draw`, for a run through the steps: those of one page are drawn together. Do not write.

        Between two calls of a network the generator's code has left the cache: a small cloud's
        step is cheaper drawn by the page.
        """
        page, k = divmod(step, self._length)
        if page != self._page:
            self._page = page
            self._drawn = [self.draw(page * self._length + j) for j in range(self._length)]
        return self._drawn[k]

    def draw(self, step: int) -> Tensor:
        """z (n, d) of this step, on the CPU."""
        z = np.empty((self.n, self.d), dtype=self._numpy)
        self._counter[2] = step
        row = 0
        while row < self.n:
            block, skip = divmod(self.first + row, BLOCK)
            take = min(BLOCK - skip, self.n - row)
            self._counter[3] = block
            self._bits.state = self._state
            if skip:  # the rejection sampler has no address inside a stream: draw what is before
                self._normal((skip, self.d), dtype=self._numpy)
            self._normal(out=z[row : row + take], dtype=self._numpy)
            row += take
        out = torch.from_numpy(z)
        return out if out.dtype == self.dtype else out.to(self.dtype)


def random_generator(seed: int, purpose: Stream, step: int = 0) -> np.random.Generator:
    """A numpy generator whose whole sequence belongs to (seed, purpose, step)."""
    bits = np.random.Philox(key=0)
    state = _philox_state(seed, purpose)
    state["state"]["counter"][2] = step
    bits.state = state
    return np.random.Generator(bits)


def normals(seed: int, purpose: Stream, n: int, d: int, dtype: torch.dtype) -> Tensor:
    """z (n, d), standard normal; the first k rows of n are the k rows of a smaller call."""
    return KeyedNormals(seed, purpose, n, d, dtype).draw(0)


def uniform(seed: int, stream: int, n: int) -> Tensor:
    """n numbers (n,) in [0, 1), of one stream of the seed; the first k are those of k."""
    return torch.from_numpy(random_generator(seed, Stream.CHOICE, stream).random(n))
