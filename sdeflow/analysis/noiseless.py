r"""Compute how narrow samples become if ancestral sampling leaves its noise out (Gaussian data).

Let the data have covariance C, and let y = x / alpha start from N(0, rho_start^2 I). Without its
noise, a step of `ancestral` from t to s multiplies y - mean by (C + v_s) (C + v_t)^{-1}, v =
rho^2. The product over any steps is

    y - mean  ->  (C + v_end) (C + v_start)^{-1} (y - mean).

The probability flow has the square root of that factor. Data of width l become samples of width
about rho_start l^2 / (l^2 + rho_start^2).

See docs/theory.md, (4.3), for the frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_kind, check_numbers
from sdeflow.analysis.noise_level import NoiseLevel


def noiseless_law(
    mean: Tensor, covariance: Tensor, start: NoiseLevel, end: NoiseLevel
) -> tuple[Tensor, Tensor]:
    r"""Mean (d,) and covariance (d, d) of samples by ancestral sampling without its noise.

        mean' = mean - K mean,    covariance' = rho_start^2 K K^T,
        K = (C + rho_end^2) (C + rho_start^2)^{-1}

    in the coordinates y = x / alpha.

    Args:
        mean, covariance: (d,) and C (d, d) of the Gaussian data.
        start, end: the noise levels at which sampling starts and ends.
    """
    covariance = check_numbers(check_cloud(covariance, "covariance"), "covariance")
    d, mean = len(covariance), check_numbers(mean, "mean")
    check_kind(start, NoiseLevel, "start")
    check_kind(end, NoiseLevel, "end")
    if covariance.shape != (d, d) or mean.shape != (d,):
        raise ValueError(
            f"mean must be (d,) and covariance (d, d), got {tuple(mean.shape)} and "
            f"{tuple(covariance.shape)}"
        )
    size, axes = torch.linalg.eigh(covariance)
    kept = axes @ torch.diag((size + end.rho**2) / (size + start.rho**2)) @ axes.T
    return mean - kept @ mean, start.rho**2 * kept @ kept.T
