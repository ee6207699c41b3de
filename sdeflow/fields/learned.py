r"""Use any torch module as a field, with or without EDM's preconditioning.

A network of yours gets the cloud that was given, in one call. For an `MLP`, what depends on noise
level and label is computed once per step, and not once per particle.

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

from sdeflow._blocks import ROWS, Evaluate, block, blocked, paged
from sdeflow._validation import check_int, check_labels, check_positive, shown
from sdeflow.fields.field import Field, Pairs, Table
from sdeflow.fields.network_attributes import checked_label, checked_shape, speaker
from sdeflow.fields.network_call import MODELESS, Rest, called
from sdeflow.fields.networks import Conditioned, TimeInput
from sdeflow.fields.prediction import Prediction, Row, unit_row
from sdeflow.processes.process import Coefficients, Scalar


@dataclass(frozen=True, eq=False, repr=False)
class LearnedField(Field):
    """A field whose evaluation is a call of a neural network.

    The network is in eval mode whenever the field is evaluated, and afterwards in the mode that it
    had; only `training.loss` leaves its mode. It gets the whole cloud in one call. So its answer
    for a particle may depend on the others, in the last bits of the matrix products if in nothing
    else. An `MLP` that is not wrapped is called in blocks of 256 rows: the first k particles of n
    keep their bits.

    Args:
        network: any torch module, called as network(x, t) -> (n, d), or network(x, t, label) when
            a label is bound by `given`; x (n, d) in the network's type, t () or (n,) in float32 at
            least, label () or (n,) of int64. If it, or a module inside, says
            `takes = TimeInput.NOISE_LEVEL`, as an `MLP` does, it takes ln(sigma / alpha) / 4 in
            place of t. `integrations.from_torch` is for networks of other conventions.
        predicts: the row that the network was trained to predict; noise by default.
        data_std: s, the standard deviation of the data per coordinate. If given, the network is
            preconditioned as in EDM: it takes x_t / sqrt(V), V = alpha^2 s^2 + sigma^2, and
            ln(sigma / (alpha s)) / 4 in place of t, and predicts the unit row.
        data_mean: (d,) the mean of the data, only with data_std; the network then takes
            (x_t - alpha data_mean) / sqrt(V). Zero by default.
        label: the class that `given` binds.
        batch: rows of one call of the network, in which the cloud is then cut; the last block is
            padded with copies of the last row. With it the first k particles of n keep their bits,
            if the rows of the network do not depend on each other.
        pairs: of data and noise that the network is trained on; `fit` needs to be told the same by
            its `coupling` and `source`. Without independent pairs there is a flow, and no score.
        shape: of one particle as the network takes it, such as (1, 8, 8) for a picture; the
            network is called with (n, *shape), clouds stay (n, d) with d the product. By default
            the network's own attribute `shape`, or (d,).

    Raises:
        ValueError: data_std is not positive or given together with `predicts`, the network does
            not know this label, or (when evaluated) it returns a shape other than that of x, or
            there is not one label for each particle.
        TypeError: network is not a torch module, predicts not a `Prediction`, pairs no `Pairs`, or
            label or batch not a whole number.

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
            raise TypeError(f"network must be a torch module, got {type(self.network).__name__}")
        if self.predicts is not None and not isinstance(self.predicts, Prediction):
            raise TypeError(f"predicts must be a Prediction, got {shown(self.predicts)}")
        if not isinstance(self.pairs, Pairs):
            raise TypeError(f"pairs must be one of Pairs, got {shown(self.pairs)}")
        if self.data_std is not None:
            if self.predicts is not None:
                raise ValueError(
                    "a network with data_std predicts the unit row of EDM; leave out predicts, or "
                    "data_std if the network was trained without that preconditioning"
                )
            object.__setattr__(self, "data_std", check_positive(self.data_std, "data_std"))
        if self.data_mean is not None:
            object.__setattr__(self, "data_mean", _checked_mean(self.data_mean, self.data_std))
        if self.label is not None:
            object.__setattr__(self, "label", checked_label(self.label, self.labels))
        if self.batch is not None:
            object.__setattr__(self, "batch", check_int(self.batch, "batch"))
        object.__setattr__(self, "shape", checked_shape(self.shape, self._speaker))

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
        dim = getattr(self._speaker, "dim", None) if self._takes is not None else None
        return dim if isinstance(dim, int) else None

    @property
    def labels(self) -> int | None:
        """The number of classes, if the network has an attribute `labels`; `labels` means none."""
        labels = getattr(self._speaker, "labels", None)
        return labels if isinstance(labels, int) else None

    def given(self, label: Tensor | int | None) -> LearnedField:
        """The same field for a class: one for all particles (), one for each (n,), or None.

        Raises:
            ValueError, TypeError: the network does not know this label.
        """
        return replace(self, label=None if label is None else check_labels(label, "label"))

    def told(self, table: Tensor) -> LearnedField:
        """The same field given vectors (n, k), one for each particle, or one for all.

        The network holds a table, as `UNet` and `VectorMLP` do; this one takes its place.

        Args:
            table: (n, k), one row for each particle; (1, k) or (k,), one for all. Of token
                sequences (n, tokens, k), (1, tokens, k) or (tokens, k).

        Raises:
            TypeError, ValueError: the network holds no table, or this one does not fit.
        """
        held, holding = (getattr(self.network, name, None) for name in ("table", "holding"))
        if not isinstance(held, Tensor) or not callable(holding):
            raise ValueError(
                "this network holds no table of vectors to be told by; make one with table=, as "
                "UNet(table=...) does"
            )
        if isinstance(table, Tensor) and table.ndim == held.ndim - 1:
            table = table[None]
        network = holding(table)
        label = torch.arange(len(table)) if len(table) > 1 else torch.tensor(0)
        return replace(self, network=network, label=label)

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        return self._row.row(c) if self.data_std is None else unit_row(c, self.data_std)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """See `Field`.

        A cloud of another floating-point type is converted to that of the network, and back.
        """
        seen, rest, network = self._seen(t, c, like), self._rest(like), self._split
        if network is None or t.ndim or self._per_particle or torch.is_grad_enabled():
            inner = partial(called(self.network, self._rows, self.shape), (seen, *rest))
        else:
            condition = network.condition(seen, *rest)
            inner = partial(blocked(network.body, self.batch), (condition,))
        return self._in_units(inner, c, like)

    def table(self, t: Tensor, c: Coefficients[Tensor], like: Tensor) -> Table:
        """See `Field`; what depends on time alone is computed for a page of times at once."""
        if self._per_particle:
            return super().table(t, c, like)
        seen, rest, network = self._seen(t, c, like), self._rest(like), self._split
        if network is None:
            call, labels = (
                repeat(called(self.network, self._rows, self.shape)),
                [repeat(r) for r in rest],
            )

            def page(start: int, stop: int) -> list[Evaluate]:
                return list(map(partial, call, zip(seen[start:stop].unbind(), *labels)))  # noqa: B905

        else:
            # One workspace for the whole run.
            body = blocked(network.bound(self.batch or block()), self.batch)

            def page(start: int, stop: int) -> list[Evaluate]:
                parts = network.condition(seen[start:stop], *rest)
                rows = zip(*(part.split(1) for part in parts), strict=True)
                return [partial(body, (condition,)) for condition in rows]

        inner = paged(page)
        if self.data_std is None and self._type(like) == like.dtype:
            return inner
        rows = torch.stack([*c], 1).numpy()
        return lambda k: self._in_units(inner(k), Coefficients(*rows[k].tolist()), like)

    def predicted(self, x: Tensor, t: Tensor, c: Coefficients) -> Tensor:
        """The prediction (n, d) of the network in the mode it is in, for training.

        x (n, d), t () or (n,), c = process(t). Compare it with x_0 and eps in `row`.
        """
        rest = (self._seen(t, c, x), *self._rest(x))
        inner = called(self.network, shape=self.shape, as_it_is=True)
        return self._in_units(partial(inner, rest), c, x)(x)

    @cached_property
    def _speaker(self) -> nn.Module:
        """The module inside the network whose `takes`, `dim`, `labels` and `shape` hold."""
        return speaker(self.network)

    @property
    def _takes(self) -> TimeInput | None:
        takes = getattr(self._speaker, "takes", None)
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
        """What the network takes after x and t, for clouds like this one."""
        labels = tuple(label.to(like.device) for label in self._labels)
        if self._per_particle and len(labels[0]) != len(like):
            raise ValueError(
                f"there are {len(labels[0])} labels for {len(like)} particles; give one for each, "
                "or one for all"
            )
        return labels

    @cached_property
    def _split(self) -> Conditioned | None:
        """The network, if its body can be called without its condition: it has one mode only."""
        network = self.network
        if not isinstance(network, Conditioned) or self.shape is not None:
            return None
        inner = (m for m in network.modules() if not isinstance(m, Conditioned))
        return network if all(type(m) in MODELESS for m in inner) else None

    @property
    def _rows(self) -> int | None:
        """Rows of one call of the whole network; None: all of them."""
        own = isinstance(self.network, Conditioned) and not torch.is_grad_enabled()
        return self.batch or (ROWS if own else None)

    def _type(self, like: Tensor) -> torch.dtype:
        """The floating-point type of the network; that of the cloud if it has no parameters."""
        parameter = next(self.network.parameters(), None)
        return like.dtype if parameter is None else parameter.dtype

    def _seen(self, t: Tensor, c: Coefficients, like: Tensor) -> Tensor:
        """What the network takes for t: t itself, or ln(sigma / (alpha data_std)) / 4."""
        kind = torch.promote_types(self._type(like), torch.float32)
        if self.data_std is None and self._takes is not TimeInput.NOISE_LEVEL:
            return t.to(like.device, kind)
        level = torch.as_tensor(c.sigma / (c.alpha * (self.data_std or 1.0)), dtype=kind)
        return torch.log(level).reshape(t.shape).to(like.device) / 4

    def _in_units(self, inner: Evaluate, c: Coefficients, like: Tensor) -> Evaluate:
        """x -> inner((x - alpha m) / sqrt(V)) + a m, m the data mean, a as in `row`."""
        kind, own = self._type(like), like.dtype
        if self.data_std is None:
            return inner if kind == own else lambda x: inner(x.to(kind)).to(own)
        wide = torch.promote_types(kind, torch.float32)  # of what the network sees, not its type
        if isinstance(c.alpha, Tensor):
            c = Coefficients(*(v.reshape(-1, 1).to(like.device, wide) for v in c))
        scale = (c.alpha**2 * self.data_std**2 + c.sigma**2) ** -0.5
        if self.data_mean is None:
            if kind == own == wide:
                return lambda x: inner(x * scale)
            return lambda x: inner((x.to(wide) * scale).to(kind)).to(own)
        if len(self.data_mean) != like.shape[1]:  # one number would be broadcast to all axes
            raise ValueError(
                f"data_mean has {len(self.data_mean)} numbers, the cloud {like.shape[1]} axes"
            )
        mean = self.data_mean.to(like.device, wide)
        shift, back = c.alpha * mean, self.row(c)[0] * mean
        return lambda x: (inner(((x.to(wide) - shift) * scale).to(kind)) + back).to(own)


def _checked_mean(mean: object, std: float | None) -> Tensor:
    if std is None:
        raise ValueError("data_mean needs data_std; give both")
    if not (isinstance(mean, Tensor) and mean.is_floating_point()):
        try:
            mean = torch.as_tensor(mean, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"data_mean must be numbers, one per axis, got {mean!r}") from None
    if mean.ndim != 1 or not torch.isfinite(mean).all():
        raise ValueError(f"data_mean must be (d,), finite, one number per axis, got {mean!r}")
    return mean.detach()
