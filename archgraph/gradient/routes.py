"""What path trees and sweeps need to know about the way from a target to the end."""

from __future__ import annotations

from torch import Tensor

from archgraph.errors import GradientError
from archgraph.gradient.bundle import Bundle, is_finite, norm
from archgraph.gradient.tape import Cotangents, ParameterUse, Tape
from archgraph.graph import Graph
from archgraph.paths.target import resolve
from archgraph.paths.walk import Walk

__all__ = ["entering", "gradient_at", "own_hops", "uncancelled"]


def entering(paths: Walk) -> dict[int, list[int]]:
    """Return for each node on a path the hops that enter it and lie on a path, ascending."""
    groups: dict[int, list[int]] = {position: [] for position in paths.order}
    for hop in sorted(hop for hops in paths.steps for hop in hops):
        groups[paths.targets[hop]].append(hop)
    return groups


def own_hops(graph: Graph, wrt: str) -> dict[int, ParameterUse]:
    """Return for each hop of a parameter's own, which stand behind the graph's edges, its use."""
    first = len(graph.edges)
    entries = resolve(graph, wrt).entries
    return {first + i: (wrt, edge) for i, (_, _, edge) in enumerate(entries)}


def gradient_at(tape: Tape, cotangents: Cotangents, wrt: str) -> Bundle:
    """Return the gradient of one target, out of those of all.

    Returns:
        The bundle; empty if nothing depends on the target.

    Raises:
        GradientError: it is infinite or NaN; the message names where that begins.
    """
    target = resolve(tape.graph, wrt)
    if target.position is not None:
        gradient = cotangents.nodes.get(target.position, {})
    else:
        parameter = cotangents.parameters.get(wrt)
        gradient = {} if parameter is None else {0: parameter}
    if not is_finite(gradient):
        raise GradientError(f"∂L/∂{wrt} is infinite or not a number; {_origin(tape, cotangents)}")
    return gradient


def uncancelled(tape: Tape, wrt: str, of: str, seed: Tensor | None) -> float:
    """Return how large a gradient would be if nothing on the way to it cancelled.

    Rounding is of the size of this, and not of the gradient: of a bias before a BatchNorm, say,
    whose gradient is zero but for rounding.

    Cost: one backward pass.
    """
    return norm(gradient_at(tape, tape.cotangents(of, seed, absolute=True), wrt))


def _origin(tape: Tape, cotangents: Cotangents) -> str:
    """Say where the first value that is not finite stands: forwards if any, else backwards."""
    nodes = tape.graph.nodes
    for node, value in zip(nodes, tape.values, strict=True):
        if not is_finite({k: t for k, t in value.items() if t.is_floating_point()}):
            return f"the value of {node.name!r} is the first that is not finite"
    for position in sorted(cotangents.nodes, reverse=True):
        if not is_finite(cotangents.nodes[position]):
            name = nodes[position].name
            return f"all values are finite; going back from L, ∂L/∂{name} is the first that is not"
    return "it becomes so in the layer that owns it"
