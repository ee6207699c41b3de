"""The error budget: each cause is seen alone, and a broken sampler is a broken sampler."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.distributions.mixture import prior_density
from sdeflow.processes.process import Coefficients
from sdeflow.sdes.generative import FieldSDE
from tests.problems import f64

N, STEPS = 40_000, 40
# Of constant rate: Euler's error is then of first order from few steps on.
PROCESS = sf.VP(beta_min=2.0, beta_max=2.0, t_min=1e-4, t_max=5.0)
GRID = sf.Grid(-5.0, 5.0, (64, 64))
RULER = sf.fokker_planck.Rescaling(PROCESS, 1.0, 0.4)


def law() -> sf.GaussianMixture:
    """Three unequal round modes: no mirror for a wrong sign, and wide enough for 64 cells."""
    means = f64([[1.5, 0.4], [-1.0, 1.2], [0.2, -1.6]])
    return sf.GaussianMixture.isotropic(means, 0.4, f64([0.5, 0.3, 0.2]))


def times_of(steps: int, process: sf.processes.Process = PROCESS) -> Tensor:
    """Even steps for a feature 0.4 wide."""
    rescaling = replace(RULER, process=process)
    ends = f64([process.t_max, process.t_min])
    first, last = rescaling.rescaled_time(ends).tolist()
    times = rescaling.time(torch.linspace(first, last, steps + 1, dtype=torch.float64))
    times[[0, -1]] = ends
    return times


@dataclass(frozen=True, eq=False)
class Scaled(sf.ExactField):
    """The exact field times a factor."""

    factor: float = 1.0

    def evaluate(self, x: Tensor, t: Tensor, c: Coefficients) -> Tensor:
        return self.factor * super().evaluate(x, t, c)


FIELD = sf.ExactField(PROCESS, law())
TIMES = times_of(STEPS)


def cloud(sde: sf.SDE, times: Tensor = TIMES, process: sf.processes.Process = PROCESS) -> Tensor:
    x = process.prior(N, 2, 5)
    return sf.SDESolver("euler", times=times, seed=7).solve(sde, x, save=1).x[-1]


def budget(
    x: Tensor, sde: sf.SDE, times: Tensor = TIMES, truth: sf.fields.ExactField = FIELD
) -> sf.diagnostics.ErrorBudget:
    rescaling = replace(RULER, process=truth.process)
    return sf.diagnostics.error_budget(x, sde, times, truth, GRID, rescaling=rescaling, steps=120)


# ----------------------------------------------------------------------------- one cause at a time


@pytest.fixture(scope="module")
def sound() -> sf.diagnostics.ErrorBudget:
    sde = sf.reverse(FIELD)
    return budget(cloud(sde), sde)


def test_a_sound_sampler_has_only_its_step(sound: sf.diagnostics.ErrorBudget) -> None:
    found = sound
    assert found.causes == ("step",)
    assert found.own.passed()
    assert not found.total.passed()
    # The field is exact: what is left of its part is the grid's.
    assert found["field"].low == 0.0
    assert found["field"].value < 2e-3


def test_doubling_the_steps_halves_the_step_and_leaves_the_rest() -> None:
    """Euler and Maruyama's method is of first order in law."""
    sde = sf.reverse(FIELD)
    x = FIELD.sample(1000, 0)  # not what is looked at here
    once, twice = (budget(x, sde, times_of(k)) for k in (40, 80))
    assert once["step"].value / twice["step"].value == pytest.approx(2, rel=0.1)
    for name in ("truncation", "field", "prior"):
        assert once[name].value == twice[name].value


def test_a_wrong_field_is_the_fields_fault() -> None:
    """A score 5 % too large, in the sampler and in the Fokker-Planck equation alike."""
    sde = sf.reverse(Scaled(PROCESS, law(), 1.05))
    found = budget(cloud(sde), sde)
    assert "field" in found.causes
    assert "sampler" not in found.causes


def test_a_prior_that_is_not_reached_is_seen() -> None:
    """At beta_max = 5 a fifth of the data is left at t_max."""
    process = sf.VP(beta_max=5.0)
    field = sf.ExactField(process, law())
    sde, times = sf.reverse(field), times_of(STEPS, process)
    found = budget(cloud(sde, times, process), sde, times, field)
    assert "prior" in found.causes
    assert not {"field", "sampler"} & set(found.causes)
    # The law of a Markov chain forgets: the error has shrunk since the start.
    wide = GRID
    start = field.density(wide, process.t_max)
    noise = sf.GaussianMixture.isotropic(
        f64([[0.0, 0.0]]), float(process(f64(process.t_max)).sigma)
    )
    assert found["prior"].value < start.total_variation(noise.on_grid(wide))
    # Each interval is the error of the two densities that it is between.
    error = {name: law.error or 0.0 for name, law in found.laws.items()}
    assert error["prior"] != pytest.approx(error["learned"], rel=1e-3)
    for name, pair in (("field", ("exact", "learned")), ("step", ("prior", "sampler"))):
        part, meant = found[name], sum(error[law] for law in pair)
        assert part.high - part.value == pytest.approx(meant)


