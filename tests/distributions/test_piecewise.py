"""Piecewise constant densities: exact field and cell masses, by quadrature, counts and scipy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import sdeflow as sf
from sdeflow._blocks import ROWS
from sdeflow.distributions.piecewise import SQUARES, PiecewiseConstant
from sdeflow.processes.process import Coefficients
from tests.problems import close, f64, randn, times_of


def six_squares() -> PiecewiseConstant:
    """Two rows and three columns, one empty, of unequal weights, off centre: no symmetry."""
    weights = f64([[1.0, 0.0, 0.5], [0.25, 2.0, 0.125]])
    return PiecewiseConstant(f64([-0.9, 0.2]), 0.7, weights)


def field(process: sf.processes.Process) -> sf.ExactField:
    return sf.ExactField(process, six_squares())


def cloud(process: sf.processes.Process, t: Tensor, n: int = 15) -> Tensor:
    """Points where x_t has density, and further out."""
    c = process(t)
    return 1.3 * (c.alpha * field(process).sample(n, 3) + c.sigma * randn(n, 2, seed=4))


def nodes(squares: PiecewiseConstant, order: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre in every square: points (m, 2) and their probabilities (m,)."""
    u, w = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(order))
    row, column, share = squares.filled()
    u, w = (u + 1) / 2 * squares.side, w / 2
    inside = torch.cartesian_prod(u, u)
    corner = squares.low + squares.side * torch.stack([column, row], 1).double()
    points = (corner[:, None] + inside).reshape(-1, 2)
    return points, (share[:, None] * torch.outer(w, w).reshape(1, -1)).reshape(-1)


def test_posterior_equals_bayes_rule_by_quadrature(process: sf.processes.Process) -> None:
    """E[. | x] with weights p_t(x | x_0) p(x_0) / p_t(x), by quadrature over x_0."""
    known, (points, weights) = field(process), nodes(six_squares(), 60)
    for t in times_of(process, 8):
        c = process(t)
        if float(c.sigma / c.alpha) < 0.08:
            continue  # finer than the nodes; tested on one square below
        x = cloud(process, t)
        eps = (x[:, None] - c.alpha * points) / c.sigma
        height = weights * torch.exp(-(eps**2).sum(-1) / 2) / (2 * torch.pi * c.sigma**2)
        p = height.sum(1)
        w = (height / p[:, None])[..., None]
        x0_hat, eps_hat = (w * points).sum(1), (w * eps).sum(1)
        spread = (w * (points - x0_hat[:, None]) ** 2).sum((1, 2))
        x0, noise, variance = known.posterior(x, c)
        assert close(noise, eps_hat, 1e-9)
        assert close(x0, x0_hat, 1e-9)
        assert close(variance, spread, 1e-9)
        assert close(known.log_prob(x, t), torch.log(p), 1e-9)
        velocity = c.alpha_dot * x0_hat + c.sigma_dot * eps_hat
        assert close(known.velocity(x, t), velocity, 1e-9)


