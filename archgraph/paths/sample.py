"""Paths drawn at random, with exact probabilities."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from itertools import accumulate
from typing import TypeAlias

from archgraph.errors import UsageError
from archgraph.graph import LOSS
from archgraph.paths.enumerate import Path
from archgraph.paths.walk import Walk, Walkers, walk
from archgraph.paths.weight import EdgeWeight, exact_weight

__all__ = ["sample_paths"]

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
    choices = _choices(paths, weight)
    if n and paths.start not in choices and paths.start != paths.end:
        start, end = paths.names[paths.start], paths.names[paths.end]
        which = "path of positive weight" if paths.order else "path"
        raise UsageError(f"no {which} leads from {start!r} to {end!r}, so none can be drawn")
    rng = random.Random(seed)
    return [Path(paths, _draw(paths, choices, rng)) for _ in range(n)]


def _choices(paths: Walk, weight: EdgeWeight | None) -> dict[int, Choice]:
    """Return the hops to choose from at each node and the running sums of their integer weights."""
    # Sums of products, as numerator and denominator. Reducing them, as Fraction does, costs far
    # more than it saves: a hundred floats multiply to a denominator of thousands of bits.
    totals = {paths.end: (1, 1)}
    choices: dict[int, Choice] = {}
    for node in paths.order:
        ways: dict[int, tuple[int, int]] = {}
        for hop in paths.steps[node]:
            factor = exact_weight(weight, paths.hops[hop]) if weight else 1
            numerator, denominator = totals.get(paths.targets[hop], (0, 1))
            if factor and numerator:
                ways[hop] = (factor.numerator * numerator, factor.denominator * denominator)
        if ways:
            common = math.lcm(*(denominator for _, denominator in ways.values()))
            whole = [
                numerator * (common // denominator) for numerator, denominator in ways.values()
            ]
            totals[node] = (sum(whole), common)
            choices[node] = (list(ways), list(accumulate(whole)))
    return choices


def _draw(paths: Walk, choices: dict[int, Choice], rng: random.Random) -> tuple[int, ...]:
    hops = []
    node = paths.start
    while node != paths.end:
        ways, sums = choices[node]
        hop = ways[bisect_right(sums, rng.randrange(sums[-1]))]
        hops.append(hop)
        node = paths.targets[hop]
    return tuple(hops)
