"""The letters in which equations write an op's Jacobian."""

from __future__ import annotations

from archgraph.ops.op import Op

__all__ = ["jacobian_symbol"]


def jacobian_symbol(op: Op) -> str:
    """Return `W` for a weight layer, `φ'` for an activation, `J` for everything else."""
    if op.weight_layer:
        return "W"
    return "φ'" if op.activation else "J"
