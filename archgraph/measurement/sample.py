"""From the gradients of networks to one number of each: norms, means, largest elements, shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from archgraph.graph import Graph
from archgraph.measurement.activity import Activity
from archgraph.measurement.networks import Trace

__all__ = ["Sample", "Spread", "gather"]

Kind = Literal["node", "parameter"]


@dataclass(frozen=True)
class Spread:
    """A gradient in every network; tensors of shape (networks,)."""

    norms: Tensor
    """‖·‖, that of 1e-200 too, whose square is nothing."""
    means: Tensor
    largest: Tensor
    """Largest absolute value of an element."""
    elements: int

    @property
    def rms(self) -> float:
        """Root-mean-square per element, over all networks."""
        scale = float(self.norms.max())
        if scale == 0 or not math.isfinite(scale):
            return scale
        mean = float((self.norms / scale).square().mean())
        return scale * math.sqrt(mean / max(1, self.elements))


@dataclass(frozen=True)
class Sample:
    """What all networks gave, in the order of their seeds; tensors of shape (networks,)."""

    nodes: Mapping[str, Spread]
    parameters: Mapping[str, Spread]
    second_moments: Mapping[str, Tensor]
    edges: Mapping[int, tuple[Tensor, Tensor]]
    """By edge: ‖what it delivers‖², and its product with all that its source receives."""
    activities: Mapping[str, Activity]

    def energies(self, node: str) -> Tensor:
        """Return ‖∂L/∂node‖²."""
        return self.nodes[node].norms.square()


def gather(graph: Graph, traces: Iterable[Trace]) -> Sample:
    """Return what networks gave, as one number per network of each quantity."""
    gathering = _Gathering(graph)
    for trace in traces:
        gathering.add(trace)
    return gathering.sample()


class _Gathering:
    """The numbers so far.

    As lists: small tensors would leave holes in memory between large ones, into which the next
    network's do not fit.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.spreads: dict[tuple[Kind, str], list[list[float]]] = {}
        """Norms, means and largest elements."""
        self.sizes: dict[tuple[Kind, str], int] = {}
        self.moments: dict[str, list[float]] = {}
        self.edges: dict[int, list[list[float]]] = {}
        self.activities: dict[str, list[list[float]]] = {}

    def add(self, trace: Trace) -> None:
        networks = len(next(iter(trace.second_moments.values())))
        for position, node in enumerate(self.graph.nodes[:-1]):
            self._add_spread("node", node.name, self._totals(trace, position), networks)
        for name, gradient in trace.parameters.items():
            self._add_spread("parameter", name, [gradient], networks)
        for name, moment in trace.second_moments.items():
            self.moments.setdefault(name, []).extend(moment.tolist())
        for name, found in trace.activities.items():
            _extend(self.activities.setdefault(name, [[], []]), found)

    def _totals(self, trace: Trace, position: int) -> list[Tensor]:
        """Return ∂L/∂node by element, and note the edges out of the node."""
        elements: dict[int, list[int]] = {}
        for index in self.graph.gradient_out_of[position]:
            if index in trace.edges:
                elements.setdefault(self.graph.edges[index].element, []).append(index)
        totals = []
        for indices in elements.values():
            parts = [trace.edges[index] for index in indices]
            total = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
            totals.append(total)
            for index, part in zip(indices, parts, strict=True):
                pair = (_inner(part, part), _inner(part, total))
                _extend(self.edges.setdefault(index, [[], []]), pair)
        return totals

    def _add_spread(self, kind: Kind, name: str, tensors: Sequence[Tensor], networks: int) -> None:
        flat = [t.double().reshape(networks, -1) for t in tensors]
        whole = torch.cat(flat, 1) if flat else torch.zeros(networks, 0, dtype=torch.float64)
        self.sizes[kind, name] = whole.shape[1]
        _extend(self.spreads.setdefault((kind, name), [[], [], []]), _spread(whole))

    def sample(self) -> Sample:
        """Return all numbers, as tensors again."""
        spreads = {
            key: Spread(_tensor(norms), _tensor(means), _tensor(largest), self.sizes[key])
            for key, (norms, means, largest) in self.spreads.items()
        }
        edges = {e: (_tensor(a), _tensor(b)) for e, (a, b) in self.edges.items()}
        active = {name: Activity(*map(_tensor, two)) for name, two in self.activities.items()}
        return Sample(
            {name: spread for (kind, name), spread in spreads.items() if kind == "node"},
            {name: spread for (kind, name), spread in spreads.items() if kind == "parameter"},
            {name: _tensor(values) for name, values in self.moments.items()},
            edges,
            active,
        )


def _tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _extend(lists: Sequence[list[float]], tensors: Iterable[Tensor]) -> None:
    for values, tensor in zip(lists, tensors, strict=True):
        values.extend(tensor.tolist())


def _inner(left: Tensor, right: Tensor) -> Tensor:
    return (left.double() * right.double()).flatten(1).sum(1)


def _spread(flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return norm, mean and largest absolute value of every row."""
    if not flat.shape[1]:
        return (flat.new_zeros(len(flat)),) * 3
    largest = flat.abs().amax(1)
    unit = torch.where((largest > 0) & largest.isfinite(), largest, 1)
    norms = torch.linalg.vector_norm(flat / unit[:, None], dim=1) * unit
    return norms, flat.mean(1), largest
