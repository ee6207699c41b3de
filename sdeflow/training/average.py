r"""Average the weights w_k of a network over its training steps k.

    a_k = beta_k a_{k-1} + (1 - beta_k) w_k,    beta_k = min(decay, (1 - 1/k)^(g + 1)).

While k is small this is the power-function average, in which w_j has a share of about j^g. So the
untrained weights w_0 have no share (beta_1 = 0), and the average extends over a fixed part of all
k steps, with standard deviation 5 % at g = 16.97. Later it is the exponential moving average with
this decay.

Source: Karras et al. 2024 (EDM2), section 3.1, for the power function.
"""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn

EXPONENT = 16.97
"""g, with which the standard deviation of j under these shares is 0.05 k."""


def kept_share(k: int, decay: float) -> float:
    """beta_k, the share of the average that step k = 1, 2, ... keeps."""
    return float(min(decay, (1 - 1 / k) ** (EXPONENT + 1)))


class WeightAverage:
    """The running average of the parameters of `source`, kept in the network `target`.

    The average is held in float32 at least: in bfloat16 a change of 1/200 would be rounded away.
    Buffers, such as BatchNorm's statistics, are those of `source`.
    """

    def __init__(self, source: nn.Module, target: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights, self._kept = list(source.parameters()), list(target.parameters())
        self._source, self._target = source, target
        # The parameters themselves, where wide enough, so that a deep copy keeps the connection.
        self._mean: list[Tensor] = [_wide(p) for p in self._kept]

    @torch.no_grad()
    def update(self, k: int) -> None:
        """Add the weights after step k = 1, 2, ... to the average."""
        new = [_wide(p) for p in self._weights]
        torch._foreach_lerp_(self._mean, new, 1 - kept_share(k, self.decay))
        self._show()

    def state(self) -> dict[str, Tensor]:
        """The average by name of parameter, to be saved; tied weights occur under each name."""
        mean = {id(p): m for p, m in zip(self._kept, self._mean, strict=True)}
        named = self._target.named_parameters(remove_duplicate=False)
        return {name: mean[id(p)] for name, p in named}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Set the average to one that `state` gave; RuntimeError if it is of another network."""
        own = self.state()
        if state.keys() != own.keys():
            raise RuntimeError("the average is of another network")
        for name, mean in own.items():
            mean.copy_(state[name])
        self._show()

    def _show(self) -> None:
        """Write the average and the buffers into the target."""
        for kept, mean in zip(self._kept, self._mean, strict=True):
            if kept.dtype != mean.dtype:
                kept.copy_(mean)
        for buffer, new in zip(self._target.buffers(), self._source.buffers(), strict=True):
            buffer.copy_(new)

    def finite(self) -> bool:
        """Whether every weight of the target and of the source is finite."""
        return all(bool(torch.isfinite(p).all()) for p in chain(self._kept, self._weights))


def _wide(x: Tensor) -> Tensor:
    """x itself, or its numbers in float32 if its type has fewer bits."""
    return x.detach().float() if x.is_floating_point() and x.element_size() < 4 else x
