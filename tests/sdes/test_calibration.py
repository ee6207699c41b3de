"""Steps fitted to one field: better on fresh particles, refused for another field."""

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.sdes.calibration import ANGLES, TEACHER, with_plan
from sdeflow.sdes.plan import DEFAULT, SAFE, FittedPlan
from tests.problems import lopsided
from tests.sdes.test_multistep import MEAN, eight, gaussian

F64 = torch.float64
FIELD = sf.ExactField(sf.EDM(t_min=0.01, t_max=20.0), eight())
FITTED = sf.sdes.calibrate(FIELD, 6)


def apart(sde: sf.SDE, field: sf.ExactField, steps: int, seed: int) -> Tensor:
    """Sorted distances per coordinate of 300 fresh particles to the end of the flow."""
    x = field.process.prior(300, 2, seed, F64)
    truth = sf.ODESolver("euler", 400).solve(sf.multistep(field, 0.0, 4, 4), x).x[-1]
    end = sf.ODESolver("euler", steps).solve(sde, x).x[-1]
    return (end - truth).square().mean(1).sqrt().sort().values


def test_fitted_steps_are_better_on_particles_of_no_part_in_the_fit():
    fitted, usual = (apart(sde, FIELD, 6, 99)[:297] for sde in (FITTED, sf.multistep(FIELD)))
    fitted, usual = (float(d.square().mean().sqrt()) for d in (fitted, usual))
    assert fitted < 0.4 * usual
    assert 0.5 < FITTED.fitted.error / fitted < 2  # as it says itself
    assert 0.5 < FITTED.fitted.errors[DEFAULT] / usual < 2
    assert "fitted" in FITTED.fitted.name


def test_calibration_costs_what_it_says():
    calls = 0

    class Counted(sf.fields.Field):
        @property
        def dim(self) -> int:
            return 2

        def row(self, c):
            return FIELD.row(c)

        def at(self, t, c, like):
            inner = FIELD.at(t, c, like)

            def evaluate(x: Tensor) -> Tensor:
                nonlocal calls
                calls += len(x)
                return inner(x)

            return evaluate

    found = sf.sdes.calibrate(Counted(FIELD.process), 4, pilot=32)
    plans = len(ANGLES) + 2 + 2
    assert found.fitted.evaluations == 32 * (TEACHER + 4 * plans) + 256 * (TEACHER + 12)
    assert calls == found.fitted.evaluations + 2 * 8  # the predictions that recognise the field


def test_equal_arguments_give_equal_bits_and_one_call_a_step():
    again = sf.sdes.calibrate(FIELD, 6)
    x = FIELD.process.prior(9, 2, 5, F64)
    run = sf.ODESolver("euler", 6)
    one, two = run.solve(FITTED, x), run.solve(again, x)
    assert torch.equal(one.x, two.x)
    assert one.nfe == 6
    assert torch.equal(run.solve(FITTED, x[:4]).x[-1], one.x[-1][:4])


@pytest.mark.parametrize("process", [sf.VP(), sf.Linear()], ids=repr)
def test_gaussian_data_of_any_mean_stay_exact(process):
    """Nothing is left to fit; the mean goes into the shift of every step."""
    field = gaussian(process)
    sde = sf.sdes.calibrate(field, 5)
    assert sde.fitted.error < 1e-9
    moved = sf.ExactField(process, lopsided(F64).moved(-MEAN, 1.0))
    far = apart(sf.sdes.calibrate(moved, 6), moved, 6, 3)
    near = sf.ExactField(process, lopsided(F64))
    assert far.median() < 2 * apart(sf.sdes.calibrate(near, 6), near, 6, 3).median() + 1e-9


def test_steps_fitted_in_float64_serve_float32_clouds():
    """Under VP F is a small difference at high noise, of which float32 keeps few digits."""
    field = sf.ExactField(sf.VP(), eight())
    sde, run = sf.sdes.calibrate(field, 6), sf.ODESolver("euler", 6)
    x = field.process.prior(200, 2, 0, torch.float32)
    apart = (run.solve(sde, x).x[-1] - run.solve(sde, x.double()).x[-1]).abs().sum(1)
    assert apart.median() < 1e-3


def guided(scale: float) -> sf.GuidedField:
    """Two of eight modes."""
    few = sf.GaussianMixture.isotropic(eight().means[:2], 0.2)
    return sf.GuidedField(sf.ExactField(FIELD.process, few), FIELD, scale)


@pytest.mark.parametrize(("scale", "steps"), [(1.0, 12), (4.0, 8)])
def test_guided_flow_is_never_worse_than_by_either_recipe(scale, steps):
    """At scale 1 the default recipe is the better one, at scale 4 the safe one."""
    sde = sf.sdes.calibrate(guided(scale), steps)
    found = sde.fitted
    assert set(found.errors) >= {DEFAULT, SAFE, found.name}
    assert found.error <= 1.1 * min(found.errors.values())
    assert (found.errors[DEFAULT] < found.errors[SAFE]) == (scale == 1.0)
    assert len(found.pilot_errors) == len(ANGLES) + 2 + 2
    assert f"{steps} steps, {found.name}: error {found.error:.3g}" in repr(sde)
    assert FittedPlan.from_plain(found.plain()).errors == found.errors
    with pytest.raises(ValueError, match="guidance"):
        with_plan(sf.multistep(guided(scale + 1.0)), found)


def test_plan_that_only_its_own_pilot_likes_is_not_taken():
    """Weights that are fitted to 16 particles may know only them."""
    found = sf.sdes.calibrate(guided(1.0), 12, pilot=16).fitted
    assert min(found.pilot_errors, key=found.pilot_errors.__getitem__) != DEFAULT
    assert found.name == DEFAULT


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (lambda: with_plan(sf.multistep(OTHER), P), "another"),
        (lambda: with_plan(sf.multistep(FIELD, 1.0), P), "eta = 0"),
        (lambda: with_plan(sf.multistep(sf.ExactField(sf.EDM(), eight())), P), "from t ="),
        (lambda: sf.ODESolver("euler", 7).solve(FITTED, CLOUD), "steps=6"),
        (
            lambda: sf.ODESolver("euler", times=sf.multistep(FIELD).times(6)).solve(FITTED, CLOUD),
            "steps=6",
        ),
        (lambda: sf.sdes.calibrate(FIELD, 6, pilot=3), "pilot"),
        (
            lambda: sf.sdes.calibrate(sf.LearnedField(sf.VP(), torch.nn.Identity()), 6),
            "give pilot= as a cloud",
        ),
        (lambda: sf.sdes.calibrate(LABELLED, 6), "calibrate for each label"),
        (lambda: sf.sdes.calibrate(PUSHED, 6), "calibrate for each label"),
        (lambda: with_plan(sf.multistep(LABELLED), P), "calibrate for each label"),
    ],
    ids=[
        *("field", "noise", "span", "steps", "times", "pilot", "dimension"),
        *("labels", "labels of one part", "labels of a plan"),
    ],
)
def test_what_was_not_fitted_is_refused_in_one_sentence(do, says):
    with pytest.raises(ValueError, match=says):
        do()


P, OTHER = FITTED.fitted, sf.ExactField(FIELD.process, lopsided(F64))
CLOUD = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
LEARNED = sf.LearnedField(FIELD.process, sf.MLP(width=4, depth=1, labels=3), data_std=1.0)
LABELLED = LEARNED.given(torch.tensor([0, 1, 2]))
PUSHED = sf.GuidedField(LEARNED.given(1), LABELLED, 2.0)
