r"""Draw the Brownian motion of a run as a function of seed, particle and time.

On the step index, W(k + 1) - W(k) is one standard normal per coordinate; the factor sqrt(|dt|) is
in the diffusion. The normals of a step are keyed by its starting time, the direction of time and
the leg (see `Path`): the parts of a run have the noise of the whole run, and a run that starts
from the end of another has its own. If a finer grid is given, each step sums its increments,

    W = sum_j sqrt(h_j) z_j,    U = int (W_u - W_0) du = sum_j [h_j W_j + u_j],
    u_j = h_j (w_j / 2 + H_j),    H_j ~ N(0, h_j / 12),

so that runs with different steps follow one Brownian path. h_j are the shares of the finer steps,
sum_j h_j = 1; U is the space-time Levy area (Roessler 2010).

See docs/theory.md, (5.2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations

import torch
from torch import Tensor

from sdeflow._validation import (
    as_floating,
    check_device,
    check_dtype,
    check_int,
    check_seed,
    check_times,
)
from sdeflow.random_streams import KeyedNormals, Stream
from sdeflow.sdes.sde import Times
from sdeflow.solvers.device_normals import DeviceNormals, NoisePlace, Normals, check_noise_place
from sdeflow.solvers.path import nested


class Brownian:
    r"""Brownian increments on the step index, W(k + 1) - W(k) ~ N(0, 1), for `torchsde`.

    Args:
        seed: of the path.
        n, d: numbers of particles and coordinates.
        dtype, device: of the increments.
        first: id of the first particle.
        times: (K + 1,) of the steps; by default the address of step k is k.
        fine: (M + 1,) the grid on which the path is drawn, which contains `times`; by default
            `times`.
        leg: of the run (see `Path`).
        levy: also draw the space-time Levy area U, which torchsde's `srk` needs.
        area: also draw the Levy area A, which torchsde's `log_ode` needs.
        scales: (K,) factors of the increments of the steps of `times`, for additive noise whose
            size is known; ignored with `fine` or `levy`.
        walls: also draw a normal number per coordinate and step for `crossing`.
        noise: where normal numbers are drawn: "cpu", then every device gets the same bits, or
            "device", then they are other numbers, and no copy limits a GPU.

    Source: Roessler 2010 (SIAM J. Numer. Anal. 48), for U.
    """

    def __init__(
        self,
        seed: int,
        n: int,
        d: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        *,
        first: int = 0,
        times: Times | None = None,
        fine: Times | None = None,
        leg: int = 0,
        levy: bool = False,
        scales: Tensor | None = None,
        walls: bool = False,
        area: bool = False,
        noise: NoisePlace = "cpu",
    ) -> None:
        self.scaled = scales is not None and fine is None and not levy
        seed, n, d = check_seed(seed), check_int(n, "n"), check_int(d, "d")
        dtype, first = check_dtype(dtype), check_int(first, "first", 0)
        times = None if times is None else check_times(times)
        path = None if fine is None else check_times(fine, name="fine")
        own = times if path is None else path
        steps = None if own is None else addresses(own)
        leg = 2 * check_int(leg, "leg", 0) + (own is not None and bool(own[-1] < own[0]))
        self._shape, self._dtype, self._device = (n, d), dtype, check_device(device)
        there = check_noise_place(noise) == "device"
        self._home = self._device if there else torch.device("cpu")
        kind: Callable[..., Normals] = DeviceNormals if there else KeyedNormals
        where = {"device": self._home} if there else {}
        draws = partial(kind, seed, n=n, dtype=dtype, first=first, steps=steps, leg=leg, **where)
        self._w = draws(Stream.MOTION, d=d, scales=_factors(scales, own) if self.scaled else None)
        self._h = draws(Stream.LEVY, d=d) if levy or area else None
        self._pairs = draws(Stream.AREA, d=max(1, d * (d - 1) // 2)) if area else None
        self._crossing = draws(Stream.CROSSING, d=d) if walls else None
        self._grid = None if path is None or times is None else nested(times, path)
        self._gaps = None if path is None else (path[1:] - path[:-1]).abs().tolist()
        self._seed, self.step = seed, 0
        self._plain = fine is None and not levy and self._home.type == self._device.type

    def __repr__(self) -> str:
        n, d = self._shape
        return f"Brownian path of {n} particles in {d} dimensions, seed {self._seed}"

    def __call__(
        self,
        ta: Tensor | float,
        tb: Tensor | float | None = None,
        return_U: bool = False,
        return_A: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """W(tb) - W(ta) (n, d), and U (n, d) if requested, for one step (ta, tb) = (k, k + 1)."""
        # Every method of torchsde draws its increment first; the adapters read the step from here.
        self.step = int(ta) if isinstance(ta, float | Tensor) else check_int(ta, "ta", 0)
        if self._plain and not (return_U or return_A):
            return self._w.read(self.step)
        if return_A:
            w, area = self._with_area(self.step)
            return w.to(self._device), area.to(self._device)
        w, u = self._increment(self.step, return_U)
        if self._device.type != "cpu":
            w, u = w.to(self._device), None if u is None else u.to(self._device)
        return w if u is None else (w, u)

    def crossing(self, k: int) -> Tensor:
        """A standard normal (n, d) for step k, independent of W: for what happens within it."""
        if self._crossing is None:
            raise ValueError("this path was made for no walls; pass walls=True")
        return self._crossing.read(k if self._grid is None else self._grid[k]).to(self._device)

    def _increment(self, k: int, levy: bool) -> tuple[Tensor, Tensor | None]:
        if self._grid is None or self._gaps is None:
            w = self._w.read(k)
            return w, (w / 2 + self._levy(k) / 12**0.5) if levy else None
        start, stop = self._grid[k], self._grid[k + 1]
        length = sum(self._gaps[start:stop])
        w = torch.zeros(self._shape, dtype=self._dtype, device=self._home)
        u = torch.zeros_like(w)
        for j in range(start, stop):
            h = self._gaps[j] / length
            step = h**0.5 * self._w.read(j)
            if levy:
                u += h * (w + step / 2 + self._levy(j) * (h / 12) ** 0.5)
            w += step
        return w, u if levy else None

    def _with_area(self, k: int) -> tuple[Tensor, Tensor]:
        """W and A: of two parts after each other A = A_1 + A_2 + (W_1 W_2^T - W_2 W_1^T) / 2."""
        parts, gaps = [k], [1.0]
        if self._grid is not None and self._gaps is not None:
            parts = list(range(self._grid[k], self._grid[k + 1]))
            gaps = [self._gaps[j] / sum(self._gaps[i] for i in parts) for j in parts]
        n, m = self._shape
        w = torch.zeros(n, m, dtype=self._dtype, device=self._home)
        area = w.new_zeros(n, m, m)
        for j, h in zip(parts, gaps, strict=True):
            step = h**0.5 * self._w.read(j)
            product = w[:, :, None] * step[:, None, :]
            area += h * self._area(j) + (product - product.mT) / 2
            w = w + step
        return w, area

    def _area(self, j: int) -> Tensor:
        """A (n, m, m) of one step, given its W and its space-time area H (Foster 2020).

        A = H W^T - W H^T + B, B antisymmetric with the variance (1 / 4 + H_i^2 + H_j^2) / 5.
        """
        if self._pairs is None:
            raise ValueError("this path was made without its Levy area; pass area=True")
        w, h = self._w.read(j), self._levy(j) / 12**0.5
        square, m = h**2, self._shape[1]
        draws, out = self._pairs.read(j), w.new_zeros(*w.shape, m)
        for column, (a, b) in enumerate(combinations(range(m), 2)):
            size = ((0.25 + square[:, a] + square[:, b]) / 5).sqrt()
            pair = h[:, a] * w[:, b] - w[:, a] * h[:, b] + size * draws[:, column]
            out[:, a, b], out[:, b, a] = pair, -pair
        return out

    def _levy(self, k: int) -> Tensor:
        if self._h is None:
            raise ValueError(
                "this Brownian path was made without its Levy area; make it with levy=True"
            )
        return self._h.read(k)

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the increments."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """The device of the increments."""
        return self._device

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d), particles and coordinates."""
        return self._shape

    @property
    def levy_area_approximation(self) -> str:
        """torchsde's name of the Levy area that is drawn: "none", "space-time" or "foster"."""
        if self._pairs is not None:
            return "foster"
        return "none" if self._h is None else "space-time"


def _factors(scales: Tensor | None, times: Tensor | None) -> Tensor:
    """The factor of each step."""
    found, k = as_floating(scales, "scales"), 0 if times is None else len(times) - 1
    if found.shape != (k,):
        raise ValueError(
            f"scales must hold one number for each of the {k} steps of times, got shape "
            f"{tuple(found.shape)}"
        )
    return found


def addresses(times: Tensor) -> list[int]:
    """The key of each step: the 64 bits of the time at which it starts, in float64."""
    starts = times[:-1].double() + 0.0  # -0 and 0 are one time
    return [bits % 2**64 for bits in starts.view(torch.int64).tolist()]
