"""Repeats that a `for` runs: what each copy reads, said once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from torch import nn

from archgraph.graph import Edge, Graph
from archgraph.module.units import Layer, Part, Ref, Unit, relative
from archgraph.module.values import Shapes

__all__ = ["Loop", "LoopInput", "find_loop", "is_chain", "slices"]


_SEQUENTIAL: Final = frozenset(dir(nn.Sequential))


@dataclass(frozen=True, slots=True)
class LoopInput:
    """What one input of every copy reads.

    `state`: what the copy before gives, at first `refs[0]`; `same`: `refs[0]`; `each`: `refs[i]`;
    `list`: the concatenation of `refs` and all copies before.
    """

    kind: Literal["state", "same", "each", "list"]
    refs: tuple[Ref, ...]
    dim: int | None = None
    """The axis of the concatenation, batch counted."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A repeat as a `for` over its copies."""

    copies: tuple[Part, ...]
    inputs: tuple[LoopInput, ...]
    adds: bool
    """Whether the state is x + F(x)."""
    given: tuple[Ref, ...]
    """What each copy gives."""
    states: tuple[Ref, ...]
    """The state after each copy."""
    end: str | None = None
    """The node that concatenates the list at the end."""

    @property
    def start(self) -> tuple[Ref, ...]:
        """What the list begins with; empty if there is none."""
        return next((i.refs for i in self.inputs if i.kind == "list"), ())

    @property
    def reads(self) -> tuple[Ref, ...]:
        """Every value from outside, in order."""
        return tuple(dict.fromkeys(ref for i in self.inputs for ref in i.refs))


def slices(items: Sequence[tuple[str, int, int] | None]) -> list[tuple[int, int, str]]:
    """Return the runs of neighbours among elements of lists, each with its text.

    Args:
        items: The list, the position in it and its length, or None for what is in no list.

    Returns:
        Where each run of two or more begins and ends, and what unpacks it.

    Example:
        >>> slices([("enc", 2, 4), ("enc", 1, 4), ("enc", 0, 4), None])
        [(0, 3, '*reversed(enc[:-1])')]
        >>> slices([("h", 0, 3), ("h", 1, 3), ("h", 2, 3)])
        [(0, 3, '*h')]
    """
    found = []
    start = 0
    while start < len(items):
        step, stop = _run(items, start)
        first = items[start]
        if first is not None and stop - start > 1:
            name, position, length = first
            low, high = sorted((position, position + step * (stop - start - 1)))
            below = f"{low or ''}:{high + 1 - length or ''}"
            part = name if below == ":" else f"{name}[{below}]"
            found.append((start, stop, f"*reversed({part})" if step < 0 else f"*{part}"))
        start = stop
    return found


def _run(items: Sequence[tuple[str, int, int] | None], start: int) -> tuple[int, int]:
    """Return the step, and the end, of the run that begins at a place."""
    for step in (-1, 1):
        stop = start + 1
        while stop < len(items) and _follows(items[start], items[stop], step * (stop - start)):
            stop += 1
        if stop - start > 1:
            return step, stop
    return 1, start + 1


def _follows(
    first: tuple[str, int, int] | None, other: tuple[str, int, int] | None, distance: int
) -> bool:
    if first is None or other is None:
        return False
    return other == (first[0], first[1] + distance, first[2])


def is_chain(unit: Unit, graph: Graph, shapes: Shapes) -> bool:
    """Whether each part is a module that reads just the one before it, so that they are a chain."""
    if len(unit.inputs) != 1 or len(unit.outputs) != 1:
        return False
    (current,) = unit.inputs
    for part in unit.parts:
        if isinstance(part, Unit):
            callable_ = part.form in ("class", "chain") and len(part.outputs) == 1
            if not callable_ or list(part.inputs) != [current]:
                return False
            current = part.outputs[0]
        else:
            if part.manner != "module" or part.path in shapes.tuples:
                return False
            edges = graph.edges_into(part.path)
            if len(edges) != 1 or not _is_plain(edges[0]) or _ref(edges[0]) != current:
                return False
            current = (part.path, 0)
    modules = [relative(part.module, unit.module) for part in unit.parts]
    direct = all(name and "." not in name and name not in _SEQUENTIAL for name in modules)
    return direct and len(set(modules)) == len(modules) and current == unit.outputs[0]


def _is_plain(edge: Edge) -> bool:
    return edge.scale.is_one and edge.scale.text is None


def _ref(edge: Edge) -> Ref:
    return edge.source, edge.element


# --- loops ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Read:
    """What one input of one copy reads: one value, or the concatenation of several."""

    refs: tuple[Ref, ...]
    dim: int | None = None


def find_loop(unit: Unit, graph: Graph, shapes: Shapes) -> Loop | None:
    """Return the loop that runs a repeat, or None where its copies are not alike enough."""
    turns = _turns(unit)
    if turns is None or len(turns) < 2:
        return None
    *_, tail = turns
    bodies = turns[:-1]
    found = [_body(body, graph, shapes) for body in bodies]
    bodies_found = [body for body in found if body is not None]
    if len(bodies_found) < max(2, len(found)):
        return None
    copies, reads, given, states, added = zip(*bodies_found, strict=True)
    if len({len(r) for r in reads}) != 1 or len({type(c) for c in copies}) != 1:
        return None
    inputs = [_input(column, given, states) for column in zip(*reads, strict=True)]
    kinds = [i.kind for i in inputs if i is not None]
    if None in inputs or kinds.count("list") > 1 or kinds.count("state") > 1:
        return None
    loop = Loop(copies, tuple(i for i in inputs if i), given != states, given, states)
    start = next((i.refs[0] for i in loop.inputs if i.kind == "state"), None)
    if loop.adds and (added != (start, *states[:-1]) or loop.start):
        return None
    return _ended(loop, tail, graph, shapes, unit)


