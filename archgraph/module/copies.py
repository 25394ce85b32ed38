"""The copies of a repeat in a constructor: one text for those that are alike."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from archgraph.module import text as python
from archgraph.module.classes import names_pattern
from archgraph.module.columns import Column
from archgraph.module.containers import Element
from archgraph.module.expressions import names_in, substitute
from archgraph.module.loops import Loop
from archgraph.module.sizes import Texts
from archgraph.module.units import Layer, Part, Ref, Unit, relative

if TYPE_CHECKING:
    from archgraph.module.constructor import Constructor

__all__ = ["Copies"]


class Copies:
    """Writes the copies of one repeat, in every instance of the class around it."""

    def __init__(
        self, writer: Constructor, column: Column, rows: Sequence[Sequence[Part]], loop: Loop | None
    ) -> None:
        self._writer, self._column, self._rows, self._loop = writer, column, rows, loop
        self._counts = [len(copies) for copies in rows]
        self._uneven = len(set(self._counts)) > 1

    @classmethod
    def of_repeat(cls, writer: Constructor, column: Column) -> Copies:
        """Return the copies of a repeat."""
        repeats = [part for part in column.parts if isinstance(part, Unit)]
        rows = [u.parts if u.loop is None else u.loop.copies for u in repeats]
        return cls(writer, column, rows, repeats[0].loop)

    @classmethod
    def of_parts(cls, writer: Constructor, columns: Sequence[Column]) -> Copies:
        """Return the copies that are parts of a class themselves, since no loop runs them."""
        units = columns[0].units
        whole = Column(list(units), columns[0].numbers, units)
        return cls(writer, whole, [[c.parts[r] for c in columns] for r in range(len(units))], None)

    def write(self) -> list[Element]:
        """Return the texts, in order, and carry sizes to what is read of the repeat."""
        elements = self._alike() or self._one_by_one()
        if isinstance(self._column.first, Unit) and self._column.first.instance.kind == "repeat":
            self._give()
        return elements

    def write_shared(self) -> str:
        """Return the text of the one module that all copies are."""
        text = self._text(self._from(range(max(self._counts)), forced=True))
        repeat = self._column.first
        assert isinstance(repeat, Unit)
        for ref in repeat.outputs:
            given = self._writer.sizes.of.get(_given(self._rows[0][0]), ())
            self._writer.sizes.give(self._column, ref, given)
        return text

    def _alike(self) -> list[Element] | None:
        """Return one text for all copies, or that of the first and one for the rest."""
        names = tuple(part.module.rpartition(".")[2] for part in self._rows[0])
        if not names_pattern(names) or max(self._counts) < 2:
            return None
        network = self._writer.network
        before = set(network.lost)
        whole = self._run(0)
        if whole is not None and "if i == 0" not in whole.text and network.lost == before:
            return [whole]
        with_whole = network.lost
        least, spelt = min(self._counts), names_in(self._spelt_count())
        if whole is not None and with_whole > before and least == 2 and not spelt:
            network.lost = before
            return None
        if least > 2 or (least == 2 and spelt):
            network.lost = before
            first = self._writer.numbers.trying(lambda: self._copy(0))
            rest = self._run(1)
            better = whole is None or len(network.lost) < len(with_whole)
            if whole is not None and "if i == 0" in whole.text:
                better = len(network.lost) <= len(with_whole)
            if first is not None and rest is not None and better:
                return [Element(first), rest]
            network.lost = with_whole
        if whole is None and self._uneven:
            whole = self._run(0, forced=True)
        return None if whole is None else [whole]

    def _run(self, start: int, *, forced: bool = False) -> Element | None:
        """Return one text for the copies from `start` on, if there is one."""
        if len({self._kind(part) for copies in self._rows for part in copies[start:]}) != 1:
            return None
        found: Element | None = self._writer.numbers.trying(lambda: self._try(start, forced=forced))
        if found is not None:
            self._writer.network.followed.update(u.path for u in self._repeats)
        return found

    def _kind(self, part: Part) -> Hashable:
        if isinstance(part, Layer):
            assert part.node.op is not None
            arguments = tuple(self._writer.shapes.arguments[part.path])
            return part.node.op.name, id(part.node.op.op.function), arguments
        if part.form == "class":
            return id(self._writer.network.plan_of[part])
        inner = tuple((relative(p.path, part.path), self._kind(p)) for p in part.parts)
        return part.form, inner

    def _try(self, start: int, *, forced: bool) -> Element:
        """Return the text, after a look at what the first copy reads and gives."""
        self._visit_merges(start)
        sizes = self._writer.sizes.of
        probe = self._from(range(start, start + 1), forced=forced)
        lost = set(self._writer.network.lost)
        self._text(probe)
        self._writer.network.lost = lost
        more = self._candidates(probe.first, start)
        before = {ref: sizes[ref] for ref in more if ref in sizes}
        sizes.update(more)
        try:
            text = self._text(self._from(range(start, max(self._counts)), forced=forced))
        finally:
            sizes.update(before)
        return Element(text, start, self._count())

    def _from(self, positions: Iterable[int], *, forced: bool = False) -> Column:
        column = self._column
        found = [
            (copies[i], {**known, "i": i}, unit)
            for copies, known, unit in zip(self._rows, column.numbers, column.units, strict=True)
            for i in positions
            if i < len(copies)
        ]
        parts, numbers, units = map(list, zip(*found, strict=True))
        return Column(parts, numbers, units, "i", forced)

    def _text(self, column: Column) -> str:
        text = self._writer.text(column)
        assert text is not None
        return text

    @property
    def _repeats(self) -> list[Unit]:
        parts = [part for part in self._column.parts if isinstance(part, Unit)]
        return [unit for unit in parts if unit.instance.kind == "repeat"]

    def _count(self) -> str:
        of_count = self._writer.network.origins.of_count
        repeats = self._repeats
        spelt = [unit.instance.count for unit in repeats]
        origins = self._column.origins(lambda u: of_count(u.path)) if repeats else ()
        return self._writer.numbers.solve(self._column, self._counts, spelt, "n", origins)

    def _spelt_count(self) -> str:
        """Return how many copies there are, without using the names."""
        spelt = [unit.instance.count for unit in self._repeats]
        found = self._writer.numbers.spell(self._column, self._counts, spelt)
        return str(self._counts[0]) if found is None else found

    # --- sizes ------------------------------------------------------------------------------------

    def _candidates(self, part: Part, start: int) -> dict[Ref, Texts]:
        """Return texts for the sizes that a copy reads, as functions of `i`."""
        sizes = self._writer.sizes.of
        given = sizes.get(_given(part), ())
        result: dict[Ref, Texts] = {}
        for k, ref in enumerate(self._reads(part)):
            texts = [list(found) for found in sizes.get(ref, ())]
            kind = "state" if self._loop is None else self._loop.inputs[k].kind
            if start and kind == "state":  # what the first copy gives is said for that one only
                texts = [[text for text in found if text.isdigit()] for found in texts]
            if len(given) == len(texts):
                for axis, found in enumerate(given):
                    texts[axis] += [substitute(text, {"i": "i - 1"}) for text in found]
            if self._loop is not None and self._loop.inputs[k].kind == "list":
                self._grow(texts, "i")
            result[ref] = tuple(tuple(dict.fromkeys(found)) for found in texts)
        return result

    def _reads(self, part: Part) -> list[Ref]:
        """Return the values that a copy reads, in the order of the loop's inputs."""
        if isinstance(part, Unit):
            return list(part.inputs)
        ports = self._writer.graph.ports(part.path).values()
        return [(edges[0].source, edges[0].element) for edges in ports]

    def _grow(self, texts: list[list[str]], count: str) -> None:
        """Add the size of the axis along which the loop's list is concatenated."""
        assert self._loop is not None
        dim = next((i.dim for i in self._loop.inputs if i.dim is not None), None)
        sizes = self._writer.sizes.of
        parts = [sizes.get(ref, ()) for ref in (*self._loop.start, _given(self._rows[0][0]))]
        if dim is None or not all(len(part) >= dim and part[dim - 1] for part in parts):
            return
        *starts, step = (part[dim - 1][0] for part in parts)
        step = python.bracket(step, python.UNARY)
        texts[dim - 1].insert(0, f"{' + '.join(starts)} + {count} * {step}")

    def _give(self) -> None:
        """Carry sizes to what is read of the repeat: what its last copy gives, or all together."""
        repeat = self._column.first
        assert isinstance(repeat, Unit)
        sizes = self._writer.sizes
        given = [_given(copy) for copy in self._rows[0]]
        inputs = () if self._loop is None else self._loop.inputs
        sources = [*given, *(ref for i in inputs if i.kind in ("state", "list") for ref in i.refs)]
        count = self._spelt_count()
        last = substitute("n - 1", {"n": count})
        for ref in repeat.outputs:
            texts: list[list[str]] = [[] for _ in self._writer.shapes.element(*ref).shape]
            turn = str(given.index(ref)) if ref in given[:-1] else last
            for source in sources:
                for axis, found in enumerate(sizes.of.get(source, ())[: len(texts)]):
                    texts[axis] += [substitute(text, {"i": turn}) for text in found]
            if inputs:
                self._grow(texts, count)
            unique: Texts = tuple(tuple(dict.fromkeys(found)) for found in texts)
            sizes.give(self._column, ref, unique)

    # --- one by one -------------------------------------------------------------------------------

    def _one_by_one(self) -> list[Element]:
        return [Element(self._copy(k)) for k in range(self._counts[0])]

    def _copy(self, k: int) -> str:
        self._visit_merges(k)
        parts = [copies[k] for copies in self._rows]
        column = self._column
        return self._text(Column(parts, column.numbers, column.units, k))

    def _visit_merges(self, k: int) -> None:
        """Carry sizes through the merges in front of a copy."""
        if self._loop is None:
            return
        column = self._column
        repeats = [part for part in column.parts if isinstance(part, Unit)]
        merges: Mapping[str, Layer] = {
            p.path: p for p in repeats[0].parts if isinstance(p, Layer) and p.manner == "merge"
        }
        for ref in self._reads(self._rows[0][k]):
            if ref[0] not in merges:
                continue
            place = repeats[0].parts.index(merges[ref[0]])
            parts = [unit.parts[place] for unit in repeats]
            self._writer.sizes.visit(Column(parts, column.numbers, column.units, k))


def _given(part: Part) -> Ref:
    return part.outputs[0] if isinstance(part, Unit) else (part.path, 0)
