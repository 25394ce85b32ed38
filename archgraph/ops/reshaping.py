"""Ops that move, cut, regroup or average axes: linear, without weights."""

from collections.abc import Mapping

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import Argument, OpCall

__all__ = ["FAMILY"]

_CHANNEL_AXIS = Argument("dim", "int?", None)


def _positions(call: OpCall, name: str, rank: int) -> tuple[int, ...]:
    """Return the axes that an argument names, as nonnegative numbers."""
    value = call.get(name)
    return tuple(axis % rank for axis in (value if isinstance(value, tuple | list) else (value,)))


# --- where the channel axis goes -----------------------------------------------------------------


def _after_flatten(call: OpCall, axis: int, rank: int) -> int | None:
    (start,), (end,) = _positions(call, "start_dim", rank), _positions(call, "end_dim", rank)
    return axis if axis < start else start if axis <= end else axis - (end - start)


def _after_unflatten(call: OpCall, axis: int, rank: int) -> int | None:
    (cut,) = _positions(call, "dim", rank)
    if axis == cut:
        return None  # one of the new axes has the channels, but which?
    return axis if axis < cut else axis + len(call.get("unflattened_size")) - 1


def _after_removal(call: OpCall, axis: int, rank: int) -> int | None:
    gone = set() if call.get("keepdim") else set(_positions(call, "dim", rank))
    return None if axis in gone else axis - sum(other < axis for other in gone)


def _after_permute(call: OpCall, axis: int, rank: int) -> int | None:
    return _positions(call, "dims", rank).index(axis)


def _after_transpose(call: OpCall, axis: int, rank: int) -> int | None:
    (a,), (b,) = _positions(call, "dim0", rank), _positions(call, "dim1", rank)
    return {a: b, b: a}.get(axis, axis)


def _after_reshape(call: OpCall, axis: int, rank: int) -> int | None:
    return 1 if len(call.get("shape")) == 1 else None


# --- as tensor expressions -----------------------------------------------------------------------


def _flatten(call: OpCall, operands: Mapping[str, str]) -> str:
    start, end = call.get("start_dim"), call.get("end_dim")
    return f"{operands['input']}.flatten({start}{'' if end == -1 else f', {end}'})"


def _slice(call: OpCall, operands: Mapping[str, str]) -> str:
    """Index the axis, counted from the end nearer to it: `x[:, 2:4]`, `x[..., :4]`."""
    dim, start, stop = (call.get(name) for name in ("dim", "start", "stop"))
    part = f"{start or ''}:{'' if stop is None else stop}"
    before = [":"] * dim if dim >= 0 else ["..."]
    after = [":"] * (-1 - dim) if dim < 0 else []
    return f"{operands['input']}[{', '.join([*before, part, *after])}]"


def _reshape(call: OpCall, operands: Mapping[str, str]) -> str:
    x = operands["input"]
    return f"{x}.reshape({x}.shape[0], {', '.join(map(str, call.get('shape')))})"


def _mean(call: OpCall, operands: Mapping[str, str]) -> str:
    keepdim = ", keepdim=True" if call.get("keepdim") else ""
    return f"{operands['input']}.mean({call.get('dim')}{keepdim})"


FAMILY = Family(
    "reshaping",
    {
        "Chunk": Facts(
            inferred={"dim": "axis"},
            arguments=(_CHANNEL_AXIS,),
            linear=True,
            expression=lambda call, x: (
                f"{x['input']}.chunk({call.get('chunks')}, {call.get('dim')})[{call.get('index')}]"
            ),
        ),
        "Flatten": Facts(linear=True, axis_rule=_after_flatten, expression=_flatten),
        "Mean": Facts(linear=True, axis_rule=_after_removal, expression=_mean),
        "Permute": Facts(
            linear=True,
            axis_rule=_after_permute,
            expression=lambda call, x: (
                f"{x['input']}.permute({', '.join(map(str, call.get('dims')))})"
            ),
        ),
        "Reshape": Facts(linear=True, axis_rule=_after_reshape, expression=_reshape),
        "Select": Facts(
            linear=True,
            axis_rule=_after_removal,
            expression=lambda call, x: (
                f"{x['input']}.select({call.get('dim')}, {call.get('index')})"
            ),
        ),
        "Slice": Facts(
            inferred={"dim": "axis"},
            arguments=(_CHANNEL_AXIS,),
            linear=True,
            expression=_slice,
        ),
        "Transpose": Facts(
            linear=True,
            axis_rule=_after_transpose,
            expression=lambda call, x: (
                f"{x['input']}.transpose({call.get('dim0')}, {call.get('dim1')})"
            ),
        ),
        "Unflatten": Facts(
            arguments=(Argument("dim", "int"),), linear=True, axis_rule=_after_unflatten
        ),
    },
)
