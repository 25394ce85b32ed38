"""Derivatives of one op at its recorded pass, in both directions, as cheaply as its family allows.

What is linear in its input is applied to the tangent itself; what has a symmetric Jacobian takes
the tangent back as if it were a cotangent; a scalar's gradient is multiplied by the tangent. For
anything else the vector–Jacobian product, which is linear in the cotangent, is differentiated once
more, or the op is run again on dual numbers. Which of these holds is read off the layer itself and
not off the graph, since a module may hold another layer than it was compiled with.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from archgraph.errors import GradientError
from archgraph.gradient.bundle import Bundle, differentiable
from archgraph.gradient.cell import Cell, ParameterUse, as_elements, call_layer
from archgraph.graph import Node
from archgraph.ops.catalogue import get

__all__ = [
    "OnceOnlyError",
    "Source",
    "is_elementwise",
    "jvp",
    "known_layer",
    "run_on_duals",
    "vjp",
    "vjp_many",
]

Source: TypeAlias = str | ParameterUse
"""What an op depends on: a port by name, or a parameter by use."""


class OnceOnlyError(GradientError):
    """An op can be differentiated backwards but not forwards, so edges cannot be split there."""


# --- backwards --------------------------------------------------------------------------------


def vjp(
    cell: Cell, cotangent: Bundle, sources: Sequence[Source], *, twice: bool = False
) -> list[Tensor]:
    """Return Jᵀ·cotangent for each source, zeros where the op does not depend on it.

    Args:
        cell: The node.
        cotangent: By element of its value.
        sources: What is asked for.
        twice: Whether the result is to be differentiated again.

    Raises:
        RuntimeError: torch cannot differentiate the op.
    """
    tensors = [_tensor(cell, source) for source in sources]
    live = [k for k in cotangent if k in cell.outputs and cell.outputs[k].requires_grad]
    asked = [i for i, tensor in enumerate(tensors) if differentiable(tensor)]
    found: list[Tensor | None] = [None] * len(tensors)
    if live and asked:
        with _thawed(tensors[i] for i in asked):
            gradients = torch.autograd.grad(
                [cell.outputs[k] for k in live],
                [tensors[i] for i in asked],
                [cotangent[k] for k in live],
                retain_graph=True,
                create_graph=twice,
                allow_unused=True,
            )
        for i, gradient in zip(asked, gradients, strict=True):
            found[i] = gradient
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(tensors, found, strict=True)
    ]


def vjp_many(
    cell: Cell, element: int, stack: Tensor, sources: Sequence[Source]
) -> dict[Source, Tensor]:
    """Return Jᵀ·cotangent for many cotangents at once.

    Args:
        cell: The node.
        element: Which element of its value the cotangents are of.
        stack: The cotangents, shape (number of them, …).
        sources: What is asked for.

    Returns:
        For each source a tensor of shape (number of them, …).

    Raises:
        RuntimeError: torch cannot differentiate the op.
    """
    if len(cell.ports) == 1 and list(sources) == list(cell.ports) and element == 0:
        (port,) = cell.ports
        rule = _many(cell, port)
        if rule is not None:
            return {port: rule(stack)}
    rows = [vjp(cell, {element: cotangent}, sources) for cotangent in stack]
    return {source: torch.stack([row[i] for row in rows]) for i, source in enumerate(sources)}


def _tensor(cell: Cell, source: Source) -> Tensor:
    return cell.ports[source].leaf if isinstance(source, str) else cell.parameters[source]


def _many(cell: Cell, port: str) -> Callable[[Tensor], Tensor] | None:
    """Return the product with a stack of cotangents in one go, if the op's family has one."""
    layer, shape = cell.layer, cell.ports[port].leaf.shape
    if type(layer) is nn.Linear:
        return lambda stack: stack @ layer.weight.detach()
    if type(layer) in _CONVOLUTIONS and _pads_with_zeros(layer):
        return lambda stack: _pull_convolution(layer, stack, shape)
    if is_elementwise(cell):
        (diagonal,) = vjp(cell, {0: torch.ones_like(cell.outputs[0])}, [port])
        return lambda stack: stack * diagonal
    return None


_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def _pads_with_zeros(layer: Any) -> bool:
    """Whether a convolution pads by numbers of zeros, and not by a rule of another kind."""
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _pull_convolution(layer: Any, stack: Tensor, shape: torch.Size) -> Tensor:
    """Pull a stack of cotangents back as if it were one large batch."""
    batch = stack.flatten(0, 1)
    count = len(batch)
    nothing = batch.new_empty(1).expand(count, *shape[1:])  # only the shape of the input matters
    found, _, _ = torch.ops.aten.convolution_backward(
        batch,
        nothing,
        layer.weight.detach(),
        None,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.transposed,
        layer.output_padding,
        layer.groups,
        (True, False, False),
    )
    result: Tensor = found.reshape(len(stack), *shape)
    return result


# --- forwards ---------------------------------------------------------------------------------


def jvp(cell: Cell, tangents: Mapping[Source, Tensor]) -> Bundle:
    """Return J·tangent, by element of the op's value.

    Args:
        cell: The node.
        tangents: Of what the op depends on; one that is left out is zero.

    Raises:
        OnceOnlyError: torch can differentiate the op backwards only.
    """
    if list(tangents) == list(cell.ports) and len(tangents) == 1:
        ((port, tangent),) = tangents.items()
        if _is_symmetric(cell):
            return {0: vjp(cell, {0: tangent}, [port])[0]}
        linear = _linear(cell)
        if linear is not None:
            with torch.no_grad():
                return {0: linear(tangent)}
    if len(cell.outputs) == 1 and cell.outputs[0].numel() == 1:
        return {0: _push_to_scalar(cell, tangents)}
    return _push_by_differentiating(cell, tangents)


