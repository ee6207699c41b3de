"""Markov chains over barriers of 30 kT and more, against symmetry and integrals in logarithms."""

import math

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow import Density, Grid, SdeflowError, evolve
from sdeflow.fokker_planck import long_times, markov_generator
from tests.problems import close, f64

BARRIERS = [30.0, 40.0, 60.0]


def wells(barrier: float, cells: int = 100, **options) -> sf.fokker_planck.MarkovGenerator:
    """A double well of this barrier (kT)."""
    sde = sf.sdes.langevin(sf.sdes.double_well(barrier))
    return markov_generator(sde, Grid(-1.6, 1.6, (cells,)), **options)


def escape_time(barrier: float, start: float, stop: float) -> float:
    """int_start^stop e^U int_{-inf}^y e^{-U} dz dy, U = barrier (x^2 - 1)^2, in logarithms."""
    y = np.linspace(-2.2, stop, 60_001)
    u, h = barrier * (y**2 - 1) ** 2, y[1] - y[0]
    weight = np.exp(u.min() - u)
    below = np.append(0.0, np.cumsum((weight[1:] + weight[:-1]) * h / 2))
    with np.errstate(divide="ignore"):
        log = np.log(below) - u.min() + u
    log = log[y >= start - h / 2]
    f = np.exp(log - log.max())
    return math.exp(log.max()) * float((f[1:] + f[:-1]).sum() * h / 2)


@pytest.mark.parametrize("barrier", [*BARRIERS, 1000.0])
@pytest.mark.parametrize("given", [False, True])
def test_two_equal_wells_hold_half_each(barrier: float, given: bool) -> None:
    """Also where e^{-barrier} is below the smallest number; from the drift or the potential."""
    x = Grid(-1.6, 1.6, (100,)).middles(0)
    u = barrier * (x**2 - 1) ** 2 if given else None
    found = wells(barrier, potential=u, estimate=False).stationary()
    assert float(found.mass[:50].sum()) == pytest.approx(0.5, abs=1e-10)
    if given:
        assert close(found.mass, torch.softmax(-u, 0), rtol=1e-10)


def test_unequal_wells_hold_their_boltzmann_weights() -> None:
    """Over 50 kT, with one well 2 kT below the other: every mass, relative to itself."""
    grid = Grid(-1.7, 1.7, (120,))
    x = grid.middles(0)
    u = 50 * (x**2 - 1) ** 2 + x
    found = markov_generator(sf.sdes.brownian(), grid, potential=u).stationary().mass
    assert float((found / torch.softmax(-u, 0) - 1).abs().max()) < 1e-10


@pytest.mark.parametrize("barrier", [40.0, 200.0])
def test_equal_wells_in_the_plane_hold_half_each(barrier: float) -> None:
    def energy(x: Tensor) -> Tensor:
        return barrier * ((x[:, 0] ** 2 - 1) ** 2 + x[:, 1] ** 2)

    for shape in ((40, 24), (24, 40)):  # either axis may be the shorter one
        turned = shape[0] < shape[1]
        sde = sf.sdes.langevin((lambda x: energy(x.flip(1))) if turned else energy)
        p = markov_generator(sde, Grid(-1.6, 1.6, shape), estimate=False).stationary()
        assert float(p.marginal(int(turned)).mass[:20].sum()) == pytest.approx(0.5, abs=1e-10)


@pytest.mark.parametrize("barrier", BARRIERS)
def test_rate_and_time_of_escape_are_the_exact_integrals(barrier: float) -> None:
    """The slowest eigenfunction is odd: its rate is that of escape to the middle, up to e^-B."""
    chain = wells(barrier, 200)
    x = chain.grid.middles(0)
    rates = chain.relaxation_rates(3)
    assert float(rates[0].real) * escape_time(barrier, -1.0, 0.0) == pytest.approx(1, abs=4e-3)
    assert float(rates[1].real) == pytest.approx(4 * barrier, rel=0.06)  # -U'' at the top
    assert not rates.imag.any()
    start, stop = 37, 100
    time = float(chain.passage_time(x > 0)[start])
    assert time == pytest.approx(escape_time(barrier, float(x[start]), float(x[stop])), rel=4e-3)


def test_times_beyond_the_largest_number_are_infinite_or_refused() -> None:
    """Over 600 kT they are numbers still; over 10,000 kT the density alone is one."""
    high, higher = wells(600.0, 200, estimate=False), wells(1e4, estimate=False)
    rate = float(high.relaxation_rates(1).real)
    assert rate < 1e-250
    assert rate * escape_time(600.0, -1.0, 0.0) == pytest.approx(1, abs=0.05)
    assert torch.isinf(higher.passage_time(higher.grid.middles(0) > 0)[:50]).all()
    with pytest.raises(SdeflowError, match="relaxation time is larger than the largest float"):
        higher.relaxation_rates(1)


