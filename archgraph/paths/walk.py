"""What a graph must offer to have its paths counted, enumerated, ranked and sampled.

Everything in `paths` works on a `Walk`: integer arrays for one pair (target, end). A `Graph` is
turned into one by `walk`; a coarser view of a graph offers `Walkable` and makes its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias

from archgraph.errors import TargetError
from archgraph.graph import LOSS, Edge, Graph
from archgraph.paths.target import Target, resolve

__all__ = ["Walk", "Walkable", "Walkers", "walk"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Walk:
    """A directed acyclic graph of hops, seen from one node (`start`) towards another (`end`).

    Nodes and hops are integers. Positions of nodes are a topological order, except that `start`
    may stand anywhere (a parameter is put behind the others).
    """

    names: Sequence[str]
    """Name of each node."""
    hops: Sequence[Edge]
    """The record of each hop: its `id`, `role` and `scale` are the hop's."""
    targets: Sequence[int]
    """Node that each hop enters."""
    out_of: Sequence[Sequence[int]]
    """Hops that leave each node and carry a gradient, ascending: the order of enumeration."""
    weights: Sequence[int]
    """How many weight layers' Jacobians each hop multiplies by."""
    start: int
    end: int

    @cached_property
    def entered(self) -> tuple[str, ...]:
        """Name of the node that each hop enters."""
        return tuple(self.names[target] for target in self.targets)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The nodes on some path from start to end, end first, start last.

        None if there is no path.
        """
        reaching = {self.end}
        last_first = [*(i for i in reversed(range(len(self.names))) if i != self.start), self.start]
        for node in last_first:
            if any(self.targets[hop] in reaching for hop in self.out_of[node]):
                reaching.add(node)
        if self.start not in reaching:
            return ()
        live = {self.start}
        for node in reversed(last_first):
            if node in live and node != self.end:
                live.update(t for hop in self.out_of[node] if (t := self.targets[hop]) in reaching)
        return tuple(node for node in last_first if node in live)

    @cached_property
    def steps(self) -> tuple[tuple[int, ...], ...]:
        """`out_of`, of the hops that lie on some path from start to end; none leave the end."""
        live = set(self.order)
        return tuple(
            tuple(hop for hop in hops if self.targets[hop] in live) if node in live else ()
            for node, hops in enumerate(self.out_of)
        )

    @cached_property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """`order`, cut at the nodes that every path visits: each part from one to the one before.

        What is multiplied along paths and added up over them is a product over the parts.
        """
        place = {node: i for i, node in enumerate(reversed(self.order))}
        reach, cuts = 0, set()
        for node, i in place.items():
            if reach <= i:
                cuts.add(node)
            reach = max(reach, *(place[self.targets[hop]] for hop in self.steps[node]), 0)
        parts: list[tuple[int, ...]] = []
        part: list[int] = []
        for node in self.order:
            part.append(node)
            if node in cuts and len(part) > 1:
                parts.append(tuple(part))
                part = [node]
        return tuple(parts)


class Walkable(Protocol):
    """Anything but a `Graph` whose paths can be walked: a view."""

    def walk(self, wrt: str, of: str = LOSS) -> Walk:
        """Return the arrays for the paths from `wrt` to `of`.

        Raises:
            TargetError: one of them is not there.
        """
        ...


Walkers: TypeAlias = Graph | Walkable | Walk
"""What the functions of `paths` accept in the place of a graph."""


def walk(graph: Walkers, wrt: str | None = None, of: str = LOSS) -> Walk:
    """Return the arrays for the paths from `wrt` to `of`; a `Walk` is returned as it is.

    Args:
        graph: A graph, a view, or a walk.
        wrt: A node, an input or a parameter; see `resolve`. Needed unless `graph` is a walk.
        of: The node where the paths end, the loss by default.

    Raises:
        TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.

    Cost: O(nodes + edges).
    """
    if isinstance(graph, Walk):
        return graph
    if wrt is None:
        raise TargetError("say from which node, input or parameter the paths start")
    if not isinstance(graph, Graph):
        return graph.walk(wrt, of)
    target = resolve(graph, wrt)
    weights = [_weight(graph, position) for position in graph.targets]
    end = graph.position(of)
    if target.position is not None:
        return Walk(
            names=[node.name for node in graph.nodes],
            hops=graph.edges,
            targets=graph.targets,
            out_of=graph.gradient_out_of,
            weights=weights,
            start=target.position,
            end=end,
        )
    return _from_parameter(graph, target, weights, end)


def _weight(graph: Graph, position: int) -> int:
    op = graph.nodes[position].op
    return int(op is not None and op.op.weight_layer)


def _from_parameter(graph: Graph, target: Target, weights: list[int], end: int) -> Walk:
    """Put a node for the parameter behind the others, with one hop into each of its users."""
    first = len(graph.edges)
    hops = [
        Edge(source=target.name, target=graph.nodes[user].name, id=edge_id, index=first + i)
        for i, (edge_id, user, _) in enumerate(target.entries)
    ]
    # ∂z/∂W is no factor of W, but a learnable λ is multiplied before the layer's own map.
    entered = [0 if edge is None else _weight(graph, user) for _, user, edge in target.entries]
    return Walk(
        names=[*(node.name for node in graph.nodes), target.name],
        hops=(*graph.edges, *hops),
        targets=(*graph.targets, *(user for _, user, _ in target.entries)),
        out_of=(*graph.gradient_out_of, tuple(range(first, first + len(hops)))),
        weights=[*weights, *entered],
        start=len(graph.nodes),
        end=end,
    )
