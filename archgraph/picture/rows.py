"""Break a strip that is too long for a page into rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from archgraph.picture.fold import fold_within, waists
from archgraph.picture.scene import Arc, Scene, Vertex
from archgraph.picture.style import shorten_name

__all__ = ["Strips", "break_rows", "fits_page", "fold_wide", "ranks"]

MAX_CROSSING = 4
"""At most so many values pass from one row to the next."""


@dataclass(frozen=True, slots=True)
class Strips:
    """A scene whose vertices are dealt out to rows; no arc runs from one row to another."""

    scene: Scene
    rows: tuple[tuple[str, ...], ...]
    """Keys of each row's vertices, in topological order."""


def ranks(scene: Scene) -> Mapping[str, int]:
    """Return the length of the longest way to each vertex; sources stand by their readers."""
    rank = {vertex.key: 0 for vertex in scene.vertices}
    into: dict[str, list[Arc]] = {}
    out: dict[str, list[Arc]] = {}
    for arc in scene.arcs:
        into.setdefault(arc.target, []).append(arc)
        out.setdefault(arc.source, []).append(arc)
    for vertex in scene.vertices:
        key = vertex.key
        rank[key] = max((rank[arc.source] + 1 for arc in into.get(key, ())), default=0)
    for vertex in scene.vertices:
        if vertex.key not in into and vertex.key in out:
            rank[vertex.key] = min(rank[arc.target] for arc in out[vertex.key]) - 1
    return rank


def break_rows(scene: Scene, width: float) -> Strips:
    """Deal the vertices out to rows of about `width` inches.

    A row ends where few values pass, best only one and outside of all frames. The next row begins
    with a dotted ghost of each, so that every line stays in one row; a value that is read again
    only there ends in a dotted ghost of its own row too. Lines into L get an L in each row.
    """
    breaks = _breaks(scene, width * 72)
    if not breaks:
        return Strips(scene, (tuple(vertex.key for vertex in scene.vertices),))
    return _Dealer(scene, breaks).deal()


class _Dealer:
    """Puts vertices in rows, and ghosts where a line would run from row to row."""

    def __init__(self, scene: Scene, breaks: list[int]) -> None:
        self._scene, self._breaks = scene, breaks
        self._position = scene.positions()
        self._row = [sum(place > cut for cut in breaks) for place in range(len(scene.vertices))]
        self._rows: list[dict[str, Vertex]] = [{} for _ in range(len(breaks) + 1)]
        self._ghosts: list[dict[str, Vertex]] = [{} for _ in range(len(breaks) + 1)]
        self._arcs: list[Arc] = []

    def deal(self) -> Strips:
        for place, vertex in enumerate(self._scene.vertices):
            self._rows[self._row[place]][vertex.key] = vertex
        for arc in self._scene.arcs:
            self._place(arc)
        rows = [
            (*ghosts.values(), *members.values())
            for ghosts, members in zip(self._ghosts, self._rows, strict=True)
        ]
        return Strips(
            Scene(tuple(vertex for row in rows for vertex in row), tuple(self._arcs)),
            tuple(tuple(vertex.key for vertex in row) for row in rows),
        )

    def _place(self, arc: Arc) -> None:
        source, target = self._position[arc.source], self._position[arc.target]
        here, there = self._row[source], self._row[target]
        vertices = self._scene.vertices
        if here == there:
            self._arcs.append(arc)
            return
        follows = here < len(self._breaks) and source == self._breaks[here]
        if vertices[target].kind == "loss" and not (follows and there == here + 1):
            copy = replace(vertices[target], key=f"{arc.target} in row {here + 1}")
            self._rows[here].setdefault(copy.key, copy)
            self._arcs.append(replace(arc, target=copy.key))
            return
        self._arcs.append(replace(arc, source=self._ghost(vertices[source], there)))
        if not follows or there != here + 1:
            self._exit(vertices[source], arc, there)

    def _ghost(self, vertex: Vertex, row: int) -> str:
        """Return the key of the ghost by which a value enters a row."""
        key = f"{vertex.key} in row {row + 1}"
        name = shorten_name(vertex.value or vertex.key).removeprefix("…")
        self._ghosts[row].setdefault(
            key,
            Vertex(
                key=key,
                kind="ghost",
                lines=(f"… {name}",),
                tooltip=f"{vertex.key}, continued from a row above",
                carries=vertex.carries,
            ),
        )
        return key

    def _exit(self, vertex: Vertex, arc: Arc, there: int) -> None:
        """Draw that a value goes on to a row below."""
        row = self._row[self._position[vertex.key]]
        key = f"{vertex.key} after row {row + 1}"
        known = self._rows[row].get(key)
        if known is None:
            exit_arc = replace(arc, target=key, id="", edge=None, port="", joins=(arc.edge,))
            self._arcs.append(exit_arc)
        text = f"{known.lines[0]}, {there + 1}" if known else f"also in row {there + 1}"
        if known is not None and str(there + 1) in known.lines[0].split()[-1]:
            return
        self._rows[row][key] = Vertex(
            key=key,
            kind="ghost",
            lines=(text,),
            tooltip=f"{vertex.key} is read in a row below",
            carries=arc.carries or (known is not None and known.carries),
        )


def fits_page(strips: Strips, width: float, height: float) -> bool:
    """Whether rows fit a page, by about how wide and high they are, in inches."""
    widest = max(_ends(strips.scene, 0))
    return widest <= 1.2 * width * 72 and _height(strips) <= height


