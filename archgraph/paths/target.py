"""What a gradient is taken with respect to: a node, an input, a parameter, or all of a block's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from archgraph.errors import TargetError, suggest
from archgraph.graph import LOSS, Graph

__all__ = ["Target", "first_target", "resolve"]

MAX_LISTED = 12
"""A message names so many members of a block at most."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where paths start."""

    name: str
    kind: Literal["node", "parameter", "parameters"]
    position: int | None = None
    """Index of the node; None for parameters."""
    entries: tuple[tuple[str, int, int | None], ...] = ()
    """For parameters one (edge id, node index, edge index) for each layer that uses any of them:
    the edge index is that of the edge which a learnable λ scales, None for a layer's own."""
    parameters: tuple[str, ...] = ()
    """The parameters that it stands for: none for a node, all of a block's for `block.*`."""


def resolve(graph: Graph, name: str) -> Target:
    """Find the node, input or parameter called `name`.

    A parameter is a source of its own with one edge into each layer that uses it, called
    `fc.weight->fc`; so are all parameters of a block together. A target from which no gradient
    path leads to the loss is legal: it has no paths.

    Args:
        graph: The graph.
        name: `x1`, `fc.weight`, the name of a learnable λ, or of a block instance, which stands for
            its first output. `block.*` stands for all parameters in a block, group, repeat or
            layer, `*` for all that there are.

    Raises:
        TargetError: there is no such thing, it is the loss itself, an input of integers, or has no
            parameters.
    """
    name = graph.value_name(name)
    position = graph.positions.get(name)
    if position is not None:
        node = graph.nodes[position]
        if name == LOSS:
            raise TargetError(
                "'L' is the loss itself; ask for a node, an input or a parameter before it"
            )
        if node.is_integer:
            raise TargetError(
                f"{name!r} is an input of integers ({node.dtype}), so it has no gradient; "
                "ask for a layer that reads it"
            )
        return Target(name, "node", position)
    if name == "*" or name.endswith(".*"):
        return _all_of(graph, name)
    users = graph.parameter_users.get(name)
    if users is None:
        raise TargetError(_unknown(graph, name))
    return Target(
        name, "parameter", entries=tuple(_entries(graph, name, users)), parameters=(name,)
    )


def first_target(graph: Graph) -> str:
    """Return where a gradient should arrive: the first input of floats, or else the first layer.

    Learned tokens and positions are passed over, for nothing comes before them.

    Raises:
        TargetError: nothing has a gradient.
    """
    for node in (*graph.inputs, *graph.nodes[:-1]):
        learned = node.op is not None and node.op.op.is_parameter
        if not (node.is_integer or learned) and graph.reaches_loss(node.name):
            return node.name
    raise TargetError(f"nothing in {graph.name!r} has a gradient")


def _all_of(graph: Graph, name: str) -> Target:
    """Return the target of all parameters in one module."""
    path = name.removesuffix("*").removesuffix(".")
    instance = graph.instances.get(path)
    module = path if instance is None else instance.module
    if path in graph.positions:
        module = graph.node(path).module or path
    inside = {p: u for p, u in _users(graph).items() if not module or p.startswith(f"{module}.")}
    if not inside:
        known = not path or path in graph.positions or path in graph.instances
        raise TargetError(f"{path!r} has no parameters" if known else _unknown(graph, name))
    # Weight and bias are read by one layer at once, so there is one edge for both.
    users = sorted(
        {user for users in inside.values() for user in users},
        key=lambda user: (user[0], -1 if user[1] is None else user[1]),
    )
    entries = tuple(_entries(graph, name, users))
    return Target(name, "parameters", entries=entries, parameters=tuple(inside))


def _users(graph: Graph) -> dict[str, tuple[tuple[int, int | None], ...]]:
    """Return the users of every parameter; one that is a node of its own is used there."""
    own = {
        node.name: ((i, None),)
        for i, node in enumerate(graph.nodes)
        if node.op is not None and node.op.op.is_parameter and node.module == node.name
    }
    return {**own, **graph.parameter_users}


def _entries(
    graph: Graph, name: str, users: Iterable[tuple[int, int | None]]
) -> list[tuple[str, int, int | None]]:
    entries = []
    seen: dict[str, int] = {}
    for user, edge in users:
        edge_id = f"{name}->{graph.nodes[user].name}"
        repeats = seen.get(edge_id, 0)
        seen[edge_id] = repeats + 1
        entries.append((f"{edge_id}#{repeats}" if repeats else edge_id, user, edge))
    return entries


def _unknown(graph: Graph, name: str) -> str:
    stem = name.removesuffix(".*")
    star = ".*" if stem != name else ""
    blocks = [path for path in graph.instances if path]
    names = [n for n in (*graph.positions, *graph.parameter_users, *blocks) if n != LOSS]
    if star:
        modules = {n.rpartition(".")[0] for n in graph.parameter_users}
        names = [*blocks, *(n for n in modules if n and n not in blocks)]
    # The part up to the last dot that is there at all says where to look.
    scope = stem.rpartition(".")[0]
    while scope and scope not in graph.instances:
        scope = scope.rpartition(".")[0]
    inside = [n for n in names if n.startswith(f"{scope}.")] if scope else names
    level = [n for n in inside if n.count(".") == stem.count(".")]
    close = suggest(stem, level) or suggest(stem, inside) or suggest(stem, names)
    hint = f"; did you mean {close + star!r}?" if close else ""
    # Only another number is likely to be there too, so a guess alone says little.
    if close is None or scope or re.sub(r"\d", "", close) == re.sub(r"\d", "", stem):
        hint += _listed(graph, scope)
    return f"{graph.name!r} has no node, input or parameter {name!r}{hint}"


def _listed(graph: Graph, scope: str) -> str:
    """Return what a block holds, or the network."""
    instance = graph.instances.get(scope)
    if instance is None:
        members = [node.name for node in graph.nodes if node.name != LOSS]
    else:
        inputs = [node.name for node in graph.inputs] if not scope else []
        members = [*inputs, *(member.name for member in instance.members)]
    shown = ", ".join(members[:MAX_LISTED]) + (", …" if len(members) > MAX_LISTED else "")
    return f"; {scope!r} holds {shown}" if scope else f"; there are {shown}"
