r"""Make a small network F(x, c, label) -> (n, d) for data of few dimensions: `MLP`.

x is in units of its standard deviation, and c = ln(sigma / (alpha s)) / 4, where s is the standard
deviation of the data.

- Fourier features sin(k . x), cos(k . x) resolve detail much finer than the cloud (Tancik et al.
  2020). They are multiplied by exp(-k^2 sigma^2 / (2 Var x_t)), the factor by which noise damps a
  wave; without it the network produces detail that the noise hides.
- The noise level also gives a bias of the first layer, computed once in a step.
- Labels are embedded, and enter as a term of that bias ("add"), as columns beside x ("append"),
  or by cross-attention to a few tokens of each label ("attend").

See docs/theory.md, (6.4), for the damping.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from sdeflow._validation import check_int, check_positive, check_seed
from sdeflow.random_streams import Stream, normals

How = Literal["add", "append", "attend"]

TOKENS, FEATURES = 4, 8
"""The tokens of a label in cross-attention; the features of a token or of an appended label."""

Condition = tuple[Tensor, ...]
"""The tensors (1 or n, ...) that a network computes from noise level and label alone."""


class TimeInput(Enum):
    """The time argument of a network: t, or ln(sigma / (alpha s)) / 4.

    It is set by an attribute `takes` of the network or of a module inside, so that `DataParallel`,
    `torch.compile` and `AveragedModel` keep it; the outermost counts. Without it the network takes
    t. A module of your own that calls an `MLP` and converts t itself needs `takes =
    TimeInput.TIME`. Tracing and scripting remove attributes; set `takes` again.
    """

    TIME = "t"
    NOISE_LEVEL = "ln(sigma / (alpha s)) / 4"


def described(network: nn.Module) -> str:
    """A network in one line: its kind, its sizes, and the number of its weights."""
    config = getattr(network, "config", {})
    told = {k: v for k, v in config.items() if v and k not in ("how", "seed")}
    sizes = "".join(
        f", {k} {v:g}" if isinstance(v, float) else f", {k} {v}" for k, v in told.items()
    )
    weights = sum(p.numel() for p in network.parameters())
    return f"{type(network).__name__}{sizes}, {weights:,} weights"


class Conditioned(nn.Module, ABC):
    """A network of which one part depends on noise level and label alone.

        network(x, c, label) = body(x, condition(c, label))

    A row of its output depends on the same row of x alone.
    """

    takes: ClassVar[TimeInput] = TimeInput.NOISE_LEVEL
    independent: ClassVar[bool] = True

    def __repr__(self) -> str:
        """In words; `str` lists the layers."""
        return described(self)

    __str__ = nn.Module.__repr__

    def forward(self, x: Tensor, c: Tensor, label: Tensor | None = None) -> Tensor:
        """The output (n, d) for x (n, d), c () or (n,), and label () or (n,), whole numbers."""
        return self.body(x, self.condition(c, label))

    @abstractmethod
    def condition(self, c: Tensor, label: Tensor | None = None) -> Condition:
        """The tensors that depend on c () or (n,) and label () or (n,) alone."""

    @abstractmethod
    def body(self, x: Tensor, condition: Condition) -> Tensor:
        """The output (n, d) for x (n, d), given the condition."""

    @abstractmethod
    def bound(self, rows: int) -> Callable[[Tensor, Condition], Tensor]:
        """A faster `body` without gradient, for at most `rows` rows; equal up to rounding."""


class MLP(Conditioned):
    """A multilayer perceptron on damped Fourier features, with noise level and optional labels.

    Args:
        dim: d, the dimension of the cloud.
        width, depth: hidden units per layer, and number of hidden layers.
        waves: number of wave vectors, of random directions (0: none).
        finest: the largest wave number, in radians per standard deviation: detail of size
            1 / finest is resolved. Wave numbers are log-uniform between 0.5 and this.
        labels: number of classes (0: none); label `labels` means "none".
        seed: the seed of the initial weights.
        how: how labels enter, "add", "append" or "attend".

    Source: Tancik et al. 2020, for the waves; Rombach et al. 2022, eq. 3, for cross-attention.
    """

    vectors: Tensor
    octaves: Tensor

    def __init__(
        self,
        dim: int = 2,
        width: int = 128,
        depth: int = 4,
        waves: int = 48,
        finest: float = 60.0,
        labels: int = 0,
        seed: int = 0,
        how: How = "add",
    ) -> None:
        super().__init__()
        dim, width = check_int(dim, "dim"), check_int(width, "width")
        depth, waves = check_int(depth, "depth"), check_int(waves, "waves", 0)
        labels, seed = check_int(labels, "labels", 0), check_seed(seed)
        finest = check_positive(finest, "finest")
        if how not in get_args(How):
            raise ValueError(f"how must be one of {', '.join(get_args(How))}, got {how!r}")
        self.config: dict[str, int | float | str] = {
            "dim": dim, "width": width, "depth": depth, "waves": waves,
            "finest": finest, "labels": labels, "seed": seed,
        }  # fmt: skip
        if how != "add":  # older files do not have this entry
            self.config["how"] = how
        self.dim, self.labels = dim, labels
        directions = normals(seed, Stream.WEIGHTS, waves or 1, dim, torch.float32)[:waves]
        numbers = torch.logspace(math.log10(0.5), math.log10(finest), waves)
        vectors = numbers * nn.functional.normalize(directions).T
        self.register_buffer("vectors", vectors.contiguous())
        # c spans a few units; finer features of it do not help.
        self.register_buffer("octaves", 2.0 ** torch.arange(-1, 4))
        draw = torch.Generator().manual_seed(seed % 2**64)
        self.first = _linear(dim + 2 * waves, width, draw)
        self.noise = _linear(1 + 2 * len(self.octaves), width, draw, bias=False)
        self.label = _ways_in(how, labels, width, draw) if labels else None
        hidden = [_linear(width, width, draw) for _ in range(depth - 1)]
        self.hidden = nn.Sequential(*(m for h in hidden for m in (h, nn.SiLU(inplace=True))))
        self.last = _linear(width, dim, draw)
        nn.init.zeros_(self.last.weight)

    def condition(self, c: Tensor, label: Tensor | None = None) -> Condition:
        """The bias (1 or n, width) and the damping (1 or n, waves).

        With "attend" also keys (1 or n, tokens, features) and values (1 or n, tokens, width).
        """
        own = self.octaves.dtype
        # A narrow type has too few digits for c; only the features of c are rounded to it.
        wide = torch.promote_types(own, torch.float32)
        c = c.reshape(-1, 1).to(self.octaves.device, wide)
        phase = c * self.octaves
        waves = torch.cat([c, torch.sin(phase), torch.cos(phase)], 1)
        bias = nn.functional.linear(waves, self.noise.weight.to(wide)).to(own)
        memory: Condition = ()
        if self.label is not None:
            label = torch.tensor(self.labels, device=c.device) if label is None else label
            embedded = self.label(label.reshape(-1))
            if isinstance(embedded, Tensor):
                bias = bias + embedded
            else:
                rows = max(len(c), label.numel())
                memory = tuple(part.expand(rows, *part.shape[1:]) for part in embedded)
        # The network sees x_t / sqrt(V), whose noise is s = sigma / sqrt(V).
        # s^2 = r^2 / (1 + r^2), r = e^(4 c).
        s2 = torch.sigmoid(8 * c)
        return bias, torch.exp(-(self.vectors.to(wide) ** 2).sum(0) * s2 / 2).to(own), *memory

    def body(self, x: Tensor, condition: Condition) -> Tensor:
        bias, damping, *memory = condition
        h = nn.functional.silu(self.first(self._features(x, damping)) + bias, inplace=True)
        if isinstance(self.label, Tokens):
            h = h + self.label.look_up(h, *memory)
        return self.last(self.hidden(h))

    def _features(self, x: Tensor, damping: Tensor) -> Tensor:
        if not self.vectors.numel():
            return x
        phase = x @ self.vectors
        return torch.cat([x, damping * torch.sin(phase), damping * torch.cos(phase)], 1)

    def bound(self, rows: int) -> Callable[[Tensor, Condition], Tensor]:
        # All layers write into one workspace. In a narrow layer a bias that is added separately
        # costs a fifth of `addmm`, and a narrow output a third if it is computed transposed.
        linear = [m for m in (self.first, *self.hidden, self.last) if isinstance(m, nn.Linear)]
        (first, w0), *hidden, (end, w1) = [
            (m.bias.detach(), m.weight.detach().T.contiguous()) for m in linear
        ]
        end, w1 = end[:, None], w1.T.contiguous()
        here, there = first.new_empty(rows, len(first)), first.new_empty(rows, len(first))

        def body(x: Tensor, condition: Condition) -> Tensor:
            n = len(x)
            h, other = (here, there) if n == rows else (here[:n], there[:n])
            torch.mm(self._features(x, condition[1]), w0, out=h)
            nn.functional.silu(h.add_(first + condition[0]), inplace=True)
            if isinstance(self.label, Tokens):
                h += self.label.look_up(h, *condition[2:])
            for bias, weight in hidden:
                torch.addmm(bias, h, weight, out=other)
                h, other = nn.functional.silu(other, inplace=True), h
            return torch.addmm(end, w1, h.T).T.contiguous()

        return body


def _linear(inputs: int, outputs: int, draw: torch.Generator, bias: bool = True) -> nn.Linear:
    """A linear layer with torch's usual initial weights, drawn by `draw`."""
    # Drawn twice, because torch's skip_init would load sympy, which takes half a second.
    with torch.random.fork_rng(devices=[]):
        layer = nn.Linear(inputs, outputs, bias=bias, device="cpu")
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=draw)
    if bias:
        bound = 1 / math.sqrt(inputs)
        nn.init.uniform_(layer.bias, -bound, bound, generator=draw)
    return layer


