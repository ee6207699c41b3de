"""The number that scores a picture as a digit falls when the digit is damaged.

Says: a "magic API" gives a picture of a digit 0.9 or 0.98, and less when it is damaged (001).
Measured: ln p of 48 digits and of damaged copies is computed along the probability flow of a
trained network; a useful score must fall on average under every kind of damage.
Correction: on average only, and not as the eye judges. A digit upside down is no less likely than
one under hardly visible noise, and half a digit is far likelier than a blurred one: a density
rewards what is easy to predict. The number is a rising function of ln p, not the probability of
being a digit.
Control: the sign of ln p is flipped.
Source: digits that the network did not learn from. The divergence is Hutchinson's estimate,
compared for 16 digits with the exact one (`digit_likelihood`).
"""

from __future__ import annotations

import math

import torch

from benchmarks.claims import drawings
from benchmarks.claims.claim import Check, Finding, Lab, about, above
from benchmarks.claims.digit_likelihood import NOISES, WHOLE, Likelihoods, likelihoods
from benchmarks.claims.digits import digit_field
from benchmarks.claims.setting import SURE
from sdeflow import plot

SUBJECT, CONTROL = 1.0, -1.0  # the sign of ln p
NEEDS, SLOW = ("sklearn",), True
SHOWN = (WHOLE, *(f"noise {size:g}" for size in NOISES[:4]), "lower half gone", "negative")


def measure(lab: Lab, sign: float) -> Finding:
    """The fall of ln p from whole to damaged digits."""
    found = likelihoods(lab.trained("digits", digit_field), seed=lab.seed)
    value = {name: sign * x.double() for name, x in found.log_p.items()}
    levels = torch.stack([value[WHOLE], *(value[f"noise {size:g}"] for size in NOISES)])
    fall = -levels.diff(dim=0)
    in_errors = fall.mean(1) / (fall.std(1) / math.sqrt(fall.shape[1]))
    off = found.log_p[WHOLE][: len(found.exact)] - found.exact
    damaged = {name: value[WHOLE] - x for name, x in value.items() if name != WHOLE}
    return Finding(
        [
            Check("smallest fall of the mean of ln p between noise levels (standard errors)",
                  in_errors.min(), above(SURE), "four standard errors"),
            *(
                Check(f"{name}: mean fall of ln p (nats)", x.mean(),
                      above(SURE * float(x.std()) / math.sqrt(len(x))), "four standard errors")
                for name, x in damaged.items() if not name.startswith("noise")
            ),
            Check("mean of Hutchinson's estimate minus the exact ln p (nats)", off.mean(),
                  about(0.0, SURE * found.error / math.sqrt(len(off))),
                  "four of its standard errors"),
        ],
        notes={f"{name}: mean of ln p": float(x.mean()) for name, x in value.items()}
        | {f"{name}: share less likely than their whole digit": found.below(name)
           for name in damaged}
        | {"standard error of one estimate (nats)": found.error},
        draw=lambda fig: _draw(fig, found),
        size=(5.2, 4.6),
    )  # fmt: skip


def _draw(fig: plot.Figure, found: Likelihoods) -> None:
    """Digits, whole and damaged, with the number under each."""
    rows = {name: found.pictures[name] for name in SHOWN}
    words = {name: [f"{v:.2f}" for v in found.number(name).tolist()] for name in SHOWN}
    drawings.pictures(fig, rows, 8, words, span=(-1.0, 1.0))
