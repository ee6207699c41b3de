"""With no class asked for, each class comes as often as it is in the data.

Says: the empty prompt still gives "this video of a woman" (000): the null condition samples what
the training set holds.
Measured: the field without a class is put together from the fields of the classes by Bayes' rule,
and the share of each class among 1000 samples of its flow is compared with that in the data.
Control: the classes are mixed by their shares in the data, wherever x_t is.
Source: Bayes' rule; the classes of the spiral are 30, 30 and 40 of 100 points.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about
from benchmarks.claims.setting import LABELS, POINTS, SPIRAL, WIDE, exact
from sdeflow import diagnostics
from sdeflow._blocks import Evaluate
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fields.prediction import Row
from sdeflow.processes.process import Coefficients, Scalar
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver

SUBJECT, CONTROL = 1.0, 0.0  # power of the likelihood in Bayes' rule


@dataclass(frozen=True, eq=False)
class FieldOfClasses(Field):
    """The field without a class, as a mean of the fields of the classes.

        eps_hat = sum_c P(c | x_t) eps_hat_c,    P(c | x_t) ~ P(c) p_t(x | c)^evidence.

    With evidence = 1 this is Bayes' rule; with 0 the shares do not depend on x_t.
    """

    whole: ExactField
    evidence: float = 1.0

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The row of the exact field."""
        return self.whole.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """The weighted mean of the fields of the classes."""
        parts = [self.whole.given(label) for label in range(3)]
        known = [part.at(t, c, like) for part in parts]
        points = [part.distribution.points.to(like) for part in parts]
        densities = [GaussianMixture.isotropic(p, 0.0).noised(c.alpha, c.sigma) for p in points]

        def evaluate(x: Tensor) -> Tensor:
            logs = [self.evidence * p.log_prob(x) + math.log(len(p.means)) for p in densities]
            share = torch.softmax(torch.stack(logs), 0)
            return (share[..., None] * torch.stack([part(x) for part in known])).sum(0)

        return evaluate


def measure(lab: Lab, evidence: float) -> Finding:
    """Shares of the classes in a cloud of the flow."""
    field = FieldOfClasses(WIDE, exact(), evidence)
    n, share = 1000, torch.bincount(LABELS).double() / len(LABELS)
    path = ODESolver("heun2", 63).solve(reverse(field, 0.0), WIDE.prior(n, 2, lab.seed), 1)
    found = diagnostics.class_shares(path.x[-1], POINTS, LABELS)
    error = (share * (1 - share) / n).sqrt()
    deviation = float(((found - share).abs() / error).max())
    return Finding(
        [
            Check(
                f"share of the class {name}",
                float(found[i]),
                about(float(share[i]), 4 * float(error[i])),
                "share in the data; within four binomial standard errors",
            )
            for i, name in enumerate(SPIRAL.classes)
        ],
        notes={"largest deviation (standard errors)": deviation},
    )
