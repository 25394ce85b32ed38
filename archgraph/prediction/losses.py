"""The loss of every network of a population."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import vmap

from archgraph.graph import Graph, LossTerm
from archgraph.module.shapes import Shapes
from archgraph.module.targets import compare, draw_target
from archgraph.module.values import Value
from archgraph.prediction.population import Population, split_axis

__all__ = ["network_losses"]


def network_losses(
    graph: Graph, shapes: Shapes, population: Population
) -> Callable[[Sequence[Tensor]], list[Tensor]]:
    """Draw targets for every network, and return what gives the terms' losses from their values.

    Args:
        graph: The network.
        shapes: Its shapes.
        population: How many there are.

    Returns:
        A function of what the terms read; each loss, without its λ, has shape (networks, replicas).
    """
    values = [shapes.element(term.of, term.element) for term in graph.loss]
    targets = [
        _targets(term, value, population) for term, value in zip(graph.loss, values, strict=True)
    ]

    def losses(outputs: Sequence[Tensor]) -> list[Tensor]:
        return [
            _term(term, output, target, value.channel_axis)
            for term, output, target, value in zip(
                graph.loss, outputs, targets, values, strict=True
            )
        ]

    return losses


def _targets(term: LossTerm, value: Value, population: Population) -> Tensor:
    networks, replicas, batch = population.leading
    batch = batch if value.batched else 1
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    every = replace(value, batched=True)
    drawn = draw_target(
        term.op, every, networks * replicas * batch, generator, torch.get_default_dtype()
    )
    return split_axis(drawn, 0, (networks, replicas, batch))


def _term(term: LossTerm, output: Tensor, target: Tensor, axis: int | None) -> Tensor:
    """Return one term's loss, without its λ, shape (networks, replicas)."""
    if term.op is None:
        return (output * target).flatten(2).sum(-1)
    call = term.op
    losses = vmap(lambda o, t: compare(call, o, t, axis))(
        output.flatten(0, 1), target.flatten(0, 1)
    )
    return split_axis(losses, 0, output.shape[:2])
