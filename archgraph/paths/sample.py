"""Paths drawn at random, with exact probabilities."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from fractions import Fraction
from itertools import accumulate
from typing import TypeAlias

from archgraph.errors import UsageError
from archgraph.graph import LOSS
from archgraph.paths.enumerate import Path
from archgraph.paths.walk import Walk, Walkers, walk
from archgraph.paths.weight import EdgeWeight, exact_weights

__all__ = ["Sampler", "sample_paths"]

Choice: TypeAlias = tuple[list[int], list[int]]


def sample_paths(
    graph: Walkers,
    wrt: str | None = None,
    n: int = 1,
    seed: int = 0,
    weight: EdgeWeight | None = None,
    of: str = LOSS,
) -> list[Path]:
    """Draw n paths from `wrt` to `of`, independently and with replacement.

    A path's probability is proportional to the product of its edges' weights, exactly: at each node
    a hop is chosen in proportion to its weight times the sum of the products of all ways from its
    target, with integers throughout.

    Args:
        graph: A graph, a view, or a walk (which already knows both ends).
        wrt: A node, an input or a parameter.
        n: How many, at least 0.
        seed: The same seed gives the same paths.
        weight: A non-negative number for each edge; 1 by default, which makes all paths equally
            likely.
        of: The node where the paths end, the loss by default.

    Raises:
        TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.
        UsageError: n or a weight is negative, a weight is not a finite number, or there is no path
            with a positive weight to draw.

    Cost: O(edges), and O(length · log out-degree) for each path.
    """
    if n < 0:
        raise UsageError(f"asked for {n} paths; give 0 or more")
    paths = walk(graph, wrt, of)
    sampler = Sampler(paths, weight)
    return sampler.draw(n, seed) if n else []


class Sampler:
    """Draws paths of one walk.

    Attributes:
        paths: The walk.
        weights: The weight of each hop on a path; None if all are 1.
        total: The sum of the products of all paths.
    """

    def __init__(self, paths: Walk, weight: EdgeWeight | None = None) -> None:
        self.paths = paths
        self.weights = None if weight is None else exact_weights(paths, weight)
        self._choices: dict[int, Choice] = {}
        # Sums of products, as numerator and denominator. Reducing them, as Fraction does, costs
        # far more than it saves: a hundred floats multiply to a denominator of thousands of bits.
        totals = {paths.end: (1, 1)}
        for node in paths.order:
            if node != paths.end:
                totals[node] = self._add_up(node, totals)
        self.total = Fraction(*totals.get(paths.start, (0, 1)))

    def _add_up(self, node: int, totals: dict[int, tuple[int, int]]) -> tuple[int, int]:
        """Return the sum of the products of all ways from a node, and note how to choose."""
        ways: dict[int, tuple[int, int]] = {}
        for hop in self.paths.steps[node]:
            factor = 1 if self.weights is None else self.weights[hop]
            numerator, denominator = totals[self.paths.targets[hop]]
            if factor and numerator:
                ways[hop] = (factor.numerator * numerator, factor.denominator * denominator)
        common = math.lcm(*(denominator for _, denominator in ways.values()))
        sums = list(accumulate(n * (common // d) for n, d in ways.values()))
        self._choices[node] = (list(ways), sums)
        return (sums[-1], common) if sums else (0, 1)

    def draw(self, n: int, seed: int) -> list[Path]:
        """Return n paths.

        Raises:
            UsageError: there is no path with a positive weight to draw.
        """
        paths = self.paths
        if not self.total:
            start, end = paths.names[paths.start], paths.names[paths.end]
            which = "path of positive weight" if paths.order else "path"
            raise UsageError(f"no {which} leads from {start!r} to {end!r}, so none can be drawn")
        rng = random.Random(seed)
        return [Path(paths, self._draw(rng)) for _ in range(n)]

    def _draw(self, rng: random.Random) -> tuple[int, ...]:
        hops = []
        node = self.paths.start
        while node != self.paths.end:
            ways, sums = self._choices[node]
            chosen = bisect_right(sums, rng.randrange(sums[-1])) if len(ways) > 1 else 0
            hops.append(ways[chosen])
            node = self.paths.targets[ways[chosen]]
        return tuple(hops)
