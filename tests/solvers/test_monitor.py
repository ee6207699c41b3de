"""What a run that goes wrong says and keeps, and what belongs to the user stays his.

A failing run names its particles and the guilty coefficient, and keeps every requested state that
it reached. The user's cloud and torch's generator are not written. Times are float64 everywhere.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchdiffeq
from torch import Tensor, nn

import sdeflow as sf
from sdeflow.solvers.monitor import SMALL
from tests.problems import lopsided, randn

F64 = torch.float64

Solver = sf.SDESolver | sf.ODESolver
FIXED: list[tuple[str, Callable[..., Solver]]] = [
    ("euler", sf.SDESolver),
    ("heun", sf.SDESolver),
    ("milstein", sf.SDESolver),
    ("srk", sf.SDESolver),
    ("euler_heun", sf.SDESolver),
    ("reversible_heun", sf.SDESolver),
    ("rk4", sf.ODESolver),
    ("implicit_adams", sf.ODESolver),
]
fixed = pytest.mark.parametrize(("method", "kind"), FIXED)
ADAPTIVE = [(method, sf.ODESolver) for method in ("dopri5", "bosh3")]


def solver(method: str, kind: Callable[..., Solver], steps: int = 20) -> Solver:
    return kind(method, **({} if (method, kind) in ADAPTIVE else {"steps": steps}))


def noise(kind: Callable[..., Solver]) -> sf.sdes.sde.Diffusion | None:
    """Too small to matter."""
    return (lambda x, t: 1e-9) if kind is sf.SDESolver else None


# ------------------------------------------------------------------------------------ failing runs


@pytest.mark.parametrize("n", [40, SMALL])
@fixed
def test_failed_run_keeps_every_requested_state_that_it_reached(method, kind, n):
    """One particle is without a drift from t = 0.63 on: six of eleven states are there, all n."""

    def drift(x: Tensor, t: Tensor) -> Tensor:
        out = -x
        out[7] += torch.sqrt(0.63 - t) * 0
        return out

    x = randn(n, 2)
    sde, good = (sf.SDE(f, noise(kind), 0.0, 1.0) for f in (drift, lambda x, t: -x))
    run = solver(method, kind)
    with pytest.raises(sf.SdeflowError, match=f"drift .* in 1 of {n} particles, .* particle 7, "):
        run.solve(sde, x, save=11)
    with pytest.raises(sf.SdeflowError) as caught:
        run.solve(sde, x, save=11)
    path, whole = caught.value.path, run.solve(good, x, save=11)
    assert torch.equal(path.t[:7], whole.t[:7])
    assert path.x[:7].allclose(whole.x[:7], rtol=1e-12, atol=1e-12)
    assert 0.55 - 1e-9 <= float(path.t[-1]) <= 0.65
    assert len(path.t) <= 8
    assert bool(torch.isfinite(path.x).all())


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
def test_failed_adaptive_run_keeps_every_requested_state_that_it_reached(method):
    sde = sf.SDE(lambda x, t: -x + torch.sqrt(0.63 - t) * 0, None, 0.0, 1.0)
    x = randn(40, 2)
    with pytest.raises(sf.SdeflowError, match=r"in 40 of 40 .* at t = 0\.63;") as caught:
        sf.ODESolver(method).solve(sde, x, save=11)
    path = caught.value.path
    assert path.t[:7].tolist() == pytest.approx([0.1 * k for k in range(7)])
    assert float(path.t[-1]) == pytest.approx(0.63, abs=1e-12)
    assert path.x.allclose(x * torch.exp(-path.t)[:, None, None], atol=1e-4)


def test_states_that_were_not_requested_are_not_kept():
    sde = sf.SDE(lambda x, t: -x + torch.sqrt(0.63 - t) * 0, None, 0.0, 1.0)
    for save, times in (([0.3, 0.5], [0.0, 0.3, 0.5, 0.6]), (1, [0.0, 0.6])):
        with pytest.raises(sf.SdeflowError) as caught:
            sf.ODESolver("rk4", 20).solve(sde, randn(5, 2), save=save)
        assert caught.value.path.t.tolist() == pytest.approx(times)


@pytest.mark.parametrize("method", ["euler", "milstein", "srk"])
def test_noise_that_is_not_finite_is_named(method):
    """2 sqrt(x) has no value below 0, where the drift 1 - x is as good as anywhere."""
    sde = sf.SDE(lambda x, t: 1 - x, lambda x, t: 2 * x.sqrt(), 0.0, 5.0)
    with pytest.raises(sf.SdeflowError, match="the diffusion is NaN or infinite in "):
        sf.SDESolver(method, 200, seed=1).solve(sde, torch.ones(50, 1, dtype=F64))


def test_runaway_particle_of_an_adaptive_run_is_named():
    """x' = x^3 from 3 is infinite at 1 / 18."""
    x = torch.full((1000, 1), 0.5, dtype=F64)
    x[17] = 3.0
    for tolerances in ({}, {"atol": 1e-5}):
        with pytest.raises(sf.SdeflowError, match=r"t = 0.05555.* particle 17 ") as caught:
            sf.ODESolver(**tolerances).solve(sf.SDE(lambda x, t: x**3, None, 0.0, 1.0), x, 41)
        assert caught.value.path.t[:3].tolist() == pytest.approx([0.0, 0.025, 0.05])


