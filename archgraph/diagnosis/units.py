"""Units that pass no gradient: saturated activations and dead rectifiers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from archgraph.diagnosis.examination import Examination
from archgraph.diagnosis.finding import Finding
from archgraph.graph import Node
from archgraph.module.shapes import infer

__all__ = ["find_dead", "find_saturated"]

STEEPEST: Final = {
    "Hardsigmoid": 1 / 6,
    "Hardtanh": 1.0,
    "Sigmoid": 0.25,
    "Softsign": 1.0,
    "Tanh": 1.0,
}
"""Bounded activations, and sup|φ'| of each."""
FLAT: Final = 0.05
"""Of the steepest slope: below, a unit counts as saturated."""
MOST: Final = 0.5
"""Share of saturated units from which a layer is reported."""
DEAD: Final = 0.9
"""Share of dead units from which a layer is reported. Deep in a network of rectifiers the examples
look alike, and half of the units are off for all of them: that is no fault."""


def find_saturated(seen: Examination) -> Iterator[Finding]:
    """Yield the bounded activations most of whose units have hardly any slope."""
    for position, node in enumerate(seen.graph.nodes):
        if node.op is None or node.op.name not in STEEPEST:
            continue
        slopes = seen.tape.slopes(position)
        if slopes is None:
            continue
        steepest = STEEPEST[node.op.name]
        flat = float((slopes.abs() < FLAT * steepest).double().mean())
        if flat < MOST:
            continue
        gate = any(edge.kind == "multiply" for edge in seen.graph.edges_out_of(node.name))
        value = float(seen.tape.values[position][0].double().mean())
        what = f"the gate is saturated (mean value {value:.2g})" if gate else "it is saturated"
        slope = float(slopes.abs().double().mean())
        why = (
            f"{what}: {100 * flat:.0f} % of its units have less than a twentieth of the slope "
            f"{steepest:.2g} that {node.op.name} can have; {_inputs(seen, position, node)}"
        )
        cost = 20 * float(torch.tensor(slope / steepest).clamp_min(1e-300).log10())
        yield Finding("saturated", node.name, why, (node.name,), cost)


def find_dead(seen: Examination) -> Iterator[Finding]:
    """Yield the activations nearly all of whose units have the slope 0 on the whole batch."""
    shapes = infer(seen.graph)
    for position, node in enumerate(seen.graph.nodes):
        if node.op is None or not node.op.op.activation or node.op.name in STEEPEST:
            continue
        slopes = seen.tape.slopes(position)
        if slopes is None or slopes.dim() < 2:
            continue
        (port,) = seen.tape.cells[position].ports.values()
        if not port.leaf.any():
            continue  # of a layer further up that is dead
        value = shapes.elements[node.name][0]
        axis = 1 if value is None or value.channel_axis is None else value.channel_axis
        others = [d for d in range(slopes.dim()) if d != axis]
        dead = slopes.abs().amax(others) == 0
        share = float(dead.double().mean())
        if share < DEAD:
            continue
        why = (
            f"{int(dead.sum())} of its {dead.numel()} units are dead: {node.op.name} has the slope "
            f"0 there for every example; {_inputs(seen, position, node)}"
        )
        cost = float("-inf") if share == 1 else 10 * float(torch.tensor(1 - share).log10())
        yield Finding("dead", node.name, why, (node.name,), cost)


def _inputs(seen: Examination, position: int, node: Node) -> str:
    """Say what an activation reads, and whether that is a bias."""
    (port,) = seen.tape.cells[position].ports.values()
    read = port.leaf.detach().double()
    text = f"it reads {float(read.mean()):.2g} on average"
    (source, *more) = [edge.source for edge in seen.graph.edges_into(node.name)]
    bias = getattr(seen.layer(seen.graph.node(source)), "bias", None)
    if not more and isinstance(bias, Tensor):
        level = float(bias.detach().double().mean())
        if abs(level) > 0.5 * float(read.abs().mean()):
            return f"{text}, since the bias of {source!r} is {level:.2g}"
    return text
