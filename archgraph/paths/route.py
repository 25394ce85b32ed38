"""Routes: classes of paths, by how many branches they take of each stage.

Of 2^333 paths a list of ten says nothing, least of all where every λ is 1 and all are ties. Routes
are few enough to be counted and ranked exactly, and none of their paths is ever enumerated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeAlias, get_args

from archgraph.errors import UsageError, suggest
from archgraph.graph import LOSS, Graph
from archgraph.numbers import Number
from archgraph.paths.classes import PathClass, fits, iter_classes
from archgraph.paths.enumerate import json_number
from archgraph.paths.stage import Grade, Stages, find_stages
from archgraph.paths.view import View, view
from archgraph.paths.walk import Walk, walk
from archgraph.paths.weight import EdgeWeight, exact_weights, scale_size

__all__ = ["Grade", "Route", "RouteOrder", "iter_routes", "rank_routes"]

RouteOrder: TypeAlias = Literal["count", "lambda"] | EdgeWeight
"""What comes first: many paths, a large Σ|λ product| over them, or one of any other weights."""


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
        stage1 55/111 · stage2 55/111 · stage3 55/111 7.45e+96 497 500
        stage1 55/111 · stage2 55/111 · stage3 56/111 7.45e+96 500 503
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
    stages = find_stages(graph, paths, _grade(paths, grade), partial(fits, paths), edge)
    live = [paths.hops[hop] for node in paths.order for hop in paths.steps[node]]
    exact = all(hop.scale.exact for hop in live)
    return (_route(stages, found, exact=exact) for found in iter_classes(paths, stages, weights))


def _weights(paths: Walk, by: RouteOrder) -> dict[int, int | Fraction] | None:
    """Return the weights of the hops by which routes are ranked; None if all are 1."""
    if isinstance(by, str) and by not in ("count", "lambda"):
        close = suggest(by, ("count", "lambda"))
        hint = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"routes are ranked by count, lambda or weights, not by {by!r}{hint}")
    if by == "count":
        return None
    weights = exact_weights(paths, scale_size if isinstance(by, str) else by)
    return None if all(weight == 1 for weight in weights.values()) else weights


def _grade(paths: Walk, grade: Grade | None) -> Grade:
    if grade is None:
        leaving = [{paths.hops[hop].role for hop in paths.steps[node]} for node in paths.order]
        branches = any("branch" in roles for roles in leaving)
        read_again = any({"branch", "skip"} <= roles for roles in leaving)
        return "branches" if branches and not read_again else "weights"
    if grade not in get_args(Grade):
        close = suggest(grade, get_args(Grade))
        hint = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"routes count branches, weights or skips, not {grade!r}{hint}")
    return grade


def _route(stages: Stages, found: PathClass, *, exact: bool) -> Route:
    least, greatest = found.scale
    return Route(
        grade=stages.grade,
        stages=stages.names,
        taken=found.taken,
        most=stages.most,
        count=found.count,
        scale=(_number(least, exact=exact), _number(greatest, exact=exact)),
        weights=found.weights,
        total=_number(found.total, exact=True),
    )


def _number(value: int | Fraction, *, exact: bool) -> Number:
    """Return a number as everywhere else: a float if a λ in it is one and a float can hold it."""
    if exact:
        return value.numerator if value.denominator == 1 else value
    try:
        rounded = float(value)
    except OverflowError:
        return value
    return rounded if rounded or not value else value
