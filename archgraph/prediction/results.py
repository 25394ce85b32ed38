"""What a prediction says, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from archgraph.errors import TargetError
from archgraph.graph import Graph
from archgraph.measurement.results import plain, record_of
from archgraph.measurement.shares import composed_shares
from archgraph.prediction.sweep import Grade

__all__ = ["EdgePrediction", "Method", "NodePrediction", "ParameterPrediction", "Prediction"]

Method = Literal["bounds", "limit", "finite", "draws"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePrediction:
    """What is predicted of a node's value V and of its gradient."""

    energy: float | None
    """E‖∂L/∂V‖², that at the reference output being 1."""
    standard_error: float | None
    bound: float | None
    """Upper bound of the energy; None where there is none."""
    bound_reason: str | None = None
    """Why there is no bound."""
    log_energy: float | None = None
    """E ln ‖∂L/∂V‖², relative likewise: of a typical network, where the mean is that of a few."""
    log_standard_error: float | None = None
    second_moment: float | None = None
    """Mean square of an element of V."""
    second_moment_error: float | None = None
    method: Method = "finite"
    """How this node itself was treated."""
    note: str | None = None
    """What is approximate about that, or why another method was not used."""
    allowance: float = 0.0
    """Size of what the method leaves out, of ln energy; 0 for a method that is exact."""


@dataclass(frozen=True, slots=True)
class ParameterPrediction:
    """What is predicted of the gradient of a parameter."""

    rms: float
    """√E of the square of an element of ∂L/∂P; not relative to anything."""
    standard_error: float | None
    norm: float
    """√E‖∂L/∂P‖²."""


@dataclass(frozen=True, slots=True)
class EdgePrediction:
    """What is predicted of an edge's part in the gradient of its source."""

    energy: float
    """E‖what it delivers‖², relative to the reference output."""
    standard_error: float | None
    share: float | None
    """E⟨what it delivers, ∂L/∂source⟩ / E‖∂L/∂source‖²: of all out-edges they add up to 1."""
    share_error: float | None


@dataclass(frozen=True)
class Prediction:
    """How large the gradient of a network will be, before it is built. Made by `predict`."""

    graph: Graph
    method: Method
    """Of the network as a whole; a node may say another."""
    reason: str
    """Why this method."""
    reference: str
    """The output whose gradient's energy is 1: the last one in the graph's order."""
    nodes: Mapping[str, NodePrediction]
    parameters: Mapping[str, ParameterPrediction] = field(default_factory=dict)
    edges: Mapping[str, EdgePrediction] = field(default_factory=dict)
    """By edge id."""
    grade: Grade | None = None
    """What the paths were kept apart by."""
    grades: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """By node and grade: the energy of the paths of that grade together, relative likewise."""
    reference_energy: float | None = None
    """E‖∂L/∂reference‖², absolute, over the whole batch."""
    samples: int = 0
    """Networks, or populations of the limit, that were simulated."""
    batch: int = 0
    seed: int = 0
    train: bool = True

    def shares(self, wrt: str) -> dict[str, float]:
        """Return the predicted share of every edge in ‖∂L/∂wrt‖², by edge id.

        Args:
            wrt: A node or an input; see `composed_shares`.

        Raises:
            TargetError: there is no such node, or the method gives no shares.
        """
        if not self.edges:
            raise TargetError(f"the method '{self.method}' gives no shares")
        return composed_shares(self.graph, {k: e.share for k, e in self.edges.items()}, wrt)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; numbers that are not finite are null."""
        result: dict[str, Any] = {
            "name": self.graph.name,
            "method": self.method,
            "reason": self.reason,
            "reference": self.reference,
            "reference_energy": plain(self.reference_energy),
            "samples": self.samples,
            "batch": self.batch,
            "seed": self.seed,
            "train": self.train,
            "nodes": {name: record_of(node) for name, node in self.nodes.items()},
            "parameters": {name: record_of(item) for name, item in self.parameters.items()},
            "edges": {name: record_of(edge) for name, edge in self.edges.items()},
        }
        if self.grade is not None:
            result["grade"] = self.grade
            result["grades"] = {
                name: {str(k): plain(energy) for k, energy in energies.items()}
                for name, energies in self.grades.items()
            }
        return result
