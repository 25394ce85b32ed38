"""Weight layers as a matrix between two rearrangements: Linear, convolutions, transposed ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from archgraph.module.values import Value
from archgraph.ops import Op
from archgraph.prediction.population import flat, split_axis, unflat

__all__ = ["Matrix", "matrix_of", "per_axis"]

_CONVOLVE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@dataclass(frozen=True)
class Matrix:
    """A weight layer's matrix, and where its vectors come from and go."""

    groups: int
    fan_in: int
    """Inputs of one row."""
    fan_out: int
    """Rows per group."""
    positions: int
    """How often it is used for one example."""
    before: Callable[[Tensor], Tensor]
    """(networks, replicas, batch, …) → (networks, replicas, groups, vectors, fan_in)."""
    after: Callable[[Tensor, int], Tensor]
    """(networks, replicas, groups, vectors, fan_out), batch → (networks, replicas, batch, …)."""
    shaped: Callable[[Tensor], Tensor]
    """Weights as torch keeps them, (…, *shape) → (…, groups, fan_out, fan_in)."""
    bias_axis: int = -1
    """Of the result: the axis that the bias runs along."""
    overlap: float = 1.0
    """Largest number of vectors in which an input element stands."""
    extra: tuple[int, ...] = ()
    """What `F.pad` adds before a convolution; rows that a transposed one adds behind."""
    windows: Callable[[Tensor], Tensor] | None = None
    """Convolutions: what the kernel sees, (long batch, channels, *out, *kernel), not copied."""
    kernel: tuple[int, ...] = ()


def matrix_of(op: Op, arguments: Mapping[str, Any], read: Value, gives: Value) -> Matrix:
    """Return the matrix of a `Linear`, `Conv…` or `ConvTranspose…`.

    Args:
        op: Which of them.
        arguments: Of its constructor.
        read: What it reads.
        gives: Its result.
    """
    if op.name == "Linear":
        return _linear(read, gives)
    build = _transposed if op.name.startswith("ConvTranspose") else _convolution
    return build(arguments, read, gives)


def _linear(read: Value, gives: Value) -> Matrix:
    lead, fan_in, fan_out = read.shape[:-1], read.shape[-1], gives.shape[-1]
    return Matrix(
        groups=1,
        fan_in=fan_in,
        fan_out=fan_out,
        positions=math.prod(lead),
        before=lambda x: x.reshape(*x.shape[:2], 1, -1, fan_in),
        after=lambda z, batch: z.reshape(*z.shape[:2], batch, *lead, fan_out),
        shaped=lambda w: w.unsqueeze(-3),
    )


def per_axis(value: Any, count: int) -> tuple[int, ...]:
    """Return an argument that may be one number for all axes, a number for each."""
    return tuple(value) if isinstance(value, tuple | list) else (value,) * count


def _convolution(arguments: Mapping[str, Any], read: Value, gives: Value) -> Matrix:
    count = len(read.shape) - 1
    kernel, stride, dilation = (
        per_axis(arguments.get(name, 1), count) for name in ("kernel_size", "stride", "dilation")
    )
    groups = arguments.get("groups", 1)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    mode = arguments.get("padding_mode", "zeros")
    window = _Window(kernel, stride, dilation, _padding(arguments, reach), mode)
    out_channels, out = gives.shape[0], gives.shape[1:]
    fan_in = read.shape[0] // groups * math.prod(kernel)
    return Matrix(
        groups=groups,
        fan_in=fan_in,
        fan_out=out_channels // groups,
        positions=math.prod(out),
        before=partial(_patches, window=window, groups=groups, out=out),
        after=lambda z, batch: _channels_first(z, batch, out),
        shaped=lambda w: split_axis(w.flatten(-1 - count), -2, (groups, -1)),
        bias_axis=-1 - count,
        overlap=math.prod(math.ceil(k / s) for k, s in zip(kernel, stride, strict=True)),
        extra=tuple(window.padding),
        windows=partial(_windows, window=window),
        kernel=kernel,
    )


