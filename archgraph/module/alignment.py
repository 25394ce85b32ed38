"""Calls of one block brought into one form, so that they become one class.

A graph holds what is computed, and forgets how a block was called: where two inputs are one value,
its layers read that value; a layer that `when` leaves out is gone. Here such calls are given
what the others have. No value changes, no module, no parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from archgraph.graph import Edge, Graph, Instance, Member, Node
from archgraph.module.units import Ref, relative

__all__ = ["aligned"]


def aligned(graph: Graph) -> Graph:
    """Return a graph whose calls of a block have the same nodes as far as they can.

    An input that is the same value as one before it is read through a node `path.name`, as a merged
    input is. Which layer reads which of the inputs is seen in a call whose inputs differ. A sum of
    which `when` leaves only a first term that is a merge itself is called `name~1`, as that term is
    in calls that have the whole sum.

    Cost: linear in the graph where nothing is to be done; the graph itself is returned then.
    """
    graph = _renamed(graph, dict(_first_terms(graph)))
    by_block: dict[str | None, list[Instance]] = {}
    for instance in graph.instances.values():
        if instance.kind == "block" and len(instance.inputs) > 1:
            by_block.setdefault(instance.block, []).append(instance)
    for calls in by_block.values():
        model = next((call for call in calls if not _coinciding(call)), None)
        for call in calls if model is not None else ():
            if _coinciding(call):
                assert model is not None
                graph = _Splitting(graph, graph.instances[call.path], model).apply()
    return graph


def _coinciding(call: Instance) -> set[Ref]:
    refs = [(node, element) for _, node, element in call.inputs]
    return {ref for ref in refs if refs.count(ref) > 1}


def _first_terms(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield the nodes that are but the first term of a sum in other calls, each with its name."""
    whole: set[tuple[str | None, str]] = set()
    calls = [call for call in graph.instances.values() if call.kind == "block"]
    partial: list[tuple[Instance, str]] = []
    for call in calls:
        for member in call.members:
            node = f"{call.path}.{member.name}"
            if member.when is None or member.kind != "node" or not graph.node(node).is_merge:
                continue
            if graph.edges_into(node)[0].source == f"{node}~1":
                whole.add((call.block, member.name))
            elif f"{node}~1" not in graph.positions:
                partial.append((call, member.name))
    for call, name in partial:
        if (call.block, name) in whole:
            yield f"{call.path}.{name}", f"{call.path}.{name}~1"


def _renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """Return a graph with other names for some nodes; what a member was called is an alias."""
    if not names:
        return graph

    def new(node: str) -> str:
        return names.get(node, node)

    instances = {
        path: replace(
            instance,
            inputs=tuple((n, new(node), e) for n, node, e in instance.inputs),
            outputs=tuple((n, new(node), e) for n, node, e in instance.outputs),
            members=tuple(_member(member, path, names) for member in instance.members),
        )
        for path, instance in graph.instances.items()
    }
    return replace(
        graph,
        nodes=tuple(replace(node, name=new(node.name)) for node in graph.nodes),
        edges=tuple(replace(e, source=new(e.source), target=new(e.target)) for e in graph.edges),
        outputs=tuple((name, new(node)) for name, node in graph.outputs),
        loss=tuple(replace(term, of=new(term.of)) for term in graph.loss),
        states=None,
        instances=instances,
    )


def _member(member: Member, path: str, names: Mapping[str, str]) -> Member:
    node = f"{path}.{member.name}"
    if member.kind == "node" and node in names:
        return replace(member, kind="alias", reads=(names[node], 0))
    if member.reads is not None and member.reads[0] in names:
        return replace(member, reads=(names[member.reads[0]], member.reads[1]))
    return member


class _Splitting:
    """One call's inputs told apart as they are in another call of the block, the model."""

    def __init__(self, graph: Graph, call: Instance, model: Instance) -> None:
        self._graph, self._call = graph, call
        self._equal = _coinciding(call)
        given = {(node, element): name for name, node, element in model.inputs}
        self._reads = {
            (relative(edge.target, model.path), edge.port, edge.slot): given[ref]
            for edge in graph.edges
            if edge.target.startswith(f"{model.path}.")
            and (ref := (edge.source, edge.element)) in given
        }
        self._inner = {
            (relative(path, model.path), name): given[node, element]
            for path, instance in graph.instances.items()
            if path.startswith(f"{model.path}.")
            for name, node, element in instance.inputs
            if (node, element) in given
        }
        self._ref = {name: (node, element) for name, node, element in call.inputs}
        first = {ref: name for name, ref in reversed(self._ref.items())}
        later = [name for name, ref in self._ref.items() if first[ref] != name]
        named = {name: f"{call.path}.{name}" for name in later}
        self._aliases = {n: node for n, node in named.items() if node not in graph.positions}
        """By input that another one before it is equal to: the node that stands for it."""

    def apply(self) -> Graph:
        """Return the graph with the nodes that stand for equal inputs."""
        edges = [self._edge(edge) for edge in self._graph.edges]
        made = [self._aliases[n] for n in self._aliases if self._aliases[n] in _sources(edges)]
        if not made:
            return self._graph
        nodes = list(self._nodes(made))
        into: dict[str, list[Edge]] = {node.name: [] for node in nodes}
        for edge in (*self._new_edges(made), *edges):
            into[edge.target].append(edge)
        ordered = (edge for node in nodes for edge in into[node.name])
        instances = {path: self._instance(path, i) for path, i in self._graph.instances.items()}
        return replace(
            self._graph,
            nodes=tuple(nodes),
            edges=tuple(replace(edge, index=i) for i, edge in enumerate(ordered)),
            instances=instances,
        )

    def _is_inside(self, path: str) -> bool:
        return path.startswith(f"{self._call.path}.")

    def _edge(self, edge: Edge) -> Edge:
        """Return an edge as it is, or from the node that stands for the input it reads."""
        ref = (edge.source, edge.element)
        if ref not in self._equal or not self._is_inside(edge.target):
            return edge
        name = self._reads.get((relative(edge.target, self._call.path), edge.port, edge.slot), "")
        if self._ref.get(name) != ref or name not in self._aliases:
            return edge
        return replace(edge, source=self._aliases[name], element=0)

    def _new_edges(self, made: list[str]) -> Iterator[Edge]:
        for name, node in self._aliases.items():
            if node in made:
                source, element = self._ref[name]
                yield Edge(source=source, target=node, element=element, id=f"{source}->{node}")

    def _nodes(self, made: list[str]) -> Iterator[Node]:
        found = False
        for node in self._graph.nodes:
            if not found and self._call.path in node.block:
                found = True
                block = node.block[: node.block.index(self._call.path) + 1]
                yield from (Node(name=name, block=block) for name in made)
            yield node

    def _instance(self, path: str, instance: Instance) -> Instance:
        if path == self._call.path:
            inputs = [(n, self._aliases.get(n, node), e) for n, node, e in instance.inputs]
            return replace(
                instance, inputs=tuple((n, v, 0 if n in self._aliases else e) for n, v, e in inputs)
            )
        if not self._is_inside(path):
            return instance
        return replace(instance, inputs=tuple(self._inputs(path, instance)))

    def _inputs(self, path: str, instance: Instance) -> Iterator[tuple[str, str, int]]:
        for name, node, element in instance.inputs:
            outer = self._inner.get((relative(path, self._call.path), name), "")
            if self._ref.get(outer) == (node, element) and outer in self._aliases:
                yield name, self._aliases[outer], 0
            else:
                yield name, node, element


def _sources(edges: list[Edge]) -> set[str]:
    return {edge.source for edge in edges}
