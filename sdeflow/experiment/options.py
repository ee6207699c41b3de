"""Describe an option of the `sdeflow` command whose default is worked out later."""

from __future__ import annotations

from typing import Any

from tyro.conf import arg


def option(kind: str, default: str, name: str | None = None) -> Any:
    """The help of an option that is None by default: its kind, and what is then taken."""
    return arg(name=name, metavar=kind, help_behavior_hint=f"(default: {default})")
