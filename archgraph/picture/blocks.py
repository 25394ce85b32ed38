"""Fold by the blocks, groups and repeats that a spec was written with.

A block is closed to a box with its name and call; copies that are alike become one box. Plans run
from fine to coarse, and whoever draws takes the first that fits a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from archgraph.graph import Graph
from archgraph.graph.outline import called
from archgraph.picture.boxes import box_of, close, flow_lines, ops_text, span
from archgraph.picture.fold import fold_chains, worst
from archgraph.picture.scene import Arc, Scene, Vertex
from archgraph.picture.style import shorten_call

__all__ = ["fold_blocks"]

_ALIKE_ANYWAY = ("Select", "Chunk", "Slice")
"""Ops that take a part: copies that each take their own are still alike."""
MIN_SINGLE = 3
_LAYERS = ("weights", "activation", "norm", "plain", "unknown", "fold")


@dataclass(frozen=True, slots=True)
class _Plan:
    """How much is folded."""

    keep: int
    """Of copies that are alike: 2 leaves the first and the last open, 1 the first, 0 none."""
    chains: bool = True
    """Whether straight pieces become boxes."""
    depth: int | None = None
    """Blocks within this many others are closed; None closes none."""
    examples: Literal["kinds", "names", "none"] = "kinds"
    """Which stay open all the same: the first block of each name, and of each choice of layers
    that `when` leaves it; of each name; none."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A member of a scope: its path and the places of its vertices."""

    path: str
    places: tuple[int, ...]


def fold_blocks(scene: Scene, graph: Graph) -> Iterator[Scene]:
    """Yield the scene folded more and more; nothing for a graph without blocks.

    First the middle of each run of at least three copies that are alike, the one in which the
    gradient changes most left out; then straight pieces; then blocks of which one is shown open
    before, from the inside out; at last all blocks.
    """
    blocks = _Blocks(scene, graph)
    if not blocks.deepest:
        return
    plans = [_Plan(2, chains=False), _Plan(2)]
    depths = range(blocks.deepest - 1, -1, -1)
    plans += [_Plan(2, depth=depth) for depth in depths]
    plans += [_Plan(1, depth=depth) for depth in depths]
    plans += [_Plan(1, depth=depth, examples="names") for depth in depths]
    plans += [_Plan(0, depth=depth, examples="none") for depth in depths]
    for plan in plans:
        yield blocks.folded(plan)


