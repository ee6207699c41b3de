"""List the solvers of the comparison: ours and those of other packages that are installed.

A peer is compared on the time grid that its authors recommend, and on its best grid of all, which
is known only from the results. A solver takes the largest number of steps whose calls of the field
are within the budget.
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
"""Solvers of the probability flow."""

NOISY = [*ours.NOISY, *(one for peer in PEERS.values() for one in peer.NOISY)]
"""Solvers of the reverse SDE."""

SKIPPED = {name: peer.SKIPPED for name, peer in PEERS.items() if peer.SKIPPED}
"""The packages that are left out, and the reasons."""
