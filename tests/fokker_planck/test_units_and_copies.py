"""Densities in motion do not depend on the units, on copies, or on how the times are written."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow import Density, Grid, SdeflowError, evolve
from sdeflow.fokker_planck import (
    REFUSE,
    DensityPath,
    Diagnostics,
    MarkovGenerator,
    Rescaling,
    markov_generator,
    probability_current,
    rescale,
    sampler_density,
)
from tests.problems import OU, close, f64

OPEN = Diagnostics(1.0, 1.0, 9.0, 9.0, 1e-9, 9.0)


def problem(length: float, time: float, dim: int) -> tuple[sf.SDE, Density]:
    """Wells on the line, or a bent whirl in the plane, measured in these units."""

    def drift(x: Tensor, t: Tensor) -> Tensor:
        u = x / length
        turned = u.flip(1) * f64([0.5, -0.5]) if dim == 2 else 0.0
        return (turned - u**3 + u) * (length / time)

    sde = sf.SDE(drift, lambda x, t: f64(length / math.sqrt(time)), 0.0, time)
    grid = Grid(-3.5 * length, 3.5 * length, (32,) * dim)
    law = sf.GaussianMixture.isotropic(f64([[0.5 * length] * dim]), 0.4 * length)
    return sde, law.on_grid(grid)


def answers(length: float, time: float, dim: int) -> list[Tensor]:
    """What is computed of it, in units of one."""
    sde, p = problem(length, time, dim)
    path = evolve(sde, p, [0.0, time / 3, time], steps=30)
    kernel = sf.sdes.ornstein_uhlenbeck(
        (torch.eye(dim, dtype=torch.float64) / time).tolist(), length / math.sqrt(time), time
    )
    chain = markov_generator(sde, p.grid)
    target = (p.grid.centres()[:, 0] > length).reshape(p.grid.shape)
    times = torch.linspace(0, time, 9, dtype=torch.float64)
    return [
        path[1].mass,
        path[2].mass,
        f64([path.diagnostics.courant, path.diagnostics.error, path.diagnostics.boundary_mass]),
        evolve(kernel, p, [0.0, time])[-1].mass,
        chain.stationary().mass,
        chain.propagate(p, time).mass,
        chain.propagate(p, 1e3 * time).mass,
        chain.relaxation_rates(2).real * time,
        chain.passage_time(target) / time,
        probability_current(sde, p, 0.0) * (time * length ** (dim - 1)),
        sampler_density(sde, p, times, refuse=OPEN)[-1].mass,
    ]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dim", [1, 2])
def test_units_do_not_matter(dim: int) -> None:
    """Nanometres, gigametres, nanoseconds: the same numbers up to rounding errors."""
    right = answers(1.0, 1.0, dim)
    for length, time in ((1e-9, 1.0), (1.0, 1e-9), (1e9, 1e9), (1e-9, 1e9)):
        for ours, theirs in zip(answers(length, time, dim), right, strict=True):
            assert close(ours, theirs, rtol=1e-10)


def test_boltzmann_density_in_joules() -> None:
    """kT = 4e-21 J, a stiffness of 1e-6 N/m: <x^2> = kT / k."""
    sde = sf.sdes.langevin(sf.sdes.harmonic(1e-6), temperature=4e-21, mobility=1e7, t_end=1.0)
    sd = math.sqrt(4e-21 / 1e-6)
    chain = markov_generator(sde, Grid(-6 * sd, 6 * sd, (96,)))
    assert float(chain.stationary().covariance()) == pytest.approx(sd**2, rel=4e-3)
    assert float(chain.relaxation_rates(1).real) == pytest.approx(10.0, rel=4e-3)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # three steps are too few
def test_times_may_be_lists_or_arrays() -> None:
    p = sf.GaussianMixture.isotropic(f64([[0.5]]), 0.6).on_grid(Grid(-6.0, 6.0, (64,)))
    right = evolve(OU, p, f64([0.0, 0.7, 1.0]), steps=20)
    for times in ([0.0, 0.7, 1.0], (0, 0.7, 1), np.array([0.0, 0.7, 1.0])):
        path = evolve(OU, p, times, steps=20)
        assert path.t.tolist() == [0.0, 0.7, 1.0]
        assert torch.equal(path[1].mass, right[1].mass)
        assert torch.equal(
            evolve(OU, p, times, time_grid=times, refuse=OPEN)[-1].mass,
            evolve(OU, p, right.t, time_grid=right.t, refuse=OPEN)[-1].mass,
        )
    grid = np.linspace(0, 1, 11)
    ours = sampler_density(OU, p, grid, [0.0, 1.0])
    assert torch.equal(ours[-1].mass, sampler_density(OU, p, torch.from_numpy(grid))[-1].mass)


def test_noise_given_as_a_number_keeps_its_digits() -> None:
    p = problem(1.0, 1.0, 1)[1]
    number, tensor = (dataclasses.replace(OU, diffusion=g) for g in (
        lambda x, t: 0.7, lambda x, t: f64(0.7)
    ))  # fmt: skip
    assert torch.equal(
        evolve(number, p, [0.0, 1.0], steps=9)[-1].mass,
        evolve(tensor, p, [0.0, 1.0], steps=9)[-1].mass,
    )
    matrices = [markov_generator(sde, p.grid).matrix for sde in (number, tensor)]
    assert abs(matrices[0] - matrices[1]).max() == 0


def test_rescaling_asks_in_double_precision() -> None:
    rescaling = Rescaling(sf.VE(), 1.0, 0.1)
    t = torch.tensor([0.1, 0.5, 0.9])
    assert rescaling.rescaled_time(t).dtype == torch.float64
    assert torch.equal(rescaling.rescaled_time(t), rescaling.rescaled_time(t.double()))
    assert torch.equal(rescaling.scale_and_rates(t), rescaling.scale_and_rates(t.double()))
    assert torch.equal(rescaling.narrowest_feature(t), rescaling.narrowest_feature(t.double()))


def copies(thing: object) -> list:
    return [pickle.loads(pickle.dumps(thing)), copy.deepcopy(thing), copy.copy(thing)]


def test_rescaled_sde_is_copied_whole() -> None:
    sde = sf.forward(sf.VP())
    moved = rescale(sde, Rescaling(sf.VP(), 1.0, 0.1))
    y, u = f64([[0.3], [-1.2]]), f64(moved.t_start)
    for again in copies(moved):
        assert torch.equal(again.drift(y, u), moved.drift(y, u))
        assert torch.equal(again.diffusion(y, u), moved.diffusion(y, u))
        kernels = [s.transition(s.t_start, s.t_end) for s in (again, moved)]
        assert all(torch.equal(a, b) for a, b in zip(*kernels, strict=True))


def test_functions_that_write_into_the_grid_move_densities_alike() -> None:
    """The corners were halved at every step: a mean of 0.995 in place of e^{-1/2}."""
    p = sf.GaussianMixture(f64([1.0]), f64([[1.0]]), f64([[[1.0]]])).on_grid(
        Grid(-8.0, 8.0, (64,))
    )
    inside = sf.SDE(lambda x, t: x.mul_(0.5).neg(), lambda x, t: x.mul_(0).add_(0.5), 0.0, 1.0)
    plain = sf.SDE(lambda x, t: -0.5 * x, lambda x, t: 0 * x + 0.5, 0.0, 1.0)
    ends = [evolve(sde, p, [0.0, 1.0], steps=20)[-1] for sde in (inside, plain)]
    assert torch.equal(ends[0].mass, ends[1].mass)
    assert float(ends[0].mean()) == pytest.approx(math.exp(-0.5), abs=1e-3)
    flows = [probability_current(sde, p, 0.0) for sde in (inside, plain)]
    assert torch.equal(*flows)
    chains = [markov_generator(sde, p.grid).stationary().mass for sde in (inside, plain)]
    assert torch.equal(*chains)
    drift, noise = inside.drift, lambda x, t: f64(0.5)
    ends = [
        sampler_density(sf.SDE(f, noise, 0.0, 1.0), p, torch.linspace(0, 1, 5))[-1].mass
        for f in (drift, plain.drift)
    ]
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    "sde",
    [
        sf.sdes.langevin(lambda x: (x - x.mean(0)).square().sum() / 2),
        sf.SDE(lambda x, t: x.mean(0) - x, lambda x, t: f64(1.0), 0.0, 1.0),
    ],
    ids=["total energy", "mean field"],
)
def test_points_of_a_grid_are_no_particles_that_interact(sde: sf.SDE) -> None:
    """The mean of the points of the grid took the place of that of the density."""
    p = sf.GaussianMixture(f64([1.0]), f64([[1.0]]), f64([[[1.0]]])).on_grid(
        Grid(-8.0, 8.0, (64,))
    )
    for ask in (
        lambda: evolve(sde, p, [0.0, 1.0]),
        lambda: markov_generator(sde, p.grid),
        lambda: probability_current(sde, p, 0.0),
        lambda: sampler_density(sde, p, [0.0, 0.5, 1.0]),
    ):
        with pytest.raises(ValueError, match="at a point of the grid depends on the other"):
            ask()


def test_total_energy_of_particles_that_do_not_interact_moves_densities() -> None:
    total, each = (
        sf.sdes.langevin(u) for u in (lambda x: (x**4).sum() / 4, lambda x: (x**4).sum(1) / 4)
    )
    p = sf.GaussianMixture(f64([1.0]), f64([[1.0]]), f64([[[1.0]]])).on_grid(
        Grid(-8.0, 8.0, (64,))
    )
    flows = [probability_current(sde, p, 0.0) for sde in (total, each)]
    assert torch.equal(*flows)


def test_copies_are_the_same_paths_and_chains() -> None:
    sde, p = problem(1.0, 1.0, 1)
    path, chain = evolve(sde, p, [0.0, 1.0], steps=20), markov_generator(sde, p.grid)
    for again in copies(path):
        assert torch.equal(again.t, path.t)
        assert torch.equal(again[-1].mass, path[-1].mass)
        assert repr(again.diagnostics) == repr(path.diagnostics)
    for again in copies(chain):
        assert torch.equal(again.stationary().mass, chain.stationary().mass)
        assert again.stationary().error == chain.stationary().error
        assert torch.equal(again.relaxation_rates(1), chain.relaxation_rates(1))
    for again in copies(Rescaling(sf.VE(), 1.0, 0.1)):
        assert again(0.5) == Rescaling(sf.VE(), 1.0, 0.1)(0.5)


# --------------------------------------------------------------------------------- wrong arguments

LINE = problem(1.0, 1.0, 1)[1]
PLANE = problem(1.0, 1.0, 2)[1]
WHIRL = sf.sdes.ornstein_uhlenbeck([[1.0, 0.5], [0.2, 1.0]])
CHAIN = markov_generator(OU, LINE.grid)
BELOW_ZERO = np.array([[1.0, -1.0], [-1.0, 1.0]])
MISTAKES: list[tuple] = [
    (lambda: evolve(OU, LINE, [0, 1], refuse=None), TypeError, "refuse must be a Diagnostics"),
    (lambda: evolve(OU, LINE, [0, 1], refuse=0.1), TypeError, r"refuse=dataclasses.replace\("),
    (lambda: evolve(OU, LINE, "01"), TypeError, "times must be"),
    (
        lambda: evolve(WHIRL, LINE, [0, 1]),
        ValueError,
        r"the diffusion returned \(2,\) for a cloud of shape|shape \(n, 1\)",
    ),
    (
        lambda: evolve(sf.sdes.langevin(lambda x: x[:, 1] ** 2), LINE, [0, 1]),
        ValueError,
        r"cloud of shape \((n|\d+), 1\)",
    ),
    (
        lambda: evolve(sf.sdes.underdamped(sf.sdes.harmonic()), LINE, [0, 1]),
        ValueError,
        "velocity",
    ),
    (
        lambda: evolve(dataclasses.replace(OU, diffusion=lambda x, t: None), LINE, [0, 1]),
        TypeError,
        "the diffusion returned NoneType; return a tensor",
    ),
    (
        lambda: evolve(dataclasses.replace(OU, diffusion=lambda x, t: "1"), LINE, [0, 1]),
        TypeError,
        "the diffusion returned str",
    ),
    (lambda: sampler_density(OU, LINE, [0, 1], refuse=3), TypeError, "refuse must be"),
    (lambda: sampler_density(WHIRL, LINE, [0, 1]), ValueError, r"cloud of shape \((n|\d+), 1\)"),
    (lambda: sampler_density(OU, LINE, [0, 1], "a"), TypeError, "save must be"),
    (lambda: probability_current(OU, LINE, "0"), TypeError, "t must be a number"),
    (lambda: probability_current(OU, LINE, 9.0), ValueError, r"t is 9, outside .*\[0, 1\]"),
    (lambda: markov_generator(OU, LINE.grid, t=-2), ValueError, r"t is -2, outside .*\[0, 1\]"),
    (
        lambda: evolve(dataclasses.replace(OU, diffusion=lambda x, t: [1.0]), LINE, [0, 1]),
        TypeError,
        "the diffusion returned list; return a tensor",
    ),
    (lambda: DensityPath(f64([0.0]), (LINE,), None), TypeError, "diagnostics must be Diagnostics"),
    (lambda: probability_current(LINE, OU, 0.0), TypeError, "sde must be an SDE, got Density"),
    (lambda: probability_current(OU, LINE.mass, 0.0), TypeError, "density must be a Density"),
    (lambda: probability_current(WHIRL, LINE, 0.0), ValueError, r"cloud of shape \((n|\d+), 1\)"),
    (lambda: markov_generator(None, LINE.grid), TypeError, "sde must be an SDE, got NoneType"),
    (lambda: markov_generator(OU, (0, 1, 8)), TypeError, r"grid must be a Grid, got tuple; make"),
    (lambda: markov_generator(OU, LINE.grid, t="a"), TypeError, "t must be a number"),
    (lambda: markov_generator(OU, LINE.grid, refuse=None), TypeError, "refuse must be"),
    (
        lambda: markov_generator(OU, LINE.grid, potential=lambda x: x),
        TypeError,
        r"one number per cell, got function; give U\(grid.centres",
    ),
    (lambda: markov_generator(OU, LINE.grid, potential=[1, 2]), ValueError, "one number per cell"),
    (
        lambda: markov_generator(OU, LINE.grid, potential=[math.inf] * 32),
        ValueError,
        "NaN or infinite cells",
    ),
    (lambda: markov_generator(WHIRL, LINE.grid), ValueError, r"cloud of shape \((n|\d+), 1\)"),
    (lambda: CHAIN.passage_time(lambda x: x > 1), TypeError, "boolean tensor, got function; for"),
    (lambda: CHAIN.passage_time(torch.ones(32)), ValueError, "target must be a boolean"),
    (lambda: CHAIN.passage_time(None), TypeError, "target must be a boolean tensor"),
    (lambda: CHAIN.propagate(LINE, "a"), TypeError, "time must be a number"),
    (lambda: CHAIN.propagate(LINE, -1.0), ValueError, "time must be zero or more"),
    (lambda: CHAIN.propagate(LINE.mass, 1.0), TypeError, "density must be a Density"),
    (lambda: CHAIN.propagate(PLANE, 1.0), ValueError, "another grid"),
    (lambda: CHAIN.rate(None), TypeError, "density must be a Density"),
    (lambda: CHAIN.relaxation_rates(30), ValueError, "count must be at most 29"),
    (lambda: CHAIN.relaxation_rates(1.5), TypeError, "count must be a whole number"),
    (lambda: MarkovGenerator(LINE.grid, "a"), TypeError, "matrix must be a sparse matrix"),
    (lambda: MarkovGenerator(None, CHAIN.matrix), TypeError, "grid must be a Grid"),
    (lambda: MarkovGenerator(LINE.grid, np.eye(3)), ValueError, r"matrix must be \(32, 32\)"),
    (lambda: MarkovGenerator(LINE.grid, np.eye(32)), ValueError, "must add up to zero"),
    (
        lambda: MarkovGenerator(LINE.grid, np.kron(np.eye(16), BELOW_ZERO)),
        ValueError,
        "a rate that is negative",
    ),
    (lambda: Diagnostics("a"), TypeError, "negative_mass must be a number, got str"),
    (lambda: dataclasses.replace(REFUSE, error=None), TypeError, "error must be a number"),
    (lambda: DensityPath(1, 2, 3), TypeError, "a tensor of times and a tuple of densities"),
    (lambda: DensityPath(f64([0.0]), (1,), REFUSE), TypeError, "a Density for each time"),
    (lambda: DensityPath(f64([0.0]), (LINE, LINE), REFUSE), ValueError, "one time for each of 2"),
    (lambda: Rescaling(1.0), TypeError, "process must be a Process, such as"),
    (lambda: Rescaling(sf.VP())("a"), TypeError, "t must be a number"),
    (lambda: rescale(OU, None), TypeError, "rescale needs an SDE and a Rescaling"),
]


@pytest.mark.parametrize(("mistake", "error", "words"), MISTAKES)
def test_mistakes_are_told_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as refusal:
        mistake()
    assert not isinstance(refusal.value, SdeflowError)
    assert "\n" not in str(refusal.value)
