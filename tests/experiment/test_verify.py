"""The check of a run: an exact field is found exact, a wrong one wrong, and by how much."""

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow._validation import SdeflowError
from sdeflow.diagnostics.error_budget import CAUSES
from sdeflow.distributions.mixture import prior_density
from sdeflow.experiment import check_setting, run, verify
from sdeflow.experiment import problem as build
from sdeflow.experiment.config import Config
from sdeflow.fokker_planck import FieldTable
from sdeflow.processes.process import Coefficients
from sdeflow.sdes.sde import SteppedSDE
from tests.problems import f64


@dataclass(frozen=True, eq=False)
class Turned(sf.ExactField):
    """The exact field, turned by an angle: it is the gradient of nothing."""

    angle: float = 0.0

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Callable[[Tensor], Tensor]:
        known = super().at(t, c, like)
        turn = f64([[math.cos(self.angle), math.sin(self.angle)],
                    [-math.sin(self.angle), math.cos(self.angle)]])  # fmt: skip
        return lambda x: known(x) @ turn.to(x)


def problem(angle: float) -> build.Problem:
    """The eight Gaussians, and what "was learned" of them."""
    whole = build.problem(Config(data="eight_gaussians", process="VP", width=8, depth=1))
    assert isinstance(whole.truth, sf.ExactField)
    return replace(whole, field=Turned(whole.process, whole.truth.distribution, angle))  # type: ignore[arg-type]


# A field that knows little spreads the cloud to the wall of the grid, and the grid says so.
spreads = pytest.mark.filterwarnings("ignore:.* of the mass reached the wall:RuntimeWarning")
SMALL = {"n": 4000, "cells": 64, "steps": 100, "chain": 100}
COARSE = {"n": 1000, "cells": 48, "steps": 60, "chain": 20}


def test_check_of_an_exact_field_finds_no_error() -> None:
    found = verify.verify(problem(0.0), **SMALL)
    assert found.verdict.passed()
    assert found.inconsistency < 2 * found.inconsistency_error < 0.02
    assert found.budget is not None
    assert found.budget["field"].low == 0.0
    assert found.budget["field"].value < 0.01
    assert "sampler" not in found.budget.causes


def whole(found: verify.Verification) -> list[float]:
    """Every number of a check that a table could change."""
    assert found.budget is not None
    tests = [test.p_value for test in found.verdict.tests]
    return [*tests, found.inconsistency, *(source.value for source in found.budget.sources)]


