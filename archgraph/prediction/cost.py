"""How much work a simulation is, in operations and bytes, before it is done."""

from __future__ import annotations

import math
from dataclasses import dataclass

from archgraph.prediction.families import treatment
from archgraph.prediction.plan import Plan

__all__ = ["Cost", "cost_of"]

NORMAL = 30
"""Drawing a Gaussian number, in operations of a matrix product."""
ELEMENT = 60
"""Work on an element of a value that is no product: read, apply, differentiate, square."""
CALL = 3_000_000
"""Building and calling one layer by itself."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one network, all replicas included."""

    operations: float
    bytes: float
    """Held at once at most."""


def cost_of(plan: Plan, batch: int, replicas: int = 1) -> Cost:
    """Return the cost of simulating one network forwards and backwards."""
    examples = batch * replicas
    operations, numbers = 0.0, 0.0
    for node in plan.graph.nodes[:-1]:
        elements = examples * math.prod(plan.shapes[node.name].shape)
        operations += ELEMENT * elements
        numbers += 2 * elements
        if node.name in plan.weights:
            work, held = _matrix(plan, node.name, batch, replicas)
            operations, numbers = operations + work, numbers + held
        elif treatment(node) == "loop":
            size = plan.shapes.count(node.module)
            operations += replicas * CALL + 6 * examples * size
            numbers += 2 * size
        elif treatment(node) == "table":
            rows = batch * math.prod(plan.shapes[node.name].shape)
            operations, numbers = operations + NORMAL * rows * replicas, numbers + rows * replicas
    return Cost(operations, 8 * numbers)


def _matrix(plan: Plan, name: str, batch: int, replicas: int) -> tuple[float, float]:
    """Return operations and numbers held of one weight layer."""
    weights = plan.weights[name]
    matrix = weights.matrix
    vectors, fans = matrix.positions * batch, matrix.fan_in + matrix.fan_out
    entries = matrix.groups * matrix.fan_in * matrix.fan_out
    inputs = replicas * matrix.groups * vectors * matrix.fan_in
    match weights.core:
        case "drawn" | "convolved":
            # Forwards, back to the inputs, and the gradient of the weights.
            work = NORMAL * entries + 6.0 * replicas * vectors * entries
            return work, 2 * entries + (2 * inputs if weights.core == "drawn" else 0)
        case "averaged":
            work = (NORMAL + 4 * batch) * replicas * matrix.groups * vectors * fans
        case _:
            rank = min(vectors, matrix.fan_in)
            work = replicas * matrix.groups * fans * rank * (NORMAL + 10 * vectors)
    return work, 2.0 * inputs + replicas * matrix.groups * vectors * matrix.fan_out
