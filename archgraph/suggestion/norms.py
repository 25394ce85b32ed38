"""Norms: before each activation, or moved from behind a sum to the start of its branch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from archgraph.graph import Node
from archgraph.module import infer
from archgraph.suggestion.candidate import Candidate, Subject, terms_of
from archgraph.suggestion.text import Edit, Entry

__all__ = ["norms"]

_SUM_OF: Final = re.compile(r"\s*(?P<op>\w+\([^()]*\))\((?P<sum>.*)\)\s*\Z", re.DOTALL)


def norms(subject: Subject) -> Iterator[Candidate]:
    """Yield norms before the activations, of the layer or of the batch, and pre-norm for post-norm.

    Batch norm comes into question where the prediction's batch is large enough to have statistics.
    """
    for norm in ("LayerNorm()", "BatchNorm"):
        edits = list(_before_activations(subject, norm))
        if edits:
            name = norm.rstrip("()")
            why = "each layer's values, and with them its gradient, are brought to one size"
            yield Candidate("norm", f"{name} before every activation", why, tuple(edits), 2)
    edits = list(_pre_norm(subject))
    if edits:
        why = "a norm inside the branch leaves the skip free: one path to the input meets no norm"
        yield Candidate("norm", "the norm before each branch, not after its sum", why, (*edits,), 2)


def _before_activations(subject: Subject, norm: str) -> Iterator[Edit]:
    """Yield edits that put a norm before every activation that follows a weight layer."""
    shapes = infer(subject.graph)
    taken: set[tuple[object, ...]] = set()
    for entry in subject.entries:
        nodes = subject.nodes(entry)
        if not nodes or not all(_is_bare_activation(subject, node) for node in nodes):
            continue
        rank = len(shapes[nodes[0].name].shape)
        op = norm
        if norm == "BatchNorm":
            op = {1: "BatchNorm1d()", 3: "BatchNorm2d()"}.get(rank, "")
        elif rank > 2:
            op = ""  # of an image it would take the last axis
        if op and (*entry.scope, entry.name) not in taken:
            taken.add((*entry.scope, entry.name))
            # A name is a word or a number, as attributes of modules are.
            name = f"norm_{entry.name}" if entry.name[0].isdecimal() else f"{entry.name}_norm"
            yield subject.source.before(entry.path, {subject.free_name(name): op})


def _is_bare_activation(subject: Subject, node: Node) -> bool:
    """Whether a node is an activation, no gate, of nothing but a weight layer's output."""
    if node.op is None or not node.op.op.activation or subject.is_gate(node):
        return False
    edges = subject.graph.edges_into(node.name)
    if len(edges) != 1:
        return False
    source = subject.graph.node(edges[0].source)
    return source.op is not None and source.op.op.weight_layer


def _pre_norm(subject: Subject) -> Iterator[Edit]:
    """Yield edits that move norms of sums to the start of the branches that are added."""
    factors = frozenset(subject.source.keys(("params",)))
    moved: Entry | None = None
    for entry in subject.entries:
        match = _SUM_OF.match(entry.formula or "")
        nodes = subject.nodes(entry)
        if match is None or not nodes or not all(_is_norm(node) for node in nodes):
            continue
        terms = terms_of(entry.formula or "", factors)
        edges = subject.graph.edges_into(nodes[0].name)
        roles = [edge.role for edge in edges]
        if len(terms) != 2 or sorted(roles) != ["branch", "skip"]:
            continue
        start = _after_value(subject, entry, terms[roles.index("skip")].value)
        if start is None:
            continue
        name = subject.free_name(f"{entry.name}_norm")
        yield subject.source.before(start.path, {name: match["op"]})
        yield subject.source.replace(entry.formula_path, match["sum"].strip())
        moved = entry
    if moved is not None:
        yield from _last_norm(subject, moved)


def _after_value(subject: Subject, entry: Entry, value: str) -> Entry | None:
    """Return the layer of the same scope that follows a value, which a branch starts with."""
    scope = [other for other in subject.entries if other.scope == entry.scope]
    names = [other.name for other in scope]
    position = names.index(value) + 1 if value in names else 0
    known = value in names or value == "input" or value in subject.source.keys(("inputs",))
    return scope[position] if known and position < names.index(entry.name) else None


def _last_norm(subject: Subject, moved: Entry) -> Iterator[Edit]:
    """Yield the edit that puts one norm behind the last block, as a pre-norm network has it."""
    norm = _SUM_OF.match(moved.formula or "")
    calls = [
        entry
        for entry in subject.entries
        if entry.scope == ("layers",)
        and moved.path[0] == "blocks"
        and re.match(rf"{re.escape(str(moved.path[1]))}\b", entry.formula or "")
    ]
    if calls and norm is not None:
        name = subject.free_name("norm")
        yield subject.source.after(calls[-1].path, {name: norm["op"]})


def _is_norm(node: Node) -> bool:
    return node.op is not None and node.op.op.family == "normalization"
