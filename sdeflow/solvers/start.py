"""Compare the start of a sampling run with the cloud that the field expects there."""

from __future__ import annotations

import math
import warnings

from torch import Tensor

from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.multistep import known_spread
from sdeflow.sdes.sde import SDE

ENOUGH = 64
"""Particles from which the mean and the width of a cloud are looked at."""

APART = 0.2
"""Share of the width by which mean and width may be off: a prior without the data is off less."""


def check_start(sde: SDE, x: Tensor, times: Tensor, stacklevel: int = 3) -> None:
    """Warn where the cloud x (n, d) is not what noised data are at the first time.

    That is alpha x_0 + sigma eps, with the mean and the standard deviation of the data as far as
    the field knows them. Runs of few particles, or from another time than the SDE's own, are not
    looked at.

    Warns:
        UserWarning: mean or width are off by more than a fifth of the width, or the run ends at
            noise that hides the data.
    """
    if not isinstance(sde, FieldSDE) or not sde.as_made or len(x) < ENOUGH:
        return
    process, known = sde.field.process, known_spread(sde.field)
    if known is None or sde.direction > 0 or float(times[0]) != sde.t_start:
        return
    ends = sde.coefficients(times[[0, -1]])
    alpha, sigma, scale = (float(v[0]) for v in (ends.c.alpha, ends.c.sigma, ends.scale))
    width = math.hypot(alpha * known.std, sigma) / scale
    middle = 0.0 if known.mean is None else known.mean.to(x) * (alpha / scale)
    cloud = x.detach().double()
    off = float((cloud.mean(0) - middle).abs().max()) / width
    ratio = float(cloud.var(0).mean().sqrt()) / width
    if max(off, abs(ratio - 1)) > APART + 4 / math.sqrt(len(x)):
        warnings.warn(
            f"the start has {ratio:.2g} times the width of noised data at this time, and its mean "
            f"is {off:.2g} widths off: draw it with process.prior(..., data=), divide it by alpha "
            "for comoving, or bring the data to mean 0 and standard deviation 1",
            stacklevel=stacklevel,
        )
    last = float(ends.c.sigma[1] / ends.c.alpha[1])
    if sde.t_end in (process.t_min, process.noise_level(process.t_min)) and last > known.std / 2:
        warnings.warn(
            f"the run ends at the noise level {last:.3g}, and the data have standard deviation "
            f"{known.std:.3g}: take a process that ends lower, or data.standardised()",
            stacklevel=stacklevel,
        )
