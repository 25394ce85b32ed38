"""A gradient's size along a network, from the input on: what a line of a plot shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from archgraph.errors import UsageError
from archgraph.graph import Graph
from archgraph.paths.target import first_target
from archgraph.paths.view import view

__all__ = ["At", "Estimates", "Profile", "profile_of", "states_of"]

At = Literal["weights", "states"]


class Estimates(Protocol):
    """What a prediction and a measurement have in common."""

    @property
    def nodes(self) -> Any:
        """By node: `energy` and `standard_error`."""

    @property
    def parameters(self) -> Any:
        """By parameter: `rms`, `standard_error` of that, and `norm`."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The gradient's norm at places along a network, from the input on."""

    names: tuple[str, ...]
    """Nodes."""
    values: tuple[float | None, ...]
    """√E‖·‖²: of the gradient of a layer's weights, or of a node relative to the output's."""
    errors: tuple[float | None, ...]
    """Standard errors."""

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the JSON form."""
        rows = zip(self.names, self.values, self.errors, strict=True)
        return [{"name": n, "value": v, "standard_error": e} for n, v, e in rows]


def profile_of(graph: Graph, found: Estimates, at: At) -> Profile:
    """Return the gradient's size along a network.

    Args:
        graph: The network.
        found: A prediction or a measurement of it.
        at: `weights`: √E‖∂L/∂W‖² of each weight layer, biases left out; `states`: √E‖∂L/∂x‖²
            relative to the output's, at the spec's `states` or else between its blocks.

    Raises:
        UsageError: there is no weight layer.
    """
    return _at_weights(graph, found) if at == "weights" else _at_states(graph, found)


def _at_weights(graph: Graph, found: Estimates) -> Profile:
    seen: dict[str, tuple[float | None, float | None]] = {}
    modules: set[str] = set()
    for node in graph.nodes:
        if node.op is None or not node.op.op.weight_layer or node.module in modules:
            continue
        modules.add(str(node.module))
        paths = node.op.parameter_paths(str(node.module))
        matrices = [
            p for p in paths if "bias" not in p.rpartition(".")[2] and p in found.parameters
        ]
        if matrices:
            seen[node.name] = _norm([found.parameters[path] for path in matrices])
    if not seen:
        raise UsageError(f"{graph.name!r} has no weight layer; its states can be shown")
    values, errors = zip(*seen.values(), strict=True)
    return Profile(tuple(seen), values, errors)


def _norm(parts: Sequence[Any]) -> tuple[float | None, float | None]:
    """Return the norm of several parameters together, whose errors are taken as independent."""
    value = math.hypot(*(part.norm for part in parts))
    if not math.isfinite(value):
        return None, None
    # The relative error of a norm is that of its rms.
    errors = [
        part.norm * part.standard_error * part.norm / part.rms
        for part in parts
        if part.standard_error is not None and part.rms
    ]
    known = len(errors) == len([part for part in parts if part.rms])
    return value, math.hypot(*errors) / value if known and errors and value else None


def states_of(graph: Graph) -> tuple[str, ...]:
    """Return the nodes between which a network is seen as a chain, in order."""
    start = first_target(graph)
    kind: Literal["state", "block"] = "state" if graph.states is not None else "block"
    return view(graph, kind, start).nodes[:-1]


def _at_states(graph: Graph, found: Estimates) -> Profile:
    names, values, errors = [], [], []
    for name in states_of(graph):
        node = found.nodes.get(name)
        if node is None:
            continue
        energy = node.energy
        known = energy is not None and math.isfinite(energy) and energy >= 0
        value = math.sqrt(energy) if known else None
        names.append(name)
        values.append(value)
        error = node.standard_error
        errors.append(error / (2 * value) if value and error is not None else None)
    return Profile(tuple(names), tuple(values), tuple(errors))
