"""Runs on data of one, three and many coordinates, with classes asked for by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import stats

import sdeflow as sf
from sdeflow.command import cli
from sdeflow.distributions.dataset import Dataset
from sdeflow.experiment import (
    column_figure,
    run,
    sample_report,
    sample_tests,
    settings,
    verify,
)
from sdeflow.experiment import problem as build
from sdeflow.experiment.classes import Guidance, labels_of
from sdeflow.experiment.config import Config
from tests.problems import randn

TINY = ("--steps", "20", "--batch", "16", "--width", "8", "--depth", "1")
NAMES = "px,py,energy"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three columns and two classes of a file, of which one has three in four points."""
    folder = tmp_path_factory.mktemp("any")
    x = randn(800, 3, seed=3).numpy() + 5.0
    kinds = ['"a, dog"', "cat", "cat", "cat"] * 200
    lines = (",".join([*map(str, row), kind]) for row, kind in zip(x, kinds, strict=True))
    (folder / "t.csv").write_text("\n".join([NAMES + ",species", *lines]))
    torch.set_num_threads(1)
    config = Config(str(folder / "t.csv"), label="species", steps=20, batch=16, width=8, depth=1)
    run.fit(config, folder / "r")
    return folder / "r"


def told(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str]:
    code = 0
    try:
        cli.main([str(a) for a in args])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    return code, said.out + said.err


