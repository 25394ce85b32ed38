"""What is drawn: a graph with its merges as vertices of their own, and what each line carries.

A layer that merges and then applies an op is two vertices here, `⊕` and the op's box; the edges of
the graph end at the first. Folding and breaking into rows rewrite scenes, never graphs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from archgraph.graph import LOSS, Edge, Graph, Node
from archgraph.picture.flow import Flow
from archgraph.picture.routes import Routes
from archgraph.picture.style import SYMBOLS, shorten_call

__all__ = ["Arc", "Scene", "Vertex", "build_scene"]

Kind = Literal[
    "input",
    "weights",
    "activation",
    "norm",
    "plain",
    "unknown",
    "merge",
    "named merge",
    "loss",
    "parameter",
    "fold",
    "ghost",
]
Alert = Literal["", "NaN", "dead", "vanishing", "exploding"]

VANISHING = 1e-3
EXPLODING = 1e3
"""Root mean square per element of a cotangent, and its norm, relative to those at the outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """Something drawn with an outline."""

    key: str
    """Unique in the scene."""
    kind: Kind
    lines: tuple[str, ...]
    node: str | None = None
    """The graph node it stands for; None for the merge before an op, and for what is made up."""
    what: str = ""
    """What it does, its name apart: equal for vertices that are alike."""
    tooltip: str = ""
    carries: bool = True
    """Whether it lies on a path from the target to L."""
    alert: Alert = ""
    alert_inside: bool = False
    """Of a box: whether the alert is of something inside, not of the value that it hands on."""
    rms: float | None = field(default=None, compare=False)
    target: bool = False
    """Whether it is the target whose gradient is drawn."""
    hides: tuple[str, ...] = ()
    """The graph nodes folded into it."""
    scope: tuple[str, ...] = field(default=(), compare=False)
    """Paths of the blocks, groups and repeats around it, outermost first."""
    value: str = field(default="", compare=False)
    """The name of the value that it hands on."""
    owner: str = field(default="", compare=False)
    """The graph node that it belongs to: its own, or the one whose inputs it merges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arc:
    """A line between two vertices, in the forward direction."""

    source: str
    target: str
    edge: Edge | None = None
    """The graph edge it is; None between a merge and its op, and for what is made up."""
    id: str = ""
    """The edge's id; empty where it is made up."""
    port: str = ""
    """Shown where the target has several."""
    carries: bool = True
    share: float | None = None
    norm: float | None = None
    paths: int | None = None
    """How many paths use it."""
    joins: tuple[Edge | None, ...] = ()
    """The edges that it stands for, where folding made one line of several."""

    @property
    def skip(self) -> bool:
        """Whether all that it stands for are skips."""
        return all(e is not None and e.role == "skip" for e in (self.joins or (self.edge,)))


@dataclass(frozen=True, slots=True)
class Scene:
    """Vertices in topological order, and the arcs between them."""

    vertices: tuple[Vertex, ...]
    arcs: tuple[Arc, ...]

    @property
    def hidden(self) -> int:
        """How many graph nodes folding hid."""
        return sum(len(vertex.hides) for vertex in self.vertices)

    def positions(self) -> Mapping[str, int]:
        """Return the index of each vertex by key."""
        return {vertex.key: i for i, vertex in enumerate(self.vertices)}


def build_scene(
    graph: Graph,
    *,
    wrt: str | None = None,
    flow: Flow | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    routes: Routes | None = None,
) -> Scene:
    """Return the scene of a graph.

    Args:
        graph: The network.
        wrt: Target of the gradient, a node or a parameter; None draws the network itself.
        flow: What the gradient carries over each edge.
        shapes: Shape of each node's value, without the batch axis; shown in the boxes.
        routes: The paths of `wrt`, if they are known already.

    Raises:
        TargetError: `wrt` is not in the graph, or no gradient is defined there.
    """
    return _Builder(graph, routes or Routes(graph, wrt), flow, shapes or {}).build()