@spreads
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_check_from_a_table_is_the_check_of_the_field(
    angle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Side by side on a small grid: p-values and budget within the error that the table states."""
    found = verify.verify(problem(angle), **COARSE)
    monkeypatch.setattr(check_setting, "TABULATED", 0)
    full = verify.verify(problem(angle), **COARSE)
    assert full.table is None
    assert found.table is not None
    assert found.table_error < 1e-4 < found.inconsistency_error
    # A p-value moves by n chi-square divergence, at most, and a total variation by its error.
    assert whole(found) == pytest.approx(whole(full), abs=10 * found.table_error)
    assert full.budget is not None
    assert found.budget is not None
    assert found.budget.causes == full.budget.causes
    for a, b in zip(found.budget.sources, full.budget.sources, strict=True):
        assert abs(a.value - b.value) <= max(a.high - a.value, 2 * found.table_error)
    # The sampler, at the centres of the cells.
    assert 0 < found.table.answers.missed < 40
    assert found.table.answers.read > 100


def test_check_of_a_field_that_jumps_in_time_does_without_a_table() -> None:
    """Guidance within an interval of noise levels; without one it is smooth, and tabulated."""
    exact = problem(0.0)
    other = Turned(exact.process, exact.truth.distribution, 0.5)  # type: ignore[union-attr]
    setting = check_setting.setting_of(exact, 48)
    half = 5 * setting.rescaling(exact.process.t_max)
    prior = prior_density(sf.Grid(-half, half, (48, 48)), exact.process)
    everywhere = sf.GuidedField(exact.field, other, 1.5)
    assert isinstance(check_setting.tabulated(everywhere, setting, prior), FieldTable)
    between = replace(everywhere, interval=(0.5, 2.0))
    assert check_setting.tabulated(between, setting, prior) is between


@spreads
def test_check_of_a_turned_field_blames_the_field() -> None:
    """Particles and density agree; both are off; flow and SDE disagree, the field is no score.

    The grid resolves what so few particles could not.
    """
    found = verify.verify(problem(0.3), **SMALL)
    assert found.verdict.passed()
    assert found.inconsistency > 0.1 > 5 * found.inconsistency_error
    assert found.budget is not None
    assert "sampler" not in found.budget.causes
    assert 0.02 < found.budget["field"].low < found.budget["field"].high < 0.03


@dataclass(frozen=True, eq=False, kw_only=True)
class Quieter(sf.SDE):
    """The SDE of `particles` for particles; for densities the same with 0.9 of its noise."""

    particles: sf.SDE

    def __post_init__(self) -> None:
        g = self.diffusion
        object.__setattr__(self, "diffusion", lambda x, t: 0.9 * g(x, t))
        super().__post_init__()

    def stepped(self, times: Tensor, like: Tensor) -> SteppedSDE:
        return self.particles.stepped(times, like)


def test_check_rejects_particles_of_another_sde(monkeypatch: pytest.MonkeyPatch) -> None:
    """The density is moved with 0.9 of the noise that the particles get."""
    unchanged = verify.reverse

    def quieter(field: sf.fields.Field, eta: float = 1.0) -> sf.SDE:
        sde = unchanged(field, eta)
        if sde.diffusion is None:
            return sde
        return Quieter(
            sde.drift,
            sde.diffusion,
            sde.t_start,
            sde.t_end,
            time_grid=sde.time_grid,
            particles=sde,
        )

    monkeypatch.setattr(verify, "reverse", quieter)
    monkeypatch.setattr(verify, "_budget", lambda *_: None)
    assert not verify.verify(problem(0.0), **SMALL).verdict.passed(1e-6)


def test_check_ends_at_the_noise_level_of_its_grid() -> None:
    coarse, fine = (
        check_setting.setting_of(problem(0.0), cells).noise_level for cells in (32, 64)
    )
    assert coarse > fine
    # The modes are 0.17 std wide; at 256 cells that is enough by itself.
    clean = float(torch.exp(-problem(0.0).process.log_snr(f64(problem(0.0).process.t_min)) / 2))
    assert check_setting.setting_of(problem(0.0), 256).noise_level == pytest.approx(clean)


def test_check_of_data_with_a_far_point_names_the_cure() -> None:
    points = torch.randn(99, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points[3] = 1e5
    found = build.problem(Config(width=8, depth=1))
    standard = sf.datasets.from_points(points)
    far = replace(found, standard=standard)
    with pytest.raises(SdeflowError, match="drop the far points"):
        verify.verify(far, n=1000, cells=32)


@spreads
def test_check_writes_its_report_numbers_and_figure(tmp_path: Path) -> None:
    config = Config(data="eight_gaussians", process="VP", steps=150, width=32, depth=2)
    run.fit(config, tmp_path)
    found = verify.check(tmp_path, **COARSE)
    text = (tmp_path / "check.md").read_text()
    assert f"### {config.data}: the check" in text
    numbers = json.loads((tmp_path / "check.json").read_text())
    assert numbers["agree"] is ("DO NOT agree" not in text) is found.verdict.passed()
    assert tuple(numbers["budget"]) == CAUSES
    assert "field" in numbers["causes"]  # 150 steps teach little
    assert numbers["made"]["seed"] == 0
    assert numbers["table"]["levels"] == 33
    assert 0 < numbers["table"]["missed"] < 40 < numbers["table"]["read"]
    assert "evaluations read from the table" in text
    assert (tmp_path / "check.png").read_bytes()[:4] == b"\x89PNG"


@spreads
def test_check_without_an_exact_density_has_no_error_budget(tmp_path: Path) -> None:
    config = Config(data="two_moons", process="VP", steps=60, width=16, depth=1)
    run.fit(config, tmp_path)
    assert verify.check(tmp_path, **COARSE, format="svg").budget is None
    assert (tmp_path / "check.svg").is_file()
    assert not (tmp_path / "check.png").exists()
    with pytest.raises(ValueError, match="one of png, pdf, svg"):
        verify.check(tmp_path, format="eps")  # type: ignore[arg-type]
    assert "not known" in (tmp_path / "check.md").read_text()
    assert json.loads((tmp_path / "check.json").read_text())["budget"] is None


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"n": 10}, "n must be at least"),
        ({"cells": 8}, "cells must be at least 32"),
        ({"cells": 33}, "cells must be even"),
    ],
    ids=str,
)
def test_check_sizes_out_of_range_are_refused(mistake: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        verify.verify(problem(0.0), **{**SMALL, **mistake})


@pytest.mark.parametrize(
    ("complaint", "cure"),
    [
        ("1e-05 of the mass reached the wall of the grid; use a larger box, or a rescaling",
         "1e-05 of the mass reached the wall of the grid; the field spreads its cloud beyond the "
         "data: train it longer"),
        ("the drift changes by 2 of itself over one step (L dt); use more steps",
         "the drift changes by 2 of itself over one step (L dt); take more steps"),
        ("twice the cell and twice the step change it by 3; use finer cells or more steps",
         "twice the cell and twice the step change it by 3; take more cells or steps"),
        ("the drift is NaN; the last good state is in the error's .path",) * 2,
    ],
)  # fmt: skip
def test_complaints_of_a_check_advise_what_a_check_can_do(
    complaint: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check has neither a box nor a rescaling to choose; and each complaint is made once."""

    def complain(*_: object) -> None:
        warnings.warn(complaint, RuntimeWarning, stacklevel=1)
        warnings.warn(complaint, RuntimeWarning, stacklevel=1)
        raise sf.SdeflowError(complaint)

    monkeypatch.setattr(verify, "_verify", complain)
    with pytest.raises(sf.SdeflowError) as caught:
        verify.verify(problem(0.0))
    assert str(caught.value) == cure

    def warn(*_: object) -> None:
        warnings.warn(complaint, RuntimeWarning, stacklevel=1)
        warnings.warn(complaint.replace("1e-05", "2.5e-06"), RuntimeWarning, stacklevel=1)

    monkeypatch.setattr(verify, "_verify", warn)
    with pytest.warns(RuntimeWarning) as told:
        verify.verify(problem(0.0))
    assert [str(w.message) for w in told] == [cure]


@pytest.mark.slow  # trains two fields
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "config",
    [Config(data="spiral"), Config(data="checkerboard", process="Linear",
                                           predicts="velocity")],
    ids=lambda c: c.data,
)  # fmt: skip
def test_particles_and_density_agree_under_a_learned_field(config: Config, tmp_path: Path) -> None:
    """The solver is right and the network is the error."""
    run.fit(config, tmp_path)
    found = verify.verify(run.reopen(tmp_path), n=50_000)
    print(found.verdict, found.budget, found.inconsistency, found.inconsistency_error, sep="\n")
    assert found.verdict.passed()
    assert found.budget is not None
    assert not found.budget.total.passed()
    assert "field" in found.budget.causes
    assert "sampler" not in found.budget.causes
    assert found.inconsistency > 2 * found.inconsistency_error
