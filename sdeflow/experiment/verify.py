"""The proof of a run: its cloud beside the densities that it should have.

The trained field drives particles and, by the Fokker-Planck equation, a density on a grid. If the
solver is right the two agree; how far both are from the data's own law is the network's doing.

    two worlds     the SDE's cloud against `evolve` under the same learned drift, at several times
    budget         the error of a DDPM cloud, split into its causes
    inconsistency  the flow's density against the SDE's: zero if the field is one law's score

A grid sees nothing finer than its cells, so the proof ends where the noise is 2.5 cells wide; it
says where that is. Files: proof.json, proof.md, proof.png in the run's folder.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sdeflow import plot
from sdeflow._validation import check_int
from sdeflow.density import Density, Grid
from sdeflow.diagnostics.error_budget import ErrorBudget, error_budget
from sdeflow.diagnostics.goodness_of_fit import check_path
from sdeflow.diagnostics.verdict import PathVerdict, told
from sdeflow.distributions.mixture import prior_density
from sdeflow.experiment import run
from sdeflow.fokker_planck.evolve import evolve
from sdeflow.fokker_planck.rescaling import Rescaling
from sdeflow.provenance import provenance, write_text
from sdeflow.sdes.generative import ancestral, reverse
from sdeflow.solvers.sde_solver import SDESolver

RESOLVED = 2.5  # cells in the narrowest width that a grid holds to 1e-3 in total variation
TIMES = 5  # at which the two worlds are compared
CELLS = 2048  # at most, along each axis
FLOW = 200  # steps of the particles that stand for the SDE itself


@dataclass(frozen=True, eq=False)
class Verification:
    """What was compared, and how it came out.

    Attributes:
        level: noise sigma / alpha at which the proof ends, in data std.
        worlds: the SDE's particles against the density under the same drift.
        inconsistency, inconsistency_error: total variation between the flow's density and the
            SDE's, and the grids' own error of it.
        budget: of a DDPM cloud; None where the data's exact law is not known.
        density: under the learned drift, at the end.
    """

    level: float
    worlds: PathVerdict
    inconsistency: float
    inconsistency_error: float
    budget: ErrorBudget | None
    density: Density


def verify(
    whole: run.Problem,
    *,
    n: int = 20_000,
    cells: int = 128,
    steps: int = 200,
    chain: int = 64,
    seed: int = 0,
) -> Verification:
    """Compare particles and densities under a run's learned field.

    Args:
        whole: a trained run.
        n: particles in each cloud.
        cells: along each axis of the grid.
        steps: of `evolve` over the process's whole span.
        chain: DDPM steps over that span.
        seed: of everything random.

    Raises:
        ValueError: too few particles, cells or steps, or too many cells; SdeflowError: as
            `evolve`.
    """
    check_int(n, "n", 1000)
    if check_int(cells, "cells", 32) > CELLS:
        raise ValueError(f"cells must be at most {CELLS}, got {cells}: memory grows as its square")
    for name, number in (("steps", steps), ("chain", chain)):
        check_int(number, name)
    field, process = whole.field, whole.process
    rescaling, level = _setting(whole, cells)
    end = float(process.time(torch.tensor(-2 * math.log(level), dtype=torch.float64)))
    end = max(end, process.t_min)
    half = 5 * rescaling(end)
    grid = Grid((-half, -half), (half, half), (cells, cells))
    law, flow = reverse(field), reverse(field, 0.0)
    prior = prior_density(grid.scaled(rescaling(process.t_max) / rescaling(end)), process)

    fine = _until(law.times(FLOW), end)
    save = fine[torch.linspace(0, len(fine) - 1, TIMES + 1).round().long()[1:]]
    path = SDESolver("heun", times=fine, seed=seed).solve(law, process.prior(n, 2, seed), save)
    asked = torch.cat([fine[:1], save])
    densities = evolve(law, prior, asked, steps=steps, rescaling=rescaling)
    still = evolve(flow, prior, asked[[0, -1]], steps=steps, rescaling=rescaling)[-1]
    return Verification(
        level,
        check_path(path, densities, seed=seed),
        still.total_variation(densities[-1]),
        (still.error or 0.0) + (densities[-1].error or 0.0),
        _budget(whole, grid, rescaling, _until(law.times(chain), end), n, steps, seed),
        densities[-1],
    )


def _budget(
    whole: run.Problem,
    grid: Grid,
    rescaling: Rescaling,
    times: Tensor,
    n: int,
    steps: int,
    seed: int,
) -> ErrorBudget | None:
    if whole.truth is None:
        return None
    law = ancestral(whole.field)
    x = whole.process.prior(n, 2, seed + 1)
    cloud = SDESolver("euler", times=times, seed=seed + 1).solve(law, x, 1).x[-1]
    return error_budget(
        cloud, law, times, whole.truth, grid, rescaling=rescaling, steps=steps, seed=seed
    )


def _setting(whole: run.Problem, cells: int) -> tuple[Rescaling, float]:
    """A ruler whose box of five s(t) holds the cloud at every time, and the noise to end at.

    The data lie within R of the centre, so R + 4.4 rho must stay below 5 s. The worst noise is
    rho = 0.78 R, and there s^2 = 0.176 R^2 + rho^2 is just enough.
    """
    reach = float(whole.standard.sample(20_000, whole.config.seed).abs().max())
    std = 0.42 * reach
    width = 0.0 if whole.truth is None else whole.truth.distribution.narrowest()
    least = RESOLVED * 10 * std / cells
    level = math.sqrt(max(least**2 - width**2, 0.0))
    process = whole.process
    clean = float(torch.exp(-process.log_snr(torch.tensor(process.t_min).double()) / 2))
    return Rescaling(process, std, max(width, least)), max(level, clean)


def _until(times: Tensor, end: float) -> Tensor:
    """The times before `end`, which falls, and `end`."""
    last = torch.tensor([end], dtype=torch.float64)
    near = (times[1] - times[0]).abs() * 1e-6
    return torch.cat([times[times > end + near], last])


# -------------------------------------------------------------------------------------- the report


def check(
    folder: Path, *, n: int = 20_000, cells: int = 128, steps: int = 200, chain: int = 64,
    seed: int = 0,
) -> str:  # fmt: skip
    """Prove a run's cloud, write the proof into its folder, and return it as Markdown.

    Raises:
        SdeflowError: as `run.reopen` and `prove`.
    """
    start = time.perf_counter()
    folder = Path(folder)
    whole = run.reopen(folder)
    found = verify(whole, n=n, cells=cells, steps=steps, chain=chain, seed=seed)
    text = markdown(found, whole.config.data, time.perf_counter() - start)
    made = provenance(seed)
    _picture(found, folder / "proof.png", {k: str(v) for k, v in made.items()})
    write_text(folder / "proof.json", json.dumps({**_numbers(found), "made": made}, indent=1))
    write_text(folder / "proof.md", text)
    return text


def markdown(found: Verification, name: str, seconds: float) -> str:
    """The proof as two tables and three sentences."""
    w = found.worlds
    said = "agree" if w.passed() else "DO NOT agree"
    n = w.verdicts[0].n
    out = [
        f"### {name}: the proof",
        "",
        f"Down to noise {found.level:.3g} (data std), where the grid ends. {n} particles of the "
        f"reverse SDE and the density under the same learned drift {said}: {told(w.p_value)} "
        f"after Holm over {len(w.tests)} tests.",
        "",
        "| t | smallest p | total variation | floor | effect, 95 % below |",
        "|---|---|---|---|---|",
    ]
    for t, v in zip(w.t, w.verdicts, strict=True):
        out.append(
            f"| {float(t):.3g} | {min(test.p_value for test in v.tests):.2g} | {v.distance:.4f} "
            f"| {v.floor[0]:.4f} +- {v.floor[1]:.4f} | {v.bound:.1e} |"
        )
    out += [
        "",
        "Densities of the flow and of the SDE, under one learned field: total variation "
        f"{found.inconsistency:.3f} +- {found.inconsistency_error:.3f}; a true score has 0.",
        "",
    ]
    if found.budget is None:
        out += ["The exact law of these data is not known: no budget of the error."]
    else:
        out += _budget_rows(found.budget)
    return "\n".join([*out, "", f"{seconds:.0f} s for the proof."]) + "\n"


def _budget_rows(b: ErrorBudget) -> list[str]:
    out = [
        f"Budget of a DDPM cloud of {b.total.n} (total variation; {b.detectable:.3f} would show):",
        "",
        "| cause | total variation | interval | seen |",
        "|---|---|---|---|",
    ]
    out += [
        f"| {p.name} | {p.value:.1e} | {p.low:.1e} to {p.high:.1e} | {'yes' if p.seen else 'no'} |"
        for p in b.parts
    ]
    return out


def _numbers(found: Verification) -> dict[str, object]:
    b = found.budget
    return {
        "level": found.level,
        "p_value": found.worlds.p_value,
        "agree": found.worlds.passed(),
        "inconsistency": [found.inconsistency, found.inconsistency_error],
        "budget": None if b is None else {p.name: [p.value, p.low, p.high] for p in b.parts},
        "causes": None if b is None else list(b.causes),
    }


def _picture(found: Verification, path: Path, about: dict[str, str]) -> None:
    b, last = found.budget, found.worlds.verdicts[-1]
    with plot.figure(7.0, 2.1) as fig:
        widths = [1.0, 1.0, 1.0, 1.15] if b else [1.0, 1.0]
        panels = fig.subplots(1, len(widths), width_ratios=widths)
        plot.density(panels[0], found.density)
        panels[0].set_title("density, learned field")
        maps = [plot.residual(panels[1], last, found.density)]
        panels[1].set_title(f"SDE cloud, {told(last.p_value)}")
        panels[1].set_xlabel("against this density")
        if b is not None:
            maps.append(plot.residual(panels[2], b.total, b.laws["exact"]))
            panels[2].set_title(f"DDPM cloud, {told(b.total.p_value)}")
            panels[2].set_xlabel("against the exact law")
            plot.budget(panels[3], b)
        bar = fig.colorbar(maps[0], ax=panels[1 : 1 + len(maps)], shrink=0.8, extend="both")
        bar.set_label("residual (sd)", labelpad=1)
        plot.write(fig, path, about)
