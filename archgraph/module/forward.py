"""The body of `forward`: one line for each value that has a name, the rest written in place.

A value is written in place where it is read once, and only if that leaves the order in which
layers run as it is in the graph: random masks and running statistics depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from archgraph.graph import Edge, Node
from archgraph.module import text as python
from archgraph.module.flow import Calls, Flow
from archgraph.module.names import Scope
from archgraph.module.turns import write_loop
from archgraph.module.values import Shapes
from archgraph.module.variables import share_names
from archgraph.ops.rules import tensor_expression

__all__ = ["Forward"]

_NESTING = 3
"""How many calls stand inside each other before a value gets a name."""
_INDENT = 8

_UNREAD = {"MultiheadAttention": "need_weights=False"}
"""By op that returns a tuple: what spares it the making of all but the first element."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A value that may still be written in place."""

    node: Node
    text: str
    depth: int
    weights: int
    """Most weight layers inside each other."""


@dataclass
class Forward:
    """Writes the statements of one `forward`."""

    flow: Flow
    shapes: Shapes
    calls: Calls
    scope: Scope
    extra: Sequence[str] = ()
    """Names that it takes beside the tensors."""
    statements: list[str] = field(default_factory=list)
    texts: dict[tuple[str, int], str] = field(default_factory=dict)
    """By value that has a variable: its text."""
    lists: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """By text of an element of a list that a loop makes: the list, the position, its length."""
    turns: dict[str, str] = field(default_factory=dict)
    """By stem: the variable of the loops over what is called so."""
    _flows: set[str] = field(default_factory=set)
    """Variables that may be called `x`."""
    _pending: list[_Pending] = field(default_factory=list)
    _grouped: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.graph = self.flow.graph

    def write(self) -> tuple[list[str], list[str]]:
        """Return the names of the tensors that it takes, and the statements."""
        for name in self.extra:
            self.scope.choose(name)
        arguments = []
        for node in self.graph.inputs:
            self.texts[node.name, 0] = self.scope.choose(self.flow.names[node.name])
            arguments.append(self.texts[node.name, 0])
        for node in self.graph.nodes:
            if node.op is not None and node.op.op.is_parameter:
                self.texts[node.name, 0] = self.calls.parameter(node.module or node.name)
        self._count_uses()
        for node in self.graph.nodes:
            known = (node.name, 0) in self.texts or node.name in self._grouped
            if node.kind == "layer" and node.name in self._needed and not known:
                self._visit(node)
        self._return()
        taken = self.scope.taken
        return arguments, share_names(arguments, self.statements, taken, self._flows)

    # --- which values are read how often ----------------------------------------------------------

    def _count_uses(self) -> None:
        """Find what runs: what reaches an output, and every layer with a module of its own."""
        outputs = [node for _, node in self.graph.outputs]
        self._needed = set(outputs) | set(self.calls.layers)
        for edge in reversed(self.graph.edges):
            if edge.target in self._needed:
                self._needed.add(edge.source)
        self.uses = dict.fromkeys(self._needed, 0)
        for edge in self.graph.edges:
            if edge.target in self._needed:
                self.uses[edge.source] += 1
        for node in outputs:
            self.uses[node] += 1
        self._groups = {group[0].name: group for group in self._chunk_groups()}
        for group in self._groups.values():
            (edge,) = self.graph.edges_into(group[0].name)
            self.uses[edge.source] -= len(group) - 1

    def readers(self, edge: Edge) -> int:
        """Return how often the value is read that an edge reads."""
        value = (edge.source, edge.element)
        inside = sum((e.source, e.element) == value for e in self.graph.edges)
        outputs = [(node, int(element)) for element, node in self.graph.outputs]
        return inside + outputs.count(value) + [*self.calls.otherwise.values()].count(edge.source)

    def _chunk_groups(self) -> list[list[Node]]:
        """Return the runs of Chunk layers that are all the parts of one value, in order."""
        groups: list[list[Node]] = []
        for node in self.graph.nodes:
            if node.op is None or node.op.name != "Chunk" or node.op.op.origin != "archgraph":
                continue
            if groups and self._continues(groups[-1], node):
                groups[-1].append(node)
            elif self.shapes.arguments[node.name]["index"] == 0:
                groups.append([node])
        size = self.shapes.arguments
        return [g for g in groups if len(g) > 1 and len(g) == size[g[0].name]["chunks"]]

    def _continues(self, group: list[Node], node: Node) -> bool:
        first, position = self.shapes.arguments[group[0].name], self.graph.positions
        edges = [self.graph.edges_into(n.name) for n in (group[0], node)]
        return (
            position[node.name] == position[group[-1].name] + 1
            and self.shapes.arguments[node.name] == {**first, "index": len(group)}
            and {len(e) for e in edges} == {1}
            and all(e[0].scale.is_one for e in edges)
            and edges[0][0].source == edges[1][0].source
            and edges[0][0].element == edges[1][0].element
            and {group[0].name, node.name} <= self._needed
        )

    # --- one node ---------------------------------------------------------------------------------

    def _visit(self, node: Node) -> None:
        if node.name in self._groups:
            self._unpack(self._groups[node.name])
            return
        if node.name in self.flow.loops:
            self.flush()
            write_loop(self, node)
            return
        text, edges = self._compose(node)
        if node.op is None and text.isidentifier() and not self._is_tuple(edges[0].source):
            self.texts[node.name, 0] = text  # another name for what has one
            return
        inlined = self._in_place(edges)
        if inlined is None or self._too_much(node, text, inlined):
            self.flush()
            text, edges = self._compose(node)
            inlined = []
        del self._pending[len(self._pending) - len(inlined) :]
        weight = node.op is not None and node.op.op.weight_layer
        self._pending.append(
            _Pending(
                node,
                text,
                max((p.depth for p in inlined), default=0) + (node.op is not None),
                max((p.weights for p in inlined), default=0) + weight,
            )
        )
        if node.name in self.flow.calls and node.name in self.flow.tuples:
            self._take_apart(node)
        elif self.uses[node.name] != 1 or node.name in self.calls.otherwise:
            self.flush()

    def _take_apart(self, node: Node) -> None:
        """Give each of several values a name: `x, skip = self.down(x)`."""
        pending = self._pending.pop()
        self.flush()
        names = []
        for k, ref in enumerate(self.flow.calls[node.name].outputs):
            last = ref[0].rpartition(".")[2].partition("~")[0]
            name = self.scope.choose(f"{self.flow.names[node.name]}_{last}")
            self.texts[node.name, k] = name
            names.append(name)
        self.statements.append(f"{', '.join(names)} = {pending.text}")

    def _in_place(self, edges: Sequence[Edge]) -> list[_Pending] | None:
        """Return the pending values that these edges read, in the order of the text.

        None if they would not run in the graph's order.
        """
        waiting = {pending.node.name: pending for pending in self._pending}
        inlined = [waiting[edge.source] for edge in edges if edge.source in waiting]
        if inlined != self._pending[len(self._pending) - len(inlined) :]:
            return None
        return inlined

    def _too_much(self, node: Node, text: str, inlined: Sequence[_Pending]) -> bool:
        if not inlined:
            return False
        weights = node.op is not None and node.op.op.weight_layer
        return (
            _INDENT + len(text) + len(self.flow.names[node.name]) + len(" = ") > python.WIDTH
            or max(p.depth for p in inlined) + (node.op is not None) > _NESTING
            or (weights and max(p.weights for p in inlined) > 0)
            or any(text.count(p.text) > 1 or _in_idle_brackets(p.text, text) for p in inlined)
        )

    def flush(self) -> None:
        """Give every pending value a name."""
        for pending in self._pending:
            name = pending.node.name
            if self.uses[name]:
                chosen = self.scope.choose(self.flow.names[name])
                self.texts[name, 0] = chosen
                if self._flows_on(pending.node):
                    self._flows.add(chosen)
                self.statements.append(f"{chosen} = {pending.text}")
            else:
                self.statements.append(pending.text)
        self._pending.clear()

    def _flows_on(self, node: Node) -> bool:
        """Whether a value only goes on to the next call of a block, or out of one."""
        readers = self.graph.edges_out_of(node.name)
        if self.uses[node.name] != 1 or not readers or not self.flow.calls:
            return False
        after, position = readers[0].target, self.graph.positions
        follows = position[after] == position[node.name] + 1
        is_root = not self.graph.name
        return follows and (is_root or bool({node.name, after} & set(self.flow.calls)))

    def _unpack(self, group: list[Node]) -> None:
        """Write `q, k, v = x.chunk(3, -1)`."""
        (edge,) = self.graph.edges_into(group[0].name)
        inlined = self._in_place([edge])
        source = self.read(edge)
        if inlined is None:
            self.flush()
            source, inlined = self.read(edge), []
        del self._pending[len(self._pending) - len(inlined) :]
        self.flush()
        arguments = self.shapes.arguments[group[0].name]
        for node in group:
            self.texts[node.name, 0] = self.scope.choose(self.flow.names[node.name])
            self._grouped.add(node.name)
        names = ", ".join(self.texts[node.name, 0] for node in group)
        source = python.bracket(source, python.ATOM)
        self.statements.append(
            f"{names} = {source}.chunk({arguments['chunks']}, {arguments['dim']})"
        )

    def _return(self) -> None:
        reads = [
            Edge(source=node, target="", element=int(element))
            for element, node in self.graph.outputs
        ]
        inlined = self._in_place(reads)
        if inlined is None or len(inlined) != len(self._pending) or len(reads) > 1:
            self.flush()
        self.statements.append(f"return {', '.join(self.read(edge) for edge in reads)}")

    # --- texts ------------------------------------------------------------------------------------

    def _compose(self, node: Node) -> tuple[str, list[Edge]]:
        """Return a node's expression, and its in-edges in the order of the text."""
        if node.name in self.flow.ends:
            (edge,) = self.graph.edges_into(node.name)
            dim = self.flow.ends[node.name]
            return python.call("torch.cat", [self.read(edge), f"dim={dim}"]), [edge]
        ports: dict[str, str] = {}
        order: list[Edge] = []
        for port, edges in self.graph.ports(node.name).items():
            ports[port], read = self._merge(node, port, edges)
            order += read
        if node.op is None:
            return self._chosen(node, next(iter(ports.values()))), order
        layer = self.calls.layers.get(node.name)
        if layer is not None:
            called = python.call(layer, self._arguments(node, ports))
            other = self.calls.otherwise.get(node.name)
            if other is not None:
                called = f"{self.texts[other, 0]} if {layer} is None else {called}"
            return called, order
        arguments = tuple(self.calls.numbers.free(node).items())
        text = tensor_expression(replace(node.op, arguments=arguments), ports)
        assert text is not None
        return text, order

    def _chosen(self, node: Node, merged: str) -> str:
        """Return a merge, or its first term where the merge is left out."""
        condition = self.calls.optional.get(node.name)
        if condition is None:
            return merged
        return f"{merged} if {condition} else {self.read(self.graph.edges_into(node.name)[0])}"

    def _arguments(self, node: Node, ports: Mapping[str, str]) -> list[str]:
        """Return the arguments of a layer's call, by name where that is needed."""
        assert node.op is not None
        extra = self.calls.extra.get(node.name, ())
        names = [port.name for port in node.op.op.ports]
        if node.op.op.origin == "opaque" or list(ports) == names[: len(ports)]:
            return [*ports.values(), *extra, *self._unread(node)]
        return [*(f"{port}={text}" for port, text in ports.items()), *self._unread(node)]

    def _unread(self, node: Node) -> list[str]:
        """Return what tells a layer that only the first element of its tuple is read."""
        if node.op is None or node.op.op.origin != "torch.nn" or node.op.name not in _UNREAD:
            return []
        read = [edge.element for edge in self.graph.edges_out_of(node.name)]
        read += [int(element) for element, output in self.graph.outputs if output == node.name]
        return [] if any(read) else [_UNREAD[node.op.name]]

    def read(self, edge: Edge) -> str:
        """Return the text of the value that an edge reads."""
        text = self.texts.get((edge.source, edge.element))
        if text is not None and not (edge.element == 0 and self._is_tuple(edge.source)):
            return text
        text = self.texts.get((edge.source, 0))
        if text is None:
            text = next(p.text for p in self._pending if p.node.name == edge.source)
        if self._is_tuple(edge.source):
            text = f"{python.bracket(text, python.ATOM)}[{edge.element}]"
        return text

    def _is_tuple(self, node: str) -> bool:
        return node in self.flow.tuples and node not in self.flow.calls

    def _merge(self, node: Node, port: str, edges: tuple[Edge, ...]) -> tuple[str, list[Edge]]:
        if edges[0].kind == "concat":
            return self._concat(node, port, edges), list(edges)
        if edges[0].kind == "multiply":
            factors = [self._factor(edge, first=edge is edges[0]) for edge in edges]
            return " * ".join(factors), list(edges)
        return self._sum(edges)

    def _factor(self, edge: Edge, *, first: bool) -> str:
        text = self._scaled(edge)
        return python.bracket(text, python.PRODUCT if first else python.UNARY)

    def _scale(self, edge: Edge) -> str | None:
        # The arguments of a call have none.
        return None if edge.target in self.flow.calls else self.calls.numbers.scale(edge)

    def _scaled(self, edge: Edge) -> str:
        """Return λ · value."""
        text = self.read(edge)
        factor = self._scale(edge)
        if factor is None:
            return text
        text = python.bracket(text, python.UNARY)
        if factor == "-1.0":
            return f"-{text}"
        return f"{python.bracket(factor, python.PRODUCT)} * {text}"

    def _sum(self, edges: tuple[Edge, ...]) -> tuple[str, list[Edge]]:
        # `torch.add` adds λ·x to another term, so a term without λ goes first.
        first = next((e for e in edges if self._scale(e) is None), edges[0])
        order = [first, *(e for e in edges if e is not first)]
        text = self._scaled(first)
        for edge in order[1:]:
            text = self._plus(text, edge)
        return text, order

    def _plus(self, text: str, edge: Edge) -> str:
        factor = self._scale(edge)
        text = python.bracket(text, python.SUM)
        if factor is None:
            return f"{text} + {python.bracket(self.read(edge), python.PRODUCT)}"
        if edge.scale.learn is not None:
            return f"{text} + {self._scaled(edge)}"
        if factor == "-1.0":
            return f"{text} - {python.bracket(self.read(edge), python.PRODUCT)}"
        return python.call("torch.add", [text, self.read(edge), f"alpha={factor}"])

    def _concat(self, node: Node, port: str, edges: tuple[Edge, ...]) -> str:
        values = [self.shapes.element(*self.flow.values[edge.id]) for edge in edges]
        texts = [self._scaled(edge) for edge in edges]
        batch = next((e for e, v in zip(edges, values, strict=True) if v.batched), None)
        if batch is not None:
            size = f"{python.bracket(self.read(batch), python.ATOM)}.shape[0]"
            for i, value in enumerate(values):
                if not value.batched:
                    rest = ", ".join("-1" for _ in value.shape)
                    texts[i] = f"{python.bracket(texts[i], python.ATOM)}.expand({size}, {rest})"
        axis = self.shapes.dims[node.name, port]
        return python.call("torch.cat", [f"[{', '.join(texts)}]", f"dim={axis}"])


def _in_idle_brackets(inner: str, text: str) -> bool:
    return f" ({inner})" in f" {text}" and python.precedence(inner) == python.ATOM
