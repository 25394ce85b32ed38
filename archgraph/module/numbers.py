"""The numbers of a class, and the texts that are right in every one of its instances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal

from archgraph.module import text as python
from archgraph.module.classes import Plan
from archgraph.module.columns import Column, Found
from archgraph.module.dependence import Copy, Names, Own
from archgraph.module.expressions import names_in, substitute
from archgraph.module.fitting import fit_line, fits
from archgraph.module.units import Part, Unit
from archgraph.ops import Op

if TYPE_CHECKING:
    from archgraph.module.network import Network

__all__ = ["Given", "Numbers", "UnsolvedError", "plain_value"]


_LONG: Final = 60
"""Longest text of a param that a constructor computes from others."""


class UnsolvedError(Exception):
    """No text has the value that a number has in every copy of a repeat."""


@dataclass
class Given:
    """An argument of a class's constructor."""

    name: str
    source: Literal["size", "own", "outer", "extra", "local"]
    """A size that the class reads off its input, a param of the block, a name from around it (a
    param of the spec), a number that nothing explains, or a param that follows others."""
    texts: dict[Unit, str] = field(default_factory=dict)
    """Of an extra: how the spec spells it where the class is called."""
    origins: dict[Unit, Names] = field(default_factory=dict)
    """Of a size and an extra: what it depends on."""


