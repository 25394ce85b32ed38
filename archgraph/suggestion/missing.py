"""Skips that are missing beside blocks that have one: in some copies, or around some layers."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median_low
from typing import Any, Final

from archgraph.expression import ExpressionError, parse
from archgraph.graph import Instance, Node
from archgraph.module import infer
from archgraph.ops.op import format_value
from archgraph.suggestion.candidate import Candidate, Subject, listed
from archgraph.suggestion.effect import weight_layers
from archgraph.suggestion.text import Entry

__all__ = ["missing_skips"]

FEWEST: Final = 2
"""Blocks with a skip that there must be before one without is missing it."""
SEVERAL: Final = 3
"""Runs of layers that are mended one at a time too, not only all at once."""


def missing_skips(subject: Subject) -> Iterator[Candidate]:
    """Yield skips for the blocks, and for the runs of layers, that lack one beside some with one.

    A call of a block that makes an exception (`unit(i != 7)`, `unit(skip=False)`) makes it no
    more, nor does a copy that calls another block (`unit() if i != 7 else plain()`); layers
    between residual blocks get a sum behind them. Whether the skip fits is for the one to see that
    builds the network.
    """
    yield from _exceptions(subject)
    yield from _other_blocks(subject)
    yield from _around_runs(subject)


# --- calls that make an exception ---------------------------------------------------------------


def _exceptions(subject: Subject) -> Iterator[Candidate]:
    """Yield calls of blocks with the params of those calls that have a skip."""
    targets = tuple(edge.target for edge in subject.skips)
    called: dict[str, list[Instance]] = {}
    for instance in subject.graph.instances.values():
        if instance.kind == "block" and instance.block is not None:
            called.setdefault(instance.block, []).append(instance)
    for block, calls in called.items():
        has = {call.path: any(t.startswith(f"{call.path}.") for t in targets) for call in calls}
        good = [call for call in calls if has[call.path]]
        bad = [call for call in calls if not has[call.path]]
        if len(good) < FEWEST or not bad or len(good) < len(bad):
            continue
        for name, _ in good[0].params:
            value, count = Counter(repr(dict(call.params)[name]) for call in good).most_common(1)[0]
            usual = next(dict(c.params)[name] for c in good if repr(dict(c.params)[name]) == value)
            other = [call for call in bad if repr(dict(call.params)[name]) != value]
            if count == len(good) and other:
                yield from _without_exception(subject, block, name, usual, other, len(good))


def _without_exception(
    subject: Subject, block: str, name: str, value: Any, calls: Sequence[Instance], others: int
) -> Iterator[Candidate]:
    """Yield the candidate that gives these calls the value which those with a skip have."""
    own = {_layer(call): call for call in calls}
    edits = []
    for entry in subject.entries:
        if entry.name in own and entry.formula is not None:
            changed = _given(entry.formula, block, own[entry.name], name, value)
            if changed is not None and changed != entry.formula:
                edits.append(subject.source.replace(entry.formula_path, changed))
    if edits:
        where = listed([call.path for call in calls])
        why = f"{others} other calls of {block} have one, with {name}={format_value(value)}"
        yield Candidate("missing skip", f"the missing skip of {where}", why, tuple(edits), 0)


def _other_blocks(subject: Subject) -> Iterator[Candidate]:
    """Yield repeats whose copies all call the block that has a skip, where a few call another."""
    targets = tuple(edge.target for edge in subject.skips)
    for entry in subject.entries:
        path = ".".join(map(str, entry.path[1:]))
        repeat = subject.graph.instances.get(path)
        if entry.scope != ("layers",) or repeat is None or repeat.kind != "repeat":
            continue
        copies = [f"{path}.{member.name}" for member in repeat.members]
        bare = [copy for copy in copies if not any(t.startswith(f"{copy}.") for t in targets)]
        good = [copy for copy in copies if copy not in bare]
        if len(good) < FEWEST or not bare or len(good) < len(bare):
            continue
        called = subject.graph.instances.get(good[0])
        block = called.block if called is not None else None
        changed = _chosen(entry.formula or "", block) if block is not None else None
        if changed is not None:
            edit = subject.source.replace(entry.formula_path, changed)
            why = f"{len(good)} other copies call {block}, which has one"
            title = f"{block} with its skip for {listed(bare)} too"
            yield Candidate("missing skip", title, why, (edit,), 2)


def _chosen(formula: str, block: str) -> str | None:
    """Return a formula that calls the block where it did so on its only condition, else None."""
    try:
        tree = parse(formula)
    except ExpressionError:
        return None
    conditional = [node for node in ast.walk(tree) if isinstance(node, ast.IfExp)]
    if len(conditional) != 1:
        return None
    (node,) = conditional
    calling = [part for part in (node.body, node.orelse) if _calls(part, block)]
    if len(calling) != 1:
        return None
    text = formula[calling[0].col_offset : calling[0].end_col_offset]
    return formula[: node.col_offset] + text + formula[node.end_col_offset :]


def _calls(node: ast.AST, block: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == block for part in ast.walk(node))


def _layer(call: Instance) -> str:
    """Return the name of the layer of the spec that a call stands in; copies are of one."""
    path = call.path if call.index is None else call.path.rpartition(".")[0]
    return path.rpartition(".")[2]


def _given(formula: str, block: str, call: Instance, name: str, value: Any) -> str | None:
    """Return a formula whose call of the block gives a param this value; None without a call."""
    try:
        tree = parse(formula)
    except ExpressionError:
        return None
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=found)) if found == block:
                break
    else:
        return None

    def text(part: ast.AST) -> str:
        return ast.get_source_segment(formula, part) or ""

    order = [param for param, _ in call.params]
    default = dict(call.defaults).get(name) == format_value(value)
    written = format_value(value)
    given = {order[i]: text(part) for i, part in enumerate(node.args) if i < len(order)}
    keywords = {part.arg: text(part.value) for part in node.keywords if part.arg is not None}
    if name in keywords or name not in given:
        keywords[name] = written
        if default:
            del keywords[name]
    elif default and name == list(given)[-1]:
        del given[name]
    else:
        given[name] = written
    arguments = [*given.values(), *(f"{key}={value}" for key, value in keywords.items())]
    start, end = node.col_offset, node.end_col_offset or 0
    return f"{formula[:start]}{block}({', '.join(arguments)}){formula[end:]}"


# --- layers between residual blocks -------------------------------------------------------------

_Run = tuple[str, str]
"""The names of the value before a run of layers, and of its last layer."""


def _around_runs(subject: Subject) -> Iterator[Candidate]:
    """Yield sums behind the runs of the spec's own layers that stand between residual blocks."""
    runs = _runs(subject)
    several = [runs] if len(runs) > 1 else []
    for chosen in [*several, *([run] for run in runs[:SEVERAL])]:
        edits = []
        for before, last in chosen:
            name = subject.free_name(f"{last}_skip")
            edits.append(subject.source.after(("layers", last), {name: f"{last} + {before}"}))
        where = listed([f"{before} → {last}" for before, last in chosen])
        why = "no skip leads around these layers, as in the blocks beside them"
        yield Candidate("missing skip", f"the missing skip {where}", why, tuple(edits), 2)


