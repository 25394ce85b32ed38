"""Normalisations of a population: over the coordinates of one network, or over all replicas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from archgraph.ops import Op
from archgraph.prediction.population import LEADING, Population, flat, split_axis, unflat

__all__ = ["gain_shape", "normalized"]


def normalized(op: Op, arguments: Mapping[str, Any], x: Tensor, population: Population) -> Tensor:
    """Return `x` normalised, without gain and shift.

    In the limit of infinite width what is averaged over channels is averaged over replicas too,
    so that the divisor is the standard deviation of a coordinate and not that of a sample.

    Args:
        op: One of torch's norms, or `LayerNorm2d`.
        arguments: Of its constructor.
        x: Shape (networks, replicas, batch, …).
        population: Whether examples are a batch in training, and replicas one layer.
    """
    eps = arguments.get("eps", 1e-5)
    if op.name.startswith(("BatchNorm", "SyncBatchNorm")):
        return _batch(x, arguments, eps, population)
    if op.name.startswith("InstanceNorm"):
        return unflat(F.instance_norm(flat(x), eps=eps), x.shape[:LEADING])
    if op.name == "GroupNorm":
        return _groups(x, arguments["num_groups"], eps)
    if op.name == "LayerNorm2d":
        return _standard(x, (1, LEADING), eps, centred=True)
    shape = arguments["normalized_shape"]
    count = len(shape) if isinstance(shape, tuple | list) else 1
    axes = (1, *range(x.dim() - count, x.dim()))
    if op.name == "RMSNorm":
        given = arguments.get("eps")
        return _standard(x, axes, torch.finfo(x.dtype).eps if given is None else given)
    return _standard(x, axes, eps, centred=True)


def _standard(x: Tensor, axes: tuple[int, ...], eps: float, *, centred: bool = False) -> Tensor:
    """Return x over its root-mean-square along axes, the replicas' among them."""
    if centred:
        x = x - x.mean(axes, keepdim=True)
    return x / (x.square().mean(axes, keepdim=True) + eps).sqrt()


def _groups(x: Tensor, groups: int, eps: float) -> Tensor:
    split = split_axis(x, LEADING, (groups, -1))
    axes = (1, *range(LEADING + 1, split.dim()))
    return _standard(split, axes, eps, centred=True).flatten(LEADING, LEADING + 1)


def _batch(x: Tensor, arguments: Mapping[str, Any], eps: float, population: Population) -> Tensor:
    if not population.train and arguments.get("track_running_stats", True):
        return x / math.sqrt(1 + eps)  # running mean 0, running variance 1
    axes = (2, *range(LEADING + 1, x.dim()))
    return _standard(x, axes, eps, centred=True)


def gain_shape(op: Op, x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return how a gain or shift of `shape` stands beside `x`, after networks and replicas."""
    if op.channel_axis == 1:
        return (1, *shape, *(1 for _ in range(x.dim() - LEADING - 1)))
    return (*(1 for _ in range(x.dim() - 2 - len(shape))), *shape)
