"""Compare the start of a sampling run with noised data at the same time."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from sdeflow._validation import check_cloud
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field, Pairs
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.loss_guided import LossGuidedField
from sdeflow.random_streams import Stream, normals
from sdeflow.sdes.field_sde import FieldSDE, TimeCoefficients
from sdeflow.sdes.multistep import Moments, MultistepSDE, known_spread
from sdeflow.sdes.sde import SDE

ENOUGH, LOOKED_AT = 64, 4096
"""The fewest and the most particles from which the median and the width are computed."""

APART = 0.2
"""How much both may be off, relative to the width; a prior without the data is off by less."""


def check_start(sde: SDE, x: Tensor, times: Tensor, stacklevel: int = 3) -> None:
    """Warn if the cloud x (n, d) does not look like noised data at the first time.

    Medians and widths between quantiles, which a few outliers do not change, are compared with
    those of alpha x_0 + sigma eps, where the field's data are known. Not checked are runs of few
    particles, of particles at one point, from another time than t_start, or from a source that is
    not Gaussian noise.

    Warns:
        UserWarning: median or width are off by more than a fifth of the width; or the run ends at
            a noise level above the standard deviation of the data; or the multistep steps of a
            guided flow come from a recipe.
    """
    if isinstance(sde, MultistepSDE) and sde.untried:
        warnings.warn(
            "the steps of this guided flow are those of the safe recipe, which was not tried on "
            "this field; compare a run of more steps, or use sf.sdes.calibrate(field, steps), "
            "which compares it with fitted steps, or choose order= and corrector= by hand",
            stacklevel=stacklevel,
        )
    if not isinstance(sde, FieldSDE) or not sde.as_made or len(x) < ENOUGH:
        return
    check_cloud(x.detach()[:1], dim=sde.field.dim)
    if sde.field.pairs is Pairs.SOURCED:
        return
    process, known = sde.field.process, known_spread(sde.field)
    if known is None or not known.std or sde.direction > 0 or float(times[0]) != sde.t_start:
        return
    ends = sde.coefficients(times[[0, -1]])
    middle, width = _expected(sde.field, known, ends, x.shape[1])
    centre, wide = _robust(x.detach()[:LOOKED_AT].double().cpu())
    off, ratio = float((centre - middle).abs().max()) / width, wide / width
    if wide and max(off, abs(ratio - 1)) > APART + 5 / math.sqrt(min(len(x), LOOKED_AT)):
        warnings.warn(
            f"the start has {ratio:.2g} times the width of noised data at this time, and its "
            f"median is {off:.2g} widths off; draw it by process.prior(..., data=), divide it by "
            "alpha for comoving, or bring the data to mean 0 and standard deviation 1",
            stacklevel=stacklevel,
        )
    last = float(ends.c.sigma[1] / ends.c.alpha[1])
    if sde.t_end in (process.t_min, process.noise_level(process.t_min)) and last > known.std:
        warnings.warn(
            f"the run ends at the noise level {last:.3g}, and the data have standard deviation "
            f"{known.std:.3g}; take a process with a smaller t_min, or data.standardised()",
            stacklevel=stacklevel,
        )


def _expected(
    field: Field, known: Moments, ends: TimeCoefficients, dim: int
) -> tuple[Tensor, float]:
    """The median (d,) and the width of noised data at the first time."""
    alpha, sigma, scale = (float(v[0]) for v in (ends.c.alpha, ends.c.sigma, ends.scale))
    while isinstance(field, GuidedField | LossGuidedField):
        field = field.conditional if isinstance(field, GuidedField) else field.field
    if isinstance(field, ExactField):
        x0 = field.sample(1024, seed=0).double().cpu()
        eps = normals(0, Stream.PROBE, len(x0), dim, torch.float64)
        return _robust((alpha * x0 + sigma * eps) / scale)
    mean = torch.zeros(dim) if known.mean is None else known.mean.cpu()
    return mean.double() * (alpha / scale), math.hypot(alpha * known.std, sigma) / scale


def _robust(x: Tensor) -> tuple[Tensor, float]:
    """The median along each axis, and half the width between the quantiles .16 and .84."""
    low, middle, high = torch.quantile(x, x.new_tensor([0.16, 0.5, 0.84]), 0)
    return middle, float(((high - low) / 2).square().mean().sqrt())