def test_stage_at_the_time_of_the_start_is_not_a_state():
    """The fourth stage of `srk` lies at the start of its step, beside the state."""
    sde = sf.SDE(lambda x, t: -x, lambda x, t: 0.5 * x, 0.0, 1.0)
    run, x = sf.SDESolver("srk", 8, seed=1), randn(5, 2)
    path = run.solve(sde, x, save=9)
    half = sf.SDESolver("srk", times=path.t[:5], fine=path.t, seed=1).solve(sde, x)
    assert path.x[4].allclose(half.x[-1], rtol=1e-12)


@pytest.mark.parametrize("method", ["euler", "rk4", "dopri5"])
@pytest.mark.parametrize("grown", [1e200, None], ids=["infinite", "in place"])
def test_run_that_fails_leaves_autograd_on(method, grown):
    """Two faults at once, one of which hid the other, left autograd off for good."""

    def drift(x: Tensor, t: Tensor) -> Tensor:
        if t > 0.5 or not torch.isfinite(x).all():
            raise RuntimeError("of the user's own")
        return x * grown if grown else x.mul_(0.5)

    kind = sf.SDESolver if method == "euler" else sf.ODESolver
    with pytest.raises((sf.SdeflowError, ValueError)):
        solver(method, kind).solve(
            sf.SDE(drift, noise(kind), 0.0, 1.0), torch.ones(2, 2, dtype=F64)
        )
    assert torch.is_grad_enabled()


# ---------------------------------------------------------------------------- a cloud that ran off


class Amplifying(nn.Module):
    """Taken for x0_hat, it sends each particle off."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return -1e3 * x


class Shrinking(nn.Module):
    """Taken for a velocity, it sends each particle to 0."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return 50 * x


@pytest.mark.parametrize("make", [sf.reverse, sf.sdes.comoving, sf.ancestral])
def test_cloud_that_a_field_sends_off_is_no_result(make):
    process = sf.VP()
    known = sf.LearnedField(process, Amplifying(), sf.fields.Prediction.DATA)
    with pytest.raises(sf.SdeflowError, match="times farther out than its start") as caught:
        sf.SDESolver("euler", 12).solve(make(known, 1.0), process.prior(20, 2, 0), save=13)
    assert caught.value.path.x.shape == (13, 20, 2)
    assert len(str(caught.value)) < 300


def test_network_that_shrinks_the_cloud_below_its_noise_is_no_result():
    """A network of v-prediction read as a velocity ended at 2e-10 under `dopri5`, "finished"."""
    process = sf.VP()
    shrinking = sf.LearnedField(process, Shrinking(), sf.fields.Prediction.VELOCITY)
    flow, x = sf.reverse(shrinking, 0.0), process.prior(20, 2, 0)
    with pytest.raises(sf.SdeflowError, match="times narrower than its noise"):
        sf.ODESolver("rk4", 200).solve(flow, x)
    assert sf.ODESolver("rk4", 20).solve(flow, 0 * x).status == "finished"


def test_cloud_that_grows_as_it_should_is_a_result():
    """By exp(20) under a drift of the user's own; from 1e-9 to the noise of the encoded."""
    grown = sf.ODESolver("rk4", 200).solve(
        sf.SDE(lambda x, t: x, None, 0.0, 20.0), torch.ones(3, 1, dtype=F64)
    )
    assert float(grown.x[-1, 0, 0]) == pytest.approx(math.exp(20), rel=1e-3)
    process = sf.VP()
    sde = sf.reverse(sf.ExactField(process, lopsided()), 0.0)
    up = sf.SDE(sde.drift, None, process.t_min, process.t_max)
    assert sf.ODESolver("rk4", 50).solve(up, 1e-9 * randn(3, 2)).status == "finished"


