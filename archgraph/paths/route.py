"""Routes: classes of paths, by how many branches they take of each stage.

Of 2^333 paths a list of ten says nothing, least of all where every λ is 1 and all are ties. Routes
are few enough to be counted and ranked exactly, and none of their paths is ever enumerated.
"""

from __future__ import annotations

import heapq
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any, Final, Literal, TypeAlias, get_args

from archgraph.errors import UsageError, suggest
from archgraph.expression import Number
from archgraph.graph import LOSS, Edge, Graph
from archgraph.paths.enumerate import json_number
from archgraph.paths.polynomial import (
    Polynomial,
    Semiring,
    exponents,
    monomial,
    multiply,
    of_part,
)
from archgraph.paths.stage import Grade, Stages, find_stages
from archgraph.paths.view import View
from archgraph.paths.walk import Walk, walk
from archgraph.paths.weight import EdgeWeight, exact_weights, scale_size

__all__ = ["MAX_CLASSES", "Route", "RouteOrder", "iter_routes", "rank_routes"]

MAX_CLASSES: Final = 4096
"""Stages that no node separates are told apart only if they make at most so many classes."""

RouteOrder: TypeAlias = Literal["count", "lambda"] | EdgeWeight
"""What comes first: many paths, a large Σ|λ product| over them, or one of any other weights."""

_Pair: TypeAlias = tuple[int, int]

_COUNTS: Final[Semiring[int]] = Semiring(1, operator.add, operator.mul)
_SUMS: Final[Semiring[Fraction]] = Semiring(Fraction(1), operator.add, operator.mul)
_LENGTHS: Final[Semiring[_Pair]] = Semiring(
    (0, 0),
    lambda a, b: (min(a[0], b[0]), max(a[1], b[1])),
    lambda a, b: (a[0] + b[0], a[1] + b[1]),
)


