"""Make a graph from Python, without any YAML; the spec loader ends here too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from archgraph.errors import Mark, Problem, SpecError, UsageError
from archgraph.graph.core import Graph
from archgraph.graph.records import LOSS, ONE, Edge, EdgeKind, Learnable, LossTerm, Node, Scale
from archgraph.graph.roles import assign_roles
from archgraph.numbers import Number
from archgraph.ops.op import OpCall, opaque

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["GraphBuilder", "Term", "assemble"]


@dataclass(frozen=True, slots=True)
class Term:
    """One input of a merge: which value is read, times what, and which element of a tuple."""

    source: str
    scale: Scale = ONE
    element: int = 0
    forced: bool | None = None
    mark: Mark | None = field(default=None, compare=False, repr=False)


def assemble(
    name: str,
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    outputs: Sequence[tuple[str, str]],
    loss: Sequence[LossTerm],
    **rest: Any,
) -> Graph:
    """Put nodes and edges in order, name the edges, find the roles, and return the graph.

    Args:
        name: The network's name.
        nodes: Inputs and layers, without the loss. Where insertion order is not topological, it
            is made so, ties in insertion order.
        edges: Edges without ids, in merge order for each target.
        outputs: (output name, node) pairs.
        loss: Summands of L; each becomes an edge into L.
        rest: The remaining fields of `Graph`.

    Raises:
        SpecError: the edges form a cycle, or a term of the loss has a learnable scale.
    """
    if problems := [_loss_problem(name, term) for term in loss if term.scale.learn is not None]:
        raise SpecError(problems)
    loss_edges = [
        Edge(source=t.of, target=LOSS, kind="loss", scale=t.scale, slot=i, element=t.element)
        for i, t in enumerate(loss)
    ]
    everything = [*nodes, Node(name=LOSS, kind="loss")]
    ordered = _topological(everything, [*edges, *loss_edges])
    rank = {node.name: i for i, node in enumerate(ordered)}
    by_target: dict[str, list[Edge]] = {node.name: [] for node in ordered}
    for edge in [*edges, *loss_edges]:
        by_target[edge.target].append(edge)
    integer = {n.name for n in ordered if n.is_integer or (n.op and not n.op.op.gradient)}
    numbered: list[Edge] = []
    for node in ordered:
        for edge_id, edge in _name_edges(node, by_target[node.name]):
            carries = edge.gradient and edge.source not in integer
            numbered.append(replace(edge, id=edge_id, index=len(numbered), gradient=carries))
    assert all(rank[e.source] < rank[e.target] for e in numbered)
    graph = Graph(
        name=name,
        nodes=tuple(ordered),
        edges=tuple(numbered),
        outputs=tuple(outputs),
        loss=tuple(loss),
        **rest,
    )
    return assign_roles(graph)


def _loss_problem(name: str, term: LossTerm) -> Problem:
    return Problem(
        "loss-scale",
        f"the loss '{term.name}' is scaled by '{term.scale.learn}', which is learnable",
        Mark(f"<{name}>", 1, 1),
        why="what is learned makes the loss small, and so a scale of it would learn to be 0",
        help="give a number",
    )


def _name_edges(node: Node, edges: Sequence[Edge]) -> Iterable[tuple[str, Edge]]:
    """Yield (id, edge): the port is shown unless the op's first port is the only one in use."""
    used = dict.fromkeys(edge.port for edge in edges)
    first = node.op.op.ports[0].name if node.op and node.op.op.ports else "input"
    plain = list(used) in ([], [first])
    seen: dict[str, int] = {}
    for edge in edges:
        edge_id = f"{edge.source}->{edge.target}" + ("" if plain else f"[{edge.port}]")
        count = seen.get(edge_id, 0)
        seen[edge_id] = count + 1
        yield (f"{edge_id}#{count}" if count else edge_id), edge


