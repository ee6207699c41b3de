"""The error budget: each cause is detected alone, and a broken sampler is found to be broken."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.diagnostics import ErrorBudget, error_budget
from sdeflow.diagnostics.error_budget import CAUSES, intermediate_densities, split_error
from sdeflow.distributions.mixture import prior_density
from sdeflow.processes.process import Coefficients
from sdeflow.sdes.field_sde import FieldSDE
from tests.problems import f64

N, STEPS = 40_000, 40
# With a constant rate Euler's error is of first order from few steps on.
PROCESS = sf.VP(beta_min=2.0, beta_max=2.0, t_min=1e-4, t_max=5.0)
GRID = sf.Grid(-5.0, 5.0, (64, 64))
RESCALING = sf.fokker_planck.Rescaling(PROCESS, 1.0, 0.4)


def mixture() -> sf.GaussianMixture:
    """Three unequal round modes: no mirror symmetry, and wide enough for 64 cells."""
    means = f64([[1.5, 0.4], [-1.0, 1.2], [0.2, -1.6]])
    return sf.GaussianMixture.isotropic(means, 0.4, f64([0.5, 0.3, 0.2]))


def times_of(steps: int, process: sf.processes.Process = PROCESS) -> Tensor:
    """Even steps for a feature 0.4 wide."""
    rescaling = replace(RESCALING, process=process)
    ends = f64([process.t_max, process.t_min])
    first, last = rescaling.rescaled_time(ends).tolist()
    times = rescaling.time(torch.linspace(first, last, steps + 1, dtype=torch.float64))
    times[[0, -1]] = ends
    return times


@dataclass(frozen=True, eq=False)
class Scaled(sf.ExactField):
    """The exact field times a factor."""

    factor: float = 1.0

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Callable[[Tensor], Tensor]:
        known = super().at(t, c, like)
        return lambda x: self.factor * known(x)


FIELD = sf.ExactField(PROCESS, mixture())
TIMES = times_of(STEPS)


def cloud(sde: sf.SDE, times: Tensor = TIMES, process: sf.processes.Process = PROCESS) -> Tensor:
    x = process.prior(N, 2, 5)
    return sf.SDESolver("euler", times=times, seed=7).solve(sde, x, save=1).x[-1]


def budget(
    x: Tensor, sde: sf.SDE, times: Tensor = TIMES, truth: sf.fields.ExactField = FIELD
) -> ErrorBudget:
    rescaling = replace(RESCALING, process=truth.process)
    return error_budget(x, sde, times, truth, GRID, rescaling=rescaling, steps=120)


# ----------------------------------------------------------------------------- one cause at a time


@pytest.fixture(scope="module")
def sound() -> ErrorBudget:
    sde = sf.reverse(FIELD)
    return budget(cloud(sde), sde)


def test_of_a_right_sampler_only_the_step_is_detected(sound: ErrorBudget) -> None:
    found = sound
    assert found.causes == ("step",)
    assert found.own.passed()
    assert not found.total.passed()
    # The field is exact: what is left of its source is the error of the grid.
    assert found["field"].low == 0.0
    assert found["field"].value < 2e-3


def test_step_error_is_of_first_order_and_the_others_do_not_depend_on_it(
    sound: ErrorBudget,
) -> None:
    """Euler-Maruyama is of first weak order."""
    x = FIELD.sample(1000, 0)  # no matter: the sources between densities are compared
    once, twice = sound, budget(x, sf.reverse(FIELD), times_of(2 * STEPS))
    assert once["step"].value / twice["step"].value == pytest.approx(2, rel=0.1)
    for name in ("truncation", "field", "prior"):
        assert once[name].value == twice[name].value


def test_a_wrong_field_is_detected_as_field() -> None:
    """A score 5 % too large, in the sampler and in the Fokker-Planck equation alike."""
    sde = sf.reverse(Scaled(PROCESS, mixture(), 1.05))
    found = budget(cloud(sde), sde)
    assert "field" in found.causes
    assert "sampler" not in found.causes


def test_a_prior_that_is_not_reached_is_detected_as_prior() -> None:
    """At beta_max = 5 a fifth of the data is left at t_max."""
    process = sf.VP(beta_max=5.0)
    field = sf.ExactField(process, mixture())
    sde, times = sf.reverse(field), times_of(STEPS, process)
    found = budget(cloud(sde, times, process), sde, times, field)
    assert "prior" in found.causes
    assert not {"field", "sampler"} & set(found.causes)
    # A Markov chain forgets its start: the error has shrunk since then.
    wide = GRID
    start = field.density(wide, process.t_max)
    noise = sf.GaussianMixture.isotropic(
        f64([[0.0, 0.0]]), float(process(f64(process.t_max)).sigma)
    )
    assert found["prior"].value < start.total_variation(noise.on_grid(wide))
    # Each interval is the error of the two densities that it is between.
    error = {name: density.error or 0.0 for name, density in found.densities.items()}
    assert error["prior"] != pytest.approx(error["learned"], rel=1e-3)
    for name, pair in (("field", ("exact", "learned")), ("step", ("prior", "sampler"))):
        source, expected = found[name], sum(error[density] for density in pair)
        assert source.high - source.value == pytest.approx(expected)


def test_an_early_stop_is_detected_as_truncation() -> None:
    process = sf.VP(t_min=0.05)
    field = sf.ExactField(process, mixture())
    sde, times = sf.reverse(field), times_of(STEPS, process)
    found = budget(cloud(sde, times, process), sde, times, field)
    assert "truncation" in found.causes
    assert not {"field", "prior", "sampler"} & set(found.causes)


def test_sources_between_densities_bound_the_distance_of_the_densities() -> None:
    """The triangle inequality, between densities: no sampling noise."""
    sde = sf.reverse(Scaled(PROCESS, mixture(), 1.1))
    found = budget(cloud(sde), sde)
    distance = FIELD.density(GRID, None).total_variation(found.densities["sampler"])
    bound = sum(found[name].value for name in ("truncation", "field", "prior", "step"))
    assert max(s.value for s in found.sources) - 0.05 < distance <= bound


def test_budget_takes_a_density_that_is_known_already() -> None:
    """The same densities, with one run of `evolve` fewer; another span is refused."""
    sde = sf.reverse(FIELD)
    times = times_of(10)
    wide = GRID.scaled(RESCALING(times[0]) / RESCALING(times[-1]))
    prior = prior_density(wide, PROCESS, float(times[0]))
    known = sf.evolve(sde, prior, times[[0, 4, -1]], steps=60, rescaling=RESCALING)
    ask = {"rescaling": RESCALING, "steps": 60}
    found = intermediate_densities(sde, times, FIELD, GRID, from_prior=known, **ask)
    alone = intermediate_densities(sde, times, FIELD, GRID, **ask)
    assert found["prior"] is known[-1]
    for name, density in alone.items():
        assert density.total_variation(found[name]) < 1e-4, name
    contrasts = (d["learned"].total_variation(d["prior"]) for d in (found, alone))
    assert next(contrasts) == pytest.approx(next(contrasts), rel=0.02)
    early = sf.evolve(sde, prior, times[[0, 4]], steps=60, rescaling=RESCALING)
    with pytest.raises(ValueError, match="evolve it between the same times"):
        intermediate_densities(sde, times, FIELD, GRID, from_prior=early, **ask)
    with pytest.raises(TypeError, match="from_prior must be a DensityPath"):
        intermediate_densities(sde, times, FIELD, GRID, from_prior=known[-1], **ask)


def test_budget_of_a_table_is_that_of_the_field() -> None:
    sde = sf.reverse(FIELD)
    times = times_of(10)
    wide = GRID.scaled(RESCALING(times[0]) / RESCALING(times[-1]))
    table = sf.fokker_planck.tabulate_field(FIELD, wide, times, rescaling=RESCALING, levels=65)
    ask = {"rescaling": RESCALING, "steps": 60}
    found = intermediate_densities(sf.reverse(table), times, FIELD, GRID, **ask)
    alone = intermediate_densities(sde, times, FIELD, GRID, **ask)
    for name, density in alone.items():
        assert density.total_variation(found[name]) < 1e-5, name


def test_sources_bound_the_distance_of_the_cloud() -> None:
    """With few particles the floor is most of the distance: without it the sum is too small."""
    sde, times = sf.reverse(FIELD), times_of(160)
    densities = intermediate_densities(sde, times, FIELD, GRID, rescaling=RESCALING, steps=120)
    start = prior_density(GRID, PROCESS)
    own = sf.fokker_planck.sampler_density(sde, start, times, rescaling=RESCALING)[-1]
    for seed in range(3):
        found = split_error(own.sample(2000, seed), densities)
        mean, sd = found.own.sampling_floor
        distance = found.total.distance
        assert sum(s.value for s in found.sources if s.name != "sampling") < distance - 4 * sd
        # Each verdict has bins of its own: chance may differ by a fluctuation of the floor.
        assert distance < sum(s.value for s in found.sources) + 4 * sd
        assert found["sampling"].value == mean


# --------------------------------------------------------------------------------- broken samplers


def without_noise(sde: FieldSDE) -> sf.SDE:
    return sf.SDE(sde.drift, lambda x, t: f64(0.0), sde.t_start, sde.t_end)


def with_the_wrong_sign_of_the_correction(sde: FieldSDE) -> sf.SDE:
    flow = sf.reverse(FIELD, 0.0).drift
    return replace_drift(sde, lambda x, t: 2 * flow(x, t) - sde.drift(x, t))


def with_a_score_too_large(sde: FieldSDE) -> sf.SDE:
    return sf.reverse(Scaled(PROCESS, mixture(), 1.05))


def without_noise_in_the_last_steps(sde: FieldSDE) -> sf.SDE:
    late = float(TIMES[-3])
    assert sde.diffusion is not None
    g = sde.diffusion
    return sf.SDE(sde.drift, lambda x, t: g(x, t) * float(t > late), sde.t_start, sde.t_end)


def with_time_reversed(sde: FieldSDE) -> sf.SDE:
    both = PROCESS.t_max + PROCESS.t_min
    return replace_drift(sde, lambda x, t: sde.drift(x, both - t))


def with_half_the_noise(sde: FieldSDE) -> sf.SDE:
    """eta is wrong: the field's marginals are the same, the steps are not."""
    return sf.reverse(FIELD, 0.5)


