"""How each op family is predicted: the one place that says it.

A treatment says what stands in for a layer in a simulated population; a family that is not named
is run as it is, on weights drawn for each network.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from archgraph.graph import Node

__all__ = ["Treatment", "treatment"]

Treatment: TypeAlias = Literal[
    "input",
    "loss",
    "merge",
    "native",
    "weights",
    "normalization",
    "prelu",
    "table",
    "parameter",
    "loop",
]

_FAMILIES: Final[dict[str, Treatment]] = {
    "activation": "native",
    "affine": "native",
    "coupling": "native",
    "dropout": "native",
    "merging": "native",
    "padding": "native",
    "pooling": "native",
    "resampling": "native",
    "reshaping": "native",
    "convolution": "weights",
    "normalization": "normalization",
}
"""`native`: torch's op itself, all networks in one long batch; it treats examples alike."""

_OPS: Final[dict[str, Treatment]] = {
    "CrossMapLRN2d": "native",
    "Embedding": "table",
    "Linear": "weights",
    "LocalResponseNorm": "native",
    "PReLU": "prelu",
    "Parameter": "parameter",
    "Positions": "native",
    "ScaledDotProductAttention": "native",
}
"""Ops that differ from their family."""


def treatment(node: Node) -> Treatment:
    """Return how a node is simulated."""
    if node.kind != "layer":
        return "input" if node.kind == "input" else "loss"
    if node.op is None:
        return "merge"
    op = node.op.op
    if op.origin not in ("torch.nn", "archgraph"):
        return "loop"
    if op.name == "DropPath" and node.op.get("mode") == "batch":
        return "loop"  # one draw for all examples of a network, which is not all of the batch
    if op.name == "Embedding" and any(
        node.op.get(name) for name in ("max_norm", "scale_grad_by_freq", "sparse")
    ):
        return "loop"
    return _OPS.get(op.name) or _FAMILIES.get(op.family, "loop")
