"""Who denoises knows the score: a network's error in the one is its error in the other.

Says: the noise in an image is the "gradient of the log" likelihood, by a theorem of the 1950s
(001, 000).
Correction: it is minus sigma times that of the noised data's density, and a network knows it
as well as it has learned. Ours, as `fit` trains it, is a quarter off at sigma 0.01.
Source: Robbins 1956 (Tweedie); Vincent 2011, eq. 11: the loss beyond that of the exact noise
is sigma^2 |score's error|^2. Eleven levels, 4000 points each; the exact score by autograd of
ln p, each of the four predictions brought to noise by `decode`.
"""

from __future__ import annotations

from benchmarks.claims.claim import Check, Finding, Lab, below
from benchmarks.claims.score_errors import ScoreOf, score_errors, tweedie, unscaled
from benchmarks.claims.setting import SURE, our_field
from sdeflow import plot

SLOW = True
SUBJECT, BROKEN = tweedie, unscaled


def measure(lab: Lab, score_of: ScoreOf) -> Finding:
    """Errors of the learned score at eleven noise levels."""
    field = lab.trained("spiral-ours", our_field)
    each = [score_errors(field, score_of, lab.seed, k) for k in range(11)]
    learned, linear = [e.learned for e in each], [e.linear for e in each]
    return Finding(
        [
            Check(
                "relative L2 error of the learned score, worst of eleven levels",
                max(learned),
                below(max(linear)),
                "best linear field",
            ),
            Check(
                "exact noise and gradient of ln p, apart (relative)",
                max(e.identity for e in each),
                below(1e-9),
                "rounding allowed",
            ),
            Check(
                "four predictions brought to noise, apart (relative)",
                max(e.predictions for e in each),
                below(1e-5),
                "single precision",
            ),
            Check(
                "loss and error of the score, out of balance by (standard errors)",
                max(e.balance for e in each),
                below(SURE),
                "Vincent 2011; four standard errors",
            ),
        ],
        notes={f"relative error at sigma {e.sigma:.2g}": e.learned for e in each},
        draw=lambda fig: _errors(fig, [e.sigma for e in each], learned, linear),
    )


def _errors(fig: plot.Figure, x: list[float], learned: list[float], linear: list[float]) -> None:
    """The error of two scores against the noise level."""
    ax = fig.subplots()
    ax.loglog(x, linear, "s-", color=plot.ORANGE, ms=3, label="best linear field")
    ax.loglog(x, learned, "o-", color=plot.BLUE, ms=3, label="learned")
    ax.set(xlabel=r"noise level $\sigma$", ylabel="relative error of the score")
    ax.legend(loc="lower left")
