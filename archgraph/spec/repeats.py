"""Repeated layers: copies, and how they are joined."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from archgraph.expression import ExpressionError, evaluate, parse
from archgraph.graph.instances import Instance, Member
from archgraph.graph.records import Node
from archgraph.spec.draft import Draft
from archgraph.spec.layers import Site, condition, draft_layer, finish, merged, settle
from archgraph.spec.lower import lower_layer
from archgraph.spec.scope import Bound
from archgraph.spec.tree import texts
from archgraph.spec.values import Concat, Linear, Reading, TensorTerm

__all__ = ["repeat_layer"]


def repeat_layer(site: Site, chain: Reading | None) -> Bound:
    """Make `name.0 … name.(n−1)` and return what the name stands for.

    `connect: sequential` chains the copies, `add` gives x + F(x) each time, `concat` lets each
    read all before it. Without it, a formula with a second bracket says itself what a copy reads.
    """
    scope, expansion = site.scope, site.scope.expansion
    count, names = _count(site), _names(site)
    numbers = scope.numbers
    bound = Bound(None, copies=[], module=site.module)
    scope.bound[site.name] = bound
    connect = site.model.connect or (None if _explicit(site) else "sequential")
    if connect is None:
        _check_depends(site)
    if site.entries and any(model.kind != "sequential" for _, model in site.entries):
        _refuse_merging_edges(site)
    repeat = _Repeat(site, bound, connect, chain)
    if count:
        expansion.instances[site.path] = Instance(path=site.path, kind="repeat", module=site.module)
    for i in range(count):
        scope.numbers = {**numbers, "i": i}
        scope.copy = i
        repeat.add(i, names.replace("{i}", str(i)).replace("{n}", str(i + 1)))
    scope.numbers, scope.copy = {**numbers, "i": 0}, None
    bound.reading = repeat.end()
    scope.numbers = numbers
    if count:
        expansion.instances[site.path] = replace(
            expansion.instances[site.path],
            inputs=repeat.inputs,
            outputs=(("", bound.reading.node, bound.reading.element),),
            members=tuple(repeat.members),
            connect=connect,
            count=str(site.model.repeat),
            about=site.model.about,
        )
    return bound


class _Repeat:
    """The copies so far, and what the next one follows."""

    def __init__(
        self, site: Site, bound: Bound, connect: str | None, chain: Reading | None
    ) -> None:
        self.site, self.bound, self.connect, self.chain = site, bound, connect, chain
        self.blocks = (*site.blocks, site.path)
        self.start: Reading | None = None
        self.state: Reading | None = None
        """What `connect: sequential` and `add` go on from."""
        self.members: list[Member] = []
        self.inputs: tuple[tuple[str, str, int], ...] = ()

    def add(self, i: int, name: str) -> None:
        """Make copy `i`, called `name`."""
        site = self._copy_site(i, name)
        scope = site.scope
        scope.expansion.at(site.path)
        with scope.expansion.doubtful() as doubt:
            draft = draft_layer(site)
            on = condition(site)
            if not on:
                doubt.forget()
        if self.connect is None:
            settle(site, draft, self.chain)
        else:
            self._follow(site, draft)
        copy = finish(site, draft, on=on)
        copy = Bound(copy.reading, dict(copy.members), None, copy.op, copy.module)
        if on:  # else it is what it reads, and there is nothing to add
            self._join(site, copy)
        assert self.bound.copies is not None
        self.bound.copies.append(copy)
        self.bound.members[name] = copy
        self.members.append(self._member(site, name, copy))

    def _copy_site(self, i: int, name: str) -> Site:
        site = self.site
        shared = site.model.share is True
        if isinstance(site.model.share, str):
            scope = site.scope
            mark = scope.document.mark((*site.place, "share"))
            scope.expansion.add("share", "copies share their own weights: share: true", mark)
        return replace(
            site,
            path=f"{site.path}.{name}",
            module=site.module if shared else f"{site.module}.{name}",
            blocks=self.blocks,
            entries=site.entries if i == 0 else (),
            index=i,
        )

    def _follow(self, site: Site, draft: Draft) -> None:
        """Let a copy read what `connect` says."""
        if self.start is None:
            settle(site, draft, self.chain)
            base = draft.bases.get(draft.first_port)
            if base is None:
                self.start = self.state = Reading("")
                return
            if self.connect == "sequential" and base.reading is None:
                self.start = Reading("")  # the first copy merges it itself
                return
            outside = replace(self.site, index=None)
            self.start = base.reading or merged(outside, f"{self.site.path}~1", base)
            self.state = self.start
            self.inputs = (("input", self.start.node, self.start.element),)
            draft.bases[draft.first_port] = Linear((TensorTerm(self.start),))
            return
        draft.bases.pop(draft.first_port, None)
        if self.connect == "concat":
            slots = [self.start, *self._readings()]
            draft.bases[draft.first_port] = _concat(slots)
        elif self.state is not None:
            draft.bases[draft.first_port] = Linear((TensorTerm(self.state),))

    def _readings(self) -> list[Reading]:
        return [copy.reading for copy in self.bound.copies or () if copy.reading]

    def _join(self, site: Site, copy: Bound) -> None:
        """Note the state after a copy; for `connect: add` the node `name.i.sum`."""
        if self.connect == "add" and self.state is not None and copy.reading is not None:
            name = f"{site.path}.sum"
            base = Linear((TensorTerm(self.state), TensorTerm(copy.reading)))
            self.state = merged(site, name, base)
            copy.members["sum"] = Bound(self.state)
        elif self.connect != "concat":
            self.state = copy.reading

    def _member(self, site: Site, name: str, copy: Bound) -> Member:
        reading = copy.reading or Reading("")
        if site.path in site.scope.expansion.instances:
            return Member(name, "instance")
        if reading.node == site.path:
            return Member(name, "node")
        return Member(name, "alias", (reading.node, reading.element))

    def end(self) -> Reading:
        """Return what the repeat's own name stands for."""
        if not self.members:
            return self._without_copies()
        if self.connect == "concat" and self.start is not None:
            node = Node(name=f"{self.site.path}.cat", block=self.blocks, mark=self.site.mark)
            base = _concat([self.start, *self._readings()])
            expansion = self.site.scope.expansion
            expansion.add_lowered(lower_layer(node, {"input": base}, {"input": self.site.mark}))
            return Reading(node.name)
        return self.state or Reading("")

    def _without_copies(self) -> Reading:
        """Return the input of a repeat of nothing."""
        with self.site.scope.expansion.doubtful() as doubt:
            draft = draft_layer(self.site)
            doubt.forget()
        settle(self.site, draft, self.chain)
        base = draft.bases.get(draft.first_port)
        if base is None:
            return Reading("")
        return base.reading or merged(self.site, self.site.path, base)


