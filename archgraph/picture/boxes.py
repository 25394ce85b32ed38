"""One box for several vertices: what it says of them, and the lines that are left."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from archgraph.picture.scene import Arc, Scene, Vertex
from archgraph.picture.style import number_text, percent, shorten

__all__ = ["box_of", "close", "flow_lines", "last_name", "norm_line", "ops_text", "span"]


def close(scene: Scene, groups: Sequence[tuple[list[int], Vertex]]) -> Scene:
    """Return the scene with each group of vertices as one, at the place of its last."""
    becomes = {scene.vertices[p].key: box.key for places, box in groups for p in places}
    boxes = {places[-1]: box for places, box in groups}
    vertices = [
        boxes.get(place, vertex)
        for place, vertex in enumerate(scene.vertices)
        if place in boxes or vertex.key not in becomes
    ]
    return Scene(tuple(vertices), tuple(_rewire(scene.arcs, becomes)))


def _rewire(arcs: Sequence[Arc], becomes: dict[str, str]) -> list[Arc]:
    """Return the arcs between what is left.

    All that enter a box from one vertex become one; those that leave it for one vertex too, but
    skips and others stay two.
    """
    kept: dict[object, Arc] = {}
    for i, arc in enumerate(arcs):
        source, target = (becomes.get(end, end) for end in (arc.source, arc.target))
        if source == target and arc.source in becomes:
            continue
        key: object = i
        if target != arc.target:
            key = (source, target)
        elif source != arc.source:
            key = (source, target, arc.skip)
        known = kept.get(key)
        arc = replace(arc, source=source, target=target)
        kept[key] = _joined(known, arc) if known else arc
    return list(kept.values())


def _joined(one: Arc, other: Arc) -> Arc:
    """Return one line for two that run side by side; a share that is not known makes it unknown."""
    shares = [arc.share for arc in (one, other) if arc.share is not None]
    norms = [arc.norm for arc in (one, other) if arc.norm is not None]
    return Arc(
        source=one.source,
        target=one.target,
        carries=one.carries or other.carries,
        share=sum(shares) if len(shares) == 2 else None,
        norm=max(norms) if len(norms) == 2 else None,
        joins=(*(one.joins or (one.edge,)), *(other.joins or (other.edge,))),
    )


def span(first: str, last: str) -> str:
    """Return two names as the ends of a range; what both begin with is said once.

    Example:
        >>> span("layer3.1", "layer3.5"), span("x2", "x19"), span("a.z", "a.z")
        ('layer3.1 … 5', 'x2 … x19', 'a.z')
    """
    if first == last:
        return first
    scope = first.rpartition(".")[0]
    return f"{first} … {last.removeprefix(f'{scope}.') if scope else last}"


def box_of(
    inside: Sequence[Vertex],
    lines: tuple[str, ...],
    what: str,
    scope: tuple[str, ...] | None = None,
) -> Vertex:
    """Return the box that stands for some vertices, in order; `scope` is what lies around all."""
    hides = tuple(name for v in inside for name in (v.hides or ((v.node,) if v.node else ())))
    return Vertex(
        key=f"{inside[0].key} … {inside[-1].key}",
        kind="fold",
        lines=lines,
        what=what,
        tooltip=f"{len(hides)} nodes folded: {shorten(', '.join(hides), 400)}",
        carries=any(vertex.carries for vertex in inside),
        alert=inside[-1].alert or next((vertex.alert for vertex in inside if vertex.alert), ""),
        alert_inside=not inside[-1].alert or inside[-1].alert_inside,
        rms=inside[-1].rms,
        hides=hides,
        scope=_common([vertex.scope for vertex in inside]) if scope is None else scope,
        value=inside[-1].value,
        owner=inside[-1].owner,
    )


def _common(scopes: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the paths that are around all."""
    return tuple(path for path in scopes[0] if all(path in scope for scope in scopes))


def last_name(vertices: Sequence[Vertex]) -> str:
    """Return the name of the last node among what some vertices stand for."""
    names = [name for vertex in vertices for name in (vertex.hides or (vertex.node,)) if name]
    return names[-1] if names else vertices[-1].key


def ops_text(vertices: Sequence[Vertex], limit: int = 32) -> str:
    """Return what happens in some vertices, repeats told once."""
    words = [
        word.partition("(")[0]
        for vertex in vertices
        for word in (vertex.what.split("; ") if vertex.what else vertex.lines[:1])
    ]
    counted = Counter(words)
    kept = [f"{n} {word}" if n > 1 else word for word, n in counted.items()]
    text = ", ".join(kept)
    while len(text) > limit and len(kept) > 1:
        kept.pop()
        text = f"{', '.join(kept)}, …"
    return shorten(text, limit)


def flow_lines(scene: Scene, blocks: Sequence[Sequence[int]]) -> list[str]:
    """Return what the gradient does inside: the skips' share, and the norm from right to left.

    Args:
        scene: What is drawn.
        blocks: The places of each block's vertices.

    The share is that of all skips into one sum, of what passes that sum: its median over the sums,
    and the least and the most.
    """
    position = scene.positions()
    home = {place: i for i, block in enumerate(blocks) for place in block}
    entering: list[list[float]] = [[] for _ in blocks]
    sums: dict[str, list[Arc]] = {}
    for arc in scene.arcs:
        block = home.get(position[arc.target])
        if block is None or not arc.carries:
            continue
        if home.get(position[arc.source]) != block and arc.norm is not None:
            entering[block].append(arc.norm)
        if arc.edge is not None and arc.edge.kind == "add":
            sums.setdefault(arc.target, []).append(arc)
    skips = [share for arcs in sums.values() if (share := _skip_share(arcs)) is not None]
    lines = []
    if skips:
        low, middle, high = (percent(f(skips)) for f in (min, statistics.median, max))
        lines.append(f"skip {middle} ({low}–{high})" if low != high else f"skip {middle}")
    ends = [max(norms, default=None) for norms in (entering[0], entering[-1])]
    return [*lines, *norm_line(*ends)]


def _skip_share(arcs: Sequence[Arc]) -> float | None:
    """Return the skips' part of what passes a sum; None without skips, or where it is unknown."""
    shares = [arc.share for arc in arcs if arc.share is not None]
    skips = [arc.share for arc in arcs if arc.skip and arc.share is not None]
    total = math.fsum(shares)
    if not skips or len(shares) < len(arcs) or not total:
        return None
    return math.fsum(skips) / total


def norm_line(first: float | None, last: float | None) -> list[str]:
    """Return the norms at the two ends of a box, as the gradient runs; empty if not known."""
    if first is None or last is None:
        return []
    if number_text(first) == number_text(last):
        return [f"norm {number_text(first)}"]
    return [f"norm {number_text(first)} ← {number_text(last)}"]
