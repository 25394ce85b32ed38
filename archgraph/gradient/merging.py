"""The merge of a layer's inputs, on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from archgraph.graph.records import EdgeKind, Scale

__all__ = ["merge", "scaled"]


def scaled(value: Tensor, scale: Scale, learnt: Tensor | None = None) -> Tensor:
    """Return λ·value; `value` itself where λ is one.

    Args:
        value: What the edge reads.
        scale: The edge's λ.
        learnt: The number itself if λ is learnable, shaped to broadcast over `value`.
    """
    if scale.learn is not None:
        assert learnt is not None
        return learnt * value
    return value if scale.is_one else float(scale.value) * value


def merge(kind: EdgeKind, terms: Sequence[Tensor], dim: int | None = None) -> Tensor:
    """Merge the terms of one port, which are scaled already.

    Args:
        kind: How: `add`, `concat`, `multiply`, or `sequential` for a lone term.
        terms: In order. A value that is the same for every example is a batch of one.
        dim: The axis of a concat, batch counted.
    """
    if len(terms) == 1:
        return terms[0]
    if kind == "concat":
        assert dim is not None
        batch = max(len(term) for term in terms)
        return torch.cat([term.expand(batch, *term.shape[1:]) for term in terms], dim)
    if kind == "multiply":
        return reduce(torch.mul, terms)
    return reduce(torch.add, terms)
