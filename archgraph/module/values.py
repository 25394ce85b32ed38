"""What is known of a value before anything runs: its shape, its kind of number, its channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

__all__ = ["Shape", "Shapes", "Value", "by_module"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor as every example of a batch sees it."""

    shape: Shape
    """Without the batch axis."""
    dtype: str = "float"
    """`float` for every floating type, else a torch type's name."""
    channel_axis: int | None = None
    """Axis of the channels, batch counted, so 1 or more; None if nothing has said which it is."""
    batched: bool = True
    """False for a value that is the same for every example: a batch of one, which expands."""

    @property
    def is_float(self) -> bool:
        """Whether a gradient could flow through it."""
        return self.dtype == "float"

    @property
    def channels(self) -> int | None:
        """Size of the channel axis, if that is known."""
        return None if self.channel_axis is None else self.shape[self.channel_axis - 1]

    def __str__(self) -> str:
        return str(self.shape)


@dataclass(frozen=True)
class Shapes:
    """The value of every node of a graph, and what its ops are built with."""

    elements: Mapping[str, tuple[Value | None, ...]]
    """By node: the elements of its result, one unless it is a tuple; None for an element that is
    no tensor with the batch in front. The loss is a scalar and is not listed."""
    tuples: frozenset[str]
    """Nodes whose op returns a tuple."""
    merged: Mapping[tuple[str, str], Value]
    """By (node, port): the value after its terms are merged, as the op reads it."""
    dims: Mapping[tuple[str, str], int]
    """By (node, port) that concatenates: the axis, batch counted, 1 or more."""
    arguments: Mapping[str, Mapping[str, Any]]
    """By node with an op: every argument that its constructor is given, inferred sizes too."""
    parameters: Mapping[str, Shape] = field(default_factory=dict)
    """By name, as in the compiled module's `named_parameters`, tied ones under each name."""
    ties: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, node: str) -> Value:
        """Return the value of a node: element 0 of a tuple."""
        return self.element(node, 0)

    def element(self, node: str, index: int) -> Value:
        """Return an element of a node's result; it must be one that the graph reads."""
        value = self.elements[node][index]
        assert value is not None
        return value

    @cached_property
    def held(self) -> Mapping[str, Mapping[str, Shape]]:
        """By path of a module: the parameters inside it."""
        return by_module(self.parameters)

    def count(self, module: str | None) -> int:
        """Return the number of weights of the layer that is held at `module`."""
        return sum(
            prod(shape)
            for name, shape in self.parameters.items()
            if name == module or name.startswith(f"{module}.")
        )

    @property
    def total(self) -> int:
        """Number of weights of the network, tied ones counted once."""
        shared = {name for name, _ in self.ties}
        return sum(prod(s) for name, s in self.parameters.items() if name not in shared)


def by_module(parameters: Mapping[str, Shape]) -> dict[str, dict[str, Shape]]:
    """Return by path of a module the parameters inside it, and by its own name each parameter.

    Example:
        >>> by_module({"h.fc.bias": (2,)})["h.fc"]
        {'h.fc.bias': (2,)}
    """
    found: dict[str, dict[str, Shape]] = {}
    for name, shape in parameters.items():
        parts = name.split(".")
        for i in range(1, len(parts) + 1):
            found.setdefault(".".join(parts[:i]), {})[name] = shape
    return found
