"""What a graph holds, as plain data: the rows of `archgraph show`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archgraph.graph.core import Graph
from archgraph.graph.records import Edge, Node

__all__ = ["Summary", "summarize"]


@dataclass(frozen=True, slots=True)
class Summary:
    """A network at a glance."""

    graph: Graph
    shapes: Mapping[str, tuple[int, ...]] | None = None
    """Shape of every node's value, batch axis excluded; None if they were not worked out."""
    parameters: Mapping[str, int] | None = None
    """Number of weights of every layer."""
    total: int | None = None
    """Number of weights of the network, shared ones counted once."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; `shape` and `parameters` are null where they are not known."""
        return {
            "name": self.graph.name,
            "parameters": self.total,
            "nodes": len(self.graph.nodes),
            "edges": len(self.graph.edges),
            "inputs": [node.name for node in self.graph.inputs],
            "outputs": [name for name, _ in self.graph.outputs],
            "layers": [self._row(node) for node in self.graph.nodes if node.kind == "layer"],
        }

    def _row(self, node: Node) -> dict[str, Any]:
        shape = None if self.shapes is None else self.shapes.get(node.name)
        return {
            "name": node.name,
            "op": operation(self.graph, node),
            "from": [reading(edge) for edge in self.graph.edges_into(node.name)],
            "shape": None if shape is None else list(shape),
            "parameters": None if self.parameters is None else self.parameters.get(node.name, 0),
        }


def operation(graph: Graph, node: Node) -> str:
    """Return what a node does: its op's call, or the kind of merge it is."""
    if node.op is not None:
        return str(node.op)
    return graph.merge_kind(node.name) or node.kind


def reading(edge: Edge) -> str:
    """Return what an edge reads, its λ and element shown where there is something to show."""
    source = f"{edge.source}[{edge.element}]" if edge.element else edge.source
    if edge.scale.is_one:
        return source
    return f"{edge.scale.text or edge.scale}·{source}"


def summarize(
    graph: Graph,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    parameters: Mapping[str, int] | None = None,
    total: int | None = None,
) -> Summary:
    """Return a network at a glance.

    Args:
        graph: The network.
        shapes: Shape of every node's value, batch axis excluded, if known.
        parameters: Number of weights of every layer, if known.
        total: Number of weights of the network, if known.
    """
    return Summary(graph, shapes, parameters, total)
