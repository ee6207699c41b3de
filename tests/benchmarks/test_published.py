"""The published table: its data, its protocol on our loss, and its rows."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import record
from benchmarks.published import command, tasks, values
from benchmarks.published.protocol import METHODS, PROCESS, Protocol, Run, flow, squared_w2
from benchmarks.published.tasks import TASKS

TINY = Protocol(points=80, epochs=4, every=2, batch=32)

# ------------------------------------------------------------------------------------- the data

MOMENTS = [  # mean and variance per axis, noise included
    (tasks.eight_gaussians, (0, 0), (25 / 2 + 1, 25 / 2 + 1)),
    (tasks.wide_eight_gaussians, (0, 0), (144 / 2 + 2.25, 144 / 2 + 2.25)),
    (tasks.moons, (0, 0.5), (4 * (0.75 + 0.0025), 4 * (0.5625 - 1 / math.pi + 0.0025))),
    (tasks.s_curve, (0, 0), (2.25 * 0.5025, 2.25 * (1.5 + 2 / (1.5 * math.pi) + 0.0025))),
    (tasks.normal, (0, 0), (1, 1)),
]


@pytest.mark.parametrize(("draw", "mean", "variance"), MOMENTS)
def test_moments_of_the_generators(draw: tasks.Draw, mean: tuple, variance: tuple) -> None:
    points = draw(40_000, 3)
    assert points.shape == (40_000, 2)
    scale = np.sqrt(variance)
    assert (abs(points.mean(0) - mean) < 0.02 * scale).all()
    assert points.var(0) == pytest.approx(np.array(variance), rel=0.02)


def test_wide_moons_are_standardised_as_a_whole() -> None:
    points = tasks.wide_moons(2000, 1)
    assert points.mean() == pytest.approx(0.0, abs=1e-12)
    assert points.std(ddof=1) == pytest.approx(7.0)
    assert points[:, 0].std() > 1.5 * points[:, 1].std()


@pytest.mark.parametrize(
    ("task", "known"),
    list(zip(TASKS, (15.00, 29.3, 1.22, 1.65), strict=True)),
    ids=[task.name for task in TASKS],
)
def test_squared_distance_of_source_and_target(task: tasks.Task, known: float) -> None:
    """Against W2^2 of 4,000 points that the program's own generators gave."""
    n, found, floors = 400, [], []
    for seed in range(4):
        x, y, z = (
            torch.from_numpy(draw(n, seed + apart))
            for draw, apart in ((task.source or tasks.normal, 0), (task.target, 0),
                                (task.target, 9))
        )  # fmt: skip
        found.append(squared_w2(x, y))
        floors.append(squared_w2(y, z))
    error = np.std(found, ddof=1) / 2
    assert abs(np.mean(found) - known) < 4 * error + np.mean(floors)


def test_data_are_split_as_the_program_does() -> None:
    known = torch.utils.data.random_split(
        range(30), [10, 10, 10], generator=torch.Generator().manual_seed(42)
    )
    parts = tasks.split(lambda n, seed: np.arange(2.0 * n).reshape(n, 2), 10, 0)
    for part, indices in zip(parts, known, strict=True):
        assert (part[:, 0] / 2).tolist() == list(indices)


# ---------------------------------------------------------------------------------- the protocol


def run(method: str, task: tasks.Task = TASKS[2], seed: int = 42) -> Run:
    return Run(method, tasks.drawn(task, TINY.points, seed), seed, TINY)


@pytest.mark.parametrize("method", METHODS)
def test_loss_is_that_of_the_published_path(method: str) -> None:
    """Of a network that gives zero: the mean square of the target; and its input is x_t."""
    one, seen = run(method), []
    layers = one.field.network.layers
    torch.nn.init.zeros_(layers[-1].weight)
    torch.nn.init.zeros_(layers[-1].bias)
    layers.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    g = torch.Generator().manual_seed(1)
    x0, eps = (torch.randn(4000, 2, generator=g) for _ in range(2))
    value = one._loss(x0, eps)
    theirs, x = seen[0][:, :1], seen[0][:, 1:]  # t = 0 at the source
    assert 0 <= theirs.min() < 0.01
    assert 0.99 < theirs.max() <= 1
    if method == "FM":
        target, path = x0 - 0.9 * eps, theirs * x0 + (1 - 0.9 * theirs) * eps
        assert torch.allclose(x, path, atol=1e-5)
    else:
        target, path = x0 - eps, theirs * x0 + (1 - theirs) * eps
        assert float((x - path).std()) == pytest.approx(0.1, rel=0.05)
    assert torch.allclose(value, target.square().mean(1), rtol=1e-4, atol=1e-5)