class _Builder:
    """Walks a graph once, in order."""

    def __init__(
        self, graph: Graph, routes: Routes, flow: Flow | None, shapes: Mapping[str, object]
    ) -> None:
        self._graph, self._routes, self._flow, self._shapes = graph, routes, flow, shapes
        self._alerts = _alerts(graph, flow)
        self._vertices: list[Vertex] = []
        self._arcs: list[Arc] = []
        self._keys: set[str] = {node.name for node in graph.nodes}

    def build(self) -> Scene:
        for node in _inputs_late(self._graph):
            self._add(node)
        if self._routes.entries:
            self._add_parameter()
        return Scene(tuple(self._vertices), tuple(self._arcs))

    def _add(self, node: Node) -> None:
        ports = self._graph.ports(node.name)
        for port, edges in ports.items():
            shown = port if len(ports) > 1 else ""
            entry = node.name
            if len(edges) > 1 and node.op is not None:
                entry = self._add_merge(node, port, edges, shown)
                shown = ""
            names = self._term_names(node) or [shown] * len(edges)
            self._arcs += (
                self._arc(edge.id, edge.source, entry, edge, name)
                for edge, name in zip(edges, names, strict=True)
            )
        self._vertices.append(
            Vertex(
                key=node.name,
                kind=_kind(node, len(self._graph.edges_into(node.name))),
                lines=self._lines(node),
                node=node.name,
                what=_what(node, self._graph.merge_kind(node.name)),
                tooltip=_tooltip(node),
                carries=node.name in self._routes.nodes or node.name == self._routes.wrt,
                alert=self._alerts.get(node.name, ""),
                rms=self._flow.node_rms.get(node.name) if self._flow else None,
                target=node.name == self._routes.wrt,
                scope=node.block,
                value=node.name,
                owner=node.name,
            )
        )

    def _term_names(self, node: Node) -> list[str]:
        """Return the name of each term of the loss, where there are several."""
        terms = self._graph.loss
        return [term.name for term in terms] if node.kind == "loss" and len(terms) > 1 else []

    def _add_merge(self, node: Node, port: str, edges: tuple[Edge, ...], shown: str) -> str:
        symbol = SYMBOLS[edges[0].kind]
        key = self._new_key(f"{node.name} {symbol}" + (f" {port}" if shown else ""))
        # The caller adds these arcs; here they tell what the line behind the merge carries.
        arcs = [self._arc(edge.id, edge.source, key, edge) for edge in edges]
        live = [arc for arc in arcs if arc.carries]
        indices = {edge.index for edge in edges}
        live += [
            self._arc(edge_id, "", key)
            for edge_id, _, index in self._routes.entries
            if index in indices
        ]
        self._vertices.append(
            Vertex(
                key=key,
                kind="merge",
                lines=(symbol,),
                what=symbol,
                tooltip=f"the {len(edges)} inputs of {node.name}"
                + (f", port {port}" if shown else ""),
                carries=bool(live),
                scope=node.block,
                owner=node.name,
            )
        )
        shares = [arc.share for arc in live if arc.share is not None]
        self._arcs.append(
            Arc(
                source=key,
                target=node.name,
                port=shown,
                carries=bool(live),
                share=math.fsum(shares) if shares and len(shares) == len(live) else None,
                norm=_merged_norm(live),
            )
        )
        return key

    def _add_parameter(self) -> None:
        wrt = self._routes.wrt or ""
        key = self._new_key(wrt)
        entries = {arc.edge.index: arc.target for arc in self._arcs if arc.edge}
        for edge_id, position, index in self._routes.entries:
            # A learnable λ acts where its edge enters, a weight in its layer's own box.
            target = self._graph.nodes[position].name if index is None else entries[index]
            self._arcs.append(self._arc(edge_id, key, target))
        parameter = Vertex(key=key, kind="parameter", lines=(wrt,), tooltip=wrt, target=True)
        self._vertices.insert(0, parameter)

    def _arc(
        self, edge_id: str, source: str, target: str, edge: Edge | None = None, port: str = ""
    ) -> Arc:
        carries = self._routes.carries(edge_id)
        flow = self._flow if carries else None
        return Arc(
            source=source,
            target=target,
            id=edge_id,
            edge=edge,
            port=port,
            carries=carries,
            share=flow.shares.get(edge_id) if flow else None,
            norm=flow.norms.get(edge_id) if flow else None,
            paths=self._routes.counts.get(edge_id),
        )

    def _new_key(self, wish: str) -> str:
        key = wish
        while key in self._keys:
            key += "'"
        self._keys.add(key)
        return key

    def _lines(self, node: Node) -> tuple[str, ...]:
        if node.kind == "loss":
            return (LOSS,)
        name = node.label or node.name
        detail = shorten_call(_what(node, None).replace("inplace=True", "").replace("()", ""))
        shape = self._shapes.get(node.name, node.shape)
        sizes = "×".join(map(str, shape)) if isinstance(shape, tuple) else ""
        if node.kind == "input" and node.dtype != "float":
            sizes = " ".join(text for text in (sizes, node.dtype) if text)
            sizes += f" < {node.below}" if node.below is not None else ""
        if node.is_merge:
            symbol = _what(node, self._graph.merge_kind(node.name))
            if "~" in node.name:
                return (symbol or name,)
            name = f"{symbol}  {name}".strip()
        elif node.kind == "layer" and node.op and node.op.op.activation and not sizes:
            return (f"{name}  {detail}",) if len(name) + len(detail) < 18 else (name, detail)
        return tuple(line for line in (name, detail, sizes) if line)


