"""The reverse kernel, its bounds, and the score (R1 to R9).

What is exact is taken exactly: averages over `LINE`, a law on the line, are quadratures.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from benchmarks.claims.ledger import Finding, Lab, claim
from benchmarks.claims.setting import COVARIANCE, POINTS, SPIRAL, WIDE, exact, muted, our_field
from sdeflow import diagnostics, plot, training
from sdeflow.analysis.elbo import (
    Bound,
    KernelVariance,
    elbo,
    elbo_weights,
    gaussian_kl,
    large_variance,
    learned_variance,
    optimal_variance,
    small_variance,
)
from sdeflow.analysis.likelihood import decode, encode, log_likelihood
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP
from sdeflow.fields.prediction import Prediction, Row
from sdeflow.fields.prediction import decode as to_both
from sdeflow.processes.process import Coefficients, Process, Scalar
from sdeflow.processes.schedules import VP
from sdeflow.processes.tabulated import Tabulated
from sdeflow.processes.time_grids import log_snr_times, uniform_times
from sdeflow.random_streams import KeyedNormals, Stream, random_generator
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.sde_solver import SDESolver

PRESERVING = VP()
SURE = 4.0  # standard errors
ELSEWHERE = 10**6  # the noise of a step that no chain takes

Noise = Callable[[Tensor], Tensor]
"""ln of a density of mean 0 and variance 1."""


def line(weights: list[float], means: list[float], widths: list[float]) -> GaussianMixture:
    """A mixture on the line."""
    w, mu, s = (torch.tensor(v, dtype=torch.float64) for v in (weights, means, widths))
    return GaussianMixture(w, mu[:, None], s[:, None, None] ** 2)


LINE = line([0.5, 0.3, 0.2], [1.0, -0.8, 0.1], [0.2, 0.3, 0.1])


# -------------------------------------------------------------------------------- the reverse step


def gauss(z: Tensor) -> Tensor:
    """ln N(z; 0, 1)."""
    return -(z**2 + math.log(2 * math.pi)) / 2


def laplace(z: Tensor) -> Tensor:
    """ln of the two-sided exponential of variance 1."""
    return -math.sqrt(2) * z.abs() - math.log(2) / 2


Z = torch.linspace(-9, 9, 601, dtype=torch.float64)
GAP = float(Z[1] - Z[0])


def step_back(noise: Noise, v: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Where x (n,) came from by one step x = y + sqrt(v) z, y drawn from `LINE`.

    ln of the density of z given x on `Z`, (n, m), and ln of the density of x, (n,).
    """
    y = x[:, None] - math.sqrt(v) * Z
    both = LINE.log_prob(y.reshape(-1, 1)).reshape(y.shape) + noise(Z)
    log_p = torch.logsumexp(both, 1) + math.log(GAP)
    return both - log_p[:, None], log_p


def matched(log_q: Tensor) -> Tensor:
    """ln of the Gaussian on `Z` of the same mean and variance, (n, m)."""
    q = log_q.exp() * GAP
    mean = (q * Z).sum(1, keepdim=True)
    spread = (q * (Z - mean) ** 2).sum(1, keepdim=True).sqrt()
    return gauss((Z - mean) / spread) - torch.log(spread)


@claim(broken=laplace)
def r1(lab: Lab, noise: Noise = gauss) -> Finding:
    """One step back is a Gaussian up to the third order of the step, if the steps are Gaussian.

    Says: the reverse has "exactly the same functional form" (001) for "sufficiently small step
    sizes".
    Correction: at no finite step exactly. The divergence from the Gaussian of the same moments
    falls as the cube of the step's variance v, once sqrt(v) is small beside the data's features.
    Source: the third cumulant of p(y) N(x; y, v) is v^3 (ln p)''' to leading order; KL is a
    twelfth of the squared skewness. Quadrature; the noise of the steps is the subject.
    """
    x = torch.linspace(-3, 3, 201, dtype=torch.float64)
    steps, apart = [10 ** (-k / 2) for k in range(10)], []
    for v in steps:
        log_q, log_p = step_back(noise, v, x)
        each = (log_q.exp() * (log_q - matched(log_q))).sum(1) * GAP
        apart.append(float((each * log_p.exp()).sum() / log_p.exp().sum()))
    order = stats.linregress(torch.tensor(steps[-3:]).log10(), torch.tensor(apart[-3:]).log10())
    return Finding(
        "order in v of the divergence of one step back from a Gaussian",
        float(order.slope),
        "about",
        3.0,
        "theory; within 0.2",
        holds=abs(float(order.slope) - 3) < 0.2 and all(a > b > 0 for a, b in pairwise(apart)),
        also={
            f"divergence at v = {v:.0e} (nats)": a
            for v, a in list(zip(steps, apart, strict=True))[::2]
        },
        draw=lambda fig: _steps_back(fig, noise, steps, apart),
        size=(7.0, 2.6),
    )


