"""How long a simulation takes and what it holds, before it is done: enough to choose by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from archgraph.prediction.families import treatment
from archgraph.prediction.plan import Plan

__all__ = ["Cost", "cost_of"]

# Nanoseconds on one thread of an ordinary processor.
NORMAL: Final = 12.0
"""Drawing a Gaussian number."""
ELEMENT: Final = 40.0
"""Reading an element of a value, applying an op, differentiating it and squaring."""
PRODUCT: Final = 0.6
"""A weight times an input: forwards, back to the input, and back to the weight."""
TAP: Final = 6.0
"""What one tap of a kernel sees of an element, for its covariance."""
CALL: Final = 1e6
"""Building and calling one layer by itself."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one network, all replicas included."""

    nanoseconds: float
    numbers: float
    """Held at once at most."""


def cost_of(plan: Plan, batch: int, replicas: int = 1) -> Cost:
    """Return the cost of simulating one network forwards and backwards."""
    examples = batch * replicas
    time, numbers = 0.0, 0.0
    for node in plan.graph.nodes[:-1]:
        elements = examples * math.prod(plan.shapes[node.name].shape)
        time += ELEMENT * elements
        numbers += 2 * elements
        if node.name in plan.weights:
            work, held = _matrix(plan, node.name, batch, replicas)
            time, numbers = time + work, numbers + held
        elif treatment(node) == "loop":
            size = plan.shapes.count(node.module)
            time += replicas * CALL + NORMAL * size + PRODUCT * examples * size
            numbers += 2 * size
        elif treatment(node) == "table":
            time, numbers = time + NORMAL * elements, numbers + elements
    return Cost(time, numbers)


def _matrix(plan: Plan, name: str, batch: int, replicas: int) -> tuple[float, float]:
    """Return nanoseconds and numbers held of one weight layer."""
    weights = plan.weights[name]
    matrix = weights.matrix
    vectors, fans = matrix.positions * batch, matrix.fan_in + matrix.fan_out
    entries = matrix.groups * matrix.fan_in * matrix.fan_out
    inputs = replicas * matrix.groups * vectors * matrix.fan_in
    outputs = replicas * matrix.groups * vectors * matrix.fan_out
    match weights.core:
        case "drawn" | "convolved":
            work = NORMAL * entries + PRODUCT * replicas * vectors * entries
            return work, 2 * entries + (2 * inputs if weights.core == "drawn" else 0)
        case "averaged" if matrix.windows is not None:
            read = inputs / math.prod(matrix.kernel)
            return NORMAL * (read + outputs) + TAP * inputs, 0.0
        case "averaged":
            return (NORMAL + PRODUCT * batch) * (inputs + outputs), inputs
    rank = min(vectors, matrix.fan_in)
    work = replicas * matrix.groups * fans * rank * (NORMAL + PRODUCT * vectors)
    return work, 2.0 * inputs + outputs
