"""Real networks, compiled and run for one seed after another: what covers everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from archgraph.graph import Graph, Node
from archgraph.module import Batch, compile, draw, infer, operations, term_loss
from archgraph.prediction.population import merge_values
from archgraph.prediction.sweep import Sweep

__all__ = ["draw_networks"]

DATA: Final = 2**40
"""Added to a network's seed for its inputs and targets."""


def draw_networks(graph: Graph, *, networks: int, batch: int, seed: int, train: bool) -> Sweep:
    """Draw, run and differentiate real networks.

    Args:
        graph: The network.
        networks: How many, each with weights, inputs and targets of its own.
        batch: Number of examples.
        seed: Network i has the seed `seed + i`.
        train: Whether dropout is active and norms use the statistics of the batch.

    Cost: one compiled module, one forward and one backward pass per network.
    """
    kind = type(compile(graph, seed=seed))  # whose text is written once
    runs = [_Network(graph, kind, batch, seed + i, train=train).run() for i in range(networks)]
    result = Sweep()
    for field in ("energies", "second_moments", "parameters"):
        names = getattr(runs[0], field)
        getattr(result, field).update(
            {name: torch.cat([getattr(run, field)[name] for run in runs]) for name in names}
        )
    for edge in runs[0].edges:
        pairs = [run.edges[edge] for run in runs]
        result.edges[edge] = (torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs]))
    return result


class _Network:
    """One real network, run node by node so that every value can be differentiated by."""

    def __init__(
        self, graph: Graph, kind: type[nn.Module], batch: int, seed: int, *, train: bool
    ) -> None:
        self.graph, self.seed = graph, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module = kind().double().train(train)
        for part in self.module.modules():
            if getattr(part, "inplace", False) is True:
                part.inplace = False  # type: ignore[assignment]
        # Not from the seed of the weights, or data and weights could be the same numbers.
        self.batch: Batch = draw(graph, batch=batch, seed=seed + DATA)
        self.operations: Mapping[str, Callable[..., Any]] = operations(graph, self.module)
        self.dims = infer(graph).dims
        self.values: list[dict[int, Tensor]] = []
        self.read: dict[int, Tensor] = {}
        """What each edge reads: a copy, so that it has a gradient of its own."""

    def run(self) -> Sweep:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._forward()
        return self._backward()

    def _forward(self) -> None:
        inputs = iter(self.batch.inputs)
        for node in self.graph.nodes:
            if node.kind == "input":
                value = next(inputs)
                self.values.append({0: value.requires_grad_(value.is_floating_point())})
                continue
            terms = {e.index: self._term(e.index) for e in self.graph.edges_into(node.name)}
            result = self._loss(terms) if node.kind == "loss" else self._layer(node, terms)
            items = result if isinstance(result, tuple | list) else (result,)
            self.values.append({i: t for i, t in enumerate(items) if isinstance(t, Tensor)})

    def _term(self, index: int) -> Tensor:
        edge = self.graph.edges[index]
        value = self.values[self.graph.positions[edge.source]][edge.element]
        self.read[index] = value.clone()
        return self.read[index]

    def _scale(self, index: int) -> Tensor | float:
        scale = self.graph.edges[index].scale
        if scale.learn is None:
            return float(scale.value)
        parameter = self.module.get_parameter(scale.learn.name)
        return parameter if scale.learn.index is None else parameter[scale.learn.index]

    def _layer(self, node: Node, terms: Mapping[int, Tensor]) -> Any:
        ports = {}
        for port, edges in self.graph.ports(node.name).items():
            scaled = [
                terms[e.index] if e.scale.is_one else self._scale(e.index) * terms[e.index]
                for e in edges
            ]
            axis = self.dims.get((node.name, port))
            padded = [value[None, None] for value in scaled]
            ports[port] = merge_values(edges[0].kind, padded, axis)[0, 0]
        if node.op is None:
            return next(iter(ports.values()))
        operation = self.operations[node.name]
        return operation(*ports.values()) if node.op.op.origin == "opaque" else operation(**ports)

    def _loss(self, terms: Mapping[int, Tensor]) -> Tensor:
        losses = [
            self._scale(index) * term_loss(self.graph, i, value, self.batch.targets[i])
            for i, (index, value) in enumerate(terms.items())
        ]
        return torch.stack(losses).sum()

    def _backward(self) -> Sweep:
        nodes = {
            (name.name, k): tensor
            for name, bundle in zip(self.graph.nodes, self.values, strict=True)
            for k, tensor in bundle.items()
            if tensor.requires_grad
        }
        edges = {i: t for i, t in self.read.items() if t.requires_grad}
        parameters = dict(self.module.named_parameters())
        wanted = [*nodes.values(), *edges.values(), *parameters.values()]
        found = torch.autograd.grad(self.values[-1][0], wanted, allow_unused=True)
        pulled = [
            torch.zeros_like(t) if g is None else g for t, g in zip(wanted, found, strict=True)
        ]
        return self._noted(
            dict(zip(nodes, pulled[: len(nodes)], strict=True)),
            dict(zip(edges, pulled[len(nodes) : len(nodes) + len(edges)], strict=True)),
            dict(zip(parameters, pulled[len(nodes) + len(edges) :], strict=True)),
        )

    def _noted(
        self,
        nodes: Mapping[tuple[str, int], Tensor],
        edges: Mapping[int, Tensor],
        parameters: Mapping[str, Tensor],
    ) -> Sweep:
        result = Sweep()
        for position, node in enumerate(self.graph.nodes):
            own = [t.square().sum() for (name, _), t in nodes.items() if name == node.name]
            result.energies[node.name] = torch.stack([*own, torch.zeros(()).double()]).sum()[None]
            value = self.values[position]
            first = value[min(value)].detach().double()
            result.second_moments[node.name] = first.square().mean()[None]
        for index, gradient in edges.items():
            edge = self.graph.edges[index]
            whole = nodes[edge.source, edge.element]
            result.edges[index] = (
                gradient.square().sum()[None],
                (gradient * whole).sum()[None],
            )
        for name, gradient in parameters.items():
            result.parameters[name] = gradient.square().sum()[None]
        return result
