"""Sizes as expressions of a constructor's arguments, carried through a class.

Every text that is carried was right in all instances; a size that nothing explains has none.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

from archgraph.graph import Node
from archgraph.module import text as python
from archgraph.module.axes import OUTPUT_SIZE, moved_axes
from archgraph.module.columns import Column
from archgraph.module.expressions import divide, elements, names_in, substitute
from archgraph.module.fitting import fits
from archgraph.module.network import Network
from archgraph.module.numbers import Numbers
from archgraph.module.units import Layer, Part, Ref, Unit
from archgraph.module.values import Shape

__all__ = ["Sizes", "Texts"]

Texts: TypeAlias = tuple[tuple[str, ...], ...]
"""For each axis, the batch left out, the texts of its size, best first; none if it is not known."""


class Sizes:
    """The texts of the sizes of all values in one class."""

    def __init__(self, network: Network, numbers: Numbers) -> None:
        self._graph, self._shapes, self._numbers = network.graph, network.shapes, numbers
        self._origins = network.origins
        self.of: dict[Ref, Texts] = {}
        """By value, as the full instance calls it."""
        self._merged: dict[tuple[str, str], Texts] = {}

    def argument(self, column: Column, name: str) -> str:
        """Return the text of an argument of a layer's constructor.

        Raises:
            UnsolvedError: it differs between copies, and no text says how.
        """
        layers = [part for part in column.parts if isinstance(part, Layer)]
        values = [self._shapes.arguments[layer.path][name] for layer in layers]
        node = layers[0].node
        assert node.op is not None
        argument = node.op.op.argument(name)
        as_float = argument is not None and argument.type.startswith("float")
        candidates: list[str | None] = []
        for layer in layers[:1] if len(layers) == 1 else _differing(layers):
            candidates += self._candidates(layer.node, node, name)
        origins = column.origins(lambda part: self._origins.of_argument(part.node, name))
        return self._numbers.solve(column, values, candidates, name, origins, as_float=as_float)

    def _candidates(self, node: Node, first: Node, name: str) -> list[str | None]:
        assert node.op is not None
        given = dict(node.op.expressions).get(name)
        value = dict(node.op.arguments).get(name)
        if given is None and value is not None:
            given = str(value)
        if given is not None:
            return [*self._without_cin(first, given)]
        axis = self._inferred_axis(first, name)
        if axis is None or first.name != node.name:
            return []
        port, index = axis
        return list(self._merged[first.name, port][index])

    # --- one layer --------------------------------------------------------------------------------

    def visit(self, column: Column) -> None:
        """Carry the sizes through a layer, from what it reads to what it gives."""
        node = _node(column)
        for port in self._graph.ports(node.name):
            self._merged[node.name, port] = self._merge(column, port)
        if node.op is None:
            merged = [t for (name, _), t in self._merged.items() if name == node.name]
            self.of[node.name, 0] = merged[-1]
        else:
            self.of[node.name, 0] = self._output(column)

    def _merge(self, column: Column, port: str) -> Texts:
        node = _node(column)
        shapes = [self._shapes.merged[part.path, port].shape for part in column.parts]
        edges = self._graph.ports(node.name)[port]
        terms = [self.of.get((edge.source, edge.element), ()) for edge in edges]
        axis = self._shapes.dims.get((node.name, port))
        texts = []
        for i in range(len(shapes[0])):
            columns = [term[i] for term in terms if len(term) == len(shapes[0])]
            if axis == i + 1:
                whole = len(columns) == len(terms) and all(columns)
                found = [_sum([texts[0] for texts in columns])] if whole else []
            else:
                found = [text for texts in columns for text in texts]
            texts.append(self.pick(column, found, [shape[i] for shape in shapes]))
        return tuple(texts)

    def pick(
        self, column: Column, candidates: Sequence[str], sizes: Sequence[int]
    ) -> tuple[str, ...]:
        """Return the texts that are right for all parts, a mere number last."""
        right = [
            found
            for text in dict.fromkeys(candidates)
            if (found := fits(self._numbers.text(column, text), sizes, column.numbers))
            and names_in(found)
        ]
        if len(set(sizes)) == 1:
            right.append(str(sizes[0]))
        return tuple(dict.fromkeys(right))

    def _output(self, column: Column) -> Texts:
        node = _node(column)
        assert node.op is not None
        value = self._shapes[node.name]
        arguments = self._shapes.arguments[node.name]
        columns = [self._shapes[part.path].shape for part in column.parts]
        if any(len(shape) != len(value.shape) for shape in columns):
            return ()
        texts: list[tuple[str, ...]] = [()] * len(value.shape)
        before, shape = self._first_port(node)
        name = next((name for name in OUTPUT_SIZE if name in arguments), None)
        last = value.channel_axis == len(value.shape)
        moved = moved_axes(node, arguments, len(shape))
        if value.shape == shape and name is None and moved is None:
            texts = list(before)
        elif moved is not None and node.op.name != "Flatten":
            for k, axes in moved.items():
                if len(axes) == 1 and k < len(texts) and axes[0] < len(before):
                    texts[k] = before[axes[0]]
        elif last and shape[: len(texts) - 1] == value.shape[:-1]:
            texts[:-1] = before[: len(texts) - 1]
        elif node.op.name == "Flatten":
            texts = _flattened(before, node.op.get("start_dim"), len(texts))
        elif node.op.op.is_parameter:
            spelt = dict(node.op.expressions).get("shape")
            texts = [(text,) if text else () for text in elements(spelt, len(texts))]
        stays = bool(shape) and (moved is None or node.op.name in ("Chunk", "Flatten"))
        if value.channel_axis is not None and stays:
            place = value.channel_axis - 1
            texts[place] = before[place] if place < len(before) else texts[place]
            if texts[place] and shape[place] > value.shape[place] and name is None:
                # A part of the channels.
                parts = shape[place] // value.shape[place]
                texts[place] = tuple(divide(text, parts) for text in texts[place])
            if name is not None:
                texts[place] = (self.argument(column, name),)
        return tuple(
            self.pick(column, candidates, [shape[i] for shape in columns])
            for i, candidates in enumerate(texts)
        )

    def _first_port(self, node: Node) -> tuple[Texts, Shape]:
        port = next(iter(self._graph.ports(node.name)), None)
        if port is None:
            return (), ()
        return self._merged[node.name, port], self._shapes.merged[node.name, port].shape

    def _inferred_axis(self, node: Node, name: str) -> tuple[str, int] | None:
        """Return the port and position of the axis whose size an inferred argument is."""
        assert node.op is not None
        op = node.op.op
        rule = op.inferred.get(name)
        if rule is None or rule == "axis":
            return None
        kind, _, port = rule.partition(":")
        port = port or next(iter(self._graph.ports(node.name)))
        value = self._shapes.merged[node.name, port]
        axis = len(value.shape) if kind == "last" else op.channel_axis or value.channel_axis
        return None if axis is None else (port, axis - 1)

    def _without_cin(self, node: Node, text: str) -> list[str]:
        """Put the texts of the input's channels in the place of `cin`."""
        if "cin" not in text:
            return [text]
        assert node.op is not None
        axes = [found for name in node.op.op.inferred if (found := self._inferred_axis(node, name))]
        if axes:
            port, index = axes[0]
        else:
            port = next(iter(self._graph.ports(node.name)))
            index = (self._shapes.merged[node.name, port].channel_axis or 1) - 1
        return [substitute(text, {"cin": size}) for size in self._merged[node.name, port][index]]

    # --- one call -----------------------------------------------------------------------------

    def give(self, column: Column, ref: Ref, candidates: Texts) -> None:
        """Note the sizes of what a call gives, where they are right.

        Args:
            column: The calls.
            ref: The value, as the first of them calls it.
            candidates: Texts to try.
        """
        position = _outputs(column.first).index(ref)
        shapes = [self._shapes.element(*_outputs(part)[position]).shape for part in column.parts]
        self.of[ref] = tuple(
            self.pick(column, candidates[i] if i < len(candidates) else (), sizes)
            for i, sizes in enumerate(zip(*shapes, strict=True))
        )


