"""What the numbers of a network depend on: its params, and the params of its blocks.

A number that the source writes has to follow all of them, or an argument of a class would change
one part of the network and not another. What stands in the source is held against this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from archgraph.expression import ExpressionError, names_in, parse
from archgraph.graph import Edge, Graph, Instance, Node
from archgraph.module.expressions import substitute
from archgraph.module.units import ROOT, Ref
from archgraph.module.values import Shapes
from archgraph.ops.rules import track_channel_axis

__all__ = ["OUTPUT_SIZE", "Copy", "Names", "Origins", "Own", "moved_axes"]

OUTPUT_SIZE: Final = ("out_features", "out_channels", "embedding_dim", "hidden_size")
"""Arguments that are the size of the output's channel axis."""

_PRESERVING: Final = frozenset(
    {"activation", "affine", "attention", "dropout", "embedding", "linear", "normalization"}
)
"""Families of ops that leave all axes but that of the channels as they are."""


_MOVING: Final = frozenset({"Chunk", "Flatten", "Mean", "Permute", "Select", "Slice", "Transpose"})
_WINDOWED: Final = frozenset({"convolution", "padding", "pooling"})


class Own(NamedTuple):
    """A param of a block, the same for all of its calls that are one class."""

    home: int | str
    name: str


class Copy(NamedTuple):
    """The number `i` of a copy in the repeat at a path."""

    path: str


Names: TypeAlias = frozenset[str | Own | Copy]
"""What a number depends on; a name as such is a param of the spec."""

_NONE: Final[Names] = frozenset()


