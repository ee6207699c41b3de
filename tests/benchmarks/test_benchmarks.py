"""The benchmarks: they time and judge what they say, and sign what they write."""

import json
import sys
from pathlib import Path

import pytest
import torch

import sdeflow as sf
from benchmarks import __main__ as front
from benchmarks import (
    checkerboard,
    density_accuracy,
    exact,
    fokker_planck,
    memory,
    overhead,
    record,
    speed,
    spiral,
)
from tests.problems import close, f64, randn

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


# -------------------------------------------------------------------------------------- record


def test_variants_are_timed_in_turn_after_a_round_that_does_not_count() -> None:
    """With a timer of our own: a takes 1 and b 10 in the first round, then 2 and 20, 3 and 30."""
    now, order = [0.0], []

    def variant(name: str, size: float) -> None:
        order.append(name)
        now[0] += size * order.count(name)

    seconds = record.interleaved(
        {"a": lambda: variant("a", 1.0), "b": lambda: variant("b", 10.0)}, 3, lambda: now[0]
    )
    assert order == list("abababab")
    assert seconds == {"a": [2.0, 3.0, 4.0], "b": [20.0, 30.0, 40.0]}
    assert record.ratio(seconds["b"], seconds["a"]) == 10.0


def test_ratio_is_the_median_over_pairs() -> None:
    assert record.ratio([2.0, 200.0, 6.0], [1.0, 1.0, 2.0]) == 3.0
    with pytest.raises(ValueError, match="shorter"):
        record.ratio([1.0, 2.0], [1.0])


def test_tables_have_a_line_for_each_row() -> None:
    head, rule, *rows = record.table([{"a": 1.23456, "b": "x"}, {"a": 7}]).splitlines()
    assert set(rule) == set("|-")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (head, *rows)]
    assert cells == [["a", "b"], ["1.235", "x"], ["7", ""]]


