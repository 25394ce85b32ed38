"""The graph: a frozen MultiDiGraph with integer arrays beside it for the hot loops.

Knows nothing of YAML and nothing of torch: a spec is one way to make a graph, `GraphBuilder`
another, an existing module a third.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archgraph.errors import Problem, TargetError, suggest
from archgraph.graph.instances import Instance
from archgraph.graph.records import LOSS, Edge, EdgeKind, LossTerm, Node

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Graph"]


@dataclass(frozen=True)
class Graph:
    """A network as a directed acyclic graph, inputs first, the loss `L` last.

    `nodes` are in topological order; `edges` are grouped by target in that order, and within a
    target by port and slot. Both orders are part of the graph: enumeration and ties in rankings
    follow them.
    """

    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    outputs: tuple[tuple[str, str], ...]
    """Name of each output and the node it is; a single unnamed one is called by its node."""
    loss: tuple[LossTerm, ...]
    """The summands of L; term i belongs to the i-th edge into L."""
    states: tuple[str, ...] | None = None
    """The nodes between which derivations are written; None lets archgraph choose."""
    ties: tuple[tuple[str, str], ...] = ()
    """Parameters that are one: (name, the name it shares)."""
    init: tuple[tuple[str, Any], ...] = ()
    """Initialisers of all weight layers: parameter name → call text or number."""
    about: str | None = field(default=None, compare=False)
    params: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The spec's params and the values used."""
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
    instances: Mapping[str, Instance] = field(default_factory=dict, compare=False, repr=False)
    """Blocks, groups and repeats by path, the whole network under the empty path, each before what
    it holds; empty for a graph that was made flat."""

    # --- look-ups ---------------------------------------------------------------------------

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Index of each node by name."""
        return {node.name: i for i, node in enumerate(self.nodes)}

    @cached_property
    def sources(self) -> tuple[int, ...]:
        """Index of the source node of each edge."""
        return tuple(self.positions[edge.source] for edge in self.edges)

    @cached_property
    def targets(self) -> tuple[int, ...]:
        """Index of the target node of each edge."""
        return tuple(self.positions[edge.target] for edge in self.edges)

    @cached_property
    def into(self) -> tuple[tuple[int, ...], ...]:
        """For each node the indices of its in-edges, in merge order."""
        return self._grouped(self.targets, gradient_only=False)

    @cached_property
    def out_of(self) -> tuple[tuple[int, ...], ...]:
        """For each node the indices of its out-edges, in edge order."""
        return self._grouped(self.sources, gradient_only=False)

    @cached_property
    def gradient_into(self) -> tuple[tuple[int, ...], ...]:
        """`into`, of the edges that carry a gradient."""
        return self._grouped(self.targets, gradient_only=True)

    @cached_property
    def gradient_out_of(self) -> tuple[tuple[int, ...], ...]:
        """`out_of`, of the edges that carry a gradient."""
        return self._grouped(self.sources, gradient_only=True)

    def _grouped(
        self, ends: tuple[int, ...], *, gradient_only: bool
    ) -> tuple[tuple[int, ...], ...]:
        groups: list[list[int]] = [[] for _ in self.nodes]
        for index, end in enumerate(ends):
            if self.edges[index].gradient or not gradient_only:
                groups[end].append(index)
        return tuple(map(tuple, groups))

    def node(self, name: str) -> Node:
        """Return the node called `name`.

        Raises:
            TargetError: there is none; the message suggests the closest name.
        """
        return self.nodes[self.position(name)]

    def position(self, name: str) -> int:
        """Return the index of the node called `name`, or raise `TargetError`."""
        index = self.positions.get(self.value_name(name))
        if index is None:
            raise TargetError(self._unknown(name, self.positions))
        return index

    def value_name(self, name: str) -> str:
        """Return the node that a name stands for: that of a block instance is its first output."""
        instance = self.instances.get(name) if name not in self.positions else None
        return instance.outputs[0][1] if instance is not None and instance.outputs else name

    def _unknown(self, name: str, choices: Mapping[str, Any]) -> str:
        close = suggest(name, choices)
        hint = f"; did you mean {close!r}?" if close else ""
        return f"{self.name!r} has no node or parameter {name!r}{hint}"

    def edges_into(self, name: str) -> tuple[Edge, ...]:
        """Return the in-edges of a node, in merge order."""
        return tuple(self.edges[i] for i in self.into[self.position(name)])

    def edges_out_of(self, name: str) -> tuple[Edge, ...]:
        """Return the out-edges of a node, in edge order."""
        return tuple(self.edges[i] for i in self.out_of[self.position(name)])

    def edge(self, edge_id: str) -> Edge:
        """Return the edge with this id, or raise `TargetError`."""
        index = self.edge_positions.get(edge_id)
        if index is None:
            close = suggest(edge_id, self.edge_positions)
            hint = f"; did you mean {close!r}?" if close else ""
            raise TargetError(f"{self.name!r} has no edge {edge_id!r}{hint}")
        return self.edges[index]

    @cached_property
    def edge_positions(self) -> Mapping[str, int]:
        """Index of each edge by id."""
        return {edge.id: edge.index for edge in self.edges}

    def ports(self, name: str) -> Mapping[str, tuple[Edge, ...]]:
        """Return a node's in-edges by port, in order."""
        groups: dict[str, list[Edge]] = {}
        for edge in self.edges_into(name):
            groups.setdefault(edge.port, []).append(edge)
        return {port: tuple(edges) for port, edges in groups.items()}

    def merge_kind(self, name: str, port: str | None = None) -> EdgeKind | None:
        """Return how a port merges its terms: `add`, `concat`, `multiply`, `sequential`, `loss`.

        A lone term is `sequential`; an input has None. Without a port, the first one's.
        """
        ports = self.ports(name)
        edges = ports[port] if port is not None else next(iter(ports.values()), ())
        return edges[0].kind if edges else None

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The input nodes, in order."""
        return tuple(node for node in self.nodes if node.kind == "input")

    @property
    def loss_position(self) -> int:
        """Index of the loss node."""
        return self.positions[LOSS]

    @cached_property
    def nx(self) -> nx.MultiDiGraph[str]:
        """The same graph as a frozen `networkx.MultiDiGraph`.

        Nodes by name, with the attribute `node=Node`; edges keyed by id, with `edge=Edge`.
        """
        import networkx as nx  # takes longer to import than most specs take to load

        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(name=self.name)
        graph.add_nodes_from((node.name, {"node": node}) for node in self.nodes)
        for edge in self.edges:
            graph.add_edge(edge.source, edge.target, edge.id, edge=edge)
        nx.freeze(graph)  # in place
        return graph

    # --- parameters -------------------------------------------------------------------------

    @cached_property
    def parameter_users(self) -> Mapping[str, tuple[tuple[int, int | None], ...]]:
        """For each parameter the (node index, edge index) pairs that use it.

        A layer's own weight has edge index None; a learnable λ names the edge that it scales, a
        vector of them each of its edges.
        Tied parameters appear under each of their names with all the users.
        """
        users: dict[str, list[tuple[int, int | None]]] = {}
        for i, node in enumerate(self.nodes):
            for parameter in _parameters_of(node):
                users.setdefault(parameter, []).append((i, None))
        for edge in self.edges:
            if edge.scale.learn is not None:
                pair = (self.targets[edge.index], edge.index)
                users.setdefault(edge.scale.learn.name, []).append(pair)
        for name, shared in self.ties:
            # A layer may tie two of its own.
            both = list(dict.fromkeys(users.get(shared, []) + users.get(name, [])))
            users[name] = users[shared] = both
        return {name: tuple(pairs) for name, pairs in users.items()}

    def reaches_loss(self, name: str) -> bool:
        """Whether any gradient path leads from the node to L."""
        return self._reaching[self.position(name)]

    @cached_property
    def _reaching(self) -> tuple[bool, ...]:
        reaching = [False] * len(self.nodes)
        reaching[self.loss_position] = True
        for edge in reversed(self.edges):
            if edge.gradient and reaching[self.targets[edge.index]]:
                reaching[self.sources[edge.index]] = True
        return tuple(reaching)

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __repr__(self) -> str:
        return f"Graph({self.name!r}, {len(self.nodes)} nodes, {len(self.edges)} edges)"


def _parameters_of(node: Node) -> tuple[str, ...]:
    """Return the full names of a layer's parameters; a `Parameter` that is its node has none."""
    if node.op is None or node.module is None:
        return ()
    if node.op.op.is_parameter and node.module == node.name:
        return ()
    function = node.op.op.function
    if function is not None and node.op.op.origin == "opaque":
        found: Iterable[tuple[str, Any]] = getattr(function, "named_parameters", tuple)()
        return tuple(f"{node.module}.{name}" for name, _ in found)
    return node.op.parameter_paths(node.module)
