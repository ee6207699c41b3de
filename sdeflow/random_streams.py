r"""Draw random numbers by their address: seed, stream, leg, step and particle.

A counter-based generator (Philox; Salmon, Moraes, Dror and Shaw 2011) is a function of a key and a
counter and has no state:

    normals = Philox(key = (seed, stream); counter = (leg, step, block of particles)).

The leg is the number of a run in a chain of runs that continue each other. So the normals of
particle i at step k do not depend on the order of access, on the number of particles, on the
chunks in which they are simulated or on the number of workers.

See docs/theory.md, section 5.
"""

from __future__ import annotations

import hashlib
import operator
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

AHEAD = 2**15  # numbers drawn at once, for several steps ahead if the cloud is small
BLOCK = 4096  # particles per address: so many that setting the address costs little


class Stream(IntEnum):
    """The purpose of random numbers, the second word of the key: no two purposes share numbers."""

    MOTION = 0
    LEVY = 1
    PRIOR = 2
    DATA = 3
    CHOICE = 4
    TRAINING = 5
    WEIGHTS = 6
    PROBE = 7
    CROSSING = 8
    AREA = 9


def _philox_state(seed: int, stream: Stream) -> Any:
    return {
        "bit_generator": "Philox",
        "state": {
            "counter": np.zeros(4, dtype=np.uint64),
            # Integers of numpy would overflow in the modulus.
            "key": np.array([operator.index(seed) % 2**64, stream], dtype=np.uint64),
        },
        "buffer": np.zeros(4, dtype=np.uint64),
        "buffer_pos": 4,  # an empty buffer: the next draw starts at the counter
        "has_uint32": 0,
        "uinteger": 0,
    }


class KeyedNormals:
    """The standard normals of a run: `draw(step)` gives (n, d), one row for each particle.

    The numbers of a particle are the same for any n, any `first` and any order of steps.

    Args:
        seed, stream: the key.
        n, d: the numbers of particles and of coordinates.
        dtype: the type of the normals.
        first: the number of the first particle.
        scales: (K,) factors by which `read` multiplies the normals of each step; by default 1.
        steps: (K,) the address of each step, below 2^64; by default its number.
        leg: the part of the address that all steps share.
    """

    def __init__(
        self, seed: int, stream: Stream, n: int, d: int, dtype: torch.dtype, first: int = 0,
        *, scales: Tensor | None = None, steps: list[int] | None = None, leg: int = 0,
    ) -> None:  # fmt: skip
        self.n, self.d, self.first = n, d, first
        # numpy draws float32 and float64; narrower types are rounded from float32.
        self.dtype = dtype
        self._numpy = np.float64 if dtype == torch.float64 else np.float32
        self._state = _philox_state(seed, stream)
        self._counter = self._state["state"]["counter"]
        self._counter[1] = leg
        self._steps = steps
        self._bits = np.random.Philox(key=0)
        self._normal = np.random.Generator(self._bits).standard_normal
        self._length = max(1, min(64, AHEAD // (n * d)))
        self._group, self._drawn = -1, tuple[Tensor, ...]()
        self._scales = None if scales is None else scales.to(dtype)[:, None, None]

    def read(self, step: int) -> Tensor:
        """`scales[step] * draw(step)`, for steps in order; do not write to the result.

        Several steps of a small cloud are drawn at once, because between two draws a call of a
        network evicts the generator's code from the processor's cache.
        """
        group, k = divmod(step, self._length)
        if group != self._group:
            self._group = group
            self._drawn = self._together(group * self._length)
        return self._drawn[k]

    def _together(self, start: int) -> tuple[Tensor, ...]:
        """The normals of one group of steps, which begins with `start`."""
        left = self._length if self._steps is None else len(self._steps) - start
        z = np.empty((min(self._length, left), self.n, self.d), dtype=self._numpy)
        for j in range(len(z)):
            self._fill(z[j], start + j)
        drawn = torch.from_numpy(z).to(self.dtype)
        if self._scales is not None:
            scales = self._scales[start : start + self._length]
            drawn[: len(scales)] *= scales
        return drawn.unbind()

    def draw(self, step: int) -> Tensor:
        """The standard normals z (n, d) of this step, on the CPU."""
        z = np.empty((self.n, self.d), dtype=self._numpy)
        self._fill(z, step)
        return torch.from_numpy(z).to(self.dtype)

    def _fill(self, z: np.ndarray, step: int) -> None:
        self._counter[2] = step if self._steps is None else self._steps[step]
        row = 0
        while row < self.n:
            block, skip = divmod(self.first + row, BLOCK)
            take = min(BLOCK - skip, self.n - row)
            self._counter[3] = block
            self._bits.state = self._state
            if skip:  # rejection sampling has no address inside a block: draw all before it
                self._normal((skip, self.d), dtype=self._numpy)
            self._normal(out=z[row : row + take], dtype=self._numpy)
            row += take


def random_generator(seed: int, stream: Stream, step: int = 0) -> np.random.Generator:
    """A numpy generator that starts at the address (seed, stream, step)."""
    bits = np.random.Philox(key=0)
    state = _philox_state(seed, stream)
    state["state"]["counter"][2] = step
    bits.state = state
    return np.random.Generator(bits)


def normals(seed: int, stream: Stream, n: int, d: int, dtype: torch.dtype) -> Tensor:
    """Standard normals (n, d); the first k rows are those of a call with n = k."""
    return KeyedNormals(seed, stream, n, d, dtype).draw(0)


def normals_like(x: Tensor, seed: int, stream: Stream, step: int = 0) -> Tensor:
    """Standard normals of the shape, type and device of x, from one `random_generator`."""
    z = random_generator(seed, stream, step).standard_normal(tuple(x.shape))
    return torch.from_numpy(z).to(x)


def seed_of(row: Tensor) -> int:
    """A seed below 2^63 made of the numbers of a row (d,): equal rows have equal seeds."""
    numbers = row.detach().cpu().double() + 0.0  # -0 and 0 are one number
    return int.from_bytes(hashlib.blake2b(numbers.numpy().tobytes(), digest_size=8).digest()) >> 1


def uniform(seed: int, step: int, n: int) -> Tensor:
    """Uniform numbers (n,) in [0, 1) at one step; the first k are those of a call with n = k."""
    return torch.from_numpy(random_generator(seed, Stream.CHOICE, step).random(n))
