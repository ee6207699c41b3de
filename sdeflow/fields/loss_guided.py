r"""Guide a sampler by the gradient of a loss of clean data.

    score -> score - w grad_x L_t(x_t)

For the posterior p(x_0 | y) with exp(-L(x_0)) = p(y | x_0) and w = 1 this is exact if
L_t = -ln E[exp(-L(x_0)) | x_t]. Two approximations of L_t are here, with m = x0_hat(x_t):

    L(m)                                    no spread of x_0 given x_t       Chung et al. 2023
    L(m) - ln of its Gaussian smoothing     x_0 given x_t is N(m, v I)       Song et al. 2023

The first pulls too hard at high noise, where m says little about x_0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate
from sdeflow._validation import check_finite, check_function, check_kind, check_positive
from sdeflow.fields.field import Field, check_score
from sdeflow.fields.prediction import Prediction, Row, mixing
from sdeflow.processes.process import Coefficients, Process, Scalar

Loss = Callable[[Tensor], Tensor]
"""Clean data (n, d) -> (n,), differentiable; -ln p(y | x_0) for a posterior."""

MOST = 20  # conjugate gradients; d of them are exact for a quadratic loss


@dataclass(frozen=True, eq=False, repr=False)
class LossGuidedField(Field):
    r"""A field whose score is that of `field` minus scale * grad_x L_t(x).

    With m = x0_hat(x, t), J = dm/dx, and H the second derivative of the loss at m,

        grad_x L_t = J^T (1 + v H)^{-1} grad L(m),    v = s^2 sigma^2 / (alpha^2 s^2 + sigma^2).

    Without `data_std` v is 0: diffusion posterior sampling, which is not the posterior, also for
    Gaussian data. With it v is the variance of x_0 given x_t for data N(mean, s^2 I), as in
    pseudoinverse guidance: then a quadratic loss gives the exact posterior for such data, and an
    approximation for all others. A linear system with 1 + v H costs up to `MOST` second
    derivatives of the loss, and none of the field; the field is differentiated once.

    Args:
        field: of independent pairs, differentiable in x.
        loss: (n, d) -> (n,), of clean data, differentiable (twice, with `data_std`).
        scale: w; 1 for the posterior of the loss -ln p(y | x_0).
        data_std: s, the standard deviation of the data along each axis (length); None: v = 0.

    Raises:
        TypeError: field is not a `Field`, loss is not a function, or a number is none.
        ValueError: the field has no score, scale is not finite or data_std not positive; when
            evaluated, the loss has another shape or no gradient.

    Source: Chung et al. 2023, "Diffusion posterior sampling", eq. 16; Song et al. 2023,
    "Pseudoinverse-guided diffusion models", eq. 7.
    """

    process: Process = field(init=False)
    field: Field
    loss: Loss
    scale: float = 1.0
    data_std: float | None = None

    def __post_init__(self) -> None:
        check_score(check_kind(self.field, Field, "field"), "loss guidance")
        check_function(self.loss, "loss", "of clean data, (n, d) -> (n,)")
        object.__setattr__(self, "process", self.field.process)
        object.__setattr__(self, "scale", check_finite(self.scale, "scale"))
        if self.data_std is not None:
            object.__setattr__(self, "data_std", check_positive(self.data_std, "data_std"))

    def __repr__(self) -> str:
        return f"field guided by a loss, scale {self.scale:g}: {self.field}"

    @property
    def dim(self) -> int | None:
        """See `Field`."""
        return self.field.dim

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """See `Field`: noise."""
        return Prediction.NOISE.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """See `Field`; the field is evaluated once, and differentiated once."""
        base = self.field.at(t, c, like)
        now = c.along(like) if isinstance(c.alpha, Tensor) else c
        row = self.field.row(now)
        to_data, to_noise = mixing(row, now, (1.0, 0.0)), mixing(row, now, (0.0, 1.0))
        variance = 0.0 * now.sigma
        if self.data_std is not None:
            s2 = self.data_std**2
            variance = s2 * now.sigma**2 / (now.alpha**2 * s2 + now.sigma**2)

        def evaluate(x: Tensor) -> Tensor:
            keep = torch.is_grad_enabled() and x.requires_grad
            with torch.enable_grad():
                at = x if keep else x.detach().requires_grad_()
                out = base(at)
                data = to_data[0] * at + to_data[1] * out
                pull = self._pull(data, variance, keep)
                push = torch.autograd.grad(data, at, pull, create_graph=keep)[0]
            out = out if keep else out.detach()
            return to_noise[0] * x + to_noise[1] * out + self.scale * now.sigma * push

        return evaluate

    def _pull(self, data: Tensor, variance: Tensor | float, keep: bool) -> Tensor:
        """(1 + v H)^{-1} grad L (n, d) at clean data (n, d)."""
        point = data if keep else data.detach().requires_grad_()
        loss = self.loss(point)
        if not isinstance(loss, Tensor) or loss.shape != data.shape[:1]:
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(
                f"loss must return one number for each particle, {tuple(data.shape[:1])}, got "
                f"{got}; sum over the coordinates"
            )
        if not loss.requires_grad:
            raise ValueError("loss has no gradient; write it with torch")
        curved = self.data_std is not None
        slope = torch.autograd.grad(loss.sum(), point, create_graph=keep or curved)[0]
        if not curved:
            return slope

        def system(p: Tensor) -> Tensor:
            if not slope.requires_grad:  # the loss is linear
                return p
            bent = torch.autograd.grad(
                slope, point, p, retain_graph=True, create_graph=keep, allow_unused=True
            )[0]
            return p if bent is None else p + variance * bent

        return _solved(system, slope if keep else slope.detach())


def _solved(system: Callable[[Tensor], Tensor], b: Tensor) -> Tensor:
    """The solution (n, d) of system(y) = b, row by row, by conjugate gradients from 0.

    Where the system is not positive, as for a loss that is not convex, the last sum is kept; b
    itself if it is the first.
    """
    y, r, p = torch.zeros_like(b), b, b
    rr, tiny = (r * r).sum(1, keepdim=True), torch.finfo(b.dtype).eps ** 2
    least, live = tiny * rr, rr > 0
    for k in range(min(MOST, b.shape[1])):
        moved = system(p)
        curvature = (p * moved).sum(1, keepdim=True)
        stuck = live & (curvature <= 0)
        y = torch.where(stuck, b, y) if k == 0 else y
        live = live & ~stuck
        step = torch.where(live, rr / torch.where(live, curvature, 1.0), 0.0)
        y, r = y + step * p, r - step * moved
        after = (r * r).sum(1, keepdim=True)
        p = r + torch.where(live, after / torch.where(live, rr, 1.0), 0.0) * p
        rr, live = after, live & (after > least)
        if not live.any():
            break
    return y
