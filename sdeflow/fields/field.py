r"""Ask a field for clean data, noise, score or velocity at a noisy point.

All of these are conditional means E[. | x_t] of a row (a, b), a x_0 + b eps (see `prediction`). A
field evaluates one row, and a 2x2 linear system gives the others.

    ExactField    of a distribution whose posterior is known (`exact`)
    LearnedField  of any torch module (`learned`)
    GuidedField   one field pushed away from another (`guided`)

A field is evaluated in one way: `at(t, c, like)` computes what depends on time alone and returns a
function of x. Training, a single question and a solver all use it; a solver makes a `table` of
such functions, one for each of its times.

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
from sdeflow._validation import check_cloud, shown
from sdeflow.fields.prediction import Prediction, Row, decode, mixing
from sdeflow.processes.process import Coefficients, Process, Scalar, check_process

Table = Callable[[int], Evaluate]
"""k -> the evaluation at the k-th time of a row of times."""


class Pairs(Enum):
    """What the pairs (x_0, eps) are whose conditional means a field gives.

    INDEPENDENT Gaussian noise, independent of the data; COUPLED Gaussian noise, paired with the
    data (`training.optimal_transport`); SOURCED points of another source, paired or not. Every
    field has the velocity of its flow; only the first has a score, -eps_hat / sigma.
    """

    INDEPENDENT = "independent"
    COUPLED = "coupled"
    SOURCED = "sourced"


@dataclass(frozen=True, eq=False, repr=False)
class Field(ABC):
    """Conditional means given x_t, under one process; each costs one evaluation.

    A subclass defines `row` and `at`.

    Raises:
        TypeError: process is not a `Process`.
    """

    process: Process

    def __post_init__(self) -> None:
        check_process(self.process)

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {type(self.process).__name__}"

    @property
    def dim(self) -> int | None:
        """d, the dimension of the clouds (n, d) that the field takes; None if any."""
        return None

    @property
    def pairs(self) -> Pairs:
        """What the pairs (x_0, eps) are; only independent ones have a score."""
        return Pairs.INDEPENDENT

    @abstractmethod
    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The row (a, b) of what `at` evaluates: a x0_hat + b eps_hat."""

    @abstractmethod
    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """The evaluation x (n, d) -> (n, d) at time t; what depends on t alone is computed here.

        Args:
            t: () or (n,), one time for each particle.
            c: process(t), shaped like t; floats where t is ().
            like: a cloud of the type and on the device of those to be evaluated.
        """

    def table(self, t: Tensor, c: Coefficients[Tensor], like: Tensor) -> Table:
        """`at` for each of a row of times t (K,), made when it is first evaluated.

        Only the latest evaluation is kept, so that memory does not grow with K.
        """
        # In their own precision: a narrow cloud does not round them.
        times, rows = t.to(like.device), torch.stack([*c], 1).numpy()
        last: list[tuple[int, Evaluate]] = [(-1, lambda x: x)]

        def evaluate(k: int, x: Tensor) -> Tensor:
            if last[0][0] != k:
                last[0] = k, self.at(times[k], Coefficients(*rows[k].tolist()), like)
            return _shaped(last[0][1](x), x)

        return lambda k: partial(evaluate, k)

    def split(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(x0_hat, eps_hat) = (E[x_0 | x_t = x], E[eps | x_t = x]), each (n, d).

        x: (n, d); t: () or (n,) in [t_min, t_max].

        Raises:
            TypeError, ValueError: x is not a finite cloud of this field's dimension; t is neither
                () nor (n,), or out of range.
        """
        out, c = self._asked(x, t)
        return decode(self.row(c), out, x, c)

    def predict(self, row: Prediction, x: Tensor, t: Tensor | float) -> Tensor:
        """a x0_hat + b eps_hat, (n, d), for a row (a, b); x, t and errors as for `split`."""
        if not isinstance(row, Prediction):
            raise TypeError(
                f"row must be a Prediction, such as Prediction.NOISE, got {shown(row)}"
            )
        if row is Prediction.SCORE:
            check_score(self, "Prediction.SCORE")
        out, c = self._asked(x, t)
        u, v = mixing(self.row(c), c, row.row(c))
        return u * x + v * out

    def _asked(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Coefficients[Tensor]]:
        """One evaluation (n, d), and the coefficients shaped to multiply x."""
        t = self.process.at(t, check_cloud(x, dim=self.dim))
        c = self.process(t)
        return _shaped(self.at(t, c, x)(x), x), c.along(x)

    def data(self, x: Tensor, t: Tensor | float) -> Tensor:
        """x0_hat = E[x_0 | x_t], the denoiser, (n, d)."""
        return self.predict(Prediction.DATA, x, t)

    def noise(self, x: Tensor, t: Tensor | float) -> Tensor:
        """eps_hat = E[eps | x_t], (n, d)."""
        return self.predict(Prediction.NOISE, x, t)

    def score(self, x: Tensor, t: Tensor | float) -> Tensor:
        """grad ln p_t = -eps_hat / sigma, (n, d), 1 / length (Tweedie; Vincent 2011, eq. 7)."""
        return self.predict(Prediction.SCORE, x, t)

    def velocity(self, x: Tensor, t: Tensor | float) -> Tensor:
        """alpha_dot x0_hat + sigma_dot eps_hat, (n, d) (Lipman et al. 2023, eq. 8)."""
        return self.predict(Prediction.VELOCITY, x, t)


def check_score(field: Field, what: str) -> None:
    """Refuse what needs the score of a field that has none.

    Raises:
        ValueError: the pairs of the field are not independent.
    """
    if field.pairs is not Pairs.INDEPENDENT:
        raise ValueError(
            f"{what} needs the score, which a field of {field.pairs.value} pairs does not have; "
            "use its flow (eta = 0), or train a field on independent pairs"
        )


def _shaped(out: Tensor, x: Tensor) -> Tensor:
    """Refuse what would be broadcast to the cloud."""
    if out.shape != x.shape:
        raise ValueError(
            f"the field returned {tuple(out.shape)} for a cloud of shape {tuple(x.shape)}"
        )
    return out
