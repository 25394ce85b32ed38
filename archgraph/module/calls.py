"""Calls of one class in another: what they pass, and what is known of what they give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archgraph.module import text as python
from archgraph.module.columns import Column, Found
from archgraph.module.expressions import names_in, substitute
from archgraph.module.sizes import Texts
from archgraph.module.units import Unit

if TYPE_CHECKING:
    from archgraph.module.constructor import Constructor

__all__ = ["InnerCalls"]


class InnerCalls:
    """Writes the calls of inner classes in one constructor."""

    def __init__(self, writer: Constructor) -> None:
        self._writer, self._numbers = writer, writer.numbers
        self.extra: dict[str, list[str]] = {}
        """By unit: arguments of its call in `forward` that are no tensors."""
        self.asked: dict[str, set[tuple[int, str]]] = {}
        """By size of the class itself: what callers give, with the identity of their plan."""

    def write(self, column: Column, part: Unit) -> str:
        """Return the text that makes an instance of a class: `Bottleneck(256, 64)`."""
        child = self._writer.network.constructor(part)
        texts = [self._passed(column, child, name) for name in child.signature.positional()]
        by_position = True
        for name, default in child.signature.keywords().items():
            text = self._passed(column, child, name)
            # `Projection(in_channels, c, stride)` needs no name for what is called the same.
            by_position &= text == name and child.numbers.given[name].source == "own"
            if by_position:
                texts.append(text)
            elif text != default:
                texts.append(f"{name}={text}")
        self.extra[part.path] = [
            self._writer.used.text(
                column,
                *self._asked(column, child, name),
                name,
                self._origins(column, child, name),
                as_float=only,
            )
            for name, only in child.used.arguments.items()
        ]
        self._give(column, child)
        return python.call(self._writer.network.class_names[id(child.plan)], texts)

    def _passed(self, column: Column, child: Constructor, name: str) -> str:
        values, candidates = self._asked(column, child, name)
        as_float = child.signature.annotation(name) == "float"
        origins = self._origins(column, child, name)
        text = self._numbers.solve(column, values, candidates, name, origins, as_float=as_float)
        if name in child.size_of:
            child.calls.asked.setdefault(name, set()).add((id(self._writer.plan), text))
        return text

    def _origins(self, column: Column, child: Constructor, name: str) -> Found:
        return column.origins(lambda part: child.numbers.origins(part, name))

    def _asked(self, column: Column, child: Constructor, name: str) -> tuple[list[Any], list[str]]:
        """Return the values of a name of an inner class, and texts that may spell them here."""
        units = [part for part in column.parts if isinstance(part, Unit)]
        values = [child.numbers.known[unit][name] for unit in units]
        given = child.numbers.given[name]
        match given.source:
            case "size":
                k, axis = child.size_of[name]
                texts = self._writer.sizes.of.get(list(units[0].inputs)[k], ())
                known = list(texts[axis]) if axis < len(texts) else []
                # An input may be as wide as the block makes its output.
                return values, known + [text for _, text in units[0].instance.texts]
            case "own" | "local":
                found = [_spelt(unit, name) for unit in units]
                return values, [text for text in dict.fromkeys(found) if text]
            case "outer":
                return values, [name]
        return values, [given.texts[unit] for unit in units if unit in given.texts]

    def _give(self, column: Column, child: Constructor) -> None:
        """Carry sizes through a call: what the inner class says of them, in the names of this."""
        assert isinstance(column.first, Unit)
        for ref, texts in zip(column.first.outputs, child.outputs, strict=True):
            found: Texts = tuple(
                tuple(t for text in axis if (t := self._translated(column, child, text)))
                for axis in texts
            )
            self._writer.sizes.give(column, ref, found)

    def _translated(self, column: Column, child: Constructor, text: str) -> str | None:
        names: dict[str, str] = {}
        for name in names_in(text):
            values, candidates = self._asked(column, child, name)
            spelt = self._numbers.spell(column, values, candidates)
            if spelt is None:
                return None
            names[name] = spelt
        return substitute(text, names)


def _spelt(unit: Unit, name: str) -> str | None:
    """Return the text of a block's param where the block is called: as given, else its default."""
    given = dict(unit.instance.texts)
    if name in given:
        return given[name]
    default = dict(unit.instance.defaults).get(name)
    own = [other for other, _ in unit.instance.params if other != name]
    if default is None or not names_in(default):
        return None
    texts = {other: _spelt(unit, other) for other in own if other in names_in(default)}
    known = {other: text for other, text in texts.items() if text is not None}
    return substitute(default, known) if len(known) == len(texts) else None
