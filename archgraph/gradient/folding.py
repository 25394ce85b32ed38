"""The shares of edges folded into what a person can read: one row for each merge with a skip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from archgraph.gradient.parts import Decomposition, Part
from archgraph.graph import Graph

__all__ = ["MergeRow", "fold_edges"]


@dataclass(frozen=True, slots=True)
class MergeRow:
    """How a gradient comes into a block: by its skips against its branches."""

    name: str
    """The block whose skip and branches meet here, or the merge itself."""
    skip: float
    """Share of the skips, and of the branches."""
    branch: float
    norm: float
    """Largest norm that one of them delivers to its source."""


def fold_edges(graph: Graph, found: Decomposition) -> list[MergeRow]:
    """Return a row for each merge that a skip enters, the largest share of branches first.

    Args:
        graph: The network.
        found: A gradient by edge, whose shares are defined.

    Returns:
        Nothing if there are no skips, or g is zero.
    """
    parts = {part.key: part for part in found.parts}
    rows = []
    for node in graph.nodes:
        edges = [edge for edge in graph.edges_into(node.name) if edge.id in parts]
        if any(edge.role == "skip" for edge in edges):
            skips = [parts[edge.id] for edge in edges if edge.role == "skip"]
            branches = [parts[edge.id] for edge in edges if edge.role == "branch"]
            if all(part.share is not None for part in (*skips, *branches)):
                rows.append(_row(node.name, skips, branches))
    names = dict(_names(graph, [row.name for row in rows]))
    rows.sort(key=lambda row: -abs(row.branch))
    return [replace(row, name=names[row.name]) for row in rows]


def _row(name: str, skips: list[Part], branches: list[Part]) -> MergeRow:
    return MergeRow(
        name,
        sum(part.share or 0.0 for part in skips),
        sum(part.share or 0.0 for part in branches),
        max(part.norm for part in (*skips, *branches)),
    )


def _names(graph: Graph, merges: list[str]) -> Iterator[tuple[str, str]]:
    """Yield for each merge the block that it alone is the merge of, else its own name."""
    homes = {name: (graph.node(name).block or (name,))[-1] for name in merges}
    alone = list(homes.values())
    for name, home in homes.items():
        yield name, home if alone.count(home) == 1 and graph.value_name(home) == name else name
