"""Stages: runs of like residual units, by which paths are told apart when there are too many.

A stage is a repeat, the instances of one block, or layers that are named and numbered alike. What
a path takes of a stage is counted: branches, weight layers or skips.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from archgraph.graph import Edge, Graph
from archgraph.paths.walk import Walk

__all__ = ["MAX_STAGES", "Grade", "Place", "Stages", "find_stages", "place_of"]

Grade: TypeAlias = Literal["branches", "weights", "skips"]

MAX_STAGES: Final = 8
"""With more stages, those within one part of the network are taken together."""
MAX_GROUPS: Final = 256
"""So many are not even looked at, to see which of them differ between paths."""

_IMPLIED: Final = re.compile(r"~\d+$")
_NUMBER: Final = re.compile(r"\d+$")
_Key: TypeAlias = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of the paths of one walk: those of which not every path takes the same number."""

    grade: Grade
    names: tuple[str, ...]
    most: tuple[int, ...]
    """The most that any path takes of each stage."""
    of_hop: Sequence[int | None]
    """The stage of each hop that counts, None for those that do not."""
    degrees: Sequence[int]
    """How much each hop counts."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hop is."""

    stage: _Key
    """One key for all that are alike: `repeat` and its path, `block`, its scope and name, …"""
    scope: str
    """What the stage is called, if nothing else there is a stage."""
    unit: str
    """The copy, the block or the layer: one of those that make up the stage."""
    part: str
    """What of the unit it is: `attn` and `mlp` of a transformer's block."""


def find_stages(
    graph: Graph,
    paths: Walk,
    grade: Grade,
    fits: Callable[[Stages], bool],
    edge: Callable[[int], Edge],
) -> Stages:
    """Return the finest stages that fit.

    Args:
        graph: The graph that the paths lead through.
        paths: The paths, of which every hop enters a node of the graph.
        grade: What is counted.
        fits: Whether so many stages can be told apart; it is asked for fewer and fewer, and the
            last, a single one, is not asked for.
        edge: The graph's own edge at the end of a hop.
    """
    degrees = _degrees(paths, grade)
    # Of what lies on every path, every path takes as much.
    forked = (p for p in paths.parts[::-1] if any(len(paths.steps[node]) > 1 for node in p[1:]))
    hops = [h for p in forked for node in p[:0:-1] for h in paths.steps[node] if degrees[h]]
    places = {hop: place_of(graph, edge(hop)) for hop in hops}
    levels: list[Callable[[Place], _Key]] = [
        lambda place: (place.stage,),
        lambda place: (place.unit.partition(".")[0],),
        lambda _: (),
    ]
    if grade == "branches":
        levels.insert(0, lambda place: (place.stage, place.part))
    for key in levels:
        keys = {hop: key(place) for hop, place in places.items()}
        if len(set(keys.values())) > MAX_GROUPS:
            continue
        stages = _stages(paths, grade, degrees, keys, places)
        if len(stages.names) <= MAX_STAGES and fits(stages):
            break
    return stages


def _degrees(paths: Walk, grade: Grade) -> Sequence[int]:
    if grade == "weights":
        return paths.weights
    role = "branch" if grade == "branches" else "skip"
    return [int(hop.role == role) for hop in paths.hops]


# --- where a hop counts -------------------------------------------------------------------------


def place_of(graph: Graph, edge: Edge) -> Place:
    """Return where an edge is, by the layer that it enters."""
    node = graph.node(edge.target)
    within = [graph.instances[path] for path in node.block if path in graph.instances]
    repeat = next((instance for instance in reversed(within) if instance.kind == "repeat"), None)
    if repeat is not None:
        copy = _first(node.name.removeprefix(f"{repeat.path}."))
        # The sum or concatenation behind the last copy is in none.
        unit, maker = f"{repeat.path}.{copy}", _maker(graph, edge)
        inside = maker.startswith(f"{repeat.path}.")
        part = maker.removeprefix(f"{repeat.path}.").partition(".")[2] if inside else ""
        return Place(("repeat", repeat.path), repeat.path, unit, _first(part))
    block = next((instance for instance in within if instance.kind == "block"), None)
    if block is not None:
        scope = block.path.rpartition(".")[0]
        part = _maker(graph, edge).removeprefix(f"{block.path}.")
        return Place(("block", scope, block.block), scope, block.path, _first(part))
    return _named(node.name)


