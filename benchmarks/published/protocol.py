"""Train and judge one flow as the program of the published table does, with our loss and coupling.

    I-CFM    x_t = (1 - t) x_0 + t x_1 + 0.1 z, pairs independent
    OT-CFM   the same, pairs by minibatch optimal transport, drawn from the plan with replacement
    FM       x_t = (1 - t) x_0 + (0.1 + 0.9 t) x_1, x_1 ~ N(0, I)

in our time, from data x_0 to source x_1. The noise of the path is added to the pair: with (x_0 +
0.1 z, x_1 + 0.1 z), and for FM with (x_0 + 0.1 x_1, x_1), each path is the straight one of
`sf.Linear`, and the target is its velocity. The training loop is here, because `sf.fit` has
another optimiser, learning rate and averaging.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import torch
from torch import Tensor, nn

import sdeflow as sf
from benchmarks.published.tasks import Data, Pairs
from sdeflow.training.coupling import optimal_transport

try:
    import ot
except ImportError:  # `command.main` prints what is missing
    ot = None

METHODS = ("I-CFM", "FM", "OT-CFM")
PROCESS = sf.Linear(t_min=0.0, t_max=1 - 1e-6)  # alpha is 0 at t = 1
STEPS = 100


@dataclass(frozen=True)
class Protocol:
    """The settings of a training; the defaults are those of the table.

    Attributes:
        points: number of points in each of the three parts of the data.
        epochs: passes over the training points; the last, smaller batch is used, except for tasks
            with a source of data, where it is dropped.
        every: epochs between two checks of the validation loss.
        best: whether to keep the network of the lowest validation loss, and not the last one.
        resample: whether to draw the pairs from the plan with replacement.
    """

    points: int = 10_000
    epochs: int = 1000
    every: int = 10
    batch: int = 512
    rate: float = 1e-3
    decay: float = 1e-5
    path_noise: float = 0.1
    best: bool = True
    resample: bool = True


class Network(nn.Module):
    """SELU layers of 64, 64, 64 on (1 - t, x), which give -v, as in the program."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, 64, 64, 64, 2)
        layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.SELU())]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x (n, 2), t () or (n,) -> v (n, 2)."""
        return -self.layers(torch.cat([1 - t.expand(len(x))[:, None], x], 1))


class Run:
    """The training of one network for a method, data and a seed."""

    def __init__(self, method: str, pairs: Pairs, seed: int, protocol: Protocol) -> None:
        self.method, self.pairs, self.protocol = method, pairs, protocol
        self.g = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = Network()
        self.field = sf.LearnedField(PROCESS, network, sf.fields.Prediction.VELOCITY)
        self.loss = np.inf  # the lowest validation loss
        self.best = deepcopy(network.state_dict())

    def train(self) -> sf.LearnedField:
        """Train for all epochs, and return the field of the best checkpoint."""
        protocol, network = self.protocol, self.field.network
        adam = torch.optim.AdamW(
            network.parameters(), lr=protocol.rate, weight_decay=protocol.decay, fused=True
        )
        for epoch in range(1, protocol.epochs + 1):
            for x0, eps in self._epoch():
                value = self._loss(x0, eps).mean()
                adam.zero_grad()
                value.backward()
                adam.step()
            if epoch % protocol.every == 0:
                self._check()
        if protocol.best:
            network.load_state_dict(self.best)
        return self.field

    def _epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the coupled pairs of each batch of one epoch."""
        source, target = self.pairs.source, self.pairs.target
        mine = target.train[torch.randperm(len(target.train), generator=self.g)]
        theirs = None
        if source is not None:
            theirs = source.train[torch.randperm(len(source.train), generator=self.g)]
        for x0, eps in self._batches(mine, theirs):
            yield self._coupled(x0, eps) if self.method == "OT-CFM" else (x0, eps)

    def _batches(self, mine: Tensor, theirs: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        size = self.protocol.batch
        if theirs is None:
            for x0 in mine.split(size):
                yield x0, torch.randn(x0.shape, generator=self.g)
        else:
            batches = zip(mine.split(size), theirs.split(size), strict=True)
            yield from islice(batches, len(mine) // size)

    def _coupled(self, x0: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        j = optimal_transport(x0, eps)
        if not self.protocol.resample:
            return x0, eps[j]
        k = torch.randint(len(x0), (len(x0),), generator=self.g)
        return x0[k], eps[j[k]]

    def _loss(self, x0: Tensor, eps: Tensor) -> Tensor:
        """The squared error of the velocity per particle and coordinate, (n,)."""
        noise = self.protocol.path_noise
        if self.method == "FM":
            x0 = x0 + noise * eps
        else:
            z = noise * torch.randn(x0.shape, generator=self.g)
            x0, eps = x0 + z, eps + z
        t = torch.rand(len(x0), generator=self.g).clamp_max(PROCESS.t_max)
        return sf.training.loss(self.field, x0, t, eps)

    @torch.no_grad()
    def _check(self) -> None:
        """Keep the network if its validation loss is the lowest.

        For a source of data, its pairs are independent for every method, as in the program.
        """
        source, target = self.pairs.source, self.pairs.target
        total, n = 0.0, 0
        for x0, eps in self._batches(target.check, None if source is None else source.check):
            if self.method == "OT-CFM" and source is None:
                x0, eps = self._coupled(x0, eps)
            total, n = total + float(self._loss(x0, eps).sum()), n + len(x0)
        if total / n < self.loss:
            self.loss, self.best = total / n, deepcopy(self.field.network.state_dict())


def flow(field: sf.LearnedField, start: Tensor) -> tuple[Tensor, float]:
    """The ends (n, 2) of the flow by 100 Euler steps, and E int |v|^2 dt along the paths."""
    times = torch.linspace(PROCESS.t_max, 0.0, STEPS + 1, dtype=torch.float64)
    path = sf.ODESolver("euler", times=times).solve(sf.reverse(field, eta=0.0), start, save=times)
    moved = path.x.diff(dim=0).double().square().sum(2).mean(1)
    return path.x[-1], float((moved / times.diff().abs()).sum())


def squared_w2(x: Tensor, y: Tensor) -> float:
    """The exact W2^2 between two clouds (n, 2) of the same size."""
    cost = torch.cdist(x.double(), y.double()).square().numpy()
    return float(ot.emd2([], [], cost, numItermax=100_000_000))


def judged(field: sf.LearnedField, pairs: Pairs, between: float) -> dict[str, float]:
    """W2 to the test points, and the path energy normalised by W2^2 between source and target."""
    end, energy = flow(field, pairs.start)
    return {
        "W2": squared_w2(end, pairs.target.test) ** 0.5,
        "NPE": abs(energy - between) / between,
        "energy": energy,
    }


def sampling_floor(target: Data) -> float:
    """W2 between two samples of the target, the validation and the test points."""
    return squared_w2(target.check, target.test) ** 0.5
