"""Simulate as many particles of a trained run as are asked for, and write what is kept of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sdeflow import plot
from sdeflow._validation import SdeflowError, check_file, check_int
from sdeflow.density import Density, Grid
from sdeflow.distributed import layout
from sdeflow.experiment.check_setting import MAX_CELLS
from sdeflow.experiment.classes import NONE, Class, Guidance, field_of, labels_of
from sdeflow.experiment.problem import ALL, Problem
from sdeflow.experiment.run import reopen
from sdeflow.experiment.samplers import CALIBRATED, choose_motion, choose_solver
from sdeflow.fields.field import Field
from sdeflow.provenance import provenance, write_text
from sdeflow.random_streams import BLOCK
from sdeflow.sdes.sde import SDE
from sdeflow.simulation.cloud_file import FILE
from sdeflow.simulation.moments import CloudMoments, Moments
from sdeflow.simulation.quantiles import Quantiles
from sdeflow.simulation.reducers import Histogram, Reducer, Values
from sdeflow.simulation.simulate import simulate as simulate_cloud
from sdeflow.simulation.start import by_blocks
from sdeflow.solvers.device_normals import NoisePlace
from sdeflow.solvers.path import Path as ParticlePath

Kept = Literal["histogram", "moments", "quantiles"]

LARGE = 64 * BLOCK
"""Particles from which on the time is estimated, which takes that of a few blocks."""


def simulate(
    folder: Path,
    n: int,
    kept: Sequence[Kept] = ("histogram", "moments"),
    *,
    out: Path | None = None,
    method: str = "multistep",
    steps: int = 20,
    eta: float = 0.0,
    which: Class = None,
    guidance: Guidance = NONE,
    device: torch.device | str = "cpu",
    noise: NoisePlace = "cpu",
    cells: int = 64,
    seed: int = 0,
    chunk: int = 65_536,
    progress: bool = False,
    told: Callable[[str], None] = lambda text: None,
) -> Path:
    """Simulate n particles of a trained run, and write what is kept of them, in the data's units.

        density.npz, density.png    the histogram, for data of one or two columns
        simulation.json             moments and quantiles, the settings and the provenance

    An interrupted run continues where it ended, on any number of ranks.

    Args:
        out: the folder of the results, by default `simulation` in that of the run.
        method, steps, eta: of the sampler, see `samplers`.
        which: name of a class of the run, or "all" for each particle of a class of its own, drawn
            with the shares of the data, which is the default for a run with classes.
        device: where network and particles lie.
        noise: where the noise on the way is drawn, see `SDESolver`.
        cells: of the histogram along each axis; its grid holds 4,096 draws of the data and a
            quarter of their span beyond them.
        chunk: particles moved together.
        told: is given the estimated time of a large cloud before the run begins.

    Errors are those of `reopen`, the sampler and `sf.simulate`.
    """
    folder = check_file(folder, "folder")
    out = folder / "simulation" if out is None else _folder(out)
    built, names = reopen(folder, device), list(dict.fromkeys(kept))
    which, one = _classes(built, which, method)
    motion = choose_motion(folder, method, steps, built, one)
    sde = _sdes(built, which, guidance, seed, lambda field: motion(field, eta))
    run = partial(
        simulate_cloud, sde, partial(_prior, built, seed),
        reduce=[_reducer(name, built, cells) for name in names],
        solver=choose_solver(method, steps, eta, seed, noise), seed=seed, chunk=chunk,
    )  # fmt: skip
    if n > LARGE:
        told(_estimate(run, n))
    found = dict(zip(names, run(n, out=out, progress=progress), strict=True))
    if layout().is_writer:
        about = {"particles": n, "data": built.config.data, "class": which, "method": method}
        about |= {"steps": steps, "eta": eta, "noise": noise, **asdict(guidance)}
        _write(out, about, found, built.units.centre, seed)
    return out


def _folder(out: Path) -> Path:
    if check_file(out, "out").suffix == FILE:
        raise ValueError(
            f"{out} would hold a cloud, and simulate keeps none; name a folder, or draw a cloud "
            "with sdeflow sample"
        )
    return out


def _classes(built: Problem, which: Class, method: str) -> tuple[Class, str | None]:
    """The classes asked for, by default all; and the one class, if it is one."""
    if method == CALIBRATED and which == ALL:
        raise ValueError("steps are fitted to one class or to the whole cloud; name one, or none")
    if which is None and built.classes and method != CALIBRATED:
        which = ALL
    return which, None if which in (None, ALL) else str(which)


def _sdes(
    built: Problem, which: Class, guidance: Guidance, seed: int, motion: Callable[[Field], SDE]
) -> SDE | Callable[[int, int], SDE]:
    """The SDE of all particles; if each has a class of its own, that of any part of them."""

    def labels(n: int, seed: int) -> Tensor | None:
        return labels_of(built, which, n, seed, guidance.scale)

    known = labels(1, seed)
    if known is None or not known.ndim:
        return motion(field_of(built, known, guidance))
    each = by_blocks(labels, seed)  # type: ignore[arg-type]
    return lambda first, count: motion(field_of(built, each(first, count), guidance))


def _prior(built: Problem, seed: int, first: int, count: int) -> Tensor:
    return built.process.prior(count, built.dim, seed, first=first, device=built.device)


def _reducer(name: str, built: Problem, cells: int) -> Reducer:
    """The reducer of this name, of the last cloud in the data's units."""
    if name not in get_args(Kept):
        raise ValueError(f"{name!r} cannot be kept; use {', '.join(get_args(Kept))}")

    units = built.units

    def restored(path: ParticlePath) -> Any:
        return units.restore(path.x[-1].cpu())

    if name == "moments":
        return Values(restored, Moments())
    if name == "quantiles":  # of distances from the centre, because their errors are relative
        return Values(lambda path: restored(path).double() - units.centre, Quantiles())
    if built.dim > 2:
        raise SdeflowError(
            f"a histogram is for data of one or two columns, and {built.config.data} has "
            f"{built.dim}; keep moments,quantiles"
        )
    if check_int(cells, "cells", 4) > MAX_CELLS:
        raise ValueError(f"cells must be at most {MAX_CELLS}, got {cells}")
    x = built.data.sample(BLOCK, 0).double()
    low, high = x.amin(0), x.amax(0)
    edge = (high - low) / 4
    corners = tuple((low - edge).tolist()), tuple((high + edge).tolist())
    return Values(restored, Histogram(Grid(*corners, (cells,) * built.dim)))


