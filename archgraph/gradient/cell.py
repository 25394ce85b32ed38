"""What was recorded of one node: the merge of its inputs, and the two ends of its op's graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor

from archgraph.gradient.merging import Merge
from archgraph.graph import Node

__all__ = ["Cell", "ParameterUse", "Port", "Scaling", "as_elements", "call_layer"]

ParameterUse: TypeAlias = tuple[str, int | None]
"""A parameter at one of its users: its name, and the edge that it scales if it is a λ."""


@dataclass(frozen=True, slots=True)
class Port:
    """One tensor argument of an op."""

    edges: tuple[int, ...]
    """The in-edges that are merged here, in order."""
    merge: Merge
    leaf: Tensor
    """The merged value, detached: where the op's own graph ends."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """A learnable λ: where it stands, and which element of its parameter it is."""

    port: str
    slot: int
    index: int | None
    shape: torch.Size
    """Of the parameter."""

    def embed(self, gradient: Tensor) -> Tensor:
        """Return ∂/∂parameter of ∂/∂λ, of the shape (…, *shape of the parameter)."""
        if self.index is None:
            return gradient
        whole = gradient.new_zeros((*gradient.shape, *self.shape))
        whole[..., self.index] = gradient
        return whole

    def pick(self, tangent: Tensor) -> Tensor:
        """Return the part of a tangent of the parameter that is λ's."""
        return tangent if self.index is None else tangent[self.index]


@dataclass(frozen=True)
class Cell:
    """One node; the values it read are detached, so that it can be differentiated alone."""

    ports: Mapping[str, Port]
    parameters: Mapping[ParameterUse, Tensor]
    """The parameters that the op uses."""
    outputs: Mapping[int, Tensor]
    """By element: the node's value, at the end of the op's graph."""
    layer: Callable[..., Any] | None = None
    """The op; None for inputs, the loss, and nodes that only merge."""
    scales: Mapping[ParameterUse, Scaling] = field(default_factory=dict)
    """The learnable λ of the merges."""
    carries: frozenset[int] = frozenset()
    """The in-edges that carry a gradient."""

    @cached_property
    def merges_only(self) -> bool:
        """Whether the value is the merge itself."""
        return len(self.ports) == 1 and any(
            port.leaf is self.outputs.get(0) for port in self.ports.values()
        )

    @cached_property
    def places(self) -> Mapping[int, tuple[str, int]]:
        """By in-edge that carries a gradient: the port that it enters, and its slot there."""
        return {
            edge: (name, slot)
            for name, port in self.ports.items()
            for slot, edge in enumerate(port.edges)
            if edge in self.carries
        }

    @property
    def uses(self) -> tuple[ParameterUse, ...]:
        """The uses of parameters here, those of learnable λ included."""
        return (*self.parameters, *self.scales)


def call_layer(operation: Callable[..., Any], node: Node, ports: Mapping[str, Tensor]) -> Any:
    """Call a node's operation on the tensors of its ports."""
    assert node.op is not None
    if node.op.op.origin == "opaque":
        return operation(*ports.values())  # whose own names for its arguments are not known
    return operation(**ports)


def as_elements(value: Any) -> dict[int, Tensor]:
    """Return the tensors of an op's result by element: the result itself is element 0."""
    items = value if isinstance(value, tuple | list) else (value,)
    return {i: item for i, item in enumerate(items) if isinstance(item, Tensor)}
