"""What a gradient is taken with respect to: a node, an input or a parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archgraph.errors import TargetError, suggest
from archgraph.graph import LOSS, Graph

__all__ = ["Target", "resolve"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where paths start."""

    name: str
    kind: Literal["node", "parameter"]
    position: int | None = None
    """Index of the node; None for a parameter."""
    entries: tuple[tuple[str, int, int | None], ...] = ()
    """For a parameter one (edge id, node index, edge index) for each layer that uses it: the edge
    index is that of the edge which a learnable λ scales, None for a layer's own parameter."""


def resolve(graph: Graph, name: str) -> Target:
    """Find the node, input or parameter called `name`.

    A parameter is a source of its own with one edge into each layer that uses it, called
    `fc.weight->fc`. A target from which no gradient path leads to the loss is legal: it has no
    paths.

    Args:
        graph: The graph.
        name: `x1`, `fc.weight`, the name of a learnable λ, or of a block instance, which stands for
            its first output.

    Raises:
        TargetError: there is no such thing, it is the loss itself, or an input of integers.
    """
    name = graph.value_name(name)
    position = graph.positions.get(name)
    if position is not None:
        node = graph.nodes[position]
        if name == LOSS:
            raise TargetError(
                "'L' is the loss itself; ask for a node, an input or a parameter before it"
            )
        if node.is_integer:
            raise TargetError(
                f"{name!r} is an input of integers ({node.dtype}), so it has no gradient; "
                "ask for a layer that reads it"
            )
        return Target(name, "node", position)
    users = graph.parameter_users.get(name)
    if users is None:
        raise TargetError(_unknown(graph, name))
    return Target(name, "parameter", entries=tuple(_entries(graph, name, users)))


def _entries(
    graph: Graph, name: str, users: tuple[tuple[int, int | None], ...]
) -> list[tuple[str, int, int | None]]:
    entries = []
    seen: dict[str, int] = {}
    for user, edge in users:
        edge_id = f"{name}->{graph.nodes[user].name}"
        repeats = seen.get(edge_id, 0)
        seen[edge_id] = repeats + 1
        entries.append((f"{edge_id}#{repeats}" if repeats else edge_id, user, edge))
    return entries


def _unknown(graph: Graph, name: str) -> str:
    close = suggest(name, [n for n in (*graph.positions, *graph.parameter_users) if n != LOSS])
    hint = f"; did you mean {close!r}?" if close else ""
    return f"{graph.name!r} has no node, input or parameter {name!r}{hint}"
