"""Measure the gradients of networks that are drawn for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from archgraph.errors import UsageError
from archgraph.graph import Graph, Node
from archgraph.measurement.estimates import log_mean, mean, ratio, root_mean
from archgraph.measurement.health import DEFAULT_THRESHOLDS, Health, Thresholds, faults_of
from archgraph.measurement.networks import draw_networks
from archgraph.measurement.results import (
    EdgeMeasurement,
    Measurement,
    NodeMeasurement,
    ParameterMeasurement,
)
from archgraph.measurement.sample import Sample, Spread, gather
from archgraph.module import Shapes, infer

__all__ = ["measure", "reference_of"]

Progress = Callable[[int, int], None]


def measure(
    graph: Graph,
    *,
    seeds: int | Sequence[int] = 100,
    batch: int = 4,
    train: bool = True,
    dtype: torch.dtype | None = None,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    progress: Progress | None = None,
) -> Measurement:
    """Draw real networks, run and differentiate them, and say how large the gradient is.

    The same quantities as `predict` gives, and of every node and parameter whether its gradient is
    healthy. Network s has the weights of `archgraph.compile(graph, seed=s)`, and inputs N(0, 1)
    (integers: uniform), targets and dropout masks of its own.

    Args:
        graph: The network.
        seeds: How many networks, with the seeds 0, 1, …; or their seeds.
        batch: Number of examples.
        train: Whether dropout is active and norms use the statistics of the batch.
        dtype: Type of weights and data; default float64.
        thresholds: From where on a gradient is unhealthy.
        progress: Called with (networks done, networks in all).

    Returns:
        Means over the networks with their standard errors, None where there is one network. What
        is not finite in one network is not finite in the mean.

    Raises:
        SpecError: the graph's shapes do not fit.
        UsageError: an argument is no choice.
        GradientError: torch refuses a pass.

    Cost: one forward and one backward pass per network. Small networks are run many at a time.

    Example:
        >>> from archgraph.spec import load
        >>> found = measure(load("scaled_residual", width=64, lam=0.5), seeds=200)
        >>> node = found.nodes["x.7.out"]
        >>> abs(node.energy - (0.5**2 + 1)) < 3 * node.standard_error
        True
    """
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not chosen or batch < 1:
        raise UsageError("a measurement needs at least one network and a batch of at least 1")
    kind = dtype or torch.float64
    shapes = infer(graph)
    traces = draw_networks(graph, chosen, batch=batch, train=train, dtype=kind, progress=progress)
    sample = gather(graph, traces)
    reference = reference_of(graph)
    base = sample.energies(reference)
    return Measurement(
        graph=graph,
        reference=reference,
        reference_energy=float(base.mean()),
        nodes={name: _node(sample, name, reference) for name in _differentiated(graph)},
        parameters=_parameters(shapes, sample),
        edges=_edges(graph, sample, reference),
        health=_health(graph, shapes, sample, thresholds),
        thresholds=thresholds,
        seeds=chosen,
        batch=batch,
        train=train,
        dtype=str(kind).removeprefix("torch."),
    )


def reference_of(graph: Graph) -> str:
    """Return the output that energies are relative to: the last one in the graph's order."""
    outputs = {name for _, name in graph.outputs} | {term.of for term in graph.loss}
    return max(outputs, key=lambda name: graph.positions[name])


def _differentiated(graph: Graph) -> list[str]:
    def carries(node: Node) -> bool:
        return not node.is_integer and (node.op is None or node.op.op.gradient)

    return [node.name for node in graph.nodes[:-1] if carries(node)]


def _node(sample: Sample, name: str, reference: str) -> NodeMeasurement:
    energy = ratio(sample.energies(name), sample.energies(reference))
    # Of norms, whose squares may be too small for a float.
    logs = log_mean(sample.nodes[name].norms, sample.nodes[reference].norms)
    moment = mean(sample.second_moments[name])
    return NodeMeasurement(
        energy=energy.value,
        standard_error=energy.standard_error,
        ln_mean=2 * logs.value,
        ln_error=None if logs.standard_error is None else 2 * logs.standard_error,
        second_moment=moment.value,
        second_moment_error=moment.standard_error,
    )


def _parameters(shapes: Shapes, sample: Sample) -> dict[str, ParameterMeasurement]:
    result = {}
    for name, spread in sample.parameters.items():
        squares = spread.norms.square()
        rms = root_mean(squares, spread.elements)
        result[name] = ParameterMeasurement(
            rms.value, rms.standard_error, math.sqrt(float(squares.mean()))
        )
    order = {name: i for i, name in enumerate(shapes.parameters)}
    return dict(sorted(result.items(), key=lambda item: order.get(item[0], len(order))))


def _edges(graph: Graph, sample: Sample, reference: str) -> dict[str, EdgeMeasurement]:
    result = {}
    for index, (energies, products) in sample.edges.items():
        edge = graph.edges[index]
        energy = ratio(energies, sample.energies(reference))
        share = ratio(products, sample.energies(edge.source))
        result[edge.id] = EdgeMeasurement(
            energy.value,
            energy.standard_error,
            None if math.isnan(share.value) else share.value,
            share.standard_error,
        )
    return result


def _health(
    graph: Graph, shapes: Shapes, sample: Sample, thresholds: Thresholds
) -> dict[str, Health]:
    base = sample.nodes[reference_of(graph)].rms
    found = {
        name: _judged(sample.nodes[name], base, thresholds, sample, name)
        for name in _differentiated(graph)
    }
    weights = [name for name, shape in shapes.parameters.items() if len(shape) > 1]
    last = next((name for name in reversed(weights) if name in sample.parameters), None)
    base = math.nan if last is None else sample.parameters[last].rms
    for name, spread in sample.parameters.items():
        found.setdefault(name, _judged(spread, base, thresholds))
    return found


def _judged(
    spread: Spread,
    base: float,
    thresholds: Thresholds,
    sample: Sample | None = None,
    name: str = "",
) -> Health:
    relative = spread.rms / base if base > 0 else None
    active = None if sample is None else sample.activities.get(name)
    dead = None if active is None else float(active.dead.mean())
    saturated = None if active is None else float(active.saturated.mean())
    saturated = None if saturated is None or math.isnan(saturated) else saturated
    norm = math.sqrt(float(spread.norms.square().mean()))
    return Health(
        norm=norm,
        rms=spread.rms,
        relative=relative,
        mean=float(spread.means.mean()),
        max=float(spread.largest.max()),
        dead=dead,
        saturated=saturated,
        faults=faults_of(thresholds, norm=norm, relative=relative, dead=dead, saturated=saturated),
    )
