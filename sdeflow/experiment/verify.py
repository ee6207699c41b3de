"""Compare the particles of a trained run with the density that they should have.

A solver moves particles, and the Fokker-Planck equation a density, under the same learned field.
If the solver is right the two agree, and their distance from the data is the network's error.

    verdict        tests of the SDE's cloud against the density of `evolve`, at several times
    budget         the error of a DDPM cloud, split into its causes
    inconsistency  the distance between the densities of flow and SDE, zero for an exact score

The check ends at the noise level at which the narrowest part of the density is 2.5 cells wide. All
densities share one `FieldTable`; particles use the field itself. Files: check.json, check.md,
check.png.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from sdeflow._wording import markdown_table
from sdeflow.density import Density
from sdeflow.diagnostics.error_budget import (
    ErrorBudget,
    intermediate_densities,
    split_error,
)
from sdeflow.diagnostics.goodness_of_fit import check_path
from sdeflow.diagnostics.verdict import PathVerdict, format_p_value
from sdeflow.distributions.units import Units
from sdeflow.experiment import column_figure, pictures, run, sample_report, sample_tests
from sdeflow.experiment.check_setting import (
    Setting,
    check_sizes,
    setting_of,
    steps_between,
    tabulated,
    until,
)
from sdeflow.experiment.complaints import advised
from sdeflow.experiment.folder import Format, check_format
from sdeflow.experiment.problem import Problem
from sdeflow.experiment.sample_tests import SampleTests
from sdeflow.fields.field import Field
from sdeflow.fokker_planck.density_path import DensityPath
from sdeflow.fokker_planck.evolve import evolve
from sdeflow.fokker_planck.field_table import FieldTable
from sdeflow.provenance import check_writable, provenance, write_text
from sdeflow.sdes.generative import ancestral, reverse
from sdeflow.solvers.sde_solver import SDESolver

TIMES = 5  # number of times at which particles and density are compared


@dataclass(frozen=True, eq=False)
class Verification:
    """The result of a check.

    Attributes:
        noise_level: sigma / alpha at which the check ends, in data std.
        verdict: the tests of the SDE's particles against the density under the same drift.
        inconsistency, inconsistency_error: the total variation between the densities of the flow
            and of the SDE, and its numerical error.
        budget: the error budget of a DDPM cloud; None if the exact density is not known.
        density: the density under the learned drift, at the end.
        units: the units of all lengths.
        table: the table of the learned field for all densities; None if the field is not smooth
            in time or the grid is too fine, so that the field itself was evaluated.
        table_error: an upper bound of the total variation that the table adds; NaN without one.
        samples: the tests that need no grid, if they were made.
    """

    noise_level: float
    verdict: PathVerdict
    inconsistency: float
    inconsistency_error: float
    budget: ErrorBudget | None
    density: Density
    units: Units
    table: FieldTable | None = None
    table_error: float = math.nan
    samples: SampleTests | None = None

    def passed(self) -> bool:
        """Whether particles and density agree, and particles obey their SDE if that was tested."""
        return self.verdict.passed() and (self.samples is None or self.samples.passed())

    def __repr__(self) -> str:
        return (
            f"particles and density {_said(self.verdict)} down to noise level "
            f"{self.noise_level:.3g}, {format_p_value(self.verdict.p_value)}"
        )


def verify(
    problem: Problem, *, n: int = 20_000, cells: int = 128, steps: int = 200, chain: int = 64,
    seed: int = 0,
) -> Verification:  # fmt: skip
    """Compare particles and densities under the learned field of a run.

    Args:
        n: particles in each cloud.
        cells: cells along each axis of the grid.
        steps: time steps of `evolve` over the whole time interval.
        chain: DDPM steps over the whole time interval.

    Raises:
        SdeflowError: data of more than two coordinates, which `sample_tests` is for, or a density
            that the grid cannot hold.
    """
    check_sizes(n, cells, steps, chain)
    problem.check_grid()
    setting = setting_of(problem, cells)
    with advised():
        return _verify(problem, setting, n, steps, chain, seed)


def _verify(
    problem: Problem, setting: Setting, n: int, steps: int, chain: int, seed: int
) -> Verification:
    process, rescaling, prior = problem.process, setting.rescaling, setting.prior()
    field = tabulated(problem.field, setting, prior)

    fine = steps_between(rescaling, process.t_max, setting.t_end, n)
    save = fine[torch.linspace(0, len(fine) - 1, TIMES + 1).round().long()[1:]]
    x = process.prior(n, problem.dim, seed, device=problem.device)
    path = SDESolver("heun", times=fine, seed=seed).solve(reverse(problem.field), x, save)
    times = torch.cat([fine[:1], save])
    densities = evolve(reverse(field), prior, times, steps=steps, rescaling=rescaling)
    flown = evolve(reverse(field, 0.0), prior, times[[0, -1]], steps=steps, rescaling=rescaling)
    of_flow, of_sde = flown[-1], densities[-1]
    return Verification(
        setting.noise_level,
        check_path(path, densities, seed=seed),
        of_flow.total_variation(of_sde),
        (of_flow.error or 0.0) + (of_sde.error or 0.0),
        _budget(problem, setting, field, densities, n, steps, chain, seed),
        of_sde,
        problem.units,
        field if isinstance(field, FieldTable) else None,
        max(path.diagnostics.table_error for path in (densities, flown)),
    )


def _budget(
    problem: Problem, setting: Setting, field: Field, densities: DensityPath, n: int, steps: int,
    chain: int, seed: int,
) -> ErrorBudget | None:  # fmt: skip
    if problem.truth is None:
        return None
    sde = ancestral(problem.field)
    times = until(sde.times(chain), setting.t_end)
    x = problem.process.prior(n, problem.dim, seed + 1, device=problem.device)
    cloud = SDESolver("euler", times=times, seed=seed + 1).solve(sde, x, 1).x[-1]
    between = intermediate_densities(
        ancestral(field), times, problem.truth, setting.grid,
        rescaling=setting.rescaling, steps=steps, from_prior=densities,
    )  # fmt: skip
    return split_error(cloud, between, seed=seed)


# -------------------------------------------------------------------------------------- the report


def check(
    folder: Path, *, n: int = 20_000, cells: int = 128, steps: int = 200, chain: int = 64,
    seed: int = 0, format: Format = "png", device: torch.device | str = "cpu",
) -> Verification | SampleTests:  # fmt: skip
    """Check the run in a folder, and write check.json, check.md (the report) and check.png.

    Data of one or two coordinates are checked on a grid. Data of other than two coordinates, and
    those of which rows are held out, are also tested without one, by `sample_tests`. Arguments and
    errors are those of `verify` and `run.reopen`; `format` is png, pdf or svg.
    Network and particles lie on `device`, densities on the CPU.
    """
    check_format(format)
    start, folder = time.perf_counter(), Path(folder)
    problem = run.reopen(folder, device)
    check_sizes(n, cells, steps, chain)
    if problem.data.shape is not None:
        problem.check_plane("a check")
    check_writable(folder / "check.json")
    sizes = {"n": n, "cells": cells, "steps": steps, "chain": chain, "seed": seed}
    grid = verify(problem, **sizes) if problem.dim <= 2 else None
    without = problem.dim != 2 or problem.data.held_out is not None
    samples = sample_tests.examine(problem, n, seed) if without else None
    made = provenance(seed, asdict(problem.config), problem.device)
    seconds, shown = time.perf_counter() - start, folder / f"check.{format}"
    if grid is None:
        assert samples is not None
        column_figure.check_figure(samples, problem, shown, made)
        text = sample_report.report(samples, problem, seconds)
        report = sample_report.numbers(samples)
    else:
        grid = replace(grid, samples=samples)
        last, name = grid.verdict.verdicts[-1], problem.data.axes[0]
        pictures.check_figure(grid.density, last, grid.budget, shown, made, name)
        text, report = markdown(grid, problem.config.data, seconds), _numbers(grid)
    write_text(folder / "check.json", json.dumps({**report, "made": made}, indent=1))
    write_text(folder / "check.md", text)
    return grid or samples  # type: ignore[return-value]


def markdown(found: Verification, name: str, seconds: float) -> str:
    """The report of a check as Markdown."""
    v = found.verdict
    rows = [
        [
            f"{float(t):.3g}", f"{min(test.p_value for test in one.tests):.2g}",
            f"{one.distance:.4f}", "{:.4f} +- {:.4f}".format(*one.sampling_floor),
            f"{one.bound:.1e}",
        ]
        for t, one in zip(v.t, v.verdicts, strict=True)
    ]  # fmt: skip
    headers = ["t", "smallest p", "total variation", "sampling floor", "effect, 95 % below"]
    out = [
        f"### {name}: the check",
        "",
        f"{v.verdicts[0].n} particles of the reverse SDE and the density under the same learned "
        f"drift {_said(v)}: {format_p_value(v.p_value)} after Holm over {len(v.tests)} tests. The "
        f"check ends at noise level {found.noise_level:.3g} (in data std: {found.units}), below "
        "which the grid is too coarse.",
        "",
        markdown_table(headers, rows),
        "",
        "Total variation between the densities of flow and SDE under the learned field: "
        f"{found.inconsistency:.3f} +- {found.inconsistency_error:.3f}; it is 0 for an exact "
        "score.",
        "",
        _budget_text(found.budget),
        "",
        _table_text(found),
        "",
        *([] if found.samples is None else [sample_report.markdown(found.samples), ""]),
        f"Time: {seconds:.0f} s.",
    ]
    return "\n".join(out) + "\n"


def _said(verdict: PathVerdict) -> str:
    return "agree" if verdict.passed() else "DO NOT agree"


def _budget_text(budget: ErrorBudget | None) -> str:
    if budget is None:
        return "The error cannot be split into causes: the exact density of the data is not known."
    return f"The error of a DDPM cloud of {budget.total.n} particles, by cause:\n\n{budget}"


def _table_text(found: Verification) -> str:
    if found.table is None:
        return "The densities evaluated the field itself, at every step, and no table of it."
    return (
        f"The densities read the field from a table of {len(found.table.levels)} noise levels, "
        f"which adds a total variation below {found.table_error:.1e}; {found.table.answers}."
    )


def _numbers(found: Verification) -> dict[str, object]:
    budget, table = found.budget, found.table
    return {
        "noise_level": found.noise_level,
        "units": str(found.units),
        "p_value": found.verdict.p_value,
        "agree": found.verdict.passed(),
        "inconsistency": [found.inconsistency, found.inconsistency_error],
        "table": None if table is None else {
            "levels": len(table.levels), "error": found.table_error,
            "read": table.answers.read, "missed": table.answers.missed,
        },
        "budget": budget and {s.name: [s.value, s.low, s.high] for s in budget.sources},
        "causes": budget and list(budget.causes),
        "samples": found.samples and sample_report.numbers(found.samples),
    }  # fmt: skip