def _padding(arguments: Mapping[str, Any], reach: list[int]) -> list[int]:
    """Return padding as `F.pad` takes it: last axis first, before and after."""
    padding = arguments.get("padding", 0)
    if padding == "valid":
        padding = 0
    if padding == "same":
        pairs = [(r // 2, r - r // 2) for r in reach]
    else:
        pairs = [(p, p) for p in per_axis(padding, len(reach))]
    return [number for pair in reversed(pairs) for number in pair]


@dataclass(frozen=True, slots=True)
class _Window:
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: list[int]
    mode: str


def _windows(x: Tensor, window: _Window) -> Tensor:
    """Return what the kernel sees, (long batch, channels, *out, *kernel), without a copy."""
    if any(window.padding):
        mode = "constant" if window.mode == "zeros" else window.mode
        x = F.pad(x, window.padding, mode)
    sides = zip(window.kernel, window.stride, window.dilation, strict=True)
    for axis, (k, s, d) in enumerate(sides):
        x = x.unfold(2 + axis, d * (k - 1) + 1, s)[..., ::d]
    return x


def _patches(x: Tensor, *, window: _Window, groups: int, out: tuple[int, ...]) -> Tensor:
    """Return what the kernel sees at every place, (networks, replicas, groups, places, fan_in)."""
    networks, replicas, batch = x.shape[:3]
    views = _windows(flat(x), window)
    count = len(out)
    # (long batch, channels, *out, *kernel) → places in front of channels and kernel.
    split = split_axis(split_axis(views, 1, (groups, -1)), 0, (networks, replicas, batch))
    places = range(5, 5 + count)
    kernel = range(5 + count, 5 + 2 * count)
    return split.permute(0, 1, 3, 2, *places, 4, *kernel).reshape(
        networks, replicas, groups, batch * math.prod(out), -1
    )


def _channels_first(z: Tensor, batch: int, out: tuple[int, ...]) -> Tensor:
    """Return (networks, replicas, groups, places, rows) as (networks, replicas, batch, C, *out)."""
    split = split_axis(z, 3, (batch, *out))
    places = range(4, 4 + len(out))
    return split.permute(0, 1, 3, 2, 4 + len(out), *places).flatten(3, 4)


def _transposed(arguments: Mapping[str, Any], read: Value, gives: Value) -> Matrix:
    count = len(read.shape) - 1
    kernel = per_axis(arguments["kernel_size"], count)
    stride = per_axis(arguments.get("stride", 1), count)
    groups = arguments.get("groups", 1)
    channels, size, where = gives.shape[0], math.prod(kernel), read.shape[1:]
    padding = per_axis(arguments.get("padding", 0), count)
    dilation = per_axis(arguments.get("dilation", 1), count)
    extra = tuple(
        n - ((m - 1) * s - 2 * p + d * (k - 1) + 1)
        for n, m, s, p, d, k in zip(
            gives.shape[1:], where, stride, padding, dilation, kernel, strict=True
        )
    )

    def after(z: Tensor, batch: int) -> Tensor:
        fields = _channels_first(z, batch, where)
        # One-hot kernels put each product where the kernel would have added it.
        one_hot = torch.eye(size, dtype=z.dtype).repeat(channels, 1).reshape(-1, 1, *kernel)
        spread = _CONVOLVE[count](
            flat(fields), one_hot, None, stride, padding, extra, channels, dilation
        )
        return unflat(spread, fields.shape[:3])

    return Matrix(
        groups=groups,
        fan_in=read.shape[0] // groups,
        fan_out=channels // groups * size,
        positions=math.prod(where),
        before=lambda x: (
            split_axis(x.flatten(4), 3, (groups, -1)).permute(0, 1, 3, 2, 5, 4).flatten(3, 4)
        ),
        after=after,
        shaped=lambda w: split_axis(w.flatten(-1 - count), -2, (groups, -1)).mT,
        bias_axis=-1 - count,
        overlap=math.prod(math.ceil(k / s) for k, s in zip(kernel, stride, strict=True)),
        extra=extra,
    )