def _inputs_late(graph: Graph) -> list[Node]:
    """Return the nodes in order, but each input just before its first reader.

    So a late input does not span the whole drawing.
    """
    waiting = {node.name: node for node in graph.inputs}
    ordered: list[Node] = []
    for node in graph.nodes:
        if node.kind == "input":
            continue
        for edge in graph.edges_into(node.name):
            if edge.source in waiting:
                ordered.append(waiting.pop(edge.source))
        ordered.append(node)
    return [*waiting.values(), *ordered]


def _kind(node: Node, in_degree: int) -> Kind:
    if node.kind != "layer":
        return "input" if node.kind == "input" else "loss"
    if node.op is None:
        return "merge" if "~" in node.name and in_degree > 1 else "named merge"
    op = node.op.op
    if op.weight_layer:
        return "weights"
    if op.activation:
        return "activation"
    if op.origin == "opaque" or op.family == "unknown":
        return "unknown"
    return "norm" if op.family.startswith("norm") else "plain"


def _what(node: Node, merge: str | None) -> str:
    if node.op:
        return str(node.op).removesuffix("()")
    return SYMBOLS.get(merge or "", "")


def _tooltip(node: Node) -> str:
    parts = [node.name, str(node.op) if node.op else "", node.about or ""]
    return " · ".join(part for part in parts if part)


def _merged_norm(arcs: list[Arc]) -> float | None:
    """Return the norm of the cotangent behind a merge, as far as those on its in-edges tell it."""
    known = [
        arc.norm / abs(float(arc.edge.scale.value))
        for arc in arcs
        if arc.norm is not None and arc.edge and arc.edge.scale.value and not arc.edge.scale.learn
    ]
    kind = arcs[0].edge.kind if arcs and arcs[0].edge else None
    if not known or kind == "multiply":
        return None
    if kind == "concat":
        return math.hypot(*known) if len(known) == len(arcs) else None
    return known[0]


def _alerts(graph: Graph, flow: Flow | None) -> Mapping[str, Alert]:
    if flow is None:
        return {}
    rms, norms = (_relative(graph, values) for values in (flow.node_rms, flow.node_norms))
    return {name: _alert(value, norms.get(name, value)) for name, value in rms.items()}


def _relative(graph: Graph, values: Mapping[str, float]) -> dict[str, float]:
    """Return values relative to the largest at an output; as they are if none is known."""
    outputs = [values[e.source] for e in graph.edges_into(LOSS) if e.source in values]
    reference = max((value for value in outputs if 0 < value < math.inf), default=None)
    if reference is None:
        return {name: 1.0 if 0 < value < math.inf else value for name, value in values.items()}
    return {name: value / reference for name, value in values.items()}


def _alert(rms: float, norm: float) -> Alert:
    if not math.isfinite(rms):
        return "NaN"
    if rms == 0:
        return "dead"
    if max(rms, norm) < VANISHING:
        return "vanishing"
    return "exploding" if min(rms, norm) > EXPLODING else ""
