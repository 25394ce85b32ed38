"""Coarser views of a graph: some nodes are shown, and what lies between two of them is one hop.

A view's hops are records of edges, so that everything in `paths` walks it like a graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias, get_args

from archgraph.errors import UsageError, suggest
from archgraph.graph import LOSS, ONE, Edge, Graph, Node, Scale
from archgraph.graph.records import Role, exact_product
from archgraph.numbers import Number
from archgraph.paths.walk import Walk, walk

__all__ = ["Hop", "View", "ViewKind", "view"]

ViewKind: TypeAlias = Literal["op", "state", "block"]

_IMPLIED: Final = re.compile(r"~\d+$")
"""Merges that no one named; only the view of every node shows them."""


@dataclass(frozen=True, slots=True)
class Hop:
    """All the ways from one visible node into an in-edge of the next visible node."""

    index: int
    """Position in `View.hops`."""
    source: str
    target: str
    last: int
    """The in-edge of `target`: its position in the hops of `View.base`."""
    routes: int
    """How many ways there are, counted and never listed."""


@dataclass(frozen=True, eq=False)
class View:
    """What is seen between `wrt` and `of`: visible nodes in topological order, and hops.

    Only what lies on a path from `wrt` to `of` is there. Hops are in the order of the nodes that
    they enter, then of the in-edges, then of the nodes that they leave.
    """

    graph: Graph
    kind: ViewKind
    wrt: str
    of: str
    base: Walk
    """Every node and edge of the graph, seen from `wrt` towards `of`. Its first hops are
    `Graph.edges`; those behind them are a parameter's own, in the order of `Target.entries`."""
    nodes: tuple[str, ...]
    """Names of the visible nodes, `wrt` first, `of` last."""
    hops: tuple[Hop, ...]

    def walk(self, wrt: str, of: str = LOSS) -> Walk:
        """Return the arrays that counting, enumeration and ranking work on.

        The λ of a hop is the product along its route if it has only one, else that of the edge
        that enters its target; its weight layers are those of the route with the most.

        Raises:
            TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.
        """
        names = self.graph.value_name
        if (names(wrt), names(of)) == (self.wrt, self.of):
            return self.arrays
        return view(self.graph, self.kind, wrt, of).arrays

    @cached_property
    def arrays(self) -> Walk:
        """The arrays between this view's own `wrt` and `of`; see `walk`."""
        position = {name: i for i, name in enumerate(self.nodes)}
        out_of: list[list[int]] = [[] for _ in self.nodes]
        for hop in self.hops:
            out_of[position[hop.source]].append(hop.index)
        return Walk(
            names=self.nodes,
            hops=[self._edge(hop) for hop in self.hops],
            targets=[position[hop.target] for hop in self.hops],
            out_of=out_of,
            weights=[self._weights(hop) for hop in self.hops],
            start=position[self.wrt],
            end=position[self.of],
        )

    def routes(self, hop: Hop) -> Iterator[tuple[int, ...]]:
        """Iterate over the ways that make up a hop, each as positions in the hops of `base`.

        Args:
            hop: One of `hops`.

        Returns:
            A lazy iterator of tuples that run from the hop's source to its target.
        """
        ways = self.between(hop)
        stack: list[tuple[int, ...]] = [(hop.last,)]
        while stack:
            tail = stack.pop()
            source = self.source(tail[0])
            if source == hop.source:
                yield tail
            else:
                stack += [(edge, *tail) for edge in reversed(ways[source])]

    def between(self, hop: Hop) -> dict[str, tuple[int, ...]]:
        """Return the hidden nodes on the routes of a hop, and the edges that enter them there.

        Nodes come in topological order, edges as positions in the hops of `base`.
        """
        found: set[str] = set()
        stack = [self.source(hop.last)]
        while stack:
            name = stack.pop()
            if name not in found and name not in self._visible:
                found.add(name)
                stack += map(self.source, self.entering(name))
        ways: dict[str, tuple[int, ...]] = {}
        for name in sorted(found, key=self._place.__getitem__):
            edges = self.entering(name)
            on_route = tuple(
                i for i in edges if self.source(i) == hop.source or self.source(i) in ways
            )
            if on_route:
                ways[name] = on_route
        return ways

    def source(self, edge: int) -> str:
        """Return the node that an edge of `base` leaves, or the parameter."""
        return self._sources[edge]

    def entering(self, name: str) -> tuple[int, ...]:
        """Return the positions in `base` of the live edges that enter a node, in order."""
        return self._entering.get(name, ())

    @cached_property
    def _visible(self) -> frozenset[str]:
        return frozenset(self.nodes)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {self.base.names[node]: -i for i, node in enumerate(self.base.order)}

    @cached_property
    def _sources(self) -> dict[int, str]:
        base = self.base
        return {hop: base.names[node] for node in base.order for hop in base.steps[node]}

    @cached_property
    def _entering(self) -> dict[str, tuple[int, ...]]:
        groups: dict[str, list[int]] = {}
        for hop in sorted(self._sources):
            groups.setdefault(self.base.names[self.base.targets[hop]], []).append(hop)
        return {name: tuple(hops) for name, hops in groups.items()}

    def _edge(self, hop: Hop) -> Edge:
        last = self.base.hops[hop.last]
        if last.source == hop.source:
            return last
        edges = [last]
        if hop.routes == 1:
            edges = [self.base.hops[i] for i in next(self.routes(hop))]
        roles = {edge.role for edge in edges}
        role: Role = "skip" if "skip" in roles else "branch" if "branch" in roles else "none"
        return Edge(
            source=hop.source,
            target=hop.target,
            kind=last.kind,
            role=role,
            scale=_scale_along(edges),
            port=last.port,
            slot=last.slot,
            id=f"{hop.source}..{last.id}",
            index=hop.index,
        )

    def _weights(self, hop: Hop) -> int:
        """Return the number of weight layers on the route with the most."""
        weights = self.base.weights
        if self.source(hop.last) == hop.source:
            return weights[hop.last]
        most = {hop.source: 0}
        for name, edges in self.between(hop).items():
            most[name] = max(most[self.source(i)] + weights[i] for i in edges)
        return most[self.source(hop.last)] + weights[hop.last]


