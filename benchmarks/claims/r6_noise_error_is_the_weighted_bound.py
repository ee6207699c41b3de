"""The squared error of the noise is the bound, but for a weight on each noise level.

Says: "predict the noise", with the mean squared error for a loss (001, 000).
Correction: with the right weights it has the bound's gradient, to rounding; the plain error
is another loss: its gradient points elsewhere.
Source: Ho et al. 2020, eq. 12 and 14, section 3.4. Networks that have learned nothing, three
seeds, 20 steps uniform in t, both of DDPM's variances; the same noise on both sides.
"""

from __future__ import annotations

import itertools

from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, below
from benchmarks.claims.loss_and_bound import Weights, compare, unweighted
from benchmarks.claims.smooth_spiral import PRESERVING
from sdeflow import plot
from sdeflow.analysis.elbo import elbo_weights, large_variance, small_variance
from sdeflow.processes.process import Coefficients
from sdeflow.processes.time_grids import uniform_times

SUBJECT, BROKEN = elbo_weights, unweighted
CHOICES = {"small": small_variance, "large": large_variance}


def measure(lab: Lab, weights: Weights) -> Finding:
    """Gradients of the bound, of the weighted error and of the plain error."""
    times = uniform_times(PRESERVING.t_max, PRESERVING.t_min, 20)
    variances = {name: choose(PRESERVING, times) for name, choose in CHOICES.items()}
    off, drift, turned = 0.0, 0.0, 1.0
    for v in variances.values():
        three = [compare(v, weights, lab.seed, i) for i in range(3)]
        off = max(off, *(each.off for each in three))
        turned = min(turned, *(each.cosine for each in three))
        constants = [each.constant for each in three]
        drift = max(drift, *(abs(a / b - 1) for a, b in itertools.pairwise(constants)))
    spans = {name: elbo_weights(PRESERVING, v) for name, v in variances.items()}
    return Finding(
        [
            Check(
                "gradient of the weighted error - that of the bound, relative",
                off,
                below(1e-9),
                "rounding allowed",
            ),
            Check(
                "bound - weighted error, from network to network, relative",
                drift,
                below(1e-9),
                "rounding allowed",
            ),
        ],
        notes={"least cosine of the plain error's gradient to the bound's": turned}
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
