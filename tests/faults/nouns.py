"""Draw every public noun, from arguments that are valid or nearly so.

Each strategy gives a function that makes the noun, so that a refusal can be judged too.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

import sdeflow as sf
from tests.problems import randn

Make = Callable[[], Any]

# ------------------------------------------------------------------------------------- numbers

ODD = st.sampled_from(
    [0.0, -1.0, 1e-300, 1e-30, 1e-12, 1e12, 1e30, 1e300, math.nan, math.inf, -math.inf, 1, True,
     np.float32(0.3), np.int64(2), torch.tensor(0.5), torch.tensor(0.7).double(), "0.5", None]
)  # fmt: skip
"""Numbers and what is typed for them."""


@st.composite
def rarely(draw: st.DrawFn, usual: st.SearchStrategy, odd: st.SearchStrategy = ODD) -> Any:
    """One in forty is odd."""
    return draw(odd) if draw(st.integers(0, 39)) == 7 else draw(usual)


def size(low: float, high: float) -> st.SearchStrategy[Any]:
    """A positive number, even in its logarithm."""
    return rarely(st.floats(math.log(low), math.log(high)).map(math.exp))


def place(high: float = 3.0) -> st.SearchStrategy[Any]:
    """A number around zero."""
    return rarely(st.floats(-high, high))


def count(high: int) -> st.SearchStrategy[Any]:
    """A whole number from one on."""
    odd = st.sampled_from([0, -1, 2.0, np.int64(3), True, None, "3"])
    return rarely(st.integers(1, high), odd)


def seeds() -> st.SearchStrategy[Any]:
    return rarely(st.integers(0, 2**31), st.sampled_from([2**63, 2**64 - 1, 2**64, -1, 0.0, None]))


@st.composite
def clouds(draw: st.DrawFn, d: int, most: int = 8) -> Tensor:
    """A cloud (n, d) of any scale and type, sometimes with an odd entry."""
    n, scale = draw(st.integers(1, most)), draw(st.sampled_from([1e-6, 0.1, 1.0, 3.0, 1e3, 1e8]))
    kind = draw(st.sampled_from([torch.float64, torch.float64, torch.float32, torch.float16]))
    x = (scale * randn(n, d, seed=draw(st.integers(0, 99)))).to(kind)
    if draw(st.integers(0, 29)) == 7:
        odd = draw(st.sampled_from([math.nan, math.inf, 0.0, 1e30, -1e300]))
        x[0, 0] = torch.tensor(odd, dtype=torch.float64)  # infinite in a narrower type
    if draw(st.integers(0, 5)) == 3:
        x = x[:1].expand(n, d).clone()  # all particles at one point
    return x


def some(pairs: dict[str, st.SearchStrategy]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of these arguments."""
    return st.fixed_dictionaries({}, optional=pairs)


# ---------------------------------------------------------------------------------------- nouns


@st.composite
def processes(draw: st.DrawFn) -> Make:
    """A process with constants of its own."""
    ends = {"t_min": size(1e-6, 0.3), "t_max": size(0.4, 0.9999)}
    kind, options = draw(st.sampled_from([
        (sf.VP, {**ends, "beta_min": size(1e-3, 5.0), "beta_max": size(1.0, 100.0)}),
        (sf.processes.SubVP, {**ends, "beta_min": size(1e-2, 5.0), "beta_max": size(1.0, 50.0)}),
        (sf.VE, {"t_min": rarely(st.floats(0.0, 0.3)), "t_max": size(0.4, 3.0),
                 "sigma_min": size(1e-4, 0.5), "sigma_max": size(0.6, 1e3)}),
        (sf.EDM, {"t_min": size(1e-5, 0.1), "t_max": size(0.2, 1e3)}),
        (sf.Linear, ends),
        (sf.processes.Cosine, {**ends, "s": rarely(st.floats(0.0, 0.5))}),
        (sf.processes.Tabulated.ddpm, {"steps": count(60), "beta_min": size(1e-6, 1e-2),
                                       "beta_max": size(1e-2, 0.9)}),
        (sf.processes.Tabulated.from_betas,
         {"betas": st.lists(size(1e-6, 0.5), min_size=0, max_size=9)}),
    ]))  # fmt: skip
    given = draw(some(options))  # type: ignore[arg-type]
    if kind is sf.processes.Tabulated.from_betas:
        given.setdefault("betas", [0.1, 0.2])
    return partial(kind, **given)


