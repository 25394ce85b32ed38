"""Convolutions of a whole population at once: every network is a group of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor
from torch.nn import functional as F

from archgraph.ops import Op
from archgraph.prediction.linear import per_axis
from archgraph.prediction.population import LEADING, split_axis

__all__ = ["convolve"]

_FORWARD: Final = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: Final = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def convolve(
    op: Op, arguments: Mapping[str, Any], x: Tensor, weight: Tensor, extra: Sequence[int]
) -> Tensor:
    """Convolve what each network reads with its own kernels, without bias.

    Args:
        op: A `Conv…` or `ConvTranspose…`.
        arguments: Of its constructor.
        x: Shape (networks, replicas, batch, channels, …).
        weight: Shape (networks, replicas or 1, …) before torch's own.
        extra: What `F.pad` adds first; of a transposed convolution its output padding.
    """
    networks, replicas = x.shape[:2]
    count = x.dim() - LEADING - 1
    groups = networks * replicas * arguments.get("groups", 1)
    stride, dilation = (per_axis(arguments.get(key, 1), count) for key in ("stride", "dilation"))
    kernels = weight.expand(-1, replicas, *weight.shape[2:]).flatten(0, 2)
    side = x.permute(2, 0, 1, *range(LEADING, x.dim())).flatten(1, 3)
    if op.name.startswith("ConvTranspose"):
        padding = per_axis(arguments.get("padding", 0), count)
        y = _TRANSPOSED[count](side, kernels, None, stride, padding, extra, groups, dilation)
    else:
        if any(extra):
            mode = arguments.get("padding_mode", "zeros")
            side = F.pad(side, list(extra), "constant" if mode == "zeros" else mode)
        y = _FORWARD[count](side, kernels, None, stride, 0, dilation, groups)
    apart = split_axis(y, 1, (networks, replicas, -1))
    return apart.permute(1, 2, 0, *range(3, apart.dim()))
