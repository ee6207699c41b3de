"""Noising: the forward process, step by step and at once (F1 to F8).

Where the lecture shows digits, an image here has two pixels: it is a point in the plane. DDPM's
step, with 1000 betas from 1e-4 to 0.02, is

    q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I).

A measured number is said to differ from another if it lies four standard errors away.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from scipy import stats
from torch import Tensor

from benchmarks.claims.ledger import Finding, Lab, claim
from benchmarks.claims.setting import BOARD, SPIRAL
from sdeflow import plot, sdes
from sdeflow.analysis.elbo import gaussian_kl
from sdeflow.diagnostics.hypothesis import holm
from sdeflow.processes.schedules import EDM
from sdeflow.processes.tabulated import Tabulated
from sdeflow.random_streams import KeyedNormals, Stream
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.sde_solver import SDESolver

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
DDPM = Tabulated.from_betas(BETAS)
SURE = 4.0  # standard errors
PARTICLE = 75  # of the spiral: the point that the lecture diffuses
WALK, STRIDE = 100, 0.07  # steps of the lecture's walk, and standard deviation of each

IMAGES = SPIRAL.smooth(0.05)  # a law with a density
DIFFUSING = sdes.brownian(STRIDE**2 / 2, float(WALK))
HELD = sdes.langevin(sdes.harmonic(0.02), STRIDE**2 / 2, t_end=float(WALK))  # by a spring

Step = Callable[[Tensor, float, Tensor], Tensor]


def _step(x: Tensor, beta: float, z: Tensor) -> Tensor:
    """One step of DDPM's forward chain."""
    return math.sqrt(1 - beta) * x + math.sqrt(beta) * z


def _normals(lab: Lab, n: int, stream: int = 0) -> Tensor:
    return KeyedNormals(lab.seed, Stream.MOTION, n, 2, torch.float64).draw(stream)


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


