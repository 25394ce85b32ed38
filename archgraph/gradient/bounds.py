"""How much a layer can lengthen a cotangent at most: bounds on the norm of its Jacobian.

All are for the recorded pass: at these values, with these weights, masks and statistics.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

from archgraph.gradient.bundle import norm
from archgraph.gradient.cell import Cell, ParameterUse
from archgraph.gradient.local import is_elementwise, jvp, known_layer, vjp
from archgraph.gradient.tape import Tape

__all__ = ["edge_bounds", "use_bounds"]

LARGEST_MATRIX: Final = 1 << 22
"""Most elements of a matrix whose singular values are computed."""


_CONVOLUTIONS: Final = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def edge_bounds(tape: Tape, edges: Iterable[int]) -> dict[int, float]:
    """Return for each edge an upper bound on ‖J_eᵀu‖/‖u‖ over all cotangents u.

    Args:
        tape: A recorded pass.
        edges: Indices of edges that carry a gradient.

    Returns:
        The bounds, λ included; infinite where nothing is known of the layer.

    Cost: a singular value for each weight matrix, a pass through each other layer.
    """
    known: dict[tuple[int, str], float] = {}
    found = {}
    for edge in edges:
        position = tape.graph.targets[edge]
        cell = tape.cells[position]
        port, slot = cell.places[edge]
        if (position, port) not in known:
            with torch.no_grad():
                known[position, port] = _op_bound(cell, port, train=tape.train)
        found[edge] = known[position, port] * _merge_bound(cell, port, slot)
    return found


def use_bounds(tape: Tape, position: int, uses: Iterable[ParameterUse | None]) -> float:
    """Return a bound on what uses of parameters at one node receive together, over ‖cotangent‖.

    Args:
        tape: A recorded pass.
        position: The node.
        uses: Of parameters there; None is the node itself, if it is a parameter.
    """
    cell = tape.cells[position]
    return math.hypot(
        *(1.0 if use is None else _use_bound(cell, use, train=tape.train) for use in uses)
    )


def _use_bound(cell: Cell, use: ParameterUse, *, train: bool) -> float:
    if use in cell.scales:
        scaling = cell.scales[use]
        merge = cell.ports[scaling.port].merge
        value = merge.terms[scaling.slot][0]
        if merge.kind == "multiply":
            return math.inf
        copies = max(1.0, math.prod(merge.shape) / max(1, value.numel()))
        return _op_bound(cell, scaling.port, train=train) * norm({0: value}) * math.sqrt(copies)
    layer: Any = cell.layer
    if type(layer) not in (nn.Linear, *_CONVOLUTIONS) or len(cell.ports) != 1:
        return math.inf
    if use[0].rpartition(".")[2] == "bias":
        return math.sqrt(cell.outputs[0].numel() / len(layer.bias))
    # Each element of the input is read at each position of the kernel at most once.
    size = math.prod(layer.weight.shape[2:])
    (port,) = cell.ports.values()
    return math.sqrt(size) * norm({0: port.leaf})


def _merge_bound(cell: Cell, port: str, slot: int) -> float:
    merge = cell.ports[port].merge
    value, scale, learnt = merge.terms[slot]
    bound = abs(float(scale.value)) if learnt is None else _largest(learnt)
    if merge.kind == "multiply":
        for i, (other, other_scale, other_learnt) in enumerate(merge.terms):
            if i != slot:
                number = other_scale.value if other_learnt is None else _largest(other_learnt)
                bound *= abs(float(number)) * _largest(other)
    # What was broadcast receives a sum over its copies.
    if merge.kind == "concat":
        return bound * math.sqrt(merge.shape[0] / len(value))
    return bound * math.sqrt(max(1.0, math.prod(merge.shape) / max(1, value.numel())))


def _op_bound(cell: Cell, port: str, *, train: bool) -> float:
    """Return a bound on the norm of the Jacobian of an op by one of its ports."""
    if cell.merges_only:
        return 1.0
    if len(cell.outputs) != 1:
        return math.inf
    if cell.outputs[0].numel() == 1:
        return norm({0: _columns(cell, port)})
    layer: Any = cell.layer
    leaf = cell.ports[port].leaf
    if is_elementwise(cell):
        return _largest(_columns(cell, port))
    known = known_layer(layer)
    if known is None or len(cell.ports) != 1:
        return math.inf
    if known.family == "normalization":
        return _normalisation(layer, leaf, known.name, train=train)
    if type(layer) is nn.Linear:
        return _spectral(layer.weight)
    if type(layer) in _CONVOLUTIONS and layer.padding_mode in ("zeros", "circular"):
        return _convolution(layer.weight, layer.groups)
    if known.name.startswith(("MaxPool", "AdaptiveMaxPool")):
        return math.sqrt(_largest(_columns(cell, port)))  # of each row one element is 1
    if known.name in ("Softmax", "Softmax2d"):
        return 0.5
    if known.linear and not cell.parameters and getattr(layer, "mode", "") != "bicubic":
        # ‖J‖² is at most the largest column sum times the largest row sum, where none is negative.
        rows = jvp(cell, {port: torch.ones_like(leaf)})[0]
        return math.sqrt(_largest(_columns(cell, port)) * _largest(rows))
    return math.inf


def _columns(cell: Cell, port: str) -> Tensor:
    """Return Jᵀ·1."""
    with torch.enable_grad():
        return vjp(cell, {0: torch.ones_like(cell.outputs[0])}, [port])[0]


def _largest(tensor: Tensor) -> float:
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0


def _spectral(matrix: Tensor) -> float:
    """Return the largest singular value, or of a large matrix a bound on it."""
    weight = matrix.detach().double()
    if weight.numel() <= LARGEST_MATRIX:
        return float(torch.linalg.matrix_norm(weight, 2))
    one, infinity = (float(torch.linalg.matrix_norm(weight, kind)) for kind in (1, math.inf))
    return math.sqrt(one * infinity)


def _convolution(weight: Tensor, groups: int) -> float:
    """Return the smaller of two bounds.

    The convolution is a sum over the kernel's positions of a matrix on a shifted input; and it is
    one matrix on patches, in which no element of the input stands more often than the kernel is
    large. A transposed one is the adjoint of such.
    """
    parts = torch.chunk(weight.detach().double(), groups)
    size = math.prod(weight.shape[2:])
    bounds = []
    for part in parts:
        flat = part.flatten(2)
        by_position = sum(_spectral(flat[:, :, i]) for i in range(size))
        bounds.append(min(by_position, math.sqrt(size) * _spectral(part.flatten(1))))
    return max(bounds)


def _normalisation(layer: Any, leaf: Tensor, name: str, *, train: bool) -> float:
    """Return max |γ|/σ: what is left of the Jacobian, I − 11ᵀ/n − x̂x̂ᵀ/n, shortens."""
    weight = getattr(layer, "weight", None)
    gain = 1.0 if weight is None else _largest(weight)
    eps = getattr(layer, "eps", None)
    eps = torch.finfo(leaf.dtype).eps if eps is None else eps
    if name.startswith(("BatchNorm", "SyncBatchNorm")):
        axes: tuple[int, ...] = (0, *range(2, leaf.dim()))
        if not train and layer.running_var is not None:
            per_channel = 1.0 if weight is None else weight.detach()
            return _largest(per_channel / (layer.running_var + eps).sqrt())
        variance = leaf.var(axes, unbiased=False)
        return _largest((1.0 if weight is None else weight.detach()) / (variance + eps).sqrt())
    if name.startswith("InstanceNorm") and not layer.track_running_stats:
        variance = leaf.var(tuple(range(2, leaf.dim())), unbiased=False)
    elif name in ("LayerNorm", "RMSNorm"):
        axes = tuple(range(-len(layer.normalized_shape), 0))
        variance = (
            leaf.var(axes, unbiased=False) if name == "LayerNorm" else leaf.square().mean(axes)
        )
    elif name == "GroupNorm":
        variance = leaf.reshape(len(leaf), layer.num_groups, -1).var(2, unbiased=False)
    else:
        return math.inf
    return gain * _largest(1 / (variance + eps).sqrt())