def _height(strips: Strips) -> float:
    rank = ranks(strips.scene)
    vertices = {vertex.key: vertex for vertex in strips.scene.vertices}
    row_of = {key: i for i, row in enumerate(strips.rows) for key in row}
    over = [Counter[int]() for _ in strips.rows]
    for arc in strips.scene.arcs:
        over[row_of[arc.source]].update(range(rank[arc.source] + 1, rank[arc.target]))
    height = 0.0
    for row, jumps in zip(strips.rows, over, strict=True):
        beside = max(Counter(rank[key] for key in row).values())
        frames = max(len(vertices[key].scope) for key in row)
        lines = max(len(vertices[key].lines) for key in row)
        height += beside * (0.3 + 0.13 * lines) + 0.33 * frames
        height += 0.25 * max(0, max(jumps.values(), default=0) - beside + 1) + 0.3
    return height


def fold_wide(scene: Scene, width: float) -> Scene:
    """Fold the middle of the chains between two waists that stand further apart than a row is wide.

    Under a skip over a long chain a row would end in the middle of the chain.
    """
    ends = _ends(scene, 0)
    wide: set[int] = set()
    for a, b in pairwise(waists(scene)):
        if ends[b] - ends[a] > width * 72:
            wide.update(range(a + 1, b + 1))
    return fold_within(scene, wide) if wide else scene


def _breaks(scene: Scene, width: float) -> list[int]:
    """Return the positions after which a new row begins: as few rows as fit, about equally wide."""
    costs = _costs(scene, width)
    breaks = _fill(scene, costs, width)
    narrow, wide = 0.0, width
    for _ in range(8 if breaks else 0):
        middle = (narrow + wide) / 2
        tried = _fill(scene, costs, middle)
        if len(tried) > len(breaks) or _total(costs, tried) > _total(costs, breaks):
            narrow = middle
        else:
            wide, breaks = middle, tried
    return breaks


def _total(costs: Sequence[float | None], breaks: Sequence[int]) -> float:
    return sum(costs[place] or 0.0 for place in breaks)


def _fill(scene: Scene, costs: Sequence[float | None], width: float) -> list[int]:
    """Return the breaks of rows that are each as full as `width` allows, at the least cost."""
    breaks: list[int] = []
    first = 0
    while True:
        # The strip so far is as wide as what stands furthest to the right.
        reached = list(accumulate(_ends(scene, first), max))
        if reached[-1] <= width:
            return breaks
        allowed = [(place, cost) for place, cost in enumerate(costs[first:]) if cost is not None]
        fitting = [
            (cost + 8 * (1 - reached[place] / width) ** 2, -place)
            for place, cost in allowed
            if reached[place] <= width
        ]
        beyond = [place for place, _ in allowed if reached[place] > width]
        if not fitting and not beyond:
            return breaks
        breaks.append(first + (-min(fitting)[1] if fitting else beyond[0]))
        first = breaks[-1] + 1


def _costs(scene: Scene, width: float) -> list[float | None]:
    """Return for each place how bad it is to end a row behind it; None where it must not end.

    One value that passes costs nothing; each more, and each frame that is cut, costs. A frame that
    is wider than a row is cut anyway.
    """
    position = scene.positions()
    last = len(scene.vertices) - 1
    last_read = [0] * len(scene.vertices)
    for arc in scene.arcs:
        source, target = position[arc.source], position[arc.target]
        if target != last or source == last - 1:
            last_read[source] = max(last_read[source], target)
    small = _narrow_frames(scene, 0.8 * width)
    costs: list[float | None] = []
    passing: set[int] = set()
    for place, vertex in enumerate(scene.vertices[:-1]):
        passing = {p for p in (*passing, place) if last_read[p] > place}
        cut = set(vertex.scope) & set(scene.vertices[place + 1].scope)
        named = bool(vertex.node or vertex.hides)
        if not named or len(passing) > MAX_CROSSING or place not in passing:
            costs.append(None)
        else:
            frames = sum(2.0 if path in small else 0.1 for path in cut)
            costs.append(1.2 * (len(passing) - 1) + frames)
    return costs


def _narrow_frames(scene: Scene, width: float) -> frozenset[str]:
    spans: dict[str, tuple[float, float]] = {}
    for vertex, end in zip(scene.vertices, _ends(scene, 0), strict=True):
        for path in vertex.scope:
            low, high = spans.get(path, (end, end))
            spans[path] = (min(low, end), max(high, end))
    return frozenset(path for path, (low, high) in spans.items() if high - low <= width)


def _ends(scene: Scene, first: int) -> list[float]:
    """Return about where each vertex from the `first` on ends, in points, in a row of them all."""
    position = scene.positions()
    starts = [0.0] * len(scene.vertices)
    ends: list[float] = []
    out: dict[str, list[Arc]] = {}
    for arc in scene.arcs:
        if position[arc.source] < first:
            starts[position[arc.target]] = 100.0  # a ghost stands before it
        out.setdefault(arc.source, []).append(arc)
    for place in range(first, len(scene.vertices)):
        vertex = scene.vertices[place]
        name, *details = vertex.lines
        letters = max([6.0 * len(name), *(5.0 * len(line) for line in details)])
        end = starts[place] + (20.0 if vertex.kind == "merge" else 16 + letters)
        ends.append(end)
        arcs = out.get(vertex.key, ())
        # Measured shares are written on the lines out of a fork.
        gap = 55 if len(arcs) > 1 and any(arc.share is not None for arc in arcs) else 27
        for arc in arcs:
            target = position[arc.target]
            framed = scene.vertices[target].scope != vertex.scope
            starts[target] = max(starts[target], end + gap + (8 if framed else 0))
    return ends
