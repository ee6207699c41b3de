"""A run folder: training, resumption and sampling in the data's own units, every file whole."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sdeflow as sf
from sdeflow import training
from sdeflow.experiment import folder, run, samplers
from sdeflow.experiment.config import Config
from sdeflow.experiment.problem import problem
from sdeflow.provenance import alone
from sdeflow.training import tensor_file
from tests.problems import close, randn

TINY = Config(steps=40, batch=16, width=8, depth=1)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def far_points(n: int = 60) -> np.ndarray:
    """Mean (1000, -500), standard deviation about 5 per coordinate."""
    return randn(n, 2, seed=1).numpy() * 5 + np.array([1000.0, -500.0])


@pytest.fixture
def far(tmp_path: Path) -> str:
    np.savetxt(tmp_path / "far.csv", far_points(), delimiter=",")
    return str(tmp_path / "far.csv")


def bits(folder: Path) -> bytes:
    return (folder / "field.safetensors").read_bytes()


# ----------------------------------------------------------------------------------- the problem


def test_standard_data_have_mean_zero_and_std_one(far: str) -> None:
    whole = problem(replace(TINY, data=far))
    points = torch.from_numpy(far_points())
    inside = (points - whole.data.mean) / whole.data.std
    assert float(inside.mean(0).abs().max()) < 1e-9
    assert float(inside.square().mean()) == pytest.approx(1.0)
    assert close(whole.data.restore(inside), points, 1e-12)
    x = whole.standard.sample(40, 3)
    # Each draw is one of the points, and the truth stands on the same ones.
    assert float(torch.cdist(x.double(), inside).amin(1).max()) < 1e-4
    assert float((whole.truth.distribution.points - inside).abs().max()) < 1e-9
    assert whole.field.data_std == 1.0
    assert whole.truth.process == whole.process


def test_configs_and_problems_print_in_one_line() -> None:
    words = "noise prediction of spiral under VE, network 1 x 8, 40 steps of 16 particles, "
    assert repr(TINY) == words + "rate 0.005, seed 0"
    assert repr(problem(TINY)) == f"{TINY}; exact field known"
    assert "spiral with classes under" in repr(replace(TINY, conditional=True))
    assert repr(problem(replace(TINY, data="s_curve"))).endswith("; exact field unknown")


@pytest.mark.parametrize("name", sf.datasets.NAMES)
def test_exact_field_samples_like_its_data_set(name: str) -> None:
    """Where the exact field is known, its draws and the data's agree in two moments."""
    whole = problem(replace(TINY, data=name))
    x = whole.standard.sample(4000, 1).double()
    assert float(x.mean(0).abs().max()) < 5 / 4000**0.5
    size = x.square()
    assert abs(float(size.mean()) - 1) < 5 * float(size.std()) / 8000**0.5
    if whole.truth is None:
        assert name in (
            "two_moons",
            "circles",
            "s_curve",
            "swiss_roll",
            "pinwheel",
        )
        return
    if not isinstance(whole.data.distribution, sf.distributions.PointSet):
        # One density in two units: p(x) d^2 x stays.
        outside = whole.data.restore(x[:50])
        there = whole.data.distribution.log_prob(outside) + 2 * math.log(whole.data.std)
        assert close(whole.truth.distribution.log_prob(x[:50]), there, 1e-9)
    y = whole.truth.sample(4000, 2).double()
    assert sf.diagnostics.energy_distance(x[:1000], y[:1000]) ** 2 < 0.02
    covariances = torch.cov(x.T), torch.cov(y.T)
    assert float((covariances[0] - covariances[1]).abs().max()) < 8 / 4000**0.5


def test_conditional_run_needs_labels(far: str) -> None:
    assert problem(replace(TINY, conditional=True)).field.network.labels == 3
    assert problem(TINY).field.network.labels == 0
    with pytest.raises(ValueError, match="has no labels; leave out conditional"):
        problem(replace(TINY, data=far, conditional=True))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"rate": -1.0}, "rate must be positive"),
        ({"width": 0}, "width must be at least 1"),
        ({"data": "nowhere"}, "there is no data set 'nowhere'"),
        ({"data": "nowhere.csv"}, "nowhere.csv does not exist"),
        ({"data": None}, "data must be a name or a file, got NoneType"),
        ({"process": "Vp"}, "process must be one of .*'VP'.*, got 'Vp'"),
        ({"process": None}, "process must be one of"),
        ({"predicts": "omens"}, "predicts must be one of"),
        ({"conditional": "yes"}, "conditional must be one of"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"width": 4097}, "width must be at most 4096"),
    ],
)
def test_refused_config_leaves_no_folder(change: dict, complaint: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError), match=complaint):
        run.fit(replace(TINY, **change), tmp_path / "r")
    assert not (tmp_path / "r").exists()


