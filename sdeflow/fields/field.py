r"""Ask a field for clean data, noise, score or velocity at a noisy point.

Each of these is a conditional mean E[a x_0 + b eps | x_t], and (a, b) is its row. A field computes
one of them, and a 2x2 linear system gives the others (see `prediction`).

    ExactField    of a distribution whose posterior is known
    LearnedField  of a network
    GuidedField   of two fields, one pushed away from the other

`at(t, c, like)` computes whatever depends on time alone and returns a function of x. It serves
training, single questions and solvers; a solver makes a `table` of such functions, one for each of
its times.

See docs/theory.md, (3.3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate
from sdeflow._validation import SdeflowError, check_cloud, shown
from sdeflow.fields.prediction import Prediction, Row, decode, mixing
from sdeflow.processes.process import Coefficients, Process, Scalar, check_process

Table = Callable[[int], Evaluate]
"""k -> the evaluation at the k-th time of a row of times."""


class Pairs(Enum):
    """The joint distribution of the pairs (x_0, eps) whose conditional means a field gives.

    INDEPENDENT: eps is Gaussian noise, independent of x_0. COUPLED: eps is Gaussian noise, paired
    with x_0, as by `training.optimal_transport`. SOURCED: eps is drawn from a distribution of your
    own, paired or not. All have the velocity of a flow; only independent pairs have a score.
    """

    INDEPENDENT = "independent"
    COUPLED = "coupled"
    SOURCED = "sourced"


@dataclass(frozen=True, eq=False, repr=False)
class Field(ABC):
    """The conditional means of clean data and noise given x_t, for one process.

    Each prediction costs one evaluation. A subclass defines `row` and `at`.
    """

    process: Process

    def __post_init__(self) -> None:
        check_process(self.process)

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {type(self.process).__name__}"

    @property
    def dim(self) -> int | None:
        """d, the dimension of the clouds (n, d) that the field takes; None for any dimension."""
        return None

    @property
    def pairs(self) -> Pairs:
        """The kind of the pairs (x_0, eps); a score needs independent ones."""
        return Pairs.INDEPENDENT

    @abstractmethod
    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The row (a, b) of the prediction a x0_hat + b eps_hat that `at` computes."""

    @abstractmethod
    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """The function x (n, d) -> prediction (n, d) at time t.

        Whatever depends on t alone is computed here, before x is known.

        Args:
            t: () or (n,), one time for each particle.
            c: process(t); the coefficients may be floats if t is ().
            like: a cloud of the type and device of the clouds x.
        """

    def table(self, t: Tensor, c: Coefficients[Tensor], like: Tensor) -> Table:
        """The function k -> evaluation (see `at`) at the k-th of a row of times t (K,).

        Only the latest of them is kept, so that memory does not grow with K.
        """
        # The times keep their own precision, whatever the type of the cloud.
        times, rows = t.to(like.device), torch.stack([*c], 1).numpy()
        last: list[tuple[int, Evaluate]] = [(-1, lambda x: x)]

        def evaluate(k: int, x: Tensor) -> Tensor:
            if last[0][0] != k:
                last[0] = k, self.at(times[k], Coefficients(*rows[k].tolist()), like)
            return _shaped(last[0][1](x), x)

        return lambda k: partial(evaluate, k)

    def split(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """The pair x0_hat = E[x_0 | x_t = x] and eps_hat = E[eps | x_t = x], each (n, d).

        x is a cloud (n, d), and t is () or (n,) in [t_min, t_max].
        """
        out, c = self._asked(x, t)
        data, noise = decode(self.row(c), out, x, c)
        return answered(data, x), answered(noise, x)

    def predict(self, row: Prediction, x: Tensor, t: Tensor | float) -> Tensor:
        """The prediction a x0_hat + b eps_hat, (n, d), of a row (a, b); t () or (n,)."""
        if not isinstance(row, Prediction):
            raise TypeError(
                f"row must be a Prediction, such as Prediction.NOISE, got {shown(row)}"
            )
        if row is Prediction.SCORE:
            check_score(self, "Prediction.SCORE")
        out, c = self._asked(x, t)
        u, v = mixing(self.row(c), c, row.row(c))
        return answered(u * x + v * out, x)

    def _asked(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Coefficients[Tensor]]:
        """One evaluation (n, d), and the coefficients in a shape that multiplies x."""
        t = self.process.at(t, check_cloud(x, dim=self.dim))
        c = self.process(t)
        return _shaped(self.at(t, c, x)(x), x), c.along(x)

    def data(self, x: Tensor, t: Tensor | float) -> Tensor:
        """The denoiser x0_hat = E[x_0 | x_t], (n, d)."""
        return self.predict(Prediction.DATA, x, t)

    def noise(self, x: Tensor, t: Tensor | float) -> Tensor:
        """The noise eps_hat = E[eps | x_t], (n, d)."""
        return self.predict(Prediction.NOISE, x, t)

    def score(self, x: Tensor, t: Tensor | float) -> Tensor:
        """The score grad ln p_t = -eps_hat / sigma, (n, d), 1 / length.

        Source: Tweedie's formula; Vincent 2011, eq. 7.
        """
        return self.predict(Prediction.SCORE, x, t)

    def velocity(self, x: Tensor, t: Tensor | float) -> Tensor:
        """The velocity alpha_dot x0_hat + sigma_dot eps_hat, (n, d).

        Source: Lipman et al. 2023, eq. 8.
        """
        return self.predict(Prediction.VELOCITY, x, t)


def answered(out: Tensor, x: Tensor) -> Tensor:
    """Return the answer to a single question, or raise an SdeflowError if it is not finite."""
    if not torch.isfinite(out).all():
        bad = int((~torch.isfinite(out)).any(1).nonzero()[0])
        raise SdeflowError(
            f"the field is not finite in row {bad} of x, of size {float(x[bad].abs().max()):.3g} "
            f"in {x.dtype}; ask nearer to the data, in float64, or a network whose parameters are "
            "finite"
        )
    return out


def check_score(field: Field, what: str) -> None:
    """Raise a ValueError, which names `what`, if the pairs of the field are not independent."""
    if field.pairs is not Pairs.INDEPENDENT:
        raise ValueError(
            f"{what} needs the score, which a field of {field.pairs.value} pairs does not have; "
            "use its flow (eta = 0), or train a field on independent pairs"
        )


def _shaped(out: Tensor, x: Tensor) -> Tensor:
    # A smaller tensor would be broadcast to the cloud without a word.
    if out.shape != x.shape:
        raise ValueError(
            f"the field returned {tuple(out.shape)} for a cloud of shape {tuple(x.shape)}; it "
            "must return the shape of the cloud"
        )
    return out