def _scale_along(edges: list[Edge]) -> Scale:
    scaled = [edge.scale for edge in edges if not edge.scale.is_one or edge.scale.text]
    if len(scaled) == 1:
        return scaled[0]
    value: Number = exact_product(scaled)
    return Scale(value) if scaled else ONE


def view(graph: Graph, kind: ViewKind, wrt: str, of: str = LOSS) -> View:
    """Return the view of a graph from `wrt` towards `of`.

    Args:
        graph: The graph.
        kind: `op` shows every node; `state` the graph's own `states`, or else inputs, outputs,
            merges, and activations that follow a merge; `block` the nodes outside blocks and the
            outputs of the outermost blocks (groups and repeats hide nothing, each copy of a repeat
            is seen). `wrt` and `of` are visible in each, implied merges (`y~1`) only in `op`.
        wrt: A node, an input or a parameter.
        of: The node where the paths end, the loss by default.

    Raises:
        TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.
        UsageError: there is no such kind of view.

    Cost: O(edges · visible nodes met behind one another), usually O(edges).
    """
    if kind not in get_args(ViewKind):
        close = suggest(kind, get_args(ViewKind))
        hint = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"there is no view {kind!r}: choose op, state or block{hint}")
    base = walk(graph, wrt, of)
    wrt, of = base.names[base.start], base.names[base.end]
    shown = {"op": _every, "state": _states, "block": _blocks}[kind](graph) | {wrt, of}
    order = [base.names[node] for node in reversed(base.order)]
    nodes = tuple(name for name in order if name in shown) or tuple(dict.fromkeys((wrt, of)))
    return View(graph, kind, wrt, of, base, nodes, tuple(_hops(base, frozenset(nodes))))


def _hops(base: Walk, shown: frozenset[str]) -> Iterator[Hop]:
    """Yield the hops: R(v) = {v: 1} at a visible node, else the sum of R over the edges into v."""
    entering: dict[int, list[tuple[int, int]]] = {}
    for node in base.order:
        for hop in base.steps[node]:
            entering.setdefault(base.targets[hop], []).append((hop, node))
    place = {node: i for i, node in enumerate(reversed(base.order))}
    routes: dict[int, dict[int, int]] = {}
    index = 0
    for node in reversed(base.order):
        edges = sorted(entering.get(node, []))
        if base.names[node] not in shown:
            counts: dict[int, int] = {}
            for _, source in edges:
                for first, ways in routes[source].items():
                    counts[first] = counts.get(first, 0) + ways
            routes[node] = counts
            continue
        routes[node] = {node: 1}
        for last, source in edges:
            for first in sorted(routes[source], key=place.__getitem__):
                ways = routes[source][first]
                yield Hop(index, base.names[first], base.names[node], last, ways)
                index += 1


def _every(graph: Graph) -> set[str]:
    return {node.name for node in graph.nodes}


def _states(graph: Graph) -> set[str]:
    if graph.states is not None:
        return {LOSS, *graph.states}
    outputs = {node for _, node in graph.outputs}
    return {
        node.name
        for node in graph.nodes
        if node.name in outputs or node.kind != "layer" or _is_state(graph, node)
    }


def _is_state(graph: Graph, node: Node) -> bool:
    if _IMPLIED.search(node.name):
        return False
    if _merges(graph, node.name):
        readers = graph.edges_out_of(node.name)
        return not (
            node.is_merge and len(readers) == 1 and _activates(graph.node(readers[0].target))
        )
    return _activates(node) and any(
        graph.node(edge.source).is_merge and _merges(graph, edge.source)
        for edge in graph.edges_into(node.name)
    )


def _merges(graph: Graph, name: str) -> bool:
    return any(len(edges) > 1 for edges in graph.ports(name).values())


def _activates(node: Node) -> bool:
    return node.op is not None and node.op.op.activation


def _blocks(graph: Graph) -> set[str]:
    """Return what is outside of blocks, and of each outermost block what is read outside of it."""
    outer = {node.name: _outermost(graph, node) for node in graph.nodes}
    shown = {node for _, node in graph.outputs}
    for name, block in outer.items():
        readers = graph.edges_out_of(name)
        leaves = any(outer[edge.target] != block for edge in readers)
        if (block is None or leaves) and not _IMPLIED.search(name):
            shown.add(name)
    return shown


def _outermost(graph: Graph, node: Node) -> str | None:
    """Return the path of the outermost block around a node."""
    for path in node.block:
        instance = graph.instances.get(path)
        if instance is None or instance.kind == "block":
            return path
    return None
