"""Weights of edges, by which paths are ranked and sampled: non-negative and exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import TypeAlias

from archgraph.errors import UsageError, suggest
from archgraph.graph import Edge
from archgraph.numbers import Number
from archgraph.paths.walk import Walk

__all__ = [
    "EdgeWeight",
    "exact_scale",
    "exact_weight",
    "exact_weights",
    "flow_weights",
    "scale_size",
]

EdgeWeight: TypeAlias = Callable[[Edge], Number] | Mapping[str, Number]
"""A non-negative number for each edge, by a function or by its id; an edge that a mapping leaves
out counts 1. A path's weight is the product over its edges."""


def scale_size(edge: Edge) -> Number:
    """Return |λ| of an edge, of a learnable one at its start value."""
    value = edge.scale.value
    return -value if value < 0 else value


def exact_scale(edge: Edge) -> int | Fraction:
    """Return λ of an edge as a rational number; a float is one, exactly."""
    value = edge.scale.value
    return Fraction(value) if isinstance(value, float) else value


def exact_weights(paths: Walk, weight: EdgeWeight) -> dict[int, int | Fraction]:
    """Return the weight of every hop that lies on a path, as a rational number.

    Raises:
        UsageError: a weight is negative, not finite, or not a number, or is given for an edge that
            is not there.
    """
    chosen = _by_id(paths, weight) if isinstance(weight, Mapping) else weight
    return {
        hop: exact_weight(chosen, paths.hops[hop])
        for node in paths.order
        for hop in paths.steps[node]
    }


def _by_id(paths: Walk, weights: Mapping[str, Number]) -> Callable[[Edge], Number]:
    _check_ids(paths, weights)
    return lambda edge: weights.get(edge.id, 1)


def _check_ids(paths: Walk, ids: Iterable[str]) -> None:
    known = {hop.id for hop in paths.hops}
    unknown = next((edge_id for edge_id in ids if edge_id not in known), None)
    if unknown is not None:
        close = suggest(unknown, known)
        hint = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"a weight is given for {unknown!r}, which is no edge here{hint}")


def flow_weights(paths: Walk, shares: Mapping[str, Number]) -> dict[str, Number]:
    """Return weights by which a path's product is what it would carry of a flow.

    At every node the flow goes on in proportion to the shares of the edges out of it. If no share
    is negative, and what enters a node leaves it, the paths through an edge carry together what
    its share says.

    Args:
        paths: The paths.
        shares: By edge id, as `decompose` gives them by edge. Their sizes count.

    Raises:
        UsageError: there is a share of an edge that is not there.
    """
    _check_ids(paths, shares)
    weights: dict[str, Number] = {}
    for node in paths.order:
        sizes = {hop: abs(Fraction(shares.get(paths.hops[hop].id, 0))) for hop in paths.steps[node]}
        total = sum(sizes.values())
        if total:
            weights |= {paths.hops[hop].id: size / total for hop, size in sizes.items()}
    return weights


def exact_weight(weight: Callable[[Edge], Number], edge: Edge) -> int | Fraction:
    """Return the weight of an edge as a rational number; a float is one, exactly.

    With rational weights the order of a product's factors cannot change it, so that equal products
    are equal and ties are ties.

    Raises:
        UsageError: the weight is negative, not finite, or not a number.
    """
    value = weight(edge)
    if isinstance(value, float) and math.isfinite(value):
        value = Fraction(value)
    if isinstance(value, bool) or not isinstance(value, int | Fraction):
        raise UsageError(f"the weight of edge {edge.id!r} is {value!r}, which is no finite number")
    if value < 0:
        raise UsageError(
            f"the weight of edge {edge.id!r} is {value}; ranking and sampling need at least 0, "
            "so give its size"
        )
    return value.numerator if value.denominator == 1 else value