def _topological(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[Node]:
    position = {node.name: i for i, node in enumerate(nodes)}
    if all(position[e.source] < position[e.target] for e in edges):
        return list(nodes)
    import networkx as nx  # takes longer to import than most specs take to load

    plain: nx.DiGraph[str] = nx.DiGraph()
    plain.add_nodes_from(position)
    plain.add_edges_from((e.source, e.target) for e in edges)
    try:
        order = list(nx.lexicographical_topological_sort(plain, key=position.__getitem__))
    except nx.NetworkXUnfeasible:
        raise SpecError([_cycle_problem(plain, edges)]) from None
    return [nodes[position[name]] for name in order]


def _cycle_problem(plain: nx.DiGraph[str], edges: Sequence[Edge]) -> Problem:
    import networkx as nx

    cycle = [source for source, _ in nx.find_cycle(plain)]
    start = min(range(len(cycle)), key=lambda i: list(plain).index(cycle[i]))
    cycle = cycle[start:] + cycle[:start]
    closing = next(e for e in edges if e.source == cycle[-1] and e.target == cycle[0])
    mark = closing.mark or Mark("<graph>", 1, 1)
    place = f" ({mark.line}:{mark.column})" if closing.mark else ""
    return Problem(
        "cycle",
        f"edges form a cycle: {' → '.join([*cycle, cycle[0]])}",
        mark,
        why="a path factor is a finite product; a cycle has endless paths",
        help=f"delete the edge {cycle[-1]} → {cycle[0]}{place}, which closes the cycle",
    )


class GraphBuilder:
    """Builds a graph node by node.

    Example:
        >>> from archgraph.ops import opaque
        >>> builder = GraphBuilder("toy")
        >>> x = builder.input("x", (8,))
        >>> f = builder.layer("f", opaque(lambda value: value * 2), [x])
        >>> y = builder.layer("y", None, [f, Term("x", Scale(2))])
        >>> builder.output(y)
        >>> [edge.id for edge in builder.build().edges]
        ['x->f', 'f->y', 'x->y', 'y->L']
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: dict[str, Node] = {}
        self._edges: list[Edge] = []
        self._outputs: list[tuple[str, str]] = []
        self._loss: list[LossTerm] = []

    def input(
        self, name: str, shape: Iterable[int], *, dtype: str = "float", below: int | None = None
    ) -> str:
        """Add an input of `shape` (batch axis excluded) and return its name."""
        node = Node(name=name, kind="input", shape=tuple(shape), dtype=dtype, below=below)
        return self._add(node)

    def layer(
        self,
        name: str,
        op: OpCall | Callable[..., Any] | None,
        inputs: Iterable[str | Term] | Mapping[str, Iterable[str | Term]],
        *,
        merge: EdgeKind = "add",
        dim: int | None = None,
        **attributes: Any,
    ) -> str:
        """Add a layer that merges `inputs` and then applies `op`; return its name.

        Args:
            name: The node's name; also the path of its submodule, if the op is a module.
            op: What is applied to the merge: a call from `archgraph.op("Linear(8)")`, any
                callable or `nn.Module`, or None to merge only.
            inputs: Terms, as names or `Term`s; a mapping gives them by port.
            merge: How several terms of a port merge: `add`, `concat` or `multiply`.
            dim: The axis of a concat, batch counted; default the channel axis.
            attributes: Further fields of `Node` (`label`, `symbol`, `init`, …).

        Raises:
            UsageError: the name is taken, a source is unknown, or there is no input.
        """
        by_port: Mapping[str, Iterable[str | Term]]
        by_port = inputs if isinstance(inputs, Mapping) else {"": inputs}
        if callable(op) and not isinstance(op, OpCall):
            names = tuple(port or "input" for port in by_port)
            op = opaque(op, names)
        first = op.op.ports[0].name if op is not None and op.op.ports else "input"
        dims: list[tuple[str, int | None]] = []
        edges: list[Edge] = []
        for port, terms in by_port.items():
            made = self._port_edges(name, port or first, list(terms), merge)
            if made and made[0].kind == "concat":
                dims.append((port or first, dim))
            edges += made
        if not edges and (op is None or op.op.ports):
            raise UsageError(f"layer {name!r} reads nothing")
        module = name if op is not None else None
        self._add(Node(name=name, op=op, dims=tuple(dims), module=module, **attributes))
        self._edges += edges
        return name

    def _port_edges(
        self, name: str, port: str, terms: list[str | Term], merge: EdgeKind
    ) -> list[Edge]:
        made = []
        for slot, item in enumerate(terms):
            term = Term(item) if isinstance(item, str) else item
            if term.source not in self._nodes:
                raise UsageError(f"layer {name!r} reads {term.source!r}, which does not exist yet")
            made.append(
                Edge(
                    source=term.source,
                    target=name,
                    kind=merge if len(terms) > 1 else "sequential",
                    scale=term.scale,
                    port=port,
                    slot=slot,
                    element=term.element,
                    forced=term.forced,
                )
            )
        return made

    def output(self, node: str, *, name: str | None = None) -> None:
        """Declare a node an output; without a loss term it is read by a random linear readout."""
        if node not in self._nodes:
            raise UsageError(f"output {node!r} is not a node")
        self._outputs.append((name or node, node))

    def loss(self, of: str, op: OpCall | None, *, scale: Number = 1, name: str = "loss") -> None:
        """Add the summand `scale · op(of, target)` to L."""
        self._loss.append(LossTerm(name, of, op, Scale(scale)))

    def build(self) -> Graph:
        """Return the finished graph.

        Raises:
            UsageError: nothing was declared an output and there is no layer.
        """
        if not self._outputs:
            if not self._nodes:
                raise UsageError("a graph needs at least one node")
            last = next(reversed(self._nodes))
            self._outputs.append((last, last))
        loss = self._loss or [LossTerm(name, node) for name, node in self._outputs]
        return assemble(self._name, list(self._nodes.values()), self._edges, self._outputs, loss)

    def _add(self, node: Node) -> str:
        if node.name in self._nodes or node.name == LOSS:
            raise UsageError(f"the name {node.name!r} is taken")
        self._nodes[node.name] = node
        return node.name


def learnable(
    name: str,
    start: Number = 0,
    *,
    per_channel: bool = False,
    index: int | None = None,
    count: int | None = None,
) -> Scale:
    """Return a learnable λ: an `nn.Parameter` called `name`, `start` at the beginning.

    Args:
        name: Path of the parameter.
        start: Its value at the beginning.
        per_channel: Whether there is one number for each channel of what is scaled.
        index: Of a λ that is one element of a vector for several edges: which, 0 first.
        count: Length of that vector.
    """
    return Scale(start, Learnable(name, "channel" if per_channel else "all", index, count))
