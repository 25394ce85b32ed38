"""What a simulation needs to know of a graph, worked out once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from archgraph.graph import Graph, Node
from archgraph.module.shapes import Shapes, infer
from archgraph.prediction.families import treatment
from archgraph.prediction.laws import Law, canonical_names, chosen_starts, parameter_laws
from archgraph.prediction.linear import Matrix, matrix_of

__all__ = ["CoreKind", "Plan", "Weights", "make_plan"]

CoreKind = Literal["drawn", "convolved", "conditioned", "limit", "averaged"]
"""`convolved` is `drawn` by torch's own convolution."""

COPIED: Final = 200_000
"""Most numbers of one network that are copied to make a small convolution a product."""
DRAWN_NUMBERS: Final = 2**22
"""Largest matrix, in entries, that is drawn if it is not Gaussian."""
LIMIT_VECTORS: Final = 256
"""Most vectors whose covariance is kept whole in the limit."""
FEW_INPUTS: Final = 16
"""A row of so few channels is no sum over many coordinates: it is drawn, in the limit too."""


@dataclass(frozen=True)
class Weights:
    """How the matrix of one weight layer is simulated."""

    matrix: Matrix
    law: Law
    core: CoreKind
    shared: bool
    """Whether other layers use the same weights."""
    note: str | None = None
    """What is approximate about it."""

    @property
    def is_exact(self) -> bool:
        """Whether nothing about it is approximate at the layer's own width."""
        return self.note is None


@dataclass(frozen=True)
class Plan:
    """A graph with all that its simulation needs."""

    graph: Graph
    shapes: Shapes
    laws: Mapping[str, Law]
    starts: Mapping[str, Any]
    """Initialisers that the spec names, by parameter."""
    weights: Mapping[str, Weights]
    """By node that is simulated as a matrix."""
    names: Mapping[str, str]
    """For a tied parameter the name that it is gathered under."""
    reused: frozenset[str]
    """Parameters that are used at more than one place, by the name they are gathered under."""
    limit: bool

    @property
    def notes(self) -> dict[str, str]:
        """What is approximate, by node."""
        return {name: w.note for name, w in self.weights.items() if w.note is not None}

    @property
    def drawn(self) -> dict[str, str]:
        """The nodes that nothing but real draws covers, with the reason."""
        return {
            node.name: f"{node.op.name} is run as it is, on weights drawn for each network"
            for node in self.graph.nodes
            if treatment(node) == "loop" and node.op is not None
        }


def make_plan(
    graph: Graph, *, batch: int, limit: bool = False, matrices: CoreKind | None = None
) -> Plan:
    """Work out how a graph is simulated.

    Args:
        graph: The network.
        batch: Number of examples.
        limit: Whether widths are infinite.
        matrices: `drawn` or `conditioned`, for all matrices for which that is exact; default
            whichever is cheaper.
    """
    shapes = infer(graph)
    laws = parameter_laws(graph, shapes)
    names = canonical_names(graph.ties)
    users = graph.parameter_users
    reused = frozenset(names.get(name, name) for name in users if len(users[name]) > 1)
    weights = {}
    for node in graph.nodes:
        if treatment(node) != "weights":
            continue
        name = f"{node.module}.weight"
        matrix = _matrix(node, shapes)
        shared = names.get(name, name) in reused
        kind, note = _choose(matrix, laws[name], batch, limit=limit, shared=shared)
        if not limit and not shared and matrices in ("drawn", "conditioned"):
            exact = matrices == "drawn" or laws[name].is_gaussian
            kind, note = (matrices, None) if exact else (kind, note)
        if kind == "drawn" and _is_large(node, matrix, batch, shared=shared):
            kind = "convolved"
        weights[node.name] = Weights(matrix, laws[name], kind, shared, note)
    starts = chosen_starts(graph, shapes)
    return Plan(graph, shapes, laws, starts, weights, names, reused, limit)


def _is_large(node: Node, matrix: Matrix, batch: int, *, shared: bool) -> bool:
    if node.op is None or node.op.op.family != "convolution" or shared:
        return False
    return batch * matrix.positions * matrix.groups * matrix.fan_in > COPIED


def _matrix(node: Node, shapes: Shapes) -> Matrix:
    assert node.op is not None
    read = next(v for (name, _), v in shapes.merged.items() if name == node.name)
    return matrix_of(node.op.op, shapes.arguments[node.name], read, shapes[node.name])


def _choose(
    matrix: Matrix, law: Law, batch: int, *, limit: bool, shared: bool
) -> tuple[CoreKind, str | None]:
    vectors = matrix.positions * batch
    if shared:
        note = "its weights are used more than once" if limit else None
        return "drawn", note and f"{note}, so they are drawn"
    if law.kind == "other":
        return "drawn", None
    if limit:
        return _choose_limit(matrix, vectors)
    entries = matrix.groups * matrix.fan_in * matrix.fan_out
    cheap = 4 * vectors * (matrix.fan_in + matrix.fan_out) < matrix.fan_in * matrix.fan_out
    if law.is_gaussian:
        return ("conditioned" if cheap else "drawn"), None
    if entries <= DRAWN_NUMBERS or not cheap:
        return "drawn", None
    return "conditioned", f"wide, so its {law.kind} entries are taken as Gaussian: O(1/width)"


def _choose_limit(matrix: Matrix, vectors: int) -> tuple[CoreKind, str | None]:
    if matrix.groups > 1 and matrix.fan_in // max(1, math.ceil(matrix.overlap)) < FEW_INPUTS:
        return "drawn", None
    if vectors <= LIMIT_VECTORS or matrix.positions == 1:
        return "limit", None
    return "averaged", (
        f"the covariance of its {vectors} vectors is taken as two averages: at the same position "
        "and between two"
    )
