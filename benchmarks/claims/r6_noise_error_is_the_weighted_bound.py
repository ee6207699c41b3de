"""The squared error of the noise is the evidence bound, up to a weight on each noise level.

Says: "predict the noise", with the mean squared error for a loss (001, 000).
Measured: for untrained networks the gradient of the weighted squared error of the noise is
compared with that of the bound; they agree to rounding, so to predict noise is to maximise the
bound with other weights.
Correction: with the right weights it has the bound's gradient, to rounding; the plain error
without weights is another loss, and its gradient points elsewhere.
Control: every noise level has the same weight.
Source: Ho et al. 2020, eq. 12 and 14, section 3.4. Three networks, 20 steps uniform in t, both of
DDPM's variances; the same noise in both losses.
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

SUBJECT, CONTROL = elbo_weights, unweighted
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
                "relative difference between the gradients of weighted error and bound",
                off,
                below(1e-9),
                "rounding",
            ),
            Check(
                "relative change of bound - weighted error from network to network",
                drift,
                below(1e-9),
                "rounding",
            ),
        ],
        notes={"smallest cosine between the gradients of plain error and bound": turned}
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
