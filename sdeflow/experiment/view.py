"""Write a page of HTML that plays paths: play, pause, scrub, point at a particle.

    page     any two paths in the plane, side by side
    view     a trained run: its reverse SDE and its flow from the same starts, with their densities

The page is one file, with its data, its program (page.js) and its style (page.css), and needs no
network. The same command writes the same bytes.
"""

from __future__ import annotations

import html
import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import (
    SdeflowError,
    check_file,
    check_int,
    check_kind,
    check_numbers,
    shown,
)
from sdeflow.experiment import run
from sdeflow.experiment.check_setting import setting_of, tabulated
from sdeflow.experiment.classes import conditioned
from sdeflow.experiment.complaints import advised
from sdeflow.experiment.page_data import (
    LEVELS,
    arrow_frames,
    density_frames,
    noise_levels,
    positions,
    rounded,
    windows,
)
from sdeflow.experiment.problem import Problem
from sdeflow.fields.field import Field
from sdeflow.fokker_planck.density_path import DensityPath
from sdeflow.fokker_planck.evolve import evolve
from sdeflow.plot.fields import Flow
from sdeflow.plot.paths import States
from sdeflow.provenance import check_writable, provenance, write_text
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.path import Path
from sdeflow.solvers.sde_solver import SDESolver

MOST = 10_000_000  # most positions in a page, which then has about 40 MB
STEPS = 100  # least number of time steps of a run's solvers

Densities = DensityPath | tuple[DensityPath | None, DensityPath | None]
"""The densities of both panels, or a pair."""


def page(
    sde: States, ode: States | None = None, densities: Densities | None = None,
    field: Flow | None = None, *, names: Sequence[str] = ("SDE", "ODE"),
    title: str = "Particles", unit: str = "data unit", note: str = "",
    about: Mapping[str, object] | None = None,
) -> str:  # fmt: skip
    """Make a page of HTML that plays one path, or two side by side.

        pathlib.Path("page.html").write_text(page(sde_path, ode_path, evolve(..., sde_path.t)))

    Positions are rounded to 1/65535 of the cloud's width at their time. Two panels of 5,000
    particles at 100 times take about 4 MB.

    Args:
        sde, ode: paths, or states (T, n, 2), of the same times and numbers of particles.
        densities: densities at some of these times, drawn in both panels, or a pair.
        field: the field of the arrows, as in `plot.arrows`.
        names: of the panels.
        unit: of length.
        note: a sentence to add to the caption.
        about: names and values to add to the provenance, which the last line of the page shows.

    Raises:
        TypeError, ValueError: paths that have not two coordinates or one state only, or do not
            fit together; densities at other times; too many positions.
    """
    states = [_states(sde, "sde")] + ([] if ode is None else [_states(ode, "ode")])
    t, clouds = states[0][0], np.stack(_fitting(states))
    names = _names(names, len(clouds))
    everything = clouds.transpose(1, 0, 2, 3).reshape(len(t), -1, 2)
    low, high = everything.min(1), everything.max(1)
    found = windows(everything)
    pair = densities if isinstance(densities, tuple) else (densities,) * len(clouds)
    if len(pair) != len(clouds):
        raise ValueError(f"densities must be one, or one for each of the {len(clouds)} path(s)")
    data = {
        "names": names, "unit": check_kind(unit, str, "unit"), "t": rounded(t),
        "noise": noise_levels(field, t), "particles": clouds.shape[2],
        "note": check_kind(note, str, "note"), "levels": LEVELS,
        "same": bool(np.array_equal(clouds[0][0], clouds[-1][0])),
        "low": low.tolist(), "high": high.tolist(), **found,
        "paths": [positions(x, low, high) for x in clouds],
        "densities": [None if p is None else density_frames(p, t) for p in pair],
        "arrows": None if field is None else arrow_frames(field, t, found),
    }  # fmt: skip
    given = {} if about is None else about
    if not isinstance(given, Mapping):
        raise TypeError(f"about must be a mapping of names to values, got {shown(about)}")
    return _filled(check_kind(title, str, "title"), data, {**provenance(), **given})


def _names(names: object, panels: int) -> list[str]:
    if not isinstance(names, list | tuple) or len(names) < panels:
        raise TypeError(f"names must be a list of {panels} name(s), got {shown(names)}")
    return [check_kind(name, str, "each of names") for name in names[:panels]]


def _states(path: object, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) and states (T, n, 2)."""
    if isinstance(path, Path):
        t, x = path.t.detach().cpu().double().numpy(), check_numbers(path.x, name)
    elif isinstance(path, Tensor | np.ndarray) and path.ndim == 3 and len(path):
        t, x = np.arange(len(path), dtype=np.float64), check_numbers(path, name)
    else:
        raise TypeError(f"{name} must be a Path or states (T, n, 2), got {shown(path)}")
    if x.shape[2] != 2:
        raise ValueError(
            f"{name} has {x.shape[2]} coordinate(s), but a page shows two; choose two of three: "
            "dataclasses.replace(path, x=path.x[..., :2])"
        )
    if len(t) < 2 or not x.shape[1]:
        raise ValueError(f"{name} holds one state; solve with save=100 to keep those on the way")
    return t, x.numpy()


def _fitting(states: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Check that all clouds have the same times and numbers of particles, and return them."""
    (t, x), (other, y) = states[0], states[-1]
    if x.shape != y.shape or not np.allclose(t, other, rtol=0, atol=1e-6 * np.ptp(t)):
        raise ValueError(
            "sde and ode must have the same times and as many particles; solve both from one "
            "cloud with the same times"
        )
    check_size(x.shape[0] * x.shape[1] * len(states))
    return [cloud for _, cloud in states]


