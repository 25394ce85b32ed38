"""Which units of an activation pass a gradient on: dead ones never do, saturated ones hardly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.func import vjp

from archgraph.graph import Node
from archgraph.module import Shapes

__all__ = ["Activity", "activity"]

STEEPEST: Final[Mapping[str, float]] = {
    "Hardsigmoid": 1 / 6,
    "Hardtanh": 1.0,
    "Sigmoid": 1 / 4,
    "Softsign": 1.0,
    "Tanh": 1.0,
}
"""The activations that are bounded on both sides, with their largest slope."""
FLAT: Final = 0.05
"""A slope below this part of the largest one is flat."""


class Activity(NamedTuple):
    """How much of an activation is cut off, in parts of 1."""

    dead: Tensor
    """Units whose slope is exactly zero at every example and position."""
    saturated: Tensor
    """Elements on a flat end; NaN for an activation that is not bounded on both sides."""

    def stacked(self) -> Activity:
        """Return the same with an axis in front."""
        return Activity(self.dead[None], self.saturated[None])


def activity(
    node: Node,
    layer: Callable[..., Any] | None,
    ports: Mapping[str, Tensor],
    shapes: Shapes,
    *,
    transformed: bool,
) -> Activity | None:
    """Return how much of a node is cut off; None if it is no activation.

    Args:
        node: The node.
        layer: Its op.
        ports: What it reads.
        shapes: Of the graph; a unit is an element of the channel axis.
        transformed: Whether `torch.func` is at work.

    Cost: the activation once more, with its derivative.
    """
    if node.op is None or layer is None or node.op.op.family != "activation":
        return None
    if node.op.name == "RReLU":  # whose slopes are drawn anew by every call
        return None
    (name, value), *others = ports.items()
    if others or not value.is_floating_point():
        return None
    function = partial(_called, layer, name)
    slopes = (_transformed_slopes if transformed else _slopes)(function, value.detach()).abs()
    axis = shapes[node.name].channel_axis
    units = slopes.movedim(-1 if axis is None else axis, 0).flatten(1)
    dead = (units == 0).all(1).double().mean()
    steepest = STEEPEST.get(node.op.name)
    if steepest is None:
        return Activity(dead, torch.full_like(dead, torch.nan))
    return Activity(dead, (slopes < FLAT * steepest).double().mean())


def _called(layer: Callable[..., Any], port: str, value: Tensor) -> Any:
    return layer(**{port: value})


def _slopes(function: Callable[[Tensor], Any], value: Tensor) -> Tensor:
    # Not by torch.func, whose cycles of references keep whole networks until they are collected.
    value = value.clone().requires_grad_()
    with torch.enable_grad():
        result = function(value)
    if not result.requires_grad:
        return torch.zeros_like(value)
    return torch.autograd.grad(result.sum(), value)[0]


def _transformed_slopes(function: Callable[[Tensor], Any], value: Tensor) -> Tensor:
    result, pull = vjp(function, value)[:2]
    slopes: Tensor = pull(torch.ones_like(result))[0]
    return slopes.detach()
