"""The nested form of a derivative: every hop is written exactly once, however many paths there are.

The adjoint recurrence ∂L/∂v = Σ over hops v → w of ∂L/∂w · ∂⁺w/∂v, with a node's own recurrence
put in its place where it is needed only once. What all paths run through (a post-dominator of the
target at which they meet) keeps its name, so that a chain of blocks reads block by block.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, TypeAlias

from archgraph.paths.algebra import Expression, Sum, add, multiply
from archgraph.paths.equations_symbols import HopSymbols
from archgraph.paths.view import View

__all__ = ["NestedLine", "nested_lines"]

MAX_DEPTH: Final = 6
"""Deepest brackets within brackets."""
MAX_JOINED: Final = 24
"""A node where paths meet is written out in another's line up to this many hops."""


@dataclass(frozen=True, slots=True)
class NestedLine:
    """∂of/∂node as a sum, once in direct partials and once in local derivatives."""

    node: str
    partial: tuple[Expression, ...]
    local: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """What stands behind a total: the derivative of one named node by another."""

    partial: Expression
    local: Expression
    hops: int = 1
    depth: int = 0
    """How deep the brackets are once it is a factor."""

    def after(self, left: _Part) -> _Part:
        """Return left · self."""
        return _Part(
            multiply(left.partial, self.partial),
            multiply(left.local, self.local),
            left.hops + self.hops,
            max(left.depth, self.depth),
        )

    def beside(self, other: _Part) -> _Part:
        """Return self + other."""
        return _Part(
            add([self.partial, other.partial]),
            add([self.local, other.local]),
            self.hops + other.hops,
            max(p.depth if isinstance(p.partial, Sum) else p.depth + 1 for p in (self, other)),
        )


_Sums: TypeAlias = dict[str, dict[str, _Part]]
"""For each node with a line of its own the totals in it, each with what stands behind it."""


def nested_lines(symbols: HopSymbols) -> list[NestedLine]:
    """Return one line for the target and one for each total that its line, or another, names.

    Lines come in topological order. Each hop of the view stands in exactly one of them.

    Cost: O(hops · log hops); paths are never enumerated.
    """
    place = {name: i for i, name in enumerate(symbols.view.nodes)}
    sums = _recurrence(symbols)
    _join(symbols.view, sums)
    return [
        _line(symbols, name, dict(sorted(parts.items(), key=lambda item: place[item[0]])))
        for name, parts in sums.items()
    ]


def _join(view: View, sums: _Sums) -> None:
    """Put a line in the place of its total where only one other names it and it is one product."""
    users: dict[str, set[str]] = {name: set() for name in view.nodes}
    for name, parts in sums.items():
        for target in parts:
            users[target].add(name)
    meeting = _meeting_nodes(view)
    kept = {view.wrt} | (meeting & _on_all_paths(view))
    waiting = list(view.nodes)
    while waiting:
        name = waiting.pop()
        if name not in sums or name in kept or len(users[name]) != 1 or len(sums[name]) != 1:
            continue
        (user,), ((target, inner),) = users[name], sums[name].items()
        if inner.depth >= MAX_DEPTH or (name in meeting and inner.hops > MAX_JOINED):
            continue
        joined = sums[user].pop(name).after(inner)
        # Nodes come from last to first, so that what joins stands before what is there: sums are
        # in the order of enumeration.
        others = sums[user].get(target)
        sums[user][target] = joined.beside(others) if others else joined
        users[target].discard(name)
        users[target].add(user)
        del sums[name]
        waiting.append(target)  # fewer lines name it now


def _recurrence(symbols: HopSymbols) -> _Sums:
    sums: _Sums = {name: {} for name in symbols.view.nodes if name != symbols.view.of}
    for hop in symbols.view.hops:
        part = _Part(symbols.partial(hop), symbols.local(hop))
        known = sums[hop.source].get(hop.target)
        sums[hop.source][hop.target] = known.beside(part) if known else part
    return sums


def _meeting_nodes(view: View) -> set[str]:
    """Return the nodes that several hops enter."""
    entering = Counter(hop.target for hop in view.hops)
    return {name for name, hops in entering.items() if hops > 1}


def _on_all_paths(view: View) -> set[str]:
    """Return the nodes that no hop passes by, through which all paths therefore run."""
    place = {name: i for i, name in enumerate(view.nodes)}
    farthest = [0] * len(view.nodes)
    for hop in view.hops:
        source = place[hop.source]
        farthest[source] = max(farthest[source], place[hop.target])
    found: set[str] = set()
    reach = 0
    for i, name in enumerate(view.nodes):
        if reach <= i:
            found.add(name)
        reach = max(reach, farthest[i])
    return found


def _line(symbols: HopSymbols, name: str, parts: dict[str, _Part]) -> NestedLine:
    partial: list[Expression] = []
    local: list[Expression] = []
    for target, part in parts.items():
        if target == symbols.view.of:
            partial.append(part.partial)
            local.append(part.local)
        else:
            total = symbols.total(target)
            partial.append(multiply(total, part.partial))
            local.append(multiply(total, part.local))
    return NestedLine(name, tuple(partial), tuple(local))
