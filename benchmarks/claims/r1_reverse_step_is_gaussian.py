"""One step back is a Gaussian up to third order in the step's variance, if its noise is Gaussian.

Says: the reverse has "exactly the same functional form" (001) for "sufficiently small step sizes".
Measured: the exact density of where a point on the line came from by one noise step is compared,
by quadrature, with the Gaussian of the same mean and variance; their KL divergence falls as the
cube of the step's variance, so small steps back may be drawn from Gaussians.
Correction: exactly at no finite step. The divergence falls as the cube of the step's variance v
only once sqrt(v) is small compared with the features of the data.
Control: the noise of the step is two-sided exponential (Laplace), of the same variance.
Source: the third cumulant of p(y) N(x; y, v) is v^3 (ln p)''' to leading order, and KL is a
twelfth of the squared skewness.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from scipy import stats

from benchmarks.claims.claim import Check, Finding, Lab, about, above, below
from benchmarks.claims.reverse_step import (
    LogDensity,
    Z,
    gaussian,
    kl_to_gaussian,
    laplace,
    matched_gaussian,
    step_back,
)
from sdeflow import plot

SUBJECT, CONTROL = gaussian, laplace
STEPS = [10 ** (-k / 2) for k in range(10)]


def measure(lab: Lab, noise: LogDensity) -> Finding:
    """The divergence of one step back from a Gaussian, as the step gets smaller."""
    apart = [kl_to_gaussian(noise, v) for v in STEPS]
    order = stats.linregress(torch.tensor(STEPS[-3:]).log10(), torch.tensor(apart[-3:]).log10())
    return Finding(
        [
            Check(
                "power of v by which the KL divergence from a Gaussian falls",
                order.slope,
                about(3.0, 0.2),
                "theory: the cube",
            ),
            Check(
                "smallest KL divergence (nats)", min(apart), above(0.0), "exact at no finite step"
            ),
            Check(
                "largest ratio of the divergence at a step to that at the next larger step",
                max(b / a for a, b in pairwise(apart)),
                below(1.0),
                "falls at every step",
            ),
        ],
        notes={f"divergence at v = {STEPS[k]:.0e} (nats)": apart[k] for k in range(0, 10, 2)},
        draw=lambda fig: _steps_back(fig, noise, apart),
        size=(7.0, 2.6),
    )


def _steps_back(fig: plot.Figure, noise: LogDensity, apart: list[float]) -> None:
    """The divergence against the step, and where one place came from by three steps."""
    ax, right = fig.subplots(1, 2)
    ax.loglog(STEPS, apart, "o-", color=plot.BLUE, ms=3, label="measured")
    cube = [apart[-1] * (v / STEPS[-1]) ** 3 for v in STEPS[4:]]
    ax.loglog(STEPS[4:], cube, "--", color=plot.BLACK, lw=0.8, label=r"$v^3$")
    ax.set(xlabel="variance $v$ of the step", ylabel="KL to a Gaussian (nats)")
    ax.legend(loc="lower right")
    at = torch.tensor([0.5], dtype=torch.float64)
    for v, colour in ((0.3, plot.VERMILION), (0.03, plot.ORANGE), (0.003, plot.BLUE)):
        log_q = step_back(noise, v, at)[0]
        right.plot(-Z, log_q[0].exp(), color=colour, label=f"$v$ = {v}")
        right.plot(-Z, matched_gaussian(log_q)[0].exp(), ":", color=colour)
    right.set(xlabel=r"$(x_s - x_t) / \sqrt{v}$", ylabel="density", xlim=(-4, 4))
    right.set_title(f"back from {float(at):g}; dotted: Gaussian, same moments")
    right.legend(loc="upper left")