def _runs(subject: Subject) -> list[_Run]:
    """Return the runs without a skip between two layers with one, with the same shape at both ends.

    Such a run has at least as many weight layers as the blocks usually have.
    """
    graph, shapes = subject.graph, infer(subject.graph)
    spans = [(graph.position(e.source), graph.position(e.target)) for e in subject.skips]
    if len(spans) < FEWEST:
        return []
    heavy = [graph.position(node.name) for node in weight_layers(graph)]
    usual = max(1, median_low([sum(a < h <= b for h in heavy) for a, b in spans]))
    found: list[_Run] = []
    before: str | None = None
    run: list[Entry] = []
    for entry in subject.entries:
        if entry.scope != ("layers",) or entry.name not in _values(subject):
            continue
        positions = _positions(subject, entry)
        if not any(a < p <= b for p in positions for a, b in spans):
            run.append(entry)
            continue
        if before is not None and run:
            ends = (_values(subject)[name] for name in (before, run[-1].name))
            one, other = (shapes[node].shape for node in ends)
            weights = sum(p in heavy for e in run for p in _positions(subject, e))
            if one == other and weights >= usual:
                found.append((before, run[-1].name))
        before, run = entry.name, []
    return found


def _values(subject: Subject) -> dict[str, str]:
    """Return the node that each layer of the network's own chain gives, by the layer's name."""
    graph = subject.graph
    members = graph.instances[""].members if "" in graph.instances else ()
    values = {member.name: member.name for member in members if member.kind == "node"}
    for member in members:
        if member.kind == "instance" and graph.instances[member.name].outputs:
            values[member.name] = graph.instances[member.name].outputs[0][1]
    return values


def _positions(subject: Subject, entry: Entry) -> list[int]:
    """Return the positions of the nodes that a layer of the network's own chain became."""

    def within(node: Node) -> bool:
        return node.name == entry.name or node.name.startswith(f"{entry.name}.")

    return [i for i, node in enumerate(subject.graph.nodes) if within(node)]
