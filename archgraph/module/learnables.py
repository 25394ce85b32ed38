"""Learnable λ: the parameters of a class that scale what its layers read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from archgraph.graph import Edge
from archgraph.module import text as python
from archgraph.module.columns import Column
from archgraph.module.containers import is_counted
from archgraph.module.units import Layer, joined, relative

if TYPE_CHECKING:
    from archgraph.module.constructor import Constructor

__all__ = ["Learnables"]


class Learnables:
    """Writes the parameters that scale edges in one constructor."""

    def __init__(self, writer: Constructor) -> None:
        self._writer = writer
        self._made: set[str] = set()

    def write(self, part: Layer) -> list[str]:
        """Return the statements that make what scales the inputs of a layer, where it is new."""
        writer = self._writer
        statements = []
        for position, edge in enumerate(writer.graph.edges_into(part.path)):
            learn = edge.scale.learn
            if learn is None or learn.name in self._made:
                continue
            group = self._listed(learn.name)
            self._made.update(group)
            path = relative(learn.name, writer.unit.module)
            if group != [learn.name] or path.endswith(".0"):
                path = path.rpartition(".")[0]
                writer.network.places[joined(writer.unit.module, path)] = "index"
                texts = [self._start(*self._first_use(name)) for name in group]
                value = f"nn.ParameterList([{', '.join(texts)}])"
            else:
                value = f"nn.Parameter({self._start(part, position)})"
            statements += writer.put(path, value)
        return statements

    def _uses(self) -> Iterator[tuple[str, Layer, int]]:
        """Yield (name, layer, which of its edges) of every learnable of the class."""
        for part in self._writer.unit.parts:
            if isinstance(part, Layer):
                for position, edge in enumerate(self._writer.graph.edges_into(part.path)):
                    if edge.scale.learn is not None:
                        yield edge.scale.learn.name, part, position

    def _listed(self, name: str) -> list[str]:
        """Return the parameters of the list that one is in, itself if it is in none."""
        parent, _, number = name.rpartition(".")
        if not number.isdigit() or not parent:
            return [name]
        names = dict.fromkeys(n for n, _, _ in self._uses() if n.rpartition(".")[0] == parent)
        return list(names) if is_counted([n.rpartition(".")[2] for n in names]) else [name]

    def _first_use(self, name: str) -> tuple[Layer, int]:
        return next((part, position) for n, part, position in self._uses() if n == name)

    def _start(self, part: Layer, position: int) -> str:
        """Return the tensor that a learnable starts as."""
        writer = self._writer
        column = writer.column(part)
        edges = [writer.graph.edges_into(p.path)[position] for p in column.parts]
        learn = edges[0].scale.learn
        assert learn is not None
        if learn.count is not None:
            return self._vector(column, learn.name, edges)
        start = self._number(column, edges, learn.name.rpartition(".")[2])
        if learn.per == "all":
            return f"torch.tensor({start})"
        sizes = self._channels(column, edges)
        if start in ("0.0", "1.0"):
            return python.call("torch.zeros" if start == "0.0" else "torch.ones", sizes)
        shape = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
        return f"torch.full({shape}, {start})"

    def _number(self, column: Column, edges: Sequence[Edge], name: str) -> str:
        values = [edge.scale.value for edge in edges]
        spelt = [edge.scale.text for edge in edges]
        of_scale = self._writer.network.origins.of_scale
        pairs = zip(column.units, edges, strict=True)
        origins = [(unit, of_scale(edge)) for unit, edge in pairs]
        return self._writer.numbers.solve(column, values, spelt, name, origins, as_float=True)

    def _vector(self, column: Column, name: str, edges: Sequence[Edge]) -> str:
        """Return the tensor of the starts of one parameter that scales several terms."""
        graph = self._writer.graph
        starts: list[str] = []
        for position, edge in enumerate(graph.edges_into(column.first.path)):
            if edge.scale.learn is not None and edge.scale.learn.name == name:
                same = [graph.edges_into(p.path)[position] for p in column.parts]
                starts.append(self._number(column, same, f"start{len(starts)}"))
        tensor = f"torch.tensor([{', '.join(starts)}])"
        learn = edges[0].scale.learn
        if learn is None or learn.per == "all":
            return tensor
        sizes = self._channels(column, edges)
        ones = ", ".join("1" for _ in sizes)
        return f"{tensor}.reshape(-1, {ones}).repeat(1, {', '.join(sizes)})"

    def _channels(self, column: Column, edges: Sequence[Edge]) -> list[str]:
        """Return the shape of a number per channel."""
        writer, edge = self._writer, edges[0]
        values = [writer.shapes.element(e.source, e.element) for e in edges]
        axis = values[0].channel_axis
        assert axis is not None
        texts = writer.sizes.of.get((edge.source, edge.element), ())
        candidates = texts[axis - 1] if texts else ()
        sizes = [value.channels for value in values]
        axis_of = writer.network.origins.axis
        pairs = zip(column.units, edges, strict=True)
        origins = [(unit, axis_of((e.source, e.element), axis - 1)) for unit, e in pairs]
        size = writer.numbers.solve(column, sizes, candidates, "channels", origins)
        return [size, *("1" for _ in values[0].shape[axis:])]
