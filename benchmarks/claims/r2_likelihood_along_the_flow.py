"""Sampled noise paths cannot give the likelihood, but one integral along the flow does.

Says: the integral for the likelihood is "intractable", and the log turns products to sums (001, in
our words).
Measured: ln p of 200 points is integrated along the probability flow and compared with the known
density; and 1000 paths of the reverse chain are searched for ends near such a point, which an
average over paths would need.
Correction: intractable as an average over the chain's paths: of a thousand paths none comes near
most points. Along the flow the likelihood is one ordinary differential equation for each point,
exact to the solver's tolerance.
Control: the divergence along the flow is left out; only the density at its far end counts.
Source: Chen et al. 2018, eq. 8. The spiral with width 0.05, whose density is known.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about, above, below
from benchmarks.claims.smooth_spiral import FINE, PRESERVING, ROUND, TOLERATED, noised
from sdeflow.analysis.likelihood import encode, log_likelihood
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver


def along_the_flow(x: Tensor) -> Tensor:
    """ln p at t_min, along the flow."""
    return log_likelihood(ROUND, x, FINE, noised(PRESERVING.t_max).log_prob)


def without_divergence(x: Tensor) -> Tensor:
    """ln p_{t_max} at the place where the flow takes x."""
    return noised(PRESERVING.t_max).log_prob(encode(ROUND, x, FINE))


SUBJECT, CONTROL = along_the_flow, without_divergence


def missed(x: Tensor, seed: int) -> float:
    """The share of x from which all ends of 1000 paths are farther than three last steps."""
    start = PRESERVING.prior(1000, 2, seed, torch.float64)
    paths = SDESolver("euler", 50, seed=seed).solve(ancestral(ROUND), start, 1).x[-1]
    last = float(PRESERVING(torch.tensor(PRESERVING.t_min)).sigma)
    return float((torch.cdist(x, paths).amin(1) > 3 * last).double().mean())


def measure(lab: Lab, log_p: Callable[[Tensor], Tensor]) -> Finding:
    """The error of ln p along the flow; what paths and products of densities give."""
    data = noised(PRESERVING.t_min)
    x = data.sample(200, lab.seed)
    many = data.log_prob(data.sample(4000, lab.seed))
    product = many.exp().prod()
    return Finding(
        [
            Check(
                "rms error of ln p along the flow (nats)",
                (log_p(x) - data.log_prob(x)).square().mean().sqrt(),
                below(TOLERATED),
                "a thousand times the solver's tolerance",
            ),
            Check(
                "share of points without an end of 1000 paths within three last steps",
                missed(x, lab.seed),
                above(0.5),
                "most points",
            ),
            Check(
                "product of 4000 densities, or its inverse if that is smaller",
                torch.minimum(product, 1 / product),
                about(0.0, 0.0),
                "outside the range of double precision",
            ),
        ],
        notes={
            "product of 4000 densities": float(product),
            "sum of their logs": float(many.sum()),
        },
    )
