r"""Condition a network of many coordinates on the noise level and a label: `FilmNetwork`.

Both give one vector e of features, which scales and shifts the output of each layer (FiLM),

    h -> (1 + s) h + m,    (s, m) = A e + b.

A label is a class with an embedding, or the number of a row of a table: of vectors (m, k), such as
embeddings of pictures, or of token sequences (m, tokens, k), such as captions. The table is not a
weight: `holding` returns the same network with another table.

Source: Perez et al. 2018, for FiLM; Rombach et al. 2022, eq. 3, for cross-attention.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Self, get_args

import torch
from torch import Tensor, nn

from sdeflow._validation import check_int, check_seed, shown
from sdeflow.fields.networks import FEATURES, TOKENS, How, TimeInput, described

WIDTH = 128
"""The number of features in e."""

PLANES = 12
"""The number of features of a label that are appended to the data."""

HEADS, HEAD = 4, 16
"""The number of heads of a cross-attention, and of features of each."""


class FilmNetwork(nn.Module):
    """A network whose layers are scaled and shifted by features of noise level and label.

    A subclass calls `features`, and `rows` if it also uses labels in another way.

    Attributes:
        labels: the number of classes, or of rows of the table; label `labels` means "none".
        table: (labels, k) or (labels, tokens, k), a vector or tokens for each label; or None.
        config: the arguments as plain values.
    """

    takes: ClassVar[TimeInput] = TimeInput.NOISE_LEVEL
    independent: ClassVar[bool] = True
    spread: Tensor
    table: Tensor | None
    known: nn.Module | None

    def __init__(self, labels: int, table: Tensor | None, how: How) -> None:
        super().__init__()
        if how not in get_args(How):
            raise ValueError(f"how must be one of {', '.join(get_args(How))}, got {how!r}")
        self.how, self.labels, self.token = how, check_int(labels, "labels", 0), FEATURES
        self.config, self.level = dict[str, object](), Level()
        self.register_buffer("table", None)
        self.known = None
        if table is not None:
            self._hold_first(_checked(table, 3 if how == "attend" else 2))
        elif labels:
            width = {"add": WIDTH, "append": PLANES, "attend": TOKENS * FEATURES}[how]
            self.known = nn.Embedding(labels + 1, width)

    def __repr__(self) -> str:
        """In words; `str` lists the layers."""
        return described(self)

    __str__ = nn.Module.__repr__

    def _hold_first(self, table: Tensor) -> None:
        """Make the layers that read a table."""
        if self.labels not in (0, len(table)):
            raise ValueError(
                f"labels is {self.labels}, but the table has {len(table)} rows; leave out labels"
            )
        self.table, self.labels, self.token = table, len(table), table.shape[-1]
        # Divided by this, the entries of the table are of size one.
        spread = table.square().mean().sqrt()
        self.register_buffer("spread", torch.where(spread > 0, spread, 1.0))
        self.nothing = nn.Parameter(torch.zeros(self.token))
        if self.how == "add":
            first, last = nn.Linear(self.token, WIDTH), nn.Linear(WIDTH, WIDTH)
            self.known = nn.Sequential(first, nn.SiLU(), last)
        elif self.how == "append":
            self.known = nn.Linear(self.token, PLANES)

    def holding(self, table: Tensor) -> Self:
        """The network with the same weights and another table.

        Args:
            table: (m, k) or (m, tokens, k), with the k of the present table.
        """
        if self.table is None:
            raise ValueError("this network has no table; make it with table=")
        table = _checked(table, self.table.ndim).to(self.table)
        if table.shape[-1] != self.token:
            raise ValueError(
                f"the table must have rows of width {self.token}, got {tuple(table.shape)}"
            )
        other = copy.copy(self)
        vars(other).update(_buffers=dict(self._buffers), labels=len(table))
        rows = {"labels": len(table), "table": list(table.shape)}  # for checkpoints
        other.table, other.config = table, {**self.config, **rows}
        return other

    def shares(self, other: FilmNetwork) -> bool:
        """Whether the other network is this one with another table of as many tokens."""
        if self is other or self.table is None or other.table is None:
            return False
        mine, its = (list(network.parameters()) for network in (self, other))
        same = len(mine) == len(its) and all(p is q for p, q in zip(mine, its, strict=True))
        return same and self.table.shape[1:] == other.table.shape[1:]

    def features(self, c: Tensor, label: Tensor | None) -> Tensor:
        """The features e (1 or n, WIDTH) of noise levels c () or (n,) and labels () or (n,)."""
        e = self.level(c)
        if self.how == "add" and self.labels:
            e = e + self.rows(label)
        return nn.functional.silu(e)

    def rows(self, label: Tensor | None) -> Tensor:
        """The features (1 or n, features) of labels, or their tokens (1 or n, tokens, k)."""
        label = torch.tensor(self.labels) if label is None else label
        label = label.reshape(-1).to(self.level.octaves.device)
        if self.table is None:
            assert self.known is not None
            found = self.known(label)
            return found.unflatten(1, (TOKENS, FEATURES)) if self.how == "attend" else found
        # A network that shares the weights may have moved or converted them.
        found = self.table.to(label.device)[label.clamp(max=self.labels - 1)]
        found = (found / self.spread.to(found)).to(self.nothing.dtype)
        nothing: Tensor = self.nothing
        if found.ndim == 3:  # "none" is one token, and padding
            nothing = nn.functional.pad(nothing[None], (0, 0, 0, found.shape[1] - 1))
        known = (label < self.labels).reshape(-1, *[1] * (found.ndim - 1))
        found = torch.where(known, found, nothing)
        return found if self.known is None else self.known(found)


class Level(nn.Module):
    """The layer that maps noise levels c () or (n,) to features (1 or n, WIDTH)."""

    octaves: Tensor

    def __init__(self) -> None:
        super().__init__()
        # c spans a few units; finer features of it do not help.
        self.register_buffer("octaves", 2.0 ** torch.arange(-1, 5))
        first = nn.Linear(1 + 2 * len(self.octaves), WIDTH)
        self.net = nn.Sequential(first, nn.SiLU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, c: Tensor) -> Tensor:
        """The features of c, by way of its waves sin(2^j c) and cos(2^j c)."""
        own = self.octaves.dtype
        # A narrow type has too few digits for c; only the features of c are rounded to it.
        c = c.reshape(-1, 1).to(self.octaves.device, torch.promote_types(own, torch.float32))
        phase = c * self.octaves
        return self.net(torch.cat([c, torch.sin(phase), torch.cos(phase)], 1).to(own))


class Film(nn.Linear):
    """The layer h (n, width, ...) -> (1 + s) h + m, (s, m) = A e + b, with A = b = 0 at first."""

    def __init__(self, width: int) -> None:
        super().__init__(WIDTH, 2 * width)
        zero(self)

    def forward(self, h: Tensor, e: Tensor) -> Tensor:  # type: ignore[override]
        """(1 + s) h + m for h (n, width, ...) and features e (1 or n, WIDTH)."""
        both = super().forward(e)
        scale, shift = both.reshape(*both.shape, *[1] * (h.ndim - 2)).chunk(2, 1)
        return torch.addcmul(shift, h, 1 + scale)


class Attention(nn.Module):
    """Cross-attention of the pixels of a picture to tokens: h + W softmax(q k / sqrt(m)) v.

    A token of zeros is padding and has no weight.
    """

    def __init__(self, width: int, token: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, HEADS * HEAD, bias=False)
        self.key_value = nn.Linear(token, 2 * HEADS * HEAD, bias=False)
        self.out = zero(nn.Linear(HEADS * HEAD, width))

    def forward(self, h: Tensor, tokens: Tensor) -> Tensor:
        """The output (n, width, H, W) for h (n, width, H, W) and tokens (1 or n, tokens, k)."""
        found = self.look_up(h.flatten(2).mT, tokens)
        return h + self.out(found).mT.reshape(h.shape)

    def look_up(self, h: Tensor, tokens: Tensor) -> Tensor:
        """The mean values (n, pixels, HEADS HEAD) of attention for pixels h (n, pixels, width)."""
        query = self.query(h).unflatten(2, (HEADS, HEAD)).transpose(1, 2)
        both = self.key_value(tokens).unflatten(2, (2, HEADS, HEAD)).permute(2, 0, 3, 1, 4)
        empty = (tokens == 0).all(2)
        empty = (empty & ~empty.all(1, keepdim=True))[:, None, None]
        weight = query @ both[0].mT / math.sqrt(HEAD)
        found = torch.softmax(weight.masked_fill(empty, -math.inf), -1) @ both[1]
        return found.transpose(1, 2).flatten(2)


def zero(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """The layer, with weights and bias set to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


@contextmanager
def initial(seed: int) -> Iterator[None]:
    """Inside this block weights are drawn with this seed; torch's own generator is kept."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(check_seed(seed))
        yield


def _checked(table: Tensor, axes: int) -> Tensor:
    """The table, if it holds vectors (2 axes) or token sequences (3 axes)."""
    if not isinstance(table, Tensor) or not table.is_floating_point():
        raise TypeError(f"table must be a floating-point tensor, got {shown(table)}")
    if table.ndim != axes or not table.numel():
        wanted, cure = ("(m, k)", "for tokens take UNet(how='attend')") if axes == 2 else (
            "(m, tokens, k)", "table[:, None] makes one token of each vector")  # fmt: skip
        raise ValueError(f"table must be {wanted}, got {tuple(table.shape)}; {cure}")
    if not torch.isfinite(table).all():
        raise ValueError("table has NaN or infinite entries; drop those rows")
    return table.detach()
