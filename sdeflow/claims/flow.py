r"""Flow matching (M1 to M12).

The lecture's clock runs from noise, t = 0, to data, t = 1; ours, and that of the other lectures,
the other way. So its path and its velocity are, in our symbols,

    x_t = (1 - t) x_0 + t x_1,    u = dx_t / dt = x_1 - x_0 = -v(x, 1 - t),

x_0 noise and x_1 data. In this module t is the lecture's where a formula of the lecture is quoted,
and `theirs` is the one place where clocks are changed. The checkerboard is the continuous one, and
its field exact, unless a network is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sdeflow import datasets, order, plot, train
from sdeflow.claims.ledger import Finding, Lab, claim
from sdeflow.claims.setting import BOARD, FLOW, board, exact
from sdeflow.field import BayesField, EmpiricalField, LearnedField
from sdeflow.likelihood import log_likelihood
from sdeflow.network import MLP
from sdeflow.noise import KeyedNormals, Purpose, generator, normals
from sdeflow.prediction import Prediction, encode
from sdeflow.process import Cosine, Linear, Process
from sdeflow.sde import reverse
from sdeflow.solve import ODESolver

SURE = 4.0  # standard errors
TRUTH = board()
ONE_SQUARE = TRUTH.given(0)

Clock = Callable[[Tensor], Tensor]


def theirs(t: Tensor) -> Tensor:
    """Our time of the lecture's t, and the lecture's of ours."""
    return 1 - t


def _normals(lab: Lab, n: int, stream: int = 0) -> Tensor:
    return KeyedNormals(lab.seed, Purpose.PROBE, n, 2, torch.float64).draw(stream)


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@claim(broken=lambda t: t)
def m1(lab: Lab, clock: Clock = theirs) -> Finding:
    """The path is the straight line from noise to data, and its velocity data minus noise.

    Says: a linear interpolation, "t 0 = noise, t 1 = data", its derivative "x1 - x0" (002, in our
    list's words).
    Correction: the clock runs against that of the other lectures, where t = 0 is data. Read in
    one clock, the two agree.
    Source: a difference over a quarter of the path, which for a straight line is exact.
    """
    noise, data = _normals(lab, 1000), BOARD.sample(1000, lab.seed, torch.float64)
    starts, h = (0.1, 0.3, 0.6), 0.25
    off = 0.0
    for t in starts:
        near, far = (FLOW.perturb(data, clock(_number(s)), noise) for s in (t, t + h))
        off = max(off, float(((far - near) / h - (data - noise)).abs().max()))
    c = FLOW(_number(0.5))
    row = encode(Prediction.VELOCITY.row(c), data, noise)
    floor = 16 * torch.finfo(torch.float64).eps * float(data.abs().max()) / h
    return Finding(
        "largest difference between the path's slope and x1 - x0",
        off,
        floor,
        "rounding",
        holds=off < floor,
        also={
            "largest difference between x1 - x0 and minus our velocity row": float(
                (row + data - noise).abs().max()
            )
        },
    )


@claim(broken=1.0)
def m2(lab: Lab, eta: float = 0.0) -> Finding:
    """Score, log density and flow tell the same: the velocity carries the density.

    Says: three routes, "score, negative log, flow", with "u_t, phi_t, p_t" (002, in our list's
    words).
    Source: the continuity equation d ln p / dt + v . grad ln p + div v = 0 by autograd, at five
    times on the checkerboard. eta = 1 is the drift of the reverse SDE, which carries the density
    only together with its noise.
    """
    worst, score, size = 0.0, 0.0, 0.0
    law, data = reverse(TRUTH, eta), BOARD.sample(200, lab.seed, torch.float64)
    for t in (0.1, 0.3, 0.5, 0.7, 0.9):
        x = FLOW.perturb(data, _number(t), _normals(lab, 200)).requires_grad_()
        when = torch.full((200,), t, dtype=torch.float64, requires_grad=True)
        slope, rate = torch.autograd.grad(TRUTH.log_prob(x, when).sum(), (x, when))
        v = law.drift(x, _number(t))
        rows = [torch.autograd.grad(v[:, i].sum(), x, retain_graph=True)[0][:, i] for i in (0, 1)]
        residue = rate + (v.detach() * slope).sum(1) + rows[0] + rows[1]
        worst = max(worst, float(residue.abs().max()))
        score = max(score, float((slope - TRUTH.score(x.detach(), t)).abs().max()))
        size = max(size, float(rate.abs().max()))
    some = board(Linear(t_min=0.1))
    x = some.process.perturb(data[:50], _number(0.1), _normals(lab, 50))
    carried = log_likelihood(some, x, ODESolver(), lambda z: some.log_prob(z, some.process.t_max))
    return Finding(
        "largest d ln p / dt + v . grad ln p + div v, over the largest |d ln p / dt|",
        worst / size,
        1e-9,
        "rounding of derivatives, allowed",
        holds=max(worst, score) < 1e-9 * size,
        also={
            "largest |d ln p / dt|": size,
            "largest difference between the score and grad ln p": score,
            "largest difference between ln p and what the flow carries, tolerance 1e-5": float(
                (carried - some.log_prob(x, 0.1)).abs().max()
            ),
        },
    )


def _squares(order: int) -> tuple[Tensor, Tensor]:
    """Nodes (m, 2) and weights (m,) of Gauss-Legendre in every square of the board."""
    assert BOARD.tiles is not None
    row, column, share = BOARD.tiles.filled()
    u, w = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(order))
    corner = BOARD.tiles.low + BOARD.tiles.side * torch.stack([column, row], 1)
    inside = BOARD.tiles.side * (torch.cartesian_prod(u, u) + 1) / 2
    points = (corner[:, None] + inside).reshape(-1, 2)
    return points, (share[:, None] * torch.outer(w, w).reshape(1, -1) / 4).reshape(-1)


Weigh = Callable[[Tensor, Tensor], Tensor]


def _posterior(prior: Tensor, likelihood: Tensor) -> Tensor:
    """p(x1) p_t(x | x1) / p_t(x): prior (m,), ln likelihood (n, m)."""
    return torch.softmax(torch.log(prior) + likelihood, 1)


@claim(broken=lambda prior, likelihood: prior.expand_as(likelihood))
def m3(lab: Lab, weigh: Weigh = _posterior) -> Finding:
    """The field is the average of the fields to single data points, each by its probability.

    Says: u_t(x) is the average of u_t(x | x1), weighted by "p_t(x | x1) p(x1) / p_t(x)" (002, in
    our list's words).
    Source: Lipman et al. 2023, eq. 8. The average by Gauss-Legendre quadrature over the board,
    against its field in closed form; ours has the other sign.
    """
    points, prior = _squares(40)
    off = {}
    for t in (0.2, 0.5, 0.8):
        x = t * BOARD.sample(100, lab.seed, torch.float64) + (1 - t) * _normals(lab, 100)
        likelihood = -(torch.cdist(x, t * points) ** 2) / (2 * (1 - t) ** 2)
        toward = (
            weigh(prior, likelihood) @ points
        )  # sum of w x1, so the mean of (x1 - x) / (1 - t)
        off[t] = float(((toward - x) / (1 - t) + board().velocity(x, 1 - t)).abs().max())
    return Finding(
        "largest difference between the average and the closed form",
        max(off.values()),
        1e-6,
        "quadrature, allowed",
        holds=max(off.values()) < 1e-6,
        also={f"at t = {t}": value for t, value in off.items()},
    )


@claim(broken=lambda t: t)
def m4(lab: Lab, clock: Clock = theirs) -> Finding:
    """The nearer to data, the fewer data points a place may have to do with.

    Says: a far-off data point is "plausible at 0.2, not at 0.8" (002, in our list's words).
    Source: the effective number of points 1 / E sum w^2 of 1000 draws, w their probabilities
    given x_t; and for one place and one point the p-value of a normal as far away.
    """
    points, times = BOARD.sample(1000, lab.seed, torch.float64), torch.arange(1, 10) / 10
    ours = clock(times.double())
    order_of = torch.argsort(ours)
    ratio = (ours / (1 - ours))[order_of]
    shared = order.participation(exact(FLOW, datasets.from_points(points)), ratio, 1000, lab.seed)
    number = torch.empty_like(ratio)
    number[order_of] = 1 / shared.value
    here, there = torch.tensor([[0.8, -0.8]]).double(), torch.tensor([[-1.0, 1.0]]).double()

    def plausible(t: float) -> float:
        c = FLOW(clock(_number(t)))
        return math.exp(-float((((here - c.alpha * there) / c.sigma) ** 2).sum()) / 2)

    def draw(fig: plot.Figure) -> None:
        for ax, t in zip(fig.subplots(1, 2), (0.2, 0.8), strict=True):
            far = -(((here - t * points) / (1 - t)) ** 2).sum(1) / 2
            w = torch.softmax(far, 0) * len(points)
            plot.frame(ax, 4.3, f"t = {t}: {float(len(w) ** 2 / (w**2).sum()):.0f} of 1000 points")
            plot.cloud(ax, points, colour=plot.GREY, size=1)
            ax.scatter(*points.T, s=3 * w.clamp(0, 12), color=plot.BLUE, lw=0)
            ax.plot(*here[0], "x", color=plot.VERMILION, ms=6, mew=1.5)

    return Finding(
        "effective number of data points at t = 0.8",
        float(number[7]),
        float(number[1]),
        "the number at t = 0.2",
        holds=bool((number.diff() < 0).all()) and plausible(0.8) < 0.05 < plausible(0.2),
        also={
            "p-value of (-1, 1) at (0.8, -0.8), t = 0.2": plausible(0.2),
            "the same at t = 0.8": plausible(0.8),
        },
        draw=draw,
        size=(3.4, 1.9),
    )


def _surely(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the rows of x (n, k), and its standard error, (k,)."""
    return x.mean(0), x.std(0) / math.sqrt(len(x))


@claim(broken=ONE_SQUARE)
def m5(lab: Lab, marginal: BayesField = TRUTH) -> Finding:
    """Regressing on x1 - x0 has the gradient of regressing on the true field.

    Says: the two objectives, "flow matching and conditional flow matching", have the same
    gradient (002, in our list's words).
    Source: Lipman et al. 2023, theorem 2: both gradients in 100 batches of 256, paired, along ten
    random directions of the parameters, for two networks. The losses differ by a constant, the
    irreducible loss, 3.374 +- 0.009 per coordinate (EXPERIMENTS.md, section 10).
    """
    batches, size = 100, 256
    n = batches * size
    data, noise = BOARD.sample(n, lab.seed, torch.float64), _normals(lab, n)
    u = torch.from_numpy(generator(lab.seed, Purpose.TRAINING).random(n))
    t = train.uniform_time(FLOW, u)
    x = FLOW.perturb(data, t, noise)
    truth = marginal.velocity(x, t)
    apart, slopes = torch.zeros(n, 2, dtype=torch.float64), []
    for k in range(2):
        field = LearnedField(FLOW, _wild_network(lab.seed + k), Prediction.VELOCITY)
        weights = list(field.network.parameters())
        for rows in torch.arange(n).split(size):
            conditional = train.loss(field, data[rows], t[rows], noise[rows])
            regressed = ((field.velocity(x[rows], t[rows]) - truth[rows]) ** 2).mean(1)
            apart[rows, k] = (conditional - regressed).detach()
            slopes += [_slopes(conditional.mean(), weights), _slopes(regressed.mean(), weights)]
    conditional, regressed = torch.stack(slopes).reshape(2, batches, 2, -1).unbind(2)
    off, error = _surely((conditional - regressed).transpose(0, 1).flatten(1))
    worst = float((off / error).abs().max())
    change, doubt = _surely(apart[:, :1] - apart[:, 1:])
    constant, unsure = _surely(apart[:, :1])

    def draw(fig: plot.Figure) -> None:
        ax = fig.subplots()
        a, b = conditional.mean(1).flatten(), regressed.mean(1).flatten()
        ends = [float(torch.cat([a, b]).min()), float(torch.cat([a, b]).max())]
        ax.plot(ends, ends, color=plot.GREY, lw=0.8, label="equal")
        ax.errorbar(
            b, a, SURE * error.reshape(-1), fmt="o", ms=3, color=plot.BLUE, lw=0.8,
            label="ten directions, two networks",
        )  # fmt: skip
        ax.set(xlabel="slope of the flow matching loss", ylabel="slope of the conditional loss")
        ax.legend(loc="upper left")

    return Finding(
        "largest difference of the slopes of the two losses, in standard errors",
        worst,
        SURE,
        "standard errors allowed",
        holds=worst < SURE
        and abs(float(change)) < SURE * float(doubt)
        and abs(float(constant) - 3.374) < SURE * math.hypot(float(unsure), 0.009),
        also={
            "loss difference per coordinate": float(constant),
            "its standard error": float(unsure),
            "change of the difference between two networks, in standard errors": float(
                change / doubt
            ),
            "largest slope": float(conditional.mean(1).abs().max()),
        },
        draw=draw,
    )


def _wild_network(seed: int) -> MLP:
    """A small network that is not zero, as a fresh one of ours would be."""
    network = MLP(width=32, depth=2, waves=8, seed=seed)
    weight = KeyedNormals(seed, Purpose.WEIGHTS, 2, 32, torch.float32).draw(1)
    with torch.no_grad():
        network.last.weight.copy_(weight)
    return network


def _slopes(value: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Along ten random directions of all weights, (10,)."""
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, weights)]).double()
    directions = normals(0, Purpose.CHOICE, len(gradient), 10, torch.float64)
    return gradient @ directions / math.sqrt(len(gradient))


@claim(broken=Cosine())
def m6(lab: Lab, process: Process = FLOW) -> Finding:
    """The flow to one data point x1 takes x0 along a straight line: mean t x1, spread 1 - t.

    Says: sigma_t = 1 - t and mu_t = t x1, a "canonical transformation" (002).
    Source: the field of one point, run by Euler's method: eight steps of a straight line are
    exact. The interpolation of other methods, here the cosine's, is an alternative, and curved.
    """
    x1 = torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    field, x0 = EmpiricalField(process, x1), _normals(lab, 4000)
    times = torch.linspace(FLOW.t_max, FLOW.t_min, 9, dtype=torch.float64)
    start = FLOW.perturb(x1.expand_as(x0), times[0], x0)
    path = ODESolver("euler", times=times).solve(reverse(field, 0.0), start, save=9)
    t = theirs(path.t)[:, None, None]
    off = float((path.x - (t * x1 + (1 - t) * x0)).abs().max())
    mean = (path.x.mean(1) - t[:, 0] * x1) / (1 - t[:, 0]) * math.sqrt(len(x0))
    spread = (path.x.std(1) / (1 - t[:, 0]) - 1) * math.sqrt(2 * len(x0))
    worst = max(float(mean.abs().max()), float(spread.abs().max()))

    def draw(fig: plot.Figure) -> None:
        ax, s = fig.subplots(), torch.linspace(0.999, 0.001, 100, dtype=torch.float64)
        for row, z in enumerate(x0[:6]):
            for way, colour, name in (
                (FLOW, plot.BLUE, "linear"),
                (Cosine(), plot.VERMILION, "cosine"),
            ):
                c = way(s)
                line = c.alpha[:, None] * x1 + c.sigma[:, None] * z
                ax.plot(*line.T, color=colour, lw=1, label=name if row == 0 else None)
        ax.plot(*x1[0], "o", color=plot.BLACK, ms=4)
        ax.set(xlabel="x", ylabel="y", aspect="equal")
        ax.legend(loc="lower left")

    floor = 1e-12
    return Finding(
        "largest distance of the flow from (1 - t) x0 + t x1",
        off,
        floor,
        "rounding, allowed",
        holds=off < floor and worst < SURE,
        also={"largest deviation of mean and spread, in standard errors": worst},
        draw=draw,
    )