def _steps_back(fig: plot.Figure, noise: Noise, steps: list[float], apart: list[float]) -> None:
    """The divergence against the step, and where one place came from by three steps."""
    ax, right = fig.subplots(1, 2)
    ax.loglog(steps, apart, "o-", color=plot.BLUE, ms=3, label="measured")
    cube = [apart[-1] * (v / steps[-1]) ** 3 for v in steps[4:]]
    ax.loglog(steps[4:], cube, "--", color=plot.BLACK, lw=0.8, label=r"$v^3$")
    ax.set(xlabel="variance $v$ of the step", ylabel="KL to a Gaussian (nats)")
    ax.legend(loc="lower right")
    at = torch.tensor([0.5], dtype=torch.float64)
    for v, colour in ((0.3, plot.VERMILION), (0.03, plot.ORANGE), (0.003, plot.BLUE)):
        log_q = step_back(noise, v, at)[0]
        right.plot(-Z, log_q[0].exp(), color=colour, label=f"$v$ = {v}")
        right.plot(-Z, matched(log_q)[0].exp(), ":", color=colour)
    right.set(xlabel=r"$(x_s - x_t) / \sqrt{v}$", ylabel="density", xlim=(-4, 4))
    right.set_title(f"back from {float(at):g}; dotted: Gaussian, same moments")
    right.legend(loc="upper left")


# -------------------------------------------------------------------- the likelihood and its bound

SMOOTH = SPIRAL.smooth(0.05)
ROUND = ExactField(PRESERVING, PointSet(POINTS, width=0.05))
FINE = ODESolver("dopri5", rtol=1e-8, atol=1e-8)


def law_at(t: float) -> GaussianMixture:
    """The law of x_t of the smooth spiral."""
    c = PRESERVING(torch.tensor(t, dtype=torch.float64))
    return SMOOTH.noised(c.alpha, c.sigma)


def by_flow(x: Tensor) -> Tensor:
    """ln p at t_min, along the flow."""
    return log_likelihood(ROUND, x, FINE, law_at(PRESERVING.t_max).log_prob)


def without_divergence(x: Tensor) -> Tensor:
    """ln p_{t_max} at the place where the flow takes x."""
    return law_at(PRESERVING.t_max).log_prob(encode(ROUND, x, FINE))


@claim(broken=without_divergence)
def r2(lab: Lab, log_p: Callable[[Tensor], Tensor] = by_flow) -> Finding:
    """No sum over noise paths gives the likelihood, but one integral along the flow does.

    Says: the integral for the likelihood is "intractable", and the log turns products to sums
    (001, in our words).
    Correction: it is, as an average over the chain's paths: no path of a thousand comes near most
    points. Along the flow it is one ordinary differential equation for each point, exact to the
    solver's tolerance.
    Source: Chen et al. 2018, eq. 8. The spiral with width 0.05, whose density is known.
    """
    law = law_at(PRESERVING.t_min)
    x = law.sample(200, lab.seed)
    off = float((log_p(x) - law.log_prob(x)).square().mean().sqrt())
    start = PRESERVING.prior(1000, 2, lab.seed, torch.float64)
    paths = SDESolver("euler", 50, seed=lab.seed).solve(ancestral(ROUND), start, 1).x[-1]
    last = float(PRESERVING(torch.tensor(PRESERVING.t_min)).sigma)
    missed = float((torch.cdist(x, paths).amin(1) > 3 * last).double().mean())
    many = law.log_prob(law.sample(4000, lab.seed))
    product = float(many.exp().prod())
    return Finding(
        "rms error of ln p along the flow (nats)",
        off,
        "at most",
        1000 * FINE.rtol,
        "a thousand times the solver's tolerance",
        holds=off < 1000 * FINE.rtol and missed > 0.5 and product in (0.0, math.inf),
        also={
            "share of points that no path of 1000 comes near (three last steps)": missed,
            "product of 4000 densities": product,
            "sum of their logs": float(many.sum()),
        },
    )


AXIS = torch.linspace(-1, 1, 401, dtype=torch.float64)[:, None]


@functools.lru_cache(maxsize=4096)
def unsure(law: GaussianMixture, t: float) -> float:
    """E Var(x_0 | x_t) of a law on the line, by quadrature."""
    c = PRESERVING(torch.tensor(t, dtype=torch.float64))
    x = (4 * c.alpha + 8 * c.sigma) * AXIS
    p = law.noised(c.alpha, c.sigma).log_prob(x).exp()
    variance = law.posterior(x, c.alpha, c.sigma).data_variance
    return float(torch.trapezoid(p * variance, x[:, 0]))


