"""Describe options of the `sdeflow` command: --device, and those with a default found later."""

from __future__ import annotations

from typing import Annotated, Any

from tyro.conf import arg

Device = Annotated[
    str,
    arg(metavar="DEVICE", help="Where network and particles lie: cpu, cuda, cuda:1 or mps."),
]
"""The option --device."""


def option(kind: str, default: str, name: str | None = None) -> Any:
    """The help of an option that is None by default: its kind, and what is then taken."""
    return arg(name=name, metavar=kind, help_behavior_hint=f"(default: {default})")