def _maker(graph: Graph, edge: Edge) -> str:
    """Return the weight layer behind which nothing but one-input layers lead to an edge.

    If there is none, the layer that the edge leaves or, if no one has named that, enters.
    """
    name = edge.source
    while name in graph.positions:
        op = graph.node(name).op
        if op is not None and op.op.weight_layer:
            return name
        into = graph.edges_into(name)
        if len(into) != 1 or op is None:
            return edge.target if _IMPLIED.search(edge.source) else edge.source
        name = into[0].source
    return edge.target


def _named(name: str) -> Place:
    """Return the place of a layer in no block: its name without its last number is the stage."""
    words = name.split(".")
    number = next((i for i in reversed(range(len(words))) if words[i].isdigit()), None)
    if number is None:
        return Place(("name", _NUMBER.sub("", name)), "", name, "")
    scope, part = ".".join(words[:number]), ".".join(words[number + 1 :])
    return Place(("name", scope), scope, name, part)


def _first(name: str) -> str:
    return name.partition(".")[0]


# --- stages -------------------------------------------------------------------------------------


def _stages(
    paths: Walk,
    grade: Grade,
    degrees: Sequence[int],
    keys: dict[int, _Key],
    places: dict[int, Place],
) -> Stages:
    """Return the stages that the keys make, without those of which all paths take as many."""
    groups: dict[_Key, list[int]] = {}
    for hop, key in keys.items():
        groups.setdefault(key, []).append(hop)
    varying: list[list[int]] = []
    most: list[int] = []
    for hops in groups.values():
        least, greatest = _range(paths, {hop: degrees[hop] for hop in hops})
        if least != greatest:
            varying.append(hops)
            most.append(greatest)
    of_hop: list[int | None] = [None] * len(paths.hops)
    for stage, hops in enumerate(varying):
        for hop in hops:
            of_hop[hop] = stage
    names = _names([[places[hop] for hop in hops] for hops in varying])
    return Stages(grade, tuple(names), tuple(most), of_hop, degrees)


def _range(paths: Walk, degrees: dict[int, int]) -> tuple[int, int]:
    """Return the least and the most that any path counts."""
    found = {paths.end: (0, 0)}
    for node in paths.order:
        if node != paths.end:
            steps = [(degrees.get(hop, 0), found[paths.targets[hop]]) for hop in paths.steps[node]]
            least = min(own + further[0] for own, further in steps)
            found[node] = least, max(own + further[1] for own, further in steps)
    return found.get(paths.start, (0, 0))


def _names(stages: list[list[Place]]) -> list[str]:
    if len(stages) == 1 and len({place.stage for place in stages[0]}) > 1:
        return ["all"]
    names = [_name(places, stages) for places in stages]
    return [
        name if names.count(name) == 1 else _ends(places)
        for name, places in zip(names, stages, strict=True)
    ]


def _name(places: list[Place], stages: list[list[Place]]) -> str:
    first = places[0]
    if len({place.stage for place in places}) > 1:
        return _first(first.unit)
    alike = [other for other in stages if other[0].stage == first.stage]
    neighbours = {other[0].stage for other in stages if other[0].scope == first.scope}
    name = first.scope if first.scope and len(neighbours) == 1 else _ends(places)
    return name if len(alike) == 1 or not first.part else f"{name}.{first.part}"


def _ends(places: list[Place]) -> str:
    first, last = places[0].unit, places[-1].unit
    return first if first == last else f"{first}…{last}"