def check_size(count: int) -> None:
    """Refuse more positions than a page can hold."""
    if count > MOST:
        raise ValueError(
            f"a page holds at most {MOST} positions, got {count}; take fewer particles or states"
        )


def _filled(title: str, data: dict, made: dict[str, object]) -> str:
    """Fill the template with its style, its program and its numbers."""
    folder = files("sdeflow.experiment")
    text = {name: (folder / f"page.{name}").read_text("utf-8") for name in ("html", "css", "js")}
    said = ", ".join(f"{name} {value}" for name, value in made.items() if name != "command")
    parts = {
        "title": html.escape(title),
        "made": html.escape(f"Made by: {made.get('command', 'unknown')} ({said})."),
        "css": text["css"], "js": text["js"],
        "provenance": _json({name: str(value) for name, value in made.items()}),
        "data": _json(data),
    }  # fmt: skip
    pieces = text["html"].split("{{")
    ends = [piece.partition("}}") for piece in pieces[1:]]
    return pieces[0] + "".join(parts[name] + rest for name, _, rest in ends)


def _json(value: object) -> str:
    """Write JSON that cannot end a script of HTML."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


# ---------------------------------------------------------------------------------------- a run


def view(
    folder: pathlib.Path, out: pathlib.Path | None = None, *, n: int = 2000, frames: int = 100,
    cells: int = 128, density: bool = True, label: str | int | None = None, seed: int = 0,
    device: torch.device | str = "cpu",
) -> pathlib.Path:  # fmt: skip
    """Write a page that plays a trained run, and return its file.

    The reverse SDE and the flow start from the same noise and are solved by Heun's method. Each is
    drawn over the density of `evolve` for the same learned field, down to the noise level at which
    a check ends, and below it over the exact density of the data, if it is known.

    Args:
        out: the file, by default page.html in the folder of the run.
        n: particles in each panel.
        frames: number of saved states.
        cells: cells along each axis of the densities' grid.
        density: whether to compute the densities, which takes most of the time.
        label: name of the class to sample, for a run trained with classes.

    Errors are those of `run.reopen`, `page` and `evolve`.
    """
    check_size(2 * check_int(n, "n") * check_int(frames, "frames", 2))
    check_int(cells, "cells", 32)
    problem = run.reopen(folder, device)
    problem.check_plane("a page")
    out = pathlib.Path(folder) / "page.html" if out is None else check_file(out, "out")
    check_writable(out)
    field = conditioned(problem, label)
    sde, flow = reverse(field), reverse(field, 0.0)
    times = sde.times((frames - 1) * -(-STEPS // (frames - 1)))
    x = problem.process.prior(n, 2, seed, device=problem.device)
    noisy = SDESolver("heun", times=times, seed=seed).solve(sde, x, frames)
    smooth = ODESolver("heun2", times=times).solve(flow, x, frames)
    pair, note = _densities(problem, field, noisy.t, cells) if density else (None, "")
    config = problem.config
    text = page(
        noisy, smooth, pair, field, unit="data std",
        title=f"{pathlib.Path(config.data).name}{'' if label is None else f', class {label}'} "
        f"under {config.process}",
        note=f"Data std: {problem.units}. {note}".strip(),
        about=provenance(seed, asdict(config)),
    )  # fmt: skip
    write_text(out, text)
    return out


def _densities(
    problem: Problem, learned: Field, t: Tensor, cells: int
) -> tuple[tuple[DensityPath, DensityPath], str]:
    """The densities of SDE and flow at the times that the grid resolves, and a note on them."""
    setting = setting_of(problem, cells)
    times, prior = t.double()[t.double() >= setting.t_end], setting.prior()
    field = tabulated(learned, setting, prior)
    try:
        with advised():
            noisy, smooth = (
                evolve(reverse(field, eta), prior, times, rescaling=setting.rescaling)
                for eta in (1.0, 0.0)
            )
    except SdeflowError as error:
        raise SdeflowError(f"{error}; or leave out the density: --no-density") from None
    if len(times) == len(t):
        return (noisy, smooth), ""
    until = f"noise level {setting.noise_level:.3g}, below which it is too narrow for"
    told = f"The density of the learned field ends at {until} {cells} x {cells} cells"
    truth = problem.truth if learned is problem.field else None
    if truth is None:
        return (noisy, smooth), f"{told}; give more by --cells."
    late = t[t.double() < setting.t_end].double()
    exact = tuple(truth.density(setting.grid, float(at)) for at in late)
    every, note = torch.cat([times, late]), "from there the exact density of the data is drawn"
    noisy, smooth = (replace(p, t=every, densities=p.densities + exact) for p in (noisy, smooth))
    return (noisy, smooth), f"{told}; {note}, averaged over each cell."
