"""What a node reads: the values at its in-edges, its learnable λ, and the merge of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archgraph.graph import Edge, Graph, Node
from archgraph.module.shapes import Shapes
from archgraph.prediction.population import LEADING, Bundle, Population, merge_values

__all__ = ["Reader"]


@dataclass(frozen=True)
class Reader:
    """Reads and merges for one node."""

    graph: Graph
    shapes: Shapes
    population: Population
    node: Node

    def reads(self, values: Sequence[Bundle]) -> dict[int, Tensor]:
        """Return by in-edge the value that it reads."""
        edges = self.graph.edges_into(self.node.name)
        return {e.index: values[self.graph.positions[e.source]][e.element] for e in edges}

    def scales(self) -> dict[str, Tensor]:
        """Return the learnable λ of the in-edges at their start values, one per network."""
        found = {}
        for edge in self._learnt():
            learn = edge.scale.learn
            assert learn is not None
            shape = () if learn.index is not None else self.shapes.parameters[learn.name]
            full = (*self.population.leading[:2], *shape)
            found[_key(edge)] = torch.full(full, float(edge.scale.value))
        return found

    def names(self) -> dict[str, str]:
        """Return for each of `scales` the parameter, `name[i]` for an element of a vector."""
        found = {}
        for edge in self._learnt():
            learn = edge.scale.learn
            assert learn is not None
            index = "" if learn.index is None else f"[{learn.index}]"
            found[_key(edge)] = f"{learn.name}{index}"
        return found

    def _learnt(self) -> list[Edge]:
        return [e for e in self.graph.edges_into(self.node.name) if e.scale.learn is not None]

    def weigh(self, losses: Sequence[Tensor], own: Mapping[str, Tensor]) -> Tensor:
        """Return Σ λ·loss over the in-edges of L, shape (networks, replicas)."""
        total = torch.zeros(())
        for edge, loss in zip(self.graph.edges_into(self.node.name), losses, strict=True):
            total = total + own.get(_key(edge), float(edge.scale.value)) * loss
        return total

    def merge(self, leaves: Mapping[int, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return by port what the op reads."""
        ports = {}
        for port, edges in self.graph.ports(self.node.name).items():
            terms = [_scaled(edge, leaves[edge.index], own.get(_key(edge))) for edge in edges]
            axis = self.shapes.dims.get((self.node.name, port))
            ports[port] = merge_values(edges[0].kind, terms, axis)
        return ports


def _key(edge: Edge) -> str:
    return f"λ:{edge.index}"


def _scaled(edge: Edge, value: Tensor, learnt: Tensor | None) -> Tensor:
    if learnt is not None:
        ones = (1,) * (value.dim() - LEADING - (learnt.dim() - 2))
        return learnt.reshape(*learnt.shape[:2], 1, *ones, *learnt.shape[2:]) * value
    return value if edge.scale.is_one else float(edge.scale.value) * value