@st.composite
def mixtures(draw: st.DrawFn, d: int) -> Make:
    k, scale = draw(st.integers(1, 4)), draw(st.sampled_from([1e-4, 0.1, 1.0, 30.0]))
    seed = draw(st.integers(0, 99))
    means = scale * randn(k, d, seed=seed)
    kind = draw(st.sampled_from([torch.float64, torch.float32]))
    weights = torch.tensor([draw(st.floats(0.01, 1.0)) for _ in range(k)], dtype=kind)
    if draw(st.booleans()):
        width = draw(size(1e-4, 10.0))
        return lambda: sf.GaussianMixture.isotropic(means.to(kind), width, weights)
    turn = torch.linalg.qr(randn(k, d, d, seed=seed + 1)).Q
    spread = [[draw(st.sampled_from([1e-8, 1e-2, 0.3, 1.0, 4.0])) for _ in range(d)]] * k
    if draw(st.integers(0, 29)) == 7:
        spread[0][0] = draw(st.sampled_from([0.0, -1e-3, math.nan, 1e30, 1e-40]))
    covariances = turn @ torch.diag_embed(torch.tensor(spread, dtype=torch.float64)) @ turn.mT
    return lambda: sf.GaussianMixture(weights, means.to(kind), covariances.to(kind))


@st.composite
def point_sets(draw: st.DrawFn, d: int) -> Make:
    x = draw(clouds(d, 9))
    labels = draw(st.sampled_from([None, torch.arange(len(x)) % 2, torch.zeros(len(x)).long()]))
    width = draw(rarely(st.sampled_from([0.0, 0.1, 1e-6, 2.0])))
    return lambda: sf.distributions.PointSet(x, labels, width)


@st.composite
def pictures(draw: st.DrawFn, d: int) -> Make:
    shape = tuple(draw(st.integers(1, 5)) for _ in range(d))
    weights = randn(*shape, seed=draw(st.integers(0, 99))).abs()
    weights[weights < draw(st.sampled_from([0.0, 0.0, 0.3, 0.6]))] = 0.0
    low = torch.tensor([draw(st.floats(-2.0, 1.0)) for _ in range(d)], dtype=torch.float64)
    side = draw(size(1e-3, 3.0))
    return lambda: sf.distributions.PiecewiseConstant(low, side, weights)


@st.composite
def curves(draw: st.DrawFn) -> Make:
    name = draw(st.sampled_from([*sorted(sf.datasets.NAMES), "none of these"]))
    return lambda: sf.datasets.named(name).distribution


def distributions(d: int) -> st.SearchStrategy[Make]:
    """A distribution in d dimensions."""
    kinds: list[st.SearchStrategy] = [mixtures(d), mixtures(d), point_sets(d)]
    kinds += [pictures(d)] if d == 2 else []
    kinds += [curves()] if d == 2 else []
    return st.one_of(kinds)


@st.composite
def fields(draw: st.DrawFn, d: int) -> Make:
    """An exact, a learned or a guided field."""
    process, distribution = draw(processes()), draw(distributions(d))
    kind = draw(st.sampled_from(["exact", "exact", "exact", "learned", "guided", "loss"]))
    scale = draw(place(5.0))
    std = draw(size(0.01, 30.0))

    def make() -> sf.fields.Field:
        exact = sf.ExactField(process(), distribution())
        if kind == "learned":
            network = sf.MLP(width=4, depth=1, waves=2, dim=d)
            return sf.LearnedField(exact.process, network, data_std=std)
        if kind == "guided":
            return sf.GuidedField(exact, exact, scale)
        if kind == "loss":
            return sf.fields.LossGuidedField(exact, lambda x: x[:, 0] ** 2, data_std=std)
        return exact

    return make


