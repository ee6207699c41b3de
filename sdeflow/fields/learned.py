r"""The field that a network has learned.

Any torch module will do. What a network of ours (`networks.Conditioned`) needs of noise and label
is worked out beforehand, so that a step pays for the particles only.

See docs/theory.md, (3.8) for the preconditioning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat

import torch
from torch import Tensor, nn

from sdeflow._blocks import Evaluate, block, blocked, paged
from sdeflow._validation import check_labels, check_positive
from sdeflow.fields.field import Field, Table
from sdeflow.fields.networks import MLP, Conditioned
from sdeflow.fields.prediction import Prediction, Row, unit_row
from sdeflow.processes.process import Coefficients, Scalar


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
        data_mean: (d,) the data's mean, with data_std; the network then sees
            (x_t - alpha data_mean) / sqrt(V), and learns centred data. 0 if left out.
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
    data_mean: Tensor | None = None
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
        if self.data_mean is not None:
            object.__setattr__(self, "data_mean", _checked_mean(self.data_mean, self.data_std))
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

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """See `Field`: one network call, in blocks of rows where no gradient is due.

        A cloud of another floating type is rounded to the network's on the way in.
        """
        seen = self._seen(t, c, like)
        if t.ndim or self._per_particle or torch.is_grad_enabled():
            inner = self._whole(seen)
        elif isinstance(self.network, Conditioned):
            inner = partial(
                blocked(self.network.body), (self.network.condition(seen, self.label),)
            )
        else:
            inner = partial(blocked(self.network), (seen, *self._labels))
        return self._in_units(inner, c, like)

    def table(self, t: Tensor, c: Coefficients[Tensor], like: Tensor) -> Table:
        """See `Field`; our own network's noise and label features are a table too."""
        if self._per_particle:
            return super().table(t, c, like)
        seen, network = self._seen(t, c, like), self.network
        if isinstance(network, Conditioned):
            # One working space for the whole run.
            inner = self._features(network, blocked(network.bound(block())), seen)
        else:
            call, labels = repeat(blocked(network)), [repeat(label) for label in self._labels]

            def page(start: int, stop: int) -> list[Evaluate]:
                return list(map(partial, call, zip(seen[start:stop].unbind(), *labels)))  # noqa: B905

            inner = paged(page)
        if self.data_std is None and self._type(like) == like.dtype:
            return inner
        rows = torch.stack([*c], 1).numpy()
        return lambda k: self._in_units(inner(k), Coefficients(*rows[k].tolist()), like)

    def _features(self, network: Conditioned, call: Callable[..., Tensor], seen: Tensor) -> Table:
        """Our own network at each of these noise levels (K,), a page of its features at a time."""

        def page(start: int, stop: int) -> list[Evaluate]:
            parts = network.condition(seen[start:stop], self.label)
            rows = zip(*(part.split(1) for part in parts), strict=True)
            return [partial(call, (condition,)) for condition in rows]

        return paged(page)

    @property
    def _per_particle(self) -> bool:
        return self.label is not None and self.label.ndim == 1

    @property
    def _labels(self) -> tuple[Tensor, ...]:
        return () if self.label is None else (self.label,)

    def _type(self, like: Tensor) -> torch.dtype:
        """The network's own floating type; the cloud's if it has no parameters."""
        parameter = next(self.network.parameters(), None)
        return like.dtype if parameter is None else parameter.dtype

    def _seen(self, t: Tensor, c: Coefficients, like: Tensor) -> Tensor:
        """What the network sees for time: t, or ln(sigma / (alpha data_std)) / 4, of its shape."""
        kind = self._type(like)
        if self.data_std is None and not isinstance(self.network, Conditioned):
            return t.to(like.device, kind)
        level = torch.as_tensor(c.sigma / (c.alpha * (self.data_std or 1.0)), dtype=kind)
        return torch.log(level).reshape(t.shape).to(like.device) / 4

    def _whole(self, seen: Tensor) -> Evaluate:
        """The whole cloud in one call: each particle has its own time or label, or a gradient."""
        network, labels = self.network, self._labels

        def evaluate(x: Tensor) -> Tensor:
            out = network(x, seen, *labels)
            if getattr(out, "shape", None) != x.shape:
                got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
                raise ValueError(
                    f"the network returned {got} for a cloud of shape {tuple(x.shape)}"
                )
            return out

        return evaluate

    def _in_units(self, inner: Evaluate, c: Coefficients, like: Tensor) -> Evaluate:
        """inner((x - alpha m) / sqrt(V)) + a m, a the row's share of x_0, in the cloud's type."""
        kind, own = self._type(like), like.dtype
        if self.data_std is None:
            return inner if kind == own else lambda x: inner(x.to(kind)).to(own)
        if isinstance(c.alpha, Tensor):
            c = Coefficients(*(v.reshape(-1, 1).to(like.device, kind) for v in c))
        scale = (c.alpha**2 * self.data_std**2 + c.sigma**2) ** -0.5
        if self.data_mean is None:
            if kind == own:
                return lambda x: inner(x * scale)
            return lambda x: inner(x.to(kind) * scale).to(own)
        mean = self.data_mean.to(like.device, kind)
        shift, back = c.alpha * mean, self.row(c)[0] * mean
        return lambda x: (inner((x.to(kind) - shift) * scale) + back).to(own)


def _checked_mean(mean: object, std: float | None) -> Tensor:
    if std is None:
        raise ValueError("data_mean goes with data_std; give both")
    mean = torch.as_tensor(mean)
    if mean.ndim != 1 or not mean.is_floating_point() or not torch.isfinite(mean).all():
        raise ValueError(f"data_mean must be (d,), finite, one number per axis, got {mean!r}")
    return mean.detach()