def test_slow_rates_over_several_barriers_are_all_found() -> None:
    """Four wells on a square: k, k and 2 k, and 1e20 times larger that of the saddles."""

    def energy(x: Tensor) -> Tensor:
        return 50 * ((x**2 - 1) ** 2).sum(1)

    sde, grid = sf.sdes.langevin(energy), Grid(-1.6, 1.6, (32, 32))
    rates = markov_generator(sde, grid, estimate=False).relaxation_rates(4).real
    line = sf.sdes.langevin(sf.sdes.double_well(50.0))
    one = markov_generator(line, Grid(-1.6, 1.6, (32,)), estimate=False).relaxation_rates(2).real
    expected = f64([one[0], one[0], 2 * one[0], one[1]])
    assert float((rates / expected - 1).abs().max()) < 1e-7
    assert float(rates[3] / rates[2]) > 1e20


def test_degenerate_rates_are_all_found() -> None:
    """A sum over two axes: 1, 1, 2, 2, 2, 3, 3, 3, 3 of the rates of one."""
    grid = Grid(-5.0, 5.0, (32, 32))
    plane = sf.sdes.ornstein_uhlenbeck([[1.0, 0.0], [0.0, 1.0]], math.sqrt(2))
    found = markov_generator(plane, grid, estimate=False).relaxation_rates(9).real
    line = sf.sdes.ornstein_uhlenbeck([[1.0]], math.sqrt(2))
    one = markov_generator(line, Grid(-5.0, 5.0, (32,)), estimate=False).relaxation_rates(3)
    ladder = [0.0, *one.real.tolist()]
    sums = sorted(a + b for a in ladder for b in ladder)[1:10]
    assert close(found, f64(sums), rtol=1e-9)


def test_rates_are_found_again_if_the_chain_cannot_be_reversed() -> None:
    """Against all eigenvalues of the whole matrix, which are complex."""
    sde = sf.sdes.ornstein_uhlenbeck([[1.0, -3.0], [3.0, 1.0]], math.sqrt(2))
    chain = markov_generator(sde, Grid(-4.0, 4.0, (20, 20)), estimate=False)
    whole = -np.linalg.eigvals(chain.matrix.toarray())
    whole = whole[np.argsort(abs(whole))][1:7]
    ours = chain.relaxation_rates(6).numpy()
    assert max(abs(whole - r).min() for r in ours) < 1e-9


# ------------------------------------------------------------------------------------ reachability


