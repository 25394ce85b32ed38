"""The gradient of every path as a product of dense Jacobians: it shares no code with the tape.

Values are computed by plain torch, each node's Jacobians by `torch.autograd.functional`, and the
paths are listed by following edges. Of archgraph only the graph's records and the weights are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.nn import functional as F

from archgraph.graph import Edge, Graph, Node
from archgraph.module import Batch

__all__ = ["BrutePath", "brute_paths"]

FUNCTIONS = {"ReLU": torch.relu, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid}


@dataclass(frozen=True)
class BrutePath:
    """A path and its gradient."""

    edges: tuple[Edge, ...]
    """From the target to L."""
    gradient: Tensor
    """Flat."""


def brute_paths(graph: Graph, module: nn.Module, batch: Batch, wrt: str) -> list[BrutePath]:
    """Every path from a node to L, with the product of the Jacobians of its edges."""
    jacobians = _Jacobians(graph, module, batch)
    found = []
    for edges in _listed(graph, wrt):
        row = torch.ones(1, 1, dtype=torch.float64)
        for edge in reversed(edges):
            row = row @ jacobians.of(edge)
        found.append(BrutePath(edges, row[0]))
    return found


def _listed(graph: Graph, node: str) -> Iterator[tuple[Edge, ...]]:
    if node == "L":
        yield ()
    for edge in graph.edges:
        if edge.source == node:
            for rest in _listed(graph, edge.target):
                yield (edge, *rest)


class _Jacobians:
    def __init__(self, graph: Graph, module: nn.Module, batch: Batch) -> None:
        self.graph, self.module, self.batch = graph, module, batch
        self.values: dict[str, Tensor] = {}
        self.known: dict[str, Tensor] = {}
        inputs = iter(batch.inputs)
        for node in graph.nodes:
            if node.kind == "input":
                self.values[node.name] = next(inputs)
            else:
                read = [self.values[edge.source] for edge in self.into(node)]
                self.values[node.name] = self.function(node)(*read).detach()

    def into(self, node: Node) -> list[Edge]:
        return [edge for edge in self.graph.edges if edge.target == node.name]

    def of(self, edge: Edge) -> Tensor:
        """∂ target / ∂ source along one edge, as a matrix over all examples and elements."""
        if edge.id not in self.known:
            node = next(node for node in self.graph.nodes if node.name == edge.target)
            edges = self.into(node)
            read = tuple(self.values[e.source] for e in edges)
            found = jacobian(self.function(node), read)
            rows = self.values[node.name].numel()
            for each, tensor in zip(edges, found, strict=True):
                self.known[each.id] = tensor.detach().reshape(rows, -1)
        return self.known[edge.id]

    def function(self, node: Node) -> Callable[..., Tensor]:
        """The node as a function of what its edges read, in their order."""
        edges = self.into(node)
        if node.kind == "loss":
            return lambda *read: sum(
                self.scaled(edge, self.term(i, value))
                for i, (edge, value) in enumerate(zip(edges, read, strict=True))
            )
        merge = {"add": _added, "multiply": _multiplied, "concat": _joined}.get(
            edges[0].kind, _added
        )

        def layer(*read: Tensor) -> Tensor:
            merged = merge([self.scaled(e, v) for e, v in zip(edges, read, strict=True)])
            if node.op is None:
                return merged
            if node.op.name == "Linear":
                inside = self.module.get_submodule(node.module)
                return merged @ inside.weight.T + inside.bias
            return FUNCTIONS[node.op.name](merged)

        return layer

    def scaled(self, edge: Edge, value: Tensor) -> Tensor:
        learn = edge.scale.learn
        if learn is None:
            return value * float(edge.scale.value)
        parameter = self.module.get_parameter(learn.name)
        return value * (parameter if learn.index is None else parameter[learn.index])

    def term(self, index: int, value: Tensor) -> Tensor:
        target = self.batch.targets[index]
        if self.graph.loss[index].op is None:
            return (value * target).sum()
        return F.mse_loss(value, target)


def _added(terms: list[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def _multiplied(terms: list[Tensor]) -> Tensor:
    return reduce(torch.mul, terms)


def _joined(terms: list[Tensor]) -> Tensor:
    return torch.cat(terms, 1)
