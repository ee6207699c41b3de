"""A training is a function of its seed, refuses what would not train, and learns."""

import dataclasses
import math
import shutil
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import sdeflow as sf
from benchmarks import checkerboard, spiral
from tests.problems import (
    DATA,
    SMALL,
    close,
    half_done,
    same,
    small,
    trained,
    weights,
)

Training = sf.training.Training

# ----------------------------------------------------------------------------------------- a run


def test_a_run_is_a_function_of_its_seed() -> None:
    torch.manual_seed(1)
    first = trained()
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002
    assert same(first, trained())
    assert not same(first, trained(seed=1))
    assert not same(first, weights(small()))


def test_training_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trained(5)
    assert torch.equal(torch.get_rng_state(), before)


def test_fit_trains_and_returns_one_loss_per_step() -> None:
    """Called and not iterated over; step by step it gives the same."""
    field = small()
    losses = sf.fit(field, DATA.sample, 12, config=SMALL)
    assert losses.shape == (12,)
    assert torch.isfinite(losses).all()
    assert not field.network.training
    again = small()
    run = Training(again, DATA.sample, 12, config=SMALL)
    assert [float(v) for v in run] == losses.tolist()
    assert run.step == 12
    assert next(run, None) is None
    assert same(weights(field), weights(again))
    assert not same(weights(field), weights(small()))


@pytest.mark.parametrize("stop", [1, 5])
def test_a_loop_may_be_left_and_gone_on_with(stop: int) -> None:
    """After `break` the field is the average so far, in eval mode; the rest is as without it."""
    field, whole = small(), []
    for _ in Training(field, DATA.sample, 9, config=SMALL):
        whole.append(weights(field))
    again = small()
    run = Training(again, DATA.sample, 9, config=SMALL)
    for _ in run:
        if run.step == stop:
            break
    assert same(weights(again), whole[stop - 1])
    assert not again.network.training
    list(run)
    assert same(weights(again), whole[-1])


def test_an_interrupted_fit_leaves_the_average_so_far() -> None:
    field, stopped = small(), small()
    run = Training(field, DATA.sample, 9, config=SMALL)
    for _ in range(4):
        next(run)
    calls = [0]

    def sample(n: int, seed: int) -> Tensor:
        calls[0] += 1
        if calls[0] == 7:  # two batches were only looked at
            raise KeyboardInterrupt
        return DATA.sample(n, seed)

    with pytest.raises(KeyboardInterrupt):
        sf.fit(stopped, sample, 9, config=SMALL)
    assert same(weights(stopped), weights(field))
    assert not stopped.network.training


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_copy_of_a_training_goes_on_by_itself(dtype: torch.dtype) -> None:
    """To the same bits: its field holds the average of its own weights."""
    field = small()
    field.network.to(dtype)
    run = Training(field, DATA.sample, 9, config=SMALL)
    next(run)
    copy = deepcopy(run)
    here = weights(field)
    list(copy)
    assert same(weights(field), here)
    list(run)
    assert same(weights(copy.task.field), weights(field))
    assert not same(weights(field), here)


class Dropped(nn.Module):
    """A network that draws numbers of torch's and keeps statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2), nn.Linear(2, 2))
        nn.init.eye_(self.body[2].weight)
        nn.init.zeros_(self.body[2].bias)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.body(x)


def test_a_network_with_dropout_is_a_function_of_the_seed_too(tmp_path: Path) -> None:
    """Whatever torch's own generator does, which keeps its state; and after a resumption."""

    def go(steps: int, torch_seed: int, **more: object) -> dict[str, Tensor]:
        torch.manual_seed(torch_seed)
        before = torch.get_rng_state()
        field = sf.LearnedField(sf.VP(), Dropped(), data_std=DATA.std)
        torch.set_rng_state(before)
        run = Training(field, DATA.sample, 8, config=SMALL, **more)
        while run.step < steps:
            next(run)
        assert torch.equal(torch.get_rng_state(), before)
        return weights(field)

    first = go(8, 0)
    assert same(first, go(8, 1))
    assert first["body.1.num_batches_tracked"] == 8
    go(5, 2, checkpoint=tmp_path / "c", every=3)
    assert same(first, go(8, 3, checkpoint=tmp_path / "c", every=3))


