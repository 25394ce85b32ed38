"""Weights and inputs that hear next to nothing of the loss, though the target does."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Final

from archgraph.diagnosis.examination import Examination
from archgraph.diagnosis.finding import Finding
from archgraph.diagnosis.skips import levels
from archgraph.gradient.bundle import norm
from archgraph.graph import LOSS, Node

__all__ = ["find_quiet_inputs", "find_quiet_weights"]

WEIGHTS: Final = 1e-5
"""Root mean square per element, relative to the median of all matrices, of a quiet one."""
INPUTS: Final = 1e-3
"""The same of an input, relative to the output; its norm must be as small."""


def find_quiet_weights(seen: Examination) -> Iterator[Finding]:
    """Yield the matrices and kernels whose gradient is far smaller than most.

    Those whose gradient is exactly zero have another cause, see `links` and `units`.
    """
    rms = {node.name: size for node in seen.graph.nodes if (size := _weight_rms(seen, node))}
    if len(rms) < 3:
        return
    usual = median(rms.values())
    for name, size in rms.items():
        if size < WEIGHTS * usual:
            where = _loss_of(seen, name)
            why = (
                f"its weights get {size:.1g} per element, where most get {usual:.1g}; "
                f"the gradient is lost in {where}"
            )
            yield Finding("quiet", name, why, (name,), levels(usual, size) or 0.0)


def find_quiet_inputs(seen: Examination) -> Iterator[Finding]:
    """Yield the other inputs that the gradient does not reach."""
    reference = seen.reference
    size, total = seen.node_rms(reference), seen.node_norm(reference)
    for node in seen.graph.inputs:
        known = not node.is_integer and seen.graph.reaches_loss(node.name)
        if not known or node.name == seen.target or not size:
            continue
        rms, whole = seen.node_rms(node.name), seen.node_norm(node.name)
        if max(rms / size, whole / total) < INPUTS:
            why = (
                f"the gradient vanishes on its way to this input: {rms:.2g} per element, "
                f"{rms / size:.1g} × that at the output; --wrt {node.name} says more"
            )
            yield Finding("quiet", node.name, why, (node.name,), levels(size, rms) or -600.0)


def _weight_rms(seen: Examination, node: Node) -> float:
    if node.op is None or not node.op.op.weight_layer or seen.weight(node) is None:
        return 0.0
    gradient = seen.cotangents.parameters.get(f"{node.module}.weight")
    return 0.0 if gradient is None else norm({0: gradient}) / gradient.numel() ** 0.5


def _loss_of(seen: Examination, name: str) -> str:
    """Name the layer that passes least on, of those that only these weights lie behind.

    From the first layer on that others lead to as well, the way is theirs too, and they hear more.
    """
    drops: list[tuple[float, str]] = []
    while name != LOSS:
        edges = [edge for edge in seen.graph.edges_out_of(name) if edge.gradient]
        if not edges:
            break
        edge = max(edges, key=seen.delivered)
        name = edge.target
        drops.append((levels(seen.node_norm(name), seen.delivered(edge)) or 0.0, name))
        if len(seen.graph.gradient_into[seen.graph.positions[name]]) > 1:
            break
    gain, culprit = min(drops, default=(0.0, name))
    op = seen.graph.node(culprit).op
    text = f"{culprit!r}" if op is None else f"{culprit!r} ({op.name}, {gain:.0f} dB)"
    softmax = op is not None and (op.op.family == "attention" or "Softm" in op.name)
    return f"{text}: its softmax is saturated, every place looks at one other" if softmax else text
