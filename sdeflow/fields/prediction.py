r"""Convert between predictions: clean data, noise, score, velocity, v.

x_t = alpha x_0 + sigma eps is one linear equation for x_0 and eps, and a prediction is a second,

    prediction = a x_0 + b eps,

        data      x_0                              (1, 0)
        noise     eps                              (0, 1)
        score     -eps / sigma                     (0, -1 / sigma)     Tweedie; Vincent 2011
        velocity  alpha_dot x_0 + sigma_dot eps    (alpha_dot, sigma_dot)
        v         alpha eps - sigma x_0            (-sigma, alpha)     Salimans and Ho 2022

So a 2x2 linear system gives x_0 and eps, and from them any other prediction. It is singular if
alpha b = sigma a, as for data at sigma = 0 and for noise at alpha = 0. `unit_row` is one more
prediction, the target of EDM.

VELOCITY and V are different. VELOCITY is the time derivative of x_t, the target of flow matching.
V is "v-prediction", `v_prediction` in diffusers, and does not depend on the unit of time. On a
variance-preserving process VELOCITY is V times the rate of arctan(sigma / alpha), about a
thousandth on DDPM's table.

See docs/theory.md, (3.1) and (3.2); (3.8) for the unit row.
"""

from __future__ import annotations

from enum import Enum

from torch import Tensor

from sdeflow._validation import shown
from sdeflow.processes.process import Coefficients, Scalar

Row = tuple[Scalar | float, Scalar | float]


class Prediction(Enum):
    """The quantity a x_0 + b eps that a network predicts; (a, b) is its row.

    DATA: x_0. NOISE: eps. SCORE: -eps / sigma. VELOCITY: alpha_dot x_0 + sigma_dot eps, that of
    flow matching, in our direction of time. V: alpha eps - sigma x_0, the v-prediction of Salimans
    and Ho 2022, which is not the velocity in any time t.
    """

    DATA = "data"
    NOISE = "noise"
    SCORE = "score"
    VELOCITY = "velocity"
    V = "v"

    @classmethod
    def _missing_(cls, value: object) -> Prediction:
        names = ", ".join(row.value for row in cls)
        raise ValueError(f"there is no prediction {shown(value)}; take one of {names}")

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The row (a, b) at the time of the coefficients c."""
        if self is Prediction.DATA:
            return 1.0, 0.0
        if self is Prediction.NOISE:
            return 0.0, 1.0
        if self is Prediction.SCORE:
            return 0.0, -1.0 / c.sigma
        if self is Prediction.V:
            return -c.sigma, c.alpha
        return c.alpha_dot, c.sigma_dot


def unit_row(c: Coefficients[Scalar], data_std: float) -> Row[Scalar]:
    """The row of EDM, (sigma / s, -alpha s) / sqrt(V), V = alpha^2 s^2 + sigma^2, s = data_std.

    For data of standard deviation s this prediction has unit variance and is uncorrelated with x_t
    at every noise level. EDM's preconditioning is a network that takes x_t / sqrt(V) and predicts
    this row. For s = 1 and a variance-preserving process it is minus `Prediction.V`.

    Source: Karras et al. 2022, eq. 7, for any alpha.
    """
    root = (c.alpha**2 * data_std**2 + c.sigma**2) ** 0.5
    return c.sigma / (data_std * root), -c.alpha * data_std / root


def encode(row: Row[Scalar], x0: Tensor, eps: Tensor) -> Tensor:
    """The prediction a x0 + b eps, (n, d), for row = (a, b) and x0, eps (n, d)."""
    a, b = row
    return a * x0 + b * eps


def mixing(
    row: Row[Scalar], c: Coefficients[Scalar], target: Row[Scalar]
) -> tuple[Scalar, Scalar]:
    """(u, v) such that target = u x_t + v prediction, for a prediction with this row (a, b).

    By Cramer's rule, for the target p x_0 + q eps,

        u = (p b - q a) / D,    v = (q alpha - p sigma) / D,    D = alpha b - sigma a.
    """
    (a, b), (p, q) = row, target
    determinant = c.alpha * b - c.sigma * a
    return (p * b - q * a) / determinant, (q * c.alpha - p * c.sigma) / determinant


def decode(
    row: Row[Tensor], prediction: Tensor, x: Tensor, c: Coefficients[Tensor]
) -> tuple[Tensor, Tensor]:
    """(x_0, eps), each (n, d), from a prediction (n, d) with this row at x_t = x (n, d)."""
    u, v = mixing(row, c, (1.0, 0.0))
    x0 = u * x + v * prediction
    u, v = mixing(row, c, (0.0, 1.0))
    return x0, u * x + v * prediction