@dataclass(frozen=True, eq=False)
class Typical(Field):
    """Misses a point x0 by the root mean square error of the exact field of `law`, always.

    The bound is linear in |x_0|^2 and |x_0 - x0_hat|^2: at the one point that has the mean square
    of the law it is the mean over the law, without chance.
    """

    law: GaussianMixture

    @property
    def point(self) -> Tensor:
        """(1, 1)."""
        return (self.law.covariance() + self.law.mean() ** 2).sqrt()

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """See `Field`."""
        return Prediction.DATA.row(c)

    def evaluate(self, x: Tensor, t: Tensor, c: Coefficients) -> Tensor:
        """See `Field`."""
        return (self.point - math.sqrt(unsure(self.law, float(t)))).expand_as(x)


def some_law(seed: int) -> GaussianMixture:
    """Three bumps on the line."""
    g = random_generator(seed, Stream.PROBE)
    return line(*(g.uniform(low, high, 3).tolist() for low, high in ((1, 3), (-2, 2), (0.1, 0.4))))


CHAINS, NAMES = (10, 100, 1000), ("small", "learned")


@functools.lru_cache(maxsize=64)
def exactly(seed: int, steps: int, learned: bool) -> tuple[Bound, float]:
    """The mean bound on `some_law`, with the small variance or the learned one; mean ln p."""
    law = some_law(seed)
    field, times, x = Typical(PRESERVING, law), log_snr_times(PRESERVING, steps), 4 * AXIS
    log_p = law.log_prob(x)
    v = (
        learned_variance(field, field.point, times)
        if learned
        else small_variance(PRESERVING, times)
    )
    mean = float(torch.trapezoid(log_p.exp() * log_p, x[:, 0]))
    return elbo(field, field.point, times, v), mean


def total(bound: Bound, counted: float) -> Tensor:
    """The bound (n,) with a part of the divergence of each step."""
    prior, *steps, last = bound.terms
    return -(prior + counted * torch.stack(steps).sum(0) + last)


@claim(broken=0.5)
def r3(lab: Lab, counted: float = 1.0) -> Finding:
    """The bound lies below the log likelihood, whatever the law and the steps, and rises to it.

    Says: the ELBO is a lower bound of the evidence that is easily computed (001, in our words);
    "two neural networks", for the mean and the variance.
    Source: Ho et al. 2020, eq. 5. Random laws on the line by quadrature, so that no chance hides
    a gap of 1e-4 nats; `elbo` on 4000 draws agrees. `counted` is the part of each step's
    divergence that is counted.
    """
    gaps = torch.zeros(3, 2, 3)  # seeds, variances, steps
    for i, j, k in np.ndindex(*gaps.shape):
        bound, mean = exactly(lab.seed + i, CHAINS[k], bool(j))
        gaps[i, j, k] = mean - float(total(bound, counted))
    law, off = some_law(lab.seed), 0.0
    x0 = law.sample(4000, lab.seed)
    for k in (0, 1):
        times = log_snr_times(PRESERVING, CHAINS[k])
        v = small_variance(PRESERVING, times)
        drawn = elbo(ExactField(PRESERVING, law), x0, times, v, lab.seed)
        each = law.log_prob(x0) - total(drawn, counted)
        error = float(each.std()) / math.sqrt(len(x0))
        off = max(off, abs(float(each.mean() - gaps[0, 0, k])) / error)

    return Finding(
        "smallest gap between log likelihood and bound (nats)",
        float(gaps.min()),
        "at least",
        0.0,
        "a bound",
        holds=bool((gaps > 0).all() and (gaps.diff(dim=2) < 0).all()) and off < SURE,
        also={
            f"mean gap, {name} variance, {steps} steps (nats)": float(gaps.mean(0)[j, k])
            for j, name in enumerate(NAMES)
            for k, steps in enumerate(CHAINS)
        }
        | {"bound on drawn points, off by (standard errors)": off},
        draw=lambda fig: _gaps(fig, gaps),
    )


def _gaps(fig: plot.Figure, gaps: Tensor) -> None:
    """Gap against steps for each law and variance, (3, 2, 3)."""
    ax = fig.subplots()
    for i, one in enumerate(gaps):
        for row, colour, name in zip(one, (plot.VERMILION, plot.BLUE), NAMES, strict=True):
            label = None if i else f"{name} variance, three laws"
            ax.loglog(CHAINS, row, "o-", color=colour, ms=4, label=label)
    ax.set(xlabel="steps T", ylabel="log likelihood - bound (nats)")
    ax.legend(loc="upper right")


def swapped(mean1: Tensor, v1: Tensor, mean2: Tensor, v2: Tensor) -> Tensor:
    """The divergence the other way round."""
    return gaussian_kl(mean2, v2, mean1, v1)