class _Blocks:
    """The scene's places by block."""

    def __init__(self, scene: Scene, graph: Graph) -> None:
        self._scene, self._graph = scene, graph
        self._position = scene.positions()
        self._inside: dict[str, list[int]] = {}
        for place, vertex in enumerate(scene.vertices):
            for path in vertex.scope:
                self._inside.setdefault(path, []).append(place)
        self._depth = {path: depth for v in scene.vertices for depth, path in enumerate(v.scope)}
        self.deepest = 1 + max(self._depth.values(), default=-1)
        self._into: dict[int, list[Arc]] = {}
        self._out: dict[int, list[Arc]] = {}
        for arc in scene.arcs:
            self._into.setdefault(self._position[arc.target], []).append(arc)
            self._out.setdefault(self._position[arc.source], []).append(arc)
        self._pinned = self._pins()
        self._examples = {
            "kinds": self._first_of_each(whole=True),
            "names": self._first_of_each(whole=False),
        }

    def _pins(self) -> frozenset[int]:
        """Return the places that stay visible: the target, or the layers of a parameter."""
        pins: set[int] = set()
        for place, vertex in enumerate(self._scene.vertices):
            if vertex.target and vertex.kind != "parameter":
                pins.add(place)
            elif vertex.target:
                entered = {self._position[arc.target] for arc in self._out.get(place, ())}
                pins |= entered if len(entered) <= 3 else set()
        return frozenset(pins)

    def _first_of_each(self, *, whole: bool) -> frozenset[str]:
        """Return the first instance of each block; `whole` tells its kinds apart."""
        seen: dict[object, str] = {}
        for path, instance in self._graph.instances.items():
            if instance.block is not None and path in self._inside:
                inside = [self._scene.vertices[place] for place in self._inside[path]]
                kinds = tuple((v.key.removeprefix(path), v.kind) for v in inside) if whole else ()
                seen.setdefault((instance.block, kinds), path)
        return frozenset(seen.values())

    def folded(self, plan: _Plan) -> Scene:
        """Return the scene as a plan folds it."""
        everything = [p for p, v in enumerate(self._scene.vertices) if v.owner]
        groups = list(self._groups("", everything, plan))
        scene = close(self._scene, groups)
        return fold_chains(scene) if plan.chains else scene

    def _parts(self, scope: str, places: Sequence[int]) -> list[_Part]:
        skip = len(scope) + 1 if scope else 0

        def member(place: int) -> str:
            name = self._scene.vertices[place].owner[skip:].partition(".")[0].partition("~")[0]
            return f"{scope}.{name}" if scope else name

        return [_Part(path, tuple(run)) for path, run in groupby(places, key=member)]

    def _groups(
        self, scope: str, places: Sequence[int], plan: _Plan
    ) -> Iterator[tuple[list[int], Vertex]]:
        known = self._graph.instances.get(scope)
        copies = known is not None and known.kind == "repeat"
        alike = self._signature if copies else _path
        for _, run in groupby(self._parts(scope, places), key=alike):
            parts = list(run)
            shown = self._shown(parts, plan)
            for is_shown, stretch in groupby(parts, key=lambda part: part.path in shown):
                if is_shown:
                    for part in stretch:
                        yield from self._one(part, plan)
                else:
                    hidden = list(stretch)
                    places = [place for part in hidden for place in part.places]
                    if len(places) > 1:
                        yield places, self._box(hidden, plan)

    def _shown(self, parts: list[_Part], plan: _Plan) -> set[str]:
        """Return the copies of a run that stay visible by themselves.

        Of those that stay open the first ones and the last; of those that are boxes anyway none.
        The one over which the gradient changes most always does.
        """
        paths = [part.path for part in parts]
        opened = {i for i, part in enumerate(parts) if not self._is_closed(part, plan)}
        wanted = {0, len(parts) - 1} if plan.keep == 2 else {0} if plan.keep == 1 else set()
        if len(parts) - len(opened & wanted) < 2 and len(opened) == len(parts):
            return set(paths)  # a box for one would hide more than it saves
        if all(len(part.places) == 1 for part in parts) and len(parts) < MIN_SINGLE:
            return set(paths)
        shown = opened & wanted
        before = parts[0].places[0] - 1
        if len(parts) > 2 and before >= 0:
            found = worst(self._scene, [before, *(part.places[-1] for part in parts)])
            shown |= set() if found is None else {found}
        return {paths[i] for i in shown}

    def _one(self, part: _Part, plan: _Plan) -> Iterator[tuple[list[int], Vertex]]:
        if part.path not in self._inside or len(part.places) < 2:
            return
        if self._is_closed(part, plan) or (plan.chains and self._is_straight(part)):
            yield list(part.places), self._box([part], plan)
        else:
            yield from self._groups(part.path, part.places, plan)

    def _is_closed(self, part: _Part, plan: _Plan) -> bool:
        if plan.depth is None or self._depth.get(part.path, -1) < plan.depth:
            return False
        if not self._pinned.isdisjoint(part.places):
            return False
        instance = self._graph.instances.get(part.path)
        if plan.examples == "none":
            return True
        return bool(instance and instance.block) and part.path not in self._examples[plan.examples]

    def _is_straight(self, part: _Part) -> bool:
        """Whether a block is one chain; it may begin with a concatenation."""
        if not self._pinned.isdisjoint(part.places):
            return False
        first, *rest = part.places
        vertices = self._scene.vertices
        begins = vertices[first].kind in _LAYERS or vertices[first].lines[0].startswith("‖")
        carries = len({vertices[place].carries for place in part.places}) == 1
        return (
            begins
            and carries
            and all(vertices[place].kind in _LAYERS for place in rest)
            and all(len(self._into.get(place, ())) == 1 for place in rest)
            and all(len(self._out.get(place, ())) == 1 for place in part.places[:-1])
        )

    def _signature(self, part: _Part) -> object:
        """Return what makes two members alike: ops, lines, λ, and how they are entered."""
        if not self._pinned.isdisjoint(part.places):
            return part.path
        at = {place: i for i, place in enumerate(part.places)}
        vertices, lines, entering = [], [], set()
        for place in part.places:
            vertex = self._scene.vertices[place]
            name = vertex.owner.removeprefix(part.path)
            vertices.append((name, vertex.kind, _alike(vertex.what), vertex.carries))
            for arc in self._into.get(place, ()):
                edge = arc.edge
                scale = (str(edge.scale), edge.kind, edge.role, edge.element) if edge else ()
                source = at.get(self._position[arc.source])
                line = (at[place], scale, arc.port, arc.carries)
                if source is None:
                    entering.add(line)
                else:
                    lines.append((source, *line))
        instance = self._graph.instances.get(part.path)
        block = (instance.kind, instance.block) if instance else None
        return block, tuple(vertices), tuple(lines), frozenset(entering)

    def _box(self, parts: list[_Part], plan: _Plan) -> Vertex:
        places = [place for part in parts for place in part.places]
        inside = [self._scene.vertices[place] for place in places]
        one = [self._scene.vertices[place] for place in parts[0].places]
        times = f"   ×{len(parts)}" if len(parts) > 1 else ""
        name = span(parts[0].path, parts[-1].path)
        instances = [self._graph.instances.get(part.path) for part in parts]
        calls = list(dict.fromkeys(called(i) if i and i.block else "" for i in instances))
        call = calls[0] if len(calls) == 1 else calls[0].partition("(")[0]
        call = call.removesuffix("()")
        ops = ops_text(one)
        lines = [f"{name}{times}", *flow_lines(self._scene, [part.places for part in parts])]
        # What a block holds is seen where it is open; a straight one never is.
        if not call or plan.examples == "none" or self._is_straight(parts[0]):
            lines.insert(1, ops)
        if call and call != name.rpartition(".")[2]:
            lines.insert(1, shorten_call(call, 30))
        known = self._graph.instances.get(parts[0].path)
        scope = one[0].scope[: self._depth[parts[0].path]] if known else one[0].scope
        box = box_of(inside, tuple(lines), what=f"blocks {call} {ops}", scope=scope)
        return replace(box, value=parts[-1].path)


def _path(part: _Part) -> object:
    """Outside of repeats members stand beside each other, and none is a copy of another."""
    return part.path


def _alike(what: str) -> str:
    op = what.partition("(")[0]
    return op if op in _ALIKE_ANYWAY else what