def _concat(readings: Sequence[Reading]) -> Linear:
    if len(readings) == 1:
        return Linear((TensorTerm(readings[0]),))
    slots = tuple(Linear((TensorTerm(reading),)) for reading in readings)
    return Linear((TensorTerm(Concat(slots, None)),))


def _count(site: Site) -> int:
    """Return how many copies there are; 1 after a problem, so that the first one is checked."""
    scope, given = site.scope, site.model.repeat
    path = (*site.place, "repeat")
    try:
        value = evaluate(given, scope.numbers) if isinstance(given, str) else given
    except ExpressionError as error:
        scope.expansion.add_expression(scope, error, path)
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        message = f"repeat is a whole number from 0 on, not {value}"
        scope.expansion.add("repeat", message, scope.document.mark(path))
        return 1
    if value > scope.expansion.limits.nodes:
        scope.expansion.too_large(scope.document.mark(path))
    return value


def _names(site: Site) -> str:
    """Return the pattern of the copies' names."""
    pattern = site.model.names
    if pattern is None:
        return "{i}"
    mark = site.scope.document.mark((*site.place, "names"))
    bare = pattern.replace("{i}", "0").replace("{n}", "0")
    if bare == pattern:
        message = f"all copies would be called '{pattern}'"
        site.scope.expansion.add("names", message, mark, help=f"names: '{pattern}{{i}}'")
        return "{i}"
    if not bare or "." in bare or "{" in bare or bare == "sum":
        message = f"'{pattern}' gives names that no submodule can bear"
        site.scope.expansion.add("names", message, mark, help="{i} counts from 0, {n} from 1")
        return "{i}"
    return str(pattern)


def _explicit(site: Site) -> bool:
    """Return whether the formula itself says what it reads."""
    return bool(_read_names(site))


def _read_names(site: Site) -> set[str]:
    """Return the names in the part of a formula that says what is read."""
    if not isinstance(site.model.op, str):
        return set()
    try:
        node = parse(site.model.op)
    except ExpressionError:
        return set()
    return {n.id for part in _read_parts(node) for n in ast.walk(part) if isinstance(n, ast.Name)}


def _read_parts(node: ast.expr) -> list[Any]:
    if isinstance(node, ast.IfExp):
        return [*_read_parts(node.body), *_read_parts(node.orelse)]
    if isinstance(node, ast.Name):
        return []
    if not isinstance(node, ast.Call):
        return [node]
    if isinstance(node.func, ast.Call):
        return [*node.args, *node.keywords]
    called = isinstance(node.func, ast.Name) and node.func.id[0].isalpha()
    return [node] if _is_merge(node) or not called else []


def _is_merge(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id in ("concat", "sum", "mix")


def _check_depends(site: Site) -> None:
    """Say of copies that would all read the same, and leave each other unread."""
    if _read_names(site) & {"i", site.name} or _copies_are_read(site):
        return
    path = (*site.place, "op")
    site.scope.expansion.add(
        "repeat",
        f"every copy of '{site.name}' reads the same",
        site.scope.document.mark(path),
        why="the second bracket depends neither on i nor on the copies before, "
        "so that all copies but the last would be read by nobody",
        help=f"connect: sequential takes it as the start; or read {site.name}[i - 1]",
    )


def _copies_are_read(site: Site) -> bool:
    """Return whether another layer of the scope reads single copies: `Chunk(3, i)(x)`, `q[0]`."""
    single = re.compile(rf"\b{re.escape(site.name)}\s*\[")
    scope = site.scope
    tree = scope.document.tree((*scope.path, "layers"))
    return any(single.search(text) for text in texts(tree))


def _refuse_merging_edges(site: Site) -> None:
    k, model = next((k, m) for k, m in site.entries if m.kind != "sequential")
    mark = site.scope.document.mark((*site.scope.path, "edges", k))
    site.scope.expansion.add(
        "edge-target",
        f"'{site.name}' is repeated, and an edge of kind {model.kind} says nothing of its copies",
        mark,
        help="an edge into a repeat is sequential, and goes to the first copy",
    )
