"""One population forwards and backwards: second moments and energies of every network in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import torch
from torch import Tensor

from archgraph.graph import Edge, Graph
from archgraph.prediction.cells import Cell, Uses
from archgraph.prediction.nodes import Simulator
from archgraph.prediction.plan import Plan
from archgraph.prediction.population import Bundle, Population

__all__ = ["Grade", "Sweep", "degree", "sweep"]

Grade = Literal["weights", "skips", "branches"]

_ROLES: Final = {"skips": "skip", "branches": "branch"}


@dataclass
class Sweep:
    """What a population gave, by network: tensors of shape (networks,)."""

    energies: dict[str, Tensor] = field(default_factory=dict)
    """‖∂L/∂V‖² by node."""
    second_moments: dict[str, Tensor] = field(default_factory=dict)
    """Mean of the squared elements by node."""
    parameters: dict[str, Tensor] = field(default_factory=dict)
    """‖∂L/∂P‖² by parameter."""
    edges: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By edge: energy of what it delivers to its source, and its product with all that is."""
    grades: dict[str, dict[int, Tensor]] = field(default_factory=dict)
    """By node and grade: energy of the paths of that grade together."""


def degree(graph: Graph, edge: Edge, grade: Grade | None) -> int:
    """Return what an edge adds to the grade of a path."""
    if grade is None:
        return 0
    if grade == "weights":
        op = graph.node(edge.target).op
        return int(op is not None and op.op.weight_layer)
    return int(edge.role == _ROLES[grade])


def sweep(plan: Plan, population: Population, grade: Grade | None = None) -> Sweep:
    """Simulate a population once.

    Args:
        plan: The graph.
        population: How many networks, replicas and examples.
        grade: Whether to keep the paths apart by their number of weight layers, skips or branches.

    Cost: one forward and one backward pass, without the matrices that are conditioned; backwards
        once per grade.
    """
    simulator = Simulator(plan, population)
    cells = [simulator.visit(node) for node in plan.graph.nodes]
    result = Sweep()
    for node, value in zip(plan.graph.nodes, simulator.values, strict=True):
        result.second_moments[node.name] = _second_moment(value)
    _Backward(plan, population, grade, cells, result).run()
    return result


class _Backward:
    """The state of a sweep on its way back."""

    def __init__(
        self,
        plan: Plan,
        population: Population,
        grade: Grade | None,
        cells: list[Cell | None],
        result: Sweep,
    ) -> None:
        self.graph, self.population, self.grade = plan.graph, population, grade
        self.cells, self.result = cells, result
        self.uses = Uses(population.replicas, plan.names)
        self.received: list[dict[int, list[tuple[int, int, Tensor]]]] = [{} for _ in cells]
        """By node and out-edge: (grade, element, cotangent)."""

    def run(self) -> None:
        last = self.graph.loss_position
        one = torch.ones(self.population.leading[:2])
        self.received[last][-1] = [(0, 0, one)]
        for position in range(last, -1, -1):
            self.visit(position)
        for key, energy in self.uses.energies().items():
            name = key.partition("[")[0]
            known = self.result.parameters.get(name)
            self.result.parameters[name] = energy if known is None else known + energy

    def visit(self, position: int) -> None:
        name = self.graph.nodes[position].name
        received, self.received[position] = self.received[position], {}
        cell, self.cells[position] = self.cells[position], None  # whose memory is needed
        by_grade = _by_grade(received)
        total = _by_grade({e: [(0, k, t) for _, k, t in parts] for e, parts in received.items()})
        if not total:
            self.result.energies[name] = torch.zeros(self.population.networks)
            return
        energy = self.result.energies[name] = _energy(total[0])
        self.note_edges(received, total[0], energy)
        if self.grade is not None:
            self.result.grades[name] = {k: _energy(bundle) for k, bundle in by_grade.items()}
        if cell is None:
            return
        pulled = cell.pull(list(by_grade.values()), self.uses)
        for k, cotangents in zip(by_grade, pulled, strict=True):
            for index, tensor in cotangents.items():
                edge = self.graph.edges[index]
                if edge.gradient:
                    place = self.received[self.graph.positions[edge.source]]
                    moved = k + degree(self.graph, edge, self.grade)
                    place.setdefault(index, []).append((moved, edge.element, tensor))

    def note_edges(
        self, received: dict[int, list[tuple[int, int, Tensor]]], total: Bundle, energy: Tensor
    ) -> None:
        for index, parts in received.items():
            if index < 0:
                continue
            if len(received) == 1:  # all that the source receives
                self.result.edges[index] = (energy, energy)
                continue
            whole = _by_grade({index: [(0, k, t) for _, k, t in parts]})[0]
            products = [_product(t, total[k]) for k, t in whole.items()]
            self.result.edges[index] = (_energy(whole), torch.stack(products).sum(0))


def _by_grade(received: dict[int, list[tuple[int, int, Tensor]]]) -> dict[int, Bundle]:
    """Add up what a node received, apart by grade."""
    found: dict[int, Bundle] = {}
    for parts in received.values():
        for grade, element, tensor in parts:
            bundle = found.setdefault(grade, {})
            bundle[element] = bundle[element] + tensor if element in bundle else tensor
    return found


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Return ⟨left, right⟩ of every network, on average over its replicas."""
    pairs = (left * right).reshape(*left.shape[:2], -1)
    return pairs.sum(-1, dtype=torch.float64).mean(1)


def _square(tensor: Tensor) -> Tensor:
    """Return ‖tensor‖² of every network, on average over its replicas."""
    # In float64: squares of small numbers are beyond float32.
    rows = tensor.reshape(*tensor.shape[:2], -1)
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)
    return norms.square().mean(1)


def _energy(bundle: Bundle) -> Tensor:
    return torch.stack([_square(tensor) for tensor in bundle.values()]).sum(0)


def _second_moment(value: Bundle) -> Tensor:
    first = value[min(value)]
    count = first[0, 0].numel()
    return _square(first if first.is_floating_point() else first.double()) / max(1, count)
