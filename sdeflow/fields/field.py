r"""What is known about clean data and noise at a noisy point: the interface of all fields.

All knowledge is the conditional mean E[. | x_t], in any of the rows of `prediction`: clean data,
noise, score, velocity. A `Field` evaluates one row, once, and the algebra gives the others.

    ExactField    of a distribution whose posterior is known (`exact`)
    LearnedField  of any torch module (`learned`)
    GuidedField   one field pushed away from another (`guided`)

A field is asked in one way. `at(t, c, like)` works out what depends on time alone and returns a
function of x; training, a single question and a solver's step all call it, and a solver takes a
`table` of them over its times.

See docs/theory.md, (3.3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate
from sdeflow._validation import check_cloud
from sdeflow.fields.prediction import Prediction, Row, decode, mixing
from sdeflow.processes.process import Coefficients, Process, Scalar

Table = Callable[[int], Evaluate]
"""k -> the evaluation at the k-th of a row of times."""


@dataclass(frozen=True, eq=False)
class Field(ABC):
    """Conditional means given x_t, under one process. Each costs one evaluation.

    A field of your own gives `row` and `at`.

    Raises:
        TypeError: process is no `Process`.
    """

    process: Process

    def __post_init__(self) -> None:
        """Refuse what is no process."""
        if not isinstance(self.process, Process):
            got = self.process if isinstance(self.process, type) else type(self.process)
            raise TypeError(f"process must be a Process, such as sf.VP(), got {got.__name__}")

    @property
    def dim(self) -> int | None:
        """d of the clouds that this field is about; None if it does not say."""
        return None

    @abstractmethod
    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The row (a, b) that `at` evaluates: a x0_hat + b eps_hat."""

    @abstractmethod
    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """The evaluation x (n, d) -> (n, d) at time t, with all that depends on t worked out.

        Args:
            t: () or (n,), one time for each particle.
            c: process(t), shaped like t; floats where t is ().
            like: a cloud of the type and device of those to come.
        """

    def table(self, t: Tensor, c: Coefficients[Tensor], like: Tensor) -> Table:
        """`at` for each of a row of times t (K,), made when it is first evaluated.

        A run of a million steps must not cost memory: only the latest evaluation is kept.
        """
        times, rows = t.to(like), torch.stack([*c], 1).numpy()
        last: list[tuple[int, Evaluate]] = [(-1, lambda x: x)]

        def evaluate(k: int, x: Tensor) -> Tensor:
            if last[0][0] != k:
                last[0] = k, self.at(times[k], Coefficients(*rows[k].tolist()), like)
            return last[0][1](x)

        return lambda k: partial(evaluate, k)

    def split(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(x0_hat, eps_hat) = (E[x_0 | x_t = x], E[eps | x_t = x]), each (n, d).

        x: (n, d); t: () or (n,) in [t_min, t_max].

        Raises:
            TypeError, ValueError: x is no finite cloud of this field's dimension; t does not fit
                or is out of range.
        """
        out, c = self._asked(x, t)
        return decode(self.row(c), out, x, c)

    def predict(self, row: Prediction, x: Tensor, t: Tensor | float) -> Tensor:
        """a x0_hat + b eps_hat for one row (a, b), (n, d); x, t and errors as for `split`."""
        if not isinstance(row, Prediction):
            raise TypeError(f"row must be a Prediction, such as Prediction.NOISE, got {row!r}")
        out, c = self._asked(x, t)
        u, v = mixing(self.row(c), c, row.row(c))
        return u * x + v * out

    def _asked(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Coefficients[Tensor]]:
        """The one evaluation, and the coefficients lined up with x."""
        t = self.process.at(t, check_cloud(x, dim=self.dim))
        c = self.process(t)
        return self.at(t, c, x)(x), c.along(x)

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