def half_still(cells: int = 40) -> sf.fokker_planck.MarkovGenerator:
    """Brownian motion, D = 1 / 2, right of 0; nothing moves on the left."""
    grid = Grid(-1.0, 1.0, (cells,))
    moving = markov_generator(sf.sdes.brownian(), Grid(0.0, 1.0, (cells // 2,)), estimate=False)
    still = scipy.sparse.csc_matrix((cells // 2, cells // 2))
    return sf.fokker_planck.MarkovGenerator(
        grid, scipy.sparse.block_diag([still, moving.matrix], format="csc")
    )


def test_passage_time_is_infinite_where_the_target_cannot_be_reached() -> None:
    """And right elsewhere: (b - x) (b + x) of reflected Brownian motion, D = 1/2, up to a cell."""
    chain = half_still()
    x = chain.grid.middles(0)
    found = chain.passage_time(x > 0.8)
    assert torch.isinf(found[x < 0]).all()
    moving = (x > 0) & (x <= 0.8)
    b = float(x[x > 0.8][0])
    assert close(found[moving], b**2 - x[moving] ** 2, rtol=0.08)
    assert not found[x > 0.8].any()


def test_passage_time_is_infinite_where_the_target_may_be_missed() -> None:
    """From 1 the chain goes to the target 2 or is caught in 0; from 3 it goes to 2 for certain."""
    rates = np.zeros((4, 4))
    rates[0, 1], rates[2, 1], rates[2, 3], rates[3, 2] = 1.0, 1.0, 0.5, 7.0
    rates -= np.diag(rates.sum(0))
    chain = sf.fokker_planck.MarkovGenerator(Grid(0.0, 1.0, (4,)), rates)
    found = chain.passage_time(torch.arange(4) == 2)
    assert found.tolist() == [math.inf, math.inf, 0.0, 2.0]


def test_stationary_density_that_is_not_unique_is_refused_by_the_graph() -> None:
    """However high a barrier is, two wells communicate; where nothing moves they do not."""
    with pytest.raises(SdeflowError, match=r"no unique stationary density .* 21 sets"):
        half_still().stationary()
    with pytest.raises(SdeflowError, match="no unique stationary density"):
        half_still().relaxation_rates(1)
    assert wells(600.0, estimate=False).stationary().total() == pytest.approx(1.0, abs=1e-12)
    assert half_still().passage_time(half_still().grid.middles(0) < 2).tolist() == [0.0] * 40


def test_states_that_are_left_for_good_hold_nothing() -> None:
    sde = sf.SDE(
        lambda x, t: torch.where(x < 0, 1.0, -x + 0.5), lambda x, t: (x > 0).double(), 0.0, 1.0
    )
    chain = markov_generator(sde, Grid(-1.0, 2.0, (60,)), estimate=False)
    p = chain.stationary()
    assert not p.mass[:19].any()
    assert p.total() == pytest.approx(1.0, abs=1e-12)


# ------------------------------------------------------------------------------------ wide cells


def oscillator(friction: float, cells: int, **options) -> sf.fokker_planck.MarkovGenerator:
    sde = sf.sdes.underdamped(sf.sdes.harmonic(), friction=friction)
    return markov_generator(sde, Grid(-5.0, 5.0, (cells, cells)), **options)


OPEN = sf.fokker_planck.Diagnostics(error=math.inf)
NORMAL = sf.GaussianMixture.isotropic(f64([[0.0, 0.0]]), 1.0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("friction", [0.001, 0.1])
def test_density_that_the_cells_heat_is_refused(friction: float) -> None:
    """Without noise along the positions cells diffuse by |v| h / 2: <v^2> is 2.1 or 7, not 1."""
    chain = oscillator(friction, 64)
    heated = oscillator(friction, 64, refuse=OPEN).stationary()
    with pytest.raises(SdeflowError, match=r"along axis 0.*Peclet number"):
        chain.stationary()
    p = NORMAL.on_grid(chain.grid)
    with pytest.raises(SdeflowError, match=r"the density, .* `evolve`, or particles \(refused"):
        chain.propagate(p, 1 / friction)
    with pytest.raises(SdeflowError, match=r"relaxation rate \d of 2"):
        chain.relaxation_rates(2)
    with pytest.raises(SdeflowError, match="the passage time"):
        chain.passage_time((chain.grid.centres()[:, 0] > 1).reshape(64, 64))
    assert float(heated.covariance()[1, 1]) > 2
    assert chain.propagate(p, 1e-3).total_variation(p) < 1e-3


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_error_of_a_density_is_estimated() -> None:
    """Within half and twice of the total variation to the exact density, in both orders."""
    rotating = sf.sdes.ornstein_uhlenbeck([[1.0, -2.0], [2.0, 1.0]], math.sqrt(2))
    pairs = [
        (oscillator(friction, 64, refuse=OPEN), NORMAL) for friction in (0.1, 0.5, 1.0, 3.0)
    ] + [
        (markov_generator(rotating, Grid(-5.0, 5.0, (n, n)), refuse=OPEN), rotating.stationary())
        for n in (32, 64)
    ]
    for chain, law in pairs:
        found = chain.stationary()
        error = found.total_variation(law.on_grid(chain.grid))
        assert found.error is not None
        assert 0.5 * error < found.error < 2 * error


def test_cure_of_wide_cells_is_to_evolve() -> None:
    """At a friction of 0.1, where 64 cells heat twofold: the exact covariance at a later time."""
    sde = sf.sdes.underdamped(sf.sdes.harmonic(), friction=0.1, t_end=10.0)
    start = sf.GaussianMixture.isotropic(f64([[0.0, 0.0]]), 0.6)
    found = evolve(sde, start.on_grid(Grid(-5.0, 5.0, (64, 64))), [0.0, 10.0], steps=200)[-1]
    known = sf.sdes.ornstein_uhlenbeck([[0.0, -1.0], [1.0, 0.1]], [0.0, math.sqrt(0.2)])
    assert close(found.covariance(), known.evolved(start, 10.0).covariance(), rtol=2e-3)


def test_cure_of_wide_cells_is_a_finer_grid() -> None:
    with pytest.warns(RuntimeWarning, match=r"because the cells are wide \(along axis 0"):
        found = oscillator(1.0, 64).stationary()
    assert found.total_variation(NORMAL.on_grid(found.grid)) < 0.05
    with pytest.raises(SdeflowError, match="use finer cells"):
        oscillator(1.0, 32).stationary()


@pytest.mark.parametrize("cells", [20, 100])
def test_wide_cells_of_a_reversible_chain_are_not_refused(cells: int) -> None:
    """With cells as wide as the density, if the potential is known: there is no current."""
    u = 40 * (Grid(-1.6, 1.6, (cells,)).middles(0) ** 2 - 1) ** 2
    found = wells(40.0, cells, potential=u).stationary()
    assert close(found.mass, torch.softmax(-u, 0), rtol=1e-10)
    assert found.error is not None
    assert found.error < 0.02


def test_relaxation_rates_of_wide_cells_name_the_rate_that_is_wrong() -> None:
    sde = sf.sdes.ornstein_uhlenbeck([[1.0]], math.sqrt(2))
    chain = markov_generator(sde, Grid(-6.0, 6.0, (64,)))
    assert close(chain.relaxation_rates(4).real, f64([1.0, 2.0, 3.0, 4.0]), rtol=0.03)
    with pytest.raises(SdeflowError, match="relaxation rate 40 of 40"):
        chain.relaxation_rates(40)


def test_number_of_rates_that_is_advised_is_accepted() -> None:
    chain = wells(4.0, 12, estimate=False)
    with pytest.raises(ValueError, match="count must be at most") as said:
        chain.relaxation_rates(10)
    most = int(str(said.value).split("at most ")[1].split()[0])
    assert len(chain.relaxation_rates(most)) == most


@pytest.mark.filterwarnings("ignore:no error is estimated")
def test_odd_cells_that_heat_are_refused() -> None:
    """<v^2> is 2.1 on 65 x 65 cells as on 64 x 64; where no current flows nothing is added."""
    slow = sf.sdes.underdamped(sf.sdes.harmonic(), friction=0.1)
    with pytest.raises(SdeflowError, match="because the cells are wide"):
        markov_generator(slow, Grid(-5.0, 5.0, (33, 33)))
    markov_generator(sf.sdes.langevin(sf.sdes.double_well(40.0)), Grid(-1.6, 1.6, (33,)))


def test_odd_cells_warn_that_no_error_is_estimated() -> None:
    with pytest.warns(RuntimeWarning, match="no error is estimated"):
        chain = wells(4.0, 25)
    assert chain.coarse is None
    assert chain.stationary().error is None
    assert wells(4.0, 25, estimate=False).coarse is None


@pytest.mark.parametrize("share", [1e-8, 0.3, 1.0, 20.0])
def test_density_crosses_a_barrier_at_the_right_time(share: float) -> None:
    """From one of two wells 40 kT deep, after `share` of the relaxation time of 3e15."""
    chain = wells(40.0)
    rate = float(chain.relaxation_rates(1).real)
    mass = torch.zeros(100)
    mass[19] = 1.0
    found = chain.propagate(Density(chain.grid, mass), share / rate)
    crossed = -math.expm1(-share) / 2
    assert float(found.mass[50:].sum()) == pytest.approx(crossed, rel=1e-6, abs=1e-12)
    assert found.total() == pytest.approx(1.0, abs=1e-12)


def test_long_times_agree_with_short_ones() -> None:
    """e^{(s + t) L} is e^{s L} e^{t L}, by a Taylor series up to 1e3 jumps and otherwise not."""
    sde = sf.sdes.ornstein_uhlenbeck([[1.0, -2.0], [2.0, 1.0]], math.sqrt(2))
    chain = markov_generator(sde, Grid(-5.0, 5.0, (40, 40)), estimate=False)
    p = sf.GaussianMixture.isotropic(f64([[1.5, 0.0]]), 0.5).on_grid(chain.grid)
    jumps = float(abs(chain.matrix.diagonal()).max())
    short, long = 0.4 * 1e3 / jumps, 1.2 * 1e3 / jumps
    stepped = p
    for _ in range(3):
        stepped = chain.propagate(stepped, short)
    assert chain.propagate(p, long).total_variation(stepped) < 1e-10
    assert chain.propagate(p, 1e12).total_variation(chain.stationary()) < 1e-10


def test_long_undamped_motion_is_right_or_refused(monkeypatch) -> None:
    """Cells that hand on what they hold, one after the other: no eigenvectors to speak of."""
    sde = sf.SDE(lambda x, t: 1 + 0 * x, None, 0.0, 1.0)
    chain = markov_generator(sde, Grid(0.0, 1.0, (400,)), estimate=False)
    mass = torch.zeros(400)
    mass[3] = 1.0
    p = Density(chain.grid, mass)
    assert float(chain.propagate(p, 0.5).mean()) == pytest.approx(3.5 / 400 + 0.5, abs=1e-6)
    assert float(chain.propagate(p, 5.0).mass[-1]) == pytest.approx(1.0, abs=1e-9)
    assert float(chain.propagate(p, 1e5).mass[-1]) == pytest.approx(1.0, abs=1e-9)
    monkeypatch.setattr(long_times, "MANY", 100.0)
    monkeypatch.setattr(long_times, "FEW", 100.0)
    with pytest.raises(SdeflowError, match="hardly damped"):
        chain.propagate(p, 0.5)
