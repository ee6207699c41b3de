r"""Pack the numbers of an HTML page that plays a run: positions, windows, densities, arrows.

    positions   16 bits for each coordinate between the extremes of the cloud at that time: the
                error is at most (high - low) / 131070; stored as differences in time
    windows     one for all times, and one that follows the cloud
    densities   8 bits for each cell, p / (largest p at that time), on at most 64 x 64 cells
    arrows      unit vectors at 13 x 13 points of each window, 8 bits for each component

All are compressed (zlib) and written as base64.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_kind
from sdeflow.density import Density
from sdeflow.fields.field import Field
from sdeflow.fokker_planck.density_path import DensityPath
from sdeflow.plot.fields import Flow, directions, sampled
from sdeflow.plot.panels import Window
from sdeflow.sdes.sde import SDE

LEVELS = 65535  # values of a coordinate
CELLS = 64  # most cells of a density along an axis, if its cells can be merged
NODES = 13  # arrows along each axis
INSIDE, BEYOND = 0.998, 0.1  # share of the particles inside a window; its widening by the others
MARGIN, REACH = 0.05, 3  # margin of a window; frames over which the following one is smoothed
ZOOM, FOLLOW = 1.5, 4.0  # ratios of windows above which the page offers zooming, starts zoomed


def packed(values: np.ndarray) -> str:
    """Compress an array, and write it as base64."""
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode("ascii")


def positions(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """Pack states (T, n, 2) in 16 bits between `low` and `high` (T, 2), as differences in time.

    The high bytes of all differences, mostly 0 or 255, come first: this compresses better.
    """
    span = np.where(high > low, high - low, 1.0)
    levels = np.rint((x - low[:, None]) / span[:, None] * LEVELS).astype(np.uint16)
    levels[1:] -= levels[:-1].copy()  # modulo 2^16
    return packed(levels.astype(">u2").view(np.uint8).reshape(-1, 2).T)


def windows(x: np.ndarray) -> dict[str, Any]:
    """Choose squares (T, 3), centre and half the side, around states (T, m, 2) of all panels.

    A window holds every particle, unless a few lie far outside the box of the others.
    """
    tail = (1 - INSIDE) / 2
    inner = np.quantile(x, [tail, 1 - tail], axis=1)
    room = BEYOND * (inner[1] - inner[0])
    low = np.maximum(x.min(1), inner[0] - room)
    high = np.minimum(x.max(1), inner[1] + room)
    fixed = _squares(low.min(0)[None], high.max(0)[None]).repeat(len(x), 0)
    following = _squares(_smoothed(low, np.min), _smoothed(high, np.max))
    ratio = float(fixed[0, 2] / following[:, 2].min())
    found: dict[str, object] = {"fixed": rounded(fixed)}
    if ratio > ZOOM:
        found["following"] = rounded(following)
    return {"windows": found, "zooms": ratio > ZOOM, "follow": ratio > FOLLOW}


def _smoothed(ends: np.ndarray, extreme: Callable[..., np.ndarray]) -> np.ndarray:
    """Average extremes over neighbouring times: the result changes slowly and bounds each end."""
    return _neighbours(extreme(_neighbours(ends), axis=-1)).mean(-1)


def _neighbours(ends: np.ndarray) -> np.ndarray:
    """The values within `REACH` frames of each, in a new last axis."""
    wide = np.pad(ends, ((REACH, REACH), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(wide, 2 * REACH + 1, axis=0)


def _squares(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    half = (high - low).max(1) / 2 * (1 + 2 * MARGIN)
    half = np.where(half > 0, half, 1.0)  # for a single point any window will do
    return np.concatenate([(low + high) / 2, half[:, None]], 1)


def rounded(values: np.ndarray | Tensor) -> list:
    """Turn an array into nested lists of numbers of seven digits."""
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim == 0:
        return float(f"{float(rows):.7g}")  # type: ignore[return-value]
    return [rounded(row) for row in rows]


def density_frames(densities: DensityPath, t: np.ndarray) -> dict[str, object]:
    """Pack densities at some of the times t (T,), with 8 bits for each cell, and their grids."""
    check_kind(densities, DensityPath, "densities", "evolve gives one")
    coarse = [_merged(p) for p in densities]
    if any(p.grid.dim != 2 or p.grid.shape != coarse[0].grid.shape for p in coarse):
        raise ValueError("densities must have two dimensions, and grids of the same shape")
    gaps = np.abs(t[:, None] - densities.t.detach().cpu().double().numpy())
    frames = gaps.argmin(0)
    far = gaps.min(0) > 1e-6 * max(float(np.ptp(t)), 1e-300)
    if far.any() or len(set(frames.tolist())) < len(frames):
        raise ValueError(
            "densities have times that the path does not have; use evolve(..., path.t)"
        )
    peaks = [float(p.mass.max()) for p in coarse]
    cells = [np.rint(255 * (p.mass.numpy() / top)) for p, top in zip(coarse, peaks, strict=True)]
    return {
        "frames": frames.tolist(),
        "shape": list(coarse[0].grid.shape),
        "boxes": rounded(np.array([[*p.grid.low, *p.grid.high] for p in coarse])),
        "peaks": rounded(np.array(peaks) / [p.grid.volume for p in coarse]),
        "cells": packed(np.stack(cells).astype(np.uint8)),
    }


def _merged(p: Density) -> Density:
    """Merge cells so that at most `CELLS` remain along each axis, if they can be merged evenly."""
    most, least = max(p.grid.shape), min(p.grid.shape)
    factors = range(math.ceil(most / CELLS), least // 4 + 1)
    even = [f for f in factors if all(n % f == 0 for n in p.grid.shape)]
    return p.coarsen(even[0]) if even and even[0] > 1 else p


def arrow_frames(flow: Flow, t: np.ndarray, found: dict[str, Any]) -> dict[str, object]:
    """Pack unit vectors along a flow (see `plot.arrows`) at the nodes of each window."""
    kinds = {SDE: "the drift", Field: "the score"}
    names = [name for kind, name in kinds.items() if isinstance(flow, kind)]
    arrows: dict[str, object] = {"nodes": NODES, "name": (*names, "the flow")[0]}
    for mode, row in found["windows"].items():
        arrows[mode] = packed(np.stack([_arrows(flow, *at) for at in zip(t, row, strict=True)]))
    return arrows


def _arrows(flow: Flow, t: float, square: Sequence[float]) -> np.ndarray:
    x, y, half = square
    where = Window((x - half, y - half), (x + half, y + half))
    _, vectors = sampled(flow, float(t), where, NODES)
    return np.rint(127 * directions(vectors)).astype(np.int8)


def noise_levels(field: object, t: np.ndarray) -> list | None:
    """The noise level sigma / alpha at each time, if `field` is a field with a process."""
    if not isinstance(field, Field):
        return None
    return rounded(field.process.noise_level(torch.from_numpy(t)))
