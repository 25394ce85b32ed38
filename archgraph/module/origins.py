"""What the numbers of a network depend on: its params, and the params of its blocks.

A number that the source writes has to follow all of them, or an argument of a class would change
one part of the network and not another. What stands in the source is held against this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache

from archgraph.expression import ExpressionError, names_in, parse
from archgraph.graph import Edge, Graph, Instance, Node
from archgraph.module.axes import Axes
from archgraph.module.dependence import NOTHING, Copy, Names, Own
from archgraph.module.expressions import substitute
from archgraph.module.units import ROOT, Ref
from archgraph.module.values import Shapes

__all__ = ["Origins"]


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
        self._axes = Axes(graph, shapes, self)

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
        return NOTHING.union(*(scope.get(name, NOTHING) for name in names))

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

    def axis(self, ref: Ref, index: int) -> Names:
        """Return what the size of one axis of a value depends on, the batch left out."""
        return self._axes.of(ref)[index]

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
        return NOTHING.union(*(self.of_argument(node, name) for name in names))

    def of_scale(self, edge: Edge) -> Names:
        """Return what the number λ of an edge depends on."""
        return self.of_text(self.around(edge.target), edge.scale.text)

    def _inferred(self, node: Node, name: str) -> Names:
        """Return what an inferred size depends on; without a name, that of the channels."""
        assert node.op is not None
        op = node.op.op
        rule = op.inferred.get(name) if name else next(iter(op.inferred.values()), "channels")
        if rule is None or rule == "axis" or not self._graph.ports(node.name):
            return NOTHING
        kind, _, port = rule.partition(":")
        port = port or next(iter(self._graph.ports(node.name)))
        value = self._shapes.merged[node.name, port]
        axis = len(value.shape) if kind == "last" else op.channel_axis or value.channel_axis
        axes = self._axes.merged(node.name, port)
        return axes[axis - 1] if axis is not None and axis <= len(axes) else NOTHING.union(*axes)


def _read(text: str, scope: Mapping[str, Names]) -> Names:
    return NOTHING.union(*(scope.get(name, NOTHING) for name in _names(text)))


@lru_cache(maxsize=4096)
def _names(text: str) -> frozenset[str]:
    if not text:
        return frozenset()
    try:
        return names_in(parse(text))
    except ExpressionError:
        return frozenset()
