"""Nodes that nothing covers: their op is run as it is, one network after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from archgraph.graph import Node
from archgraph.module.instances import instantiate
from archgraph.prediction.cells import LoopCell
from archgraph.prediction.laws import start_law
from archgraph.prediction.plan import Plan
from archgraph.prediction.population import LEADING, Bundle, Population, Segment, elements_of
from archgraph.prediction.reading import Reader

__all__ = ["loop_cell"]


def loop_cell(
    plan: Plan,
    population: Population,
    reader: Reader,
    values: Sequence[Bundle],
    node: Node,
    known: dict[str, list[Callable[..., Any]]],
) -> LoopCell:
    """Run a node for every network, each with a layer of its own.

    Args:
        plan: The graph.
        population: Of networks.
        reader: Of the node.
        values: Of the nodes before it.
        node: A layer.
        known: The layers of each submodule so far, for layers that share their weights.
    """
    assert node.op is not None
    ports = list(plan.graph.ports(node.name))
    merge = Segment.run(
        lambda leaves, own: {
            i: _whole(value, population)
            for i, value in enumerate(reader.merge(leaves, own).values())
        },
        reader.reads(values),
        reader.scales(),
    )
    folded = node.op.op.origin in ("torch.nn", "archgraph")  # these treat examples alike
    per_network = 1 if folded else population.replicas
    path = node.module or node.name
    if path not in known:
        known[path] = [_layer(plan, population, node) for _ in range(population.networks)]
    count = population.networks * per_network
    parts = {i: t.reshape(count, -1, *t.shape[LEADING:]) for i, t in merge.values.items()}
    calls = [
        _call(known[path][c // per_network], node, ports, {i: t[c] for i, t in parts.items()})
        for c in range(count)
    ]
    names = {short: f"{path}.{short}" for short in calls[0].parameters}
    leading = (population.networks, population.replicas)
    return LoopCell(merge, calls, leading, {**reader.names(), **names})


def _whole(value: Tensor, population: Population) -> Tensor:
    return value.expand(-1, -1, population.batch, *value.shape[LEADING:])


def _layer(plan: Plan, population: Population, node: Node) -> Callable[..., Any]:
    """Build a layer as the compiled network would start it, or return the user's callable."""
    assert node.op is not None
    layer: Callable[..., Any] = instantiate(node.op, plan.shapes.arguments[node.name])
    if not isinstance(layer, nn.Module):
        return layer
    layer = layer.train(population.train)
    if node.op.op.origin == "opaque":
        return layer
    prefix = f"{node.module}."
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if prefix + name in plan.starts:
                law = start_law(plan.starts[prefix + name], tuple(parameter.shape))
                parameter.copy_(law.draw())
    return layer


def _call(
    layer: Callable[..., Any], node: Node, ports: Sequence[str], inputs: Mapping[int, Tensor]
) -> Segment[int]:
    own = dict(layer.named_parameters()) if isinstance(layer, nn.Module) else {}
    opaque = node.op is not None and node.op.op.origin == "opaque"

    def run(leaves: Mapping[int, Tensor], own: Mapping[str, Tensor]) -> Bundle:
        # Copies, as an op that nobody knows may write over what it reads.
        given = [leaves[i].clone() if opaque else leaves[i] for i in range(len(ports))]
        named = {} if opaque else dict(zip(ports, given, strict=True))
        given = given if opaque else []
        if isinstance(layer, nn.Module):
            return elements_of(functional_call(layer, dict(own), tuple(given), named))
        return elements_of(layer(*given, **named))

    return Segment.run(run, inputs, own)
