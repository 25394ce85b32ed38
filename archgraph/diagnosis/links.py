"""Edges that carry no gradient or hardly any: λ, zeros, and values that are detached."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from archgraph.diagnosis.examination import Examination
from archgraph.diagnosis.finding import Finding, outliers
from archgraph.graph import Edge, Node
from archgraph.numbers import format_number

__all__ = ["find_detached", "find_odd_scales"]

FACTOR: Final = 5.0
"""How much larger or smaller than most λ of its kind one is when it is reported."""
SMALL: Final = 0.1
"""A λ of a skip below which it is reported, whatever the others are."""


def find_odd_scales(seen: Examination) -> Iterator[Finding]:
    """Yield the edges whose λ is not like that of the other edges of the same role."""
    edges = [edge for edge in seen.graph.edges if edge.gradient and edge.scale.value]
    edges = [edge for edge in edges if edge.kind != "loss"]
    odd = {
        edge.index: f"{format_number(edge.scale.value)}, where most have {math.exp(middle):.3g}"
        for edge, middle in outliers(edges, lambda e: (e.role, e.kind), _level, math.log(FACTOR))
    }
    small = [e for e in edges if e.role == "skip" and abs(float(e.scale.value)) <= SMALL]
    for edge in small:
        odd.setdefault(edge.index, f"only {format_number(edge.scale.value)}")
    for index in sorted(odd):
        edge = seen.graph.edges[index]
        role = "the edge" if edge.role == "none" else f"the {edge.role}"
        cost = 20 * math.log10(abs(float(edge.scale.value)))
        why = f"λ of {role} is {odd[index]}"
        yield Finding("lambda", edge.id, why, (edge.source, edge.target), cost)


def _level(edge: Edge) -> float:
    return math.log(abs(float(edge.scale.value)))


def find_detached(seen: Examination) -> Iterator[Finding]:
    """Yield the places where a gradient arrives and none goes on."""
    graph = seen.graph
    for edge in graph.edges:
        op = graph.node(edge.source).op
        stops = op is not None and not op.op.gradient and _reads_gradient(seen, edge.source)
        if stops and not edge.gradient and seen.node_norm(edge.target):
            cut = sum(_learns(n) and not graph.reaches_loss(n.name) for n in graph.nodes)
            lost = f"; {cut} layers with weights learn nothing" if cut else ""
            why = f"it is detached: {op.name if op else ''} lets no gradient back{lost}"
            yield Finding("detached", edge.source, why, (edge.source, edge.target), -math.inf)
    yield from _zeros(seen)


def _learns(node: Node) -> bool:
    return node.op is not None and bool(node.op.parameter_paths(node.module or node.name))


def _reads_gradient(seen: Examination, name: str) -> bool:
    return any(
        not seen.graph.node(edge.source).is_integer and edge.gradient
        for edge in seen.graph.edges_into(name)
    )


def _zeros(seen: Examination) -> Iterator[Finding]:
    for edge in seen.graph.edges:
        if not edge.gradient or not seen.node_norm(edge.target) or seen.delivered(edge):
            continue
        reason = _reason(seen, edge)
        if reason:
            branch = "this way" if edge.role == "none" else f"this {edge.role}"
            why = f"{reason}, so nothing goes back along {branch} before the first step"
            yield Finding("detached", edge.id, why, (edge.source, edge.target), -math.inf)


def _reason(seen: Examination, edge: Edge) -> str | None:
    """Return why an edge delivers exactly nothing; None for units that are off, see `units`."""
    if not edge.scale.value:
        return "λ starts at 0" if edge.scale.learn else "λ is 0"
    node = seen.graph.node(edge.target)
    weight = seen.weight(node)
    if weight is not None and not weight.any():
        return "the weights are all 0"
    if edge.kind == "multiply":
        return "the other factor of the product is 0"
    if node.op is not None and node.op.op.family == "normalization":
        return "the norm's weights are all 0"
    return None
