"""Shapes of a whole graph, by running each op once on the `meta` device: no rule per op."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from torch import nn

from archgraph.errors import Mark, Problem, SpecError
from archgraph.graph import Edge, Graph, LossTerm, Node
from archgraph.module.initialisers import matching_parameters, owner, refuse_initialiser
from archgraph.module.instances import (
    RefusalError,
    construct,
    is_expression_call,
    resolve,
    run,
)
from archgraph.module.merging import MergeError, concat_axis, merge, scale_shape
from archgraph.module.problems import folded
from archgraph.module.targets import refuse_loss
from archgraph.module.values import Shape, Shapes, Value, by_module
from archgraph.numbers import format_number
from archgraph.ops import OpCall

__all__ = ["Shape", "Shapes", "Value", "infer"]

_CACHE: Final[dict[int, Shapes]] = {}


def infer(graph: Graph) -> Shapes:
    """Return the shape of every node's value and the arguments of every op.

    Each op is built and run once on the `meta` device, in the graph's order; a callable that does
    not know `meta` is run on tiny tensors. The result is kept as long as the graph lives.

    Raises:
        SpecError: with every problem found: values that do not merge, and ops that torch refuses
            to build or run. Nothing is said of nodes that read from a node with a problem.

    Cost: one construction and one run per op, without its arithmetic.

    Example:
        >>> from archgraph.graph import GraphBuilder
        >>> from archgraph.ops import parse_call
        >>> builder = GraphBuilder("toy")
        >>> x = builder.input("x", (8,))
        >>> y = builder.layer("y", parse_call("Linear(3)"), [x])
        >>> shapes = infer(builder.build())
        >>> shapes["y"].shape, shapes.arguments["y"], shapes.total
        ((3,), {'in_features': 8, 'out_features': 3}, 27)
    """
    found = _CACHE.get(id(graph))
    if found is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of, it says again when it matters
            found = _Inference(graph).run()
        _CACHE[id(graph)] = found
        weakref.finalize(graph, _CACHE.pop, id(graph), None)
    return found


@dataclass
class _Inference:
    """The state of one inference: what is known so far, and what is wrong so far."""

    graph: Graph
    problems: list[Problem] = field(default_factory=list)
    elements: dict[str, tuple[Value | None, ...]] = field(default_factory=dict)
    tuples: set[str] = field(default_factory=set)
    merged: dict[tuple[str, str], Value] = field(default_factory=dict)
    dims: dict[tuple[str, str], int] = field(default_factory=dict)
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    parameters: dict[str, Shape] = field(default_factory=dict)
    built: dict[str, tuple[Node, Callable[..., Any]]] = field(default_factory=dict)
    """By module path: the layer, and the node that it was first built for."""
    runs: dict[Hashable, tuple[Callable[..., Any], tuple[Value | None, ...], bool]] = field(
        default_factory=dict
    )
    """By op, arguments and what is read: a layer, what it gave, and whether that is a tuple."""
    starts: dict[tuple[str, Shape], str | None] = field(default_factory=dict)
    """By initialiser and shape: why torch refuses it."""
    homes: dict[int, tuple[str, Node]] = field(default_factory=dict)
    """By identity of a user's module: its path, and the node that it was first met at."""

    def run(self) -> Shapes:
        for node in self.graph.nodes:
            if node.kind == "input":
                self.elements[node.name] = (_input_value(node),)
            elif node.kind == "layer":
                self.visit(node)
        self.check_names()
        if not self.problems:
            self.check_initialisers()
            self.check_ties()
            self.check_loss()
        if self.problems:
            raise SpecError(folded(self.problems))
        return Shapes(
            self.elements,
            frozenset(self.tuples),
            self.merged,
            self.dims,
            self.arguments,
            self.parameters,
            self.graph.ties,
        )

    def add(
        self,
        code: str,
        message: str,
        where: Node | Edge | None = None,
        *,
        why: str | None = None,
        help: str | None = None,
    ) -> None:
        mark = None if where is None else where.mark
        mark = mark or Mark(f"<{self.graph.name}>", 1, 1)
        self.problems.append(Problem(code, message, mark, why=why, help=help))

    # --- one node -------------------------------------------------------------------------------

    def visit(self, node: Node) -> None:
        ports: dict[str, Value] = {}
        for port, edges in self.graph.ports(node.name).items():
            value = self.merge_port(node, port, edges)
            if value is not None:
                ports[port] = value
                self.merged[node.name, port] = value
        if len(ports) < len(self.graph.ports(node.name)):
            return
        if node.op is None:
            self.elements[node.name] = tuple(ports.values())[:1]
            return
        try:
            self.apply(node, ports)
        except RefusalError as refusal:
            self.refuse(node, ports, str(refusal))
        self.check_overwriting(node)

    def merge_port(self, node: Node, port: str, edges: tuple[Edge, ...]) -> Value | None:
        """Return what a port reads, or None after a problem here or further up."""
        terms = [(edge, self.read(edge)) for edge in edges]
        known = [(edge, value) for edge, value in terms if value is not None]
        if len(known) < len(terms):
            return None
        try:
            axis = None
            if edges[0].kind == "concat":
                axis = concat_axis(known, node.dim(port))
            value = merge(known, axis)
            if axis is not None:
                self.dims[node.name, port] = axis
            for edge, read in known:
                self.scale(edge, read)
        except MergeError as error:
            mark = error.edge if error.edge is not None and error.edge.mark else node
            self.add(error.code, error.message, mark, why=error.why, help=error.help)
            return None
        return value

    def read(self, edge: Edge) -> Value | None:
        """Return the value that an edge reads; None if it is not known or is no tensor."""
        elements = self.elements.get(edge.source)
        if elements is None:
            return None
        value = elements[edge.element] if edge.element < len(elements) else None
        if value is None:
            self.add(
                "no-element",
                f"'{edge.target}' reads element {edge.element} of '{edge.source}', which has "
                + (
                    f"elements 0 … {len(elements) - 1}"
                    if edge.element >= len(elements)
                    else "no tensor with the batch in front there"
                ),
                edge if edge.mark else self.graph.node(edge.target),
            )
        return value

    def scale(self, edge: Edge, value: Value) -> None:
        """Note the shape of a learnable λ."""
        learn = edge.scale.learn
        if learn is None:
            return
        shape = scale_shape(edge, learn, value)
        if self.parameters.setdefault(learn.name, shape) != shape:
            raise MergeError(
                "shape-mismatch",
                f"'{learn.name}' has two shapes, {self.parameters[learn.name]} and {shape}",
                "one parameter has one shape",
                "give each its own name",
                edge,
            )

    def apply(self, node: Node, ports: dict[str, Value]) -> None:
        """Build the op, run it, and note what came out."""
        assert node.op is not None
        arguments = resolve(node.op, ports)
        call = replace(node.op, arguments=tuple(arguments.items()))
        module = node.module or node.name
        # A tensor expression holds nothing that could be shared.
        shared = None if is_expression_call(call) else self.built.get(module)
        self.check_one_home(node, module)
        if shared is not None:
            first, _ = shared
            if call.op.is_parameter and first.name == module:
                raise RefusalError(f"its value is that of '{first.name}': read '{first.name}'")
            if arguments != self.arguments.get(first.name, arguments):
                raise RefusalError(
                    f"it shares the weights of '{first.name}', which have another shape"
                )
        layer, elements, is_tuple = self.run_once(call, arguments, ports, shared)
        self.arguments[node.name] = arguments
        self.elements[node.name] = elements
        if is_tuple:
            self.tuples.add(node.name)
        if shared is None:
            self.built[module] = (node, layer)
            if isinstance(layer, nn.Module):
                for name, parameter in layer.named_parameters():
                    full = module if call.op.is_parameter else f"{module}.{name}"
                    self.parameters[full] = tuple(parameter.shape)

    def run_once(
        self,
        call: OpCall,
        arguments: dict[str, Any],
        ports: dict[str, Value],
        shared: tuple[Node, Callable[..., Any]] | None,
    ) -> tuple[Callable[..., Any], tuple[Value | None, ...], bool]:
        """Build and run an op, or return what an equal one gave: the layer, its result."""
        if call.op.origin == "opaque":
            layer = construct(call, arguments) if shared is None else shared[1]
            return layer, *run(call, layer, ports)
        function = call.op.function
        key = (call.op.origin, call.name, id(function), repr(arguments), tuple(ports.items()))
        found = self.runs.get(key)
        if found is None:
            layer = construct(call, arguments) if shared is None else shared[1]
            found = self.runs[key] = layer, *run(call, layer, ports)
        return found

    def check_one_home(self, node: Node, module: str) -> None:
        """Refuse a user's module that stands in two layers, whose weights have one name only."""
        assert node.op is not None
        function = node.op.op.function
        if node.op.op.origin != "opaque" or not isinstance(function, nn.Module):
            return
        first = self.homes.setdefault(id(function), (module, node))[1]
        if self.homes[id(function)][0] != module:
            raise RefusalError(f"this very module is layer '{first.name}' already: copy it")

    def check_overwriting(self, node: Node) -> None:
        """Report an op that writes its result over a value that something else reads."""
        if not self.arguments.get(node.name, {}).get("inplace"):
            return
        edges = self.graph.edges_into(node.name)
        source = self.graph.node(edges[0].source)
        readers = [e.target for e in self.graph.edges_out_of(source.name) if e.target != node.name]
        readers += [name for name, output in self.graph.outputs if output == source.name]
        if len(edges) > 1 or not edges[0].scale.is_one or not (readers or source.kind == "input"):
            return
        other = f"which '{readers[0]}' reads too" if readers else "which is an input"
        self.add(
            "in-place",
            f"'{node.name}' overwrites '{source.name}', {other}",
            node,
            why="inplace=True writes the result over what is read",
            help="leave inplace out",
        )

    def refuse(self, node: Node, ports: dict[str, Value], reason: str) -> None:
        reads = " and ".join(
            f"{value} from '{self.graph.ports(node.name)[port][0].source}'"
            if len(self.graph.ports(node.name)[port]) == 1
            else f"{value}"
            for port, value in ports.items()
        )
        integers = [port for port, value in ports.items() if not value.is_float]
        self.add(
            "op-refused",
            f"'{node.name}' cannot be {node.op}" + (f" of {reads}" if reads else ""),
            node,
            why=reason,
            help="integers are read through an Embedding first" if integers else None,
        )

    # --- the whole graph ------------------------------------------------------------------------

    def check_names(self) -> None:
        """Report a layer or a learnable λ that would stand inside a layer, or in its place."""
        layers = {node.module: node for node in self.graph.nodes if node.module is not None}
        learnt = {e.scale.learn.name: e for e in self.graph.edges if e.scale.learn is not None}
        places: list[tuple[str, Node | Edge]] = [*layers.items(), *learnt.items()]
        for name, where in places:
            parts = name.split(".")
            above = [".".join(parts[:i]) for i in range(1, len(parts))]
            taken = next((path for path in above if path in layers), None)
            if taken is None and name in layers and name in learnt:
                taken = name
            if taken is not None:
                self.add(
                    "name-taken",
                    f"'{name}' would stand inside the layer '{taken}'"
                    if taken != name
                    else f"a layer and a learnable number are both called '{name}'",
                    where,
                    why="names are the attributes of the compiled module",
                    help="rename one of them",
                )

    def check_initialisers(self) -> None:
        held = by_module(self.parameters)
        for node in self.graph.nodes:
            inside = held.get(node.module or "", {})
            for name, value in node.init:
                names = matching_parameters(inside, node, name)
                if not names:
                    known = [n for n in inside if n != node.module]
                    has = ", ".join(n.removeprefix(f"{node.module}.") for n in known)
                    self.add(
                        "unknown-parameter",
                        f"'{node.name}' has no parameter '{name}' to initialise",
                        node,
                        why=f"its parameters are: {has}" if has else "it has no parameters",
                    )
                self.check_initialiser(node, names, value)
        for name, value in self.graph.init:
            for node in self.graph.nodes:
                if node.op is not None and node.op.op.weight_layer:
                    inside = held.get(node.module or "", {})
                    self.check_initialiser(node, matching_parameters(inside, node, name), value)

    def check_initialiser(self, node: Node, names: list[str], value: Any) -> None:
        for name in names:
            shape = self.parameters[name]
            key = (str(value), shape)
            if key not in self.starts:
                self.starts[key] = refuse_initialiser(value, shape)
            reason = self.starts[key]
            if reason is not None:
                shown = value if isinstance(value, OpCall) else format_number(value)
                self.add(
                    "init-refused",
                    f"'{name}' of shape {shape} cannot start as {shown}",
                    node,
                    why=reason,
                )

    def check_ties(self) -> None:
        for pair in self.graph.ties:
            missing = [name for name in pair if name not in self.parameters]
            for name in missing:
                self.add("unknown-parameter", f"the tie names '{name}', which is no parameter")
            if not missing and self.parameters[pair[0]] != self.parameters[pair[1]]:
                one, other = (self.parameters[name] for name in pair)
                self.add(
                    "shape-mismatch",
                    f"'{pair[0]}' of shape {one} cannot be tied to '{pair[1]}' of shape {other}",
                    owner(self.graph, pair[0]),
                    why="tied parameters are one tensor",
                )

    def check_loss(self) -> None:
        for term in self.graph.loss:
            value = self.read_output(term)
            reason = None if value is None else refuse_loss(term.op, value)
            if reason is not None:
                self.add(
                    "op-refused",
                    f"the loss '{term.name}' cannot be {term.op} of {value} from '{term.of}'",
                    self.graph.node(term.of),
                    why=reason,
                )

    def read_output(self, term: LossTerm) -> Value | None:
        elements = self.elements[term.of]
        value = elements[term.element] if term.element < len(elements) else None
        if value is None:
            self.add("no-element", f"the loss '{term.name}' reads no tensor of '{term.of}'")
        return value


def _input_value(node: Node) -> Value:
    assert node.shape is not None
    axis = 1 if len(node.shape) == 1 else None
    return Value(node.shape, node.dtype, axis)
