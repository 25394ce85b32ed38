"""From what each network of a simulation gave to estimates and their standard errors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from archgraph.graph import Graph, Node
from archgraph.measurement import reference_of
from archgraph.measurement.estimates import Estimate, log_mean, mean, ratio, root_mean
from archgraph.prediction.bounds import Bounds
from archgraph.prediction.plan import Plan
from archgraph.prediction.results import (
    EdgePrediction,
    Method,
    NodePrediction,
    ParameterPrediction,
    Prediction,
)
from archgraph.prediction.sweep import Grade, Sweep

__all__ = ["summarize"]


def summarize(
    plan: Plan,
    bounds: Bounds,
    found: Sweep | None,
    *,
    method: Method,
    reason: str,
    grade: Grade | None,
    batch: int,
    seed: int,
    train: bool,
) -> Prediction:
    """Return the prediction that a simulation amounts to; without one, the bounds alone."""
    graph, reference = plan.graph, reference_of(plan.graph)
    base = None if found is None else found.energies[reference]
    allowances = _allowances(plan) if method == "limit" else {}
    nodes = {
        node.name: _node(plan, node, bounds, found, reference, method, allowances)
        for node in graph.nodes[:-1]
        if not (node.is_integer or (node.op is not None and not node.op.op.gradient))
    }
    return Prediction(
        graph=graph,
        method=method,
        reason=reason,
        reference=reference,
        nodes=nodes,
        parameters={} if found is None else _parameters(plan, found, method),
        edges={} if found is None else _edges(graph, found, reference),
        grade=grade,
        grades={} if found is None or grade is None else _grades(found, reference),
        reference_energy=None if base is None else float(base.mean()),
        samples=0 if base is None else len(base),
        batch=batch,
        seed=seed,
        train=train,
    )


def _node(
    plan: Plan,
    node: Node,
    bounds: Bounds,
    found: Sweep | None,
    reference: str,
    method: Method,
    allowances: Mapping[str, float],
) -> NodePrediction:
    name = node.name
    energy = logs = moment = Estimate(math.nan, None)
    if found is not None:
        base = found.energies[reference]
        energy = ratio(found.energies[name], base)
        if method != "limit":  # whose populations are no networks
            logs = log_mean(found.energies[name], base)
        moment = mean(found.second_moments[name])
    drawn = plan.drawn.get(name) if method in ("limit", "finite") else None
    return NodePrediction(
        energy=_known(energy.value),
        standard_error=energy.standard_error,
        bound=bounds.energy(name),
        bound_reason=bounds.reasons.get(name),
        log_energy=_known(logs.value),
        log_standard_error=logs.standard_error,
        second_moment=_known(moment.value),
        second_moment_error=moment.standard_error,
        method=method if drawn is None else "draws",
        note=drawn or (plan.notes.get(name) if method in ("limit", "finite") else None),
        allowance=allowances.get(name, 0.0),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _parameters(plan: Plan, found: Sweep, method: Method) -> dict[str, ParameterPrediction]:
    # The gradient of a λ is a sum over a layer of value · cotangent, whose correlation, of order
    # 1/width for each element, is what the limit leaves out.
    learnt = {e.scale.learn.name for e in plan.graph.edges if e.scale.learn is not None}
    order = {name: i for i, name in enumerate(plan.shapes.parameters)}
    result = {}
    for name in sorted(found.parameters, key=lambda name: order.get(name, len(order))):
        if method == "limit" and name in learnt:
            continue
        energies = found.parameters[name]
        count = max(1, math.prod(plan.shapes.parameters.get(name, ())))
        rms = root_mean(energies, count)
        result[name] = ParameterPrediction(
            rms.value, rms.standard_error, math.sqrt(float(energies.mean()))
        )
    for name, shared in plan.names.items():
        if shared in result:
            result[name] = result[shared]
    return result


def _edges(graph: Graph, found: Sweep, reference: str) -> dict[str, EdgePrediction]:
    base = found.energies[reference]
    result = {}
    for edge in graph.edges:
        if edge.index not in found.edges:
            continue
        energies, products = found.edges[edge.index]
        energy = ratio(energies, base)
        share = ratio(products, found.energies[edge.source])
        result[edge.id] = EdgePrediction(
            energy.value, energy.standard_error, _known(share.value), share.standard_error
        )
    return result


def _grades(found: Sweep, reference: str) -> dict[str, dict[int, float]]:
    base = float(torch.mean(found.energies[reference]))
    return {
        name: {k: float(energies.mean()) / base for k, energies in sorted(grades.items())}
        for name, grades in found.grades.items()
    }


def _allowances(plan: Plan) -> dict[str, float]:
    """Return how far ln energy may be off in the limit: 1.5 Σ 1/fan on the longest way to L.

    For convolutions 3 Σ 1/channels, since a kernel's inputs are not independent.
    """
    graph = plan.graph
    found: dict[str, float] = {}
    for node in reversed(graph.nodes):
        after = [0.0]
        for index in graph.gradient_out_of[graph.positions[node.name]]:
            target = graph.edges[index].target
            after.append(found[target] + _width_error(plan, target))
        found[node.name] = max(after)
    return found


def _width_error(plan: Plan, name: str) -> float:
    weights = plan.weights.get(name)
    if weights is None:
        return 0.0
    factor = 1.5 if weights.matrix.positions == 1 or len(weights.law.shape) == 2 else 3.0
    # An input is what it is; of the first layer only the sum on the way back is over a width.
    edges = plan.graph.edges_into(name)
    first = all(plan.graph.node(edge.source).kind == "input" for edge in edges)
    return factor / weights.law.shape[0 if first else 1]
