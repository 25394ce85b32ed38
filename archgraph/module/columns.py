"""A part of a class in all its instances, or in each copy of a repeat of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from archgraph.module.dependence import Names
from archgraph.module.units import Part, Unit

__all__ = ["Column", "Found"]


Found: TypeAlias = Sequence[tuple[Unit, Names]]
"""What a number depends on in each place, with the instance of the class that it is in."""


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

    def origins(self, of: Callable[[Any], Names]) -> Found:
        """Return what a number of each part depends on, given that of one part."""
        pairs = zip(self.units, self.parts, strict=True)
        return list(dict.fromkeys((unit, of(part)) for unit, part in pairs))

    def inside(self, k: int) -> Column:
        """Return the column of part `k` of units."""
        parts = [part.parts[k] for part in self.parts if isinstance(part, Unit)]
        return Column(parts, self.numbers, self.units, self.turn, self.forced)
