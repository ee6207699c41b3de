r"""Use a torch network of another program as a field.

    field = from_torch(unet, DDPM(scheduler.alphas_cumprod), shape=(3, 32, 32))

The field takes clouds (n, d) and our time t; the network is called with x (n, *shape) and the time
of its own convention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from sdeflow._validation import shown
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import Conditioned, TimeInput
from sdeflow.integrations.conventions import Convention


def from_torch(
    network: nn.Module,
    convention: Convention,
    shape: Sequence[int] | None = None,
    *,
    conditions: Mapping[str, Tensor] | None = None,
    batch: int | None = None,
) -> LearnedField:
    r"""The field of a network that another program has trained.

        prediction(x, t) = factor network(x, time(t)),

    with factor, time and process of the convention, which the repr of the field states. The
    network is called with x (n, *shape), its time (n,) and, if `given` binds a label, labels (n,).
    It returns a tensor of the shape of x, an object with `.sample`, or a tuple of one tensor, as
    networks of diffusers do. It is in eval mode for each call.

    Args:
        network: any torch module.
        convention: how it was trained: `DDPM`, `FlowMatching` or `Denoiser`.
        shape: of one sample as the network takes it, such as (3, 32, 32) for an image; clouds are
            (n, d) with d the product. By default (n, d) itself.
        conditions: further inputs by their names, (1, ...) each, the same for all particles; for
            example `encoder_hidden_states` of a text.
        batch: the most samples in one call; see `LearnedField`.

    Raises:
        ValueError: a condition is not (1, ...), or network is sdeflow's own `MLP`.
    """
    if not isinstance(convention, Convention):
        got = convention.__name__ if isinstance(convention, type) else type(convention).__name__
        raise TypeError(
            "convention must be a Convention, such as DDPM(scheduler.alphas_cumprod), "
            f"FlowMatching(data_at=1) or Denoiser(), got {got}"
        )
    if not isinstance(network, nn.Module):
        raise TypeError(f"network must be a torch module, got {type(network).__name__}")
    if any(isinstance(m, Conditioned) for m in network.modules()):
        raise ValueError(
            "an MLP of sdeflow takes the noise level and not the time of a convention; give it to "
            "LearnedField"
        )
    adapted = _Adapted(network, convention, _checked(conditions))
    return LearnedField(convention.process, adapted, convention.predicts, batch=batch, shape=shape)


def _checked(conditions: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    if conditions is not None and not isinstance(conditions, Mapping):
        raise TypeError(f"conditions must be tensors by their names, got {shown(conditions)}")
    given = dict(conditions or {})
    for name, value in given.items():
        if not isinstance(value, Tensor) or value.ndim < 1 or len(value) != 1:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"the condition {name!r} must be a tensor (1, ...), the same for all particles, "
                f"got {got}"
            )
    return given


class _Adapted(nn.Module):
    """A network with a convention, called as network(x, t) or network(x, t, label) in our time."""

    takes = TimeInput.TIME

    def __init__(
        self,
        network: nn.Module,
        convention: Convention,
        conditions: dict[str, Tensor],
    ) -> None:
        super().__init__()
        self.network, self.convention = network, convention
        self.labels = LearnedField(convention.process, network).labels
        self.names = list(conditions)
        for name, value in conditions.items():  # so that they move with the network
            self.register_buffer(f"condition_{name}", value, persistent=False)
        self.train(network.training)

    def _get_name(self) -> str:
        """The name in the repr of a field: the network, its time, the factor."""
        words = f"{self.network._get_name()} at {self.convention.words}"
        return words + (" times -1" if self.convention.factor < 0 else "")

    def forward(self, x: Tensor, t: Tensor, *label: Tensor) -> Tensor:
        n = len(x)
        rest = [each.expand(n) for each in (self.convention.time(t), *label)]
        more = {k: getattr(self, f"condition_{k}") for k in self.names}
        more = {k: value.expand(n, *value.shape[1:]) for k, value in more.items()}
        out = _tensor(self.network(x, *rest, **more))
        if out.shape != x.shape:
            raise ValueError(
                f"the network returned {tuple(out.shape)} for {tuple(x.shape)}; give shape= if it "
                "takes images, or wrap it to return its mean alone if it predicts a variance too"
            )
        return self.convention.factor * out


def _tensor(out: object) -> Tensor:
    """The tensor that a network returned: bare, in `.sample`, or in a tuple of one."""
    if isinstance(out, tuple) and len(out) == 1:
        out = out[0]
    if not isinstance(out, Tensor):
        out = getattr(out, "sample", out)
    if isinstance(out, Tensor):
        return out
    raise ValueError(
        f"the network returned a {type(out).__name__}; it must return a tensor, an object with "
        ".sample, or a tuple of one tensor"
    )