@claim(broken=lambda x: -IMAGES.log_prob(x))
def f1(lab: Lab, judge: Callable[[Tensor], Tensor] = IMAGES.log_prob) -> Finding:
    """The log density of an image falls in the mean at every further bit of noise.

    Says: a "magic API" scores an image, 0.9 or 0.98, and lower when it is damaged (001).
    Correction: in the mean only. A typical image is no mode of the density, so a small damage
    makes many a single one more likely. And a density is no probability: it may exceed one.
    Source: the exact density of the spiral, each point a Gaussian of width 0.05.
    """
    x0, eps = IMAGES.sample(4000, lab.seed), _normals(lab, 4000)
    sigmas = [0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
    score = torch.stack([judge(x0 + s * eps) for s in sigmas])
    fall = -score.diff(dim=0)
    surely = fall.mean(1) / (fall.std(1) / math.sqrt(len(x0)))

    def draw(fig: plot.Figure) -> None:
        ax = fig.subplots()
        low, high = torch.quantile(score, torch.tensor([0.1, 0.9]).double(), dim=1)
        ax.fill_between(sigmas, low, high, color=plot.GREY, alpha=0.35, lw=0, label="10 to 90 %")
        ax.plot(sigmas, score.mean(1), "o-", color=plot.BLUE, ms=3, label="mean of 4000")
        ax.set(xlabel=r"noise added, $\sigma$", ylabel=r"$\ln p(x_0 + \sigma z)$")
        ax.set_yscale("symlog", linthresh=10)
        ax.legend(loc="lower left")

    return Finding(
        "smallest fall of the mean of ln p between levels, in standard errors",
        float(surely.min()),
        "at least",
        SURE,
        "standard errors asked for",
        holds=float(surely.min()) > SURE,
        also={
            "ln p, clean": float(score[0].mean()),
            "ln p at noise 1": float(score[-1].mean()),
            "share of images that noise 0.02 makes likelier": float((fall[0] < 0).double().mean()),
        },
        draw=draw,
    )


@claim(broken=lambda x, beta, z: (1 - beta) * x + math.sqrt(beta) * z)
def f2(lab: Lab, step: Step = _step) -> Finding:
    """A thousand steps, one by one, have the mean and variance of one jump with alpha-bar.

    Says: a step is "Gaussian, mean sqrt(1-beta) x, variance beta I" (001, in our words).
    Source: Ho et al. 2020, eq. 4; every moment within four standard errors at seven times. The
    jump is that of `Tabulated`.
    """
    assert SPIRAL.distribution.points is not None
    n, x0 = 4000, SPIRAL.distribution.points[PARTICLE]
    noise = KeyedNormals(lab.seed, Stream.MOTION, n, 2, torch.float64)
    x, seen, worst = x0.expand(n, 2), [], 0.0
    for k, beta in enumerate(BETAS.tolist()):
        x = step(x, beta, noise.read(k))
        if k + 1 in (1, 3, 10, 30, 100, 300, 1000):
            c = DDPM(torch.tensor(k + 1.0, dtype=torch.float64))
            mean = (x.mean(0) - c.alpha * x0) / (c.sigma / math.sqrt(n))
            variance = (x.var(0) / c.sigma**2 - 1) / math.sqrt(2 / (n - 1))
            worst = max(worst, float(mean.abs().max()), float(variance.abs().max()))
            seen.append((k + 1, float(x[:, 1].mean()), float(x[:, 1].std())))

    def draw(fig: plot.Figure) -> None:
        ax, c = fig.subplots(), DDPM(torch.arange(1.0, 1001.0, dtype=torch.float64))
        count = np.arange(1, 1001)
        when, means, spreads = zip(*seen, strict=True)
        ax.plot(count, c.alpha * x0[1], color=plot.BLUE, label=r"$\sqrt{\bar\alpha}\,x_0$")
        ax.plot(count, c.sigma, color=plot.VERMILION, label=r"$\sqrt{1-\bar\alpha}$")
        ax.plot(when, means, "o", color=plot.BLUE, ms=4, label="mean, step by step")
        ax.plot(when, spreads, "s", color=plot.VERMILION, ms=4, label="spread, step by step")
        ax.set(xscale="log", xlabel="step", ylabel="right pixel", ylim=(-0.1, 1.5))
        ax.legend(loc="upper left", ncols=2)

    return Finding(
        "largest deviation of a mean or a variance, in standard errors",
        worst,
        "at most",
        SURE,
        "standard errors allowed",
        holds=worst < SURE,
        also={"alpha-bar after 1000 steps": float(torch.cumprod(1 - BETAS, 0)[-1])},
        draw=draw,
    )


@claim(broken=lambda x, beta, z: x + math.sqrt(beta) * z)
def f3(lab: Lab, step: Step = _step) -> Finding:
    """A step with beta 0 gives the image back, bit for bit, and one with beta 1 only noise.

    Says: beta 0 gives "the same image", beta 1 gives "pure noise" (001).
    Source: N(0, 1) by the test of Kolmogorov and Smirnov, each pixel of ten clouds, the p-values
    after Holm: a sound step fails in one seed of a thousand.
    """
    x, z = BOARD.sample(4000, lab.seed, torch.float64), [_normals(lab, 4000, k) for k in range(10)]
    change = max(float((step(x, 0.0, each) - x).abs().max()) for each in z)
    noise = torch.cat([step(x, 1.0, each) for each in z], 1)
    p = min(holm([float(stats.kstest(row.numpy(), "norm").pvalue) for row in noise.T]))
    return Finding(
        "smallest p-value of N(0, 1) at beta 1, of two pixels and ten clouds",
        p,
        "at least",
        1e-3,
        "level of the test",
        holds=change == 0.0 and p > 1e-3,
        also={
            "largest change at beta 0": change,
            "mean at beta 1": float(noise.mean()),
            "standard deviation at beta 1": float(noise.std()),
        },
    )


@claim(broken=0.1)
def f4(lab: Lab, shared: float = 0.0) -> Finding:
    """The noise of two pixels is independent, though the pixels of the data are not.

    Says: "covariance beta I: pixels independent" (001, in our words).
    Source: the standard error of a correlation that is zero, 1 / sqrt(n). `shared` is the part of
    the noise's variance that both pixels have in common.
    """
    n, beta = 20_000, 0.1
    z = math.sqrt(1 - shared) * _normals(lab, n) + math.sqrt(shared) * _normals(lab, n, 1)[:, :1]
    x0 = BOARD.sample(n, lab.seed, torch.float64)
    noise = (_step(x0, beta, z) - math.sqrt(1 - beta) * x0) / math.sqrt(beta)
    data, straight = _correlation(*x0.T), _correlation(*noise.T)
    squares = _correlation(*(noise**2).T)
    floor = SURE / math.sqrt(n)
    return Finding(
        "correlation between the noise of the two pixels",
        straight,
        "at most",
        floor,
        "four standard errors",
        holds=max(abs(straight), abs(squares)) < floor < abs(data),
        also={
            "correlation of the data": data,
            "correlation of the squares of the noise": squares,
            "variance of the noise / beta": float(noise.var()),
        },
    )


@claim(broken=0.5)
def f5(lab: Lab, memory: float = 0.0) -> Finding:
    """The chain forgets: where it goes next does not depend on where it was before.

    Says: a "Markov process with Gaussian transitions", of "a thousand steps" (001).
    Source: the partial correlation of x_{t+1} and x_{t-1} given x_t, whose standard error is
    1 / sqrt(n); at the end KL to N(0, I), bounded by its mean over x_0. `memory` is the part of
    the last step's noise that comes again.
    """
    n = 10_000
    x0 = SPIRAL.sample(n, lab.seed, torch.float64)
    noise = KeyedNormals(lab.seed, Stream.MOTION, n, 2, torch.float64)
    x, z, worst = [x0], torch.zeros_like(x0), 0.0
    for k, beta in enumerate(BETAS.tolist()):
        z = memory * z + math.sqrt(1 - memory**2) * noise.read(k)
        x = [*x[-2:], _step(x[-1], beta, z)]
        if k + 1 in (2, 30, 300, 1000):
            for before, now, after in zip(*(v.T for v in x), strict=True):
                r = torch.corrcoef(torch.stack([before, now, after])).inverse()
                worst = max(worst, abs(float(r[0, 2] / torch.sqrt(r[0, 0] * r[2, 2]))))
    c = DDPM(torch.tensor(1000.0, dtype=torch.float64))
    end = gaussian_kl(c.alpha * x0, c.sigma**2, torch.zeros_like(x0), 1.0)
    floor = SURE / math.sqrt(n)
    return Finding(
        "largest partial correlation of x_{t+1} with x_{t-1}, x_t given",
        worst,
        "at most",
        floor,
        "four standard errors",
        holds=worst < floor and float(end.mean()) < 1e-3,
        also={
            "KL of the end to N(0, I), at most (nats)": float(end.mean()),
            "variance at the end": float(x[-1].var()),
        },
    )


@claim(broken=HELD)
def f6(lab: Lab, law: SDE = DIFFUSING) -> Finding:
    """Noise is a random walk: the mean square distance grows as the number of steps.

    Says: "our point goes on a random walk" (000, 003).
    Source: Brownian motion, 2 s^2 per step in the plane for steps of standard deviation s; the
    slope of a line through 0, with the standard error over walkers. The lecture's walk has 100
    steps of 0.07 from point 75.
    """
    assert SPIRAL.distribution.points is not None
    x = SPIRAL.distribution.points[PARTICLE].expand(10_000, 2)
    walk = SDESolver("euler", WALK, seed=lab.seed).solve(law, x, WALK + 1).x - x
    square = (walk**2).sum(2) / (2 * STRIDE**2)
    k = torch.arange(WALK + 1, dtype=torch.float64)
    slopes = (square * k[:, None]).sum(0) / (k**2).sum()
    slope, error = float(slopes.mean()), float(slopes.std() / math.sqrt(len(x)))
    line = square.mean(1)
    fine = SDESolver("euler", 4 * WALK, seed=lab.seed + 1).solve(law, x, 1).x[-1] - x

    def draw(fig: plot.Figure) -> None:
        left, right = fig.subplots(1, 2)
        for j in range(5):
            left.plot(*(walk[:, j] + x[0]).T, color=plot.GREY, lw=0.5)
        left.plot(*(walk[:, 5] + x[0]).T, color=plot.BLUE, lw=0.9)
        left.plot(*x[0], "o", color=plot.VERMILION, ms=4)
        left.set(aspect="equal", xlabel="x", ylabel="y", title="six walks")
        right.plot(k, 2 * STRIDE**2 * k, color=plot.BLACK, lw=0.8, label=r"$2 s^2 k$")
        right.plot(
            k[::5], 2 * STRIDE**2 * line[::5], "o", ms=3, color=plot.BLUE, label="10,000 walks"
        )
        right.set(xlabel="steps k", ylabel="mean square distance")
        right.legend(loc="upper left")

    return Finding(
        "mean square distance per step / 2 s^2",
        slope,
        "about",
        1.0,
        "Brownian motion; within four standard errors",
        holds=abs(slope - 1) < SURE * error and _correlation(k, line) ** 2 > 0.999,
        also={
            "standard error": error,
            "R^2 of the line": _correlation(k, line) ** 2,
            "the same at four times as many steps, half as long": float(
                (fine**2).sum(1).mean() / (2 * STRIDE**2 * WALK)
            ),
        },
        draw=draw,
        size=(7.0, 2.8),
    )


@claim(broken=lambda mean, variance, z: mean + variance[:, None] * z)
def f7(
    lab: Lab,
    drawn: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda mean, variance, z: EDM(
        t_min=0.0
    ).perturb(mean, variance.sqrt(), z),
) -> Finding:
    """To draw from N(m, v), a standard normal is multiplied by the root of the variance.

    Says: draw from N(0, 1), then "multiply it by the variance" (001).
    Correction: it is the standard deviation. Where the variance is one the two are the same, so a
    test at beta = 1 alone does not see the slip.
    Source: the exponent a in spread = variance^a over four decades; what was said is a = 1.
    """
    n = 4000
    variance = torch.logspace(-4, 0, 9, dtype=torch.float64)
    mean = torch.tensor([[0.5, -0.5]], dtype=torch.float64).expand(n, 2)
    each = [drawn(mean, v.expand(n), _normals(lab, n, k)) for k, v in enumerate(variance)]
    spread = torch.stack([x.std(0).pow(2).mean().sqrt() for x in each])
    fit = stats.linregress(torch.log(variance).numpy(), torch.log(spread).numpy())
    # ln of a standard deviation from 2 n numbers has the standard error 1 / sqrt(4 n).
    error = 1 / math.sqrt(4 * n) / float(torch.log(variance).std(correction=0) * 3)
    return Finding(
        "exponent of the variance that a standard normal is multiplied by",
        float(fit.slope),
        "about",
        1.0,
        "what was said; within four standard errors",
        holds=abs(float(fit.slope) - 1) < SURE * error,
        also={
            "standard error of the exponent": error,
            "spread at variance 1e-4": float(spread[0]),
        },
    )


@claim(broken=lambda strip: strip.T.reshape(-1, 2))
def f8(lab: Lab, read: Callable[[np.ndarray], np.ndarray] = lambda strip: strip) -> Finding:
    """A point of the unit square is an image of two pixels, and comes back from one.

    Says: an image of two pixels is a point: black and white "at (0, 1)", white "at (1, 1)" (001,
    in our words).
    Source: a PNG has 255 steps of grey, so a point comes back to half a step.
    """
    corners = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
    x = torch.cat([corners, (SPIRAL.sample(500, lab.seed, torch.float64) + 1.2) / 2.4])
    file = io.BytesIO()
    Image.fromarray((255 * x).round().to(torch.uint8).numpy(), "L").save(file, "PNG")
    grey = read(np.asarray(Image.open(file)))  # one image in each row: left pixel, right pixel
    off = torch.from_numpy(grey / 255.0) - x
    exact = bool((off[:4] == 0).all())

    def draw(fig: plot.Figure) -> None:
        ax = fig.subplots()
        plot.cloud(ax, x[4:], size=3)
        for point in [*corners, x[4], x[5], x[6]]:
            here, there = float(point[0]), float(point[1])
            ax.imshow(
                [point.tolist()], cmap="gray", vmin=0, vmax=1, zorder=3,
                extent=(here - 0.06, here + 0.06, there - 0.03, there + 0.03),
            )  # fmt: skip
            ax.plot(
                here + 0.06 * np.array([-1, 1, 1, -1, -1]),
                there + 0.03 * np.array([-1, -1, 1, 1, -1]),
                color=plot.VERMILION, lw=0.8, zorder=4,
            )  # fmt: skip
        ax.set(xlim=(-0.1, 1.1), ylim=(-0.1, 1.1), xlabel="left pixel", ylabel="right pixel")
        ax.set_aspect("equal")

    return Finding(
        "largest distance between a pixel and the point it was written from",
        float(off.abs().max()),
        "at most",
        0.5 / 255,
        "half a step of grey",
        holds=exact and float(off.abs().max()) <= 0.5 / 255 + 1e-12,
        also={"images": float(len(x))},
        draw=draw,
    )