def test_training_goes_on_longer_from_its_checkpoint(tmp_path: Path) -> None:
    """At the rate of the longer run, with its moments and its average; stopped or not."""
    ends = []
    for stops in ([30], [26, 30]):
        file, short = tmp_path / f"{stops[0]}", small()
        assert len(sf.fit(short, DATA.sample, 20, config=SMALL, checkpoint=file)) == 20
        for start, stop in zip((20, 24), stops, strict=False):
            field = small()
            run = Training(field, DATA.sample, 30, config=SMALL, checkpoint=file, every=4)
            assert run.step == start
            assert run.rate == run.task.rate(start) > 1e-4
            assert same(weights(field), weights(short)) is (start == 20)
            while run.step < stop:
                next(run)
        ends.append(weights(field))
    assert same(*ends)
    assert not same(ends[0], trained())
    with pytest.raises(sf.SdeflowError, match="30 steps behind it, more than the 29 asked for"):
        sf.fit(small(), DATA.sample, 29, config=SMALL, checkpoint=tmp_path / "30")


def test_files_are_trained_on_and_sampled_as_the_field_they_hold(tmp_path: Path) -> None:
    """A checkpoint by its own training, longer; a saved field by a new one; to the same bits."""
    file = tmp_path / "c"
    field = small()
    sf.fit(field, DATA.sample, 8, config=SMALL, checkpoint=file)
    sf.training.save(field, tmp_path / "f")
    noise = torch.randn(16, 2)
    clouds = [
        sf.SDESolver(steps=4, seed=1).solve(sf.reverse(each), noise).x[-1]
        for each in (field, sf.training.load(file), sf.training.load(tmp_path / "f"))
    ]
    assert clouds[0].equal(clouds[1])
    assert clouds[0].equal(clouds[2])
    longer = [small(), sf.training.load(file)]
    shutil.copy(file, tmp_path / "copy")
    for each, checkpoint in zip(longer, (file, tmp_path / "copy"), strict=True):
        run = Training(each, DATA.sample, 12, config=SMALL, checkpoint=checkpoint)
        assert len(run) == len(list(run)) == 4
        assert len(run) == 0
    assert same(*map(weights, longer))
    anew = [field, sf.training.load(tmp_path / "f")]
    for each in anew:
        sf.fit(each, DATA.sample, 3, seed=1, config=SMALL)
    assert same(*map(weights, anew))
    assert not same(weights(anew[0]), weights(longer[0]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_data_and_times_are_not_rounded_to_the_type_of_the_network(dtype: torch.dtype) -> None:
    """bfloat16 has three digits: data at 1000 and 1001 would be one point."""
    spy = Spy(None).to(dtype)
    run = Training(sf.LearnedField(sf.VP(), spy), DATA.sample, 3, config=SMALL)
    batch = run.task.batch(0, run.network)
    assert batch.t.dtype == torch.float64
    assert batch.x0.dtype == batch.eps.dtype == torch.promote_types(dtype, torch.float32)
    assert math.isfinite(next(run))


def test_training_prints_its_step_in_one_line() -> None:
    run = Training(small(), DATA.sample, 12, config=SMALL)
    next(run)
    assert repr(run) == "training with batches of 32, seed 0: step 1 of 12"


@pytest.mark.parametrize("stop", [1, 7, 8, 20, 29, 30])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path, stop: int) -> None:
    """Stop after any step: what was done since the last checkpoint is done again."""
    file = tmp_path / "c"
    half_done(file, stop)
    field = small()
    if stop >= 7:  # then nothing of this network counts: all comes from the checkpoint
        with torch.no_grad():
            for p in field.network.parameters():
                p.fill_(0.3)
    run = Training(field, DATA.sample, 30, config=SMALL, checkpoint=file, every=7)
    assert run.step == (30 if stop == 30 else stop // 7 * 7)
    for _ in run:
        pass
    assert same(weights(field), trained())


def test_field_holds_the_average_after_every_step() -> None:
    """a_k = beta a_k-1 + (1 - beta) w_k, beta = min(decay, (1 - 1/k)^17.97), in float64."""
    field = small()
    config = sf.training.TrainingConfig(batch=32, decay=0.3)
    run = Training(field, DATA.sample, 25, config=config)
    mean: dict[str, Tensor] = {}
    for k, _ in enumerate(run, 1):
        assert run.network.training
        assert not field.network.training
        raw = {name: w.detach().double() for name, w in run.network.named_parameters()}
        beta = min(0.3, (1 - 1 / k) ** 17.97)
        assert (beta == 0.3) is (k >= 16)
        mean = {name: w if k == 1 else beta * mean[name] + (1 - beta) * w
                for name, w in raw.items()}  # fmt: skip
        for name, value in field.network.named_parameters():
            assert close(value.detach().double(), mean[name], 1e-6)
    assert not close(raw["last.bias"], mean["last.bias"], 1e-4)


def test_the_learning_rate_rises_then_falls_as_a_cosine() -> None:
    steps, peak = 100, 0.01
    field = small()
    config = sf.training.TrainingConfig(batch=8, rate=peak)
    run = Training(field, DATA.sample, steps, config=config)
    start = weights(field)
    rates = []
    for _ in range(steps):
        rates.append(run.rate)
        next(run)
        if len(rates) == 1:
            # Adam's very first step is its rate, up or down, in every weight that has a slope.
            moved = (run.network.last.bias.detach() - start["last.bias"]).abs()
            assert torch.allclose(moved, torch.full_like(moved, rates[0]), rtol=1e-3)
    r = np.array(rates)
    assert max(rates) <= peak
    assert r[0] == pytest.approx(peak / 2, rel=1e-6)  # two steps of rise: half, whole
    assert r[50] == pytest.approx(peak / 2)
    for k in range(2, 50):  # a cosine is odd about its middle
        assert r[k] + r[100 - k] == pytest.approx(peak)
    assert (np.diff(r[1:]) < 0).all()
    assert r[-1] < peak * (math.pi / steps) ** 2
    # A cosine: each second difference is one multiple of what is left above the middle.
    curved = np.diff(r[1:], 2) / (r[2:-1] - peak / 2 + 1e-30)
    assert np.allclose(np.delete(curved, 48), -((math.pi / steps) ** 2), rtol=1e-3)


class Spy(nn.Module):
    """Remembers the labels and times that it and its copies are shown, from the first step on."""

    def __init__(self, labels: int | None) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.seen: list[Tensor] = []
        self.times: list[Tensor] = []
        if labels is not None:
            self.labels = labels

    def __deepcopy__(self, memo: dict) -> "Spy":
        twin = type(self)(getattr(self, "labels", None)).to(self.gain.dtype)
        twin.seen, twin.times = self.seen, self.times
        return twin

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        self.times.append(t)
        if label is not None:
            self.seen.append(label)
        return self.gain * x

    def forget(self) -> None:
        """What was shown to it before the first step."""
        self.seen.clear()
        self.times.clear()


@pytest.mark.parametrize("drop", [0.0, 0.1, 0.4])
def test_share_of_dropped_labels_is_drop(drop: float) -> None:
    given: list[Tensor] = []

    def sample(n: int, seed: int) -> tuple[Tensor, Tensor]:
        x, label = DATA.sample_labelled(n, seed)
        given.append(label)
        return x, label

    spy = Spy(3)
    config = sf.training.TrainingConfig(batch=200, drop=drop)
    run = Training(sf.LearnedField(sf.VE(), spy), sample, 20, config=config)
    spy.forget()
    given.clear()
    list(run)
    shown, true = torch.cat(spy.seen), torch.cat(given)
    none = shown == 3
    assert torch.equal(shown[~none], true[~none])
    share = float(none.double().mean())
    assert abs(share - drop) <= 5 * math.sqrt(drop * (1 - drop) / len(shown))
    # What is dropped does not depend on the class.
    for k in range(3):
        mine = none[true == k].double()
        assert abs(float(mine.mean()) - drop) <= 5 * math.sqrt(drop * (1 - drop) / len(mine))


def test_network_must_say_which_label_means_none() -> None:
    """The next number after a batch's largest would be a class, if that batch lacks some."""
    field = sf.LearnedField(sf.VE(), Spy(None))
    with pytest.raises(ValueError, match="is not known which label means none"):
        sf.fit(field, DATA.sample_labelled, 3, config=SMALL)
    config = sf.training.TrainingConfig(batch=200, drop=0.0)
    sf.fit(field, DATA.sample_labelled, 3, config=config)
    assert sorted(torch.cat(field.network.seen).unique().tolist()) == [0, 1, 2]


def test_batch_times_are_stratified() -> None:
    """Stratified: the time average of a batch is nearly free of noise; and each time is fresh."""
    spy = Spy(None)
    run = Training(
        sf.LearnedField(sf.EDM(), spy),
        DATA.sample,
        5,
        config=sf.training.TrainingConfig(batch=64),
        time_density=sf.training.uniform_time,
    )
    spy.forget()
    list(run)
    part = torch.stack(spy.times).double().sub(0.002).div(80 - 0.002)
    assert torch.equal((part * 64).floor().long().sort(1).values, torch.arange(64).expand(5, 64))
    inside = (part * 64 - (part * 64).floor()).flatten()
    assert scipy.stats.kstest(inside.numpy(), "uniform").pvalue > 1e-3


def test_each_step_draws_data_with_its_own_seed() -> None:
    seeds: list[tuple[int, int]] = []

    def sample(n: int, seed: int) -> Tensor:
        seeds.append((n, seed))
        return DATA.sample(n, seed)

    drawn: list[int] = []
    for run_seed in (0, 1):
        run = Training(small(), sample, 10, run_seed, config=SMALL)
        seeds.clear()
        list(run)
        assert [n for n, _ in seeds] == [32] * 10
        drawn += [seed for _, seed in seeds]
    assert len(set(drawn)) == 20
    assert min(drawn) >= 0


def test_the_noise_of_training_is_standard_and_independent_of_the_data() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    class Inputs(Spy):
        def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
            seen.append((x.detach(), t))
            return super().forward(x, t, label)

    x0 = torch.zeros(400, 2)
    config = sf.training.TrainingConfig(batch=400)
    field = sf.LearnedField(sf.EDM(), Inputs(None))
    run = Training(field, lambda n, seed: x0[:n], 10, config=config)
    seen.clear()
    list(run)
    eps = torch.cat([x / t[:, None] for x, t in seen]).double()
    assert scipy.stats.kstest(eps.flatten().numpy(), "norm").pvalue > 1e-3
    n = len(eps)
    assert abs(float((eps[:, 0] * eps[:, 1]).mean())) < 4.5 / math.sqrt(n)
    # Steps differ: the same particle's noise at one step and the next.
    steps = eps.reshape(10, -1)
    assert abs(float((steps[1:] * steps[:-1]).mean())) < 4.5 / math.sqrt(steps[1:].numel())


def test_the_loss_of_a_step_is_the_weighted_mean_over_its_batch() -> None:
    """Data at 0 under EDM: x = t eps is all there is, and the network's answer is x itself."""
    seen: list[tuple[Tensor, Tensor, bool]] = []

    class Inputs(Spy):
        def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
            seen.append((x.detach().double(), t.double(), self.training))
            return super().forward(x, t, label)

    for weighting, w in (
        (None, lambda t: torch.ones_like(t)),
        (sf.training.prediction_weighting(sf.fields.Prediction.DATA), lambda t: t**2),
    ):
        seen.clear()
        field = sf.LearnedField(sf.EDM(), Inputs(None).eval())
        run = Training(field, lambda n, seed: torch.zeros(n, 2), 3, weighting=weighting)
        seen.clear()
        value = next(run)
        ((x, t, training),) = seen
        assert training  # whatever it was in before: dropout and its like are at work
        each = ((x - x / t[:, None]) ** 2).mean(1)
        assert float(value) == pytest.approx(float((w(t) * each).mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"every": 0}, "every must be at least 1"),
        ({"sample": lambda n, seed: torch.full((n, 2), math.nan)}, "NaN or infinite"),
        ({"sample": lambda n, seed: torch.full((n, 2), math.inf)}, "NaN or infinite"),
        ({"sample": lambda n, seed: torch.zeros(n)}, "must be a cloud"),
        ({"sample": lambda n, seed: np.zeros((n, 2))}, "floating-point tensor"),
        ({"sample": lambda n, seed: torch.zeros(n, 3)}, "must have dimension 2, got 3"),
        ({"sample": lambda n: torch.zeros(n, 2)}, "this function does not; pass data.sample"),
        ({"sample": DATA}, "this Dataset does not; pass data.sample"),
        ({"sample": DATA.distribution.points}, "this Tensor does not; pass data.sample"),
        ({"sample": DATA.sample_labelled}, r"the network has none; use MLP\(labels"),
        ({"sample": lambda n, seed: [torch.zeros(n, 2)]}, "pair .x0, label., got a list of 1"),
        ({"sample": lambda n, seed: (torch.zeros(n, 2),) * 3}, "got a tuple of 3"),
        ({"config": {"batch": 8}}, "config must be a TrainingConfig, got dict"),
        ({"time_density": lambda p, u: 2 * u}, r"must give \(32,\) times in \[0, 1\]"),
        ({"time_density": lambda p, u: 0.5}, "time_density must give"),
        ({"time_density": "uniform"}, "time_density must be a function"),
        ({"weighting": lambda c: -c.alpha}, "finite numbers of zero or more"),
        ({"weighting": lambda c: c.alpha[:3]}, r"weighting must give \(\) or \(32,\)"),
        ({"weighting": 1.0}, "weighting must be a function"),
        ({"checkpoint": 5}, "checkpoint must be a path, got int"),
    ],
)
def test_fit_refuses_arguments_out_of_range(change: dict, complaint: str, tmp_path: Path) -> None:
    field = small()
    before = weights(field)
    good = {"sample": DATA.sample, "steps": 5, "checkpoint": tmp_path / "c", "config": SMALL}
    with pytest.raises((ValueError, TypeError), match=complaint):
        sf.fit(field, **{**good, **change})
    assert same(weights(field), before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (lambda label: label + 1, "0 to 2, as the network has 3 of them; got 1 to 3"),
        (lambda label: label - 1, "labels must count from 0 .*; got -1 to 1"),
        (lambda label: label.double(), "whole numbers, got torch.float64"),
        (lambda label: label > 0, "whole numbers, got torch.bool"),
        (lambda label: label[:, None], r"tensor \(32,\) of whole numbers, got .* \(32, 1\)"),
        (lambda label: label[1:], r"tensor \(32,\) of whole numbers, got .* \(31,\)"),
        (lambda label: label.numpy(), "whole numbers, got an array"),
    ],
)
def test_labels_that_the_network_cannot_take_are_refused(
    labels: Callable[[Tensor], object], complaint: str
) -> None:
    def sample(n: int, seed: int) -> tuple[Tensor, object]:
        x, label = DATA.sample_labelled(n, seed)
        return x, labels(label)

    with pytest.raises((ValueError, TypeError), match=complaint):
        sf.fit(small(labels=3), sample, 5, config=SMALL)  # type: ignore[arg-type]
    sf.fit(small(labels=3), lambda n, s: (sample(n, s)[0], torch.full((n,), 2)), 5, config=SMALL)


