"""Keep the state of a simulation in a folder, to continue it on any number of ranks."""

from __future__ import annotations

import time
from pathlib import Path as FilePath

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from sdeflow._validation import SdeflowError
from sdeflow.distributed import Layout, barrier, gather
from sdeflow.simulation.forest import Forest, Node, Nodes
from sdeflow.simulation.reducers import State
from sdeflow.storage import read_object, write_object

KIND = "PartialResult"
EVERY = 1.0
"""Seconds between two writings of the state; what is lost by a kill is computed again."""


class Parts:
    """The files of a simulation: each rank of each run writes one, and the last run merges them.

    Those of another `job`, which is a fingerprint, are refused.
    """

    def __init__(self, folder: FilePath, job: str, here: Layout) -> None:
        self.folder, self.job, self.here = folder / "parts", job, here
        self.folder.mkdir(parents=True, exist_ok=True)
        self.before = self._files(".npz")
        barrier(here)  # nobody writes before all have looked
        free = int(self.before[-1].stem) + 1 if self.before else 0
        self._own = self.folder / f"{free + here.rank:04d}.npz"
        self._written = 0.0

    def read(self) -> Nodes:
        """What earlier runs have done; SdeflowError if they did another simulation."""
        nodes: Nodes = []
        for file in self.before:
            tensors, plain = read_object(file, KIND)
            if plain["job"] != self.job:
                raise SdeflowError(
                    f"{self.folder.parent} holds another simulation (of other particles, "
                    "functions or reducers, or of another machine or number of threads); give "
                    "another folder, or remove it"
                )
            nodes += unpacked(tensors)
        return nodes

    def write(self, forest: Forest, *, at_once: bool = False) -> None:
        """Write what this rank has done, if the last writing was some time ago."""
        now = time.monotonic()
        if forest.nodes and (at_once or now > self._written + EVERY):
            write_object(self._own, KIND, packed(forest), {"job": self.job})
            self._written = now

    def finish(self, forest: Forest) -> None:
        """Replace the files of all runs by one."""
        if self.here.is_writer:
            whole = self.folder / "0000.npz"
            write_object(whole, KIND, packed(forest), {"job": self.job})
            for file in self._files(".npz") + self._files(".npz.part"):  # half written by a kill
                if file != whole:
                    file.unlink()

    def _files(self, end: str) -> list[FilePath]:
        """The files of this kind that simulations have written, in order."""
        names = {file.name.removesuffix(end): file for file in self.folder.glob(f"*{end}")}
        return [names[name] for name in sorted(filter(str.isdigit, names), key=int)]


def collected(forest: Forest, here: Layout) -> Nodes:
    """The nodes of the forests of all ranks, on each rank."""
    if here.size == 1:
        return [*forest.nodes.items()]
    whole = torch.contiguous_format
    own = {k: v.detach().cpu().clone(memory_format=whole) for k, v in packed(forest).items()}
    nodes: Nodes = []
    for each in gather(torch.frombuffer(bytearray(to_bytes(own)), dtype=torch.uint8), here):
        nodes += unpacked(from_bytes(each.numpy().tobytes()))
    return nodes


def packed(forest: Forest) -> State:
    """The nodes of a forest under names such as 3.17.0.counts: level, index, reducer, tensor."""
    return {
        f"{level}.{index}.{k}.{name}": value
        for (level, index), states in forest.nodes.items()
        for k, state in enumerate(states)
        for name, value in state.items()
    }


def unpacked(tensors: State) -> Nodes:
    """The nodes that `packed` has written."""
    nodes: dict[Node, dict[int, State]] = {}
    for key, value in tensors.items():
        level, index, k, name = key.split(".", 3)
        nodes.setdefault((int(level), int(index)), {}).setdefault(int(k), {})[name] = value
    return [(node, tuple(states[k] for k in sorted(states))) for node, states in nodes.items()]