@claim(broken=swapped)
def r4(lab: Lab, kl: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = gaussian_kl) -> Finding:
    """The divergence of two Gaussians in closed form is the mean log ratio of their densities.

    Says: "KL divergence" between Gaussians is analytic (001).
    Source: 15 random pairs in 1, 2 and 16 dimensions, 20,000 draws each; densities of scipy.
    """
    worst, sizes = 0.0, []
    for i in range(5):
        g = random_generator(lab.seed, Stream.PROBE, i)
        for d in (1, 2, 16):
            mean1, mean2 = g.normal(size=(2, 1, d)) / math.sqrt(d)
            v1, v2 = g.uniform(0.5, 2.0, (2, 1, d))
            x = g.normal(mean1, np.sqrt(v1), (20_000, d))
            p, q = stats.norm(mean1, np.sqrt(v1)), stats.norm(mean2, np.sqrt(v2))
            ratio = (p.logpdf(x) - q.logpdf(x)).sum(1)
            exact = float(kl(*(torch.from_numpy(v) for v in (mean1, v1, mean2, v2))))
            error = ratio.std() / math.sqrt(len(x))
            worst = max(worst, abs(ratio.mean() - exact) / error)
            sizes.append(exact)
    return Finding(
        "largest difference from Monte Carlo (standard errors)",
        worst,
        "at most",
        SURE,
        "standard errors allowed",
        holds=worst < SURE,
        also={"smallest divergence (nats)": min(sizes), "largest (nats)": max(sizes)},
    )


# ------------------------------------------------------------------------------------ the variance

Choice = Callable[[Field, Tensor, Tensor], KernelVariance]
"""(field, x0, times) -> v, where x0 are data to fit it to."""
BARE = exact(PRESERVING)
COUNTS = (5, 20, 200)
SAID = {  # W2 after 5, 20 and 200 steps: docs/sources.md, N9 (learned: optimal there)
    "small": (0.354, 0.167, 0.059),
    "large": (0.331, 0.137, 0.068),
    "learned": (0.154, 0.131, 0.060),
}


def small(field: Field, x0: Tensor, times: Tensor) -> KernelVariance:
    """DDPM's one fixed variance."""
    return small_variance(field.process, times)


def large(field: Field, x0: Tensor, times: Tensor) -> KernelVariance:
    """DDPM's other fixed variance."""
    return large_variance(field.process, times)


def rooted(field: Field, x0: Tensor, times: Tensor) -> KernelVariance:
    """The standard deviation in place of the variance."""
    v = learned_variance(field, x0, times)
    return KernelVariance(times, v.value.sqrt())


@functools.lru_cache(maxsize=32)
def fitted(choose: Choice, field: ExactField, steps: int) -> KernelVariance:
    """The variances of a chain over times uniform in t, fitted to 2000 data."""
    times = uniform_times(PRESERVING.t_max, PRESERVING.t_min, steps)
    return choose(field, field.sample(2000, 77).double(), times)


def left(v: KernelVariance, seed: int) -> Tensor:
    """1000 particles as the chain's last noise step leaves them."""
    x = PRESERVING.prior(1000, 2, seed, torch.float64)
    return SDESolver(times=v.times, seed=seed).solve(ancestral(BARE, variance=v), x, 1).x[-1]


def points(n: int, seed: int) -> Tensor:
    """Draws of the bare spiral in float64."""
    return SPIRAL.sample(n, seed, torch.float64)


@functools.lru_cache(maxsize=32)
def warn_or_refuse(choose: Choice, steps: int, seed: int) -> tuple[float, float]:
    """Mean W2 of three clouds to the spiral; the mean bound for the spiral with width 0.05."""
    v = fitted(choose, BARE, steps)
    three = range(seed, seed + 3)
    far = [diagnostics.wasserstein(left(v, k), points(1000, k + 100)) for k in three]
    v = fitted(choose, ROUND, steps)
    return sum(far) / 3, elbo(ROUND, ROUND.sample(1000, seed), v.times, v, seed).mean


