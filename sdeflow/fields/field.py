r"""What we know about the noised data: the two kinds of exact field, and what all fields share.

All knowledge is the conditional mean E[. | x_t], in any of the rows of `prediction`: clean data,
noise, score, velocity. A `Field` evaluates one row, once, and the algebra gives the others.

    ExactField      of a Gaussian mixture: closed form
    EmpiricalField  of a finite point set: closed form, a softmax over the points
    TilesField      of a board of squares: closed form, a cut-off normal for each (`tiles`)
    LearnedField    of any torch module (`learned`)

The first three are truth to compare with, and also tell how much of (x_0, eps) stays unknown given
x_t: the floor under every training loss.

See docs/theory.md, (3.3); (3.5) to (3.7) and (3.9) for the exact fields.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_cloud
from sdeflow.fields.prediction import Prediction, Row, decode, encode
from sdeflow.processes.process import Coefficients, Process, Scalar

Evaluate = Callable[[int, Tensor], Tensor]
"""(k, x) -> (n, d): one evaluation at the k-th of a row of times."""

Tabulate = Callable[[Tensor, Coefficients[Tensor]], Evaluate]
"""Times (K,) and the process there -> the evaluation at each."""


@dataclass(frozen=True, eq=False)
class Field(ABC):
    """Conditional means given x_t, under one process. Each costs one evaluation.

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
        """The row that `evaluate` gives."""

    @abstractmethod
    def evaluate(self, x: Tensor, t: Tensor, c: Coefficients) -> Tensor:
        """The one evaluation, (n, d), with process(t) = c at hand: lined up with x, or floats."""

    def tabulator(self, like: Tensor) -> Tabulate:
        """For clouds like this one: times t (K,) and process(t) -> `evaluate` there, as (k, x).

        What depends on time alone is worked out beforehand: a solver's step pays for x only.
        """

        def tabulate(t: Tensor, c: Coefficients[Tensor]) -> Evaluate:
            times, rows = t.to(like), torch.stack([*c], 1).numpy()
            return lambda k, x: self.evaluate(x, times[k], Coefficients(*rows[k].tolist()))

        return tabulate

    def split(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """(x0_hat, eps_hat) = (E[x_0 | x_t = x], E[eps | x_t = x]), each (n, d).

        x: (n, d); t: () or (n,) in [t_min, t_max].

        Raises:
            TypeError, ValueError: x is no finite cloud of this field's dimension; t does not fit
                or is out of range.
        """
        t = self.process.at(t, check_cloud(x, dim=self.dim))
        c = self.process(t).along(x)
        return decode(self.row(c), self.evaluate(x, t.to(x.dtype), c), x, c)

    def predict(self, row: Prediction, x: Tensor, t: Tensor | float) -> Tensor:
        """a x0_hat + b eps_hat for one row (a, b), (n, d); x, t and errors as for `split`."""
        if not isinstance(row, Prediction):
            raise TypeError(f"row must be a Prediction, such as Prediction.NOISE, got {row!r}")
        c = self.process(self.process.at(t, check_cloud(x, dim=self.dim))).along(x)
        return encode(row.row(c), *self.split(x, t))

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
