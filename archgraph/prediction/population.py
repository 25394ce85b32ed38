"""A population of networks in one tensor, and pieces of a node that autograd differentiates.

The value of a node is a tensor of shape (networks, replicas, batch, …). Networks are independent
draws. Replicas are what stands in for infinite width: all replicas of a network are parts of one
layer, and what a layer sums or averages over its coordinates, it averages over them as well.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from archgraph.graph.records import EdgeKind

__all__ = [
    "LEADING",
    "Bundle",
    "Population",
    "Segment",
    "flat",
    "merge_values",
    "split_axis",
    "unflat",
]

LEADING = 3
"""Axes before those of a node's shape: networks, replicas, batch."""

Bundle = dict[int, Tensor]
"""A value or a cotangent by element of a node's result."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Population:
    """How many networks are simulated together, and how."""

    networks: int
    replicas: int
    batch: int
    train: bool
    limit: bool
    """Whether replicas stand for infinite width; else there is one, and a network is a network."""

    @property
    def leading(self) -> tuple[int, int, int]:
        """The leading axes of a value that differs between examples."""
        return self.networks, self.replicas, self.batch


def flat(value: Tensor) -> Tensor:
    """Return (networks, replicas, batch, …) as one long batch."""
    return value.flatten(0, LEADING - 1)


def unflat(value: Tensor, leading: Sequence[int]) -> Tensor:
    """Return a long batch as (networks, replicas, batch, …) again."""
    return split_axis(value, 0, leading)


def split_axis(value: Tensor, axis: int, sizes: Sequence[int]) -> Tensor:
    """Return a tensor with one axis as several, of which one size may be −1."""
    result: Tensor = value.unflatten(axis, tuple(sizes))  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True)
class Segment(Generic[K]):
    """A piece of computation: detached inputs, the parameters of each network, the outputs."""

    leaves: Mapping[K, Tensor]
    outputs: Bundle
    parameters: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def run(
        cls,
        function: Callable[[Mapping[K, Tensor], Mapping[str, Tensor]], Bundle],
        inputs: Mapping[K, Tensor],
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Segment[K]:
        """Run `function` on fresh leaves, and remember how to differentiate it."""
        leaves = {key: _leaf(value) for key, value in inputs.items()}
        own = {name: _leaf(value) for name, value in (parameters or {}).items()}
        with torch.enable_grad():
            outputs = function(leaves, own)
        return cls(leaves, outputs, own)

    @property
    def values(self) -> Bundle:
        """The outputs, cut off from what made them."""
        return {element: value.detach() for element, value in self.outputs.items()}

    def pull(self, cotangents: Sequence[Bundle]) -> list[dict[K, Tensor]]:
        """Pull several cotangents back to the inputs that carry a gradient."""
        wanted = {key: leaf for key, leaf in self.leaves.items() if leaf.requires_grad}
        return [self._grad(cotangent, wanted) for cotangent in cotangents]

    def pull_parameters(self, cotangent: Bundle) -> dict[str, Tensor]:
        """Pull one cotangent back to the parameters."""
        return self._grad(cotangent, dict(self.parameters))

    def _grad(self, cotangent: Bundle, wanted: dict[Any, Tensor]) -> dict[Any, Tensor]:
        ends = [e for e in cotangent if e in self.outputs and self.outputs[e].requires_grad]
        if not (ends and wanted):
            return {key: torch.zeros_like(leaf) for key, leaf in wanted.items()}
        found = torch.autograd.grad(
            [self.outputs[e] for e in ends],
            list(wanted.values()),
            [cotangent[e] for e in ends],
            retain_graph=True,
            allow_unused=True,
        )
        return {
            key: torch.zeros_like(leaf) if gradient is None else gradient
            for (key, leaf), gradient in zip(wanted.items(), found, strict=True)
        }


def _leaf(value: Tensor) -> Tensor:
    # detach() makes a tensor of its own, so that each edge is a leaf of its own.
    return value.detach().requires_grad_(value.is_floating_point())


def merge_values(kind: EdgeKind, values: Sequence[Tensor], axis: int | None = None) -> Tensor:
    """Merge the scaled terms of one port.

    Args:
        kind: How: `add`, `concat`, `multiply`, or a lone term.
        values: Shape (networks, replicas, batch or 1, …) each.
        axis: Of a concat, batch counted as axis 0.
    """
    total = values[0]
    if kind == "concat" and len(values) > 1:
        assert axis is not None
        batch = max(value.shape[2] for value in values)
        wide = [value.expand(-1, -1, batch, *value.shape[3:]) for value in values]
        return torch.cat(wide, axis + LEADING - 1)
    for value in values[1:]:
        total = total * value if kind == "multiply" else total + value
    return total


def elements_of(result: object) -> Bundle:
    """Return the tensors of an op's result by element: the result itself is element 0."""
    items = result if isinstance(result, tuple | list) else (result,)
    return {i: item for i, item in enumerate(items) if isinstance(item, Tensor)}