@claim(broken=rooted)
def r5(lab: Lab, learned: Choice = learned_variance) -> Finding:
    """A learned variance is right at five steps already, where DDPM's two fixed ones are wrong.

    Says: the variance is learned with the mean ("square, triangle"), DDPM's is fixed (001).
    Correction: at 200 steps no cloud of 1000 tells them apart, though the bound still tells the
    small one. And no descent is needed: at the highest bound the variance is the mean squared
    error of x0_hat, with the exact field `optimal_variance`.
    Source: Ho et al. 2020, section 3.2; Nichol and Dhariwal 2021. The W2 of docs/sources.md, N9:
    uniform times, the cloud as the last noise step leaves it. One more step, to sigma = 0, takes
    from the large variance the noise that spoils it at five steps.
    """
    choices = (small, large, learned)
    got = torch.tensor([[warn_or_refuse(c, k, lab.seed) for c in choices] for k in COUNTS])
    far, bound = got.unbind(2)
    floor, sd = diagnostics.sampling_floor(points, 1000, seed=lab.seed)
    near, (few, _, many) = SURE * sd * math.sqrt(1 + 1 / 3), far
    gain = float(few[:2].min() - few[2])
    off = float((far - torch.tensor([*SAID.values()]).T).abs().max())
    once = fitted(large, BARE, 5)
    clean = BARE.data(left(once, lab.seed), once.times[-1])
    best = [optimal_variance(BARE, fitted(learned, BARE, k).times) for k in COUNTS]
    ratio = torch.cat([fitted(learned, BARE, len(v.value) - 1).value / v.value for v in best])
    return Finding(
        "W2 at 5 steps, better fixed variance - learned",
        gain,
        "at least",
        near,
        "four standard errors of three clouds beside one",
        holds=gain > near
        and float(many.max() - many.min()) < near
        and off < near
        and bool((bound[:, 2:] > bound[:, :2]).all()),
        also={
            f"{what}, {name}, {k} steps": float(table[i, j])
            for what, table in (("W2", far), ("bound (nats)", bound))
            for j, name in enumerate(SAID)
            for i, k in enumerate(COUNTS)
        }
        | {
            "W2 of two clouds of 1000 data": floor,
            "W2, large, 5 steps and that to sigma = 0": diagnostics.wasserstein(
                clean, points(1000, lab.seed + 100)
            ),
            "learned / optimal variance, farthest from 1": float(
                ratio[(ratio - 1).abs().argmax()]
            ),
        },
        draw=lambda fig: _merging(fig, far, floor, sd),
    )


def _merging(fig: plot.Figure, far: Tensor, floor: float, sd: float) -> None:
    """W2 against steps, (3, 3), one line for each variance, and the floor."""
    ax = fig.subplots()
    ax.axhspan(floor - sd, floor + sd, color=plot.GREY, alpha=0.3, lw=0, label="two data sets")
    colours = plot.VERMILION, plot.ORANGE, plot.BLUE
    for name, row, colour in zip(SAID, far.T, colours, strict=True):
        ax.semilogx(COUNTS, row, "o-", color=colour, ms=4, label=f"{name} variance")
    ax.set(xlabel="steps", ylabel="W2 to the spiral", ylim=(0, None))
    ax.legend(loc="upper right")


# ---------------------------------------------------------------------------------------- the loss


def gradient(network: nn.Module, value: Tensor) -> Tensor:
    """d value / d parameters, in one row."""
    pulled = torch.autograd.grad(value, [*network.parameters()], retain_graph=True)
    return torch.cat([g.flatten() for g in pulled])


def unweighted(process: Process, variance: KernelVariance) -> Tensor:
    """Every noise level alike: the simple loss."""
    return torch.full_like(variance.value, 0.5)


def squares(field: Field, x0: Tensor, times: Tensor, seed: int) -> Tensor:
    """|eps_hat - eps|^2, (K + 1,), averaged over the points and the noise that `elbo` draws."""
    out = []
    for k, t in enumerate(times):
        z = random_generator(seed, Stream.PROBE, k).standard_normal(tuple(x0.shape))
        eps = torch.from_numpy(z)
        out.append(((field.noise(field.process.perturb(x0, t, eps), t) - eps) ** 2).sum(1).mean())
    return torch.stack(out)


@claim(broken=unweighted)
def r6(lab: Lab, weights: Callable[[Process, KernelVariance], Tensor] = elbo_weights) -> Finding:
    """The squared error of the noise is the bound, but for a weight on each noise level.

    Says: "predict the noise", with the mean squared error for a loss (001, 000).
    Correction: with the right weights it has the bound's gradient, to rounding; the plain error
    is another loss: its gradient points elsewhere.
    Source: Ho et al. 2020, eq. 12 and 14, section 3.4. Networks that have learned nothing, three
    seeds, 20 steps uniform in t, both of DDPM's variances; the same noise on both sides.
    """
    times = uniform_times(PRESERVING.t_max, PRESERVING.t_min, 20)
    off, turned, constants = 0.0, 1.0, []
    for i, choose in itertools.product(range(3), (small_variance, large_variance)):
        seed, v = lab.seed + i, choose(PRESERVING, times)
        field = LearnedField(PRESERVING, MLP(seed=seed).double())
        x0 = ROUND.sample(50, lab.seed)
        loss = -elbo(field, x0, times, v, lab.seed).total.mean()
        each = squares(field, x0, times, lab.seed)
        error = (weights(PRESERVING, v) * each).sum()
        constants.append(float((loss - error).detach()))
        bound, weighted, plain = (
            gradient(field.network, value) for value in (loss, error, each.mean())
        )
        off = max(off, float((bound - weighted).norm() / bound.norm()))
        turned = min(turned, float(torch.cosine_similarity(bound, plain, dim=0)))
    drift = max(abs(a / b - 1) for k in (0, 1) for a, b in pairwise(constants[k::2]))
    spans = {
        name: elbo_weights(PRESERVING, choose(PRESERVING, times))
        for name, choose in (("small", small_variance), ("large", large_variance))
    }
    return Finding(
        "gradient of the weighted error - that of the bound, relative",
        off,
        "at most",
        1e-9,
        "rounding allowed",
        holds=off < 1e-9 and drift < 1e-9,
        also={
            "bound - weighted error, from network to network, relative": drift,
            "least cosine of the plain error's gradient to the bound's": turned,
        }
        | {
            f"largest weight / smallest, {name} variance": float(w.max() / w.min())
            for name, w in spans.items()
        },
        draw=lambda fig: _weights(fig, PRESERVING(times), spans),
    )


