"""Fold what repeats: a run of blocks that are alike becomes one box that says what it hides."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from archgraph.picture.scene import Arc, Scene, Vertex
from archgraph.picture.style import number_text, percent, shorten

__all__ = ["fold", "waists"]

MAX_PERIOD = 16
_Range = tuple[int, int]


def fold(scene: Scene, max_nodes: int) -> Scene:
    """Fold runs of alike blocks until at most `max_nodes` vertices are left, if that can be.

    A block lies between two waists. Blocks are alike when their ops, lines, λ and what reaches
    the target are. Of each run the first block, the last, and the one in which the gradient changes
    most stay open.
    """
    while len(scene.vertices) > max_nodes:
        closed = _closed_blocks(scene)
        if not closed:
            break
        scene = _close(scene, closed)
    return scene


def waists(scene: Scene) -> list[int]:
    """Return the positions that everything passes: no line, but those into L, jumps over them.

    Cost: linear in the scene.
    """
    position = scene.positions()
    loss = len(scene.vertices) - 1
    furthest = [0] * len(scene.vertices)
    for arc in scene.arcs:
        source, target = position[arc.source], position[arc.target]
        if target != loss:
            furthest[source] = max(furthest[source], target)
    found, reach = [], 0
    for place in range(loss):
        if reach <= place:
            found.append(place)
        reach = max(reach, furthest[place])
    return [*found, loss]


def _closed_blocks(scene: Scene) -> list[list[_Range]]:
    """Return the best run's closed blocks, in stretches: (first, last) positions of each block."""
    cuts = waists(scene)
    signatures = _signatures(scene, cuts)
    best: list[_Range] = []
    best_hidden = 0
    for period in range(1, min(MAX_PERIOD, len(signatures) // 3) + 1):
        for start, repeats in _runs(signatures, period):
            ends = [cuts[start + period * i] for i in range(repeats + 1)]
            hidden = ends[-2] - ends[1]
            if repeats >= 4 and hidden > max(best_hidden, 2):
                best_hidden = hidden
                best = [(a + 1, b) for a, b in pairwise(ends)]
    if not best:
        return []
    worst = _worst(scene, best)
    stretches: list[list[_Range]] = [[]]
    for i, block in enumerate(best[1:-1], start=1):
        if i == worst:
            stretches.append([])
        else:
            stretches[-1].append(block)
    return [stretch for stretch in stretches if sum(b - a + 1 for a, b in stretch) > 1]


def _runs(signatures: Sequence[object], period: int) -> list[tuple[int, int]]:
    """Return (start, repeats) of each maximal run of signatures that repeat with `period`."""
    runs, start = [], 0
    for i in range(len(signatures)):
        if i + period >= len(signatures) or signatures[i] != signatures[i + period]:
            if i > start:
                runs.append((start, (i - start) // period + 1))
            start = i + 1
    return runs


def _signatures(scene: Scene, cuts: list[int]) -> list[object]:
    """Return for each stretch between waists what it is, names and numbers of the flow apart."""
    position = scene.positions()
    loss = len(scene.vertices) - 1
    segment = [0] * len(scene.vertices)
    for i, (a, b) in enumerate(pairwise(cuts)):
        segment[a + 1 : b + 1] = [i] * (b - a)
    lines: list[list[object]] = [[] for _ in cuts[1:]]
    for arc in scene.arcs:
        source, target = position[arc.source], position[arc.target]
        # A line into L belongs to the block that it leaves: L is far from all but the last.
        home = segment[source if target == loss else target]
        there = "L" if target == loss else target - cuts[home]
        edge = arc.edge
        scale = (str(edge.scale), edge.kind, edge.role, edge.element) if edge else ()
        lines[home].append((source - cuts[home], there, scale, arc.port, arc.carries))
    vertices = [
        [(v.kind, v.what, v.carries, v.target) for v in scene.vertices[a + 1 : b + 1]]
        for a, b in pairwise(cuts)
    ]
    return [(tuple(vs), tuple(ls)) for vs, ls in zip(vertices, lines, strict=True)]


def _worst(scene: Scene, blocks: list[_Range]) -> int | None:
    """Return the block over which the gradient changes most, if it stands out by 3 dB."""
    levels = [scene.vertices[blocks[0][0] - 1].rms, *(scene.vertices[b].rms for _, b in blocks)]
    known = [level for level in levels if level is not None and 0 < level < math.inf]
    if len(known) != len(levels):
        return None
    changes = [abs(math.log10(a / b)) for a, b in pairwise(known)]
    worst = max(range(len(changes)), key=changes.__getitem__)
    return worst if changes[worst] > statistics.median(changes) + 0.15 else None


def _close(scene: Scene, stretches: list[list[_Range]]) -> Scene:
    """Return the scene with each stretch of blocks as one vertex."""
    becomes: dict[str, str] = {}
    boxes: dict[int, Vertex] = {}
    hidden = scene.hidden
    for stretch in stretches:
        first, last = stretch[0][0], stretch[-1][1]
        inside = scene.vertices[first : last + 1]
        box = _box(scene, stretch)
        boxes[first] = box
        becomes |= dict.fromkeys((vertex.key for vertex in inside), box.key)
        hidden += sum(vertex.node is not None for vertex in inside)
    vertices = [
        boxes.get(i, vertex)
        for i, vertex in enumerate(scene.vertices)
        if i in boxes or vertex.key not in becomes
    ]
    return Scene(tuple(vertices), tuple(_rewire(scene.arcs, becomes)), hidden)


def _rewire(arcs: Sequence[Arc], becomes: dict[str, str]) -> list[Arc]:
    """Return the arcs between what is left; all that enter a box from one vertex become one."""
    kept: dict[object, Arc] = {}
    for i, arc in enumerate(arcs):
        source, target = (becomes.get(end, end) for end in (arc.source, arc.target))
        if source == target and arc.source in becomes:
            continue
        if target == arc.target:
            kept[i] = replace(arc, source=source)
            continue
        known = kept.get((source, target))
        share, norm = arc.share, arc.norm
        if known:
            share = None if share is None or known.share is None else share + known.share
            norm = None if norm is None or known.norm is None else max(norm, known.norm)
        carries = arc.carries or (known is not None and known.carries)
        kept[source, target] = Arc(
            source=source, target=target, share=share, norm=norm, carries=carries
        )
    return list(kept.values())


def _box(scene: Scene, stretch: list[_Range]) -> Vertex:
    first, last = stretch[0][0], stretch[-1][1]
    inside = scene.vertices[first : last + 1]
    names = [vertex.node for vertex in inside if vertex.node]
    ends = [next(v.node or v.key for v in reversed(scene.vertices[: b + 1])) for _, b in stretch]
    label = (
        shorten(ends[0]) if len(ends) == 1 else f"{shorten(ends[0], 12)} … {shorten(ends[-1], 12)}"
    )
    one = scene.vertices[stretch[0][0] : stretch[0][1] + 1]
    each = [vertex.what.partition("(")[0] or vertex.lines[0].split()[0] for vertex in one]
    return Vertex(
        key=f"{names[0]} … {names[-1]}",
        kind="fold",
        lines=(
            f"{label}   ×{len(stretch)}",
            shorten(", ".join(each), 40),
            *_flow_lines(scene, stretch),
        ),
        what=f"fold {names[0]}",
        tooltip=f"{len(names)} nodes folded: {shorten(', '.join(names), 400)}",
        carries=any(vertex.carries for vertex in inside),
        alert=next((vertex.alert for vertex in inside if vertex.alert), ""),
        rms=inside[-1].rms,
    )


def _flow_lines(scene: Scene, stretch: list[_Range]) -> list[str]:
    """Return what the gradient does inside: the skips' share, and the norm from right to left."""
    position = scene.positions()
    skips: list[float] = []
    norms: list[float] = []
    for first, last in stretch:
        entering = [a for a in scene.arcs if position[a.source] == first - 1 and a.carries]
        inner = [a for a in scene.arcs if first <= position[a.target] <= last and a.edge]
        skip = [a.share for a in inner if a.edge and a.edge.role == "skip" and a.share is not None]
        total = math.fsum(a.share for a in entering if a.share is not None)
        if skip and total:
            skips.append(math.fsum(skip) / total)
        norms += [max((a.norm for a in entering if a.norm is not None), default=math.nan)]
    lines = []
    if skips:
        low, middle, high = min(skips), statistics.median(skips), max(skips)
        lines.append(f"skip {percent(middle)} ({percent(low)} to {percent(high)})")
    if norms and all(map(math.isfinite, norms)):
        lines.append(f"norm {number_text(norms[0])} ← {number_text(norms[-1])}")
    return lines