# --------------------------------------------------------------------- what is not ours to write


def in_place(x: Tensor, t: Tensor) -> Tensor:
    return x.mul_(0.5).neg()


def through_numpy(x: Tensor, t: Tensor) -> Tensor:
    x.numpy()[:] *= 0.5  # torch does not count this
    return -x


@pytest.mark.parametrize("drift", [in_place, through_numpy])
@pytest.mark.parametrize(("method", "kind"), [*FIXED, *ADAPTIVE])
def test_drift_that_writes_into_its_cloud_is_refused_and_leaves_it(drift, method, kind):
    x = randn(6, 2)
    before = x.clone()
    with pytest.raises(ValueError, match="the drift writes into the cloud"):
        solver(method, kind).solve(sf.SDE(drift, noise(kind), 0.0, 1.0), x)
    assert torch.equal(x, before)


def test_drift_that_writes_into_a_later_state_is_refused():
    def late(x: Tensor, t: Tensor) -> Tensor:
        return x.mul_(0.5) if t > 0.5 else -x

    x = randn(6, 2)
    for run in (sf.ODESolver("euler", 10), sf.ODESolver()):
        with pytest.raises(ValueError, match="the drift writes"):
            run.solve(sf.SDE(late, None, 0.0, 1.0), x)


def test_noise_that_writes_into_its_cloud_is_refused_and_leaves_it():
    x = randn(6, 2)
    before = x.clone()
    sde = sf.SDE(lambda x, t: -x, lambda x, t: x.mul_(0.5), 0.0, 1.0)
    with pytest.raises(ValueError, match="the diffusion writes"):
        sf.SDESolver("euler", 5).solve(sde, x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("n", [5, 256])
def test_network_that_writes_into_its_cloud_leaves_it(n):
    """Refused, or run as the network that writes nowhere."""

    class Sine(nn.Module):
        def __init__(self, sine: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.sine = sine

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.sine(x)

    writing, fresh = (
        sf.reverse(sf.LearnedField(sf.VP(), Sine(f))) for f in (torch.sin_, torch.sin)
    )
    x, run = randn(n, 2).float(), sf.SDESolver("euler", 5, seed=1)
    before = x.clone()
    try:
        path = run.solve(writing, x)
    except ValueError as error:
        assert "inplace=True" in str(error)  # noqa: PT017 either is right
    else:
        assert torch.equal(path.x, run.solve(fresh, x).x)
    assert torch.equal(x, before)


def test_drift_may_return_one_buffer_again_and_again():
    """The engine keeps the first drift of a step that it rejects."""
    buffer = torch.empty(6, 2, dtype=F64)
    x, run = randn(6, 2), sf.ODESolver(rtol=1e-8, atol=1e-10)
    fresh = sf.SDE(lambda x, t: -30 * x, None, 0.0, 1.0)
    same = sf.SDE(lambda x, t: torch.mul(x, -30, out=buffer), None, 0.0, 1.0)
    assert torch.equal(run.solve(same, x).x, run.solve(fresh, x).x)


@pytest.mark.parametrize("method", ["euler", "heun", "milstein", "srk", "reversible_heun"])
def test_global_generator_is_the_users(method):
    """What the drift draws is drawn: a run does not set torch's generator back."""
    drawn = []

    def drift(x: Tensor, t: Tensor) -> Tensor:
        drawn.append(torch.rand(()))
        return -x

    torch.manual_seed(5)
    sf.SDESolver(method, 6).solve(sf.SDE(drift, lambda x, t: 1.0, 0.0, 1.0), randn(4, 2))
    sf.MLP(width=8, depth=2)
    after = torch.rand(())
    torch.manual_seed(5)
    assert [float(v) for v in (*drawn, after)] == torch.rand(len(drawn) + 1).tolist()


def test_run_in_inference_mode_is_the_run():
    sde = sf.SDE(lambda x, t: -x, lambda x, t: 0.5 * x, 0.0, 1.0)
    flow = sf.SDE(sde.drift, None, 0.0, 1.0)
    x = randn(4, 2)
    runs = [(sf.SDESolver("milstein", 5, seed=1), sde), (sf.ODESolver(), flow)]
    with torch.inference_mode():
        inside = [run.solve(which, x.clone()).x for run, which in runs]
    for (run, which), path in zip(runs, inside, strict=True):
        assert torch.equal(run.solve(which, x).x, path)


# ------------------------------------------------------------------------------------- late times


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("method", "kind"), [*FIXED[:-1], *ADAPTIVE, ("dopri8", sf.ODESolver)])
def test_time_has_its_own_precision(dtype, method, kind):
    """x' = cos 2 pi t from a million on, over a quarter: 1 / 2 pi."""
    start = 1e6
    sde = sf.SDE(
        lambda x, t: torch.cos(2 * math.pi * t).expand_as(x),
        (lambda x, t: 0 * t) if kind is sf.SDESolver else None,
        start,
        start + 0.25,
    )
    adaptive = kind is sf.ODESolver and method not in ("rk4", "implicit_adams")
    run = sf.ODESolver(method) if adaptive else kind(method, steps=40)
    path = run.solve(sde, torch.zeros(3, 2, dtype=dtype))
    assert path.x.dtype == dtype
    rounding = torch.finfo(dtype).eps * (16 if adaptive else 1.3)
    bias = 0.02 if method in ("euler", "milstein", "euler_heun") else 1e-3
    assert float(path.x[-1, 0, 0]) == pytest.approx(0.5 / math.pi, rel=bias, abs=rounding / 6)


def test_stages_of_adaptive_methods_lie_where_the_engine_puts_them():
    """In float64 the engine's own times are not rounded."""
    asked: list[float] = []

    def drift(x: Tensor, t: Tensor) -> Tensor:
        asked.append(float(t))
        return -x * (1 + t)

    x = randn(4, 2)
    times = torch.linspace(2.0, 1.0, 2, dtype=F64)
    for method in ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"):
        asked.clear()
        sf.ODESolver(method, atol=1e-5).solve(sf.SDE(drift, None, 2.0, 1.0), x)
        ours = list(asked)
        asked.clear()
        torchdiffeq.odeint(
            lambda t, y: drift(y, t), x, times, rtol=1e-5, atol=1e-5, method=method,
            options={"first_step": 0.01, "step_t": times[-1:]},
        )  # fmt: skip
        # The engine's last stage is one rounding early, which moves the next steps.
        assert ours == pytest.approx(asked, rel=1e-6)


def test_mixed_types_are_refused_in_a_sentence():
    network = nn.Linear(3, 2)

    def drift(x: Tensor, t: Tensor) -> Tensor:
        return network(torch.cat([x, t.expand(len(x), 1)], 1))

    def right(x: Tensor, t: Tensor) -> Tensor:
        return network(torch.cat([x, t.to(x.dtype).expand(len(x), 1)], 1))

    x = randn(4, 2).float()
    for run in (sf.ODESolver("rk4", 4), sf.ODESolver()):
        with pytest.raises(TypeError, match=r"t\.to\(x\.dtype\)") as caught:
            run.solve(sf.SDE(drift, None, 0.0, 1.0), x)
        assert len(str(caught.value)) < 300
        assert run.solve(sf.SDE(right, None, 0.0, 1.0), x).status == "finished"


@pytest.mark.parametrize(("method", "kind"), [*FIXED, *ADAPTIVE])
def test_coefficients_of_another_type_keep_the_clouds(method, kind):
    """float64 constants in a run of float32: the path is float32."""
    sde = sf.SDE(
        lambda x, t: -x.double(),
        (lambda x, t: 0.1 * torch.ones(2, dtype=F64)) if kind is sf.SDESolver else None,
        0.0,
        1.0,
    )
    assert solver(method, kind).solve(sde, randn(4, 2).float()).x.dtype == torch.float32


def test_whole_numbers_and_arrays_are_times():
    sde = sf.SDE(lambda x, t: -x, None, 0.0, 1.0)
    x, grid = randn(4, 2), [0.0, 0.25, 1.0]
    tensor = sf.ODESolver("rk4", times=torch.tensor(grid, dtype=F64)).solve(sde, x).x
    for times in (grid, tuple(grid), np.array(grid)):
        assert torch.equal(sf.ODESolver("rk4", times=times).solve(sde, x).x, tensor)
    assert sf.ODESolver("rk4", times=[0, 1]).solve(sde, x).t.tolist() == [0.0, 1.0]