def test_a_run_that_stops_early_is_seen() -> None:
    process = sf.VP(t_min=0.05)
    field = sf.ExactField(process, law())
    sde, times = sf.reverse(field), times_of(STEPS, process)
    found = budget(cloud(sde, times, process), sde, times, field)
    assert "truncation" in found.causes
    assert not {"field", "prior", "sampler"} & set(found.causes)


def test_the_parts_cover_the_whole() -> None:
    """The triangle inequality, between densities: no sampling noise."""
    sde = sf.reverse(Scaled(PROCESS, law(), 1.1))
    found = budget(cloud(sde), sde)
    whole = FIELD.density(GRID, None).total_variation(found.laws["sampler"])
    parts = sum(found[name].value for name in ("truncation", "field", "prior", "step"))
    assert max(p.value for p in found.parts) - 0.05 < whole <= parts


def test_the_parts_cover_the_cloud_too() -> None:
    """Of a few particles the floor is most of the distance: left out, the sum falls short."""
    sde, times = sf.reverse(FIELD), times_of(160)
    start = prior_density(GRID, PROCESS)
    own = sf.fokker_planck.sampler_density(sde, start, times, rescaling=RULER)[-1]
    for seed in range(3):
        found = budget(own.sample(2000, seed), sde, times)
        mean, sd = found.own.floor
        whole = found.total.distance
        assert sum(p.value for p in found.parts if p.name != "sampling") < whole - 4 * sd
        # Each verdict has bins of its own: chance may differ by a fluctuation of the floor.
        assert whole < sum(p.value for p in found.parts) + 4 * sd
        assert found["sampling"].value == mean


# --------------------------------------------------------------------------------- broken samplers


def without_noise(sde: FieldSDE) -> sf.SDE:
    return sf.SDE(sde.drift, lambda x, t: f64(0.0), sde.t_start, sde.t_end)


def with_the_corrections_sign_wrong(sde: FieldSDE) -> sf.SDE:
    flow = sf.reverse(FIELD, 0.0).drift
    return replace_drift(sde, lambda x, t: 2 * flow(x, t) - sde.drift(x, t))


def with_a_score_too_large(sde: FieldSDE) -> sf.SDE:
    return sf.reverse(Scaled(PROCESS, law(), 1.05))


def without_noise_in_the_last_steps(sde: FieldSDE) -> sf.SDE:
    late = float(TIMES[-3])
    assert sde.diffusion is not None
    g = sde.diffusion
    return sf.SDE(sde.drift, lambda x, t: g(x, t) * float(t > late), sde.t_start, sde.t_end)


def with_time_reversed(sde: FieldSDE) -> sf.SDE:
    whole = PROCESS.t_max + PROCESS.t_min
    return replace_drift(sde, lambda x, t: sde.drift(x, whole - t))


def with_half_the_noise_that_is_claimed(sde: FieldSDE) -> sf.SDE:
    """eta is ignored: the field's marginals are the same, the steps are not."""
    return sf.reverse(FIELD, 0.5)


def replace_drift(sde: FieldSDE, drift: Callable[[Tensor, Tensor], Tensor]) -> sf.SDE:
    return sf.SDE(drift, sde.diffusion, sde.t_start, sde.t_end)


@pytest.mark.parametrize(
    "broken",
    [
        without_noise,
        with_the_corrections_sign_wrong,
        with_a_score_too_large,
        without_noise_in_the_last_steps,
        with_time_reversed,
        with_half_the_noise_that_is_claimed,
    ],
    ids=lambda f: f.__name__,
)
def test_a_broken_sampler_is_the_samplers_fault(broken: Callable[[FieldSDE], sf.SDE]) -> None:
    sde = sf.reverse(FIELD)
    found = budget(cloud(broken(sde)), sde)
    assert set(found.causes) == {"step", "sampler"}
    assert found.own.p_value < 1e-6


# ---------------------------------------------------------------------------------------- the door


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda x: sf.diagnostics.error_budget(x, sf.forward(PROCESS), TIMES, FIELD, GRID), "reverse"),
        (lambda x: sf.diagnostics.error_budget(x, sf.sdes.comoving(FIELD), TIMES, FIELD, GRID), "another clock"),
        (
            lambda x: sf.diagnostics.error_budget(
                x, sf.reverse(sf.ExactField(sf.VE(), law())), TIMES, FIELD, GRID
            ),
            "process",
        ),
        (
            lambda x: sf.diagnostics.error_budget(
                x, sf.reverse(FIELD), TIMES, FIELD, sf.Grid(-1.0, 1.0, (8, 8))
            ),
            "misses",
        ),
        (
            lambda x: sf.diagnostics.error_budget(
                x, sf.reverse(FIELD), TIMES, FIELD, sf.Grid(1.0, 9.0, (64, 64)),
            ),
            "rescaled",
        ),
        (lambda x: sf.diagnostics.error_budget(x, sf.reverse(FIELD), TIMES * 2, FIELD, GRID), "outside"),
    ],
    ids=["no field", "comoving", "process", "small grid", "grid off centre", "times"],
)  # fmt: skip
def test_mistakes_are_refused_in_a_sentence(mistake: Callable, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        mistake(torch.zeros(200, 2, dtype=torch.float64))


def test_the_table_names_every_cause(sound: sf.diagnostics.ErrorBudget) -> None:
    for name in ("truncation", "field", "prior", "step", "sampler", "sampling", "total"):
        assert name in str(sound)