def _estimate(run: Callable[[int], Any], n: int) -> str:
    """How long n particles will take on these ranks, from a few blocks."""
    ranks, blocks = layout().size, 2 * layout().size
    run(BLOCK)
    began = time.perf_counter()
    run(blocks * BLOCK)
    seconds = (time.perf_counter() - began) * n / (blocks * BLOCK)
    unit = next(u for u in ((3600, "hours"), (60, "minutes"), (0, "seconds")) if seconds >= u[0])
    on = f" on {ranks} processes" if ranks > 1 else ""
    return f"{n:,} particles take about {seconds / (unit[0] or 1):.2g} {unit[1]}{on}"


def _write(
    out: Path, about: dict[str, object], found: dict[str, Any], centre: Tensor, seed: int
) -> None:
    for name, result in found.items():
        if isinstance(result, Density):
            result.save(out / "density.npz")
            about["outside"] = 1 - result.total()
            _draw(result, out / "density.png")
        elif isinstance(result, CloudMoments):
            about |= {
                "mean": result.mean.tolist(), "mean_error": result.mean_error.tolist(),
                "covariance": result.covariance.tolist(), "central": result.central.tolist(),
            }  # fmt: skip
        else:
            levels = Quantiles().levels
            about[name] = dict(zip(map(str, levels), (result + centre).tolist(), strict=True))
    about["made"] = provenance(seed)
    write_text(out / "simulation.json", json.dumps(about, indent=1))


def _draw(density: Density, path: Path) -> None:
    with plot.figure(3.4, 2.8) as fig:
        ax = fig.subplots()
        plot.density(ax, density)
        plot.write(fig, path)
