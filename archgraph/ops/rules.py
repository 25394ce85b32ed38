"""What depends on a call's arguments: its channel axis and its tensor expression."""

from __future__ import annotations

import re
from collections.abc import Mapping

from archgraph.ops.families import FACTS, UNKNOWN
from archgraph.ops.family import Facts
from archgraph.ops.op import OpCall

__all__ = ["tensor_expression", "track_channel_axis"]

_ATOM = re.compile(r"[\w.]+(\[[\w\s:,.-]*\]|\([\w\s,.-]*\))*\Z")
"""Python text that binds tighter than any operator: a name, an attribute, an index, a call."""


def track_channel_axis(call: OpCall, axis: int | None, rank: int) -> int | None:
    """Return the channel axis of a call's output.

    Args:
        call: The op and its arguments.
        axis: The channel axis of the first port's value, batch counted; None if unknown or if
            there is no port.
        rank: Number of axes of that value, batch counted.

    Returns:
        The axis, negative where it counts from the end; None if unknown.

    Example:
        >>> from archgraph.ops import parse_call
        >>> track_channel_axis(parse_call("Permute(0, 2, 3, 1)"), 1, 4)
        3
    """
    if call.op.channel_axis is not None:
        return call.op.channel_axis
    rule = _facts(call).axis_rule
    if rule is None or axis is None:
        return axis
    return rule(call, axis % rank, rank)


def tensor_expression(call: OpCall, operands: Mapping[str, str]) -> str | None:
    """Return the Python expression that a person would write instead of a module.

    Args:
        call: The op and its arguments, inferred ones (`dim` of Chunk and Slice) filled in.
        operands: The Python expression of each port's value.

    Returns:
        Text that may use `torch` and `nn`, or None if the op needs a module. It may be a sum or a
        product: put brackets around it before going on.

    Example:
        >>> from archgraph.ops import parse_call
        >>> tensor_expression(parse_call("Affine(-1, 1)"), {"input": "t"})
        '1 - t'
    """
    rule = _facts(call).expression
    if rule is None:
        return None
    atoms = {p: text if _ATOM.match(text) else f"({text})" for p, text in operands.items()}
    return rule(call, atoms)


def _facts(call: OpCall) -> Facts:
    # A plugin's class may bear the name of one of ours.
    known = call.op.origin in ("torch.nn", "archgraph")
    return (FACTS.get(call.name, UNKNOWN) if known else UNKNOWN)[1]
