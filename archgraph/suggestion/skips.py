"""Skips where there are none: around every copy of a repeat, around several, along a chain.

Where most blocks have one already, see `missing`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from archgraph.errors import UsageError
from archgraph.expression import ExpressionError, parse
from archgraph.graph import Node
from archgraph.module import infer
from archgraph.suggestion.candidate import Candidate, Subject
from archgraph.suggestion.text import Entry

__all__ = ["repeat_skip", "skips"]

EVERY = 5
"""Copies that one skip spans, unless there are too few."""


def skips(subject: Subject) -> Iterator[Candidate]:
    """Yield skips around the copies of repeats, one or several at a time, and along chains."""
    for entry in subject.entries:
        count = _copies(subject, entry)
        if count is None or _has_skips(subject, entry):
            continue
        yield repeat_skip(subject, entry.name, 1)
        spans = [k for k in range(2, count // 2 + 1) if count % k == 0]
        if spans and not _uses_index(entry.formula or ""):
            yield repeat_skip(subject, entry.name, min(spans, key=lambda k: abs(k - EVERY)))
    for every in (1, EVERY):
        candidate = _chain_skips(subject, every)
        if candidate is not None:
            yield candidate


def repeat_skip(subject: Subject, name: str, every: int) -> Candidate:
    """Return the candidate with a skip over every `every` copies of a repeat.

    Over each copy it is `connect: add`; over several, they become a block that is repeated so.

    Args:
        subject: The network.
        name: The repeated layer.
        every: How many copies a skip spans, at least 1.

    Raises:
        UsageError: there is no such repeat, its copies say themselves what they read, or their
            number is no multiple of `every`.
    """
    entry = next((e for e in subject.entries if e.name == name), None)
    count = None if entry is None else _copies(subject, entry)
    if entry is None or count is None:
        known = [e.name for e in subject.entries if _copies(subject, e) is not None]
        hint = f"there are {', '.join(known)}" if known else "there is none"
        raise UsageError(f"{name!r} is no layer with copies that follow one another; {hint}")
    source, path = subject.source, entry.path
    if every == 1:
        why = "each copy then adds to what it reads, and one path to the input meets no weights"
        edit = source.set(path, "connect", "add")
        return Candidate("skip", f"a skip around every copy of {name}", why, (edit,), 2)
    if every < 1 or count % every:
        raise UsageError(f"{name!r} has {count} copies, which {every} does not divide")
    if entry.formula is None or _uses_index(entry.formula):
        raise UsageError(f"the copies of {name!r} are not alike, so that {every} make no group")
    group = subject.free_name("group")
    inner = {"op": entry.formula, "repeat": str(every)}
    block = {group: {"layers": {"layer": inner}}}
    times = source.scalar((*path, "repeat")) or str(count)
    edits = [
        source.replace(entry.formula_path, f"{group}()"),
        source.set(path, "repeat", _divided(times, every)),
        source.set(path, "connect", "add"),
    ]
    blocks = source.keys(("blocks",))
    if blocks:
        edits.append(source.after(("blocks", blocks[-1]), block))
    else:
        edits.append(source.before(("layers",), {"blocks": block}))
    why = f"one path to the input meets no weights; a gradient passes at most {every} copies"
    return Candidate("skip", f"a skip over every {every} copies of {name}", why, tuple(edits), 2)


def _divided(text: str, every: int) -> str:
    if text.isdecimal():
        return str(int(text) // every)
    return f"{text} // {every}" if re.fullmatch(r"\w+", text) else f"({text}) // {every}"


def _copies(subject: Subject, entry: Entry) -> int | None:
    """Return how many copies a repeat has that follow one another; None if it is no such repeat."""
    source = subject.source
    if source.node((*entry.path, "repeat")) is None:
        return None
    if (source.scalar((*entry.path, "connect")) or "sequential") != "sequential":
        return None
    if entry.formula is None or _reads(entry.formula):
        return None
    found = [
        len(instance.members)
        for path, instance in subject.graph.instances.items()
        if instance.kind == "repeat" and path.rpartition(".")[2] == entry.name
    ]
    return found[0] if found and found[0] > 1 else None


def _reads(formula: str) -> bool:
    """Return whether a formula says itself what it reads."""
    try:
        node = parse(formula)
    except ExpressionError:
        return True
    match node:
        case ast.Name():
            return False
        case ast.Call(func=ast.Name(id=name)):
            return name in ("concat", "mix", "sum", "learn")
    return True


def _uses_index(formula: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == "i" for n in ast.walk(parse(formula)))


def _has_skips(subject: Subject, entry: Entry) -> bool:
    """Return whether copies of a repeat have skips around or in them."""
    paths = [p for p in subject.graph.instances if p.rpartition(".")[2] == entry.name]
    inside = tuple(f"{path}." for path in paths)
    return any(edge.target.startswith(inside) for edge in subject.skips)


def _chain_skips(subject: Subject, every: int) -> Candidate | None:
    """Return the candidate with a sum behind every so many weight layers of the spec's own chain.

    Only where a run of them gives values of one shape, none of them repeated or already a merge.
    """
    states = _longest_run(subject)
    if len(states) <= every or (every > 1 and len(states) <= 2 * every):
        return None
    edits, carried = [], states[0]
    for end in states[every::every]:
        name = subject.free_name(f"{end}_skip")
        edits.append(subject.source.after(("layers", end), {name: f"{end} + {carried}"}))
        carried = name
    one = every == 1
    what = "around every weight layer" if one else f"over every {every} weight layers"
    why = "one path to the first of them meets no weights"
    return Candidate("skip", f"a skip {what} of the chain", why, tuple(edits), 2)


def _longest_run(subject: Subject) -> list[str]:
    """Return values of equal shape along the chain, one before each weight layer and the last."""
    shapes, graph = infer(subject.graph), subject.graph
    runs: list[list[str]] = [[]]
    before: Node | None = graph.inputs[0] if len(graph.inputs) == 1 else None
    for entry in subject.entries:
        if entry.scope != ("layers",):
            continue
        nodes = subject.nodes(entry)
        plain = len(nodes) == 1 and nodes[0].name == entry.name and entry.formula is not None
        if not plain or before is None or not _follows(subject, nodes[0], before):
            runs.append([])
        else:
            op = nodes[0].op
            if op is not None and op.op.weight_layer:
                runs[-1].append(before.name)
        before = nodes[0] if plain else None
    if before is not None:
        runs[-1].append(before.name)
    alike: list[list[str]] = []
    for run in runs:
        for name in run:
            new = not alike or not alike[-1] or shapes[alike[-1][-1]].shape != shapes[name].shape
            if new or name == run[0]:
                alike.append([])
            alike[-1].append(name)
    return max(alike, key=len, default=[])


def _follows(subject: Subject, node: Node, before: Node) -> bool:
    edges = subject.graph.edges_into(node.name)
    return len(edges) == 1 and edges[0].source == before.name and edges[0].scale.is_one
