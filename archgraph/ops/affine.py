"""Diagonal affine maps without weights."""

from collections.abc import Mapping

from archgraph.ops.family import Facts, Family
from archgraph.ops.op import OpCall

__all__ = ["FAMILY"]


def _expression(call: OpCall, operands: Mapping[str, str]) -> str:
    """Write scale·x + shift as `1 - x`, `2 * x`, `0.5 * x - 3` and so on."""
    scale, shift = call.get("scale"), call.get("shift")
    if scale == -1:
        return f"{_number(shift)} - {operands['input']}" if shift else f"-{operands['input']}"
    scaled = operands["input"] if scale == 1 else f"{_number(scale)} * {operands['input']}"
    if not shift:
        return scaled
    return f"{scaled} {'-' if shift < 0 else '+'} {_number(abs(shift))}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


FAMILY = Family(
    "affine",
    {
        "Affine": Facts(linear=True, elementwise=True, expression=_expression),
        "Detach": Facts(
            gradient=False,
            linear=True,
            elementwise=True,
            expression=lambda call, x: f"{x['input']}.detach()",
        ),
        "Identity": Facts(linear=True, elementwise=True, expression=lambda call, x: x["input"]),
    },
)
