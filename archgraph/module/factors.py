"""Numbers that `forward` uses: attributes that the constructor keeps, or arguments of the call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from archgraph.graph import Edge, Node
from archgraph.module import text as python
from archgraph.module.classes import free_arguments
from archgraph.module.columns import Column, Found
from archgraph.module.dependence import Names
from archgraph.module.expressions import elements, names_in, substitute
from archgraph.module.names import attribute
from archgraph.module.units import Layer, relative

if TYPE_CHECKING:
    from archgraph.module.constructor import Constructor

__all__ = ["Factors"]


class Factors:
    """The numbers that the `forward` of one class uses."""

    def __init__(self, writer: Constructor) -> None:
        self._writer, self._numbers = writer, writer.numbers
        self.arguments: dict[str, bool] = {}
        """Numbers that `forward` takes, each with whether only as a float."""
        self.kept: dict[str, None] = {}
        """Numbers that the constructor keeps."""
        self._scales: dict[str, str | None] = {}
        self._free: dict[tuple[str, str], Any] = {}

    def note(self, column: Column, part: Layer) -> None:
        """Find the texts of what one layer uses."""
        for position, edge in enumerate(self._writer.graph.edges_into(part.path)):
            if edge.kind != "loss":
                self._scales[edge.id] = self._scale(column, position)
        self._note_free(column, part)

    def scale(self, edge: Edge) -> str | None:
        """Return the text of an edge's λ in `forward`; None for a 1 that is no param."""
        return self._scales[edge.id]

    def free(self, node: Node) -> dict[str, Any]:
        """Return the arguments of a tensor expression as `forward` writes them."""
        found = dict(self._writer.shapes.arguments[node.name])
        found.update({k: v for (name, k), v in self._free.items() if name == node.name})
        return found

    def attribute(self, name: str) -> str:
        """Return the attribute that keeps a number."""
        unit = self._writer.unit
        held = {relative(p.module, unit.module).partition(".")[0] for p in unit.parts}
        return f"{name}_" if name in held else attribute(name)

    def text(
        self,
        column: Column,
        values: Sequence[Any],
        candidates: Iterable[str | None],
        name: str,
        origins: Found,
        *,
        as_float: bool = False,
    ) -> str:
        """Return a text that `forward` may use, for a number; see `Numbers.solve`."""
        before = dict(self._numbers.contexts)
        solve = self._numbers.solve
        text = solve(column, values, candidates, name, origins, as_float=as_float)
        names = {}
        for used in names_in(text):
            if used == "i" and column.turn == "i":
                continue
            if self._differs(used):
                self.arguments[used] = self.arguments.get(used, True) and as_float
                if used not in before:
                    self._numbers.contexts.pop(used, None)
                continue
            self.kept.setdefault(used)
            names[used] = f"self.{self.attribute(used)}"
        return substitute(text, names) if names else text

    def _differs(self, name: str) -> bool:
        """Whether a number differs between the calls of one module."""
        plan = self._writer.plan
        if not plan.shared:
            return False
        seen: dict[str, Any] = {}
        known = self._numbers.known
        return any(
            seen.setdefault(unit.module, known[unit][name]) != known[unit][name]
            for unit in plan.units
        )

    def _scale(self, column: Column, position: int) -> str | None:
        writer = self._writer
        scales = [writer.graph.edges_into(p.path)[position].scale for p in column.parts]
        learn = scales[0].learn
        if learn is not None:
            text = writer.parameter(learn.name)
            return text if learn.index is None else f"{text}[{learn.index}]"
        spelt = [scale.text for scale in scales]
        ones = all(scale.is_one for scale in scales)
        if ones and scales[0].text is None:
            return None
        values = [scale.value for scale in scales]
        edges = writer.graph.edges_into
        of_scale = writer.network.origins.of_scale
        origins = column.origins(lambda part: of_scale(edges(part.path)[position]))
        text = self.text(column, values, spelt, "scale", origins, as_float=True)
        return None if text == "1.0" and ones else text

    def _note_free(self, column: Column, part: Layer) -> None:
        """Find the texts of the arguments of a tensor expression that are no mere literals."""
        if part.manner != "expression":
            return
        nodes = [p.node for p in column.parts if isinstance(p, Layer)]
        arguments = self._writer.shapes.arguments
        for name in arguments[part.path]:
            values = [arguments[node.name].get(name) for node in nodes]
            spelt = [dict(n.op.expressions).get(name) for n in nodes if n.op is not None]
            same = all(value == values[0] for value in values)
            if None not in values and (any(spelt) or not same):
                self._note_argument(column, part, name, values, spelt)

    def _note_argument(
        self,
        column: Column,
        part: Layer,
        name: str,
        values: Sequence[Any],
        spelt: Sequence[str | None],
    ) -> None:
        def of_argument(layer: Layer) -> Names:
            return self._writer.network.origins.of_argument(layer.node, name)

        origins = column.origins(of_argument)
        if name not in free_arguments(part):
            self._numbers.lose(origins)
        elif isinstance(values[0], tuple):
            said = [elements(text, len(values[0])) for text in spelt]
            columns = zip(zip(*values, strict=True), zip(*said, strict=True), strict=True)
            texts = [
                self.text(column, list(sizes), list(candidates), f"size{k}", origins)
                for k, (sizes, candidates) in enumerate(columns)
            ]
            self._free[part.path, name] = tuple(map(python.Code, texts))
        else:
            text = self.text(column, values, spelt, name, origins)
            self._free[part.path, name] = python.Code(text)
