"""The reverse kernel, its bounds, and the score (R1 to R9).

What is exact is taken exactly: averages over `LINE`, a law on the line, are quadratures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from scipy import stats
from torch import Tensor

from sdeflow import plot
from sdeflow.claims.ledger import Finding, Lab, claim
from sdeflow.mixture import Mixture

Noise = Callable[[Tensor], Tensor]
"""ln of a density of mean 0 and variance 1."""


def line(weights: list[float], means: list[float], widths: list[float]) -> Mixture:
    """A mixture on the line."""
    w, mu, s = (torch.tensor(v, dtype=torch.float64) for v in (weights, means, widths))
    return Mixture(w, mu[:, None], s[:, None, None] ** 2)


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

    def draw(fig: plot.Figure) -> None:
        left, right = fig.subplots(1, 2)
        left.loglog(steps, apart, "o-", color=plot.BLUE, ms=3, label="measured")
        cube = [apart[-1] * (v / steps[-1]) ** 3 for v in steps[4:]]
        left.loglog(steps[4:], cube, "--", color=plot.BLACK, lw=0.8, label=r"$v^3$")
        left.set(xlabel="variance $v$ of the step", ylabel="KL to a Gaussian (nats)")
        left.legend(loc="lower right")
        at = torch.tensor([0.5], dtype=torch.float64)
        for v, colour in ((0.3, plot.VERMILION), (0.03, plot.ORANGE), (0.003, plot.BLUE)):
            log_q = step_back(noise, v, at)[0]
            right.plot(-Z, log_q[0].exp(), color=colour, label=f"$v$ = {v}")
            right.plot(-Z, matched(log_q)[0].exp(), ":", color=colour)
        right.set(xlabel=r"$(x_s - x_t) / \sqrt{v}$", ylabel="density", xlim=(-4, 4))
        right.set_title(f"back from {float(at):g}; dotted: Gaussian, same moments")
        right.legend(loc="upper left")

    return Finding(
        "order in v of the divergence of one step back from a Gaussian",
        float(order.slope),
        3.0,
        "theory",
        holds=abs(float(order.slope) - 3) < 0.2 and all(a > b > 0 for a, b in pairwise(apart)),
        also={
            f"divergence at v = {v:.0e} (nats)": a
            for v, a in list(zip(steps, apart, strict=True))[::2]
        },
        draw=draw,
        size=(7.0, 2.6),
    )