# -------------------------------------------------------------------------------------- training


def test_field_is_a_function_of_its_config(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run.fit(TINY, tmp_path / name)
    run.fit(replace(TINY, seed=1), tmp_path / "c")
    assert bits(tmp_path / "a") == bits(tmp_path / "b")
    assert bits(tmp_path / "a") != bits(tmp_path / "c")
    again = bits(tmp_path / "a")
    run.fit(TINY, tmp_path / "a")  # finished: nothing changes
    assert bits(tmp_path / "a") == again
    assert run.summary(tmp_path / "a")["config"]["steps"] == 40
    assert run.summary(tmp_path / "a")["finished"]


def test_config_keeps_plain_numbers_and_the_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it can be written, and opened from any other folder."""
    np.savetxt(tmp_path / "p.csv", far_points(), delimiter=",")
    monkeypatch.chdir(tmp_path)
    config = Config(
        data=Path("p.csv"), steps=np.int64(6), batch=torch.tensor(8), rate=np.float32(0.5),  # type: ignore[arg-type]
        conditional=np.bool_(False), width=8, depth=1,
    )  # fmt: skip
    run.fit(config, tmp_path / "r")
    assert config.data == str(tmp_path / "p.csv")
    assert config == Config(data="p.csv", steps=6, batch=8, rate=0.5, width=8, depth=1)
    monkeypatch.chdir(tmp_path / "r")
    assert run.reopen(Path()).config == config


def test_run_on_changed_data_is_refused(far: str, tmp_path: Path) -> None:
    """Changed after training, a file gives other units: neither training nor sampling goes on."""
    folder, file = tmp_path / "r", Path(far)
    config = replace(TINY, data=far)
    run.fit(config, folder)
    known, whole = (folder / "config.json").read_text(), file.read_bytes()
    np.savetxt(file, 2 * far_points(), delimiter=",")
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    for act in (
        lambda: run.fit(config, folder),
        lambda: run.sample(folder, 5, sf.SDESolver("heun", 5), 1.0),
    ):
        with pytest.raises(
            sf.SdeflowError, match=r"far\.csv has changed since this run was trained"
        ):
            act()
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
    run.clear(folder, config)
    assert not list(folder.iterdir())
    # Restored, it is the run again; and a run of before there was a digest is still opened.
    for name, data in before.items():
        (folder / name).write_bytes(data)
    file.write_bytes(whole)
    run.reopen(folder)
    old = json.loads(known)
    del old["digest"], old["sha256"]
    (folder / "config.json").write_text(json.dumps(old))
    run.fit(config, folder)
    np.savetxt(file, 2 * far_points(), delimiter=",")
    with pytest.raises(sf.SdeflowError, match="another data"):  # the checkpoint knows them too
        run.fit(config, folder)
    run.clear(folder, config)
    assert run.reopen(folder).config == config
    assert json.loads((folder / "config.json").read_text())["digest"] is None


def test_a_field_of_another_run_is_refused(tmp_path: Path) -> None:
    run.fit(TINY, tmp_path / "a")
    for change in ({"conditional": True}, {"depth": 2}, {"process": "VP"}, {"seed": 1}):
        run.fit(replace(TINY, **change), tmp_path / "b")
        (tmp_path / "b" / "field.safetensors").write_bytes(bits(tmp_path / "a"))
        with pytest.raises(sf.SdeflowError, match=r"is not of the run that config\.json"):
            run.reopen(tmp_path / "b")
        run.clear(tmp_path / "b", TINY)


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "null", '{"step": 3}', '{"step": "x", "loss": 1}']
)
def test_damaged_log_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    run.fit(TINY, tmp_path)
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(log.read_bytes() + line.encode() + b"\n")
    for act in (lambda: run.fit(TINY, tmp_path), lambda: run.summary(tmp_path)):
        with pytest.raises(sf.SdeflowError, match=r"metrics\.jsonl, line 2 is damaged; remove"):
            act()
    log.write_bytes(b"\xff\xfe")
    with pytest.raises(sf.SdeflowError, match=r"metrics\.jsonl, line 1 is damaged"):
        run.summary(tmp_path)


def test_run_of_another_config_is_refused_and_kept(tmp_path: Path) -> None:
    run.fit(TINY, tmp_path)
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    for change, differs in (
        ({"width": 9}, "width"),
        ({"steps": 39}, "steps"),
        ({"steps": 41, "seed": 1, "process": "VP"}, "process, seed"),
    ):
        complaint = rf"another run \(another {differs}\); choose another folder"
        with pytest.raises(sf.SdeflowError, match=complaint):
            run.fit(replace(TINY, **change), tmp_path)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == before


def test_run_is_trained_on_with_more_steps(tmp_path: Path) -> None:
    """From its weights, moments and average; what was made of the shorter run is removed."""
    config = replace(TINY, steps=60)
    for name in ("a", "b"):
        short = run.fit(TINY, tmp_path / name)
        run.sample(tmp_path / name, 5, sf.SDESolver("heun", 5), 1.0)
        (tmp_path / name / "mine.txt").touch()
    long = run.fit(config, tmp_path / "a")
    assert not (tmp_path / "a" / "cloud.csv").exists()
    assert (tmp_path / "a" / "mine.txt").exists()
    assert json.loads((tmp_path / "a" / "config.json").read_text())["steps"] == 60
    assert run.summary(tmp_path / "a")["last"]["step"] == 60
    x = randn(5, 2, dtype=torch.float32)
    field = run.reopen(tmp_path / "a").field
    assert torch.equal(field.noise(x, 0.4), long.field.noise(x, 0.4))
    assert not torch.equal(field.noise(x, 0.4), short.field.noise(x, 0.4))
    real = training.Training.__next__

    def step(self: sf.training.Training) -> torch.Tensor:
        if self.step == 55:
            raise Stop
        return real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Training, "__next__", step)
        with pytest.raises(Stop):
            run.fit(config, tmp_path / "b")
    with pytest.raises(
        sf.SdeflowError, match="not finished; continue with: sdeflow train --steps"
    ):
        run.reopen(tmp_path / "b")
    run.fit(config, tmp_path / "b")
    assert bits(tmp_path / "a") == bits(tmp_path / "b")


def test_field_file_of_a_run_is_refused_elsewhere(far: str, tmp_path: Path) -> None:
    """Its clouds would have mean 0 where the data's is 1000; `draw` gives the data's units."""
    config = replace(TINY, data=far)
    run.fit(config, tmp_path / "r")
    for name in ("field", "checkpoint"):
        with pytest.raises(sf.SdeflowError, match="in the standard units of its run, not in"):
            training.load(tmp_path / "r" / f"{name}.safetensors")
    t, x = run.draw(run.reopen(tmp_path / "r"), 50)
    assert t[-1] == problem(config).process.t_min
    assert x.shape == (1, 50, 2)
    assert np.abs(x[-1].mean(0).numpy() - far_points().mean(0)).max() < 5


def test_field_files_of_earlier_versions_are_reopened(tmp_path: Path) -> None:
    whole = run.fit(TINY, tmp_path)
    tensors, about = tensor_file.read(tmp_path / "field.safetensors")
    about["field"].pop("units")
    tensor_file.write(tmp_path / "field.safetensors", tensors, about)
    x = randn(5, 2, dtype=torch.float32)
    assert torch.equal(run.reopen(tmp_path).field.noise(x, 0.4), whole.field.noise(x, 0.4))


def test_command_of_a_run_is_that_of_its_config(tmp_path: Path) -> None:
    assert folder.command(Config(), Path("r")) == "sdeflow train --out r"
    config = replace(Config(), data="ring", conditional=True, rate=0.01)
    words = "sdeflow train --data ring --conditional --rate 0.01 --out 'a b'"
    assert folder.command(config, Path("a b")) == words


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("1,2")
    for act in (
        lambda: run.fit(TINY, tmp_path / "r"),
        lambda: run.summary(tmp_path / "r"),
        lambda: run.reopen(tmp_path / "r"),
    ):
        with pytest.raises(
            ValueError, match="r is a file, not the folder of a run; name a folder"
        ):
            act()


class Stop(BaseException):
    """Somebody pulls the plug."""


@pytest.mark.timeout(400)
def test_stopped_and_resumed_run_leaves_the_same_field_and_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 500 come in checkpoints of 50, the log in means over 100: they must not mix."""
    config = replace(TINY, steps=500, width=4, batch=4)
    run.fit(config, tmp_path / "whole")
    real = training.Training.__next__
    for stop in (20, 49, 50, 180, 360):

        def step(self: sf.training.Training, stop: int = stop) -> torch.Tensor:
            if self.step == stop:
                raise Stop
            return real(self)

        with monkeypatch.context() as patch:
            patch.setattr(training.Training, "__next__", step)
            with pytest.raises(Stop):
                run.fit(config, tmp_path / "stopped")
        if stop > 50:
            with pytest.raises(sf.SdeflowError, match="is not finished; continue with"):
                run.reopen(tmp_path / "stopped")
    run.fit(config, tmp_path / "stopped")
    assert bits(tmp_path / "whole") == bits(tmp_path / "stopped")
    logs = []
    for name in ("whole", "stopped"):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        logs.append({line["step"]: line["loss"] for line in map(json.loads, lines)})
        assert len(lines) == len(logs[-1])  # no step twice
    assert list(logs[0]) == list(range(100, 501, 100))
    for step, value in logs[1].items():
        # A mean over the steps that were seen: of 50 or 100 losses of like size.
        assert 0.6 < value / logs[0][step] < 1.6
    same = [step for step in logs[1] if logs[1][step] == pytest.approx(logs[0][step], rel=1e-6)]
    assert same == [300, 500]  # the others lost the 50 steps before a resumption


def test_unfinished_and_damaged_runs_cannot_be_reopened(tmp_path: Path) -> None:
    with pytest.raises(sf.SdeflowError, match="holds no run; make one with: sdeflow train"):
        run.reopen(tmp_path / "none")
    with pytest.raises(sf.SdeflowError, match="holds no run"):
        run.summary(tmp_path / "none")
    whole = run.fit(TINY, tmp_path)
    x = randn(5, 2, dtype=torch.float32)
    assert torch.equal(run.reopen(tmp_path).field.noise(x, 0.4), whole.field.noise(x, 0.4))
    for text in (
        "", "[]", "5", "{}", '{"steps": 5, "warp": 9}', "{",
        '{"process": "Vp"}', '{"process": null}',
        '{"process": []}', '{"predicts": 3}', '{"steps": "5"}', '{"rate": null}', '{"data": 7}',
    ):  # fmt: skip
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(sf.SdeflowError, match=r"config\.json is damaged"):
            run.reopen(tmp_path)
    assert not (tmp_path / "none").exists()


def test_a_changed_digit_of_the_settings_is_refused(tmp_path: Path) -> None:
    """Another centre of the units would move every sample, and nothing else would tell."""
    run.fit(TINY, tmp_path)
    run.calibrate(tmp_path, 2, 16)
    for name in ("config.json", "steps-2.json"):
        file = tmp_path / name
        text = file.read_text()
        at = re.search(r"\d\.\d+", text).end() - 1
        file.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
        with pytest.raises(sf.SdeflowError, match=f"{name} is damaged .it was changed after"):
            (run.reopen(tmp_path), samplers.fitted_steps(tmp_path, 2))
        file.write_text(text)


def test_a_finished_run_is_not_trained_by_two(tmp_path: Path) -> None:
    """And what a kill has left of the log goes."""
    run.fit(TINY, tmp_path)
    (tmp_path / "metrics.jsonl.part").write_text("{")
    with alone(tmp_path), pytest.raises(sf.SdeflowError, match="another process works in"):
        run.fit(TINY, tmp_path)
    run.fit(TINY, tmp_path)
    assert not (tmp_path / "metrics.jsonl.part").exists()


def test_clear_removes_only_the_files_of_another_run(tmp_path: Path) -> None:
    run.fit(TINY, tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    run.clear(tmp_path, TINY)
    assert (tmp_path / "field.safetensors").exists()
    run.clear(tmp_path, replace(TINY, seed=5))
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"]


# -------------------------------------------------------------------------------------- sampling


def test_clouds_are_in_the_units_of_the_data(far: str, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    run.fit(replace(TINY, data=far, steps=300, batch=64, width=32), folder)
    file = run.sample(folder, 400, sf.SDESolver("heun", 30), 1.0, seed=1, save=3)
    cloud = np.loadtxt(file, delimiter=",", skiprows=1)
    assert cloud.shape == (400, 2)
    # Hardly trained, it has at least the mean and spread that preconditioning gives: the mean to a
    # third of the spread, which is 1 / 600 of the mean.
    points = far_points()
    assert np.abs(cloud.mean(0) - points.mean(0)).max() < 5 / 3
    assert 0.5 < (cloud.std(0) / points.std(0)).mean() < 1.5
    with np.load(folder / "cloud.npz") as stored:
        assert stored["x"].shape == (3, 400, 2)
        assert np.allclose(stored["x"][-1], cloud, rtol=1e-6)
        made = json.loads(str(stored["made"]))
        process = problem(Config()).process
        assert stored["t"].tolist()[::2] == [process.t_max, process.t_min]
        # The first state is the prior: noise ten data standard deviations wide about the mean.
        assert np.allclose(stored["x"][0].std(0), 50, rtol=0.25)
    assert made["seed"] == 1
    assert sf.datasets.from_file(file).distribution.points.shape == (
        400,
        2,
    )  # and reads as data again


def test_cloud_is_written_in_both_formats_or_in_none(tmp_path: Path) -> None:
    run.fit(TINY, tmp_path)
    (tmp_path / "cloud.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"cloud\.csv"):
        run.sample(tmp_path, 5, sf.SDESolver("heun", 5), 1.0)
    assert not (tmp_path / "cloud.npz").exists()


def test_cloud_that_another_process_wrote_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was looked for before the draw only, and written over in silence."""
    run.fit(TINY, tmp_path)
    drawn, solver = run._drawn, sf.SDESolver("heun", 5)

    def slowly(*arguments):
        monkeypatch.undo()
        run.sample(tmp_path, 5, solver, 1.0, seed=1)
        return drawn(*arguments)

    monkeypatch.setattr(run, "_drawn", slowly)
    with pytest.raises(sf.SdeflowError, match=r"cloud\.csv is there already"):
        run.sample(tmp_path, 5, solver, 1.0, seed=0)
    with np.load(tmp_path / "cloud.npz") as kept:
        assert json.loads(str(kept["made"]))["seed"] == 1
    assert not list(tmp_path.glob("*.part"))


def test_a_sample_is_a_function_of_its_seed(tmp_path: Path) -> None:
    run.fit(TINY, tmp_path)

    def cloud(seed: int, n: int = 50) -> str:
        return run.sample(
            tmp_path, n, sf.SDESolver("heun", 5, seed=seed), 1.0, seed=seed, overwrite=True
        ).read_text()

    first = cloud(0)
    assert cloud(1) != first
    assert cloud(0) == first
    assert cloud(0, 80).startswith(first.rstrip())  # and its first particles of its size


def test_sample_with_a_label_lies_in_its_class(tmp_path: Path) -> None:
    """Two far classes: with its label, nearly every particle lies nearer to its own."""
    z = randn(40, 2, seed=2).numpy() * 0.3
    table = np.concatenate([np.c_[z[:20] - 3, np.zeros(20)], np.c_[z[20:] + 3, np.ones(20)]])
    np.savetxt(tmp_path / "two.csv", table, delimiter=",")
    config = replace(
        TINY, data=str(tmp_path / "two.csv"), conditional=True, steps=800, batch=128, width=48
    )
    run.fit(config, tmp_path / "r")
    solver = sf.ODESolver("heun2", 20)

    def right(label: str | int | None) -> float:
        file = run.sample(tmp_path / "r", 200, solver, 0.0, label=label, overwrite=True)
        x = np.loadtxt(file, delimiter=",", skiprows=1, usecols=(0, 1))
        return float((x.sum(1) > 0).mean())

    assert right(0) < 0.1
    assert right(1) > 0.9
    assert 0.2 < right(None) < 0.8  # "no label" is both
    for bad in (-1, 2, True):
        with pytest.raises(ValueError, match=r"no class '.*'; the classes are 0, 1"):
            right(bad)
    with pytest.raises(TypeError, match="name must be the text of a class"):
        right(1.5)  # type: ignore[arg-type]


def test_run_without_classes_refuses_a_label(tmp_path: Path) -> None:
    run.fit(TINY, tmp_path)
    before = sorted(f.name for f in tmp_path.iterdir())
    with pytest.raises(ValueError, match="trained without classes; leave out the class"):
        run.sample(tmp_path, 5, sf.SDESolver("heun", 5), 1.0, label=0)
    with pytest.raises(ValueError, match="eta must be"):
        run.sample(tmp_path, 5, sf.SDESolver("heun", 5), -1.0)
    assert sorted(f.name for f in tmp_path.iterdir()) == before