def _embedding(count: int, width: int, draw: torch.Generator) -> nn.Embedding:
    with torch.random.fork_rng(devices=[]):
        layer = nn.Embedding(count, width, device="cpu")
    nn.init.normal_(layer.weight, generator=draw)
    return layer


def _ways_in(how: How, labels: int, width: int, draw: torch.Generator) -> nn.Module:
    """The module that maps labels (n,) to a bias (n, width), or to keys and values."""
    if how == "add":
        return _embedding(labels + 1, width, draw)
    if how == "append":
        # Columns e beside x add U e to the first layer: [W U] [x e] = W x + U e.
        columns = _linear(FEATURES, width, draw, bias=False)
        return nn.Sequential(_embedding(labels + 1, FEATURES, draw), columns)
    return Tokens(labels, width, draw)


class Tokens(nn.Module):
    """Cross-attention to a few tokens of each label: softmax(q k / sqrt(m)) v."""

    def __init__(self, labels: int, width: int, draw: torch.Generator) -> None:
        super().__init__()
        self.tokens = _embedding(labels + 1, TOKENS * FEATURES, draw)
        self.query = _linear(width, FEATURES, draw, bias=False)
        self.key = _linear(FEATURES, FEATURES, draw, bias=False)
        self.value = _linear(FEATURES, width, draw, bias=False)

    def forward(self, label: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (n, tokens, features) and values (n, tokens, width) of labels (n,)."""
        tokens = self.tokens(label).reshape(len(label), TOKENS, FEATURES)
        return self.key(tokens), self.value(tokens)

    def look_up(self, h: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The result (n, width) of attention, for hidden features h (n, width)."""
        found = self.query(h)[:, None] @ keys.mT / math.sqrt(FEATURES)
        return (torch.softmax(found, -1) @ values)[:, 0]