class Numbers:
    """The names of one class, what each is in each instance, and which are used."""

    def __init__(self, plan: Plan, network: Network, reserved: Iterable[str]) -> None:
        self.plan, self._network = plan, network
        self.given: dict[str, Given] = {}
        """What a text may name, used or not."""
        self.contexts: dict[str, bool] = {}
        """By name that is used: whether only where a float is taken."""
        self._reserved = set(reserved)
        self._identities = {n: self._identity(n) for n in plan.full.numbers if n != "i"}
        self._literals = {n: self._literal(n) for n in self._identities if self._is_frozen(n)}
        self.known: dict[Unit, dict[str, Any]] = {
            unit: {n: v for n, v in unit.numbers.items() if n not in self._literals}
            for unit in plan.units
        }
        own = [name for name, _ in plan.full.instance.params]
        names = [name for name in plan.full.numbers if name not in self._literals]
        for name in names:
            if name not in own:
                self.given[name] = Given(name, "outer")
        self.given |= {name: Given(name, "own") for name in own if name in names}
        self.locals = dict(
            self._read_locals() if plan.full.parent is None else self._read_defaults()
        )
        """Params that follow others, each with its text."""

    def _identity(self, name: str) -> str | Own:
        """Return which param a name is: the spec's, or that of a block around the class."""
        unit: Unit | None = self.plan.full
        while unit is not None:
            if name in dict(unit.instance.params):
                return Own(self._network.home(unit.path), name)
            unit = unit.parent
        return name

    def _is_frozen(self, name: str) -> bool:
        values = [unit.numbers[name] for unit in self.plan.units]
        same = all(_same(value, values[0]) for value in values)
        return same and self._identities[name] in self._network.frozen

    def _read_locals(self) -> Iterator[tuple[str, str]]:
        unit = self.plan.full
        for name, spelt in unit.instance.texts:
            if name not in self.given:
                continue
            known = self.known[unit]
            text = fits(substitute(spelt, self._literals), [known[name]], [known])
            # A fraction may be whole where it is used; a table is no line of code.
            fraction = text is not None and "//" in text and "//" not in spelt
            if text is None or fraction or isinstance(known[name], tuple) or len(text) > _LONG:
                names = self._network.origins.of_text(unit.path, spelt)
                self._network.lost |= self._without_copies(names)
            elif names_in(text):
                self.given[name] = Given(name, "local")
                yield name, text

    def _read_defaults(self) -> Iterator[tuple[str, str]]:
        """Yield the block's params that no call gives, and that its other params say."""
        units = self.plan.units
        for name, spelt in self.plan.full.instance.defaults:
            given = any(name in dict(unit.instance.texts) for unit in units)
            if given or name not in self.given or spelt.isidentifier() or len(spelt) > _LONG:
                continue
            known = [self.known[unit] for unit in units]
            values = [row[name] for row in known]
            text = fits(substitute(spelt, self._literals), values, known)
            if text is not None and names_in(text):
                self.given[name] = Given(name, "local")
                yield name, text

    def _literal(self, name: str) -> str:
        return python.literal(self.plan.full.numbers[name])

    def column(self, parts: Mapping[Unit, Part]) -> Column:
        """Return a column of one part for each unit that has it."""
        units = list(parts)
        return Column(list(parts.values()), [self.known[u] for u in units], units)

    def text(self, column: Column, spelt: str) -> str:
        """Return a spec's text without what has no name here: `i`, params that no class takes."""
        turn = {"i": str(column.turn)} if isinstance(column.turn, int) else {}
        return substitute(spelt, {**self._literals, **turn})

    def add(
        self, name: str, source: Literal["size", "own", "extra"], values: Mapping[Unit, Any]
    ) -> str:
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
        return source != "size" and self.given[name].source == source and same

    def use(self, text: str, *, as_float: bool = False) -> str:
        """Note which names a text uses, and return it."""
        for name in names_in(text):
            if name in self.given:
                self.contexts[name] = self.contexts.get(name, True) and as_float
        return text

    def trying(self, attempt: Callable[[], Any]) -> Any:
        """Return what an attempt returns; one that fails leaves no trace and gives None."""
        before, lost = dict(self.contexts), set(self._network.lost)
        try:
            return attempt()
        except UnsolvedError:
            self.contexts, self._network.lost = before, lost
            return None

    def solve(
        self,
        column: Column,
        values: Sequence[Any],
        candidates: Iterable[str | None],
        name: str,
        origins: Found,
        *,
        as_float: bool = False,
    ) -> str:
        """Return a text that has the right value for every part of a column.

        What it depends on and the text does not, or the other way round, is noted as lost.

        Args:
            column: The parts.
            values: One for each.
            candidates: Texts to try, best first.
            name: What the number is called if it has to be an argument of its own.
            origins: What the number depends on, with the unit that it is in, once or more often.
            as_float: Whether what uses it takes a float.

        Raises:
            UnsolvedError: it differs between the copies of a repeat, and nothing says how.
        """
        values = [plain_value(value, as_float=as_float) for value in values]
        spelt = [self.text(column, text) for text in dict.fromkeys(candidates) if text]
        found = self._spelt(column, values, spelt, origins)
        if found is not None:
            text, lost = found
            self._network.lost |= lost
            return self.use(text, as_float=as_float)
        by_unit: dict[Unit, list[Any]] = {}
        for unit, value in zip(column.units, values, strict=True):
            by_unit.setdefault(unit, []).append(value)
        everything = frozenset[str | Own | Copy]().union(*(names for _, names in origins))
        if column.forced and column.turn == "i":
            tuples = {unit: tuple(found) for unit, found in by_unit.items()}
            self._network.lost |= self._without_copies(everything)
            return self.use(f"{self.add(f'{name}s', 'extra', tuples)}[i]", as_float=as_float)
        if column.turn == "i" or any(len(found) > 1 for found in by_unit.values()):
            raise UnsolvedError(name)
        first = {unit: found[0] for unit, found in by_unit.items()}
        chosen = self._extra(first, spelt, name, origins)
        return self.use(chosen, as_float=as_float)

    def spell(
        self, column: Column, values: Sequence[Any], candidates: Iterable[str | None]
    ) -> str | None:
        """Return a text as `solve` does, without using it; None if it were one of its own."""
        values = [plain_value(value, as_float=False) for value in values]
        spelt = [self.text(column, text) for text in dict.fromkeys(candidates) if text]
        found = self._spelt(column, values, spelt, ())
        return None if found is None else found[0]

    def _extra(
        self,
        values: Mapping[Unit, Any],
        spelt: Sequence[str],
        name: str,
        origins: Found,
    ) -> str:
        own = self._op_param(name, values)
        chosen = self.add(own or name, "extra" if own is None else "own", values)
        for unit, value in values.items():
            known = self.given[chosen].origins
            found = (names for other, names in origins if other is unit)
            known[unit] = known.get(unit, frozenset[str | Own | Copy]()).union(*found)
            # What the class cannot say, its caller may: the texts of a group or a repeat are those
            # of the scope around it.
            text = next((t for t in spelt if fits(t, [value], [unit.numbers])), None)
            if text is not None and unit.instance.kind != "block":
                self.given[chosen].texts[unit] = text
        return chosen

    def _op_param(self, name: str, values: Mapping[Unit, Any]) -> str | None:
        """Return the param of the block that is this class of layers in all units, if there is one.

        One that is called `name` is first.
        """
        for own, _ in sorted(self.plan.full.instance.params, key=lambda param: param[0] != name):
            ops = {unit: dict(unit.instance.params).get(own) for unit in values}
            if all(
                isinstance(value, python.Code)
                and isinstance(op := ops[unit], Op)
                and op.name == value.rpartition(".")[2]
                for unit, value in values.items()
            ):
                return own
        return None

    def _spelt(
        self,
        column: Column,
        values: Sequence[Any],
        candidates: Sequence[str],
        origins: Found,
    ) -> tuple[str, set[str | Own]] | None:
        """Return the text that follows best, and the params that it does not follow."""
        constant = all(_same(value, values[0]) for value in values)
        # The same in all copies, or in the only one there is here and in all further ones.
        one = constant and (len(values) > 1 or self._is_settled(column, values, candidates))
        best: tuple[str, set[str | Own]] | None = None
        for text in candidates:
            found = fits(text, values, column.numbers)
            names = () if found is None else names_in(found)
            if found is None or not names or (one and "i" in names):
                continue
            lost = self._lost(column, found, origins)
            if best is None or len(lost) < len(best[1]):
                best = found, lost
            if not lost:
                return best
        if constant:
            text = python.literal(values[0])
            lost = self._lost(column, text, origins, self._is_settled(column, values, candidates))
            return best if best is not None and len(best[1]) <= len(lost) else (text, lost)
        if best is None and (line := fit_line(values, column.numbers)) is not None:
            everything = frozenset[str | Own | Copy]().union(*(names for _, names in origins))
            return line, self._without_copies(everything)
        return best

    # --- what a text depends on -------------------------------------------------------------------

    def _lost(
        self,
        column: Column,
        text: str,
        origins: Found,
        settled: bool = False,
    ) -> set[str | Own]:
        """Return the params that a number depends on and its text does not, or otherwise."""
        lost: set[str | Own] = set()
        if "i" in names_in(text):  # what the copies depend on is one function of `i`
            origins = _together(origins)
        for unit, wanted in origins:
            copies = {origin for origin in wanted if isinstance(origin, Copy)}
            found = frozenset[str | Own | Copy]().union(
                *(copies if n == "i" else self.origins(unit, n) for n in names_in(text))
            )
            counts = self._without_copies(copies)
            lost |= self._without_copies((wanted ^ found) - counts, counts=False)
            if not settled and not isinstance(column.turn, int):
                lost |= self._without_copies(copies - found) - found
        return lost

    def lose(self, origins: Found) -> None:
        """Note that something in the class does not follow what it depends on."""
        for _, names in origins:
            self._network.lost |= self._without_copies(names)

    def origins(self, unit: Unit, name: str) -> Names:
        """Return what a name of the class depends on in one of its instances."""
        given = self.given.get(name)
        if given is not None and given.source in ("size", "extra"):
            return given.origins.get(unit, frozenset())
        return self._network.origins.scope(unit.path).get(name, frozenset())

    def _without_copies(
        self, names: Iterable[str | Own | Copy], *, counts: bool = True
    ) -> set[Any]:
        """Return the params among names that matter here; for a copy, those of how many."""
        here = {*self._identities.values()}
        found: set[str | Own] = set()
        for name in names:
            if isinstance(name, Copy):
                count = self._network.origins.of_count(name.path) if counts else ()
                found |= self._without_copies(count)
            elif isinstance(name, str) or name in here:
                found.add(name)
        return found - self._network.frozen

    def _is_settled(self, column: Column, values: Sequence[Any], candidates: Sequence[str]) -> bool:
        """Whether a number that all copies have would be that of further copies too."""
        if column.turn != "i":
            return False
        last = max(known["i"] for known in column.numbers)
        further = [{**column.numbers[0], "i": i} for i in (*range(last, last + 4), 2 * last + 5)]
        same = [values[0]] * len(further)
        return any("i" in names_in(t) and fits(t, same, further) for t in candidates)


def _together(origins: Found) -> Found:
    found: dict[Unit, Names] = {}
    for unit, names in origins:
        found[unit] = found.get(unit, frozenset()) | names
    return list(found.items())


def plain_value(value: Any, *, as_float: bool = False) -> Any:
    """Return a number of a spec as Python code has it."""
    if isinstance(value, Fraction):
        value = value.numerator if value.denominator == 1 else float(value)
    if isinstance(value, list):
        value = tuple(value)
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if as_float and is_int else value


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and bool(value == other)