def test_rows_are_appended_with_their_provenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    record.append("q", [{"seed": 1}, {"seed": 2}])
    record.append("q", [{"seed": 3}])
    rows = [
        json.loads(line) for line in (tmp_path / "results" / "q.jsonl").read_text().splitlines()
    ]
    assert [row["seed"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert {"when", "command", "commit", "torch", "device", "threads", "dtype"} <= set(
            row["made"]
        )


def test_recorded_results_are_readable_and_have_provenance() -> None:
    for file in (ROOT / "benchmarks" / "results").glob("*.jsonl"):
        for row in record.stored(file):
            made = row["made"]
            assert {"when", "commit", "torch"} <= set(made), file.name
            assert made["command"].startswith(f"__main__.py {file.stem}"), file.name


def test_rows_of_uncommitted_code_are_marked_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Appended results alone do not count: one benchmark may follow another."""
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(record, "provenance", lambda: {"commit": "abc-dirty"})
    for only_results, commit, told in (
        (True, "abc", ""),
        (False, "abc-dirty", "commit it and run"),
    ):
        monkeypatch.setattr(record, "_only_results_changed", lambda only=only_results: only)
        record.append("q", [{}])
        row = json.loads((tmp_path / "q.jsonl").read_text().splitlines()[-1])
        assert row["made"]["commit"] == commit
        assert told in (said := capsys.readouterr().err)
        assert bool(said) == bool(told)


def test_the_numbers_for_readme_are_of_the_last_full_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    rows = [
        {"off": off, "cpu s": 7, "made": {"when": when, "command": f"__main__.py {command}"}}
        for off, when, command in (
            (0.5, "1", "checkerboard"), (0.01, "2", "checkerboard"), (0.03, "2", "checkerboard"),
            (0.9, "3", "checkerboard --quick"),
        )
    ]  # fmt: skip
    (tmp_path / "checkerboard.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (line,) = record.measured().splitlines()[2:]
    assert "| 2.0 % in 7 CPU s |" in line


def test_every_benchmark_can_be_started_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, bool]] = []
    for name in front.QUESTIONS:
        monkeypatch.setitem(front.QUESTIONS, name, lambda quick, n=name: asked.append((n, quick)))
        for flags in ([], ["--quick"]):
            monkeypatch.setattr(sys, "argv", ["benchmarks", name, *flags])
            front.main()
    assert asked == [(name, quick) for name in front.QUESTIONS for quick in (False, True)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", "warp"])
    with pytest.raises(SystemExit, match="2"):
        front.main()
    assert "spiral" in capsys.readouterr().err


# -------------------------------------------------------------------------------------- spiral


def test_judge_of_the_exact_field_finds_no_excess() -> None:
    data = sf.datasets.spiral()
    found = spiral.judge(Exact(data), data, 0)
    assert found["excess"] < 1e-9
    # What is left is the last noise level, 0.01 in the plane: median 0.01 sqrt(2 ln 2) from the
    # point, and 0.01 x 0.67 from the curve.
    assert found["median distance"] == pytest.approx(0.0067, rel=0.1)
    assert found["within 0.05"] > 0.999
    assert found["spread ratio"] == pytest.approx(1.0, abs=0.04)
    assert found["covered"] == 100


def test_judge_of_an_untrained_field_finds_excess() -> None:
    data = sf.datasets.spiral()
    found = spiral.judge(sf.LearnedField(spiral.PROCESS, sf.MLP(), data_std=data.std), data, 0)
    assert found["excess"] > 0.119  # worse than the lecture's
    assert found["within 0.05"] < 0.6


class Exact(sf.LearnedField):
    """The exact field, where a learned one is expected."""

    def __init__(self, data: sf.datasets.Dataset) -> None:
        truth = sf.ExactField(spiral.PROCESS, sf.distributions.PointSet(data.distribution.points))
        super().__init__(spiral.PROCESS, Network(truth))


class Network(torch.nn.Module):
    def __init__(self, truth: sf.ExactField) -> None:
        super().__init__()
        self.truth = truth

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.truth.posterior(x, spiral.PROCESS(t).along(x)).noise


def test_lecture_network_input_is_that_of_the_lecture() -> None:
    """sigma = 10^(3t - 2), as sine and cosine of half its logarithm, beside x."""
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    assert close(torch.log10(spiral.PROCESS(t).sigma), 3 * t - 2, 1e-12)
    network = spiral.Lecture()
    sizes = [m.in_features for m in network.layers if isinstance(m, torch.nn.Linear)]
    assert sizes == [4, 16, 128, 128, 128, 128, 16]
    seen: list[torch.Tensor] = []
    network.layers[0].register_forward_pre_hook(lambda m, given: seen.append(given[0]))
    x = randn(5, 2, dtype=torch.float32)
    network(x, t.float())
    half = torch.log(10 ** (3 * t - 2)) / 2
    expected = torch.cat([x.double(), half.sin()[:, None], half.cos()[:, None]], 1)
    assert torch.allclose(seen[0].double(), expected, atol=1e-5)


def test_lecture_training_reduces_the_excess() -> None:
    """300 of its 15,000 steps take half the excess of knowing nothing."""
    data = sf.datasets.spiral()
    truth = sf.ExactField(spiral.PROCESS, sf.distributions.PointSet(data.distribution.points))

    def excess(steps: int) -> float:
        field = spiral.train_lecture(data.distribution.points.float(), 0, steps)
        return float(sf.training.loss_decomposition(field, truth, levels=16, n=500).excess.mean())

    assert excess(300) < excess(0) / 2


def test_ablated_networks_lack_one_part_each() -> None:
    data, c = sf.datasets.spiral(), f64([-1.0, 0.5]).float()
    ours, *others = (
        spiral.train_ours(data, 0, 1, without)
        for without in ("", "waves", "damping", "preconditioning")
    )
    assert [f.network.config["waves"] for f in others] == [0, 48, 48]
    (bias, damping), usual = (f(c) for f in (others[1].network.condition, ours.network.condition))
    assert bias.shape == usual[0].shape
    assert bool((damping == 1).all())
    assert bool((usual[1] < 1).all())
    assert [f.data_std is None for f in (ours, *others)] == [False, False, False, True]


# -------------------------------------------------------------------------------- checkerboard


class Still(sf.ODESolver):
    """Leaves the cloud where it was put."""

    cloud: torch.Tensor = torch.zeros(1, 2)

    def solve(self, *_: object, **__: object) -> sf.solvers.Path:
        return sf.solvers.Path(torch.zeros(1), self.cloud[None], nfe=100, seconds=0.0)


@pytest.mark.parametrize("spoilt", [0, 3000])
def test_judge_counts_particles_off_the_squares(
    spoilt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known cloud: exact draws, of which some are moved off the squares."""
    squares = sf.datasets.checkerboard()
    x = squares.sample(20_000, 1)
    x[:spoilt] = 100.0
    monkeypatch.setattr(Still, "cloud", x)
    monkeypatch.setattr(checkerboard.sf, "ODESolver", Still)
    field = sf.LearnedField(checkerboard.PROCESS, sf.MLP())
    found = checkerboard.judge(field, 0)
    assert found["off"] == pytest.approx(spoilt / 20_000)
    # Each square has 2500 of 20,000, less the share that is off, give or take 4.5 deviations.
    noise = 4.5 * (8 / 20_000) ** 0.5
    assert abs(found["worst cell"] - spoilt / 20_000) < noise
    assert found["nfe"] == 100


# ------------------------------------------------------------------------------- speed, memory


def test_speed_variants_make_the_same_number_of_network_calls() -> None:
    """As many network calls as it divides by: else the ratios would lie."""
    calls = [0]

    class Counted(sf.MLP):
        def _features(self, x: torch.Tensor, damping: torch.Tensor) -> torch.Tensor:
            calls[0] += len(x)  # every way through the network begins here
            return super()._features(x, damping)

    network = Counted(2, width=8, depth=1, waves=0).eval()
    n, steps = 256, 8
    x = speed.PROCESS.prior(n, 2, 0)
    with torch.no_grad():
        for name, (run, count) in speed.variants(network, x, steps).items():
            calls[0] = 0
            run()
            # torchsde's own shape checks cost a plain call one or two more.
            extra = calls[0] / n - count
            assert 0 <= extra <= (2 if name.startswith("torchsde") else 0), name


@pytest.mark.parametrize("name", exact.cases())
def test_reference_by_hand_is_the_exact_field(name: str) -> None:
    """Each ratio compares two ways to the same numbers, not two problems."""
    law, by_hand = exact.cases()[name]
    sigma = law.std() / 2
    field = sf.ExactField(exact.PROCESS, law)
    x = (law.sample(300, 0) + sigma * randn(300, 2)).float()
    truth = field.posterior(x.double(), exact.PROCESS(exact.PROCESS.time_of(sigma))).noise
    found = by_hand(float(exact.PROCESS(exact.PROCESS.time_of(sigma)).sigma))(x)
    assert close(found.double(), truth, 1e-3)  # by hand it loses digits in the tails
    assert not close(1.01 * found.double(), truth, 1e-3)


def test_rows_of_a_step_name_the_engine_that_they_divide_by() -> None:
    rows = {str(row["variant"]): row for row in overhead.rows(1, n=256, steps=20)}
    assert rows["torchsde alone"]["ratio"] == rows["torchdiffeq alone"]["ratio"] == 1.0
    assert len(rows) == 5


def test_free_network_returns_a_stored_tensor() -> None:
    out = torch.zeros(4, 2)
    assert overhead.Free(out)(randn(4, 2), f64(0.5)) is out


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_memory_grows_with_the_cloud_and_not_with_the_steps() -> None:
    few, many = memory.growth(500_000, 2), memory.growth(500_000, 18)
    cloud = 500_000 * 2 * 4 / 2**20
    for found in (few, many):
        assert cloud <= found["growth MB"] < 100 * cloud
        assert found["std"] > 0
    # Sixteen more states, if they were kept: half of that is far more than allocators wobble by.
    assert many["growth MB"] - few["growth MB"] < 16 * cloud / 2


# -------------------------------------------------------------------------------- fokker_planck


def test_race_without_its_peers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fokker_planck, "pde", None)
    with pytest.raises(SystemExit, match=r"fplanck and py-pde are missing: .*\[bench\]"):
        fokker_planck.main(True)


def test_fewest_steps_reach_the_peers_error() -> None:
    start, truth = fokker_planck.problem(64)

    def error(steps: int) -> float:
        run = fokker_planck.by_sdeflow(start, steps)
        return fokker_planck.distance(run.propagate(run.build()), truth)

    k = fokker_planck.fewest(start, truth, 1.5e-3)
    assert error(k) <= 1.5e-3 < error(k - 1)


def test_a_race_reports_each_peers_own_error_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer with a planted error: a hundredth of the mass moved to one cell."""
    _, truth = fokker_planck.problem(64)
    spoilt = 0.99 * truth.mass.numpy()
    spoilt[3, 4] += 0.01 * truth.total()
    planted = {"fplanck": fokker_planck.Variant(lambda: spoilt, lambda made: made.copy())}
    monkeypatch.setattr(fokker_planck, "peers", lambda start: planted)
    monkeypatch.setattr(fokker_planck, "in_its_own_process", lambda *_: 1.0)
    monkeypatch.setattr(fokker_planck, "peak", lambda run: (run(), 1.0))
    peer, kernel, ours, usual = fokker_planck.compared(64, 1)
    assert peer["TV"] == pytest.approx(0.01, rel=1e-3)
    assert ours["TV"] <= peer["TV"]
    assert kernel["TV"] == usual["TV"] < 1e-5
    assert ours["variant"] == f"sdeflow, splitting, {peer['splitting steps']} steps"
    assert peer["x splitting"] < 1  # a copy is faster than any solver
    assert peer["x kernel"] < usual["x kernel"]
    assert abs(usual["mass"]) < 1e-12


@pytest.mark.parametrize("turn", [0.0, 2.0])
def test_benchmarked_gaussian_densities_are_exact(turn: float) -> None:
    """`evolve` finds them with independent means; without its rotation it does not."""
    row = density_accuracy.gaussian(turn, [1.0, 0.6], 1.0, 40, 64)
    assert row["TV"] < 1e-3
    assert abs(row["mass"]) < 1e-12
    mixture = density_accuracy.ring()
    still = density_accuracy.linear_solution(mixture, -torch.eye(2).double(), f64([1.0, 0.6]), 1.0)
    a = torch.tensor([[-1.0, -turn], [turn, -1.0]], dtype=torch.float64)
    turned = density_accuracy.linear_solution(mixture, a, f64([1.0, 0.6]), 1.0)
    assert (torch.dist(still.means, turned.means) > 0.1) == bool(turn)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_peak_counts_memory_that_was_freed_again() -> None:
    held = 64 * 2**20
    total, grown = fokker_planck.peak(lambda: float(torch.ones(held // 8).double().sum()))
    assert total == held // 8
    assert 0.9 * 64 < grown < 2.5 * 64