def _turns(unit: Unit) -> list[list[Part]] | None:
    """Return the parts of each turn, and last those after all copies."""
    names = [member.name for member in unit.instance.members]
    turns: list[list[Part]] = [[] for _ in (*names, "")]
    position = {name: i for i, name in enumerate(names)}
    for part in unit.parts:
        name = relative(part.path, unit.path)
        copy = next((n for n in _heads(name) if n in position), None)
        turns[len(names) if copy is None else position[copy]].append(part)
    order = [part for turn in turns for part in turn]
    return turns if order == unit.parts and all(turns[:-1]) else None


def _heads(name: str) -> Iterable[str]:
    yield name
    for mark in (".", "~"):
        yield name.partition(mark)[0]


def _body(
    parts: Sequence[Part], graph: Graph, shapes: Shapes
) -> tuple[Part, tuple[_Read, ...], Ref, Ref, Ref | None] | None:
    """Return a turn's copy, what its inputs read, what it gives, the state after it, the added."""
    modules = [p for p in parts if isinstance(p, Unit) or p.manner != "merge"]
    if len(modules) != 1 or not _is_callable(modules[0], shapes):
        return None
    (copy,) = modules
    merges = {p.path: p for p in parts if isinstance(p, Layer) and p is not copy}
    given = (copy.path, 0) if isinstance(copy, Layer) else copy.outputs[0]
    reads = _layer_reads(copy, graph, shapes) if isinstance(copy, Layer) else _unit_reads(copy)
    if reads is None:
        return None
    known: list[_Read] = []
    for read in reads:
        merge = merges.pop(read.refs[0][0], None) if read.dim is None else None
        before = read if merge is None else _concat(merge, graph, shapes)
        if before is None:
            return None
        known.append(before)
    if not merges:
        return copy, tuple(known), given, given, None
    (path, *others) = merges
    terms = graph.edges_into(path)
    plain = [_ref(e) for e in terms if _is_plain(e) and e.kind == "add"]
    if others or len(plain) != len(terms) or len(plain) != 2 or plain[1] != given:
        return None
    return copy, tuple(known), given, (path, 0), plain[0]


def _is_callable(part: Part, shapes: Shapes) -> bool:
    if isinstance(part, Unit):
        return part.form in ("class", "chain") and len(part.outputs) == 1
    return part.manner == "module" and part.path not in shapes.tuples


def _unit_reads(copy: Unit) -> list[_Read]:
    return [_Read((ref,)) for ref in copy.inputs]


def _layer_reads(copy: Layer, graph: Graph, shapes: Shapes) -> list[_Read] | None:
    reads = []
    for port, edges in graph.ports(copy.path).items():
        if not all(map(_is_plain, edges)) or edges[0].kind not in ("concat", "sequential"):
            return None
        dim = shapes.dims[copy.path, port] if edges[0].kind == "concat" else None
        reads.append(_Read(tuple(map(_ref, edges)), dim))
    return reads


def _concat(merge: Layer, graph: Graph, shapes: Shapes) -> _Read | None:
    if len(graph.edges_out_of(merge.path)) != 1 and not _one_reader(merge, graph):
        return None
    reads = _layer_reads(merge, graph, shapes)
    return reads[0] if reads and (reads[0].dim is not None or len(reads[0].refs) == 1) else None


def _one_reader(merge: Layer, graph: Graph) -> bool:
    """Whether only the copy that it stands before reads a merge, however often."""
    copy = merge.path.rpartition(".")[0]
    return all(e.target.startswith(f"{copy}.") for e in graph.edges_out_of(merge.path))


def _input(
    column: Sequence[_Read], given: Sequence[Ref], states: Sequence[Ref]
) -> LoopInput | None:
    """Return what one input of all copies reads, one `_Read` for each copy."""
    first, dims = column[0], {read.dim for read in column[1:]}
    if dims == {None} and first.dim is None:
        refs = [read.refs[0] for read in column]
        if refs[1:] == list(states[:-1]):
            return LoopInput("state", (refs[0],))
        if len(set(refs)) == 1:
            return LoopInput("same", (refs[0],))
        inside = {*given, *states}
        return None if inside.intersection(refs) else LoopInput("each", tuple(refs))
    start = first.refs
    if len(dims) == 1 and first.dim in (None, *dims) and (first.dim is None) == (len(start) == 1):
        grown = all(read.refs == (*start, *given[:i]) for i, read in enumerate(column))
        return LoopInput("list", start, dims.pop()) if grown else None
    return None


def _ended(
    loop: Loop, tail: Sequence[Part], graph: Graph, shapes: Shapes, unit: Unit
) -> Loop | None:
    """Return the loop with the concatenation that follows it, if all that is read can be had."""
    known = set(loop.states)
    if not tail:
        return loop if known.issuperset(unit.outputs) else None
    (last, *others) = tail
    if others or not isinstance(last, Layer) or last.manner != "merge" or not loop.start:
        return None
    read = _layer_reads(last, graph, shapes)
    dim = next(i.dim for i in loop.inputs if i.kind == "list")
    if read != [_Read((*loop.start, *loop.given), dim)]:
        return None
    ended = Loop(loop.copies, loop.inputs, loop.adds, loop.given, loop.states, last.path)
    return ended if {*known, (last.path, 0)}.issuperset(unit.outputs) else None
