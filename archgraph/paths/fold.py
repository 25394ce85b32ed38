"""A path in few words: the units of a network by name, and those that it skips in brackets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Final

from archgraph.graph import LOSS, Edge
from archgraph.paths.enumerate import Path
from archgraph.paths.stage import Place, place_of
from archgraph.paths.view import View

__all__ = ["MAX_NODES", "Folding"]

MAX_NODES: Final = 24
"""Paths of no more nodes are written out."""
MAX_OWN: Final = 3
"""Most nodes that are named to tell apart paths that look alike."""


@dataclass(frozen=True, slots=True)
class _Visit:
    """What a path does in one unit, or a layer outside of any."""

    repeat: str | None
    unit: str
    copy: int
    skipped: bool
    parts: tuple[str, ...]
    """The branches taken, where these are some, but not all that there are."""

    def follows(self, other: _Visit) -> bool:
        """Whether it does the same in the next copy of the same repeat."""
        alike = (self.repeat, self.skipped, self.parts) == (
            other.repeat,
            other.skipped,
            other.parts,
        )
        return alike and self.repeat is not None and self.copy == other.copy + 1


class Folding:
    """Writes the paths of one view, units that a path passes alike as one range.

    `layer1.0…2 → (layer1.3) → h.4[attn]`: all branches of three units, then none of one, then of
    another only the branch called `attn`.
    """

    def __init__(self, seen: View) -> None:
        self._view = seen

    def texts(self, paths: Sequence[Path]) -> list[str]:
        """Return paths of this view, the short ones written out.

        Where several would look alike, it is added by which nodes, or which of parallel edges, they
        differ.
        """
        texts = [self._text(path) for path in paths]
        alike: dict[str, list[Path]] = {}
        for path, text in zip(paths, texts, strict=True):
            alike.setdefault(text, []).append(path)
        shared = {
            text: frozenset.intersection(*(frozenset(_passed(path)) for path in group))
            for text, group in alike.items()
        }
        own = [
            [name for name in _passed(path) if name not in shared[text]]
            for path, text in zip(paths, texts, strict=True)
        ]
        return [
            f"{text}, by {', '.join(names[:MAX_OWN])}{', …' * (len(names) > MAX_OWN)}"
            if names
            else text
            for text, names in zip(texts, own, strict=True)
        ]

    def _text(self, path: Path) -> str:
        if len(path.nodes) <= MAX_NODES:
            return str(path)
        units = groupby(path.edge_indices, key=self._unit)
        visits = [visit for _, hops in units if (visit := self._visit(list(hops)))]
        runs: list[list[_Visit]] = []
        for visit in visits:
            if runs and visit.follows(runs[-1][-1]):
                runs[-1].append(visit)
            else:
                runs.append([visit])
        return " → ".join([path.nodes[0], *map(_write, runs)])

    def _unit(self, hop: int) -> str:
        place = self._places[hop]
        return self._edge(hop).target if place is None else place.unit

    def _edge(self, hop: int) -> Edge:
        return self._view.base.hops[self._view.hops[hop].last]

    @cached_property
    def _places(self) -> dict[int, Place | None]:
        """Where each hop ends; None for the loss, and for layers that are in no block."""
        return {hop.index: self._place(hop.index) for hop in self._view.hops}

    def _place(self, hop: int) -> Place | None:
        edge = self._edge(hop)
        place = None if edge.target == LOSS else place_of(self._view.graph, edge)
        return None if place is None or place.stage[0] == "name" else place

    @cached_property
    def _parts(self) -> dict[str, set[str]]:
        """The branches of each unit."""
        parts: dict[str, set[str]] = {}
        for hop, place in self._places.items():
            if place is not None and self._view.arrays.hops[hop].role == "branch":
                parts.setdefault(place.unit, set()).add(place.part)
        return parts

    @cached_property
    def _copies(self) -> dict[str, int]:
        """The number of each copy of a repeat."""
        repeats = (i for i in self._view.graph.instances.values() if i.kind == "repeat")
        return {
            f"{repeat.path}.{member.name}": i
            for repeat in repeats
            for i, member in enumerate(repeat.members)
        }

    def _visit(self, hops: list[int]) -> _Visit | None:
        """Return what some hops do in their unit; None behind the copies of a repeat."""
        place, unit = self._places[hops[0]], self._unit(hops[0])
        repeat = place.scope if place is not None and place.stage[0] == "repeat" else None
        if repeat is not None and unit not in self._copies:
            return None
        taken: set[str] = set()
        skipped = False
        for hop in hops:
            role = self._view.arrays.hops[hop].role
            if role == "branch" and (end := self._places[hop]) is not None:
                taken.add(end.part)
            # What is read past others, and then goes through the unit, does not skip it.
            skipped = role == "skip" or (skipped and not self._view.arrays.weights[hop])
        every = self._parts.get(unit, set())
        some = tuple(sorted(taken)) if taken < every else ()
        return _Visit(repeat, unit, self._copies.get(unit, 0), skipped and not taken, some)


def _passed(path: Path) -> list[str]:
    """Return the names of a path's nodes, and of its edges that have others beside them."""
    return [*path.nodes, *(edge.id for edge in path.edges if "#" in edge.id)]


def _write(run: list[_Visit]) -> str:
    first, last = run[0], run[-1]
    text = first.unit if first is last else f"{first.unit}…{last.unit.rpartition('.')[2]}"
    text += f"[{', '.join(first.parts)}]" if first.parts else ""
    return f"({text})" if first.skipped else text
