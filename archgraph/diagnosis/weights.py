"""Weight layers whose initial weights are not like those of the others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from archgraph.diagnosis.examination import Examination
from archgraph.diagnosis.finding import Finding, outliers
from archgraph.graph import Edge, Node

__all__ = ["WeightLevel", "find_odd_weights", "weight_levels"]

FACTOR: Final = 3.0
"""How much larger or smaller than most a layer's weights are when it is reported."""
SMALL: Final = 0.1
"""σ_w below which a layer on a skip is reported, whatever the others are."""


@dataclass(frozen=True, slots=True)
class WeightLevel:
    """How large the weights of a layer are."""

    node: Node
    std: float
    gain: float
    """σ_w = √(fan_in · Var W): the gain of the layer's output where its inputs are independent."""


def weight_levels(seen: Examination) -> Iterator[WeightLevel]:
    """Yield the level of every weight layer with one matrix or kernel, zero weights left out."""
    done = set()
    for node in seen.graph.nodes:
        if node.op is None or not node.op.op.weight_layer or node.module in done:
            continue
        done.add(node.module)
        weight = seen.weight(node)
        if weight is None:
            continue
        mean_square = float(weight.double().square().mean())
        # What torch stores has the outputs first; transposed convolutions have the inputs first.
        transposed = "Transpose" in node.op.name
        fan_in = weight.numel() / weight.shape[1 if transposed else 0]
        if mean_square > 0:
            yield WeightLevel(node, math.sqrt(mean_square), math.sqrt(fan_in * mean_square))


def find_odd_weights(seen: Examination) -> Iterator[Finding]:
    """Yield the layers with weights much larger or smaller than those of their kind.

    On a skip hardly any weights are reported even if all skips are alike. Layers that a norm
    follows are left out, since the norm takes their size away.
    """
    levels = [level for level in weight_levels(seen) if not _is_normed(seen, level.node)]
    found = list(outliers(levels, _kind, lambda level: math.log(level.gain), math.log(FACTOR)))
    for level, middle in found:
        factor = level.gain / math.exp(middle)
        size = f"{factor:.2g} times" if factor > 1 else f"1/{1 / factor:.2g} of"
        beside = f", {size} what most layers of its kind have"
        edge = _entry(seen, level.node)
        yield _finding(level, factor, beside, f" into {edge.target!r}", edge)
    named = {level.node.name for level, _ in found}
    closed = [level for level in levels if level.gain <= SMALL and level.node.name not in named]
    edges = [(level, _entry(seen, level.node)) for level in closed]
    for level, edge in edges:
        if edge.role == "skip":
            yield _finding(level, level.gain, "", "", edge)


def _finding(level: WeightLevel, factor: float, beside: str, into: str, edge: Edge) -> Finding:
    place = f"; it is on the {edge.role}{into}" if edge.role != "none" else ""
    why = (
        f"its weights have σ_w = {level.gain:.2g} (a standard deviation of {level.std:.2g})"
        f"{beside}{place}"
    )
    name = level.node.name
    return Finding("weights", name, why, (name,), 20 * math.log10(factor))


def _kind(level: WeightLevel) -> object:
    assert level.node.op is not None
    return level.node.op.op.family


def _is_normed(seen: Examination, node: Node) -> bool:
    readers = [edge.target for edge in seen.graph.edges_out_of(node.name)]
    ops = [seen.graph.node(name).op for name in readers]
    return bool(ops) and all(op is not None and op.op.family == "normalization" for op in ops)


def _entry(seen: Examination, node: Node) -> Edge:
    """Return the edge by which a layer's value enters a merge, or the last before other weights."""
    name = node.name
    while True:
        (edge, *more) = seen.graph.edges_out_of(name)
        if more or edge.role != "none" or edge.kind == "loss":
            return edge
        after = seen.graph.node(edge.target)
        if after.op is not None and after.op.op.weight_layer:
            return edge
        name = edge.target
