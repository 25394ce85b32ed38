"""What the size of each axis of each value depends on, carried through the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from archgraph.graph import Edge, Graph, Node
from archgraph.module.dependence import NOTHING, Copy, Names
from archgraph.module.units import ROOT, Ref
from archgraph.module.values import Shapes
from archgraph.ops.rules import track_channel_axis

if TYPE_CHECKING:
    from archgraph.module.origins import Origins

__all__ = ["OUTPUT_SIZE", "Axes", "moved_axes"]

OUTPUT_SIZE: Final = ("out_features", "out_channels", "embedding_dim", "hidden_size")
"""Arguments that are the size of the output's channel axis."""

_PRESERVING: Final = frozenset(
    {"activation", "affine", "attention", "dropout", "embedding", "linear", "normalization"}
)
"""Families of ops that leave all axes but that of the channels as they are."""


_MOVING: Final = frozenset({"Chunk", "Flatten", "Mean", "Permute", "Select", "Slice", "Transpose"})
_WINDOWED: Final = frozenset({"convolution", "padding", "pooling"})


class Axes:
    """What the axes of all values depend on."""

    def __init__(self, graph: Graph, shapes: Shapes, origins: Origins) -> None:
        self._graph, self._shapes, self._origins = graph, shapes, origins
        self._axes: dict[Ref, tuple[Names, ...]] = {}
        self._merged: dict[tuple[str, str], tuple[Names, ...]] = {}

    def of(self, ref: Ref) -> tuple[Names, ...]:
        """Return for each axis of a value, the batch left out, what its size depends on."""
        if not self._axes:
            self._carry()
        return self._axes[ref]

    def merged(self, node: str, port: str) -> tuple[Names, ...]:
        """Return for each axis of what a port reads what its size depends on."""
        if not self._axes:
            self._carry()
        return self._merged[node, port]

    def _carry(self) -> None:
        for node in self._graph.nodes:
            if node.kind == "input":
                spelt = node.shape_texts or [""] * len(node.shape or ())
                axes = tuple(self._origins.of_text(ROOT, text) for text in spelt)
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
            axes.append(NOTHING.union(*terms) if whole else min(terms, key=len))
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
        found = NOTHING
        for path, several in repeats.items():
            if node.name == f"{path}.cat" or (path not in inside and several > 1):
                found |= self._origins.of_count(path)
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
        rest = self._origins.of_arguments(node, size)
        preserves = element == 0 and (op.family in _PRESERVING or op.name.endswith("oftmax"))
        axes: list[Names] = []
        moved = moved_axes(node, arguments, len(first)) if element == 0 else None
        if moved is not None:
            for k in range(len(value.shape)):
                before = [first[axis] for axis in moved.get(k, ())]
                cut = op.name in ("Chunk", "Slice") and k == _axis(arguments["dim"], len(first))
                axes.append((rest if cut else NOTHING).union(*before))
            return tuple(axes)
        for k in range(len(value.shape)):
            if k == channels and size is not None and element == 0:
                axes.append(self._origins.of_argument(node, size))
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
