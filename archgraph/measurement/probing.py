"""A compiled network, run node by node so that every edge can be tapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn

from archgraph.gradient.bundle import differentiable
from archgraph.gradient.cell import as_elements, call_layer
from archgraph.gradient.merging import Term, merge, scaled
from archgraph.gradient.reference import may_overwrite
from archgraph.graph import Edge, Graph, Node
from archgraph.measurement.activity import Activity, activity
from archgraph.module import infer, operations, term_loss

__all__ = ["Probed", "Tap"]

Tap = Callable[[int, Tensor], Tensor]
"""Called with an edge and what it reads; returns what the edge's reader is given."""


class Probed(nn.Module):
    """A compiled network with every edge within reach."""

    def __init__(self, graph: Graph, network: nn.Module, *, transformed: bool) -> None:
        """Keep the network.

        Args:
            graph: The graph.
            network: What it was compiled to.
            transformed: Whether it is run by `torch.func`.
        """
        super().__init__()
        self.graph, self.network, self.transformed = graph, network, transformed
        self.operations = operations(graph, network)
        for node in graph.nodes:
            if node.op is not None and node.op.op.is_parameter:
                # Not by `get_parameter`, which refuses what stands in for a parameter.
                path = node.module or node.name
                self.operations[node.name] = partial(_attribute, network, path)
        self.shapes = infer(graph)

    def forward(
        self, inputs: Sequence[Tensor], targets: Sequence[Tensor], tap: Tap
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Activity]]:
        """Return the loss, and by node second moments and activities."""
        values: list[dict[int, Tensor]] = []
        moments: dict[str, Tensor] = {}
        active: dict[str, Activity] = {}
        given = iter(inputs)
        for node in self.graph.nodes[:-1]:
            if node.kind == "input":
                value = {0: next(given)}
            else:
                ports = self._ports(node, values, tap)
                value = as_elements(self._run(node, ports))
                found = self._activity(node, ports)
                if found is not None:
                    active[node.name] = found
            values.append(value)
            if value:
                moments[node.name] = value[min(value)].detach().double().square().mean()
        return self._loss(values, targets, tap), moments, active

    def _activity(self, node: Node, ports: Mapping[str, Tensor]) -> Activity | None:
        layer = self.operations.get(node.name)
        return activity(node, layer, ports, self.shapes, transformed=self.transformed)

    def _ports(
        self, node: Node, values: Sequence[Mapping[int, Tensor]], tap: Tap
    ) -> dict[str, Tensor]:
        return {
            port: merge(
                edges[0].kind,
                [self._term(e, values, tap) for e in edges],
                self.shapes.dims.get((node.name, port)),
            )
            for port, edges in self.graph.ports(node.name).items()
        }

    def _term(self, edge: Edge, values: Sequence[Mapping[int, Tensor]], tap: Tap) -> Term:
        value = values[self.graph.positions[edge.source]][edge.element]
        if edge.gradient and differentiable(value):
            value = tap(edge.index, value)
        learn = edge.scale.learn
        if learn is None:
            return value, edge.scale, None
        learnt = _attribute(self.network, learn.name)
        return value, edge.scale, learnt if learn.index is None else learnt[learn.index]

    def _run(self, node: Node, ports: Mapping[str, Tensor]) -> Any:
        if node.op is None:
            return next(iter(ports.values()))
        if may_overwrite(node):
            ports = {name: value.clone() for name, value in ports.items()}
        return call_layer(self.operations[node.name], node, ports)

    def _loss(
        self, values: Sequence[Mapping[int, Tensor]], targets: Sequence[Tensor], tap: Tap
    ) -> Tensor:
        terms = [
            self._term(self.graph.edges[e], values, tap)
            for e in self.graph.into[self.graph.loss_position]
        ]
        losses = [
            scaled(term_loss(self.graph, i, value, targets[i]), scale, learnt)
            for i, (value, scale, learnt) in enumerate(terms)
        ]
        return torch.stack([value.reshape(()) for value in losses]).sum()


def _attribute(module: nn.Module, path: str) -> Any:
    return reduce(getattr, path.split("."), module)
