"""Measure peaks of resident memory (Linux), and run work in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch


def resident(key: str) -> float:
    """VmRSS or VmHWM of this process (MiB)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def peak(run: Callable[[], object]) -> tuple:
    """The result of `run`, and the rise of peak resident memory above the start (MiB)."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    out = run()
    return out, resident("VmHWM") - before


def in_its_own_process(work: Callable[..., object], *given: object):
    """Compute work(*given) in a fresh process of one thread."""
    fresh = get_context("spawn")
    with ProcessPoolExecutor(1, fresh, torch.set_num_threads, (1,)) as pool:
        return pool.submit(work, *given).result()