def test_score_is_the_gradient_of_the_log_density(process: sf.processes.Process) -> None:
    """At every noise level, by autograd; and the slope of x0_hat is the conditional variance."""
    known = field(process)
    for t in times_of(process, 6):
        c, x = process(t), cloud(process, t, 6).requires_grad_()
        score = torch.autograd.grad(known.log_prob(x, t).sum(), x)[0]
        jacobian = torch.autograd.functional.jacobian(lambda x, t=t: known.data(x, t), x)
        x = x.detach()
        assert close(known.score(x, t), score, 1e-7)
        trace = torch.einsum("nini->n", jacobian)
        want = c.alpha / c.sigma**2 * known.posterior(x, c).data_variance
        assert close(trace, want, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_field_on_the_edge_of_a_square_is_that_beside_it(dtype: torch.dtype) -> None:
    """At a coordinate equal to an edge, as the corners of a grid are, the field does not jump."""
    squares = PiecewiseConstant(f64([-1.0, -0.5]), 0.5, f64([[1.0, 0.0, 0.5], [0.2, 2.0, 0.1]]))
    for sigma in (0.3, 1.0):
        x = torch.tensor([[-1.0, 0.0], [-0.5, 0.2], [0.0, 0.0], [0.0, -0.5]], dtype=dtype)
        ask = squares.noise_mean(1.0, sigma, x)
        off = 1e-6 if dtype == torch.float32 else 1e-9
        assert close(ask(x), ask(x + off), rtol=100 * off)
        known = squares.posterior(x.double(), 1.0, sigma).noise
        assert close(ask(x).double(), known, rtol=1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("sigma", [0.002, 0.05, 1.0, 20.0])
def test_posterior_of_one_square_is_a_truncated_normal(sigma: float) -> None:
    """Against scipy's truncated normal; in the square, at its edges, and far away from it."""
    process, squares = sf.EDM(), PiecewiseConstant(f64([-1.0, 0.5]), 1.5, f64([[2.0]]))
    x = f64([[-0.2, 1.0], [-1.0, 2.0], [0.501, 0.4999], [-1.0 - 9 * sigma, 2.0 + 20 * sigma]])
    known = sf.ExactField(process, squares).posterior(x, process(f64(sigma)))
    total = torch.zeros(4, dtype=torch.float64)
    for i in range(2):
        low = float(squares.low[i])
        cut = stats.truncnorm(
            (low - x[:, i]) / sigma, (low + 1.5 - x[:, i]) / sigma, x[:, i], sigma
        )
        assert close(known.data[:, i], torch.as_tensor(cut.mean()), 1e-9)
        total += torch.as_tensor(cut.var())
    assert ((known.data_variance - total).abs() < 1e-5 * total).all()


@pytest.mark.parametrize("sigma", [0.002, 0.05, 1.0, 20.0])
def test_posterior_in_float32_is_accurate_near_and_far_away(sigma: float) -> None:
    """The same bits of x in both types; 500 sigma off, x0_hat is the nearest corner."""
    known = field(sf.EDM())
    near = known.sample(300, 1).float() + sigma * randn(300, 2, dtype=torch.float32)
    c = sf.EDM()(f64(sigma))
    for single, double in zip(
        known.posterior(near, c), known.posterior(near.double(), c), strict=True
    ):
        assert single.dtype == torch.float32
        assert close(single.double(), double, 1e-6)
    far = torch.tensor([[-0.9, 0.2], [1.2, 1.6]]) + 500 * sigma * torch.tensor(
        [[-1.0, -1.0], [1.0, 1.0]]
    )
    corner = f64([[-0.9, 0.2], [1.2, 1.6]])
    assert float((known.data(far, sigma).double() - corner).abs().max()) < sigma / 400


def test_fields_of_squares_average_to_the_field_of_all() -> None:
    """x0_hat = sum_k P(k | x) x0_hat_k, P from the densities of the squares alone."""
    process, squares = sf.Linear(), six_squares()
    known, share = sf.ExactField(process, squares), squares.filled()[2]
    t, x = f64(0.4), randn(9, 2)
    alone = [known.given(k) for k in range(len(share))]
    logits = torch.stack(
        [torch.log(w) + f.log_prob(x, t) for w, f in zip(share, alone, strict=True)]
    )
    assert close(torch.logsumexp(logits, 0), known.log_prob(x, t), 1e-11)
    mean = (torch.softmax(logits, 0)[..., None] * torch.stack([f.data(x, t) for f in alone])).sum(
        0
    )
    assert close(mean, known.data(x, t), 1e-11)
    drawn, which = squares.sample_labelled(500, 2)
    assert torch.equal(drawn, known.sample(500, 2))
    for k in range(len(share)):
        assert torch.allclose(alone[k].sample(50, 0).mean(0), drawn[which == k].mean(0), atol=0.3)


# ------------------------------------------------------------------------------------- the lecture


def lecture() -> sf.ExactField:
    squares = sf.datasets.checkerboard().distribution
    assert squares is not None
    return sf.ExactField(sf.Linear(), squares)


def test_irreducible_loss_equals_that_of_the_lecture() -> None:
    """E |eps - x_0 - v|^2 / 2 over uniform t: 3.374 +- 0.009 (docs/sources.md, N7)."""
    known, n = lecture(), 4000
    x0, eps = known.sample(n, 1), randn(n, 2)
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    t = t.clamp(known.process.t_min, known.process.t_max)[torch.randperm(n)]
    c = known.process(t).along(x0)
    variance = known.posterior(known.process.perturb(x0, t, eps), c).data_variance
    each = variance / (2 * t**2)  # eps - x_0 = (x_t - x_0) / t at this x_t
    error = float(each.std()) / n**0.5
    assert abs(float(each.mean()) - 3.374) < 3 * (error**2 + 0.009**2) ** 0.5
    # and the loss itself, with the exact field in the network's place
    loss = ((eps - x0 - known.velocity(known.process.perturb(x0, t, eps), t)) ** 2).mean(1)
    off = loss - each
    assert abs(float(off.mean())) < 4 * float(off.std()) / n**0.5


def test_exact_flow_fills_the_squares_evenly() -> None:
    known, n = lecture(), 1000
    data = sf.datasets.checkerboard()
    x = known.process.prior(n, 2, 0)
    times = torch.linspace(0.999, 0.001, 101, dtype=torch.float64)
    end = sf.ODESolver("euler", times=times).solve(sf.reverse(known, 0.0), x).x[-1]
    where = data.cell(end)
    assert float((where >= 0).double().mean()) > 0.99
    counts = torch.bincount(where[where >= 0], minlength=8).numpy()
    assert stats.chisquare(counts).pvalue > 1e-3


# ------------------------------------------------------------------------------------- cell masses


@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.3), (0.2, 0.9), (0.8, 0.05)])
def test_cell_masses_are_integrals_of_the_density(alpha: float, sigma: float) -> None:
    """Against Gauss-Legendre, 8 x 8 nodes a cell, over log_prob."""
    process = sf.EDM()
    grid = sf.Grid((-4.0, -4.5), (4.5, 5.0), (50, 64))
    mass = six_squares().on_grid(grid, alpha, sigma).mass
    u, w = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(8))
    offset = torch.cartesian_prod(u, u) * f64(grid.width) / 2
    x = (grid.centres()[:, None] + offset).reshape(-1, 2)
    wide = sf.ExactField(
        process, replace(six_squares(), low=alpha * six_squares().low, side=alpha * 0.7)
    )
    p = torch.exp(wide.log_prob(x, sigma)).reshape(-1, 64)
    want = (p @ torch.outer(w, w).reshape(-1)) * grid.volume / 4
    assert float((mass.reshape(-1) - want).abs().max()) < (1e-9 if sigma > 0.2 else 1e-5)
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-4)