@dataclass(frozen=True, slots=True)
class Route:
    """The paths that take the same number of branches of each stage."""

    grade: Grade
    """What is counted of each stage."""
    stages: tuple[str, ...]
    """The stages of which not every path takes the same."""
    taken: tuple[int, ...]
    """How many are taken of each stage."""
    most: tuple[int, ...]
    """How many a path can take of each stage."""
    count: int
    """The number of paths, exactly."""
    scale: tuple[Number, Number]
    """Least and greatest product of λ over its paths, exact where they are."""
    weights: tuple[int, int]
    """Fewest and most weight layers on its paths."""
    total: Number
    """What routes are ranked by: the sum over its paths of the product of their edges' weights."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "route": str(self),
            "grade": self.grade,
            "taken": dict(zip(self.stages, self.taken, strict=True)),
            "most": dict(zip(self.stages, self.most, strict=True)),
            "count": self.count,
            "lambda": [json_number(value) for value in self.scale],
            "weights": list(self.weights),
            "total": json_number(self.total),
        }

    def __str__(self) -> str:
        if not self.stages:
            return "every path"
        steps = zip(self.stages, self.taken, self.most, strict=True)
        return " · ".join(f"{stage} {taken}/{most}" for stage, taken, most in steps)


def rank_routes(
    graph: Graph | View,
    wrt: str | None = None,
    k: int = 10,
    by: RouteOrder = "count",
    *,
    grade: Grade | None = None,
    of: str = LOSS,
) -> list[Route]:
    """Return the k routes of most paths, or of the largest sum of products; see `iter_routes`.

    Raises:
        UsageError: k is negative, or for the reasons of `iter_routes`.

    Example:
        >>> from archgraph.spec import load
        >>> for route in rank_routes(load("preact_resnet", depth=1001), "image", 2):
        ...     print(route, f"{route.count:.3g}", *route.weights)
        stage1 55/111 · stage2 55/111 · stage3 55/111 7.52e+96 500 500
        stage1 55/111 · stage2 55/111 · stage3 56/111 7.52e+96 503 503
    """
    if k < 0:
        raise UsageError(f"asked for the {k} first routes; give 0 or more")
    return list(islice(iter_routes(graph, wrt, by, grade=grade, of=of), k))


def iter_routes(
    graph: Graph | View,
    wrt: str | None = None,
    by: RouteOrder = "count",
    *,
    grade: Grade | None = None,
    of: str = LOSS,
) -> Iterator[Route]:
    """Iterate over the classes of paths by what they take of each stage, the largest first.

    A stage is a repeat, the instances of one block, or layers that are named and numbered alike; of
    a transformer's blocks attention and MLP are two. Together the routes are all the paths: counts
    add up to `count_paths`. Stages are taken together where there would be too many.

    Args:
        graph: A graph or a view of one.
        wrt: A node, an input or a parameter; a view knows it.
        by: `count` for the routes of most paths, `lambda` for those whose |λ products| add up to
            most, or a weight for each edge. Ties come in a fixed order.
        grade: What is counted of each stage: `branches`, `skips` or `weights`; by default branches,
            or weight layers where there are none, or where the outputs of branches are read again
            and again, as in a DenseNet, so that branches do not say what was passed through.
        of: The node where the paths end, the loss by default.

    Raises:
        TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.
        UsageError: there is no such order or grade, or a weight is negative or no finite number.

    Cost: O(hops · classes between two nodes that every path visits), and O(classes²) for stages
    that follow one another; each route then O(stages · log routes).
    """
    if isinstance(graph, View):
        seen = graph if wrt is None else view(graph.graph, graph.kind, wrt, of)
        paths, base = seen.arrays, seen.base.hops
        graph, edge = seen.graph, lambda hop: base[seen.hops[hop].last]
    else:
        paths = walk(graph, wrt, of)
        edge = paths.hops.__getitem__
    weights = _weights(paths, by)
    stages = find_stages(graph, paths, _grade(paths, grade), partial(_fits, paths), edge)
    return _iter_routes(paths, stages, weights)


def _weights(paths: Walk, by: RouteOrder) -> dict[int, int | Fraction]:
    """Return the weight of each hop by which routes are ranked, without the ones."""
    if isinstance(by, str):
        if by not in ("count", "lambda"):
            close = suggest(by, ("count", "lambda"))
            hint = f"; did you mean {close!r}?" if close else ""
            raise UsageError(f"routes are ranked by count, lambda or weights, not by {by!r}{hint}")
        weights = exact_weights(paths, scale_size) if by == "lambda" else {}
    else:
        weights = exact_weights(paths, by)
    return {hop: weight for hop, weight in weights.items() if weight != 1}


def _grade(paths: Walk, grade: Grade | None) -> Grade:
    if grade is None:
        live = [paths.steps[node] for node in paths.order]
        roles = [{paths.hops[hop].role for hop in hops} for hops in live]
        branches = any("branch" in found for found in roles)
        reread = any({"branch", "skip"} <= found for found in roles)
        return "branches" if branches and not reread else "weights"
    if grade not in get_args(Grade):
        close = suggest(grade, get_args(Grade))
        hint = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"routes count branches, weights or skips, not {grade!r}{hint}")
    return grade


# --- groups of stages ---------------------------------------------------------------------------


def _groups(paths: Walk, stages: Stages) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """Return the parts of the walk by the stages that they are about.

    Stages that meet in one part belong together, and so do those that meet them elsewhere.
    """
    group: dict[int, frozenset[int]] = {}
    found: list[tuple[frozenset[int], tuple[int, ...]]] = []
    for part in paths.parts:
        hops = (hop for node in part[1:] for hop in paths.steps[node])
        met = frozenset(stage for hop in hops if (stage := stages.of_hop[hop]) is not None)
        found.append((met, part))
        joined = met.union(*(group.get(stage, ()) for stage in met))
        group.update(dict.fromkeys(joined, joined))
    groups: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for met, part in found:
        key = tuple(sorted(group[min(met)])) if met else ()
        groups.setdefault(key, []).append(part)
    return groups


def _fits(paths: Walk, stages: Stages) -> bool:
    sizes = (math.prod(stages.most[stage] + 1 for stage in key) for key in _groups(paths, stages))
    return max(sizes, default=1) <= MAX_CLASSES


@dataclass(frozen=True, slots=True)
class _Class:
    """What is known of all ways through some parts of a walk that take the same of their stages."""

    taken: tuple[int, ...]
    total: int
    count: int
    weights: _Pair
    scale: _Pair


@dataclass(frozen=True, slots=True)
class _Group:
    """The classes of some stages, the largest total first."""

    stages: tuple[int, ...]
    classes: list[_Class]
    total_unit: int
    """What totals are to be divided by: the common denominator."""
    scale_unit: int


class _Grouping:
    """Adds up over the parts of one walk."""

    def __init__(self, paths: Walk, stages: Stages, weights: Mapping[int, Exact]) -> None:
        self.paths = paths
        hops = range(len(paths.hops))
        self.monomials = [monomial(stages.of_hop[hop], stages.degrees[hop]) for hop in hops]
        self.weights: list[Exact] = [weights.get(hop, 1) for hop in hops]
        self.weighted = bool(weights)
        scales = [_exact(hop.scale.value) for hop in paths.hops]
        self.scales = [(scale, scale) for scale in scales]
        live = [hop for node in paths.order for hop in paths.steps[node]]
        self.scaled = any(scales[hop] != 1 for hop in live)
        self.exact = all(paths.hops[hop].scale.exact for hop in live)
        self.lengths = [(weight, weight) for weight in paths.weights]

    def group(self, stages: tuple[int, ...], parts: Sequence[tuple[int, ...]]) -> _Group:
        counts = self._product(parts, _COUNTS, [1] * len(self.monomials))
        lengths = self._product(parts, _LENGTHS, self.lengths)
        totals, total_unit = counts, 1
        if self.weighted:
            totals, total_unit = self._scaled(parts, _SUMS, self.weights, _whole)
        scales, scale_unit = dict.fromkeys(counts, (1, 1)), 1
        if self.scaled:
            scales, scale_unit = self._scaled(parts, _RANGES, self.scales, _whole_pair)
        classes = [
            _Class(exponents(key, stages), totals[key], count, lengths[key], scales[key])
            for key, count in counts.items()
        ]
        classes.sort(key=lambda found: (-found.total, found.taken))
        return _Group(stages, classes, total_unit, scale_unit)

    def _product(
        self, parts: Sequence[tuple[int, ...]], ring: Semiring[T], coefficients: Sequence[T]
    ) -> Polynomial[T]:
        product: Polynomial[T] = {0: ring.one}
        for part in parts:
            factor = of_part(self.paths, part, ring, self.monomials, coefficients)
            product = multiply(product, factor, ring)
        return product
