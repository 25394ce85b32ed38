"""What a measurement says, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archgraph.graph import Graph
from archgraph.measurement.health import Health, Thresholds
from archgraph.measurement.shares import composed_shares

__all__ = [
    "EdgeMeasurement",
    "Measurement",
    "NodeMeasurement",
    "ParameterMeasurement",
    "plain",
    "record_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMeasurement:
    """What was measured of a node's value V and of its gradient."""

    energy: float
    """E‖∂L/∂V‖², that at the reference output being 1."""
    standard_error: float | None
    """None for a single network."""
    ln_mean: float
    """E ln ‖∂L/∂V‖², relative likewise: of a typical network, where the mean is that of a few."""
    ln_error: float | None
    second_moment: float
    """Mean square of an element of V."""
    second_moment_error: float | None


@dataclass(frozen=True, slots=True)
class ParameterMeasurement:
    """What was measured of the gradient of a parameter."""

    rms: float
    """√E of the square of an element of ∂L/∂P; not relative to anything."""
    standard_error: float | None
    norm: float
    """√E‖∂L/∂P‖²."""


@dataclass(frozen=True, slots=True)
class EdgeMeasurement:
    """What was measured of an edge's part in the gradient of its source."""

    energy: float
    """E‖what it delivers‖², relative to the reference output."""
    standard_error: float | None
    share: float | None
    """E⟨what it delivers, ∂L/∂source⟩ / E‖∂L/∂source‖²: of all out-edges they add up to 1."""
    share_error: float | None


@dataclass(frozen=True)
class Measurement:
    """How large the gradient was in networks that were drawn. Made by `measure`."""

    graph: Graph
    reference: str
    """The output whose gradient's energy is 1: the last one in the graph's order."""
    reference_energy: float
    """E‖∂L/∂reference‖², absolute, over the whole batch."""
    nodes: Mapping[str, NodeMeasurement]
    parameters: Mapping[str, ParameterMeasurement]
    edges: Mapping[str, EdgeMeasurement]
    """By edge id."""
    health: Mapping[str, Health]
    """By node and by parameter."""
    thresholds: Thresholds
    seeds: tuple[int, ...]
    """Of the networks."""
    batch: int
    train: bool
    dtype: str

    @property
    def method(self) -> str:
        """Where the numbers come from, as a prediction says it."""
        return "measured"

    @property
    def faults(self) -> dict[str, tuple[str, ...]]:
        """What is wrong, by node and parameter; nothing else is listed."""
        return {name: item.faults for name, item in self.health.items() if item.faults}

    def shares(self, wrt: str) -> dict[str, float]:
        """Return the share of every edge in ‖∂L/∂wrt‖², by edge id; see `composed_shares`.

        Raises:
            TargetError: there is no such node.
        """
        return composed_shares(self.graph, {k: e.share for k, e in self.edges.items()}, wrt)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; numbers that are not finite are null."""
        return {
            "name": self.graph.name,
            "method": self.method,
            "reference": self.reference,
            "reference_energy": plain(self.reference_energy),
            "samples": len(self.seeds),
            "seeds": list(self.seeds),
            "batch": self.batch,
            "train": self.train,
            "dtype": self.dtype,
            "nodes": {name: record_of(node) for name, node in self.nodes.items()},
            "parameters": {name: record_of(item) for name, item in self.parameters.items()},
            "edges": {name: record_of(edge) for name, edge in self.edges.items()},
            "thresholds": record_of(self.thresholds),
            "health": {name: record_of(item) for name, item in self.health.items()},
        }


def record_of(item: Any) -> dict[str, Any]:
    """Return the fields of a record with slots, as JSON has them."""
    return {name: plain(getattr(item, name)) for name in item.__slots__}


def plain(value: Any) -> Any:
    """Return a value as JSON has it: null for a number that is not finite."""
    if isinstance(value, tuple):
        return list(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
