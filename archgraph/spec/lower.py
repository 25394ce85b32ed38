"""One layer's formula to nodes and edges: inner merges become nodes `name~1`, `name~2`, …."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from archgraph.errors import Mark
from archgraph.graph.records import ONE, Edge, EdgeKind, Node, Scale
from archgraph.numbers import Number
from archgraph.ops.arguments import bind
from archgraph.ops.catalogue import get
from archgraph.ops.op import OpCall
from archgraph.spec.values import Concat, Linear, Product, Reading, TensorTerm

__all__ = ["Lowered", "lower_layer"]


@dataclass(slots=True)
class Lowered:
    """The nodes and edges of one layer, inner merges first."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Operand:
    reading: Reading
    scale: Scale = ONE
    forced: bool | None = None


@dataclass(frozen=True, slots=True)
class _Merge:
    """What a node reads at one port, and how it merges it."""

    kind: EdgeKind
    operands: tuple[_Operand, ...]
    dim: int | None = None


def affine(scale: Number, shift: Number) -> OpCall:
    """Return the call of the op scale·x + shift."""
    op = get("Affine")
    assert op is not None
    call, problems = bind(op, [scale, shift], {})
    assert call is not None, problems
    return call


def lower_layer(
    node: Node, bases: Mapping[str, Linear], marks: Mapping[str, Mark] | None = None
) -> Lowered:
    """Return a layer as nodes and edges.

    Args:
        node: The layer's node, its op set (None for a bare merge).
        bases: What each port reads.
        marks: Where each port's formula stands.
    """
    lowering = _Lowering(node.name, node.block, marks or {})
    dims: list[tuple[str, int | None]] = []
    for port, linear in bases.items():
        if node.op is None and linear.constant:
            # `1 - T` as a layer of its own: the layer itself is the Affine.
            call, linear = _as_affine(linear)
            node = replace(node, op=call, module=node.name)
        merge = lowering.merge(linear)
        lowering.connect(node.name, port, merge)
        if merge.kind == "concat":
            dims.append((port, merge.dim))
    lowering.result.nodes.append(replace(node, dims=tuple(dims)) if dims else node)
    return lowering.result


def _as_affine(linear: Linear) -> tuple[OpCall, Linear]:
    """Return the Affine op of a sum with a constant, and what it is applied to."""
    if len(linear.terms) == 1 and linear.terms[0].scale.learn is None:
        term = linear.terms[0]
        inner = Linear((replace(term, scale=ONE),))
        return affine(term.scale.value, linear.constant), inner
    return affine(1, linear.constant), replace(linear, constant=0)


class _Lowering:
    def __init__(self, name: str, block: tuple[str, ...], marks: Mapping[str, Mark]) -> None:
        self._name, self._block, self._marks = name, block, marks
        self._count = 0
        self.result = Lowered()

    def connect(self, target: str, port: str, merge: _Merge) -> None:
        """Add the edges of one merge."""
        for slot, operand in enumerate(merge.operands):
            self.result.edges.append(
                Edge(
                    source=operand.reading.node,
                    target=target,
                    kind=merge.kind,
                    scale=operand.scale,
                    port=port,
                    slot=slot,
                    element=operand.reading.element,
                    forced=operand.forced,
                    mark=self._marks.get(port),
                )
            )

    def merge(self, linear: Linear) -> _Merge:
        """Return how a node merges `linear`, after making the inner merges it needs."""
        if linear.constant:
            return _Merge("sequential", (_Operand(self._inner(linear)),))
        if len(linear.terms) > 1:
            return _Merge("add", tuple(self._term(term) for term in linear.terms))
        (term,) = linear.terms
        match term.value:
            case Product(factors=factors):
                return self._product(term, factors)
            case Concat(slots=slots, dim=dim) if term.scale.is_one:
                return _Merge("concat", tuple(self._operand(slot) for slot in slots), dim)
            case Linear() if term.scale.is_one:
                return self.merge(term.value)
        return _Merge("sequential", (self._term(term),))

    def _product(self, term: TensorTerm, factors: tuple[Linear, ...]) -> _Merge:
        operands = [self._operand(factor) for factor in factors]
        if not term.scale.is_one:
            first = operands[0]
            if first.scale.is_one:
                operands[0] = replace(first, scale=term.scale)
            else:
                value = Linear((TensorTerm(first.reading, first.scale),))
                operands[0] = _Operand(self._inner(value), term.scale)
        return _Merge("multiply", tuple(operands))

    def _term(self, term: TensorTerm) -> _Operand:
        value = term.value
        if isinstance(value, Reading):
            return _Operand(value, term.scale, term.forced)
        whole = value if isinstance(value, Linear) else Linear((TensorTerm(value),))
        return _Operand(self._inner(whole), term.scale, term.forced)

    def _operand(self, linear: Linear) -> _Operand:
        if len(linear.terms) == 1 and not linear.constant:
            term = linear.terms[0]
            if isinstance(term.value, Reading) or not term.scale.is_one:
                return self._term(term)
        return _Operand(self._inner(linear))

    def _inner(self, linear: Linear) -> Reading:
        call: OpCall | None = None
        if linear.constant:
            call, linear = _as_affine(linear)
        merge = self.merge(linear)
        if call is None and merge.kind == "sequential" and merge.operands[0].scale.is_one:
            return merge.operands[0].reading
        self._count += 1
        name = f"{self._name}~{self._count}"
        dims: tuple[tuple[str, Any], ...] = ()
        if merge.kind == "concat":
            dims = (("input", merge.dim),)
        module = name if call is not None else None
        self.connect(name, "input", merge)
        self.result.nodes.append(
            Node(name=name, op=call, dims=dims, module=module, block=self._block)
        )
        return Reading(name)