class Origins:
    """What each number of a graph depends on, found by names and never by values.

    Args:
        graph: The network.
        shapes: Its shapes.
        home_of: Returns by path of a block's instance what all calls of its class have in common.
    """

    def __init__(self, graph: Graph, shapes: Shapes, home_of: Callable[[str], int | str]) -> None:
        self._graph, self._shapes, self._home_of = graph, shapes, home_of
        self._scopes: dict[str, dict[str, Names]] = {}
        self._axes: dict[Ref, tuple[Names, ...]] = {}
        self._merged: dict[tuple[str, str], tuple[Names, ...]] = {}

    # --- names ------------------------------------------------------------------------------------

    def scope(self, path: str) -> Mapping[str, Names]:
        """Return what each name depends on inside the instance at a path."""
        found = self._scopes.get(path)
        if found is None:
            found = self._scopes[path] = self._read_scope(path)
        return found

    def _read_scope(self, path: str) -> dict[str, Names]:
        instance = self._graph.instances.get(path)
        if path == ROOT or instance is None:
            return self._read_root(instance)
        parent = self.scope(self.parent(path))
        if instance.kind == "repeat":
            return {**parent, "i": frozenset({Copy(path)})}
        if instance.kind != "block":
            return dict(parent)
        scope = dict(self.scope(ROOT))
        given, defaults = dict(instance.texts), dict(instance.defaults)
        for name, _ in instance.params:
            inner = given[name] if name in given else defaults.get(name, "")
            inner = self._at_end(instance, inner) if name in given else inner
            known = parent if name in given else scope
            scope[name] = _read(inner, known) | {Own(self._home_of(path), name)}
        return scope

    def _at_end(self, copy: Instance, text: str) -> str:
        """Return a text for the first or last copy of a repeat without `i`, if it needs no count.

        With `depth` copies, `c * 2**(depth - 1 - i)` is `c` in the last.
        """
        repeat = self._graph.instances.get(self.parent(copy.path))
        if copy.index is None or repeat is None or repeat.count is None or "i" not in _names(text):
            return text
        if copy.index == 0:
            return substitute(text, {"i": "0"})
        if copy.index < len(repeat.members) - 1:
            return text
        found = substitute(text, {"i": substitute("n - 1", {"n": repeat.count})})
        return text if _names(repeat.count) & _names(found) else found

    def _read_root(self, instance: Instance | None) -> dict[str, Names]:
        texts = dict(instance.texts) if instance is not None else {}
        scope: dict[str, Names] = {}
        for name in self._graph.params:
            scope[name] = _read(texts.get(name, ""), scope) | {name}
        return scope

    def parent(self, path: str) -> str:
        """Return the path of the instance around another."""
        while path:
            path = path.rpartition(".")[0]
            if path in self._graph.instances:
                return path
        return ROOT

    def of_text(self, path: str, text: str | None) -> Names:
        """Return what a text depends on in the scope at a path."""
        return _read(text or "", self.scope(path))

    def of_names(self, path: str, names: Iterable[str]) -> Names:
        """Return what names depend on in the scope at a path."""
        scope = self.scope(path)
        return _NONE.union(*(scope.get(name, _NONE) for name in names))

    def around(self, node: str) -> str:
        """Return the path of the scope in which a node is written."""
        if node in self._calls:
            return self.parent(self._calls[node])
        called = self._calls.get(node.partition("~")[0])
        if called is not None:
            return self.parent(called)
        block = [p for p in self._graph.node(node).block if p in self._graph.instances]
        return block[-1] if block else ROOT

    @cached_property
    def _calls(self) -> Mapping[str, str]:
        """By the node that merges an input of a call: the call."""
        return {
            node: instance.path
            for instance in self._graph.instances.values()
            for name, node, _ in instance.inputs
            if instance.path and node == f"{instance.path}.{name}"
        }

    def of_count(self, path: str) -> Names:
        """Return what the number of copies of a repeat depends on."""
        instance = self._graph.instances[path]
        return self.of_text(self.parent(path), instance.count)

    # --- numbers of layers ------------------------------------------------------------------------

    def of_argument(self, node: Node, name: str) -> Names:
        """Return what an argument of a node's op depends on."""
        assert node.op is not None
        text = dict(node.op.expressions).get(name)
        found = self.of_text(self.around(node.name), text)
        given = dict(node.op.arguments).get(name)
        if given is None or "cin" in str(given):
            found |= self._inferred(node, name if given is None else "")
        return found

    def of_arguments(self, node: Node, without: str | None = None) -> Names:
        """Return what all arguments of a node's op depend on, but for one."""
        assert node.op is not None
        names = [name for name, _ in node.op.expressions if name != without]
        return _NONE.union(*(self.of_argument(node, name) for name in names))

    def of_scale(self, edge: Edge) -> Names:
        """Return what the number λ of an edge depends on."""
        return self.of_text(self.around(edge.target), edge.scale.text)

    def _inferred(self, node: Node, name: str) -> Names:
        """Return what an inferred size depends on; without a name, that of the channels."""
        assert node.op is not None
        op = node.op.op
        rule = op.inferred.get(name) if name else next(iter(op.inferred.values()), "channels")
        if rule is None or rule == "axis" or not self._graph.ports(node.name):
            return _NONE
        kind, _, port = rule.partition(":")
        port = port or next(iter(self._graph.ports(node.name)))
        value = self._shapes.merged[node.name, port]
        axis = len(value.shape) if kind == "last" else op.channel_axis or value.channel_axis
        axes = self.merged(node.name, port)
        return axes[axis - 1] if axis is not None and axis <= len(axes) else _NONE.union(*axes)

    # --- axes -------------------------------------------------------------------------------------

    def axes(self, ref: Ref) -> tuple[Names, ...]:
        """Return for each axis of a value, the batch left out, what its size depends on."""
        if not self._axes:
            self._carry()
        return self._axes[ref]

    def axis(self, ref: Ref, index: int) -> Names:
        """Return what one axis of a value depends on."""
        return self.axes(ref)[index]

    def merged(self, node: str, port: str) -> tuple[Names, ...]:
        """Return for each axis of what a port reads what its size depends on."""
        if not self._axes:
            self._carry()
        return self._merged[node, port]

    def _carry(self) -> None:
        for node in self._graph.nodes:
            if node.kind == "input":
                spelt = node.shape_texts or [""] * len(node.shape or ())
                axes = tuple(self.of_text(ROOT, text) for text in spelt)
                self._axes[node.name, 0] = axes
            elif node.kind == "layer":
                self._layer(node)

    def _layer(self, node: Node) -> None:
        merged = []
        for port, edges in self._graph.ports(node.name).items():
            merged.append(self._merge(node, port, edges))
            self._merged[node.name, port] = merged[-1]
        for k, value in enumerate(self._shapes.elements[node.name]):
            if value is None:
                continue
            if node.op is None:
                self._axes[node.name, k] = merged[0]
            else:
                self._axes[node.name, k] = self._output(node, k, merged)

    def _merge(self, node: Node, port: str, edges: Iterable[Edge]) -> tuple[Names, ...]:
        shape = self._shapes.merged[node.name, port].shape
        dim = self._shapes.dims.get((node.name, port))
        refs = [(edge.source, edge.element) for edge in edges]
        axes: list[Names] = []
        for k, size in enumerate(shape):
            terms = [
                self._axes[ref][k]
                for ref in refs
                if len(self._axes[ref]) == len(shape)
                and (dim is not None or self._shapes.element(*ref).shape[k] == size)
            ]
            # Terms of a sum are as large as each other, so that one of them says it.
            whole = dim == k + 1 or not terms
            axes.append(_NONE.union(*terms) if whole else min(terms, key=len))
            if dim == k + 1:
                axes[-1] |= self._of_listed(node, refs)
        return tuple(axes)

    def _of_listed(self, node: Node, refs: Iterable[Ref]) -> Names:
        """Return what says how many copies of a repeat a concatenation takes."""
        inside = set(node.block)
        repeats: dict[str, int] = {}
        copies: dict[str, set[str]] = {}
        for source, _ in refs:
            for path in self._graph.node(source).block:
                instance = self._graph.instances.get(path)
                if instance is not None and instance.kind == "repeat":
                    repeats[path] = repeats.get(path, 0) + 1
                    copies.setdefault(path, set()).add(_copy_of(source, path))
        found = _NONE
        for path, several in repeats.items():
            if node.name == f"{path}.cat" or (path not in inside and several > 1):
                found |= self.of_count(path)
            elif path in inside and copies[path] != {_copy_of(node.name, path)}:
                found |= {Copy(path)}
        return found

    def _output(
        self, node: Node, element: int, merged: list[tuple[Names, ...]]
    ) -> tuple[Names, ...]:
        assert node.op is not None
        op = node.op.op
        value = self._shapes.element(node.name, element)
        arguments = self._shapes.arguments[node.name]
        size = next((name for name in OUTPUT_SIZE if name in arguments), None)
        first = merged[0] if merged else ()
        channels = (value.channel_axis or 0) - 1
        rest = self.of_arguments(node, size)
        preserves = element == 0 and (op.family in _PRESERVING or op.name.endswith("oftmax"))
        axes: list[Names] = []
        moved = moved_axes(node, arguments, len(first)) if element == 0 else None
        if moved is not None:
            for k in range(len(value.shape)):
                before = [first[axis] for axis in moved.get(k, ())]
                cut = op.name in ("Chunk", "Slice") and k == _axis(arguments["dim"], len(first))
                axes.append((rest if cut else _NONE).union(*before))
            return tuple(axes)
        for k in range(len(value.shape)):
            if k == channels and size is not None and element == 0:
                axes.append(self.of_argument(node, size))
            elif preserves and k < len(first):
                axes.append(first[k])
            elif op.name.startswith("Adaptive") and k != channels:
                axes.append(rest)
            elif op.family in _WINDOWED and k < len(first):
                axes.append(first[k] if k == channels else first[k] | rest)
            else:
                axes.append(rest.union(*(names for port in merged for names in port)))
        return tuple(axes)


