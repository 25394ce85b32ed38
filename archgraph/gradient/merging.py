"""The merge of a layer's inputs, on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TypeAlias

import torch
from torch import Tensor

from archgraph.graph.records import EdgeKind, Scale

__all__ = ["Term", "merge", "scaled"]

Term: TypeAlias = tuple[Tensor, Scale, Tensor | None]
"""What an edge reads, its λ, and the number itself if λ is learnable."""


def scaled(value: Tensor, scale: Scale, learnt: Tensor | None = None) -> Tensor:
    """Return λ·value; `value` itself where λ is one.

    Args:
        value: What the edge reads.
        scale: The edge's λ.
        learnt: The number itself if λ is learnable, shaped to broadcast over `value`.
    """
    if learnt is not None:
        return learnt * value
    return value if scale.is_one else float(scale.value) * value


def merge(kind: EdgeKind, terms: Sequence[Term], dim: int | None = None) -> Tensor:
    """Scale and merge the terms of one port.

    Args:
        kind: How: `add`, `concat`, `multiply`, or `sequential` for a lone term.
        terms: In order. A value that is the same for every example is a batch of one.
        dim: The axis of a concat, batch counted.
    """
    if kind == "add":
        # The first term without λ is the one that the others are added to.
        first = next((i for i, term in enumerate(terms) if term[1].is_one), 0)
        others = [term for i, term in enumerate(terms) if i != first]
        return reduce(_plus, others, scaled(*terms[first]))
    values = [scaled(*term) for term in terms]
    if kind == "multiply":
        return reduce(torch.mul, values)
    if len(values) == 1:
        return values[0]
    assert dim is not None
    batch = max(len(value) for value in values)
    return torch.cat([value.expand(batch, *value.shape[1:]) for value in values], dim)


def _plus(total: Tensor, term: Term) -> Tensor:
    value, scale, learnt = term
    if learnt is not None or scale.is_one:
        return total + scaled(*term)
    # As the compiled source writes it: the processor may round alpha·value + total only once.
    return torch.add(total, value, alpha=float(scale.value))
