"""Train a field, sample with six samplers, and report the distance of each cloud to the data.

The samplers start from the same noise: the reverse SDE and the probability flow by Heun's method,
DDPM and DDIM, and `multistep` with noise and without. torchsde solves SDEs, torchdiffeq ODEs.

The report gives the Wasserstein distance W2 of each cloud to the data; the same under the exact
field where it is known, which is the error of the sampler alone; and the sampling floor, which is
the distance between two samples of the data. The loss is split into its irreducible part and its
excess. Lengths are in units of the data's spread (`Problem.units`), which the report states.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from sdeflow._validation import check_file, check_int
from sdeflow._wording import markdown_table
from sdeflow.diagnostics.distances import sampling_floor, wasserstein
from sdeflow.experiment import column_figure, picture_demo, pictures
from sdeflow.experiment.classes import NONE, labels_of
from sdeflow.experiment.clouds import check_free, cloud_files, cloud_settings
from sdeflow.experiment.config import Config
from sdeflow.experiment.folder import Format, check_format
from sdeflow.experiment.problem import ALL, Problem
from sdeflow.experiment.problem import problem as build
from sdeflow.experiment.run import draw, fit, sample
from sdeflow.experiment.samplers import Solver
from sdeflow.fields.field import Field
from sdeflow.provenance import provenance, write_text
from sdeflow.sdes.generative import ancestral, comoving, reverse
from sdeflow.sdes.multistep import multistep
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.sde_solver import SDESolver
from sdeflow.training.loss import LossReport, loss_decomposition

MAX_PARTICLES = 5000  # the largest clouds that `wasserstein` accepts


@dataclass(frozen=True)
class Sampler:
    """A sampler: an SDE, the coordinates in which it is solved, and its solver."""

    name: str
    solver: Solver
    sde: Callable[[Field], SDE]
    comoving: bool = False

    def __call__(
        self, field: Field, n: int, seed: int, device: torch.device | None = None
    ) -> tuple[Tensor, int, float]:
        """The cloud (n, d) on the CPU in the coordinates of the data, the network calls, seconds.

        The particles lie on `device`, by default the CPU.
        """
        p = field.process
        ends = p(torch.tensor([p.t_max, p.t_min], dtype=torch.float64)).alpha.tolist()
        x = p.prior(n, field.dim or 2, seed, device=device)
        path = self.solver.solve(self.sde(field), x / ends[0] if self.comoving else x, save=1)
        x = path.x[-1].cpu()
        return x * ends[1] if self.comoving else x, path.nfe, path.seconds


FLOW = Sampler("flow, torchdiffeq heun2", ODESolver("heun2", 32), lambda f: reverse(f, 0.0))
SAMPLERS = (
    Sampler("multistep, torchdiffeq euler", ODESolver("euler", 20), multistep),
    Sampler("multistep SDE, torchsde euler", SDESolver("euler", 20), lambda f: multistep(f, 0.5)),
    Sampler("reverse SDE, torchsde heun", SDESolver("heun", 100), reverse),
    Sampler("DDPM, torchsde euler", SDESolver("euler", 64), ancestral),
    FLOW,
    Sampler("DDIM, torchdiffeq euler", ODESolver("euler", 64), comoving, comoving=True),
)


def check_particles(n: int) -> int:
    """Return n if the exact distance of n particles can be computed in a short time."""
    if check_int(n, "n", 2) > MAX_PARTICLES:
        raise ValueError(
            f"n must be at most {MAX_PARTICLES}, got {n}: the exact distance of larger clouds "
            "takes too long; draw a larger cloud afterwards, with: sdeflow sample"
        )
    return n


def demo(
    config: Config, folder: Path, *, n: int = 1000, progress: bool = False, format: Format = "png",
    device: torch.device | str = "cpu",
) -> str:  # fmt: skip
    """Train, sample, measure and draw in a folder; return the report as Markdown.

    Each measured cloud has n particles, at most 5000. Errors are those of `run.fit`.
    """
    check_particles(n)
    check_format(format)
    start = time.perf_counter()
    folder = check_file(folder, "folder")
    _check_cloud_free(build(config), folder)
    problem = fit(config, folder, progress=progress, device=device)
    trained = time.perf_counter() - start
    if progress:
        print("measuring the distance of each cloud to the data", file=sys.stderr)
    if problem.data.shape is not None:
        return _demo_pictures(problem, folder, n, start, trained)
    measured = measure(problem, n)
    report = {"data": config.data, "units": measured["units"], "particles": n, **measured}
    losses = None
    if problem.truth is not None:
        losses = loss_decomposition(problem.field, problem.truth)
        report["loss"] = float(losses.loss.mean())
        report["loss_irreducible"] = float(losses.irreducible.mean())
        report["loss_excess"] = float(losses.excess.mean())
    report |= _times_and_provenance(problem, start, trained)
    _sample(problem, folder, n)
    _draw(problem, report, losses, folder / f"figure.{format}")
    return _write_report(folder, report, markdown(report))


def _times_and_provenance(problem: Problem, start: float, trained: float) -> dict[str, object]:
    """What ends a report: the seconds of the demo and of its training, and the provenance."""
    made = provenance(problem.config.seed, asdict(problem.config), problem.device)
    return {
        "training_seconds": trained, "seconds": time.perf_counter() - start, "made": made,
    }  # fmt: skip


def _write_report(folder: Path, report: dict, text: str) -> str:
    write_text(folder / "report.json", json.dumps(report, indent=1))
    write_text(folder / "report.md", text)
    return text


def _draw(problem: Problem, report: dict, losses: LossReport | None, file: Path) -> None:
    """Draw the report, and the clouds: over time in the plane, else beside the data."""
    if problem.dim == 2:
        return pictures.demo_figure(snapshots(problem), report, losses, file)
    level = None if losses is None else problem.process.noise_level(losses.t)
    return column_figure.demo_figure(columns(problem), report, losses, level, file)


def _class_of_cloud(problem: Problem) -> str | None:
    """All classes if the field knows them; pictures are of each in turn without being asked."""
    return ALL if problem.classes and problem.data.shape is None else None


def _sample(problem: Problem, folder: Path, n: int) -> None:
    """Write a cloud of the first sampler."""
    seed, which = problem.config.seed, _class_of_cloud(problem)
    sample(folder, n, SAMPLERS[0].solver, 0.0, seed=seed, label=which, motion=multistep)


def _check_cloud_free(problem: Problem, folder: Path) -> None:
    """Refuse a folder with a cloud of the same run and other settings, which was asked for."""
    seed, which = problem.config.seed, _class_of_cloud(problem)
    settings = cloud_settings(0, SAMPLERS[0].solver, 0.0, seed, which, NONE, 2, multistep)
    del settings["n"]  # the cloud of a smaller or larger demo may go
    files = cloud_files(folder, None, problem.config.data)
    check_free(files, settings, False, "move it away, or choose another folder with --out")


def columns(problem: Problem, n: int = 3000) -> column_figure.Columns:
    """Samples and data for the figure, of data of other than two coordinates."""
    data, seed, which = problem.data, problem.config.seed, ALL if problem.classes else None
    labels = labels_of(problem, which, n, seed)
    samples = draw(problem, n, seed=seed, label=which)[1][-1]
    if labels is None:
        return column_figure.Columns(samples, data.sample(n, seed + 1), data.axes)
    x, own = data.sample_labelled(n, seed + 1)
    return column_figure.Columns(samples, x, data.axes, (labels, own), problem.classes)


def _demo_pictures(problem: Problem, folder: Path, n: int, start: float, trained: float) -> str:
    """Measure and draw a run whose data are pictures; return the report as Markdown."""
    found = picture_demo.measure(problem, n, [(sampler.name, sampler) for sampler in SAMPLERS])
    rows = {name: problem.units.restore(x) for name, x in found.pop("shown").items()}
    report = {"data": problem.config.data, "particles": n, **found}
    report |= _times_and_provenance(problem, start, trained)
    _sample(problem, folder, n)
    pictures.sheets(rows, problem.data, folder / "figure.png", report["made"])
    return _write_report(folder, report, picture_demo.markdown(report))


def measure(problem: Problem, n: int) -> dict:
    """W2 between n particles of each sampler and n data points, and its sampling floor."""
    seed = problem.config.seed
    data = problem.standard.sample(n, seed + 1)
    floor, floor_sd = sampling_floor(problem.standard.sample, n, seed=seed + 2)
    rows = []
    for sampler in SAMPLERS:
        x, nfe, seconds = sampler(problem.field, n, seed, device=problem.device)
        row = {"sampler": sampler.name, "nfe": nfe, "seconds": seconds}
        row["learned"] = wasserstein(x, data)
        if problem.truth is not None:
            row["exact"] = wasserstein(sampler(problem.truth, n, seed)[0], data)
        rows.append(row)
    return {
        "units": str(problem.units), "sampling_floor": floor, "sampling_floor_sd": floor_sd,
        "rows": rows,
    }  # fmt: skip


def snapshots(problem: Problem, n: int = 3000) -> pictures.Snapshots:
    """Clouds of n particles for the figure: a path of the reverse SDE, ends of the flow, data."""
    p, seed = problem.process, problem.config.seed
    sde = reverse(problem.field)
    times = sde.times(100)
    # Between start and end, the times at which the noise is 1/2, 1/4 and 1/8 of the data's std.
    shown = [int((p.noise_level(times) / v).log().abs().argmin()) for v in (0.5, 0.25, 0.12)]
    path = SDESolver("heun", 100, seed=seed).solve(
        sde, p.prior(n, 2, seed, device=problem.device), times[[0, *shown, 100]]
    )
    flow = FLOW(problem.field, n, seed, device=problem.device)[0]
    data, named = problem.standard.sample(n, seed + 1), problem.data.columns
    return pictures.Snapshots(problem.field, path, flow, data, problem.data if named else None)


def markdown(report: dict) -> str:
    """The demo's report as Markdown tables."""
    out = [f"### {report['data']}", ""]
    if "loss" in report:
        losses = [f"{report[key]:.4f}" for key in ("loss", "loss_irreducible", "loss_excess")]
        head = ("noise loss", "irreducible (exact field)", "excess")
        out += [markdown_table(head, [losses]), ""]
    n, floor, sd = (report[key] for key in ("particles", "sampling_floor", "sampling_floor_sd"))
    rows = [
        [
            row["sampler"], row["nfe"], f"{row['seconds']:.2f}", f"{row['learned']:.3f}",
            f"{row['exact']:.3f}" if "exact" in row else "unknown",
        ]
        for row in report["rows"]
    ]  # fmt: skip
    headers = ("sampler", "NFE", "seconds", "W2, learned field", "W2, exact field")
    out += [
        f"W2 between {n} particles and {n} data points, in data std ({report['units']}). Sampling "
        f"floor, W2 between two samples of the data: {floor:.3f} +- {sd:.3f}.",
        "",
        markdown_table(headers, rows),
        "",
        f"Time: {report['seconds']:.0f} s, of which training {report['training_seconds']:.0f} s.",
    ]
    return "\n".join(out) + "\n"
