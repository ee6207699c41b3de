"""To denoise is to know the score: a network's error in one is its error in the other.

Says: the noise in an image is the "gradient of the log" likelihood, by a theorem of the 1950s
(001, 000).
Measured: at eleven noise levels the score that follows from a trained network's noise is compared
with the exact gradient of ln p; the excess of the network's loss must equal sigma^2 times the
squared error of its score.
Correction: the noise is minus sigma times the gradient of ln p of the noised data, and a network
knows it only as well as it has learned. Ours, as `fit` trains it, is off by a quarter at sigma
0.01.
Control: the factor 1 / sigma between noise and score is left out.
Source: Robbins 1956 (Tweedie); Vincent 2011, eq. 11: the loss beyond that of the exact noise is
sigma^2 |error of the score|^2. 4000 points at each level; the exact score by autograd of ln p;
each of the four predictions is converted to noise by `decode`.
"""

from __future__ import annotations

from benchmarks.claims.claim import Check, Finding, Lab, below
from benchmarks.claims.score_errors import ScoreOf, score_errors, tweedie, unscaled
from benchmarks.claims.setting import SURE, our_field
from sdeflow import plot

SLOW = True
SUBJECT, CONTROL = tweedie, unscaled


def measure(lab: Lab, score_of: ScoreOf) -> Finding:
    """Errors of the learned score at eleven noise levels."""
    field = lab.trained("spiral-ours", our_field)
    each = [score_errors(field, score_of, lab.seed, k) for k in range(11)]
    learned, linear = [e.learned for e in each], [e.linear for e in each]
    return Finding(
        [
            Check(
                "largest relative error of the learned score, of eleven levels",
                max(learned),
                below(max(linear)),
                "the best linear field",
            ),
            Check(
                "relative difference between exact noise / -sigma and the gradient of ln p",
                max(e.identity for e in each),
                below(1e-9),
                "rounding",
            ),
            Check(
                "largest relative difference between four predictions converted to noise",
                max(e.predictions for e in each),
                below(1e-5),
                "single precision",
            ),
            Check(
                "excess loss minus sigma^2 |error of the score|^2 (standard errors)",
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
    ax.loglog(x, linear, "s-", color=plot.ORANGE, ms=3, label="the best linear field")
    ax.loglog(x, learned, "o-", color=plot.BLUE, ms=3, label="learned")
    ax.set(xlabel=r"noise level $\sigma$", ylabel="relative error of the score")
    ax.legend(loc="lower left")
