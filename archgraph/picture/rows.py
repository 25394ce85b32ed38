"""Break a strip that is too long for a page into rows, at places where one value passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from archgraph.picture.fold import fold_within, waists
from archgraph.picture.scene import Arc, Scene, Vertex
from archgraph.picture.style import shorten

__all__ = ["Strips", "break_rows", "fold_wide", "ranks"]


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

    A row ends at a waist; the next begins with a dotted ghost of it, so that every line stays in
    one row. Lines into L get an L of their own in each row. Where no waist is near, rows are
    longer.
    """
    breaks = _breaks(scene, width * 72)
    if not breaks:
        return Strips(scene, (tuple(vertex.key for vertex in scene.vertices),))
    position = scene.positions()
    row = [sum(place > cut for cut in breaks) for place in range(len(scene.vertices))]
    loss = scene.vertices[-1]
    rows: list[list[Vertex]] = [[] for _ in range(len(breaks) + 1)]
    for i, cut in enumerate(breaks):
        rows[i + 1].append(_ghost(scene.vertices[cut], i + 1))
    for place, vertex in enumerate(scene.vertices):
        rows[row[place]].append(vertex)
    arcs: list[Arc] = []
    for arc in scene.arcs:
        source, target = position[arc.source], position[arc.target]
        here, there = row[source], row[target]
        follows = here < len(breaks) and there == here + 1 and source == breaks[here]
        if here != there and arc.target == loss.key and not follows:
            copy = replace(loss, key=f"{loss.key} in row {here + 1}")
            if copy not in rows[here]:
                rows[here].append(copy)
            arcs.append(replace(arc, target=copy.key))
        elif here != there:
            arcs.append(replace(arc, source=_ghost_key(scene.vertices[source], there)))
        else:
            arcs.append(arc)
    vertices = tuple(vertex for members in rows for vertex in members)
    return Strips(
        Scene(vertices, tuple(arcs)),
        tuple(tuple(vertex.key for vertex in members) for members in rows),
    )


def fold_wide(scene: Scene, width: float) -> Scene:
    """Fold the middle of the chains between two waists that stand further apart than a row is wide.

    Rows can end at waists only; under a skip over a long chain there is none.
    """
    ends = _right_ends(scene)
    wide: set[int] = set()
    for a, b in pairwise(waists(scene)):
        if ends[b] - ends[a] > width * 72:
            wide.update(range(a + 1, b + 1))
    return fold_within(scene, wide) if wide else scene


def _breaks(scene: Scene, width: float) -> list[int]:
    """Return the positions after which a new row begins: as few rows as fit, about equally wide."""
    ends = _right_ends(scene)
    breaks = _fill(scene, ends, width)
    narrow, wide = 0.0, width
    for _ in range(12 if breaks else 0):
        middle = (narrow + wide) / 2
        tried = _fill(scene, ends, middle)
        if len(tried) > len(breaks):
            narrow = middle
        else:
            wide, breaks = middle, tried
    return breaks


def _fill(scene: Scene, ends: list[float], width: float) -> list[int]:
    """Return the breaks of rows that are each as full as `width` allows, a block at least."""
    breaks: list[int] = []
    left, fitting = 0.0, None
    for place in waists(scene)[1:]:
        if ends[place] - left > width and fitting is not None:
            breaks.append(fitting)
            left, fitting = ends[fitting], None
        if scene.vertices[place].node or scene.vertices[place].hides:
            fitting = place
    return breaks


def _right_ends(scene: Scene) -> list[float]:
    """Return about where each vertex ends, in points, if all are set along the longest way."""
    position = scene.positions()
    starts = [0.0] * len(scene.vertices)
    ends = []
    out: dict[str, list[Arc]] = {}
    for arc in scene.arcs:
        out.setdefault(arc.source, []).append(arc)
    for place, vertex in enumerate(scene.vertices):
        letters = max(map(len, vertex.lines))
        end = starts[place] + (20.0 if vertex.kind == "merge" else 16 + 5.5 * letters)
        ends.append(end)
        arcs = out.get(vertex.key, ())
        # Measured shares are written on the lines out of a fork.
        gap = 55 if len(arcs) > 1 and any(arc.share is not None for arc in arcs) else 27
        for arc in arcs:
            target = position[arc.target]
            starts[target] = max(starts[target], end + gap)
    return ends


def _ghost_key(vertex: Vertex, row: int) -> str:
    return f"{vertex.key} in row {row + 1}"


def _ghost(vertex: Vertex, row: int) -> Vertex:
    return Vertex(
        key=_ghost_key(vertex, row),
        kind="ghost",
        lines=(f"… {shorten(vertex.hides[-1] if vertex.hides else vertex.node or vertex.key)}",),
        tooltip=f"{vertex.key}, continued from the row above",
        carries=vertex.carries,
    )
