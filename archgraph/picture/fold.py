"""Fold what repeats: a run of blocks that are alike becomes one box that says what it hides."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence, Set
from itertools import pairwise

from archgraph.picture.boxes import box_of, close, flow_lines, last_name, norm_line, ops_text, span
from archgraph.picture.scene import Arc, Scene, Vertex

__all__ = ["fold", "fold_chains", "fold_within", "waists", "worst"]

MAX_PERIOD = 16
MIN_REPEATS = 3
_LAYERS = ("weights", "activation", "norm", "plain", "unknown")
_Range = tuple[int, int]


def fold(scene: Scene, max_nodes: int) -> Scene:
    """Fold what repeats, then what is straight, until at most `max_nodes` vertices are left.

    A block lies between two waists. Blocks are alike when their ops, lines, λ and what reaches
    the target are. Of each run of at least three the first block, the last, and the one in which
    the gradient changes most stay open. Where that is not enough, each chain of at least three
    layers without a fork becomes one box. What then is left is drawn, however much it is.
    """
    scene = _fold_runs(scene, max_nodes)
    return _fold_runs(fold_chains(scene), max_nodes) if len(scene.vertices) > max_nodes else scene


def fold_chains(scene: Scene) -> Scene:
    """Return the scene with each chain of at least three layers of one block as a box."""
    return close(scene, [(chain, _box_of_chain(scene, chain)) for chain in _chains(scene)])


def fold_within(scene: Scene, places: Set[int], keep: int = 2) -> Scene:
    """Fold the middle of each chain among some vertices; `keep` layers stay open at either end."""
    middles = (chain[keep:-keep] for chain in _chains(scene) if all(p in places for p in chain))
    groups = [(chain, _box_of_chain(scene, chain)) for chain in middles if len(chain) >= 3]
    return close(scene, groups)


def _fold_runs(scene: Scene, max_nodes: int) -> Scene:
    while len(scene.vertices) > max_nodes:
        stretches = _closed_blocks(scene)
        if not stretches:
            break
        groups = [list(range(blocks[0][0], blocks[-1][1] + 1)) for blocks in stretches]
        boxes = [_box_of_blocks(scene, blocks) for blocks in stretches]
        scene = close(scene, list(zip(groups, boxes, strict=True)))
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
    best: tuple[int, int, int] | None = None
    best_hidden = 1
    for period in range(1, min(MAX_PERIOD, len(signatures) // MIN_REPEATS) + 1):
        for start, repeats in _runs(signatures, period):
            hidden = cuts[start + period * (repeats - 1)] - cuts[start + period]
            if repeats >= MIN_REPEATS and hidden > best_hidden:
                best_hidden, best = hidden, (start, period, repeats)
    if best is None:
        return []
    start, period, repeats = _in_phase(scene, cuts, signatures, *best)
    ends = [cuts[start + period * i] for i in range(repeats + 1)]
    blocks = [(a + 1, b) for a, b in pairwise(ends)]
    open_one = worst(scene, [blocks[0][0] - 1, *(b for _, b in blocks)])
    stretches: list[list[_Range]] = [[]]
    for i, block in enumerate(blocks[1:-1], start=1):
        if i == open_one:
            stretches.append([])
        else:
            stretches[-1].append(block)
    return [stretch for stretch in stretches if sum(b - a + 1 for a, b in stretch) > 1]


def _in_phase(
    scene: Scene,
    cuts: list[int],
    signatures: Sequence[object],
    start: int,
    period: int,
    repeats: int,
) -> tuple[int, int, int]:
    """Shift a run so that its blocks begin where ways part, as a person would cut them."""
    forks = Counter(arc.source for arc in scene.arcs)
    found = [(forks[scene.vertices[cuts[start]].key], repeats, -start)]
    end = start + period * repeats
    while end < len(signatures) and signatures[end] == signatures[end - period]:
        end += 1
    for shift in range(1, period):
        count = (end - start - shift) // period
        if count >= MIN_REPEATS:
            found.append((forks[scene.vertices[cuts[start + shift]].key], count, -start - shift))
    _, count, negative_start = max(found)
    return -negative_start, period, count


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
    segment = [0] * len(scene.vertices)
    for i, (a, b) in enumerate(pairwise(cuts)):
        segment[a + 1 : b + 1] = [i] * (b - a)
    lines: list[list[object]] = [[] for _ in cuts[1:]]
    for arc in scene.arcs:
        source, target = position[arc.source], position[arc.target]
        # A line that jumps into L from afar belongs to the block that it leaves.
        jumps = source < cuts[segment[target]]
        home = segment[source if jumps else target]
        there = "L" if jumps else target - cuts[home]
        edge = arc.edge
        scale = (str(edge.scale), edge.kind, edge.role, edge.element) if edge else ()
        lines[home].append((source - cuts[home], there, scale, arc.port, arc.carries))
    # A target needs no mark: no line into it carries anything, unlike those behind it.
    vertices = [
        [(v.kind, v.what, v.carries) for v in scene.vertices[a + 1 : b + 1]]
        for a, b in pairwise(cuts)
    ]
    return [(tuple(vs), tuple(ls)) for vs, ls in zip(vertices, lines, strict=True)]


def worst(scene: Scene, ends: Sequence[int]) -> int | None:
    """Return the block over which the gradient changes most, if it stands out by 3 dB.

    Args:
        scene: What is drawn.
        ends: The place before the first block, then the last place of each.
    """
    known = [rms for end in ends if (rms := scene.vertices[end].rms) and 0 < rms < math.inf]
    if len(known) != len(ends):
        return None
    changes = [abs(math.log10(a / b)) for a, b in pairwise(known)]
    largest = max(range(len(changes)), key=changes.__getitem__)
    return largest if changes[largest] > statistics.median(changes) + 0.15 else None


def _chains(scene: Scene) -> list[list[int]]:
    """Return the positions of each chain of at least three layers without a fork."""
    into: dict[str, list[Arc]] = {}
    out = Counter(arc.source for arc in scene.arcs)
    for arc in scene.arcs:
        into.setdefault(arc.target, []).append(arc)
    chain_of: dict[str, list[int]] = {}
    for place, vertex in enumerate(scene.vertices):
        arcs = into.get(vertex.key, [])
        if vertex.kind not in _LAYERS or vertex.target or out[vertex.key] != 1 or len(arcs) != 1:
            continue
        before = chain_of.get(arcs[0].source)
        last = scene.vertices[before[-1]] if before else vertex
        same = (last.carries, last.scope) == (vertex.carries, vertex.scope)
        chain = before if before and same and _is_plain(arcs[0]) else []
        chain.append(place)
        chain_of[vertex.key] = chain
    chains = {id(chain): chain for chain in chain_of.values() if len(chain) >= 3}
    return list(chains.values())


def _is_plain(arc: Arc) -> bool:
    edge = arc.edge
    return edge is not None and edge.scale.is_one and edge.role != "skip" and not arc.port


def _box_of_blocks(scene: Scene, blocks: list[_Range]) -> Vertex:
    inside = scene.vertices[blocks[0][0] : blocks[-1][1] + 1]
    ends = [last_name(scene.vertices[a : b + 1]) for a, b in (blocks[0], blocks[-1])]
    one = scene.vertices[blocks[0][0] : blocks[0][1] + 1]
    names = span(*ends) + (f"   ×{len(blocks)}" if len(blocks) > 1 else "")
    places = [list(range(a, b + 1)) for a, b in blocks]
    lines = (names, ops_text(one), *flow_lines(scene, places))
    return box_of(inside, lines, what=f"blocks {inside[0].key}")


def _box_of_chain(scene: Scene, places: list[int]) -> Vertex:
    inside = [scene.vertices[place] for place in places]
    names = span(last_name(inside[:1]), last_name(inside))
    into = next((arc.norm for arc in scene.arcs if arc.target == inside[0].key), None)
    out = next((arc.norm for arc in scene.arcs if arc.source == inside[-1].key), None)
    what = "; ".join(vertex.what for vertex in inside)
    return box_of(inside, (names, ops_text(inside), *norm_line(into, out)), what)