def _weights(fig: plot.Figure, c: Coefficients[Tensor], spans: dict[str, Tensor]) -> None:
    """The bound's weights (K + 1,) against the noise level, beside the simple loss's."""
    ax = fig.subplots()
    for (name, w), colour in zip(spans.items(), (plot.VERMILION, plot.BLUE), strict=True):
        ax.loglog(c.sigma / c.alpha, w, "o-", color=colour, ms=3, label=f"bound, {name} variance")
    ax.axhline(0.5, ls="--", color=plot.BLACK, lw=0.8, label="simple loss")
    ax.set(xlabel=r"noise level $\sigma / \alpha$", ylabel="weight of the squared error")
    ax.legend(loc="upper right")


# ---------------------------------------------------------------------------- to noise and back


def sure(sd: float) -> float:
    """Four standard errors of the mean of three distances beside a floor of eight."""
    return SURE * sd * math.sqrt(1 / 3 + 1 / 8)


@claim(broken=0.0)
def r7(lab: Lab, kept: float = 1.0) -> Finding:
    """Noising and DDPM give the distribution back and no single image; the flow gives both.

    Says: one can "recover the whole distribution, but you can't necessarily take a single image"
    to noise and back (001).
    Correction: by the noisy way. An image comes back as far from itself as a stranger is. Along
    the flow, which ends in the same law, it comes back to the solver's tolerance.
    Source: Song et al. 2021, section 4.3. The spiral with width 0.05, three clouds of 700, DDPM in
    100 steps, `kept` of its noise.
    """
    n, law = 700, law_at(PRESERVING.t_min)
    t, back, far = torch.tensor(PRESERVING.t_max, dtype=torch.float64), [], []
    own, strange = [], []
    for seed in range(lab.seed, lab.seed + 3):
        x0, other = law.sample(n, seed), law.sample(n, seed + 900)
        noise = KeyedNormals(seed, Stream.MOTION, n, 2, torch.float64).draw(ELSEWHERE)
        up = PRESERVING.perturb(x0, t, noise)
        back.append(SDESolver("euler", 100, seed=seed).solve(muted(ROUND, kept), up, 1).x[-1])
        far.append(diagnostics.wasserstein(back[-1], other))
        own.append(((back[-1] - x0) ** 2).sum(1))
        strange.append(((back[-1] - x0.flip(0)) ** 2).sum(1))
    x0 = law.sample(200, lab.seed)
    returned = decode(ROUND, encode(ROUND, x0, FINE), FINE)
    off = math.sqrt(float(((returned - x0) ** 2).sum(1).mean()))
    floor, sd = diagnostics.sampling_floor(law.sample, n, seed=lab.seed)
    more, scale = torch.cat(own) - torch.cat(strange), float(torch.cat(strange).mean())
    apart, error = float(more.mean()) / scale, float(more.std()) / scale / math.sqrt(len(more))
    return Finding(
        "mean square distance of an image to its own return by noise / to a stranger's, - 1",
        apart,
        "at most",
        SURE * error,
        "four standard errors",
        holds=abs(apart) < SURE * error
        and sum(far) / 3 < floor + sure(sd)
        and off < 1000 * FINE.rtol,
        also={
            "W2 of the distribution that came back to the data": sum(far) / 3,
            "W2 of two data sets": floor,
            "their standard deviation": sd,
            "rms distance to what came back by the flow": off,
            "allowed, a thousand tolerances": 1000 * FINE.rtol,
        },
        draw=lambda fig: _returns(fig, x0, {"by noise": back[0], "by the flow": returned}),
        size=(3.4, 1.9),
    )


