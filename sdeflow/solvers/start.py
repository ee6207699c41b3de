"""Compare the start of a sampling run with the cloud that the field expects there."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field, Pairs
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.loss_guided import LossGuidedField
from sdeflow.random_streams import Stream, normals
from sdeflow.sdes.field_sde import FieldSDE, TimeCoefficients
from sdeflow.sdes.multistep import Moments, MultistepSDE, known_spread
from sdeflow.sdes.sde import SDE

ENOUGH, LOOKED_AT = 64, 4096
"""The fewest and the most particles of which the median and the width are looked at."""

APART = 0.2
"""Share of the width by which both may be off: a prior without the data is off less."""


def check_start(sde: SDE, x: Tensor, times: Tensor, stacklevel: int = 3) -> None:
    """Warn where the cloud x (n, d) is not what noised data are at the first time.

    That is alpha x_0 + sigma eps, of data as far as the field knows them. Compared are the medians
    and the widths between the quantiles, which a few outliers do not move. Runs of few particles,
    of particles that all start at one point, from another time than the SDE's own, or from a
    source that is not Gaussian noise, are not looked at.

    Warns:
        UserWarning: median or width are off by more than a fifth of the width, the run ends at
            noise above the data's standard deviation, or a guided flow is sampled in multistep
            form by a recipe.
    """
    if isinstance(sde, MultistepSDE) and sde.untried:
        warnings.warn(
            "the steps of this guided flow are those of the safe recipe, untried on this field; "
            "sf.sdes.calibrate(field, steps) tries them beside the default recipe and fitted "
            "steps and takes the best, order= and corrector= choose by hand",
            stacklevel=stacklevel,
        )
    if not isinstance(sde, FieldSDE) or not sde.as_made or len(x) < ENOUGH:
        return
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
            f"middle is {off:.2g} widths off: draw it by process.prior(..., data=), divide it by "
            "alpha for comoving, or bring the data to mean 0 and standard deviation 1",
            stacklevel=stacklevel,
        )
    last = float(ends.c.sigma[1] / ends.c.alpha[1])
    if sde.t_end in (process.t_min, process.noise_level(process.t_min)) and last > known.std:
        warnings.warn(
            f"the run ends at the noise level {last:.3g}, and the data have standard deviation "
            f"{known.std:.3g}: take a process that ends lower, or data.standardised()",
            stacklevel=stacklevel,
        )


def _expected(
    field: Field, known: Moments, ends: TimeCoefficients, dim: int
) -> tuple[Tensor, float]:
    """Median (d,) and width of noised data at the first time."""
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
