"""What path trees and sweeps need to know about the way from a target to the end."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from archgraph.errors import GradientError
from archgraph.gradient.bundle import Bundle, is_finite, norm
from archgraph.gradient.cell import ParameterUse
from archgraph.gradient.tape import Cotangents, Pull, Tape
from archgraph.graph import Graph
from archgraph.paths.target import Target, resolve
from archgraph.paths.walk import Walk

__all__ = ["entering", "gradient_at", "impassable", "own_hops", "received", "uncancelled"]


def entering(paths: Walk) -> dict[int, list[int]]:
    """Return for each node on a path the hops that enter it and lie on a path, ascending."""
    groups: dict[int, list[int]] = {position: [] for position in paths.order}
    for hop in sorted(hop for hops in paths.steps for hop in hops):
        groups[paths.targets[hop]].append(hop)
    return groups


def own_hops(graph: Graph, wrt: str) -> dict[int, Mapping[int, ParameterUse | None]]:
    """Return what each hop of a parameter's own, which stand behind the graph's edges, carries.

    Returns:
        By hop and by element of the target (its parameters, in order): which use of the parameter
        it is, None where the parameter is a node of its own and the hop enters that.
    """
    target = resolve(graph, wrt)
    elements = _elements(graph, target)
    first = len(graph.edges)
    own: dict[int, Mapping[int, ParameterUse | None]] = {}
    for i, (_, position, edge) in enumerate(target.entries):
        node = graph.nodes[position]
        if node.name in elements:
            own[first + i] = {elements[node.name]: None}
            continue
        own[first + i] = {
            element: (name, edge)
            for name, element in elements.items()
            if (position, edge) in graph.parameter_users.get(name, ())
        }
    return own


def _elements(graph: Graph, target: Target) -> dict[str, int]:
    """Number a target's parameters; of tied ones, which are the same, only the first."""
    shared = dict(graph.ties)
    first: dict[str, str] = {}
    for name in target.parameters:
        first.setdefault(shared.get(name, name), name)
    return {name: i for i, name in enumerate(first.values())}


def impassable(tape: Tape, paths: Walk) -> list[str]:
    """Return the nodes on paths whose op gives what torch does not differentiate, in order."""
    names = []
    for position in reversed(paths.order):
        if position < len(tape.cells) and position != paths.start:
            cell = tape.cells[position]
            reads = any(port.leaf.requires_grad for port in cell.ports.values())
            if reads and not any(value.requires_grad for value in cell.outputs.values()):
                names.append(paths.names[position])
    return names


def received(
    own: Mapping[int, ParameterUse | None], cotangent: Bundle, pull: Pull
) -> dict[int, Tensor]:
    """Return what a parameter's own hop receives of the cotangent at the node that it enters."""
    return {
        element: cotangent[0] if use is None else pull.parameters[use]
        for element, use in own.items()
        if use is not None or 0 in cotangent
    }


def gradient_at(tape: Tape, cotangents: Cotangents, wrt: str) -> Bundle:
    """Return the gradient of one target, out of those of all.

    Returns:
        The bundle: of a node by element, of parameters by their number; empty if nothing depends
        on the target.

    Raises:
        GradientError: it is infinite or NaN; the message names where that begins.
    """
    target = resolve(tape.graph, wrt)
    if target.position is not None:
        gradient = cotangents.nodes.get(target.position, {})
    else:
        gradient = {
            element: cotangents.parameters[name]
            for name, element in _elements(tape.graph, target).items()
            if name in cotangents.parameters
        }
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