def replace_drift(sde: FieldSDE, drift: Callable[[Tensor, Tensor], Tensor]) -> sf.SDE:
    return sf.SDE(drift, sde.diffusion, sde.t_start, sde.t_end)


@pytest.mark.parametrize(
    "broken",
    [
        without_noise,
        with_the_wrong_sign_of_the_correction,
        with_a_score_too_large,
        without_noise_in_the_last_steps,
        with_time_reversed,
        with_half_the_noise,
    ],
    ids=lambda f: f.__name__,
)
def test_a_broken_sampler_is_detected_as_sampler(
    broken: Callable[[FieldSDE], sf.SDE], sound: ErrorBudget
) -> None:
    """The densities are those of the sound sampler: they depend on its SDE, not on its cloud."""
    found = split_error(cloud(broken(sf.reverse(FIELD))), sound.densities)
    assert set(found.causes) == {"step", "sampler"}
    assert found.own.p_value < 1e-6


# ----------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda x: error_budget(x, sf.forward(PROCESS), TIMES, FIELD, GRID), "reverse"),
        (lambda x: error_budget(x, sf.sdes.comoving(FIELD), TIMES, FIELD, GRID), "another time"),
        (
            lambda x: error_budget(
                x, sf.reverse(sf.ExactField(sf.VE(), mixture())), TIMES, FIELD, GRID
            ),
            "process",
        ),
        (
            lambda x: error_budget(
                x, sf.reverse(FIELD), TIMES, FIELD, sf.Grid(-1.0, 1.0, (8, 8))
            ),
            "misses",
        ),
        (
            lambda x: error_budget(
                x, sf.reverse(FIELD), TIMES, FIELD, sf.Grid(1.0, 9.0, (64, 64)),
            ),
            "rescaled",
        ),
        (lambda x: error_budget(x, sf.reverse(FIELD), TIMES * 2, FIELD, GRID), "outside"),
    ],
    ids=["no field", "comoving", "process", "small grid", "grid off centre", "times"],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(mistake: Callable, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        mistake(torch.zeros(200, 2, dtype=torch.float64))


def test_the_markdown_table_names_every_cause(sound: ErrorBudget) -> None:
    lines = str(sound).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:9]] == [*CAUSES, "total"]
    assert sound._repr_markdown_() == str(sound)
    assert repr(sound).endswith(f"{sound.total.distance:.2e}, detected: step")
    assert repr(sound["step"]).startswith("error source step: total variation ")
