"""The demo: from noise to data through both engines, every distance beside its floor.

Four samplers, two of each engine, start from the same prior noise of one trained field:

    reverse SDE    torchsde, heun        dx = [...] dt + g dW, eta = 1
    DDPM           torchsde, euler       the bridge between the levels of the chain
    flow           torchdiffeq, heun2    eta = 0
    DDIM           torchdiffeq, euler    eta = 0 in the comoving frame, y = x / alpha

How far each ends from the data says little until two more numbers stand beside it: how far two
samples of the data are from each other (the floor), and, where the truth is known, how far the
*exact* field ends with the same noise and steps. What the learned field adds to the latter is the
network's; what the exact one adds to the floor is the sampler's. In the same way the loss is
split into what no network removes and the rest (`objective.meter`).

Everything is measured in the run's own units, the data's standard deviation.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from sdeflow import plot
from sdeflow._validation import check_int
from sdeflow.diagnostics.distances import sampling_floor, wasserstein
from sdeflow.experiment.run import Config, Problem, Solver, fit, sample
from sdeflow.fields.field import Field
from sdeflow.provenance import provenance, write_text
from sdeflow.sdes.generative import ancestral, comoving, reverse
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.sde_solver import SDESolver
from sdeflow.training.loss import LossReport, loss_decomposition

MOST = 5000
"""Particles, of which `wasserstein` can be asked."""


@dataclass(frozen=True)
class Sampler:
    """One way from noise to data: a law, in which frame, and the engine that runs it."""

    name: str
    solver: Solver
    law: Callable[[Field], SDE]
    comoving: bool = False

    def __call__(
        self, field: Field, n: int, seed: int, save: int = 1
    ) -> tuple[Tensor, int, float]:
        """The states (T, n, 2) in the lab frame, NFE, seconds."""
        p = field.process
        ends = p(torch.tensor([p.t_max, p.t_min], dtype=torch.float64)).alpha.tolist()
        x = p.prior(n, 2, seed)
        path = self.solver.solve(self.law(field), x / ends[0] if self.comoving else x, save)
        return path.x * ends[1] if self.comoving else path.x, path.nfe, path.seconds


SAMPLERS = (
    Sampler("reverse SDE, torchsde heun", SDESolver("heun", 100), reverse),
    Sampler("DDPM, torchsde euler", SDESolver("euler", 64), ancestral),
    Sampler("flow, torchdiffeq heun2", ODESolver("heun2", 32), lambda f: reverse(f, 0.0)),
    Sampler("DDIM, torchdiffeq euler", ODESolver("euler", 64), comoving, comoving=True),
)


def particles(n: int) -> int:
    """Return n if so many can be measured.

    Raises:
        ValueError, TypeError: no whole number, or out of range.
    """
    if check_int(n, "n", 2) > MOST:
        raise ValueError(
            f"n must be at most {MOST}, got {n}: the exact distance of larger clouds takes too "
            "long; for a larger cloud, train and then: sdeflow sample"
        )
    return n


def demo(config: Config, folder: Path, *, n: int = 1000, progress: bool = False) -> str:
    """Train, sample through both engines, measure, draw; returns the report as Markdown.

    Raises:
        ValueError, TypeError, SdeflowError: as `particles` and `run.fit`.
    """
    particles(n)
    start = time.perf_counter()
    folder = Path(folder)
    whole = fit(config, folder, progress=progress)
    trained = time.perf_counter() - start
    print("measuring", file=sys.stderr) if progress else None
    data = whole.standard.sample(n, config.seed + 1)
    floor = sampling_floor(whole.standard.sample, n, seed=config.seed + 2)
    rows = []
    for sampler in SAMPLERS:
        x, nfe, seconds = sampler(whole.field, n, config.seed)
        row = {"sampler": sampler.name, "nfe": nfe, "seconds": seconds}
        row["learned"] = wasserstein(x[-1], data)
        if whole.truth is not None:
            exact = sampler(whole.truth, n, config.seed)[0][-1]
            row["exact"] = wasserstein(exact, data)
        rows.append(row)
    meter = None if whole.truth is None else loss_decomposition(whole.field, whole.truth)
    report = {
        "data": config.data,
        "particles": n,
        "floor": floor[0],
        "floor_sd": floor[1],
        "rows": rows,
        "training_seconds": trained,
        "seconds": time.perf_counter() - start,
        "made": provenance(config.seed),
    }
    if meter is not None:
        report |= {
            "loss": float(meter.loss.mean()),
            "loss_floor": float(meter.floor.mean()),
            "loss_excess": float(meter.excess.mean()),
        }
    text = markdown(report)
    sample(folder, n, SAMPLERS[0].solver, 1.0, seed=config.seed)
    _picture(whole, report, meter, folder / "figure.png")
    write_text(folder / "report.json", json.dumps(report, indent=1))
    write_text(folder / "report.md", text)
    return text


def markdown(report: dict) -> str:
    """The demo's report as a Markdown table."""
    out = [f"### {report['data']}", ""]
    if "loss" in report:
        out += [
            "| noise loss | floor (exact field) | excess |",
            "|---|---|---|",
            f"| {report['loss']:.4f} | {report['loss_floor']:.4f} | {report['loss_excess']:.4f} |",
            "",
        ]
    n, low, sd = report["particles"], report["floor"], report["floor_sd"]
    out += [
        f"W2 of {n} particles to {n} data points, in data std; "
        f"two samples of the data: {low:.3f} +- {sd:.3f}.",
        "",
        "| sampler | NFE | seconds | W2, learned field | W2, exact field |",
        "|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        exact = f"{row['exact']:.3f}" if "exact" in row else "unknown"
        out.append(
            f"| {row['sampler']} | {row['nfe']} | {row['seconds']:.2f} | {row['learned']:.3f} "
            f"| {exact} |"
        )
    out += ["", f"{report['seconds']:.0f} s in all, {report['training_seconds']:.0f} s training."]
    return "\n".join(out) + "\n"


def _picture(whole: Problem, report: dict, meter: LossReport | None, path: Path) -> None:
    n, seed = 3000, whole.config.seed
    field, p = whole.field, whole.process
    grid = reverse(field).times(100)
    level = torch.exp(-p.log_snr(grid) / 2)
    # Three moments where something is to be seen: noise a half, a quarter, an eighth of the data.
    at = [int((level / v).log().abs().argmin()) for v in (0.5, 0.25, 0.12)]
    run = SDESolver("heun", 100, seed=seed).solve(
        reverse(field), p.prior(n, 2, seed), grid[[0, *at, 100]]
    )
    flow = SAMPLERS[2](field, n, seed)[0][-1]
    data = whole.standard.sample(n, seed + 1)

    with plot.figure(7.0, 3.7) as fig:
        top, bottom = cast(Any, fig.subfigures(2, 1, height_ratios=[1.0, 1.15]))
        top.suptitle(
            "SDE, torchsde: a particle has the colour of its final distance from the centre",
            size=8,
        )
        colour = run.x[-1].norm(dim=1)
        for ax, t, x in zip(top.subplots(1, 5), run.t, run.x, strict=True):
            sigma = float(torch.exp(-p.log_snr(t) / 2))
            half = max(2.4, 2.6 * float(x.std()))
            if t != run.t[-1]:
                plot.arrows(ax, field, float(t), half)
            plot.cloud(ax, x, colour, 0.9)
            plot.frame(ax, half, rf"$\sigma/\alpha$ = {sigma:.2g}")
            ax.set_xlabel(rf"window $\pm${half:.2g} (data std)")
        panels = bottom.subplots(1, 4, width_ratios=[1, 1, 1.3, 1.3])
        for ax, x, ink, name in (
            (panels[0], run.x[-1], plot.BLUE, "SDE, torchsde"),
            (panels[1], flow, plot.VERMILION, "flow, torchdiffeq"),
        ):
            plot.cloud(ax, data, plot.GREY, 5.0)
            plot.cloud(ax, x, ink, 0.6)
            plot.frame(ax, 2.4, name)
            ax.set_xlabel("data in grey")
        if meter is None:
            panels[2].set_axis_off()
        else:
            plot.levels(panels[2], meter, torch.exp(-p.log_snr(meter.t) / 2))
        plot.distances(
            panels[3],
            [row["sampler"].split(",")[0] for row in report["rows"]],
            [row["learned"] for row in report["rows"]],
            (report["floor"], report["floor_sd"]),
            f"$W_2$ to {report['particles']} data (std)",
            [plot.BLUE, plot.BLUE, plot.VERMILION, plot.VERMILION],
        )
        plot.write(fig, path, {k: str(v) for k, v in report["made"].items()})
