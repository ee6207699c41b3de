r"""Evaluate both fields of a guided field in one call of their network, on 2 n rows.

together(*parts(conditional, against), scale)    one field; None if two calls are needed
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from sdeflow.fields.field import Field
from sdeflow.fields.film import FilmNetwork
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.network_call import Rest
from sdeflow.fields.networks import Condition, Conditioned


def parts(a: Field, b: Field) -> tuple[Field, Field]:
    """The two fields; if both are of one network with labels, each gets a label."""
    if isinstance(a, LearnedField) and isinstance(b, LearnedField):
        a, b = _of_one(a, b)
        if a.network is b.network:
            return _labelled(a), _labelled(b)
    return a, b


def together(a: Field, b: Field, scale: float) -> LearnedField | None:
    """The field b + scale (a - b), which calls the network of both once; None if impossible."""
    if not (isinstance(a, LearnedField) and isinstance(b, LearnedField)):
        return None
    if a.network is not b.network or type(a) is not type(b):
        return None
    if type(a).at is not LearnedField.at or type(a).table is not LearnedField.table:
        return None  # a subclass that evaluates its network in another way
    if a.label is None or b.label is None or not getattr(a.network, "independent", False):
        return None
    if (
        (a.predicts, a.data_std, a.batch, a.shape) != (b.predicts, b.data_std, b.batch, b.shape)
        or not _same(a.data_mean, b.data_mean)
    ):  # fmt: skip
        return None
    wanted, other = torch.broadcast_tensors(a.label, b.label)
    network, both = a.network, _Both(a.network, scale)
    return _Pair(
        a.process, _BothConditioned(network, scale) if isinstance(network, Conditioned) else both,
        a.predicts, a.data_std, a.data_mean, wanted, batch=a.batch, shape=a.shape, other=other,
    )  # fmt: skip


def pushed(wanted: Tensor, other: Tensor, scale: float | Tensor) -> Tensor:
    """The guided prediction other + w (wanted - other), exact at w = 0 and at w = 1."""
    return torch.lerp(other, wanted, scale.to(wanted) if isinstance(scale, Tensor) else scale)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b or (a is not None and b is not None and torch.equal(a, b))


def _labelled(known: LearnedField) -> LearnedField:
    """The field with a label, "none" if it has none and its network has labels."""
    if known.label is not None or not known.labels:
        return known
    return replace(known, label=torch.tensor(known.labels))


def _of_one(a: LearnedField, b: LearnedField) -> tuple[LearnedField, LearnedField]:
    """The fields of one network with two tables, as fields of that network with one table."""
    one, two = a.network, b.network
    if not (isinstance(one, FilmNetwork) and isinstance(two, FilmNetwork) and one.shares(two)):
        return a, b
    assert one.table is not None
    assert two.table is not None
    rows, network = len(one.table), one.holding(torch.cat([one.table, two.table]))
    # Label `rows` meant "none" for the first network; in the joined table it is a row.
    label = torch.tensor(rows) if a.label is None else a.label
    label = torch.where(label == rows, network.labels, label)
    other = torch.tensor(two.labels) if b.label is None else b.label
    both = replace(a, network=network, label=label)
    return both, replace(b, network=network, label=rows + other)


@dataclass(frozen=True, eq=False, repr=False)
class _Pair(LearnedField):
    """The field of `_Both` or `_BothConditioned`, which take two labels."""

    other: Tensor | None = field(default=None, kw_only=True)

    @property
    def _labels(self) -> Rest:
        assert self.label is not None
        assert self.other is not None
        return self.label, self.other


class _Both(nn.Module):
    """A network with two labels, called once on 2 n rows; the output is the guided prediction."""

    def __init__(self, module: nn.Module, scale: float) -> None:
        super().__init__()
        self.module, self.scale = module, scale

    def forward(self, x: Tensor, t: Tensor, label: Tensor, other: Tensor) -> Tensor:
        n = len(x)
        labels = torch.cat([each.expand(n) for each in (label, other)])
        out = self.module(torch.cat([x, x]), torch.cat([t, t]) if t.ndim else t, labels)
        wanted, against = out.chunk(2)
        return pushed(wanted, against, self.scale)


class _BothConditioned(Conditioned):
    """`_Both` for a network that splits into condition and body.

    A block of 2 `ROWS` rows has one fixed shape too, so that a particle's bits do not depend on n.
    """

    def __init__(self, network: Conditioned, scale: float) -> None:
        super().__init__()
        self.network, self.scale = network, scale

    def forward(
        self, x: Tensor, c: Tensor, label: Tensor | None = None, other: Tensor | None = None
    ) -> Tensor:
        return self.body(x, self.condition(c, label, other))

    def condition(
        self, c: Tensor, label: Tensor | None = None, other: Tensor | None = None
    ) -> Condition:
        """The condition of the wanted label, then that of the other."""
        wanted, against = (self.network.condition(c, each) for each in (label, other))
        return *wanted, *against

    def body(self, x: Tensor, condition: Condition) -> Tensor:
        return self._in_one(self.network.body, x, condition)

    def bound(self, rows: int) -> Callable[[Tensor, Condition], Tensor]:
        body = self.network.bound(2 * rows)
        return lambda x, condition: self._in_one(body, x, condition)

    def _in_one(
        self, body: Callable[[Tensor, Condition], Tensor], x: Tensor, condition: Condition
    ) -> Tensor:
        half, n = len(condition) // 2, len(x)
        pairs = zip(condition[:half], condition[half:], strict=True)
        stacked = tuple(
            torch.cat([part.expand(n, *part.shape[1:]) for part in pair]) for pair in pairs
        )
        wanted, other = body(torch.cat([x, x]), stacked).chunk(2)
        return pushed(wanted, other, self.scale)
