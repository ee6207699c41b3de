"""The solvers of the comparison: ours and those of other packages that are installed.

A peer is taken at the time grid that its authors recommend, and also at its best over all grids,
which nobody knows without the answer.
"""

from __future__ import annotations

from benchmarks.solvers import ours
from benchmarks.solvers.peers import diffusers

FLOWS = [*ours.FLOWS, *diffusers.FLOWS]
"""For the probability flow."""

NOISY = [*ours.NOISY, *diffusers.NOISY]
"""For the reverse SDE."""
