"""What a loss compares an output with: the target drawn for it, and how the two are called."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from archgraph.module.instances import (
    CPU_BATCH,
    META_BATCH,
    RefusalError,
    instantiate,
    is_small,
    resolve,
)
from archgraph.module.values import Value
from archgraph.ops import OpCall

__all__ = ["compare", "draw_target", "refuse_loss"]

_BY_CLASS: Final = frozenset({"classes", "labels"})
"""Targets of losses that torch reads along axis 1, wherever the channels stand."""
_COUNTS: Final = 5
"""Counts are drawn from 0 … 4."""


def compare(call: OpCall | None, output: Tensor, target: Tensor, axis: int | None) -> Tensor:
    """Return one loss term, a scalar.

    Args:
        call: The loss; None is the linear readout, the sum of output · target.
        output: Shape (batch, …).
        target: As `draw_target` gives it.
        axis: The output's channel axis, batch counted, which holds the classes.

    Raises:
        RefusalError: torch cannot build the loss.
    """
    if call is None:
        return (output * target).sum()
    if call.op.target in _BY_CLASS and axis is not None:
        output = output.movedim(axis, 1)
    loss = instantiate(call, resolve(call, {}))
    if isinstance(loss, torch.nn.Module):
        loss = loss.to(device=output.device, dtype=output.dtype)  # the weights of its classes
    result: Tensor = loss(output, target)
    return result


def draw_target(
    call: OpCall | None, value: Value, batch: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Draw the target of one loss term, of the kind that the loss takes.

    Args:
        call: The loss; None is the linear readout, whose target is N(0, 1) like the output.
        value: What is known of the output.
        batch: Number of examples.
        generator: The only source of chance. Numbers are drawn in float64, so that they do not
            depend on `dtype`.
        dtype: Type of a target that is no integer.

    Returns:
        Integers of shape (batch, …) without the channel axis for `classes`, else a tensor of the
        output's shape.
    """
    shape = (batch if value.batched else 1, *value.shape)
    axis = value.channel_axis or len(value.shape)
    match "normal" if call is None else call.op.target:
        case "classes":
            others = shape[:axis] + shape[axis + 1 :]
            return torch.randint(value.shape[axis - 1], others, generator=generator)
        case "labels":
            return _draw_labels(shape, axis, generator)
        case "binary":
            drawn = torch.randint(2, shape, generator=generator)
        case "sign":
            drawn = torch.randint(2, shape, generator=generator) * 2 - 1
        case "counts":
            drawn = torch.randint(_COUNTS, shape, generator=generator)
        case "distribution":
            logits = torch.randn(shape, generator=generator, dtype=torch.float64)
            drawn = logits.softmax(axis)
        case _:
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    return drawn.to(dtype)


def _draw_labels(shape: tuple[int, ...], axis: int, generator: torch.Generator) -> Tensor:
    """Return half of the classes, in random order, then −1: the form of MultiLabelMarginLoss."""
    order = (
        torch.rand(shape, generator=generator, dtype=torch.float64).argsort(axis).movedim(axis, 1)
    )
    order[:, math.ceil(order.shape[1] / 2) :] = -1
    return order


def refuse_loss(call: OpCall | None, value: Value) -> str | None:
    """Return why a loss cannot be taken of an output, or None."""
    if not value.is_float:
        return "the output holds integers, which have no gradient"
    if call is None:
        return None
    if call.op.target is None:
        return "it compares more than an output and one target"
    if call.op.parameters:
        return "it has weights of its own, and a loss is a fixed function of output and target"
    if call.op.target in _BY_CLASS and value.channel_axis is None:
        return "the class axis is the channel axis, and which one that is is not known"
    small = is_small(torch.nn.Identity(), [value])
    device, size = ("cpu", CPU_BATCH) if small else ("meta", META_BATCH)
    batch = size if value.batched else 1
    target = draw_target(call, value, 1, torch.Generator(), torch.get_default_dtype())
    target = target.to(device).expand(batch, *target.shape[1:])
    output = torch.zeros((batch, *value.shape), device=device)
    try:
        compare(call, output, target, value.channel_axis)
    except NotImplementedError:
        return None  # no kernel on `meta`, so nothing was found out
    except Exception as error:  # torch raises whatever its kernels meet
        return str(RefusalError(error))
    return None
