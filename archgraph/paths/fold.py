"""A path in few words: the units of a network by name, and those that it skips in brackets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from archgraph.graph import LOSS, Edge
from archgraph.paths.enumerate import Path
from archgraph.paths.stage import Place, place_of
from archgraph.paths.view import View

__all__ = ["MAX_NODES", "Folding"]

MAX_NODES = 24
"""Paths of no more nodes are written out."""


@dataclass(frozen=True, slots=True)
class _Visit:
    """What a path does in one unit, or a layer outside of any."""

    repeat: str | None
    unit: str
    skipped: bool
    parts: tuple[str, ...]
    """The branches taken, where these are not all that there are."""


class Folding:
    """Writes the paths of one view, units that a path passes alike as one range.

    `layer1.0…2 → (layer1.3) → h.4[attn]`: all branches of three units, then none of one, then of
    another only the branch called `attn`.
    """

    def __init__(self, seen: View) -> None:
        self._view = seen

    def text(self, path: Path) -> str:
        """Return a path of this view, written out if it is short."""
        if len(path.nodes) <= MAX_NODES:
            return str(path)
        units = groupby(path.edge_indices, key=self._unit)
        visits = [self._visit(list(hops)) for _, hops in units]
        runs = groupby(visits, key=lambda v: (v.repeat or v.unit, v.skipped, v.parts))
        return " → ".join([path.nodes[0], *(_write(list(run)) for _, run in runs)])

    def _place(self, hop: int) -> Place | None:
        """Return where a hop ends; None for the loss, and for layers that are in no block."""
        edge = self._edge(hop)
        if edge.target == LOSS:
            return None
        place = place_of(self._view.graph, edge)
        return place if place.stage[0] != "name" else None

    def _edge(self, hop: int) -> Edge:
        return self._view.base.hops[self._view.hops[hop].last]

    def _unit(self, hop: int) -> str:
        place = self._places[hop]
        return self._edge(hop).target if place is None else place.unit

    @cached_property
    def _places(self) -> dict[int, Place | None]:
        return {hop.index: self._place(hop.index) for hop in self._view.hops}

    @cached_property
    def _parts(self) -> dict[str, set[str]]:
        """The branches of each unit."""
        parts: dict[str, set[str]] = {}
        for hop, place in self._places.items():
            if place is not None and self._view.arrays.hops[hop].role == "branch":
                parts.setdefault(place.unit, set()).add(place.part)
        return parts

    def _visit(self, hops: list[int]) -> _Visit:
        place, unit = self._places[hops[0]], self._unit(hops[0])
        repeat = place.scope if place is not None and place.stage[0] == "repeat" else None
        roles = {hop: self._view.arrays.hops[hop].role for hop in hops}
        taken = {
            place.part
            for hop, role in roles.items()
            if role == "branch" and (place := self._places[hop]) is not None
        }
        every = self._parts.get(unit, set())
        skipped = not taken and bool(every) and "skip" in roles.values()
        return _Visit(
            repeat, unit, skipped, tuple(sorted(taken)) if 0 < len(taken) < len(every) else ()
        )


def _write(run: list[_Visit]) -> str:
    first, last = run[0], run[-1]
    text = first.unit if first.unit == last.unit else f"{first.unit}…{last.unit.rpartition('.')[2]}"
    text += f"[{', '.join(first.parts)}]" if first.parts else ""
    return f"({text})" if first.skipped else text
