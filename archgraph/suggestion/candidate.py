"""A change of a spec that may mend its gradient, and what the families of changes need to know."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from archgraph.expression import ExpressionError, parse
from archgraph.graph import Edge, Graph, Node
from archgraph.ops.op import Op
from archgraph.suggestion.text import Edit, Entry, Source

__all__ = ["Candidate", "Subject", "Term", "listed", "terms_of"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A change of a spec: what it is called, why it may help, and the characters it changes."""

    family: str
    """`init`, `activation`, `scale`, `skip`, `missing skip` or `norm`."""
    title: str
    why: str
    edits: tuple[Edit, ...]
    invasiveness: int
    """0 a number or an init, 1 the function that is computed, 2 its structure."""


@dataclass(frozen=True)
class Subject:
    """The network that is to be mended: its text, and the graph which that gives."""

    source: Source
    graph: Graph
    file: str
    """How the marks of the graph call the file of this text; what it includes has other names."""

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every layer of the document."""
        return tuple(self.source.layers())

    def nodes(self, entry: Entry) -> list[Node]:
        """Return the nodes that an entry became: none if it calls a block, several in copies."""
        return self._by_place.get((entry.line, entry.column), [])

    @cached_property
    def _by_place(self) -> dict[tuple[int, int], list[Node]]:
        found: dict[tuple[int, int], list[Node]] = {}
        for node in self.graph.nodes:
            # What a block library holds stands in another file, under the same numbers perhaps.
            if node.mark is not None and node.mark.file == self.file:
                found.setdefault((node.mark.line, node.mark.column), []).append(node)
        return found

    def is_gate(self, node: Node) -> bool:
        """Whether a value multiplies another one."""
        return any(edge.kind == "multiply" for edge in self.graph.edges_out_of(node.name))

    @cached_property
    def activation(self) -> Op | None:
        """The activation that most layers have, gates left out; None without one."""
        ops = [
            node.op.op
            for node in self.graph.nodes
            if node.op is not None and node.op.op.activation and not self.is_gate(node)
        ]
        names = Counter(op.name for op in ops)
        most = names.most_common(1)[0][0] if names else None
        return next((op for op in ops if op.name == most), None)

    @cached_property
    def skips(self) -> tuple[Edge, ...]:
        """The edges whose role is skip."""
        return tuple(edge for edge in self.graph.edges if edge.role == "skip")

    @cached_property
    def depth(self) -> int:
        """How many sums a skip takes part in: the number of residual blocks."""
        return len({edge.target for edge in self.skips if edge.kind == "add"})

    def in_terms_of_depth(self, number: int) -> str:
        """Return a multiple of the depth as an expression of the param that says how deep it is.

        A plain number where no param does.
        """
        for entry in self.entries:
            text = self.source.scalar((*entry.path, "repeat")) or ""
            value = self.graph.params.get(text)
            if isinstance(value, int) and value > 1 and number % value == 0:
                return text if number == value else f"({number // value}*{text})"
        return str(number)

    def free_name(self, name: str) -> str:
        """Return `name`, with a number behind it if something is called so already."""
        used = {entry.name for entry in self.entries} | {*self.source.keys(("blocks",))}
        used |= {*self.source.keys(("params",)), *self.source.keys(("inputs",))}
        names = (name if i == 0 else f"{name}{i + 1}" for i in range(len(used) + 1))
        return next(free for free in names if free not in used)


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of a formula: the characters it takes, its factor and what is multiplied."""

    start: int
    end: int
    factor: str | None
    value: str


def listed(names: Sequence[str]) -> str:
    """Return names for a title: the first three, and how many more there are."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def terms_of(formula: str, factors: frozenset[str]) -> list[Term]:
    """Return the summands of the sum that a formula reads; none if it reads no sum.

    Args:
        formula: Such as `lam*input + F` or `ReLU()(F2 + lam*x1)`.
        factors: Names that stand for numbers.

    Example:
        >>> [(t.factor, t.value) for t in terms_of("ReLU()(F2 + lam*x1)", frozenset({"lam"}))]
        [(None, 'F2'), ('lam', 'x1')]
    """
    try:
        node = parse(formula)
    except ExpressionError:
        return []
    match node:
        case ast.Call(func=ast.Call(), args=[inside], keywords=[]):
            node = inside
    found = [_term(formula, part, factors) for part in _summands(node)]
    return [term for term in found if term] if len(found) > 1 and all(found) else []


def _summands(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield from _summands(left)
            yield from _summands(right)
        case _:
            yield node


def _term(formula: str, node: ast.expr, factors: frozenset[str]) -> Term | None:
    def text(part: ast.expr) -> str:
        return formula[part.col_offset : part.end_col_offset]

    start, end = node.col_offset, node.end_col_offset or 0
    match node:
        case ast.Name() | ast.Subscript() | ast.Attribute():
            return Term(start, end, None, text(node))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            if _is_factor(left, factors):
                return Term(start, end, text(left), text(right))
            if _is_factor(right, factors):
                return Term(start, end, text(right), text(left))
    return None


def _is_factor(node: ast.expr, factors: frozenset[str]) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="learn")):
            return True
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return names <= factors