def _push_to_scalar(cell: Cell, tangents: Mapping[Source, Tensor]) -> Tensor:
    rows = vjp(cell, {0: torch.ones_like(cell.outputs[0])}, list(tangents))
    parts = [(row * t).sum() for row, t in zip(rows, tangents.values(), strict=True)]
    return torch.stack(parts).sum().reshape(cell.outputs[0].shape)


def _push_by_differentiating(cell: Cell, tangents: Mapping[Source, Tensor]) -> Bundle:
    """Differentiate the vector–Jacobian product by its cotangent: d/dū ⟨Jᵀū, ẋ⟩ = J·ẋ.

    It needs no rerun, so dropout masks and batch statistics are those of the recorded pass.
    """
    seeds = {
        k: torch.ones_like(t).requires_grad_()
        for k, t in cell.outputs.items()
        if t.requires_grad and differentiable(t)
    }
    pulled = vjp(cell, seeds, list(tangents), twice=True)
    # J·ẋ is made of what depends on the seeds; a part that is not zero and does not, as if it were
    # a constant, has lost its derivative on the way.
    live = [i for i, tensor in enumerate(pulled) if tensor.requires_grad]
    if any(bool(t.any()) for t in pulled if not t.requires_grad):
        raise OnceOnlyError("its derivative is a constant to torch")
    if not live:
        return {}
    given = list(tangents.values())
    try:
        found = torch.autograd.grad(
            [pulled[i] for i in live],
            list(seeds.values()),
            [given[i] for i in live],
            allow_unused=True,
        )
    except RuntimeError as error:
        raise OnceOnlyError(str(error)) from error
    if all(t is None for t in found):
        raise OnceOnlyError("its derivative is a constant to torch")
    return {k: t for k, t in zip(seeds, found, strict=True) if t is not None}


def run_on_duals(
    cell: Cell, node: Node, tangents: Mapping[Source, Tensor]
) -> tuple[Bundle, Bundle]:
    """Run an op once more on dual numbers: its value, and J·tangent, by element.

    Args:
        cell: The node, whose random state and mode are those in which it was recorded.
        node: The same in the graph.
        tangents: By port; one that is left out is zero.

    Raises:
        RuntimeError: a part of the op has no rule for dual numbers.
    """
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, about itself
        duals = {name: port.leaf.detach() for name, port in cell.ports.items()}
        for name in duals.keys() & tangents.keys():
            duals[name] = forward_ad.make_dual(duals[name], tangents[name])  # type: ignore[no-untyped-call]
        assert cell.layer is not None
        returned = as_elements(call_layer(cell.layer, node, duals))
        unpack: Callable[[Tensor], Any] = forward_ad.unpack_dual
        pairs = {k: unpack(tensor) for k, tensor in returned.items()}
        values = {k: pair.primal.detach() for k, pair in pairs.items()}
        moved = {k: p.tangent.detach() for k, p in pairs.items() if p.tangent is not None}
    return values, moved


def _linear(cell: Cell) -> Callable[[Tensor], Any] | None:
    """Return the op without what it adds, if it is linear in its only input otherwise."""
    layer: Any = cell.layer
    if type(layer) is nn.Linear:
        return lambda tangent: F.linear(tangent, layer.weight)
    if type(layer) in _CONVOLUTIONS[:3]:
        return lambda tangent: layer._conv_forward(tangent, layer.weight, None)
    if type(layer) in _CONVOLUTIONS:
        return lambda tangent: _push_transposed(layer, tangent)
    known = known_layer(layer)
    if known is None or not known.linear or cell.parameters or len(cell.outputs) != 1:
        return None
    return layer if known.family in ("pooling", "reshaping", "resampling") else None


def _push_transposed(layer: Any, tangent: Tensor) -> Tensor:
    rank = tangent.dim() - 2
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
    result: Tensor = function(
        tangent,
        layer.weight,
        None,
        layer.stride,
        layer.padding,
        layer.output_padding,
        layer.groups,
        layer.dilation,
    )
    return result


# --- what is known of a layer -----------------------------------------------------------------


def known_layer(layer: Any) -> Any:
    """Return the catalogue's entry of a layer of torch's or archgraph's own, else None."""
    home = type(layer).__module__
    return get(type(layer).__name__) if home.startswith(("torch.nn.", "archgraph.nn.")) else None


def is_elementwise(cell: Cell) -> bool:
    """Whether each element of the value depends on the same element of one input alone."""
    known = known_layer(cell.layer)
    return known is not None and known.elementwise and len(cell.outputs) == 1


_PER_CHANNEL = ("BatchNorm", "InstanceNorm", "SyncBatchNorm")


def _is_symmetric(cell: Cell) -> bool:
    """Whether the Jacobian is symmetric.

    That of a norm over whole channels is γ/σ·(I − 11ᵀ/n − x̂x̂ᵀ/n) in each channel, and γ is one
    number there; over fixed statistics it is diagonal.
    """
    if is_elementwise(cell):
        return True
    known = known_layer(cell.layer)
    return known is not None and known.name.startswith(_PER_CHANNEL)


@contextmanager
def _thawed(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Let frozen parameters, which were not frozen when they were recorded, be differentiated."""
    frozen = [tensor for tensor in tensors if not tensor.requires_grad]
    try:
        for tensor in frozen:
            tensor.requires_grad_(True)
        yield
    finally:
        for tensor in frozen:
            tensor.requires_grad_(False)
