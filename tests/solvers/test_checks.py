"""Noise whose axes are not known, values that are no tensors, methods of the other solver."""

import numpy as np
import pytest
import torch
from torch import Tensor

import sdeflow as sf
from tests.problems import randn

F64 = torch.float64


def end(diffusion, n: int, method: str = "euler") -> Tensor:
    sde = sf.SDE(lambda x, t: 0 * x, diffusion, 0.0, 1.0)
    return sf.SDESolver(method, 1, seed=1).solve(sde, torch.ones(n, 2, dtype=F64)).x[-1] - 1


ROW = torch.tensor([1.0, 2.0], dtype=F64)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_row_of_noise_belongs_to_axes_whatever_the_number_of_particles(n):
    """Particle 0 of two is particle 0 of three."""
    first = end(lambda x, t: ROW, 3)
    assert torch.equal(end(lambda x, t: ROW, n), first[:n])
    assert first.allclose(end(lambda x, t: 1.0, 3) * ROW)
    assert torch.equal(end(lambda x, t: ROW * x, n), first[:n])


AMBIGUOUS = {
    "a matrix": (lambda x, t: torch.diag(ROW), "say SDE"),
    "amplitudes": (lambda x, t: x.norm(dim=1), r"g\[:, None\]"),
    "numbers for two particles": (lambda x, t: ROW[:, None] * x, "one particle more"),
}


@pytest.mark.parametrize(("diffusion", "cure"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_two_particles_in_the_plane_are_not_taken_for_axes(diffusion, cure):
    with pytest.raises(ValueError, match=cure) as caught:
        end(diffusion, 2)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("method", ["euler", "heun", "milstein", "srk"])
@pytest.mark.parametrize("given", [np.ones(2), [1.0, 2.0], None, "1"], ids=repr)
def test_noise_that_is_neither_number_nor_tensor_is_refused(given, method):
    """At the first step and at a later one."""
    for diffusion in (lambda x, t: given, lambda x, t: 1.0 if t < 0.5 else given):
        sde = sf.SDE(lambda x, t: -x, diffusion, 0.0, 1.0)
        with pytest.raises(TypeError, match=f"the diffusion returned {type(given).__name__}; "):
            sf.SDESolver(method, 4).solve(sde, randn(3, 2))


@pytest.mark.parametrize("run", [sf.SDESolver("euler", 3), sf.ODESolver("rk4", 3), sf.ODESolver()])
@pytest.mark.parametrize(
    ("drift", "got"),
    [
        (lambda x, t: x.tolist(), "list"),
        (lambda x, t: x.numpy(), "ndarray"),
        (lambda x, t: None, "NoneType"),
        (lambda x, t: x.sum(1), r"\(3,\)"),
        (lambda x, t: x * 1j, "complex"),
    ],
)
def test_drift_that_is_no_tensor_of_the_clouds_shape_is_refused(run, drift, got):
    with pytest.raises(ValueError, match=f"the drift returned .*{got}"):
        run.solve(sf.SDE(drift, None, 0.0, 1.0), randn(3, 2))


LAW, X = sf.SDE(lambda x, t: -x, None, 0.0, 1.0), randn(3, 2)

REFUSED = {
    "a method of the other": (lambda: sf.ODESolver("heun"), ValueError, "method of SDESolver"),
    "a method of an ODE": (lambda: sf.SDESolver("dopri5"), ValueError, "method of ODESolver"),
    "a slip": (lambda: sf.ODESolver("dorpi5"), ValueError, "mean 'dopri5'"),
    "a capital": (lambda: sf.SDESolver("Euler"), ValueError, "mean 'euler'"),
    "steps for a method": (lambda: sf.ODESolver(100), ValueError, "unknown ODE method 100"),
    "the cloud first": (lambda: sf.ODESolver().solve(X, LAW), TypeError, r"solve\(sde, x\)"),
    "the cloud first, SDE": (lambda: sf.SDESolver().solve(X, LAW), TypeError, r"solve\(sde, x\)"),
    "a list": (
        lambda: sf.ODESolver().solve(LAW, X.tolist()),
        TypeError,
        "x must be .*; use torch",
    ),
    "an array": (
        lambda: sf.ODESolver().solve(LAW, X.numpy()),
        TypeError,
        "x must be .*; use torch",
    ),
    "times in words": (lambda: sf.ODESolver("rk4", times="01"), TypeError, "times must be"),
    "one time": (lambda: sf.ODESolver("rk4", times=[1.0]), ValueError, "two times"),
    "times of two axes": (lambda: sf.ODESolver("rk4", times=[[0.0, 1.0]]), ValueError, "one row"),
    "many steps in float32": (
        lambda: sf.ODESolver("implicit_adams", 10**6).solve(LAW, X.float()),
        ValueError,
        r"use x.double\(\)",
    ),
}


@pytest.mark.parametrize(("do", "kind", "says"), REFUSED.values(), ids=REFUSED)
def test_mistakes_are_refused_in_a_sentence(do, kind, says):
    with pytest.raises(kind, match=says) as caught:
        do()
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


# -------------------------------------------------------------------------------- reversible Heun


def ou(span: float) -> sf.SDE:
    """dx = -x dt + sqrt(2) dW: N(0, 1) stays."""
    return sf.SDE(lambda x, t: -x, lambda x, t: 2**0.5, 0.0, span)


@pytest.mark.parametrize("steps", [50, 400, 1000])
def test_reversible_heun_stops_where_it_does_not_damp(steps):
    with pytest.raises(sf.SdeflowError, match=r"does not damp.* use 'heun'") as caught:
        sf.SDESolver("reversible_heun", steps, seed=1).solve(ou(20.0), randn(2000, 1), save=11)
    path = caught.value.path
    assert 0 < float(path.t[-1]) < 7
    assert path.x.var(1).flatten().tolist() == pytest.approx([1.0] * len(path.t), abs=0.15)


def test_reversible_heun_runs_where_it_is_right():
    x = randn(2000, 1)
    for steps in (16, 40, 200):
        ours, other = (
            sf.SDESolver(m, steps, seed=1).solve(ou(2.0), x).x[-1]
            for m in ("reversible_heun", "heun")
        )
        assert (ours - other).abs().mean() < 0.3 / steps
    still = sf.SDE(lambda x, t: 0 * x, lambda x, t: 1.0, 0.0, 100.0)
    path = sf.SDESolver("reversible_heun", 100, seed=1).solve(still, x)
    assert float((path.x[-1] - x).var()) == pytest.approx(100, rel=0.15)


def test_saved_state_of_reversible_heun_is_the_end_of_a_shorter_run():
    """x is recovered from the track on which the engine evaluates."""
    x, times = randn(30, 2), torch.linspace(0, 1, 41, dtype=F64)
    run = sf.SDESolver("reversible_heun", times=times, seed=1)
    whole = run.solve(ou(1.0), x, save=21)
    assert whole.nfe == 41
    for k in (1, 5, 16, 20):
        short = sf.SDESolver("reversible_heun", times=times[: 2 * k + 1], fine=times, seed=1)
        assert whole.x[k].allclose(short.solve(ou(1.0), x).x[-1], rtol=1e-12, atol=1e-12)