def _returns(fig: plot.Figure, x0: Tensor, ends: dict[str, Tensor], many: int = 30) -> None:
    """Lines from images to what came back of them."""
    for ax, (name, x) in zip(fig.subplots(1, 2), ends.items(), strict=True):
        for a, b in zip(x0[:many], x[:many], strict=True):
            ax.plot(*torch.stack([a, b]).T, color=plot.GREY, lw=0.5)
        plot.cloud(ax, x0[:many], plot.BLUE, 14, label="image")
        plot.cloud(ax, x[:many], plot.VERMILION, 4, label="came back")
        plot.frame(ax, 1.4, name)
    ax.legend(loc="lower left", fontsize=5, handletextpad=0.1)


# --------------------------------------------------------------------------------------- the score

TimeCoefficients = Callable[[Tensor, float], Tensor]
"""(eps, sigma) -> score."""


def tweedie(eps: Tensor, sigma: float) -> Tensor:
    """The score that goes with a noise."""
    return -eps / sigma


def unscaled(eps: Tensor, sigma: float) -> Tensor:
    """Minus the noise."""
    return -eps


def slope(law: GaussianMixture, x: Tensor) -> Tensor:
    """grad ln p (n, d), by autograd."""
    at = x.clone().requires_grad_()
    return torch.autograd.grad(law.log_prob(at).sum(), at)[0]


def relative(a: Tensor, b: Tensor) -> float:
    """Of a to b, root mean squares."""
    return float((a - b).norm() / b.norm())


def best_linear() -> ExactField:
    """The exact field of a Gaussian with the spiral's mean and covariance: the best linear one."""
    one = torch.ones(1, dtype=torch.float64)
    return ExactField(
        WIDE, GaussianMixture(one, SPIRAL.mean[None].double(), COVARIANCE[None].double())
    )


@claim(broken=unscaled, slow=True)
def r8(lab: Lab, read: TimeCoefficients = tweedie) -> Finding:
    """Who denoises knows the score: a network's error in the one is its error in the other.

    Says: the noise in an image is the "gradient of the log" likelihood, by a theorem of the 1950s
    (001, 000).
    Correction: it is minus sigma times that of the noised data's density, and a network knows it
    as well as it has learned. Ours, as `fit` trains it, is a quarter off at sigma 0.01.
    Source: Robbins 1956 (Tweedie); Vincent 2011, eq. 11: the loss beyond that of the exact noise
    is sigma^2 |score's error|^2. Eleven levels, 4000 points each; the exact score by autograd of
    ln p, each of the four predictions brought to noise by `decode`.
    """
    field, truth, straight = lab.trained("spiral-ours", our_field), exact(), best_linear()
    bare, x0 = GaussianMixture.isotropic(POINTS.double(), 0.0), points(4000, lab.seed)
    sigmas, learned, linear = [], [], []
    identity = rows = balance = 0.0
    for k, t in enumerate(torch.linspace(0, 1, 11, dtype=torch.float64)):
        c, eps = WIDE(t), KeyedNormals(lab.seed, Stream.PROBE, 4000, 2, torch.float64).draw(k)
        sigma, x = float(c.sigma), WIDE.perturb(x0, t, eps)
        score = slope(bare.noised(1.0, sigma), x)
        identity = max(identity, relative(read(truth.noise(x, t), sigma), score))
        with torch.no_grad():
            each = [to_both(p.row(c), field.predict(p, x, t), x, c)[1] for p in Prediction]
            linear.append(relative(read(straight.noise(x, t), sigma), score))
        rows = max(rows, *(relative(noise, each[0]) for noise in each))
        learned.append(relative(read(each[0], sigma), score))
        beyond = ((each[0] - eps) ** 2 - (sigma * score + eps) ** 2).sum(1)
        off = beyond - sigma**2 * ((read(each[0], sigma) - score) ** 2).sum(1)
        balance = max(balance, abs(float(off.mean() / off.std())) * math.sqrt(len(off)))
        sigmas.append(sigma)

    return Finding(
        "relative L2 error of the learned score, worst of eleven levels",
        max(learned),
        "at most",
        max(linear),
        "best linear field",
        holds=identity < 1e-9 and rows < 1e-5 and balance < SURE and max(learned) < max(linear),
        also={
            "exact noise and gradient of ln p, apart (relative)": identity,
            "four predictions brought to noise, apart (relative)": rows,
            "loss and error of the score, out of balance by (standard errors)": balance,
        }
        | {f"relative error at sigma {s:.2g}": e for s, e in zip(sigmas, learned, strict=True)},
        draw=lambda fig: _wrong(fig, sigmas, learned, linear),
    )


def _wrong(
    fig: plot.Figure, sigmas: list[float], learned: list[float], linear: list[float]
) -> None:
    """The error of two scores against the noise level."""
    ax = fig.subplots()
    ax.loglog(sigmas, linear, "s-", color=plot.ORANGE, ms=3, label="best linear field")
    ax.loglog(sigmas, learned, "o-", color=plot.BLUE, ms=3, label="learned")
    ax.set(xlabel=r"noise level $\sigma$", ylabel="relative error of the score")
    ax.legend(loc="lower left")