def _flattened(before: Texts, start: int, rank: int) -> list[tuple[str, ...]]:
    """Return the texts after the axes from `start` on became one."""
    kept = before[: start - 1] if start > 0 else ()
    if len(kept) != rank - 1 or not all(before[len(kept) :]):
        return [()] * rank
    factors = [texts[0] for texts in before[len(kept) :] if texts[0] != "1"]
    product = " * ".join(python.bracket(text, python.PRODUCT) for text in factors) or "1"
    return [*kept, (product,)]


def _node(column: Column) -> Node:
    assert isinstance(column.first, Layer)
    return column.first.node


def _outputs(part: Part) -> list[Ref]:
    return part.outputs if isinstance(part, Unit) else [(part.path, 0)]


def _differing(layers: Sequence[Layer]) -> list[Layer]:
    """Return the first layer, and the first of each other spelling."""
    found: dict[Any, Layer] = {}
    for layer in layers:
        assert layer.node.op is not None
        found.setdefault(layer.node.op.expressions, layer)
    return list(found.values())


def _sum(texts: Sequence[str]) -> str:
    """Return a sum with equal terms collected: `24 + 4 * k`."""
    constant = sum(int(text) for text in texts if text.isdigit())
    counts = Counter(text for text in texts if not text.isdigit())
    terms = [str(constant)] if constant else []
    for text, count in counts.items():
        if count == 1:
            terms.append(text)
            continue
        tree = ast.parse(text, mode="eval").body
        match tree:
            case ast.BinOp(left=ast.Constant(value=int(factor)), op=ast.Mult(), right=right):
                rest = python.bracket(python.unparse(right), python.UNARY)
                terms.append(f"{count * factor} * {rest}")
            case _:
                terms.append(f"{count} * {python.bracket(text, python.PRODUCT)}")
    return " + ".join(terms) or "0"
