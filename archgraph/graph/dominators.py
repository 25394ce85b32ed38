"""Dominators of a graph that is met in topological order."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

__all__ = ["DominatorTree"]

_ROOT = 0


class DominatorTree:
    """The immediate dominator of every node, under a root above all that read nothing.

    In an acyclic graph it is the nearest common ancestor, in this very tree, of what the node
    reads. Each node has a second pointer further up, so that a climb takes O(log n) steps.

    References:
        E. W. Myers, An applicative random-access stack, Information Processing Letters 17 (1983).

    Example:
        >>> tree = DominatorTree()
        >>> for node, reads in enumerate([[], [0], [0], [1, 2], [3, 0]]):
        ...     tree.add(node, reads)
        >>> tree.nearest_common([1, 2]), tree.nearest_common([3, 4]), tree.nearest_common([3])
        (0, 0, 3)
    """

    def __init__(self) -> None:
        # Node v stands at v + 1, behind the root.
        self._parent = [_ROOT]
        self._jump = [_ROOT]
        self._depth = [0]

    def add(self, node: int, reads: Iterable[int]) -> None:
        """Add the next node, 0 first; all that it reads must have been added."""
        assert node + 1 == len(self._parent)
        parent = self._common(reads)
        jump = self._jump[parent]
        above, depth = self._jump[jump], self._depth
        even = depth[parent] - depth[jump] == depth[jump] - depth[above]
        self._parent.append(parent)
        self._jump.append(above if even else parent)
        self._depth.append(depth[parent] + 1)

    def nearest_common(self, nodes: Iterable[int]) -> int | None:
        """Return the nearest node that every way to each of `nodes` leads through, if any."""
        found = self._common(nodes)
        return None if found == _ROOT else found - 1

    def _common(self, nodes: Iterable[int]) -> int:
        places = [node + 1 for node in nodes]
        return reduce(self._meet, places) if places else _ROOT

    def _meet(self, a: int, b: int) -> int:
        parent, jump, depth = self._parent, self._jump, self._depth
        if depth[a] < depth[b]:
            a, b = b, a
        while depth[a] > depth[b]:
            a = jump[a] if depth[jump[a]] >= depth[b] else parent[a]
        while a != b:
            a, b = (jump[a], jump[b]) if jump[a] != jump[b] else (parent[a], parent[b])
        return a
