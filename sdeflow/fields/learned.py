r"""Use any torch module as a field, with or without EDM's preconditioning.

For a `networks.Conditioned` network, what depends on noise level and label is computed once per
step, and not once per particle.

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


@dataclass(frozen=True, eq=False, repr=False)
class LearnedField(Field):
    """A field whose evaluation is a call of a neural network.

    Args:
        network: any torch module, called as network(x, t) -> (n, d), or network(x, t, label) when
            a label is bound by `given`; x (n, d), t () or (n,), label () or (n,) of int64.
        predicts: the row that the network was trained to predict.
        data_std: s, the standard deviation of the data per coordinate. If given, the network is
            preconditioned as in EDM: it takes x_t / sqrt(V), V = alpha^2 s^2 + sigma^2, and
            predicts the unit row, whatever `predicts` is. Then, and for a `Conditioned` network
            always, it takes ln(sigma / (alpha s)) / 4 in place of t (s = 1 if not given).
        data_mean: (d,) the mean of the data, only with data_std; the network then takes
            (x_t - alpha data_mean) / sqrt(V). Zero by default.
        label: the class that `given` binds.

    Raises:
        ValueError: data_std is not positive, the network does not know this label, or (when
            evaluated) it returns a shape other than that of x.
        TypeError: network is not a torch module, predicts not a `Prediction`, or label not a whole
            number.

    Source: Karras et al. 2022, eq. 7 and table 1.
    """

    network: nn.Module
    predicts: Prediction = Prediction.NOISE
    data_std: float | None = None
    data_mean: Tensor | None = None
    label: Tensor | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
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

    def __repr__(self) -> str:
        """In words."""
        words = [f"learned field of {type(self.process).__name__}", type(self.network).__name__]
        words.append(f"predicts {self.predicts.value}")
        if self.data_std is not None:
            words.append(f"data std {self.data_std:g}")
        if self.label is not None:
            one = self.label.ndim == 0
            words.append(f"label {int(self.label)}" if one else "one label per particle")
        return ", ".join(words)

    @property
    def dim(self) -> int | None:
        """See `Field`."""
        return self.network.dim if isinstance(self.network, MLP) else None

    def given(self, label: Tensor | int | None) -> LearnedField:
        """The same field for a class: one for all particles (), one for each (n,), or None.

        Raises:
            ValueError, TypeError: the network does not know this label.
        """
        return replace(self, label=None if label is None else check_labels(label, "label"))

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """See `Field`."""
        return self.predicts.row(c) if self.data_std is None else unit_row(c, self.data_std)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """See `Field`: one call of the network, in blocks of rows where no gradient is needed.

        A cloud of another floating-point type is converted to that of the network, and back.
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
        """See `Field`; what depends on time alone is computed for a page of times at once."""
        if self._per_particle:
            return super().table(t, c, like)
        seen, network = self._seen(t, c, like), self.network
        if isinstance(network, Conditioned):
            # One workspace for the whole run.
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
        """A `Conditioned` network at each of these noise levels (K,), a page at a time."""

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
        """The floating-point type of the network; that of the cloud if it has no parameters."""
        parameter = next(self.network.parameters(), None)
        return like.dtype if parameter is None else parameter.dtype

    def _seen(self, t: Tensor, c: Coefficients, like: Tensor) -> Tensor:
        """What the network takes for t: t itself, or ln(sigma / (alpha data_std)) / 4."""
        kind = self._type(like)
        if self.data_std is None and not isinstance(self.network, Conditioned):
            return t.to(like.device, kind)
        level = torch.as_tensor(c.sigma / (c.alpha * (self.data_std or 1.0)), dtype=kind)
        return torch.log(level).reshape(t.shape).to(like.device) / 4

    def _whole(self, seen: Tensor) -> Evaluate:
        """The whole cloud in one call: for a time or label per particle, or with a gradient."""
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
        """x -> inner((x - alpha m) / sqrt(V)) + a m, m the data mean, a as in `row`."""
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
        if len(self.data_mean) != like.shape[1]:  # one number would be broadcast to all axes
            raise ValueError(
                f"data_mean has {len(self.data_mean)} numbers, the cloud {like.shape[1]} axes"
            )
        mean = self.data_mean.to(like.device, kind)
        shift, back = c.alpha * mean, self.row(c)[0] * mean
        return lambda x: (inner((x.to(kind) - shift) * scale) + back).to(own)


def _checked_mean(mean: object, std: float | None) -> Tensor:
    if std is None:
        raise ValueError("data_mean needs data_std; give both")
    mean = torch.as_tensor(mean)
    if mean.ndim != 1 or not mean.is_floating_point() or not torch.isfinite(mean).all():
        raise ValueError(f"data_mean must be (d,), finite, one number per axis, got {mean!r}")
    return mean.detach()
