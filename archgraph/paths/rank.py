"""The paths with the largest products, found without looking at the others."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice
from typing import TypeAlias

from archgraph.errors import UsageError
from archgraph.graph import LOSS
from archgraph.paths.enumerate import Path, choices, iter_paths
from archgraph.paths.walk import Walk, Walkers, walk
from archgraph.paths.weight import EdgeWeight, exact_weights, scale_size

__all__ = ["iter_ranked_paths", "rank_paths"]

Exact: TypeAlias = int | Fraction
Way: TypeAlias = tuple[Exact, int, int]
"""A way from a node to the end: its product, its first step, and which of the ways from that step's
target it goes on by."""


def rank_paths(
    graph: Walkers,
    wrt: str | None = None,
    k: int = 10,
    weight: EdgeWeight | None = None,
    of: str = LOSS,
) -> list[Path]:
    """Return the k paths whose edges have the largest product of weights, largest first.

    The same as the head of all paths, sorted by their exact products; ties in the order of
    enumeration. All paths if there are fewer than k.

    Args:
        graph: A graph, a view, or a walk (which already knows both ends).
        wrt: A node, an input or a parameter.
        k: How many, at least 0.
        weight: A non-negative number for each edge, by a function or by its id: a bound, a measured
            share; |λ| by default. The sign is in `Path.scale`.
        of: The node where the paths end, the loss by default.

    Raises:
        TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.
        UsageError: k or a weight is negative, or a weight is not a finite number.

    Cost: O(edges), and O(longest path · log out-degree) products for each path.

    References:
        V. M. Jiménez and A. Marzal, Computing the k shortest paths: a new algorithm and an
        experimental comparison, WAE 1999 (the recursive enumeration algorithm).
    """
    if k < 0:
        raise UsageError(f"asked for the {k} best paths; give 0 or more")
    return list(islice(iter_ranked_paths(graph, wrt, weight, of), k))


def iter_ranked_paths(
    graph: Walkers,
    wrt: str | None = None,
    weight: EdgeWeight | None = None,
    of: str = LOSS,
) -> Iterator[Path]:
    """Iterate over all paths, the largest product of weights first; see `rank_paths`.

    Lazy: it is not necessary to know beforehand how many are wanted.
    """
    paths = walk(graph, wrt, of)
    weights = exact_weights(paths, scale_size if weight is None else weight)
    # A product with a zero says nothing of the other factors, by which the ways from a node are
    # ordered; so paths of zero are kept apart, and come last, all of them ties.
    positive = (Path(paths, hops) for hops in _Ranking(paths, weights).iter_hops())
    zero = (p for p in iter_paths(paths) if not all(weights[hop] for hop in p.edge_indices))
    return chain(positive, zero if not all(weights.values()) else ())


class _Ranking:
    """For each node its ways to the end in order, made only as far as they were asked for.

    A step is a run of hops with no choice between them.
    """

    def __init__(self, paths: Walk, weights: dict[int, Exact]) -> None:
        self._paths = paths
        self._steps = choices(paths)
        self._ways: dict[int, list[Way]] = {}
        self._factors: dict[int, list[Exact]] = {}
        # Heaps of (−product, step, way): of each step the best way that is not in _ways yet.
        self._candidates: dict[int, list[Way]] = {}
        for node in paths.order:
            self._ways[node] = [(1, -1, 0)] if node == paths.end else []
            self._candidates[node] = []
            self._factors[node] = [
                math.prod(weights[hop] for hop in hops) for hops, _ in self._steps[node]
            ]
            for step in range(len(self._steps[node])):
                self._offer(node, step, 0)
            self._take(node)

    def iter_hops(self) -> Iterator[tuple[int, ...]]:
        """Yield the hops of each path whose product is positive."""
        start, index = self._paths.start, 0
        while start in self._ways and self._has(start, index):
            yield self._hops(start, index)
            index += 1

    def _offer(self, node: int, step: int, index: int) -> None:
        """Make the way over a step and then the `index`-th of its target a candidate.

        Unless there is no such way, or its product is zero.
        """
        ways = self._ways[self._steps[node][step][1]]
        factor = self._factors[node][step]
        if index < len(ways) and factor:
            heapq.heappush(self._candidates[node], (-factor * ways[index][0], step, index))

    def _take(self, node: int) -> None:
        if self._candidates[node]:
            product, step, index = heapq.heappop(self._candidates[node])
            self._ways[node].append((-product, step, index))

    def _has(self, node: int, index: int) -> bool:
        """Make the ways from `node` up to the `index`-th; return whether there are so many.

        All before the `index`-th must have been made.
        """
        waiting: list[tuple[int, int, int]] = []
        target, wanted = node, index
        # The next way of a node needs the successor of its last one: one way more of one target,
        # so what must be made is a chain of nodes, worked off from its far end.
        while (
            len(self._ways[target]) <= wanted and self._ways[target] and target != self._paths.end
        ):
            _, step, last = self._ways[target][-1]
            waiting.append((target, step, last + 1))
            target, wanted = self._steps[target][step][1], last + 1
        for target, step, following in reversed(waiting):
            self._offer(target, step, following)
            self._take(target)
        return index < len(self._ways[node])

    def _hops(self, node: int, index: int) -> tuple[int, ...]:
        hops: list[int] = []
        while node != self._paths.end:
            _, step, index = self._ways[node][index]
            further, node = self._steps[node][step]
            hops += further
        return tuple(hops)
