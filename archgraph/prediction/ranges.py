"""Between which numbers a value lies, where that is certain: the bound of a gate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Final, TypeAlias

from archgraph.graph import Edge, Node
from archgraph.prediction.plan import Plan

__all__ = ["Range", "value_ranges"]

Range: TypeAlias = tuple[float, float]

_BOUNDED: Final[Mapping[str, Range]] = {
    "Hardsigmoid": (0.0, 1.0),
    "ReLU6": (0.0, 6.0),
    "Sigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Softmax2d": (0.0, 1.0),
    "Softmin": (0.0, 1.0),
    "Softsign": (-1.0, 1.0),
    "Tanh": (-1.0, 1.0),
}
_KEEPING: Final = frozenset({"reshaping"})


def value_ranges(plan: Plan, *, train: bool) -> dict[str, Range]:
    """Return the smallest interval known to hold a node's elements, for the nodes that have one.

    Args:
        plan: The graph.
        train: Whether dropout is active.
    """
    found: dict[str, Range] = {}
    for node in plan.graph.nodes:
        reach = _range(plan, node, found, train=train) if node.kind == "layer" else None
        if reach is not None:
            found[node.name] = reach
    return found


def _range(plan: Plan, node: Node, known: Mapping[str, Range], *, train: bool) -> Range | None:
    if node.op is not None and node.op.name in _BOUNDED:
        return _BOUNDED[node.op.name]
    if node.op is not None and node.op.name == "Hardtanh":
        return float(node.op.get("min_val")), float(node.op.get("max_val"))
    ports = plan.graph.ports(node.name)
    if len(ports) != 1:
        return None
    merged = _merged(next(iter(ports.values())), known)
    if merged is None or node.op is None:
        return merged
    if node.op.op.family == "affine":
        scale, shift = float(node.op.get("scale", 1)), float(node.op.get("shift", 0))
        return _hull(scale * merged[0] + shift, scale * merged[1] + shift)
    if node.op.op.family in _KEEPING or (node.op.op.family == "dropout" and not train):
        return merged
    return None


def _merged(edges: tuple[Edge, ...], known: Mapping[str, Range]) -> Range | None:
    terms = []
    for edge in edges:
        reach = known.get(edge.source)
        if reach is None or edge.element:
            return None
        scale = float(edge.scale.value)
        terms.append(_hull(scale * reach[0], scale * reach[1]))
    if edges[0].kind == "multiply":
        return reduce(lambda a, b: _hull(*(x * y for x in a for y in b)), terms)
    if edges[0].kind == "concat":
        return min(low for low, _ in terms), max(high for _, high in terms)
    return sum(low for low, _ in terms), sum(high for _, high in terms)


def _hull(*numbers: float) -> Range:
    return min(numbers), max(numbers)
