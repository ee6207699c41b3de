"""Call a function of the user after each step of a run; it may stop the run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from sdeflow._validation import check_function, shown

Callback = Callable[[int, float, Tensor], bool | None]
"""(k, t, x) after step k = 1, 2, ..., x (n, d) at time t; True stops the run."""

STOPPED = "stopped by the callback"
"""How the status of a path begins that a callback has ended."""


class Halted(Exception):  # noqa: N818 it is caught, and the path returned
    """The callback has stopped the run."""


def check_callback(callback: Callback | None, method: str, differentiable: object) -> None:
    """Check that a run can call the function after each of its steps.

    Raises:
        TypeError: it is not a function.
        ValueError: the method or the gradient does not allow for it.
    """
    if callback is None:
        return
    check_function(callback, "callback", "of (k, t, x), such as lambda k, t, x: t > 1")
    if method == "reversible_heun":
        raise ValueError("'reversible_heun' does not know each state; with a callback use 'heun'")
    if differentiable:
        raise ValueError(
            "a differentiable run takes no callback; save every step, and look at the path"
        )


def called(callback: Callback, k: int, t: float, x: Tensor) -> bool:
    """Whether the callback asks the run to stop; it gets a copy of x.

    Raises:
        TypeError: it returned neither True nor False nor None.
    """
    stop = callback(k, t, x.detach().clone())
    if stop is None or isinstance(stop, bool | np.bool_):
        return bool(stop)
    if isinstance(stop, Tensor) and not stop.ndim:
        return bool(stop)
    raise TypeError(
        f"the callback must return True to stop the run, or False or None, got {shown(stop)}"
    )


def status(k: int, t: float) -> str:
    """What the path says of itself."""
    return f"{STOPPED} after step {k}, at t = {t:.6g}"