def moved_axes(node: Node, arguments: Mapping[str, Any], rank: int) -> dict[int, list[int]] | None:
    """Return for each axis of what an op gives the axes that went into it, the batch left out.

    Args:
        node: The op's node.
        arguments: All arguments of the op.
        rank: How many axes it reads.

    Returns:
        None for an op that does not move axes as they are.
    """
    if node.op is None or node.op.name not in _MOVING:
        return None
    call = replace(node.op, arguments=tuple(arguments.items()))
    moved: dict[int, list[int]] = {}
    for axis in range(rank):
        after = track_channel_axis(call, axis + 1, rank + 1)
        if after is not None:
            moved.setdefault(after - 1, []).append(axis)
    return moved


def _copy_of(node: str, repeat: str) -> str:
    """Return the name of the copy in a repeat that a node is or is in."""
    return node[len(repeat) + 1 :].partition(".")[0].partition("~")[0]


def _axis(dim: int, rank: int) -> int:
    return (dim if dim >= 0 else dim + rank + 1) - 1


def _read(text: str, scope: Mapping[str, Names]) -> Names:
    return _NONE.union(*(scope.get(name, _NONE) for name in _names(text)))


@lru_cache(maxsize=4096)
def _names(text: str) -> frozenset[str]:
    if not text:
        return frozenset()
    try:
        return names_in(parse(text))
    except ExpressionError:
        return frozenset()
