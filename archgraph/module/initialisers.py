"""Which parameters an `init` names, and whether torch can start them so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch

from archgraph.graph import Graph, Node
from archgraph.module.instances import SMALL, RefusalError
from archgraph.module.values import Shape
from archgraph.numbers import Number, as_number, is_finite
from archgraph.ops import OpCall

__all__ = ["matching_parameters", "owner", "refuse_initialiser"]


def matching_parameters(parameters: Mapping[str, Shape], node: Node, name: str) -> list[str]:
    """Return the parameters of a node's layer that an initialiser's name stands for.

    `weight` is the parameter of that name, else every one whose name says so: a recurrent layer's
    `weight_ih_l0`, an attention's `in_proj_weight` and `out_proj.weight`.
    """
    if node.op is not None and node.op.op.is_parameter:
        module = node.module or node.name
        return [module] if name == "weight" and module in parameters else []
    prefix = f"{node.module}."
    own = [full for full in parameters if full.startswith(prefix)] if node.module else []
    if f"{prefix}{name}" in own:
        return [f"{prefix}{name}"]
    return [full for full in own if name in full.rpartition(".")[2].split("_")]


def owner(graph: Graph, parameter: str) -> Node | None:
    """Return the first node whose layer holds a parameter."""
    module = parameter.rpartition(".")[0]
    found = [n for n in graph.nodes if n.module and f"{module}.".startswith(f"{n.module}.")]
    return found[0] if found else None


def refuse_initialiser(value: Any, shape: Shape) -> str | None:
    """Return why a tensor of this shape cannot start so, or None.

    Args:
        value: A number, or a call of a `torch.nn.init` function.
        shape: Of the parameter.
    """
    if not isinstance(value, OpCall):
        return None if _fits(value) else _TOO_LARGE
    if not all(_fits(v) for _, v in value.arguments if as_number(v) is not None):
        return _TOO_LARGE
    tensor = torch.zeros(shape, device="cpu" if math.prod(shape) <= SMALL else "meta")
    try:
        with torch.random.fork_rng(devices=[]):
            getattr(torch.nn.init, f"{value.name}_")(tensor, **dict(value.arguments))
    except Exception as error:  # torch raises whatever its initialisers meet
        return str(RefusalError(error))
    return None


_LARGEST: Final = torch.finfo(torch.float32).max
_TOO_LARGE: Final = f"float32 holds numbers up to {_LARGEST:.2g}"


def _fits(number: Number) -> bool:
    return is_finite(number) and -_LARGEST <= number <= _LARGEST
