r"""The field that a network has learned.

Any torch module will do. Our own (`network.Conditioned`) can work out its noise and label features
beforehand, and so pays for the particles only.

See docs/theory.md, (3.8) for the preconditioning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sdeflow._blocks import block, in_blocks
from sdeflow._validation import check_labels, check_positive
from sdeflow.fields.field import Evaluate, Field, Tabulate
from sdeflow.fields.networks import MLP, Condition, Conditioned
from sdeflow.fields.prediction import Prediction, Row, unit_row
from sdeflow.processes.process import Coefficients, Scalar

PAGE = 64
"""Times for which a network's noise features are worked out at once."""


@dataclass(frozen=True, eq=False)
class LearnedField(Field):
    """The field that a network has learned.

    Args:
        network: any torch module, called as network(x, t) -> (n, d), or network(x, t, label) when
            a label is bound by `given`; x (n, d), t () or (n,), label () or (n,) of int64.
        predicts: the row it was trained for.
        data_std: the data's standard deviation per coordinate. If given, the network is
            preconditioned as in EDM: it sees x_t / sqrt(V) and gives the `unit` row, whatever
            `predicts` says. Then, and for our own `MLP` always, it sees
            ln(sigma / (alpha data_std)) / 4 for t.
        label: what `given` binds.

    Raises:
        ValueError: data_std is not positive; the label is not one that the network knows, or it
            knows none; or, when evaluated, the network returns another shape than it was given.
        TypeError: network is no torch module, predicts is no `Prediction`, label is not whole.

    Source: Karras et al. 2022, eq. 7 and table 1.
    """

    network: nn.Module
    predicts: Prediction = Prediction.NOISE
    data_std: float | None = None
    label: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse what is no network, no row, no size, no label."""
        super().__post_init__()
        if not isinstance(self.network, nn.Module):
            raise TypeError(f"network must be a torch module, got {type(self.network).__name__}")
        if not isinstance(self.predicts, Prediction):
            raise TypeError(f"predicts must be a Prediction, got {self.predicts!r}")
        if self.data_std is not None:
            object.__setattr__(self, "data_std", check_positive(self.data_std, "data_std"))
        if self.label is not None:
            known = getattr(self.network, "labels", None)
            if isinstance(known, int) and not known:
                raise ValueError("this network knows no labels; make it with labels=")
            most = known if isinstance(known, int) else None
            object.__setattr__(self, "label", check_labels(self.label, "label", most))

    @property
    def dim(self) -> int | None:
        """See `Field`."""
        return self.network.dim if isinstance(self.network, MLP) else None

    def given(self, label: Tensor | int | None) -> LearnedField:
        """The same field with a class bound: one for all (), one each (n,), or None for none.

        Raises:
            ValueError, TypeError: the network does not know this label.
        """
        return replace(self, label=None if label is None else check_labels(label, "label"))

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """See `Field`."""
        return self.predicts.row(c) if self.data_std is None else unit_row(c, self.data_std)

    def evaluate(self, x: Tensor, t: Tensor, c: Coefficients) -> Tensor:
        """One network call on the whole cloud; in blocks of rows where no gradient is due.

        A cloud of another floating type is rounded to the network's on the way in.
        """
        given, parameter = x.dtype, next(self.network.parameters(), None)
        if parameter is not None and parameter.dtype != given:
            own = parameter.dtype
            rounded = Coefficients(*(v.to(own) if isinstance(v, Tensor) else v for v in c))
            return self.evaluate(x.to(own), t.to(own), rounded).to(given)
        if self.data_std is not None:
            x = x * (c.alpha**2 * self.data_std**2 + c.sigma**2) ** -0.5
        if self.data_std is not None or isinstance(self.network, Conditioned):
            level = torch.as_tensor(c.sigma / (c.alpha * (self.data_std or 1.0)), dtype=x.dtype)
            t = torch.log(level).reshape(t.shape) / 4
        each = self.label is not None and self.label.ndim == 1
        if t.ndim or each or torch.is_grad_enabled():
            out = self.network(x, t) if self.label is None else self.network(x, t, self.label)
            return self._checked(out, x)
        network = self.network
        if isinstance(network, Conditioned):
            condition = network.condition(t, self.label)
            return in_blocks(lambda rows: network.body(rows, condition), x)
        label = () if self.label is None else (self.label,)
        return in_blocks(lambda rows: self._checked(self.network(rows, t, *label), rows), x)

    def tabulator(self, like: Tensor) -> Tabulate:
        """See `Field`; our own MLP's noise and label features are a table too."""
        network, std = self.network, self.data_std
        parameter = next(network.parameters(), like)
        if parameter.dtype != like.dtype or (self.label is not None and self.label.ndim == 1):
            return super().tabulator(like)
        # One working space for all tables: the stages of a step share the cache.
        own = (network, network.bound(block())) if isinstance(network, Conditioned) else None

        def tabulate(t: Tensor, c: Coefficients[Tensor]) -> Evaluate:
            levels = torch.log(c.sigma / (c.alpha * (std or 1.0))) / 4
            if own is not None:
                rows_at = self._paged(*own, levels.to(like))
            else:
                rows_at = self._timed((t if std is None else levels).to(like))
            if std is None:
                return lambda k, x: in_blocks(rows_at(k), x)
            scale = ((c.alpha * std) ** 2 + c.sigma**2).rsqrt().tolist()
            return lambda k, x: in_blocks(rows_at(k), x * scale[k])

        return tabulate

    def _paged(
        self, network: Conditioned, body: Callable[[Tensor, Condition], Tensor], levels: Tensor
    ) -> Callable[[int], Callable[[Tensor], Tensor]]:
        """Our own network at each of these noise levels (K,), a page of its features at a time.

        A run of a million steps must not cost memory.
        """
        page, known = -1, list[Condition]()

        def rows_at(k: int) -> Callable[[Tensor], Tensor]:
            nonlocal page, known
            if k // PAGE != page:
                page = k // PAGE
                parts = network.condition(levels[page * PAGE : (page + 1) * PAGE], self.label)
                known = list(zip(*(part.split(1) for part in parts), strict=True))
            condition = known[k % PAGE]
            return lambda rows: body(rows, condition)

        return rows_at

    def _timed(self, seen: Tensor) -> Callable[[int], Callable[[Tensor], Tensor]]:
        """Any other network at each of these times (K,)."""
        network, label = self.network, () if self.label is None else (self.label,)

        def rows_at(k: int) -> Callable[[Tensor], Tensor]:
            now = seen[k]
            return lambda rows: self._checked(network(rows, now, *label), rows)

        return rows_at

    @staticmethod
    def _checked(out: Tensor, x: Tensor) -> Tensor:
        if not isinstance(out, Tensor) or out.shape != x.shape:
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"the network returned {got} for a cloud of shape {tuple(x.shape)}")
        return out
