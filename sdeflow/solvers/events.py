r"""Find when each particle of a run without noise has its event, where event(x, t) crosses zero.

The cloud shares the steps of one adaptive run. Where an event has changed its sign within a step,
the engine takes that step again in `PARTS` parts of the same method, which is more accurate than
the run by far. Through the six nearest of these states, and of their events, goes a polynomial in
time; the zero is bisected on it, for all particles at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sdeflow._validation import SdeflowError
from sdeflow.sdes.sde import SDE, check_drift, check_function, time_tensor
from sdeflow.solvers.checks import FIXED
from sdeflow.solvers.path import Events, Path

Event = Callable[[Tensor, Tensor], Tensor]
"""(x, t) -> (n,), one for each particle, or () for the whole cloud; t () in float64."""

PARTS, NODES, HALVINGS = 8, 6, 60


@dataclass(eq=False)
class EventFinder:
    """The events of one run, step by step.

    Args:
        event, sde, method: of the run.
        odeint: torchdiffeq's.
        x, t: its start.
        before: the events of the run that this one continues.

    Attributes:
        found: the events so far.
    """

    event: Event
    sde: SDE
    method: str
    odeint: Callable[..., Tensor]
    x: Tensor
    t: float
    before: Events | None = None

    def __post_init__(self) -> None:
        """Ask the event at the start."""
        n = len(self.x)
        self.found = Events(torch.full((n,), torch.inf, dtype=torch.float64), self.x.clone())
        self.gone = torch.zeros(n, dtype=torch.bool, device=self.x.device)
        if self.before is not None:
            self.gone = self.before.happened.to(self.x.device)
            place = torch.where(self.gone[:, None], self.before.x.to(self.x), self.x)
            self.found = Events(self.before.time, place)
        self.nfe, self._value = 0, self._asked(self.x, self.t)

    def frozen(self, x: Tensor, by: Tensor | None = None) -> Tensor:
        """x (n, d), with rows of `by` (by default 0) for particles that have had their event."""
        if not self.gone.any():
            return x
        return torch.where(self.gone[:, None], torch.zeros_like(x) if by is None else by, x)

    def drift(self, x: Tensor, t: float) -> Tensor:
        """The drift of the particles that still move; 0 for the others, which stay."""
        if self.gone.all():
            return torch.zeros_like(x)
        self.nfe += 1
        f = self.sde.drift(self.frozen(x, self.found.x), time_tensor(t, x))
        check_drift(f, x)
        return self.frozen(f.to(x.dtype))

    def stepped(self, begin: float, x: Tensor, end: float, y: Tensor) -> None:
        """The run has gone from (begin, x) to (end, y)."""
        before, self._value = self._value, self._asked(y, end)
        now = (before.sign() * self._value.sign() <= 0) & (before != 0) & ~self.gone
        if now.any():
            self._locate(begin, x, end, now)

    def _asked(self, x: Tensor, t: float) -> Tensor:
        """The event (n,) at (x, t)."""
        value = self.event(x.clone(), time_tensor(t, x))
        if not isinstance(value, Tensor) or value.shape not in ((), x.shape[:1]):
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"event must return one number for each particle, {tuple(x.shape[:1])}, or one "
                f"for the cloud, (), got {got}"
            )
        if (torch.isnan(value) & ~self.gone).any():
            raise SdeflowError(
                f"the event is NaN at t = {t:.6g}; let it return numbers everywhere"
            )
        return value.detach().expand(len(x)).double()

    def _locate(self, begin: float, x: Tensor, end: float, now: Tensor) -> None:
        """Find the events of the particles `now` (n,) in the step from (begin, x) to end."""
        times = torch.linspace(begin, end, PARTS + 1, dtype=torch.float64)
        low, high = sorted((begin, end))
        span, states = times.to(x.device), self.frozen(x, self.found.x)
        states = self.odeint(
            lambda t, z: self.drift(z, min(max(float(t), low), high)), states, span, rtol=1.0,
            atol=1.0, method=self.method,
            options={
                "first_step": abs(end - begin), "step_t": span[1:], "dtype": span.dtype,
                "norm": lambda error: torch.zeros((), dtype=span.dtype, device=span.device),
            },
        )  # fmt: skip
        values = torch.stack(
            [self._asked(z, float(t)) for z, t in zip(states, times, strict=True)]
        )
        values, states = values[:, now], states[:, now].double()
        changed = (values[:-1].sign() * values[1:].sign() <= 0) & (values[:-1] != 0)
        # Rounding may have moved a zero at the end of the step beyond it.
        part = torch.where(changed.any(0), changed.int().argmax(0), PARTS - 1)
        first = (part - NODES // 2 + 1).clamp(0, PARTS + 1 - NODES)
        near = first + torch.arange(NODES, device=x.device)[:, None]
        at = _zero(values.gather(0, near), part - first)
        y = (_weights(at)[:, :, None] * states[near, torch.arange(len(at), device=x.device)]).sum(
            0
        )
        when = begin + (end - begin) / PARTS * (first + at).cpu()
        time, place = self.found.time.clone(), self.found.x.clone()
        time[now.cpu()], place[now] = when, y.to(place.dtype)
        self.found, self.gone = Events(time, place), self.gone | now


def held(finder: EventFinder | None, path: Path) -> Path:
    """The path, on which a particle stays where its event happened."""
    if finder is None:
        return path
    found, gone, sign = finder.found, finder.gone, finder.sde.direction
    late = (sign * path.t[:, None] >= sign * found.time).to(gone.device) & gone
    return replace(path, x=torch.where(late[:, :, None], found.x, path.x), events=found)


def check_event(event: Event | None, method: str) -> None:
    """Check that the event of a run is a function of (x, t), and that its method finds events.

    Raises:
        TypeError: it is not a function.
        ValueError: the method has fixed steps.
    """
    if event is None:
        return
    check_function(event, "event", "x", "t")
    if method in FIXED:
        raise ValueError(f"method {method!r} has fixed steps: for an event use 'dopri5'")


def check_no_event(event: Event | None) -> None:
    """Refuse the event of a run that carries a gradient."""
    if event is not None:
        raise ValueError(
            "a differentiable run takes no event; use torchdiffeq.odeint_event on sde.drift, or "
            "find the times first and then solve to them"
        )


def _weights(s: Tensor) -> Tensor:
    """Lagrange's weights (NODES, n) of values at 0, 1, ..., NODES - 1 for points s (n,)."""
    rows = []
    for i in range(NODES):
        weight = torch.ones_like(s)
        for j in range(NODES):
            if j != i:
                weight = weight * (s - j) / (i - j)
        rows.append(weight)
    return torch.stack(rows)


def _zero(values: Tensor, part: Tensor) -> Tensor:
    """Where the polynomial through values (NODES, n) at 0, 1, ... is zero in [part, part + 1]."""
    low = part.double()
    high, sign = low + 1, values.gather(0, part[None])[0].sign()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        before = (_weights(middle) * values).sum(0).sign() == sign
        low, high = torch.where(before, middle, low), torch.where(before, high, middle)
    return high
