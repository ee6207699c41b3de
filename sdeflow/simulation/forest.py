r"""Merge the states of blocks along one fixed binary tree, in whatever order they arrive.

Node (level, index) stands for the blocks index 2^level to (index + 1) 2^level - 1, and its state
is merge(left child, right child). So a sum of floating-point numbers is rounded in the same way
whatever the chunks, the number of processes and the interruptions of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sdeflow.simulation.reducers import Reducer, State, check_state

Node = tuple[int, int]
Nodes = list[tuple[Node, tuple[State, ...]]]


@dataclass
class Forest:
    """The largest complete nodes of the blocks so far: about log2(blocks) for a run of neighbours.

    Args:
        reducers: a node has one state for each.
    """

    reducers: Sequence[Reducer]
    nodes: dict[Node, tuple[State, ...]] = field(default_factory=dict)

    def add(self, node: Node, states: tuple[State, ...]) -> None:
        """Add a node, and merge it with its sibling as long as there is one."""
        level, index = node
        while (other := self.nodes.pop((level, index ^ 1), None)) is not None:
            states = self._merged(states, other) if index % 2 == 0 else self._merged(other, states)
            level, index = level + 1, index // 2
        self.nodes[level, index] = states

    def _merged(self, left: tuple[State, ...], right: tuple[State, ...]) -> tuple[State, ...]:
        parts = zip(self.reducers, left, right, strict=True)
        return tuple(check_state(r.merge(a, b), r, "merge", a) for r, a, b in parts)

    def absorb(self, nodes: Nodes) -> None:
        """Add the nodes of other forests; those whose blocks are there already are left out."""
        for node, states in sorted(nodes, key=lambda pair: -pair[0][0]):
            if not self._has(node):
                self.add(node, states)

    def _has(self, node: Node) -> bool:
        level, index = node
        return any((level + k, index >> k) in self.nodes for k in range(64))

    def missing(self, blocks: int) -> list[tuple[int, int]]:
        """The ranges [first, last) of the blocks below `blocks` that no node covers, in order."""
        gaps, place = [], 0
        for level, index in sorted(self.nodes, key=_first):
            first = index << level
            if first > place:
                gaps.append((place, first))
            place = max(place, (index + 1) << level)
        return gaps if place >= blocks else [*gaps, (place, blocks)]

    def total(self) -> tuple[State, ...]:
        """The states of all blocks, once none is missing."""
        # The nodes of N blocks are the binary digits of N: each is larger than all that follow.
        first, *rest = [self.nodes[node] for node in sorted(self.nodes, key=_first, reverse=True)]
        for states in rest:
            first = self._merged(states, first)
        return first


def _first(node: Node) -> int:
    """The first block of a node."""
    level, index = node
    return index << level
