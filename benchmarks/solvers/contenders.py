"""The solvers of the comparison: ours and those of other packages that are installed.

A peer is taken at the time grid that its authors recommend, and also at its best over all grids,
which nobody knows without the answer. One that cannot ask the field exactly as often as it may
takes the largest number of steps that asks less often; calls are counted at the field.
"""

from __future__ import annotations

from benchmarks.solvers import ours
from benchmarks.solvers.peers import (
    azula,
    diffusers,
    flow_matching,
    k_diffusion,
    smalldiffusion,
    torchcfm,
    torchdiffeq,
    torchsde,
)

PEERS = {
    "diffusers": diffusers,
    "k-diffusion": k_diffusion,
    "azula": azula,
    "smalldiffusion": smalldiffusion,
    "torchcfm": torchcfm,
    "flow_matching": flow_matching,
    "torchdiffeq": torchdiffeq,
    "torchsde": torchsde,
}

FLOWS = [*ours.FLOWS, *(one for peer in PEERS.values() for one in peer.FLOWS)]
"""For the probability flow."""

NOISY = [*ours.NOISY, *(one for peer in PEERS.values() for one in peer.NOISY)]
"""For the reverse SDE."""

SKIPPED = {name: peer.SKIPPED for name, peer in PEERS.items() if peer.SKIPPED}
"""The packages that are left out, and why."""
