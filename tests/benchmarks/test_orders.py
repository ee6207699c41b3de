"""Orders of convergence: the fit, its verdicts, and the calls that every method makes."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

import sdeflow as sf
from benchmarks.solvers import linear_sampler, order_cases, order_methods, order_rows
from benchmarks.solvers.convergence import Measured, report
from benchmarks.solvers.order import order_of, strong_order_of, weak_order_of
from benchmarks.solvers.ours import euler, ode
from benchmarks.solvers.problems import PROCESS
from sdeflow.sdes.multistep import Spread
from sdeflow.sdes.sde import SDE

FEW = (16, 32, 64, 128)


def judged(errors: list[float], declared: float, floor: float = 0.0) -> object:
    steps = tuple(16 * 2**j for j in range(len(errors)))
    squares, floors = np.array(errors)[:, None] ** 2, np.full(len(errors), floor)
    measured = Measured(steps, squares, floors, tuple(float(k) for k in steps))
    return report("made up", "ODE", "none", declared, 1, 0, measured)


def test_fit_is_that_of_a_power_and_leaves_out_the_floor():
    """Errors 3 h^2 that end on a floor of 1e-4; the window ends above 10 times that."""
    errors = [max(3.0 * (1 / k) ** 2, 1e-4) for k in (16, 32, 64, 128, 256, 512)]
    found = judged([e if e > 1e-4 else 1e-4 for e in errors], 2, 1e-5)
    assert found.window == (16, 32, 64, 128)
    assert found.fitted == pytest.approx(2, abs=1e-9)
    assert found.verdict == "as declared"
    assert judged(errors, 3, 1e-5).verdict == "LOWER than declared"
    assert judged(errors, 1, 1e-5).verdict == "higher than declared"
    assert judged(errors, 2, 1.0).verdict.startswith("no window")


def test_coarse_steps_do_not_enter_and_wild_errors_do_not_settle():
    assert judged([1e3, 1e-1, *(2.0**-j for j in range(4))], 1).fitted == pytest.approx(1)
    assert judged([1.0, 0.6, 0.1, 0.2], 1).verdict == "not settled"
    assert judged([float("inf"), 1.0, 0.5, 0.25, 0.125], 1).fitted == pytest.approx(1)


# --------------------------------------------------------------------------------- a user's solver


def second_order(wrong: bool):
    """Heun's method by hand; the wrong one evaluates its second stage at the time of the first."""

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        for t, s in pairwise(times):
            first = sde.drift(x, t)
            guess = x + first * (s - t)
            x = x + (first + sde.drift(guess, t if wrong else s)) / 2 * (s - t)
        return x

    return solve


def test_second_order_method_that_is_of_first_order_is_flagged():
    right, wrong = (
        order_of(second_order(w), declared=2, stages=2, steps=(64, 128, 256))
        for w in (False, True)
    )
    assert right.verdict == "as declared"
    assert wrong.verdict == "LOWER than declared"
    assert wrong.fitted == pytest.approx(1, abs=0.25)
    assert right.calls_as_counted
    assert (right.counted, right.per_step) == (512, 2)


def test_wrong_number_of_stages_is_told():
    found = order_of(second_order(False), declared=2, stages=1, steps=FEW[:3])
    assert not found.calls_as_counted
    assert (found.by_hand, found.counted) == (64, 128)


def test_users_stochastic_solver_has_a_weak_and_a_strong_order():
    """Euler and Maruyama by hand."""

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        for t, s in pairwise(times):
            z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
            x = x + sde.drift(x, t) * (s - t) + sde.diffusion(x, t) * (t - s).abs().sqrt() * z
        return x

    def on_path(fine: Tensor):
        def follow(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
            path = sf.solvers.Brownian(seed, *x.shape, x.dtype, times=times, fine=fine)
            for k, (t, s) in enumerate(pairwise(times)):
                dw = (t - s).abs().sqrt() * path(k, k + 1)
                x = x + sde.drift(x, t) * (s - t) + sde.diffusion(x, t) * dw
            return x

        return follow

    weak = weak_order_of(solve, sf.reverse, 1, steps=(32, 64, 128))
    assert weak.fitted == pytest.approx(1, abs=0.25)
    for case, want in ((order_cases.double_well(), 1.0), (order_cases.geometric("ito"), 0.5)):
        strong = strong_order_of(on_path, case, want, steps=FEW)
        assert strong.fitted == pytest.approx(want, abs=0.25)
        assert strong.calls_as_counted


def test_unknown_normals_are_refused_in_one_sentence():
    with pytest.raises(ValueError, match="give normals="):
        weak_order_of(euler, sf.reverse, 1, steps=(8, 16))


# ------------------------------------------------------------------------------------- exact cases


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_sampler_that_is_exact_has_exact_moments(eta):
    """Multistep sampling with the data's own standard deviation."""
    from_engine = linear_sampler.of_engine()
    spread = Spread(None, 0.6, 0.6)
    got = linear_sampler.linear(
        euler, lambda f: sf.multistep(f, eta, spread=spread), 0.6,
        sf.processes.angle_times(PROCESS, 9), from_engine,
    )  # fmt: skip
    want = linear_sampler.exact_moments(0.6, eta)
    assert got.gain == pytest.approx(want.gain, rel=1e-9)
    assert got.variance == pytest.approx(want.variance, rel=1e-9)


def test_far_start_shows_the_order_that_first_steps_hide():
    def law(field):
        return sf.multistep(field, 0.0, 4, 0)

    steps = (128, 256, 512)
    near, far = (order_of(ode("euler"), law, 4, steps=steps, far=f) for f in (False, True))
    assert near.fitted < 3
    assert far.fitted == pytest.approx(4, abs=0.25)


# ------------------------------------------------------------------------------------- all methods


@pytest.mark.parametrize(
    "trial", order_methods.trials(), ids=lambda t: f"{t.kind}, {t.name}"
)  # fmt: skip
def test_calls_of_every_method_are_the_hand_count(trial):
    """Counted where the field is evaluated. The order itself is fitted by the benchmark."""
    row = trial.run((8, 16)).row
    assert row["calls_as_counted"]
    assert json.loads(json.dumps(row)) == row


def test_rows_are_for_reading_too():
    trial = next(t for t in order_methods.trials() if t.name == "DDIM")
    row = {"package": "sdeflow", **trial.run((16, 32, 64)).row}
    (line,) = order_rows.lines([row])
    assert (line["method"], line["steps"], line["calls a step"]) == ("DDIM", "16 to 64", 1)
    assert line["fitted"].startswith("1.0")
    assert line["verdict"] == "as declared"


def test_names_of_methods_are_unique_and_every_cause_has_its_method():
    names = [(t.kind, t.name) for t in order_methods.trials()]
    assert len(set(names)) == len(names)
    here = {name for _, name in names}
    absent = {name for name in order_rows.CAUSES if name.endswith(")") and name not in here}
    assert set(order_rows.CAUSES) - absent <= here  # a peer that is not installed has no row