def test_a_cloud_has_names_and_classes_and_is_not_overwritten(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.csv"
    ask = ("sample", done, "--n", 40, "--steps", 3, "--out", out)
    assert told(capsys, *ask) == (0, f"{out}\n")
    data = sf.datasets.from_file(out, columns=NAMES, label="species")
    assert set(data.classes) == {"a, dog", "cat"}
    first = out.read_bytes()
    assert told(capsys, *ask)[0] == 0  # the same settings
    assert out.read_bytes() == first
    for more in (("--seed", 1), ("--class", "cat"), ("--scale", 0), ("--steps", 4)):
        code, said = told(capsys, *ask, *more)
        assert code == 2
        assert "--out FILE, or over it with --overwrite" in said
        assert out.read_bytes() == first
    assert told(capsys, *ask, "--scale", 0, "--overwrite")[0] == 0
    assert out.read_text().startswith(NAMES + "\n")  # no class
    out.write_text("mine")
    out.with_suffix(".npz").unlink()
    assert told(capsys, *ask)[0] == 2
    source = json.loads((done / "config.json").read_text())["data"]
    code, said = told(capsys, *ask[:-1], source, "--overwrite")
    assert (code, "holds the data of this run" in said) == (2, True)


def test_guidance_and_classes_are_those_of_the_field(done: Path) -> None:
    """Each particle is of its own class, guided towards it: the field of Python, bit for bit."""
    built = run.reopen(done)
    labels = labels_of(built, "all", 60, 5)
    shares = torch.bincount(labels_of(built, "all", 4000, 5), minlength=2).tolist()
    assert stats.binomtest(shares[1], 4000, 0.75).pvalue > 1e-4
    noise, solver = built.process.prior(60, 3, 5), sf.ODESolver("euler", 4)
    for label, guidance, field in (
        ("all", Guidance(2.0, (0.2, 0.8)), built.field.given(labels)),
        ("cat", Guidance(3.0), built.field.given(1)),
    ):
        guided = sf.GuidedField(field, built.field, guidance.scale, guidance.interval)
        want = solver.solve(sf.reverse(guided, 0.0), noise, 1).x[-1]
        got = run.draw(built, 60, solver, seed=5, label=label, guidance=guidance)[1][-1]
        assert torch.equal(got, built.units.restore(want))


def test_runs_of_older_versions_are_read(done: Path, tmp_path: Path) -> None:
    run.fit(Config(steps=5, batch=8, width=8, depth=1), tmp_path)
    found = json.loads((tmp_path / "config.json").read_text())
    for name in settings.NEW:
        del found[name]
    found.pop("sha256", None)
    (tmp_path / "config.json").write_text(json.dumps(found))
    assert run.reopen(tmp_path).config.columns is None


def known(d: int, shift: float = 0.0) -> build.Problem:
    """A problem whose data are Gaussian, and a "learned" field that is exact but for a shift."""
    base = build.problem(Config(process="VP", width=8, depth=1))
    mixture = sf.GaussianMixture.isotropic(torch.zeros(1, d, dtype=torch.float64), 1.0)
    data = Dataset("normal", mixture)
    truth = sf.ExactField(base.process, mixture)
    wrong = sf.GaussianMixture.isotropic(torch.full((1, d), shift, dtype=torch.float64), 1.0)
    field = sf.ExactField(base.process, wrong)
    return replace(base, data=data, units=data.units, standard=data, field=field, truth=truth)  # type: ignore[arg-type]


def test_samples_are_tested_without_a_grid() -> None:
    """A wrong field is found by the samples, and not by the path, which obeys its own SDE."""
    right, wrong = (sample_tests.examine(known(5, shift), 800, seed=2) for shift in (0.0, 0.4))
    assert right.passed()
    assert right.p_value() > 1e-3
    for own, floor, sd in right.parts[0].distances.values():
        assert abs(own - floor) < 6 * sd
    assert wrong.passed()
    assert wrong.p_value() < 1e-6
    assert "DIFFER" in sample_report.markdown(wrong)
    assert "FAR APART: " in wrong.said()
    assert "FAR APART: " not in right.said()


def test_one_wrong_column_of_sixty_four_is_found() -> None:
    """The bins split no more than the first axes, and waves of so many columns average to zero."""
    x, y = randn(1000, 64, seed=1), randn(800, 64, seed=2)
    assert min(sample_tests._compared(x, y, 0, 1.0).values()) > 1e-3
    x[:, 40] = x[:, 40].abs() - 0.8
    found = sample_tests._compared(x, y, 0, 1.0)
    assert found["lines"] < 1e-6 < min(found["chi-square"], found["characteristic"])


def test_a_wrong_path_is_found_in_many_dimensions() -> None:
    """Beyond 400 products M x_0 random combinations are tested: 40 x 40 here."""
    x, times = randn(600, 40, seed=1), torch.linspace(0, 0.5, 21, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    right, slow = (
        sf.SDE(lambda x, t, rate=rate: -rate * x, lambda x, t: one, 0.0, 0.5) for rate in (1, 0)
    )
    path = sf.SDESolver("heun", times=times).solve(right, x, times)
    p = [sf.diagnostics.dynkin_test(path, sde).p_value for sde in (right, slow)]
    assert p[0] > 1e-3
    assert p[1] < 1e-6


def test_one_coordinate_is_checked_on_a_grid() -> None:
    sizes = {"n": 1000, "cells": 48, "steps": 40, "chain": 10}
    found = verify.verify(known(1), **sizes)
    assert found.passed()
    assert found.density.grid.dim == 1
    assert found.budget["field"].low < 1e-3
    assert verify.verify(known(1, 0.3), **sizes).budget["field"].low > 0.05
    with pytest.raises(sf.SdeflowError, match="a grid has one or two axes"):
        verify.verify(known(3), **sizes)


def test_a_check_of_three_columns_writes_its_report(done: Path) -> None:
    found = verify.check(done, n=1000)
    assert isinstance(found, sample_tests.SampleTests)
    assert [part.name for part in found.parts] == ["all", "a, dog", "cat"]
    assert [part.held_out for part in found.parts] == [160, 40, 120]
    assert found.parts[1].two_sample == {}  # fewer than 100
    text = (done / "check.md").read_text()
    assert "too few" in text
    assert len(json.loads((done / "check.json").read_text())["parts"]) == 3
    assert (done / "check.png").stat().st_size > 10_000


@pytest.mark.parametrize("d", [1, 2, 4, 14])
def test_columns_are_drawn(d: int, tmp_path: Path) -> None:
    x, y = randn(300, d, seed=1), randn(200, d, seed=2)
    labels = torch.arange(300) % 2, torch.arange(200) % 2
    shown = column_figure.Columns(x, y, tuple(f"n{k}" for k in range(d)), labels, ("a", "b"))
    with sf.plot.figure(7.0, 3.0) as fig:
        column_figure._draw(fig, shown)
        drawn = [ax for ax in fig.axes if ax.axison]
        assert len(drawn) == {1: 1, 2: 2, 4: 12, 14: 12}[d]
        assert {ax.get_xlabel() for ax in drawn} <= {"", *shown.axes}