def test_cell_masses_without_noise_are_areas() -> None:
    """Whole and half squares by hand; and the limit of little noise."""
    squares = six_squares()
    grid = sf.Grid((-0.9, 0.2), (1.2, 1.6), (12, 8))  # 4 x 4 cells a square
    mass = squares.on_grid(grid).mass
    want = (squares.weights / squares.weights.sum() / 16).T
    want = want.repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert close(mass, want, 1e-12)
    shifted = sf.Grid((-0.9 - 0.0875, 0.2), (1.2 + 0.0875, 1.6), (13, 8))  # half a cell over
    halves = squares.on_grid(shifted).mass
    padded = torch.cat([torch.zeros(1, 8), want, torch.zeros(1, 8)]).double()
    assert close(halves, (padded[:-1] + padded[1:]) / 2, 1e-12)
    off = [
        float((squares.on_grid(grid, 1.0, s, missing=0.1).mass - mass).abs().sum())
        for s in (2e-3, 1e-3)
    ]
    assert off[0] / off[1] == pytest.approx(2, rel=1e-3)  # an edge smears out over sigma


def test_cell_masses_agree_with_counts_of_draws(process: sf.processes.Process) -> None:
    """Pearson's test on 20,000 noised draws."""
    t = times_of(process, 3)[1]
    c, known = process(t), field(process)
    x = process.perturb(known.sample(20_000, 5), t, randn(20_000, 2, seed=6))
    half = 1.8 * float(c.alpha) + 5 * float(c.sigma)
    grid = sf.Grid((-half, -half), (half, half), (24, 24))
    mass = six_squares().on_grid(grid, float(c.alpha), float(c.sigma)).mass.reshape(-1)
    counts, outside = grid.count(x)
    keep = mass * 20_000 > 5
    seen = [*counts.reshape(-1)[keep].tolist(), int(counts.reshape(-1)[~keep].sum()) + outside]
    want = np.array([*mass[keep].tolist(), 1 - float(mass[keep].sum())]) * 20_000
    assert stats.chisquare(seen, want).pvalue > 1e-4


# --------------------------------------------------------------------------- bits, wrong arguments


def test_particle_gets_the_same_bits_in_any_cloud() -> None:
    known, x = field(sf.VP()), randn(2 * ROWS + 87, 2, dtype=torch.float32)
    for t in (0.02, 0.6):
        with torch.no_grad():
            c = Coefficients(*map(float, sf.VP()(f64(t))))
            whole = known.at(torch.tensor(t), c, x)(x)
            for k in (1, 101, ROWS, ROWS + 1):
                assert torch.equal(
                    known.at(torch.tensor(t), c, x[:k].clone())(x[:k].clone()), whole[:k]
                )
        each = torch.cat([known.data(x[i : i + 1], t) for i in range(5)])
        assert close(known.data(x[:5], torch.full((5,), t)), each, 1e-5)


def test_wrong_arguments_are_refused() -> None:
    side = int(SQUARES**0.5) + 1
    with pytest.raises(ValueError, match="shrink the picture"):
        sf.ExactField(sf.VP(), PiecewiseConstant(f64([0.0, 0.0]), 1.0, torch.ones(side, side)))
    with pytest.raises(ValueError, match="shrink the picture"):  # empty squares count too
        sf.ExactField(sf.VP(), PiecewiseConstant(f64([0.0, 0.0]), 1.0, torch.eye(side)))
    sf.ExactField(sf.VP(), PiecewiseConstant(f64([0.0, 0.0]), 1.0, torch.ones(SQUARES // 64, 64)))
    with pytest.raises(ValueError, match="label must be 0 to 4, one per square, got 5"):
        field(sf.VP()).given(5)
    with pytest.raises(TypeError, match="label must be a whole number"):
        field(sf.VP()).given(1.5)
    with pytest.raises(ValueError, match="squares need a grid of two dimensions"):
        six_squares().on_grid(sf.Grid((0.0,), (1.0,), (8,)))
    grid = sf.Grid((0.0, 0.0), (1.0, 1.0), (8, 8))
    with pytest.raises(ValueError, match="widen it"):
        six_squares().on_grid(grid)
    with pytest.raises(ValueError, match="alpha must be positive"):
        six_squares().on_grid(grid, 0.0)
