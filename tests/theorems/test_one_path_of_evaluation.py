"""However a field is asked, and in whatever cloud, a particle gets the same answer."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow.sdes.sde import SteppedSDE
from tests.problems import close, f64, randn

PROCESS = sf.VP()
CHECKERBOARD = sf.distributions.PiecewiseConstant(
    f64([-1.0, -1.0]), 0.5, f64([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
)


def mixture(d: int, kind: str) -> sf.distributions.Distribution:
    means = randn(5, d, seed=d)
    if kind == "points":
        return sf.distributions.PointSet(means)
    if kind == "round":
        return sf.GaussianMixture.isotropic(means, 0.3)
    root = 0.4 * randn(5, d, d, seed=d + 1) if d > 1 else 0.1 + randn(5, 1, 1, seed=1).abs()
    return sf.GaussianMixture(f64([5, 4, 3, 2, 1]), means, root @ root.mT + 0.01 * torch.eye(d))


@pytest.mark.parametrize("d", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["round", "unequal", "points"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_first_particles_of_an_exact_field_keep_their_bits(
    d: int, kind: str, dtype: torch.dtype
) -> None:
    """In any dimension; one column of numbers takes another kernel than two."""
    field = sf.ExactField(PROCESS, mixture(d, kind))
    x = randn(700, d, dtype=dtype)
    for t in (0.01, 0.6):
        whole = field.noise(x, t)
        for k in (1, 3, 100, 255, 256, 257, 513):
            assert torch.equal(field.noise(x[:k], t), whole[:k]), k


@pytest.mark.parametrize("d", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["round", "unequal", "points"])
def test_fast_noise_mean_is_that_of_the_posterior(d: int, kind: str) -> None:
    law, x = mixture(d, kind), 2 * randn(40, d)
    for sigma in (0.02, 0.5, 30.0):
        a, s = f64(0.7), f64(sigma)
        fast = law.noise_mean(0.7, sigma, x)(x)
        assert close(fast, law.posterior(x, a, s).noise, 1e-9)


def test_derivative_of_a_piecewise_field_is_finite_far_outside() -> None:
    """There the plain tails vanish; the derivative is that of the careful ones."""
    field = sf.ExactField(PROCESS, CHECKERBOARD)
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor([[3.0, 3.0], [0.2, -0.3]], dtype=dtype, requires_grad=True)
        t = torch.tensor(0.01, dtype=torch.float64)
        (fast,) = torch.autograd.grad(field.noise(x, t).sum(), x)
        c = PROCESS(t)
        careful = CHECKERBOARD.posterior(x, c.alpha, c.sigma).noise
        (slow,) = torch.autograd.grad(careful.sum(), x)
        assert close(fast, slow, 1e-3 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_clouds_are_answered_in_their_own_type(dtype: torch.dtype) -> None:
    x = randn(5, 2).to(dtype)
    for law in (CHECKERBOARD, mixture(2, "round"), mixture(2, "unequal"), mixture(2, "points")):
        field = sf.ExactField(PROCESS, law)
        out = field.noise(x, 0.5)
        assert out.dtype == dtype
        assert close(out.double(), field.noise(x.double(), 0.5), 0.02)


def test_many_points_in_many_dimensions_form_no_covariances() -> None:
    """(m, d, d) numbers would not fit where (m, d) do."""
    points = sf.distributions.PointSet(randn(300, 64))
    x = randn(10, 64)
    fast = sf.ExactField(PROCESS, points).noise(x, 0.5)
    assert "mixture" not in points.__dict__
    c = PROCESS(f64(0.5))
    assert close(fast, points.posterior(x, c.alpha, c.sigma).noise, 1e-9)


def test_guided_network_of_another_type_takes_times_of_its_own() -> None:
    network = sf.MLP(width=16, depth=2, labels=3).double()
    network.last.weight.data = randn(2, 16) / 4
    field = sf.LearnedField(PROCESS, network, data_std=1.0)
    guided = sf.GuidedField(field.given(1), field, 2.0, interval=(0.1, 5.0))
    x, t = randn(6, 2), torch.linspace(0.01, 0.99, 6, dtype=torch.float64)
    with torch.no_grad():
        assert close(guided.noise(x.float(), t).double(), guided.noise(x, t), 1e-5)


STAGES = {"midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4}


@pytest.mark.parametrize("method", STAGES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_stages_lie_where_the_method_has_them_in_every_type(
    method: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrow type rounds the step index; the stages must not move with it."""
    asked: list[tuple[int, float]] = []

    def drift(self: SteppedSDE, k: int, fraction: float, x: Tensor) -> Tensor:
        asked.append((k, fraction))
        return torch.zeros_like(x)

    monkeypatch.setattr(SteppedSDE, "drift", drift)
    sde = sf.SDE(lambda x, t: -x, None, 0.0, 1.0)
    steps = 500
    sf.ODESolver(method, steps=steps).solve(sde, torch.ones(3, 2, dtype=dtype))
    fractions = {f for _, f in asked}
    assert len(asked) == STAGES[method] * steps
    assert len(fractions) == STAGES[method]
    assert all(0 <= f <= 1 for f in fractions)
    assert [k for k, f in asked if f == 0.0] == list(range(steps))