@st.composite
def grids(draw: st.DrawFn, d: int, most: int = 64) -> Make:
    low = tuple(draw(place(4.0)) for _ in range(d))
    length = tuple(draw(size(0.5, 40.0)) for _ in range(d))
    if draw(st.booleans()):  # around zero
        low = tuple(-b / 2 if isinstance(b, float) else b for b in length)
    least, odd_size = (most // 2, 4) if d == 1 else (4, 1)
    usual = st.integers(least, most if d == 1 else 12)
    shape = tuple(draw(rarely(usual, st.sampled_from([0, odd_size, 2.0, True]))) for _ in range(d))
    odd = draw(st.sampled_from([None] * 30 + ["swap", "short"]))

    def make() -> sf.Grid:
        high = tuple(_add(a, b) for a, b in zip(low, length, strict=True))
        if odd == "swap":
            return sf.Grid(high, low, shape)
        return sf.Grid(low, high, shape[: len(shape) - 1] if odd == "short" else shape)

    return make


def _add(a: Any, b: Any) -> Any:
    return a + b if isinstance(a, float) and isinstance(b, float) else b


@st.composite
def densities(draw: st.DrawFn, d: int) -> Make:
    grid, seed = draw(grids(d)), draw(st.integers(0, 99))
    kind = draw(
        st.sampled_from(["random"] * 3 + ["distribution"] * 2 + ["point", "samples", "odd"])
    )
    distribution, x = draw(distributions(d)), draw(clouds(d))
    odd = draw(ODD)

    def make() -> sf.Density:
        g = grid()
        if kind == "distribution":
            return distribution().on_grid(g, missing=1.0)
        if kind == "samples":
            return sf.Density.from_samples(g, x)
        mass = randn(*g.shape, seed=seed).abs()
        if kind == "point":
            mass[mass < mass.max()] = 0.0
        mass = mass / mass.sum()
        if kind == "odd" and isinstance(odd, float):
            mass.view(-1)[0] = odd
        return sf.Density(g, mass)

    return make


@st.composite
def wide(draw: st.DrawFn) -> Make:
    """A density on the line, far from the ends of its grid."""
    width, cells = draw(size(0.2, 1.5)), draw(st.integers(64, 160))
    place_ = draw(st.floats(-1.0, 1.0))

    def make() -> sf.Density:
        means = torch.tensor([[place_], [0.5]], dtype=torch.float64)
        return sf.GaussianMixture.isotropic(means, width).on_grid(sf.Grid(-12.0, 12.0, (cells,)))

    return make


@st.composite
def boxes(draw: st.DrawFn, d: int) -> Make:
    kinds = ["reflecting", "periodic", "absorbing", ("reflecting", "absorbing"), "soft"]
    kind = draw(st.sampled_from(kinds))
    low, length = draw(place(2.0)), draw(size(0.1, 8.0))
    return lambda: sf.sdes.Box([low] * d, [_add(low, length)] * d, kind)


@st.composite
def sdes(draw: st.DrawFn, d: int) -> Make:
    """A law of motion in d dimensions: of classical physics, or of a field."""
    t_end, noise, number = draw(size(0.05, 5.0)), draw(size(1e-3, 3.0)), draw(size(0.1, 5.0))
    field, eta = draw(fields(d)), draw(rarely(st.floats(0.0, 1.5)))
    walls = draw(st.none() | boxes(d))
    sd = sf.sdes
    potentials: Sequence[Make] = [
        lambda: sd.harmonic(number), lambda: sd.double_well(number), lambda: sd.mexican_hat(number)
    ]  # fmt: skip
    potential = draw(st.sampled_from(potentials))
    matrix = [[float(i == j) * 1.3 + 0.2 * (i - j) for j in range(d)] for i in range(d)]
    kinds: list[Make] = [
        lambda: sd.brownian(noise, t_end),
        lambda: sd.langevin(potential(), noise, number, t_end, walls=walls and walls()),
        lambda: sd.underdamped(potential(), number, noise, t_end=t_end),
        lambda: sd.geometric_brownian(eta, noise, t_end),
        lambda: sd.ornstein_uhlenbeck(matrix, noise, t_end),
        lambda: sf.reverse(field(), eta),
        lambda: sf.reverse(field()),
        lambda: sf.ancestral(field(), eta),
        lambda: sf.multistep(field()),
        lambda: sd.comoving(field(), eta),
        lambda: sf.forward(field().process),
    ]
    return draw(st.sampled_from(kinds))


@st.composite
def solvers(draw: st.DrawFn, noisy: bool) -> Make:
    """A solver, mostly for a motion with noise, or without it."""
    steps = draw(count(12))
    if draw(st.integers(0, 19)) != 7 and noisy:
        methods = ["euler", "heun"] * 2 + ["srk", "milstein", "reversible_heun"]
        method = draw(st.sampled_from(methods))
        seed = draw(seeds())
        return lambda: sf.SDESolver(method, steps, seed=seed)
    method = draw(st.sampled_from(["euler", "heun2", "rk4", "midpoint", "dopri5", "bosh3", "srk"]))
    if method in ("dopri5", "bosh3"):
        rtol = draw(size(1e-6, 1e-2))
        return lambda: sf.ODESolver(method, rtol=rtol, max_steps=200)
    return lambda: sf.ODESolver(method, steps)
