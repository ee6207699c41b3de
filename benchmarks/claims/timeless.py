"""Train a network without the time, and use the best field that is possible without it (R15)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.claims.setting import POINTS, LectureNetwork, lecture_field
from sdeflow._blocks import Evaluate
from sdeflow.fields.field import Field
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.prediction import Row
from sdeflow.processes.process import Coefficients, Scalar


class Timeless(LectureNetwork):
    """The lecture's network with one fixed time as its input."""

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The output at t = 0.5, whatever t is."""
        return super().forward(x, torch.full_like(t, 0.5), label)


def timeless_field(seed: int) -> LearnedField:
    """The lecture's training without the time."""
    return lecture_field(seed, kind=Timeless)


@dataclass(frozen=True, eq=False)
class BestTimelessField(Field):
    """The best possible field without the time: the mean of eps over all noise levels, too.

    eps_hat = E[eps | x], where sigma is one of the lecture's 64 levels with equal probability.
    """

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The row of eps."""
        return 0.0, 1.0

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """The mean over all levels, the same at each t."""
        return self._over_all_levels

    def _over_all_levels(self, x: Tensor) -> Tensor:
        sigmas = self.process(torch.linspace(0, 1, 64, dtype=torch.float64)).sigma
        square, log_share, known = torch.cdist(x.double(), POINTS) ** 2, [], []
        for sigma in sigmas:
            logits = -square / (2 * sigma**2)
            log_share.append(torch.logsumexp(logits, 1) - 2 * torch.log(sigma))
            known.append((x - torch.softmax(logits, 1) @ POINTS) / sigma)
        share = torch.softmax(torch.stack(log_share), 0)
        return (share[..., None] * torch.stack(known)).sum(0).to(x)
