"""Coupled pairs: least cost, the same samples, straighter paths, a flow and no score."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import ot
import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow.integrations.diffusers import solver as diffusers_solver
from tests.problems import SMALL, close, f64, randn, same, weights

diffusers = pytest.importorskip("diffusers", reason="its schedulers run on coupled flows")
Pairs, Training = sf.fields.Pairs, sf.training.Training
optimal_transport = sf.training.optimal_transport
MOONS, RING = sf.datasets.two_moons(), sf.datasets.eight_gaussians()
EULER = sf.ODESolver("euler", steps=8)


def cost(x: Tensor, y: Tensor) -> float:
    return float((x.double() - y.double()).square().sum())


def made(pairs: Pairs, labels: int = 0, width: int = 8) -> sf.LearnedField:
    network = sf.MLP(width=width, depth=2, waves=4, labels=labels, seed=0)
    return sf.LearnedField(sf.Linear(), network, data_std=MOONS.std, pairs=pairs)


# ----------------------------------------------------------------------------- optimal transport


def test_no_permutation_costs_less() -> None:
    for seed in range(3):
        x, y = randn(6, 2, seed=seed), randn(6, 2, seed=seed + 10)
        least = min(cost(x, y[list(j)]) for j in itertools.permutations(range(6)))
        assert cost(x, y[optimal_transport(x, y)]) == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_cost_is_that_of_pot(scale: float) -> None:
    """Also with points far outside, and with points that coincide."""
    x, y = randn(100, 3, seed=1), randn(100, 3, seed=2).round()
    y[0], x[5] = 500.0, -900.0
    known = ot.emd2([], [], ot.dist(x.numpy(), y.numpy()))
    ours = cost(scale * x, scale * y[optimal_transport(scale * x, scale * y)])
    assert ours / (100 * scale**2) == pytest.approx(known, rel=1e-9)


def test_it_is_a_permutation_and_on_a_line_keeps_the_order() -> None:
    x, y = randn(50, 1, seed=3).float(), randn(50, 1, seed=4).float()
    j = optimal_transport(x, y)
    assert sorted(j.tolist()) == list(range(50))
    assert torch.equal(x.argsort(0), y[j].argsort(0))


# ------------------------------------------------------------------------------------- a batch


def batch_of(run: Training, step: int = 3):
    return run.task.batch(step, run.network)


def test_coupling_reorders_the_noise_of_a_batch() -> None:
    """Data, times and the numbers of the noise are those of the run without it."""
    plain = batch_of(Training(made(Pairs.INDEPENDENT), MOONS.sample, 5, config=SMALL))
    run = Training(made(Pairs.COUPLED), MOONS.sample, 5, config=SMALL, coupling=optimal_transport)
    coupled = batch_of(run)
    assert torch.equal(plain.x0, coupled.x0)
    assert torch.equal(plain.t, coupled.t)
    assert not torch.equal(plain.eps, coupled.eps)
    assert sorted(plain.eps.tolist()) == sorted(coupled.eps.tolist())
    assert cost(coupled.x0, coupled.eps) < cost(plain.x0, plain.eps)


def test_each_class_is_coupled_within_itself() -> None:
    """A class keeps the noise that it had, so that it is trained on all of the noise."""
    field = made(Pairs.INDEPENDENT, labels=2)
    plain = batch_of(Training(field, MOONS.sample_labelled, 5, config=SMALL))
    run = Training(
        made(Pairs.COUPLED, labels=2), MOONS.sample_labelled, 5, config=SMALL,
        coupling=optimal_transport,
    )  # fmt: skip
    coupled = batch_of(run)
    label = coupled.field.label
    assert torch.equal(label, plain.field.label)
    assert torch.equal(coupled.x0, plain.x0)
    for one in label.unique():
        rows = label == one
        assert sorted(plain.eps[rows].tolist()) == sorted(coupled.eps[rows].tolist())
    assert not torch.equal(plain.eps, coupled.eps)


def test_source_takes_the_place_of_the_noise() -> None:
    run = Training(made(Pairs.SOURCED), MOONS.sample, 5, config=SMALL, source=RING.sample)
    batch = batch_of(run)
    radius = batch.eps.norm(dim=1)
    assert (abs(radius - 2.0 * 2**0.5) < 2.0).all()
    assert float(radius.mean()) > 1.5
    assert not torch.equal(batch.eps, batch_of(run, 4).eps)


# ------------------------------------------------------------------------------- what it is for


def energy(field: sf.LearnedField, start: Tensor) -> float:
    """E int |v|^2 dt along the flow."""
    times = torch.linspace(field.process.t_max, field.process.t_min, 21, dtype=torch.float64)
    path = sf.ODESolver("euler", times=times).solve(sf.reverse(field, 0.0), start, save=times)
    steps = path.x.diff(dim=0).square().sum(2).mean(1) / times.diff().abs()
    return float(steps.sum())


def test_coupled_training_makes_the_paths_straighter() -> None:
    """W2^2 is the least energy; the excess over it shrinks."""
    start, excess = randn(300, 2, seed=1).float(), []
    for pairs, coupling in ((Pairs.INDEPENDENT, None), (Pairs.COUPLED, optimal_transport)):
        field = made(pairs, width=32)
        sf.fit(
            field, MOONS.sample, 150, config=sf.training.TrainingConfig(batch=64),
            coupling=coupling, time_density=sf.training.uniform_time,
        )  # fmt: skip
        least = sf.diagnostics.wasserstein(start, MOONS.sample(300, 1)) ** 2
        excess.append(energy(field, start) / least - 1)
    assert abs(excess[1]) < excess[0] / 2


class Rescaling(nn.Module):
    """The exact velocity of x_0 = s eps: x (alpha_dot s + sigma_dot) / (alpha s + sigma)."""

    def __init__(self, s: float) -> None:
        super().__init__()
        self.s = s

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x * (1 - self.s) / ((1 - t) * self.s + t)


def test_coupled_gaussians_have_the_flow_and_not_the_score() -> None:
    """On a line, N(0, s^2) is coupled with N(0, 1) as x_0 = s eps; (6.5)."""
    s, n, t = 0.3, 500, 0.5
    eps = randn(n, 1, seed=6)
    x0 = s * randn(n, 1, seed=5)
    eps = eps[optimal_transport(x0, eps)]
    assert float(((1 - t) * x0 + t * eps).std()) == pytest.approx((1 - t) * s + t, rel=0.1)
    field = sf.LearnedField(
        sf.Linear(), Rescaling(s), sf.fields.Prediction.VELOCITY, pairs=Pairs.COUPLED
    )
    end = sf.ODESolver("rk4", steps=40).solve(sf.reverse(field, 0.0), eps).x[-1]
    c = field.process(f64([field.process.t_min, field.process.t_max]))
    scale = c.alpha * s + c.sigma
    assert close(end, eps * scale[0] / scale[1], rtol=1e-6)
    assert close(field.data(eps, t), eps * s / ((1 - t) * s + t))
    assert close(field.noise(eps, t), eps / ((1 - t) * s + t))
    with pytest.raises(ValueError, match="needs the score"):
        field.score(eps, t)


NOISY = diffusers.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++")
REFUSED: dict[str, Callable[[sf.LearnedField], object]] = {
    "reverse": sf.reverse,
    "ancestral": sf.ancestral,
    "comoving": lambda field: sf.sdes.comoving(field, 0.5),
    "multistep": lambda field: sf.multistep(field, 1.0),
    "guided": lambda field: sf.reverse(sf.GuidedField(made(Pairs.INDEPENDENT), field, 2.0)),
    "predict": lambda field: field.predict(sf.fields.Prediction.SCORE, randn(4, 2), 0.5),
    "elbo": lambda field: sf.analysis.elbo(
        field, randn(4, 2), [0.9, 0.1], sf.analysis.small_variance(field.process, [0.9, 0.1])
    ),
    "learned_variance": lambda field: sf.analysis.learned_variance(field, randn(4, 2), [0.9, 0.1]),
    "scheduler": lambda field: diffusers_solver(NOISY)(
        sf.reverse(field, 0.0), randn(4, 2).float(), field.process.t_max * f64([1.0, 0.5, 0.1]), 0
    ),
    "loss_decomposition": lambda field: sf.training.loss_decomposition(
        field, sf.ExactField(field.process, RING.distribution)
    ),
}


@pytest.mark.parametrize("kind", ["DDPM", "EulerAncestralDiscrete", "SASolver"])
def test_schedulers_that_draw_by_their_kind_are_refused_too(kind: str) -> None:
    config = {"clip_sample": False} if kind == "DDPM" else {}
    run = diffusers_solver(getattr(diffusers, f"{kind}Scheduler")(**config))
    field = made(Pairs.COUPLED)
    times = field.process.t_max * f64([1.0, 0.5, 0.1])
    with pytest.raises(ValueError, match="needs the score"):
        run(sf.reverse(field, 0.0), randn(4, 2).float(), times, 0)


@pytest.mark.parametrize("pairs", [Pairs.COUPLED, Pairs.SOURCED])
@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_the_score_is_refused(name: str, pairs: Pairs) -> None:
    with pytest.raises(ValueError, match=f"needs the score, which a field of {pairs.value}"):
        REFUSED[name](made(pairs))


@pytest.mark.parametrize("pairs", [Pairs.COUPLED, Pairs.SOURCED])
def test_the_flow_of_coupled_pairs_is_that_of_the_velocity(pairs: Pairs) -> None:
    """The same, to the bit, as for a field that does not say so; also in multistep form."""
    x, told, plain = randn(70, 2).float(), made(pairs), made(Pairs.INDEPENDENT)
    for law in (sf.reverse, sf.multistep, sf.ancestral):
        ends = [EULER.solve(law(field, eta=0.0), x).x[-1] for field in (told, plain)]
        assert torch.equal(*ends)


def test_only_a_source_may_start_at_any_width() -> None:
    x = 9 * randn(70, 2).float()
    EULER.solve(sf.reverse(made(Pairs.SOURCED), 0.0), x)
    with pytest.warns(UserWarning, match="times the width"):
        EULER.solve(sf.reverse(made(Pairs.COUPLED), 0.0), x)


def test_likelihood_needs_the_density_of_the_source() -> None:
    x, solver = randn(5, 2).float(), sf.ODESolver("euler", steps=3)
    sourced = made(Pairs.SOURCED)
    with pytest.raises(ValueError, match="give prior="):
        sf.analysis.log_likelihood(sourced, x, solver)
    prior = RING.distribution.log_prob
    known = sf.analysis.log_likelihood(made(Pairs.COUPLED), x, solver, prior)
    assert torch.equal(sf.analysis.log_likelihood(sourced, x, solver, prior), known)
    with pytest.raises(ValueError, match="Gaussian noise"):
        sf.sdes.calibrate(sourced, 4)


# ------------------------------------------------------------------------------------ checkpoints


def drawn(x0: Tensor, eps: Tensor, seed: int) -> Tensor:
    """A coupling that draws."""
    return torch.from_numpy(np.random.default_rng(seed).permutation(len(x0)))


@pytest.mark.parametrize("coupling", [None, optimal_transport, drawn])
def test_a_resumed_run_ends_in_the_same_bits(
    coupling: sf.training.Coupling | None, tmp_path: Path
) -> None:
    def begun(file: Path | None) -> Training:
        return Training(
            made(Pairs.SOURCED), MOONS.sample, 12, config=SMALL, coupling=coupling,
            source=RING.sample, checkpoint=file, every=5,
        )  # fmt: skip

    whole, file = begun(None), tmp_path / "state"
    list(whole)
    for run in begun(file), begun(file):
        for _ in run:
            if run.step == 7:
                break
    assert not same(weights(run.task.field), weights(whole.task.field))
    again = begun(file)
    assert again.step == 5
    list(again)
    assert same(weights(again.task.field), weights(whole.task.field))
    assert sf.training.load(file).pairs is Pairs.SOURCED
    with pytest.raises(sf.SdeflowError, match=r"another (coupling|source)"):
        Training(
            made(Pairs.SOURCED), MOONS.sample, 12, config=SMALL, source=RING.sample,
            coupling=lambda x0, eps, seed: torch.arange(len(x0)).flip(0), checkpoint=file,
        )  # fmt: skip
    with pytest.raises(sf.SdeflowError, match="another source"):
        Training(
            made(Pairs.SOURCED), MOONS.sample, 12, config=SMALL, source=MOONS.sample,
            coupling=coupling, checkpoint=file,
        )  # fmt: skip


def test_a_saved_field_keeps_its_pairs(tmp_path: Path) -> None:
    for pairs in Pairs:
        sf.training.save(made(pairs), tmp_path / pairs.value)
        assert sf.training.load(tmp_path / pairs.value).pairs is pairs
        assert f"{pairs.value} pairs" in repr(made(pairs)) or pairs is Pairs.INDEPENDENT
