"""Weights of edges, by which paths are ranked and sampled: non-negative and exact."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

from archgraph.errors import UsageError
from archgraph.expression import Number
from archgraph.graph import Edge

__all__ = ["EdgeWeight", "exact_weight", "scale_size"]

EdgeWeight: TypeAlias = Callable[[Edge], Number]
"""A non-negative number for each edge; a path's weight is the product over its edges."""


def scale_size(edge: Edge) -> Number:
    """Return |λ| of an edge, of a learnable one at its start value."""
    value = edge.scale.value
    return -value if value < 0 else value


def exact_weight(weight: EdgeWeight, edge: Edge) -> int | Fraction:
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
