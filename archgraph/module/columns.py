"""A part of a class in all its instances, and the texts that are right in every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from archgraph.module import text as python
from archgraph.module.classes import Plan
from archgraph.module.expressions import fit_line, fits, names_in, substitute
from archgraph.module.units import Part, Unit

__all__ = ["Column", "Given", "Numbers", "UnsolvedError"]


class UnsolvedError(Exception):
    """No text has the value that a number has in every copy of a repeat."""


@dataclass(frozen=True, eq=False)
class Column:
    """One part of a class in each of its instances, or in each copy of a repeat of each."""

    parts: list[Part]
    numbers: list[Mapping[str, Any]]
    """What names stand for, for each part."""
    units: list[Unit]
    """The instance of the class that each part is in."""
    turn: Literal["i"] | int | None = None
    """Whether texts may name `i`, or what stands for it."""
    forced: bool = False
    """Whether a number that differs between copies may be an argument with one for each."""

    @property
    def first(self) -> Part:
        """The part that stands for all."""
        return self.parts[0]

    def inside(self, k: int) -> Column:
        """Return the column of part `k` of units."""
        parts = [part.parts[k] for part in self.parts if isinstance(part, Unit)]
        return Column(parts, self.numbers, self.units, self.turn, self.forced)

    def text(self, spelt: str) -> str:
        """Return a spec's text, `i` replaced where it has no meaning."""
        return substitute(spelt, {"i": str(self.turn)}) if isinstance(self.turn, int) else spelt


@dataclass
class Given:
    """An argument of a class's constructor."""

    name: str
    source: Literal["size", "own", "outer", "extra"]
    """A size that the class reads off its input, a param of the block, a name from around it (a
    param of the spec), or a number that nothing explains."""
    texts: dict[Unit, str] = field(default_factory=dict)
    """Of an extra: how the spec spells it where the class is called."""


class Numbers:
    """The names of one class, what each is in each instance, and which are used."""

    def __init__(self, plan: Plan, reserved: Iterable[str]) -> None:
        self.plan = plan
        self.known: dict[Unit, dict[str, Any]] = {u: dict(u.numbers) for u in plan.units}
        self.given: dict[str, Given] = {}
        """What a text may name, used or not."""
        self.contexts: dict[str, bool] = {}
        """By name that is used: whether only where a float is taken."""
        self._reserved = set(reserved)
        own = [name for name, _ in plan.full.instance.params if name in plan.full.numbers]
        for name in plan.full.numbers:
            if name not in own:
                self.given[name] = Given(name, "outer")
        self.given |= {name: Given(name, "own") for name in own}

    def column(self, parts: Mapping[Unit, Part]) -> Column:
        """Return a column of one part for each unit that has it."""
        units = list(parts)
        return Column(list(parts.values()), [self.known[u] for u in units], units)

    def add(self, name: str, source: Literal["size", "extra"], values: Mapping[Unit, Any]) -> str:
        """Add a name, changed if it is taken, and return it."""
        chosen, number = name, 2
        while chosen in self._reserved or (
            chosen in self.given and not self._is_known(chosen, source, values)
        ):
            chosen, number = f"{name}{number}", number + 1
        for unit in self.plan.units:
            self.known[unit][chosen] = values.get(unit, next(iter(values.values())))
        self.given.setdefault(chosen, Given(chosen, source))
        return chosen

    def _is_known(self, name: str, source: str, values: Mapping[Unit, Any]) -> bool:
        same = all(self.known[unit].get(name) == value for unit, value in values.items())
        return source == "extra" and self.given[name].source == source and same

    def use(self, text: str, *, as_float: bool = False) -> str:
        """Note which names a text uses, and return it."""
        for name in names_in(text):
            if name in self.given:
                self.contexts[name] = self.contexts.get(name, True) and as_float
        return text

    def trying(self, attempt: Callable[[], Any]) -> Any:
        """Return what an attempt returns; one that fails leaves no trace and gives None."""
        before = dict(self.contexts)
        try:
            return attempt()
        except UnsolvedError:
            self.contexts = before
            return None

    def solve(
        self,
        column: Column,
        values: Sequence[Any],
        candidates: Iterable[str | None],
        name: str,
        *,
        as_float: bool = False,
    ) -> str:
        """Return a text that has the right value for every part of a column.

        Args:
            column: The parts.
            values: One for each.
            candidates: Texts to try, best first.
            name: What the number is called if it has to be an argument of its own.
            as_float: Whether what uses it takes a float.

        Raises:
            UnsolvedError: it differs between the copies of a repeat, and nothing says how.
        """
        values = [_plain(value, as_float=as_float) for value in values]
        spelt = [column.text(text) for text in dict.fromkeys(candidates) if text]
        found = _spelt(column, values, spelt)
        if found is not None:
            return self.use(found, as_float=as_float)
        by_unit: dict[Unit, list[Any]] = {}
        for unit, value in zip(column.units, values, strict=True):
            by_unit.setdefault(unit, []).append(value)
        if column.forced and column.turn == "i":
            tuples = {unit: tuple(found) for unit, found in by_unit.items()}
            return self.use(f"{self.add(f'{name}s', 'extra', tuples)}[i]", as_float=as_float)
        if column.turn == "i" or any(len(found) > 1 for found in by_unit.values()):
            raise UnsolvedError(name)
        chosen = self._extra({unit: found[0] for unit, found in by_unit.items()}, spelt, name)
        return self.use(chosen, as_float=as_float)

    def spell(
        self, column: Column, values: Sequence[Any], candidates: Iterable[str | None]
    ) -> str | None:
        """Return a text as `solve` does, without using it; None if it were one of its own."""
        values = [_plain(value, as_float=False) for value in values]
        return _spelt(column, values, [column.text(t) for t in dict.fromkeys(candidates) if t])

    def _extra(self, values: Mapping[Unit, Any], spelt: Sequence[str], name: str) -> str:
        chosen = self.add(name, "extra", values)
        for unit, value in values.items():
            # What the class cannot say, its caller may: the texts of a group or a repeat are those
            # of the scope around it.
            text = next((t for t in spelt if fits(t, [value], [unit.numbers])), None)
            if text is not None and unit.instance.kind != "block":
                self.given[chosen].texts[unit] = text
        return chosen


def _spelt(column: Column, values: Sequence[Any], candidates: Iterable[str]) -> str | None:
    constant = all(_same(value, values[0]) for value in values)
    for text in candidates:
        found = fits(text, values, column.numbers)
        names = () if found is None else names_in(found)
        varies = not constant or len(values) == 1 or "i" not in names
        if found is not None and names and varies:
            return found
    return python.literal(values[0]) if constant else fit_line(values, column.numbers)


def _plain(value: Any, *, as_float: bool) -> Any:
    if isinstance(value, Fraction):
        value = value.numerator if value.denominator == 1 else float(value)
    if isinstance(value, list):
        value = tuple(value)
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if as_float and is_int else value


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)