# ----------------------------------------------------------------------- DDPM's two algorithms

Network = Callable[[Tensor, Tensor], Tensor]
"""(x, t) -> eps."""


def algorithm_1(network: Network, x0: Tensor, t: Tensor, eps: Tensor, betas: Tensor) -> Tensor:
    """What a step of DDPM's training descends, (): x0, eps (n, d), t (n,) of 1 to T.

        mean |eps - eps_theta(sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps, t)|^2.

    Source: Ho et al. 2020, Algorithm 1.
    """
    bar = torch.cumprod(1 - betas, 0)[t - 1, None]
    return ((eps - network(bar.sqrt() * x0 + (1 - bar).sqrt() * eps, t)) ** 2).sum(1).mean()


def algorithm_2(
    network: Network, x: Tensor, betas: Tensor, noise: Callable[[int], Tensor]
) -> Tensor:
    """DDPM's sampler: from x (n, d) ~ N(0, I), with noise(k) (n, d) in its step k, to x_0 (n, d).

        x <- (x - beta_t / sqrt(1 - alpha_bar_t) eps_theta(x, t)) / sqrt(1 - beta_t) + spread z.

    Source: Ho et al. 2020, Algorithm 2, with the small variance of section 3.2.
    """
    bars = torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, 0)])
    for k, t in enumerate(range(len(betas), 0, -1)):
        beta, bar, before = betas[t - 1], bars[t], bars[t - 1]
        x = x - beta / (1 - bar).sqrt() * network(x, torch.tensor(float(t), dtype=x.dtype))
        x = x / (1 - beta).sqrt()
        if t > 1:
            x = x + (beta * (1 - before) / (1 - bar)).sqrt() * noise(k)
    return x


def renewed(seed: int, n: int, fresh: float) -> Callable[[int], Tensor]:
    """z (n, 2) of step k, of which a part `fresh` is new and the rest the same in every step."""
    draws = KeyedNormals(seed, Stream.MOTION, n, 2, torch.float64)
    again = math.sqrt(1 - fresh**2) * draws.draw(ELSEWHERE)
    return lambda k: fresh * draws.read(k) + again


@claim(broken=0.0)
def r9(lab: Lab, fresh: float = 1.0) -> Finding:
    """DDPM's two algorithms are a loss and a law of motion of this package, to rounding.

    Says: train on the total noise, algorithm 1, and sample with fresh noise in each step,
    algorithm 2 of "DDPM" (000, in our words).
    Source: Ho et al. 2020: T = 1000, beta from 1e-4 to 0.02. Algorithm 1 has the gradient of
    `loss`; algorithm 2 is `bridge` on the same noise and ends in the data (tests/test_parity
    has diffusers). `fresh` is the part of each step's noise that is new; the rest comes again.
    """
    n, betas = 256, torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    process = Tabulated.from_betas(betas)
    field, far, off = exact(process), [], 0.0
    for seed in range(lab.seed, lab.seed + 3):
        x = process.prior(n, 2, seed, torch.float64)
        end = algorithm_2(field.noise, x, betas, renewed(seed, n, fresh))
        far.append(diagnostics.wasserstein(end, points(n, seed + 900)))
        times = torch.arange(1000, 0, -1, dtype=torch.float64)
        ours = SDESolver(times=times, seed=seed).solve(ancestral(field), x, 1).x[-1]
        off = max(off, float((field.data(ours, 1.0) - end).abs().max()))
    learned = LearnedField(process, MLP(seed=lab.seed).double())
    g = random_generator(lab.seed, Stream.PROBE)
    t, x0 = torch.from_numpy(g.integers(1, 1001, n)), points(n, lab.seed)
    eps = torch.from_numpy(g.standard_normal((n, 2)))
    theirs = gradient(learned.network, algorithm_1(learned.noise, x0, t, eps, betas))
    simple = training.loss(
        learned, x0, t.double(), eps, training.prediction_weighting(Prediction.NOISE)
    )
    mine = gradient(learned.network, 2 * simple.mean())  # ours is per coordinate
    turned = float((theirs - mine).norm() / mine.norm())
    floor, sd = diagnostics.sampling_floor(points, n, seed=lab.seed)
    return Finding(
        "largest difference of algorithm 2 and `bridge` on the same noise",
        off,
        "at most",
        1e-10,
        "rounding of 1000 steps allowed",
        holds=max(off, turned) < 1e-10 and sum(far) / 3 < floor + sure(sd),
        also={
            "gradient of algorithm 1 - that of `loss`, relative": turned,
            "W2 of three clouds of algorithm 2 to the data": sum(far) / 3,
            "W2 of two data sets": floor,
            "their standard deviation": sd,
        },
    )
