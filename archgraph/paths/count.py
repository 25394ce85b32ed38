"""How many paths there are and how long they are, by dynamic programming, never by listing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from archgraph.graph import LOSS, Graph
from archgraph.graph.records import Role
from archgraph.paths.walk import Walk, Walkers, walk

__all__ = ["Histograms", "count_all", "count_by", "count_histograms", "count_paths"]

_FEW_TERMS: Final = 16
"""By a polynomial of no more terms others are multiplied term by term, with shifts."""


@dataclass(frozen=True, slots=True)
class Histograms:
    """Number of paths by each kind of length; each adds up to the number of paths."""

    edges: Mapping[int, int]
    """By edges: the path's length."""
    weights: Mapping[int, int]
    """By weight layers whose Jacobian is a factor."""
    skips: Mapping[int, int]
    branches: Mapping[int, int]

    def to_dict(self) -> dict[str, dict[str, int]]:
        """Return the JSON form; keys of JSON objects are strings."""
        return {
            name: {str(length): count for length, count in getattr(self, name).items()}
            for name in ("edges", "weights", "skips", "branches")
        }


def count_paths(graph: Walkers, wrt: str | None = None, of: str = LOSS) -> int:
    """Return the exact number of paths from `wrt` to `of`: n(v) = Σ n(target) over hops out of v.

    Args:
        graph: A graph, a view, or a walk (which already knows both ends).
        wrt: A node, an input or a parameter.
        of: The node where the paths end, the loss by default.

    Raises:
        TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.

    Cost: O(edges) additions of integers with at most `edges` bits.

    Example:
        >>> from archgraph.graph import GraphBuilder
        >>> builder = GraphBuilder("toy")
        >>> x = builder.input("x", (8,))
        >>> y = builder.layer("y", None, [x, x])
        >>> z = builder.layer("z", None, [y, x])
        >>> count_paths(builder.build(), "x")
        3
    """
    paths = walk(graph, wrt, of)
    return suffix_counts(paths).get(paths.start, 0)


def suffix_counts(paths: Walk) -> dict[int, int]:
    """Return for each node on some path the number of ways from there to the end."""
    counts: dict[int, int] = {}
    for node in paths.order:
        counts[node] = sum(counts[paths.targets[hop]] for hop in paths.steps[node])
        if node == paths.end:
            counts[node] = 1
    return counts


def count_all(graph: Graph, of: str = LOSS) -> dict[str, int]:
    """Return for every node the number of paths from it to `of`; `of` itself has one, the empty.

    Cost: O(edges), all nodes together.
    """
    end = graph.position(of)
    counts = [0] * len(graph.nodes)
    counts[end] = 1
    for node in reversed(range(end)):
        counts[node] = sum(counts[graph.targets[hop]] for hop in graph.gradient_out_of[node])
    return {node.name: counts[i] for i, node in enumerate(graph.nodes)}


def count_histograms(graph: Walkers, wrt: str | None = None, of: str = LOSS) -> Histograms:
    """Return the number of paths by edges, weights, skips and branches, exactly.

    Raises:
        TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.

    Cost: four passes of `count_by`.
    """
    paths = walk(graph, wrt, of)
    return Histograms(
        edges=count_by(paths, [1] * len(paths.hops)),
        weights=count_by(paths, paths.weights),
        skips=count_by(paths, role_degrees(paths, "skip")),
        branches=count_by(paths, role_degrees(paths, "branch")),
    )


def count_by(paths: Walk, degrees: Sequence[int]) -> dict[int, int]:
    """Return the number of paths by the sum of the degrees of their hops, lengths ascending.

    The count of length k is the coefficient of t^k in P(start), where P(end) = 1 and
    P(v) = Σ t^degree(hop) · P(target of hop). A polynomial is one big integer, P(2^b) with b more
    than the bits of any coefficient, so that a product by t^d is a shift and a sum is a sum. What
    lies between two nodes that every path visits is a factor of its own.

    Args:
        paths: The paths to count.
        degrees: A non-negative integer for each hop of `paths`.

    Cost: at most O(edges · longest length · bits of the count / 64) machine operations; where every
    path visits many nodes, as in a residual network, far less.
    """
    total = count_paths(paths)
    if not total:
        return {}
    width = (total.bit_length() + 7) // 8
    product, shortest = 1, 0
    for part in paths.parts:
        packed = _packed(paths, part, degrees, 8 * width)
        least = ((packed & -packed).bit_length() - 1) // (8 * width)
        shortest += least
        product = _multiply(product, packed >> (8 * width * least), width)
    return {shortest + k: n for k, n in _unpack(product, width).items()}


def _packed(paths: Walk, part: Sequence[int], degrees: Sequence[int], bits: int) -> int:
    """Return the polynomial of the ways through one part, at 2^bits."""
    packed: dict[int, int] = {part[0]: 1}
    waiting = dict.fromkeys(part, 0)
    for node in part[1:]:
        for hop in paths.steps[node]:
            waiting[paths.targets[hop]] += 1
    for node in part[1:]:
        for hop in paths.steps[node]:
            target = paths.targets[hop]
            packed[node] = packed.get(node, 0) + (packed[target] << (bits * degrees[hop]))
            waiting[target] -= 1
            if not waiting[target]:
                # A polynomial can take megabytes; only those still to be read are kept.
                del packed[target]
    return packed[part[-1]]


def _multiply(product: int, factor: int, width: int) -> int:
    """Multiply two packed polynomials; where the second has few terms, with shifts alone."""
    if factor == 1 or product == 1:
        return product * factor
    terms = _unpack(factor, width)
    if len(terms) > _FEW_TERMS:
        return product * factor
    return sum((product if n == 1 else product * n) << (8 * width * k) for k, n in terms.items())


def _unpack(packed: int, width: int) -> dict[int, int]:
    data = packed.to_bytes((packed.bit_length() + 7) // 8, "little")
    coefficients = (
        int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)
    )
    return {length: count for length, count in enumerate(coefficients) if count}


def role_degrees(paths: Walk, role: Role) -> list[int]:
    """Return 1 for each hop of this role and 0 for the others: degrees for `count_by`."""
    return [int(hop.role == role) for hop in paths.hops]
