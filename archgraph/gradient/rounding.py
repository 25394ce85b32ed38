"""How much rounding may matter inside one op: measured, by running it in the other precision.

The backward pass of an attention whose keys are alike adds up numbers that cancel, and what is left
is rounding. No gradient that goes in or out shows how large those numbers were, so the op is run
again with fewer bits (or more), and what that changes is scaled to one rounding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor, nn

from archgraph.gradient.bundle import Bundle, accumulate, difference, is_finite, norm
from archgraph.gradient.cell import Cell, as_elements, call_layer
from archgraph.gradient.environment import forked, prepared
from archgraph.gradient.local import Source, vjp
from archgraph.gradient.tape import Pull, Tape, unmerged

__all__ = ["uncancelled_sizes"]

_OTHER: Final[Mapping[torch.dtype, torch.dtype]] = {
    torch.float64: torch.float32,
    torch.float32: torch.float64,
}
_COARSE: Final = torch.finfo(torch.float32).eps
_SAME: Final = 0.1
"""Largest relative change of a value that is the other precision, and not another value."""


def uncancelled_sizes(tape: Tape) -> dict[str, float]:
    """Return how large each gradient of L would be if nothing cancelled, inside ops included.

    Args:
        tape: A recorded pass.

    Returns:
        By node and parameter, the norm; what L does not depend on is left out. One rounding of the
        backward pass changes a gradient by about this times the precision of the pass.

    Raises:
        GradientError: torch cannot differentiate an op.

    Cost: a forward and four backward passes, and a copy of one layer's parameters at a time.
    """
    graph = tape.graph
    actual = tape.swept or tape.cotangents()
    absolute = tape.cotangents(absolute=True)
    # Apart from the gradients, so that what is added up in one op is not added up in all below it.
    nodes: dict[int, dict[int, Tensor]] = {}
    used: dict[str, dict[int, Tensor]] = {}
    for position in sorted(absolute.nodes, reverse=True):
        if not tape.cells[position].outputs:
            continue
        typical = _typical(actual.nodes.get(position, {}), absolute.nodes[position])
        pulls = [_inside(tape, position, typical)]
        if position in nodes:
            pulls += [tape.pull(position, nodes[position], parameters=tape.uses(position))]
        for pull in pulls:
            for edge, size in pull.edges.items():
                source = nodes.setdefault(graph.sources[edge], {})
                accumulate(source, graph.edges[edge].element, size.abs().to(size.dtype))
            for (name, _), size in pull.parameters.items():
                accumulate(used.setdefault(name, {}), 0, size.abs().to(size.dtype))
    sizes = {name: norm({0: tensor}) for name, tensor in absolute.parameters.items()}
    sizes |= {graph.nodes[position].name: norm(b) for position, b in absolute.nodes.items()}
    inside = {graph.nodes[position].name: norm(b) for position, b in nodes.items()}
    inside |= {name: norm(bundle) for name, bundle in used.items()}
    return {name: size + inside.get(name, 0.0) for name, size in sizes.items()}


def _typical(actual: Bundle, absolute: Bundle) -> Bundle:
    """Return the gradient, made as large as it would be if nothing had cancelled on the way."""
    return {
        element: torch.copysign(torch.maximum(actual[element].abs(), size), actual[element])
        if element in actual and not size.is_complex()
        else size
        for element, size in absolute.items()
    }


def _inside(tape: Tape, position: int, cotangent: Bundle) -> Pull:
    """Return the sizes of the numbers that are added up inside an op's Jᵀ·cotangent.

    They are |Jᵀ·cotangent in float64 − the same in float32| / ε of float32; none where the op
    cannot be run again, or gives another value then.
    """
    cell = tape.cells[position]
    uses = tuple(cell.parameters)
    sources: list[Source] = [*dict.fromkeys(port for port, _ in cell.places.values()), *uses]
    largest = max((float(t.abs().max()) for t in cotangent.values() if t.numel()), default=0.0)
    again = _in_other_precision(tape, position) if 0 < largest < math.inf else None
    if again is None:
        return Pull({}, {})
    scaled = {element: tensor / largest for element, tensor in cotangent.items()}
    dtype = _OTHER[tape.dtype]
    here = vjp(cell, scaled, sources)
    there = vjp(again, {k: t.to(dtype) for k, t in scaled.items()}, sources)
    sizes = {
        source: (one.double() - two.double()).abs().to(one.dtype) * (largest / _COARSE)
        for source, one, two in zip(sources, here, there, strict=True)
    }
    if not all(is_finite({0: size}) for size in sizes.values()):
        return Pull({}, {})
    return unmerged(cell, sizes, None, uses)


def _in_other_precision(tape: Tape, position: int) -> Cell | None:
    """Return a node recorded once more in the other precision; None if it is not the same."""
    cell, node = tape.cells[position], tape.graph.nodes[position]
    if cell.merges_only or not isinstance(cell.layer, nn.Module):
        return None
    dtype = _OTHER[tape.dtype]
    names = {id(parameter): name for name, parameter in cell.layer.named_parameters()}
    tensors = [*(port.leaf for port in cell.ports.values()), *cell.outputs.values()]
    if any(t.is_complex() for t in tensors) or any(
        id(parameter) not in names for parameter in cell.parameters.values()
    ):
        return None
    with forked(tape.loss.device), prepared(tape.module, train=tape.train), torch.enable_grad():
        if node.name in tape.random_states:
            tape.random_states[node.name].restore()
        leaves = {name: _converted(port.leaf, dtype) for name, port in cell.ports.items()}
        try:
            layer = copy.deepcopy(cell.layer).to(dtype)
            outputs = as_elements(call_layer(layer, node, leaves))
        except (RuntimeError, TypeError):
            return None  # a user's own layer need not know another precision
    value = {k: t for k, t in tape.values[position].items() if t.is_floating_point()}
    seen = {k: outputs[k].detach().to(t.dtype) for k, t in value.items()}
    if not norm(difference(seen, value)) <= _SAME * norm(value):
        return None
    return replace(
        cell,
        ports={name: replace(port, leaf=leaves[name]) for name, port in cell.ports.items()},
        parameters={use: layer.get_parameter(names[id(p)]) for use, p in cell.parameters.items()},
        outputs=outputs,
        layer=layer,
    )


def _converted(leaf: Tensor, dtype: torch.dtype) -> Tensor:
    if not leaf.is_floating_point():
        return leaf
    return leaf.detach().to(dtype).requires_grad_()
