"""Multistep sampling: exact for Gaussian data, of the order that it says, one call a step."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.processes.time_grids import angle_times
from sdeflow.sdes.multistep import Spread, spread_of
from sdeflow.sdes.plan import Plan, recipe
from tests.problems import lopsided, pair

F64 = torch.float64
PROCESSES = pytest.mark.parametrize(
    "process", [sf.VP(), sf.VE(), sf.EDM(), sf.Linear(), sf.processes.Cosine()], ids=repr
)
MEAN, STD = torch.tensor([3.0, -2.0], dtype=F64), 0.7


def gaussian(process: sf.processes.Process) -> sf.ExactField:
    return sf.ExactField(process, sf.GaussianMixture.isotropic(MEAN[None], STD))


def ends(process: sf.processes.Process) -> tuple:
    return tuple(process(torch.tensor(t, dtype=F64)) for t in (process.t_max, process.t_min))


def eight() -> sf.GaussianMixture:
    angle = torch.arange(8, dtype=F64) * math.pi / 4
    return sf.GaussianMixture.isotropic(torch.stack([angle.cos(), angle.sin()], 1) * 1.4, 0.2)


# --------------------------------------------------------------------------------------- exactness


@PROCESSES
@pytest.mark.parametrize("steps", [1, 2, 7, 12, 20])
def test_flow_of_gaussian_data_is_exact_in_any_number_of_steps(process, steps):
    """(x - alpha m) / sqrt(alpha^2 s^2 + sigma^2) is constant."""
    x, (first, last) = process.prior(50, 2, 0, F64), ends(process)
    end = sf.ODESolver("euler", steps).solve(sf.multistep(gaussian(process)), x).x[-1]
    root = [(c.alpha**2 * STD**2 + c.sigma**2).sqrt() for c in (first, last)]
    want = last.alpha * MEAN + (x - first.alpha * MEAN) * root[1] / root[0]
    assert (end - want).abs().max() < 1e-11


@PROCESSES
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_chain_of_gaussian_data_has_its_mean_and_variance(process, eta):
    """The noise of the steps and the factors of the state keep V, at any number of steps."""
    sde = sf.multistep(gaussian(process), eta)
    for steps in (1, 5, 16):
        c = process(sde.times(steps))
        variance = (c.alpha * STD) ** 2 + c.sigma**2
        plan = sde.plan(sde.times(steps))
        after = torch.as_tensor(plan.state) ** 2 * variance[:-1] + torch.as_tensor(plan.noise) ** 2
        assert (after / variance[1:] - 1).abs().max() < 1e-13
        # The mean of the chain, without noise: x stays alpha m.
        stepped = sde.stepped(sde.times(steps), x := c.alpha[0] * MEAN[None])
        for k in range(steps):
            x = x + stepped.drift(k, 0.0, x)
        assert (x - c.alpha[-1] * MEAN).abs().max() < 1e-11


# ------------------------------------------------------------------------------------------- order


@pytest.mark.parametrize(
    ("order", "corrector", "want"), [(1, 0, 1), (2, 0, 2), (3, 0, 3), (2, 3, 3), (3, 4, 4)]
)
def test_order_is_that_of_the_polynomial(order, corrector, want):
    """Fitted by doubling 40 to 320 calls, against order 4 in 1,280 calls."""
    field = sf.ExactField(sf.EDM(t_min=0.01, t_max=20.0), eight())
    x = field.process.prior(20, 2, 0, F64)

    def end(steps: int, *orders: int) -> Tensor:
        sde = sf.multistep(field, 0.0, *orders)
        times = angle_times(field.process, steps, 1.0, 2.0)
        return sf.ODESolver("euler", times=times).solve(sde, x).x[-1]

    truth = end(1280, 4, 4)
    calls = torch.tensor([40, 80, 160, 320])
    apart = [end(k, order, corrector) - truth for k in calls.tolist()]
    errors = torch.stack([x.square().mean().sqrt() for x in apart])
    fitted = np.polyfit(calls.log().numpy(), errors.log().numpy(), 1)[0]
    assert -fitted == pytest.approx(want, abs=0.2)


# ------------------------------------------------------------------------- against another writing


def by_hand(
    field: sf.ExactField, times: Tensor, x: Tensor, orders: tuple[int, int], eta: float, z: list
) -> Tensor:
    """The same sampler on y = x / alpha, with the corrected state kept; F = minus the v row."""
    s, process = spread_of(field).std, field.process
    c = process(times)
    rho = (c.sigma / c.alpha).numpy()
    angle = np.arctan(rho / s)
    nodes, weights = np.polynomial.legendre.leggauss(24)

    def moved(k: int, base: Tensor, values: dict[int, Tensor]) -> Tensor:
        """From level k to k + 1, with F through these values."""
        a, b = angle[k], angle[k + 1]
        size = s / np.cos(b)
        q = (a + b) / 2 + (a - b) / 2 * nodes
        kernel = (1 + eta**2) * (np.cos(q) / np.cos(b)) ** eta**2 * weights * (a - b) / 2
        out = base * (np.cos(a) / np.cos(b)) ** (1 + eta**2)
        for j, f in values.items():
            others = [(q - angle[i]) / (angle[j] - angle[i]) for i in values if i != j]
            out = out + f * float(size * (kernel * np.prod([np.ones_like(q), *others], 0)).sum())
        return out

    y = base = x / c.alpha[0]
    seen: dict[int, Tensor] = {}
    kick = torch.zeros_like(x)
    for k in range(len(times) - 1):
        cosine = np.cos(angle[k]) ** 2
        data = field.data(c.alpha[k] * y, times[k])
        seen[k] = (data - cosine * y) / (s * np.sin(angle[k]))
        if orders[1] and k:
            near = {j: seen[j] for j in range(k, max(-1, k - orders[1]), -1)}
            base = moved(k - 1, base, near) + kick
        else:
            base = y
        near = {j: seen[j] for j in range(k, max(-1, k - orders[0]), -1)}
        decay = np.cos(angle[k]) / np.cos(angle[k + 1])
        kick = float(s / np.cos(angle[k + 1]) * np.sqrt(max(0, 1 - decay ** (2 * eta**2)))) * z[k]
        y = moved(k, base, near) + kick
    return y * c.alpha[-1]


@pytest.mark.parametrize(
    "orders", [(1, 0), (2, 0), (3, 0), (2, 3), (3, 4), (4, 4), (4, 2)], ids=str
)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_engine_run_equals_an_explicit_loop(orders, eta):
    process, steps, seed = sf.VP(), 12, 4
    mixture = lopsided(F64)
    mixture = mixture.moved(mixture.mean(), 1.0)  # centred: the loop knows of no mean
    field = sf.ExactField(process, mixture)
    sde, x = sf.multistep(field, eta, *orders), process.prior(40, 2, 1, F64)
    w = sf.solvers.Brownian(seed, 40, 2, F64, times=sde.times(steps))
    z = [w(k, k + 1) for k in range(steps)]
    solver = sf.SDESolver("euler", steps, seed=seed) if eta else sf.ODESolver("euler", steps)
    path = solver.solve(sde, x)
    want = by_hand(field, sde.times(steps), x, orders, eta, z)
    assert path.nfe == steps
    assert (path.x[-1] - want).abs().max() < 1e-9


# ------------------------------------------------------------------------------------------- usage


def test_first_particles_of_a_run_are_the_run_of_those_particles():
    torch.manual_seed(0)
    field = sf.LearnedField(sf.VP(), sf.MLP(width=16, depth=2), data_std=1.0)
    x = field.process.prior(300, 2, 0, torch.float32)
    for eta, solver in ((0.0, sf.ODESolver("euler", 8)), (1.0, sf.SDESolver("euler", 8, seed=1))):
        sde = sf.multistep(field, eta)
        whole, few = solver.solve(sde, x).x[-1], solver.solve(sde, x[:7]).x[-1]
        assert torch.equal(whole[:7], few)
        assert torch.equal(solver.solve(sde, x).x[-1], whole)


def test_twenty_calls_come_nearer_than_heun_and_ddim_with_as_many():
    field = sf.ExactField(sf.VP(), eight())
    x = field.process.prior(300, 2, 3, F64)
    truth = sf.ODESolver("euler", 600).solve(sf.multistep(field, 0.0, 4, 4), x).x[-1]
    runs = [
        sf.ODESolver("euler", 20).solve(sf.multistep(field), x),
        sf.ODESolver("heun2", 10).solve(sf.reverse(field, 0.0), x),
        sf.ODESolver("euler", 20).solve(sf.ancestral(field, 0.0), x),
    ]
    assert [path.nfe for path in runs] == [20, 20, 20]
    ours, heun, ddim = (float((p.x[-1] - truth).square().sum(1).median()) ** 0.5 for p in runs)
    assert ours < 0.1 * heun
    assert ours < 0.1 * ddim


def test_guided_field_and_wide_data_use_what_is_known_of_the_data():
    mixture = lopsided(F64)
    wide = sf.ExactField(sf.VP(), mixture)
    assert spread_of(wide).std == pytest.approx(mixture.std())
    draws = mixture.sample(4096, 0)
    assert spread_of(wide).widest == pytest.approx(
        float(torch.linalg.eigvalsh(torch.cov(draws.T)).max()) ** 0.5
    )
    assert spread_of(sf.GuidedField(wide, wide, 2.0))[1:] == (*spread_of(wide)[1:3], None)
    learned = sf.LearnedField(sf.VP(), sf.MLP(width=4, depth=1), data_std=2.0, data_mean=MEAN)
    assert spread_of(learned)[1:] == (2.0, 2.0, None)
    times = sf.multistep(learned).times(10)
    assert torch.equal(times, angle_times(sf.VP(), 10, 2.0, recipe(10).power))


@pytest.mark.parametrize(
    ("scale", "steps", "eta", "safe"),
    [(2.0, 10, 0.0, True), (-1.0, 7, 0.0, True), (1.0, 10, 0.0, False), (0.5, 10, 0.0, False),
     (2.0, 6, 0.0, False), (2.0, 10, 0.5, False)],
)  # fmt: skip
def test_flow_beyond_both_fields_takes_the_safe_recipe(scale, steps, eta, safe):
    one = sf.ExactField(sf.VP(), lopsided(F64))
    bare = spread_of(one)._replace(narrowest=None)
    sde = sf.multistep(sf.GuidedField(one, one, scale), eta)
    plain = sf.multistep(one, eta, spread=bare)
    times = plain.times(steps)
    if safe:
        times = angle_times(sf.VP(), steps, 2 * spread_of(one).widest, 2.5)
        plain = sf.multistep(one, eta, 2, 3, bare)
    assert torch.equal(sde.times(steps), times)
    assert np.array_equal(sde.plan(times).units, plain.plan(times).units)


@pytest.mark.parametrize("orders", [(2, 0), (3, 0), (4, 0)], ids=str)
def test_steps_of_an_exact_field_know_where_it_vanishes(orders):
    """F = pi / 2 - theta is zero at infinite noise: one value and that zero integrate it. Without
    the zero the first step is of order 1, which only a corrector mends."""
    process = sf.EDM(t_min=0.01, t_max=20.0)
    c = process(angle_times(process, 6, 1.0, 2.5))
    angle = torch.atan2(c.sigma, c.alpha).numpy()
    root = np.hypot(c.alpha.numpy(), c.sigma.numpy())
    f = np.pi / 2 - angle
    for exact in (True, False):
        plan = Plan.adams(c, 1.0, 0.0, *orders, exact)
        x = root[0] * 0.3
        for k in range(6):
            near = f[k::-1][: plan.units.shape[1]] if k else f[:1]
            x = plan.state[k] * x + float(plan.units[k, : len(near)] @ near)
        off = abs(x / root[-1] - 0.3 - (f[-1] ** 2 - f[0] ** 2) / 2)
        assert (off < 1e-12) == exact


def test_noisy_steps_correct_little_noise_alone_and_know_no_zero():
    field = sf.ExactField(sf.EDM(t_min=0.01, t_max=20.0), lopsided(F64))
    bare = spread_of(field)._replace(narrowest=None)
    for eta, corrector in ((0.35, 3), (0.5, 0), (1.0, 0)):
        sde = sf.multistep(field, eta)
        times = sde.times(12)
        plain = sf.multistep(field, eta, 2, corrector, bare)
        assert torch.equal(times, angle_times(field.process, 12, bare.widest, 2.0))
        assert np.array_equal(sde.plan(times).units, plain.plan(times).units)


def test_finer_data_get_shorter_last_steps():
    """And a width that is far above the last level longer ones; what is learned is not known."""
    powers = [recipe(12, finest=finest).power for finest in (0.02, 0.1, 0.4, None)]
    assert powers[0] > powers[1] == powers[3] > powers[2]
    process = sf.EDM(t_min=0.01, t_max=20.0)
    ends = [
        float(sf.multistep(sf.ExactField(process, pair(std))).times(12)[-2]) for std in (0.02, 0.4)
    ]
    assert ends[0] < ends[1]


def test_safe_recipe_holds_where_the_default_one_fails():
    """Three of ten modes in 16 dimensions, scale 4, 10 calls."""
    places = torch.randn(10, 16, generator=torch.Generator().manual_seed(0), dtype=F64)
    both = [sf.GaussianMixture.isotropic(places[:k], 0.05**0.5) for k in (3, 10)]
    few, all_ = (sf.ExactField(sf.EDM(t_min=0.01, t_max=20.0), m) for m in both)
    field = sf.GuidedField(few, all_, 4.0)
    x = field.process.prior(50, 16, 0, F64)

    def end(sde: sf.SDE, steps: int, times: Tensor | None = None) -> Tensor:
        return sf.ODESolver("euler", None if times is not None else steps, times=times).solve(
            sde, x
        ).x[-1]  # fmt: skip

    usual = recipe(10)
    truth = end(sf.multistep(field, 0.0, 4, 4), 300)
    bad = sf.multistep(field, 0.0, usual.order, usual.corrector)
    times = angle_times(field.process, 10, spread_of(field).widest, usual.power)
    far = (end(bad, 10, times) - truth).square().mean().sqrt()
    with pytest.warns(UserWarning, match="calibrate"):
        near = (end(sf.multistep(field), 10) - truth).square().mean().sqrt()
    assert near < 0.2 * far


def test_weights_of_order_two_are_those_of_adams_and_bashforth():
    """w = (h + h^2 / 2d, -h^2 / 2d), h the angle of the step and d that of the step before."""
    angle = torch.tensor([1.2, 0.9, 0.5], dtype=F64)
    c = sf.VP()(torch.tensor([0.1, 0.2, 0.3], dtype=F64))
    c = c._replace(alpha=angle.cos(), sigma=angle.sin())  # s = 1: V = 1
    plan = Plan.adams(c, 1.0, 0.0, 2, 0)
    h, d = 0.4, 0.3
    assert plan.units[1] == pytest.approx([h + h**2 / (2 * d), -(h**2) / (2 * d)], rel=1e-13)
    assert plan.units[0] == pytest.approx([0.3, 0.0], rel=1e-13)


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (lambda f: sf.multistep(f, order=0), "order"),
        (lambda f: sf.multistep(f, order=5), "at most 4"),
        (lambda f: sf.multistep(f, corrector=6), "at most 5"),
        (lambda f: sf.multistep(f, -1.0), "eta"),
        (lambda f: sf.multistep(f, spread=Spread(None, 0.0, 1.0)), "std"),
        (lambda f: sf.ODESolver("heun2", 4).solve(sf.multistep(f), CLOUD), "euler"),
        (lambda f: sf.ODESolver().solve(sf.multistep(f), CLOUD), "euler"),
        (
            lambda f: sf.fokker_planck.sampler_density(
                sf.multistep(f, 1.0), DENSITY, sf.multistep(f).times(4)
            ),
            "remembers",
        ),
        (
            lambda f: sf.diagnostics.dynkin_test(
                sf.SDESolver("euler", 12, seed=0).solve(
                    sf.multistep(f, 1.0), f.process.prior(200, 2, 0, F64), save=13
                ),
                sf.multistep(f, 1.0),
            ),
            "remembers",
        ),
    ],
    ids=range(9),
)
def test_bad_arguments_are_refused_in_one_sentence(do, says):
    with pytest.raises(ValueError, match=says):
        do(gaussian(sf.VP()))


CLOUD = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
DENSITY = sf.GaussianMixture.isotropic(torch.zeros(1, 2, dtype=F64), 1.0).on_grid(
    sf.Grid(-6.0, 6.0, (16, 16))
)
