"""Inputs and targets drawn for a graph, and the loss that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archgraph.errors import UsageError
from archgraph.graph import Graph
from archgraph.module.instances import RefusalError
from archgraph.module.shapes import infer
from archgraph.module.targets import compare, draw_target

__all__ = ["Batch", "draw", "loss", "term_loss"]


@dataclass(frozen=True)
class Batch:
    """What a network reads, and what its outputs are compared with."""

    inputs: tuple[Tensor, ...]
    """In the order of `graph.inputs`, each of shape (batch, …)."""
    targets: tuple[Tensor, ...]
    """In the order of `graph.loss`; of a readout, the number that each element is multiplied by."""


def draw(
    graph: Graph,
    *,
    batch: int = 4,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    device: str | torch.device = "cpu",
) -> Batch:
    """Draw a batch: inputs N(0, 1) or uniform integers, and a target for each term of the loss.

    Args:
        graph: The network.
        batch: Number of examples, at least 1.
        seed: The same seed gives the same numbers, on every device and, but for rounding, in every
            dtype. Torch's global random state is neither read nor changed.
        dtype: Type of what is no integer.
        device: Where the tensors go; they are drawn on the CPU.

    Raises:
        SpecError: the graph's shapes do not fit.
        UsageError: `batch` is not positive.
    """
    if batch < 1:
        raise UsageError(f"a batch holds at least one example, not {batch}")
    shapes = infer(graph)
    generator = torch.Generator().manual_seed(seed)
    inputs = []
    for node in graph.inputs:
        shape = (batch, *shapes[node.name].shape)
        if node.is_integer:
            kind = getattr(torch, node.dtype)
            drawn = torch.randint(node.below or 1, shape, generator=generator).to(kind)
        else:
            drawn = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
        inputs.append(drawn)
    targets = [
        draw_target(term.op, shapes.element(term.of, term.element), batch, generator, dtype)
        for term in graph.loss
    ]
    return Batch(tuple(t.to(device) for t in inputs), tuple(t.to(device) for t in targets))


def term_loss(graph: Graph, index: int, value: Tensor, target: Tensor) -> Tensor:
    """Return one term of the loss, without its scale.

    Args:
        graph: The network.
        index: Position of the term in `graph.loss`.
        value: The output that the term reads, shape (batch, …).
        target: As in `Batch.targets`.

    Returns:
        A scalar: the loss, its class axis being the output's channel axis; of a readout the sum of
        value · target.

    Raises:
        UsageError: the value and the target do not fit.
    """
    term = graph.loss[index]
    axis = infer(graph).element(term.of, term.element).channel_axis
    try:
        return compare(term.op, value, target, axis)
    except (RefusalError, RuntimeError, ValueError, IndexError) as error:
        raise UsageError(f"the loss '{term.name}' cannot be taken: {error}") from None


def loss(graph: Graph, outputs: Tensor | Sequence[Tensor], batch: Batch) -> Tensor:
    """Return L, the sum of scale · term.

    Args:
        graph: The network.
        outputs: What the compiled module returns: a tensor, or one for each of `graph.outputs`.
        batch: With the targets.

    Raises:
        UsageError: a term reads what the module does not return, or does not fit its target.
    """
    values = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    by_node = dict(zip((node for _, node in graph.outputs), values, strict=True))
    terms = []
    for i, term in enumerate(graph.loss):
        if term.of not in by_node or term.element:
            raise UsageError(f"the loss '{term.name}' reads '{term.of}', which is no output")
        value = term_loss(graph, i, by_node[term.of], batch.targets[i])
        terms.append(value if term.scale.is_one else float(term.scale.value) * value)
    return torch.stack(terms).sum()
