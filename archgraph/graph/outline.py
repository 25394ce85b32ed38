"""A network as a person lists it: its tree of blocks, what is alike folded into one line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from archgraph.graph.core import Graph
from archgraph.graph.instances import Instance, Member
from archgraph.graph.summary import operation, reading

__all__ = ["Line", "called", "outline"]

_Signature: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the list."""

    depth: int
    """How many blocks, groups and repeats are around it."""
    name: str
    """The layer's own name; of folded copies the first and last: `1 … 5`."""
    what: str
    """Its op, the block it calls, or what it is folded into."""
    reads: tuple[str, ...]
    nodes: tuple[str, ...]
    """The nodes that it stands for, in order; the last one is its value."""


def outline(graph: Graph) -> tuple[Line, ...]:
    """Return the lines of a network, each block before what it holds.

    What a block holds is listed where it first occurs; where it follows again, with the same sizes
    or others, one line says so. Copies fold into a line where they are alike in ops, merges, λ and
    in what they read, earlier copies taken by how far back they are. A graph without blocks is
    listed flat.

    Cost: linear in the nodes.
    """
    return tuple(_Outline(graph).lines())


class _Outline:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._shown: dict[_Signature, str] = {}
        self._inside: dict[str, list[str]] = {path: [] for path in graph.instances}
        for node in graph.nodes:
            for path in node.block:
                self._inside.setdefault(path, []).append(node.name)

    def lines(self) -> Iterator[Line]:
        root = self._graph.instances.get("")
        if root is None:
            for node in self._graph.nodes:
                if node.kind == "layer":
                    yield self._node(0, node.name, node.name)
            return
        yield from self._members(root, 0)

    def _members(self, instance: Instance, depth: int) -> Iterator[Line]:
        runs = groupby(instance.members, key=lambda m: self._signature(instance, m))
        for _, run in runs:
            members = list(run)
            yield from self._one(instance, members[0], depth)
            alike = members[1:]
            if alike and instance.kind == "repeat":
                yield self._folded(instance, alike, depth, members[0])
            else:
                for member in alike:
                    yield from self._one(instance, member, depth)

    def _one(self, outer: Instance, member: Member, depth: int) -> Iterator[Line]:
        path = _inside(outer, member)
        if member.kind == "alias":
            assert member.reads is not None
            off = "off" if member.when is not None else "only a name"
            yield Line(depth, member.name, off, (member.reads[0],), ())
            return
        inner = self._graph.instances.get(path)
        if inner is None:
            if path in self._graph.positions:
                for merge in self._inner_merges(path):
                    yield self._node(depth, f"{member.name}{merge.removeprefix(path)}", merge)
                yield self._node(depth, member.name, path)
            return
        what = called(inner)
        nodes = tuple(self._inside[path]) if inner.kind == "repeat" else tuple(self._layers(inner))
        reads = self._reads(path)
        before = self._shown.setdefault(self._structure(inner), path)
        if before != path and inner.kind == "block" and len(nodes) > 1:
            yield Line(depth, member.name, f"{what}, inside as {before}", reads, nodes)
            return
        yield Line(depth, member.name, what, reads, nodes)
        yield from self._members(inner, depth + 1)

    def _inner_merges(self, path: str) -> list[str]:
        found, k = [], 1
        while f"{path}~{k}" in self._graph.positions:
            found.append(f"{path}~{k}")
            k += 1
        return found

    def _node(self, depth: int, name: str, path: str) -> Line:
        node = self._graph.node(path)
        return Line(depth, name, operation(self._graph, node), self._reads(path), (path,))

    def _folded(self, outer: Instance, members: list[Member], depth: int, first: Member) -> Line:
        names = [member.name for member in members]
        name = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
        nodes: list[str] = []
        for member in members:
            path = _inside(outer, member)
            nodes += self._inside.get(path) or [path]
        times = f"{len(members)} × " if len(members) > 1 else ""
        read: tuple[str, ...] = ()
        if outer.connect is None:
            path = _inside(outer, members[0])
            read = (*self._reads(path), "…") if len(members) > 1 else self._reads(path)
        return Line(depth, name, f"{times}as {first.name}", read, tuple(nodes))

    def _reads(self, path: str) -> tuple[str, ...]:
        inner = self._graph.instances.get(path)
        if inner is not None:
            return tuple(dict.fromkeys(node for _, node, _ in inner.inputs))
        return tuple(reading(edge) for edge in self._graph.edges_into(path))

    def _signature(self, outer: Instance, member: Member) -> _Signature:
        """Return what makes two members alike: all ops, merges and λ inside."""
        path = _inside(outer, member)
        inner = self._graph.instances.get(path)
        if member.kind == "alias":
            return ("alias", member.name)
        read = self._read(outer, path) if outer.kind == "repeat" and outer.connect is None else ()
        if inner is None:
            return (self._own(path, path), read)
        inside = tuple(self._own(name, path) for name in self._layers(inner))
        return (inner.kind, inner.block, inside, read)

    def _read(self, outer: Instance, path: str) -> _Signature:
        """Return what a copy reads, earlier copies by how far back they are.

        Where the copies follow each other, or read all before them, nothing has to be said.
        """
        order = {_inside(outer, member): i for i, member in enumerate(outer.members)}
        own = [path] if path in self._graph.positions else []
        read: list[object] = []
        for name in dict.fromkeys([*self._inside.get(path, ()), *own]):
            for edge in self._graph.edges_into(name):
                if edge.source == path or edge.source.startswith(f"{path}."):
                    continue
                around = (edge.source, *self._graph.node(edge.source).block)
                copy = next((p for p in around if p in order), None)
                if copy is None:
                    source: object = edge.source
                else:
                    source = (order[path] - order[copy], edge.source.removeprefix(copy))
                read.append((name.removeprefix(path), source, edge.element, edge.port))
        return tuple(read)

    def _layers(self, instance: Instance) -> list[str]:
        """Return the nodes inside, without the merges that feed it: copies read what they read."""
        merged = {f"{instance.path}.{name}" for name, _, _ in instance.inputs}
        return [name for name in self._inside[instance.path] if name not in merged]

    def _structure(self, instance: Instance) -> _Signature:
        """Return what makes the lists of two instances alike, their sizes aside."""
        nodes = [self._graph.node(name) for name in self._layers(instance)]
        ops = tuple((n.name.removeprefix(instance.path), n.op and n.op.op.name) for n in nodes)
        return (instance.kind, instance.block, ops)

    def _own(self, name: str, path: str) -> _Signature:
        node = self._graph.node(name)
        scales = tuple((str(e.scale), e.kind, e.port) for e in self._graph.edges_into(name))
        own = name.removeprefix(path) if name != path else ""
        return (own, operation(self._graph, node), scales if node.op is None or scales else ())


def _inside(outer: Instance, member: Member) -> str:
    return f"{outer.path}.{member.name}" if outer.path else member.name


def called(instance: Instance) -> str:
    """Return how an instance was called, in words: `unit(c=16)`, `× 4, concat`, `group`."""
    if instance.kind == "block":
        given = dict(instance.texts)
        values = [f"{name}={_short(value)}" for name, value in instance.params if name in given]
        return f"{instance.block}({', '.join(values)})"
    if instance.kind == "repeat":
        joined = f", {instance.connect}" if instance.connect in ("add", "concat") else ""
        return f"× {len(instance.members)}{joined}"
    return "group"


def _short(value: object) -> str:
    name = getattr(value, "name", None)
    return str(value) if name is None else str(name)