def test_a_network_that_cannot_learn_is_refused() -> None:
    for network in (nn.Identity(), small().network.requires_grad_(False)):
        with pytest.raises(ValueError, match="no parameter that can be trained"):
            sf.fit(sf.LearnedField(sf.VE(), network), DATA.sample, 5)


def test_numbers_of_a_config_can_be_written(tmp_path: Path) -> None:
    """Whole numbers and reals of numpy and torch are kept as Python's, and so can be written."""
    config = sf.training.TrainingConfig(
        np.int64(32), np.float32(5e-3), torch.tensor(0.5), np.float64(0.25)
    )
    assert [type(v) for v in dataclasses.astuple(config)] == [int, float, float, float]
    sf.fit(small(), DATA.sample, 2, config=config, checkpoint=tmp_path / "c")


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        (nn.Linear(3, 3), "fails on the first batch, x .32, 2. and t .32,.: "),
        (nn.LazyLinear(2), "lazy layers"),
        (sf.MLP(width=8, labels=3), "has 3 labels, the data have none; pass data.sample_labelled"),
    ],
    ids=["another call", "lazy", "labels"],
)
def test_a_network_that_does_not_fit_the_data_is_refused(
    network: nn.Module, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        sf.fit(sf.LearnedField(sf.VP(), network), DATA.sample, 5, config=SMALL)


def test_a_labelled_network_may_learn_one_class_of_data_without_labels() -> None:
    field = small(labels=3)
    sf.fit(field.given(1), DATA.sample, 2, config=sf.training.TrainingConfig(batch=1))
    assert not same(weights(field), weights(small(labels=3)))


def test_training_without_gradients_is_refused_or_turns_them_on() -> None:
    with torch.no_grad():
        sf.fit(small(), DATA.sample, 2, config=SMALL)
    with torch.inference_mode(), pytest.raises(ValueError, match="call it outside torch"):
        sf.fit(small(), DATA.sample, 2, config=SMALL)


def test_fit_refuses_an_exact_field() -> None:
    with pytest.raises(TypeError, match="field must be a LearnedField, got ExactField"):
        sf.fit(
            sf.ExactField(sf.VE(), sf.distributions.PointSet(DATA.distribution.points)),
            DATA.sample,
            5,
        )


@pytest.mark.parametrize(
    "bad",
    [
        {"batch": 0}, {"rate": 0.0}, {"rate": math.nan}, {"decay": 1.0}, {"drop": -0.1},
        {"decay": None}, {"drop": "much"}, {"drop": math.nan},
    ],
)  # fmt: skip
def test_training_config_refuses_numbers_out_of_range(bad: dict) -> None:
    with pytest.raises((ValueError, TypeError), match=f"{next(iter(bad))} must"):
        sf.training.TrainingConfig(**bad)


def test_infinite_weights_stop_the_run(tmp_path: Path) -> None:
    """The loss of the last step is that of the weights before it, and finite."""
    config = sf.training.TrainingConfig(batch=32, rate=1e38)
    with pytest.raises(sf.SdeflowError, match=r"weight is infinite at step 1; lower the rate"):
        sf.fit(small(), DATA.sample, 1, config=config, checkpoint=tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_a_loss_that_goes_nan_stops_the_run_at_once() -> None:
    """The field keeps the average of the steps before it; NaN data are said to be NaN."""
    field = small()
    config = sf.training.TrainingConfig(batch=32, rate=1e30)
    with pytest.raises(sf.SdeflowError, match=r"the loss is (nan|inf) at step 2; lower the rate"):
        sf.fit(field, DATA.sample, 1000, config=config)
    assert all(torch.isfinite(w).all() for w in weights(field).values())

    calls = [0]

    def sample(n: int, seed: int) -> Tensor:
        calls[0] += 1
        return DATA.sample(n, seed) * (math.nan if calls[0] > 12 else 1.0)

    field = small()
    with pytest.raises(sf.SdeflowError, match="the data of step 11 have NaN or infinite entries"):
        sf.fit(field, sample, 1000, config=SMALL)
    assert all(torch.isfinite(w).all() for w in weights(field).values())


# ------------------------------------------------------------------------------------ learning


@pytest.mark.timeout(400)
def test_the_spiral_is_learned() -> None:
    """Few steps, one seed: a third of the lecture's excess (0.441 - 0.322), all points found."""
    data = sf.datasets.spiral()
    torch.set_num_threads(1)
    found = spiral.judge(spiral.train_ours(data, 0, steps=1000), data, 0)
    assert found["excess"] <= (0.441 - 0.322) / 3
    assert found["within 0.05"] >= 0.97
    assert 0.93 <= found["spread ratio"] <= 1.05
    assert found["covered"] == 100


@pytest.mark.timeout(400)
def test_a_short_training_halves_the_error_on_the_checkerboard() -> None:
    """A twentieth of the steps leaves less than half the dirt of an untrained field."""
    squares = sf.datasets.checkerboard()
    blank = sf.LearnedField(checkerboard.PROCESS, sf.MLP(), data_std=squares.std)
    before = checkerboard.judge(blank, 0, n=4000)
    after = checkerboard.judge(checkerboard.train(0, steps=600), 0, n=4000)
    # Squares fill half of the box and nothing outside it: of a round cloud half is off, or more.
    assert before["off"] > 0.5 - 4.5 * 0.5 / math.sqrt(4000)
    assert after["off"] < before["off"] / 2
    assert after["worst cell"] < before["worst cell"] / 2


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_excess_is_a_third_of_the_lectures_in_no_more_time(seed: int) -> None:
    """Both trainings through the benchmark, one after the other; seconds are CPU time."""
    data = sf.datasets.spiral()
    timer = time.process_time
    start = timer()
    lecture = spiral.train_lecture(data.distribution.points.float(), seed)
    lecture_s = timer() - start
    start = timer()
    ours = spiral.train_ours(data, seed)
    ours_s = timer() - start
    a, b = (spiral.judge(field, data, seed) for field in (lecture, ours))
    assert b["excess"] <= a["excess"] / 3
    assert b["within 0.05"] >= max(0.97, a["within 0.05"])
    assert 0.93 <= b["spread ratio"] <= 1.05
    assert b["covered"] == 100
    assert ours_s <= lecture_s


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_checkerboard_is_learned() -> None:
    start = time.process_time()
    field = checkerboard.train(0)
    spent = time.process_time() - start
    found = checkerboard.judge(field, 0)
    assert spent <= 300
    assert found["off"] <= 0.03
    assert found["worst cell"] <= 0.15
