r"""Use any torch module as a field, with or without EDM's preconditioning.

A network of your own is called once on the whole cloud. Of an `MLP`, the part that depends on
noise level and label alone is computed once in a step, and not once for each particle.

See docs/theory.md, (3.8) for the preconditioning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import repeat

import torch
from torch import Tensor, nn

from sdeflow._blocks import GPU_ROWS, ROWS, Evaluate, block, blocked, paged
from sdeflow._validation import (
    check_int,
    check_kind,
    check_labels,
    check_positive,
    shown,
)
from sdeflow.fields.field import Field, Pairs, Table
from sdeflow.fields.network_attributes import (
    attribute_owner,
    checked_label,
    checked_mean,
    checked_shape,
)
from sdeflow.fields.network_call import MODELESS, Rest, called
from sdeflow.fields.networks import Conditioned, TimeInput
from sdeflow.fields.prediction import Prediction, Row, unit_row
from sdeflow.processes.process import Coefficients, Scalar


@dataclass(frozen=True, eq=False, repr=False)
class LearnedField(Field):
    """The field that a neural network computes.

    The network is called in eval mode, except for `training.loss`, and is then set back to the
    mode it had. It gets the whole cloud in one call, so that the last bits of its output for a
    particle may depend on the others; only a bare `MLP` is called in blocks, which prevents that.

    Args:
        network: any torch module, called as network(x, t) -> (n, d), or with a label as
            network(x, t, label); x (n, d) in the network's type, t () or (n,) in at least float32,
            label () or (n,) in int64. If it, or a module inside it, has the attribute
            `takes = TimeInput.NOISE_LEVEL`, as an `MLP` has, it gets ln(sigma / alpha) / 4 in
            place of t. For networks of other conventions use `integrations.from_torch`.
        predicts: the prediction that the network was trained for; by default the noise.
        data_std: s, the standard deviation of the data per coordinate. If given, the network is
            preconditioned as in EDM: it gets x_t / sqrt(V), V = alpha^2 s^2 + sigma^2, and
            ln(sigma / (alpha s)) / 4 in place of t, and predicts the unit row.
        data_mean: (d,) the mean of the data, only with data_std; the network then gets
            (x_t - alpha data_mean) / sqrt(V). Zero by default.
        label: one class for all particles (), or one for each (n,); see `given`.
        batch: the number of rows in a call of the network. The last call is padded with copies of
            the last row. If the network treats rows alone, results do not depend on n.
        pairs: the kind of pairs (x_0, eps) the network is trained on. If they are not
            independent, `fit` needs the `coupling` or `source` that makes them.
        shape: the shape of a particle for the network, such as (1, 8, 8) for a picture; it is
            called with (n, *shape). By default the network's attribute `shape`, or (d,).

    Source: Karras et al. 2022, eq. 7 and table 1.
    """

    network: nn.Module
    predicts: Prediction | None = None
    data_std: float | None = None
    data_mean: Tensor | None = None
    label: Tensor | None = None
    batch: int | None = field(default=None, kw_only=True)
    pairs: Pairs = field(default=Pairs.INDEPENDENT, kw_only=True)
    shape: Sequence[int] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.network, nn.Module):
            raise TypeError(f"network must be a torch module, got {shown(self.network)}")
        if self.predicts is not None:
            check_kind(self.predicts, Prediction, "predicts", "take Prediction.NOISE, for example")
        if not isinstance(self.pairs, Pairs):
            raise TypeError(
                f"pairs must be one of Pairs, such as Pairs.COUPLED, got {shown(self.pairs)}"
            )
        if self.data_std is not None:
            if self.predicts is not None:
                raise ValueError(
                    "a network with data_std predicts the unit row of EDM; leave out predicts, or "
                    "data_std if the network was trained without that preconditioning"
                )
            object.__setattr__(self, "data_std", check_positive(self.data_std, "data_std"))
        if self.data_mean is not None:
            object.__setattr__(self, "data_mean", checked_mean(self.data_mean, self.data_std))
        if self.label is not None:
            object.__setattr__(self, "label", checked_label(self.label, self.labels))
        if self.batch is not None:
            object.__setattr__(self, "batch", check_int(self.batch, "batch"))
        object.__setattr__(self, "shape", checked_shape(self.shape, self._owner))

    def __repr__(self) -> str:
        words = [f"learned field of {type(self.process).__name__}", self.network._get_name()]
        if self.data_std is None:
            words.append(f"predicts {self._row.value}")
        else:
            words.append(f"predicts the unit row, data std {self.data_std:g}")
        if self.label is not None:
            one = self.label.ndim == 0
            words.append(f"label {int(self.label)}" if one else "one label per particle")
        if self.pairs is not Pairs.INDEPENDENT:
            words.append(f"{self.pairs.value} pairs")
        if self.shape is not None:
            words[1] += f" on {self.shape}"
        return ", ".join(words)

    @property
    def dim(self) -> int | None:
        if self.shape is not None:
            return math.prod(self.shape)
        dim = getattr(self._owner, "dim", None) if self._takes is not None else None
        return dim if isinstance(dim, int) else None

    @property
    def labels(self) -> int | None:
        """The network's attribute `labels`: the number of classes, and the label for "none"."""
        labels = getattr(self._owner, "labels", None)
        return labels if isinstance(labels, int) else None

    def given(self, label: Tensor | int | None) -> LearnedField:
        """The field of a class: one label for all particles (), one for each (n,), or None.

        Labels count from 0; the label of a class of a data set is `data.label("dog")`. None is no
        class, as is the number of classes.
        """
        return replace(self, label=None if label is None else check_labels(label, "label"))

    def told(self, table: Tensor) -> LearnedField:
        """The field given vectors (n, k), such as embeddings, in place of labels.

        They replace the table of the network, a `UNet` or `VectorMLP` made with table=.

        Args:
            table: (n, k), one row for each particle; (1, k) or (k,), one for all. Of token
                sequences (n, tokens, k), (1, tokens, k) or (tokens, k).
        """
        held, holding = (getattr(self.network, name, None) for name in ("table", "holding"))
        if not isinstance(held, Tensor) or not callable(holding):
            raise ValueError(
                "this network holds no table of vectors; make one with table=, such as "
                "UNet(table=...)"
            )
        if isinstance(table, Tensor) and table.ndim == held.ndim - 1:
            table = table[None]
        network = holding(table)
        label = torch.arange(len(table)) if len(table) > 1 else torch.tensor(0)
        return replace(self, network=network, label=label)

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        return self._row.row(c) if self.data_std is None else unit_row(c, self.data_std)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        # A cloud goes to the floating-point type and the device of the network, and back.
        given, like = like, self._near(like)
        inputs, rest, network = self._time_input(t, c, like), self._rest(like), self._split
        if network is None or t.ndim or self._per_particle or torch.is_grad_enabled():
            inner = partial(called(self.network, self._rows(like), self.shape), (inputs, *rest))
        else:
            condition = network.condition(inputs, *rest)
            inner = partial(blocked(network.body, like.device, self.batch), (condition,))
        return _carried(self._in_units(inner, c, like), like, given)

    def table(self, t: Tensor, c: Coefficients[Tensor], like: Tensor) -> Table:
        if self._per_particle or self._near(like) is not like:
            return super().table(t, c, like)
        inputs, rest, network = self._time_input(t, c, like), self._rest(like), self._split
        if network is None:
            call, labels = (
                repeat(called(self.network, self._rows(like), self.shape)),
                [repeat(r) for r in rest],
            )

            def page(start: int, stop: int) -> list[Evaluate]:
                return list(map(partial, call, zip(inputs[start:stop].unbind(), *labels)))  # noqa: B905

        else:
            # One workspace serves the whole run.
            body = blocked(
                network.bound(self.batch or block(like.device)), like.device, self.batch
            )

            def page(start: int, stop: int) -> list[Evaluate]:
                parts = network.condition(inputs[start:stop], *rest)
                rows = zip(*(part.split(1) for part in parts), strict=True)
                return [partial(body, (condition,)) for condition in rows]

        inner = paged(page)
        if self.data_std is None and self._type(like) == like.dtype:
            return inner
        rows = torch.stack([*c], 1).numpy()
        return lambda k: self._in_units(inner(k), Coefficients(*rows[k].tolist()), like)

    def predicted(self, x: Tensor, t: Tensor, c: Coefficients) -> Tensor:
        """The prediction (n, d) of the network in its present mode, for training.

        x (n, d), t () or (n,), c = process(t). Its target is a x_0 + b eps, (a, b) = row(c).
        """
        like = self._near(x)
        rest = (self._time_input(t, c, like), *self._rest(like))
        inner = called(self.network, shape=self.shape, as_it_is=True)
        return self._in_units(partial(inner, rest), c, like)(like).to(x.device)

    @cached_property
    def _owner(self) -> nn.Module:
        """The module inside the network with the attributes `takes`, `dim`, `labels`, `shape`."""
        return attribute_owner(self.network)

    @property
    def _takes(self) -> TimeInput | None:
        takes = getattr(self._owner, "takes", None)
        return takes if isinstance(takes, TimeInput) else None

    @property
    def _row(self) -> Prediction:
        return self.predicts or Prediction.NOISE

    @property
    def _per_particle(self) -> bool:
        return self.label is not None and self.label.ndim == 1

    @property
    def _labels(self) -> Rest:
        return () if self.label is None else (self.label,)

    def _rest(self, like: Tensor) -> Rest:
        """The arguments of the network after x and t, for clouds like this one."""
        labels = tuple(label.to(like.device) for label in self._labels)
        if self._per_particle and len(labels[0]) != len(like):
            raise ValueError(
                f"there are {len(labels[0])} labels for {len(like)} particles; give one for each, "
                "or one for all (to simulate, a function (first, count) -> SDE)"
            )
        return labels

    @cached_property
    def _split(self) -> Conditioned | None:
        """The network, if condition and body can be called apart; None otherwise.

        All its modules must do the same in train and eval mode.
        """
        network = self.network
        if not isinstance(network, Conditioned) or self.shape is not None:
            return None
        inner = (m for m in network.modules() if not isinstance(m, Conditioned))
        return network if all(type(m) in MODELESS for m in inner) else None

    def _rows(self, like: Tensor) -> int | None:
        """The number of rows in one call of the network; None for all."""
        own = isinstance(self.network, Conditioned) and not torch.is_grad_enabled()
        if not own or self.batch:
            return self.batch
        # A row with a shape is a picture, of which a GPU may not hold a large block.
        return ROWS if like.device.type == "cpu" or self.shape else GPU_ROWS

    def _type(self, like: Tensor) -> torch.dtype:
        """The floating-point type of the network, or that of the cloud without parameters."""
        parameter = next(self.network.parameters(), None)
        return like.dtype if parameter is None else parameter.dtype

    def _near(self, like: Tensor) -> Tensor:
        """The cloud on the device of the network, or where it is without parameters."""
        parameter = next(self.network.parameters(), like)
        return like if parameter.device == like.device else like.to(parameter.device)

    def _time_input(self, t: Tensor, c: Coefficients, like: Tensor) -> Tensor:
        """The time argument of the network: t, or ln(sigma / (alpha data_std)) / 4."""
        kind = torch.promote_types(self._type(like), torch.float32)
        if self.data_std is None and self._takes is not TimeInput.NOISE_LEVEL:
            return t.to(like.device, kind)
        level = torch.as_tensor(c.sigma / (c.alpha * (self.data_std or 1.0)), dtype=kind)
        return torch.log(level).reshape(t.shape).to(like.device) / 4

    def _in_units(self, inner: Evaluate, c: Coefficients, like: Tensor) -> Evaluate:
        """The function inner((x - alpha m) / sqrt(V)) + a m, m the data mean, (a, b) the row."""
        kind, own = self._type(like), like.dtype
        if self.data_std is None:
            return inner if kind == own else lambda x: inner(x.to(kind)).to(own)
        wide = torch.promote_types(kind, torch.float32)  # a narrow type would lose digits here
        if isinstance(c.alpha, Tensor):
            c = Coefficients(*(v.reshape(-1, 1).to(like.device, wide) for v in c))
        scale = (c.alpha**2 * self.data_std**2 + c.sigma**2) ** -0.5
        if self.data_mean is None:
            if kind == own == wide:
                return lambda x: inner(x * scale)
            return lambda x: inner((x.to(wide) * scale).to(kind)).to(own)
        if len(self.data_mean) != like.shape[1]:  # one number would be broadcast to all axes
            raise ValueError(
                f"data_mean has {len(self.data_mean)} numbers, the cloud {like.shape[1]} axes; "
                "give one number per axis"
            )
        mean = self.data_mean.to(like.device, wide)
        shift, back = c.alpha * mean, self.row(c)[0] * mean
        return lambda x: (inner(((x.to(wide) - shift) * scale).to(kind)) + back).to(own)


def _carried(evaluate: Evaluate, near: Tensor, like: Tensor) -> Evaluate:
    """The evaluation, made on the device of `near`, for clouds on the device of `like`."""
    return evaluate if near is like else lambda x: evaluate(x.to(near.device)).to(x.device)