def test_declared_stages_are_those_of_the_engine() -> None:
    """dx/dt = t^3: each method is exact for the quadrature that its stages make."""
    sde = sf.SDE(lambda x, t: (t**3).expand_as(x), None, 0.0, 1.0)
    x = torch.zeros(1, 1, dtype=torch.float64)
    want = {
        "euler": 0.0,
        "midpoint": 0.5**3,
        "heun2": 0.5,
        "heun3": 3 / 4 * (2 / 3) ** 3,
        "rk4": (3 * (1 / 3) ** 3 + 3 * (2 / 3) ** 3 + 1) / 8,
    }
    for method, value in want.items():
        end = sf.ODESolver(method, steps=1).solve(sde, x).x[-1]
        assert float(end) == pytest.approx(value, rel=1e-12), method


def test_error_that_a_bad_state_causes_is_that_of_the_state() -> None:
    """A table that is asked at NaN complains of its index; the run tells where NaN began."""
    table = torch.linspace(0, 1, 100)

    def drift(x: Tensor, t: Tensor) -> Tensor:
        out = table[((x + 5) * 10).long()]
        return out * math.nan if float(t) > 0.32 else out

    sde = sf.SDE(drift, None, 0.0, 1.0)
    for n in (3, 20_000):
        with pytest.raises(sf.SdeflowError, match=r"at t = 0\.35") as said:
            sf.ODESolver("euler", steps=20).solve(sde, torch.zeros(n, 1))
        assert said.value.path is not None
        assert said.value.path.nfe == 8  # type: ignore[attr-defined]

    def broken(x: Tensor, t: Tensor) -> Tensor:
        if float(t) > 0.3:
            raise KeyError("a fault of its own")
        return -x

    with pytest.raises(KeyError, match="a fault of its own"):
        sf.ODESolver("euler", steps=20).solve(sf.SDE(broken, None, 0.0, 1.0), torch.zeros(3, 1))


@dataclass(frozen=True, eq=False)
class Narrow(sf.fields.Field):
    """A field that returns one column."""

    def row(self, c):
        return 0.0, 1.0

    def at(self, t, c, like):
        return lambda x: x[:, :1]


def test_field_of_another_shape_is_refused() -> None:
    field, x = Narrow(PROCESS), randn(4, 2)
    with pytest.raises(ValueError, match="returned"):
        field.noise(x, 0.5)
    with pytest.raises(ValueError, match="returned"):
        sf.ODESolver("euler", steps=3).solve(sf.reverse(field, 0.0), x)


def test_hooks_of_a_network_are_called_in_a_solver() -> None:
    class Plain(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return 0 * x

    network, calls = Plain(), []
    network.register_forward_hook(lambda *_: calls.append(1))
    field = sf.LearnedField(PROCESS, network)
    sf.ODESolver("euler", steps=5).solve(sf.reverse(field, 0.0), randn(4, 2))
    assert len(calls) == 5
