"""What one `forward` does, as a graph of its own: calls of units stand in it as single nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from archgraph.graph import Edge, Graph, Node
from archgraph.module.loops import Loop
from archgraph.module.units import Layer, Ref, Unit, relative
from archgraph.module.values import Shapes
from archgraph.ops import OpCall
from archgraph.ops.op import Op

__all__ = ["LIST", "Calls", "Flow", "Numbers", "flow_of", "input_node"]

LIST: Final = -1
"""The element of a loop that is the list of all its copies give."""

_CALL: Final = OpCall(Op("Call", "opaque", weight_layer=True))


@dataclass(frozen=True)
class Flow:
    """The layers and calls of one class, and the values between them."""

    graph: Graph
    values: dict[str, Ref]
    """By edge: the value that it reads, as the whole graph calls it."""
    names: dict[str, str]
    """By node: what its value is called."""
    calls: dict[str, Unit]
    """By node that is a call: the unit."""
    loops: dict[str, Loop]
    """By node that is a loop: how it runs."""
    ends: dict[str, int]
    """By node that concatenates the list of a loop: the axis."""
    tuples: frozenset[str]
    """Nodes that give several values."""


class Numbers(Protocol):
    """The texts of numbers."""

    def scale(self, edge: Edge) -> str | None:
        """Return the text of an edge's λ; None for a plain 1."""

    def free(self, node: Node) -> dict[str, Any]:
        """Return the arguments of an op that is written as an expression."""


@dataclass(frozen=True)
class Calls:
    """How the code around it names what `forward` uses."""

    layers: Mapping[str, str]
    """By node whose op is called, and by call of a unit: what is called."""
    optional: Mapping[str, str]
    """By merge that may be left out: when it is there."""
    otherwise: Mapping[str, str]
    """By layer or call of a unit that may be None: the input that stands for it then."""
    extra: Mapping[str, Sequence[str]]
    """By call of a unit: its arguments that are no tensors."""
    turns: Mapping[str, str]
    """By loop that calls one module several times: how often."""
    numbers: Numbers
    parameter: Callable[[str], str]
    """How a parameter is read, by its path."""


def input_node(position: int) -> str:
    """Return the name of the node that an input of a class is in its flow."""
    return f"<{position}>"


def flow_of(unit: Unit, graph: Graph, shapes: Shapes) -> Flow:
    """Return what the `forward` of a unit does."""
    return _Builder(unit, graph, shapes).build()


class _Builder:
    def __init__(self, unit: Unit, graph: Graph, shapes: Shapes) -> None:
        self.unit, self.graph, self.shapes = unit, graph, shapes
        self._held = [relative(part.path, unit.path) for part in unit.parts]
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.flow = Flow(graph, {}, {}, {}, {}, {}, frozenset())
        self.places: dict[Ref, tuple[str, int]] = {}
        """By value: the node here that gives it, and which element."""

    def build(self) -> Flow:
        for k, (ref, name) in enumerate(self.unit.inputs.items()):
            node = input_node(k)
            self.nodes.append(replace(self.graph.node(ref[0]), name=node, kind="input", op=None))
            self.flow.names[node] = self._unnamed(ref) if name == "input" else name
            self.places[ref] = (node, 0)
        for part in self.unit.parts:
            if isinstance(part, Layer):
                self._layer(part)
            else:
                self._call(part)
        if self.unit.loop is not None and self.unit.form == "class":
            self.nodes = [n for n in self.nodes if n.kind == "input"]
            self.edges.clear()
            self._call(self.unit)
        outputs = [(f"{k}", *self._place(ref)) for k, ref in enumerate(self.unit.outputs)]
        tuples = {name for name, unit in self.flow.calls.items() if len(unit.outputs) > 1}
        tuples |= {n.name for n in self.nodes if n.name in self.shapes.tuples}
        graph = Graph(
            name=self.unit.path,
            nodes=tuple(self.nodes),
            edges=tuple(replace(edge, index=i) for i, edge in enumerate(self.edges)),
            outputs=tuple((str(element), node) for _, node, element in outputs),
            loss=(),
        )
        return replace(self.flow, graph=graph, tuples=frozenset(tuples))

    def _unnamed(self, ref: Ref) -> str:
        """Return what an input without a name is called: `x`, if no layer is while it is needed."""
        names = self._held
        after = self.unit.parts[names.index("x") + 1 :] if "x" in names else []
        return "inputs" if any(ref in self._reads(part) for part in after) else "x"

    def _reads(self, part: Layer | Unit) -> Collection[Ref]:
        if isinstance(part, Unit):
            return part.inputs
        return [(edge.source, edge.element) for edge in self.graph.edges_into(part.path)]

    def _place(self, ref: Ref) -> tuple[str, int]:
        return self.places.get(ref, ref)

    def _name(self, node: str, path: str) -> None:
        name = relative(path, self.unit.path) or "x"
        stem = name.partition("~")[0]
        alone = stem != name and stem not in self._held
        self.flow.names[node] = stem if alone else name  # the first term of a sum that is not here

    def _layer(self, part: Layer) -> None:
        self.nodes.append(part.node)
        self._name(part.path, part.path)
        for edge in self.graph.edges_into(part.path):
            self._edge(edge, (edge.source, edge.element))

    def _edge(self, edge: Edge, ref: Ref) -> None:
        source, element = self._place(ref)
        self.edges.append(replace(edge, source=source, element=element))
        self.flow.values[edge.id] = ref

    def _call(self, part: Unit) -> None:
        loop = part.loop if part.form == "loop" or part is self.unit else None
        node = part.path if part is not self.unit else "<loop>"
        self.nodes.append(Node(name=node, op=_CALL, module=part.module))
        self._name(node, part.path)
        self.flow.calls[node] = part
        for k, ref in enumerate(part.inputs if loop is None else loop.reads):
            edge = Edge(source="", target=node, port=str(k), id=f"{node}<{k}>")
            self._edge(edge, ref)
        for k, ref in enumerate(part.outputs):
            self.places[ref] = (node, k)
        if loop is not None:
            self.flow.loops[node] = loop
            if loop.end is not None and (loop.end, 0) in part.outputs:
                self._end(node, loop)

    def _end(self, node: str, loop: Loop) -> None:
        assert loop.end is not None
        end = self.graph.node(loop.end)
        self.nodes.append(replace(end, dims=()))
        self._name(end.name, node if node != "<loop>" else "x")
        edge = Edge(source=node, target=end.name, element=LIST, id=f"{node}<end>")
        self.edges.append(edge)
        self.flow.values[edge.id] = loop.start[0]
        self.flow.ends[end.name] = next(i.dim for i in loop.inputs if i.dim is not None)
        self.places[end.name, 0] = (end.name, 0)