def test_a_constant_velocity_has_its_energy() -> None:
    one = run("I-CFM")
    for parameter in one.field.network.parameters():
        torch.nn.init.zeros_(parameter)
    one.field.network.layers[-1].bias.data = torch.tensor([3.0, -4.0])
    start = torch.randn(70, 2)
    end, energy = flow(one.field, start)
    assert torch.allclose(end, start + torch.tensor([3.0, -4.0]), atol=1e-4)
    assert energy == pytest.approx(25.0, rel=1e-4)


def test_batches_of_an_epoch() -> None:
    """All training points once; with a source of data the last, smaller batch is dropped."""
    sizes = [len(x0) for x0, _ in run("I-CFM")._epoch()]
    assert sizes == [32, 32, 16]
    sizes = [len(x0) for x0, _ in run("OT-CFM", TASKS[1])._epoch()]
    assert sizes == [32, 32]
    one = run("I-CFM")
    points = torch.cat([x0 for x0, _ in one._epoch()])
    assert sorted(points.tolist()) == sorted(one.pairs.target.train.tolist())


def test_optimal_pairs_are_shorter_and_drawn_with_replacement() -> None:
    lengths = {}
    for method in ("I-CFM", "OT-CFM"):
        x0, eps = next(run(method)._epoch())
        lengths[method] = float((x0 - eps).square().sum())
        distinct = len({tuple(row) for row in x0.tolist()})
        assert (distinct == len(x0)) == (method == "I-CFM")
    assert lengths["OT-CFM"] < 0.7 * lengths["I-CFM"]


def test_the_best_network_is_kept() -> None:
    one = run("I-CFM")
    losses = []
    one._check = lambda: losses.append(Run._check(one) or one.loss)  # type: ignore[method-assign]
    field = one.train()
    assert len(losses) == 2
    assert one.loss == min(losses)
    kept = field.network.state_dict()
    assert all(torch.equal(kept[name], one.best[name]) for name in kept)
    assert PROCESS.t_max > 0.99999


# ------------------------------------------------------------------------------------ the rows


def test_rows_are_kept_and_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that lost a row and has a broken line measures that row again, to the same numbers."""
    monkeypatch.setattr(command, "FILE", tmp_path / "published.jsonl")
    monkeypatch.setattr(command, "QUICK", TINY)
    command.main(quick=True)
    lines = command.FILE.read_text().splitlines()
    assert len(lines) == 11
    command.FILE.write_text("\n".join([*lines[:4], "{broken", *lines[5:]]) + "\n")
    command.main(quick=True)
    said = capsys.readouterr()
    assert "line 5 cannot be read" in said.err
    again = command.FILE.read_text().splitlines()
    assert len(again) == 12
    before, after = json.loads(lines[4]), json.loads(again[-1])
    for name in ("task", "method", "seed", "W2", "NPE", "floor", "loss"):
        assert before[name] == after[name], name
    assert "| N->scurve" in said.out
    assert "I-CFM / OT-CFM" in said.out


def test_seeds_come_one_after_the_other() -> None:
    rows = list(command.keys(command.SEEDS))
    assert len(rows) == len(set(rows)) == 55
    assert [seed for _, _, seed in rows] == sorted(seed for _, _, seed in rows)
    assert ("moons->8gaussians", "FM", 42) not in rows


def test_a_mean_is_within_two_deviations_or_the_floor() -> None:
    def line(w2: float, floor: float) -> command.Row:
        rows = [
            {"task": "N->moons", "method": "OT-CFM", "W2": w2 + d, "NPE": 0.083 + 0.01 * d,
             "floor": floor}
            for d in (-0.01, 0.01)
        ]  # fmt: skip
        return command.compared(rows)[0]

    mean, std = values.W2["N->moons"]["OT-CFM"]
    assert line(mean + 1.9 * std, 0.001)["within"] == "yes"
    assert line(mean - 2.1 * std, 0.001)["within"] == "no"
    assert line(mean - 2.1 * std, 3 * std)["within"] == "yes"
    assert line(mean, 0.02)["ours"] == "0.130 +- 0.014"


def test_line_that_a_kill_has_torn_loses_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    record.add_lines(file, [{"k": 0, "made": {}}, {"k": 1, "made": {}}])
    file.write_bytes(file.read_bytes()[:-4] + b"\xff")
    record.add_lines(file, [{"k": 2, "made": {}}])
    assert [row["k"] for row in record.stored(file)] == [0, 2]
    assert capsys.readouterr().err == "rows.jsonl, line 2 cannot be read and is skipped\n"
