"""The merge of a layer's inputs, on tensors: forwards, and its derivatives in both directions.

A cotangent may have axes in front of those of the value: one cotangent each, pulled back together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import torch
from torch import Tensor

from archgraph.graph.records import EdgeKind, Scale

__all__ = ["Merge", "Term", "merge", "scaled"]

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
    return torch.cat([_repeated(value, batch) for value in values], dim)


def _repeated(value: Tensor, batch: int) -> Tensor:
    """Return a value for each example; of a batch of one it is the same for all."""
    return value if len(value) == batch else value.expand(batch, *value.shape[1:])


def _plus(total: Tensor, term: Term) -> Tensor:
    value, scale, learnt = term
    if learnt is not None or scale.is_one:
        return total + scaled(*term)
    # As the compiled source writes it: the processor may round alpha·value + total only once.
    return torch.add(total, value, alpha=float(scale.value))


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge that was made, with what its derivatives need."""

    kind: EdgeKind
    terms: tuple[Term, ...]
    dim: int | None
    shape: torch.Size
    """Of the merged value."""

    def pull(self, slot: int, cotangent: Tensor) -> Tensor:
        """Return what one term's value receives of a cotangent of the merged value."""
        value, scale, learnt = self.terms[slot]
        moved = scaled(self._to_term(slot, cotangent), scale, learnt)
        return _fold(moved, value.shape, self._ahead(cotangent))

    def pull_scale(self, slot: int, cotangent: Tensor) -> Tensor:
        """Return what one term's learnable λ receives of a cotangent of the merged value."""
        value, _, learnt = self.terms[slot]
        assert learnt is not None
        moved = self._to_term(slot, cotangent) * value
        return _fold(moved, learnt.shape, self._ahead(cotangent))

    def push(self, tangents: Sequence[Tensor | None], scales: Sequence[Tensor | None]) -> Tensor:
        """Return the tangent of the merged value.

        Args:
            tangents: Of what each term reads; None is zero.
            scales: Of each term's learnable λ; None is zero.
        """
        moved = [self._moved(*all_of) for all_of in zip(self.terms, tangents, scales, strict=True)]
        if self.kind == "concat" and len(moved) > 1:
            return self._concatenated(moved)
        found: Tensor | None = None
        for slot, tangent in enumerate(moved):
            if tangent is None:
                continue
            part = tangent * self._others(slot) if self._multiplies else tangent
            found = part if found is None else found + part
        if found is None:
            return torch.zeros(self.shape, dtype=self._like.dtype, device=self._like.device)
        return found if found.shape == self.shape else found.expand(self.shape)

    def _ahead(self, cotangent: Tensor) -> int:
        return cotangent.dim() - len(self.shape)

    @property
    def _like(self) -> Tensor:
        return self.terms[0][0]

    @property
    def _multiplies(self) -> bool:
        return self.kind == "multiply" and len(self.terms) > 1

    @staticmethod
    def _moved(term: Term, tangent: Tensor | None, scale: Tensor | None) -> Tensor | None:
        """Return the tangent of λ·value."""
        parts = [] if tangent is None else [scaled(tangent, term[1], term[2])]
        if scale is not None:
            parts.append(scale * term[0])
        return reduce(torch.add, parts) if parts else None

    def _concatenated(self, moved: Sequence[Tensor | None]) -> Tensor:
        assert self.dim is not None
        batch = self.shape[0]
        pieces = [
            torch.zeros_like(value) if tangent is None else tangent
            for (value, _, _), tangent in zip(self.terms, moved, strict=True)
        ]
        return torch.cat([_repeated(piece, batch) for piece in pieces], self.dim)

    def _others(self, slot: int) -> Tensor:
        """Return the product of the other factors."""
        factors = [scaled(*term) for i, term in enumerate(self.terms) if i != slot]
        return reduce(torch.mul, factors)

    def _to_term(self, slot: int, cotangent: Tensor) -> Tensor:
        """Return what λ·value of one term receives, before it is folded to the term's shape."""
        if self._multiplies:
            return cotangent * self._others(slot)
        if self.kind != "concat" or len(self.terms) == 1:
            return cotangent
        assert self.dim is not None
        axis = self.dim % len(self.shape)
        start = sum(value.shape[axis] for value, _, _ in self.terms[:slot])
        return cotangent.narrow(
            self._ahead(cotangent) + axis, start, self.terms[slot][0].shape[axis]
        )


def _fold(tensor: Tensor, shape: torch.Size, ahead: int) -> Tensor:
    """Add up over the axes along which something of `shape` was broadcast.

    Args:
        tensor: What the broadcast value receives.
        shape: Of the value before.
        ahead: How many axes in front count cotangents; they stay.
    """
    if tensor.shape[ahead:] == shape:
        return tensor
    if not ahead:
        return tensor.sum_to_size(shape)
    count, rank = tensor.shape[:ahead], tensor.dim() - ahead
    padded = (1,) * (rank - len(shape)) + tuple(shape)
    return tensor.sum_to_size((*count, *padded)).reshape(*count, *shape)
