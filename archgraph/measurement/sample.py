"""From the gradients of networks to one number of each: norms, means, largest elements, shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archgraph.graph import Graph
from archgraph.measurement.activity import Activity
from archgraph.measurement.networks import Trace

__all__ = ["Sample", "Spread", "gather"]


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
    return _joined([_reduced(graph, trace) for trace in traces])


def _reduced(graph: Graph, trace: Trace) -> Sample:
    nodes: dict[str, Spread] = {}
    edges: dict[int, tuple[Tensor, Tensor]] = {}
    networks = len(next(iter(trace.second_moments.values())))
    for position, node in enumerate(graph.nodes[:-1]):
        elements: dict[int, list[int]] = {}
        for index in graph.gradient_out_of[position]:
            if index in trace.edges:
                elements.setdefault(graph.edges[index].element, []).append(index)
        totals = []
        for indices in elements.values():
            parts = [trace.edges[index] for index in indices]
            totals.append(parts[0] if len(parts) == 1 else torch.stack(parts).sum(0))
            for index, part in zip(indices, parts, strict=True):
                edges[index] = (_inner(part, part), _inner(part, totals[-1]))
        nodes[node.name] = _spread(totals, networks)
    parameters = {name: _spread([t], networks) for name, t in trace.parameters.items()}
    return Sample(nodes, parameters, trace.second_moments, edges, trace.activities)


def _inner(left: Tensor, right: Tensor) -> Tensor:
    return (left.double() * right.double()).flatten(1).sum(1)


def _spread(tensors: Sequence[Tensor], networks: int) -> Spread:
    if not tensors:
        zero = torch.zeros(networks, dtype=torch.float64)
        return Spread(zero, zero, zero, 0)
    flat = torch.cat([t.double().reshape(networks, -1) for t in tensors], 1)
    largest = flat.abs().amax(1) if flat.shape[1] else flat.new_zeros(networks)
    unit = torch.where((largest > 0) & largest.isfinite(), largest, 1)
    norms = torch.linalg.vector_norm(flat / unit[:, None], dim=1) * unit
    return Spread(norms, flat.mean(1), largest, flat.shape[1])


def _joined(parts: Sequence[Sample]) -> Sample:
    first = parts[0]

    def spreads(many: Sequence[Mapping[str, Spread]]) -> dict[str, Spread]:
        return {
            name: Spread(
                torch.cat([m[name].norms for m in many]),
                torch.cat([m[name].means for m in many]),
                torch.cat([m[name].largest for m in many]),
                spread.elements,
            )
            for name, spread in many[0].items()
        }

    return Sample(
        spreads([part.nodes for part in parts]),
        spreads([part.parameters for part in parts]),
        {n: torch.cat([p.second_moments[n] for p in parts]) for n in first.second_moments},
        {
            e: (
                torch.cat([part.edges[e][0] for part in parts]),
                torch.cat([part.edges[e][1] for part in parts]),
            )
            for e in first.edges
        },
        {
            n: Activity(
                torch.cat([part.activities[n].dead for part in parts]),
                torch.cat([part.activities[n].saturated for part in parts]),
            )
            for n in first.activities
        },
    )
