"""Which values an argument of a given type takes, and what torch gets for them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

from archgraph.numbers import Number, as_number
from archgraph.ops.op import Argument, Op, SizeExpression, format_value

__all__ = ["WrongValueError", "convert", "describe_type", "describe_value"]

_LARGEST: Final = 2**63 - 1
_EXACT: Final = 2**53


class WrongValueError(ValueError):
    """An argument does not take a value; the message ends the sentence "it must be …"."""


def convert(argument: Argument, value: Any) -> Any:
    """Return `value` as torch gets it.

    Raises:
        WrongValueError: the argument does not take it; the message says what it must be.
    """
    kind = argument.type.removesuffix("?")
    if value is None and argument.type.endswith("?"):
        return None
    if kind == "any":
        return _plain(value)
    if isinstance(value, str):
        accepted = value in argument.choices or (kind == "str" and not argument.choices)
    elif isinstance(value, bool):
        accepted = kind == "bool" and str(value) in (argument.choices or ("True", "False"))
    elif isinstance(value, tuple | list) and kind in ("size", "numbers", "tensor"):
        return tuple(_item(argument, kind, item) for item in value)
    elif kind in ("int", "float", "size", "numbers"):
        return _number(argument, kind, value)
    else:
        accepted = False
    if not accepted:
        raise WrongValueError(describe_type(argument))
    return value


def _item(argument: Argument, kind: str, value: Any) -> Any:
    if value is None and argument.type == "size?":  # AdaptiveAvgPool2d((None, 7))
        return None
    return _number(argument, kind, value)


def _number(argument: Argument, kind: str, value: Any) -> Any:
    if isinstance(value, SizeExpression):
        return value
    number = as_number(value)
    if number is None or not _is_finite(number):
        raise WrongValueError(describe_type(argument))
    if kind not in ("int", "size"):
        # An int stays as the user wrote it; beyond 2**53 torch would want a float.
        return number if isinstance(number, int) and abs(number) <= _EXACT else float(number)
    whole = int(number)
    if whole != number:
        raise WrongValueError(describe_type(argument))
    if abs(whole) > _LARGEST:
        raise WrongValueError("below 2**63")
    if argument.positive and whole < 1:
        raise WrongValueError("at least 1")
    return whole


def _is_finite(number: Number) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an exact number beyond every float
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    return float(value) if isinstance(value, Fraction) else value


def describe_type(argument: Argument) -> str:
    """Return what the argument takes, as a noun phrase.

    Example:
        >>> describe_type(Argument("padding", "size", 0, choices=("valid", "same")))
        "a whole number, a tuple of them, 'valid' or 'same'"
    """
    kind = argument.type.removesuffix("?")
    nouns = {
        "int": ["a whole number"],
        "float": ["a number"],
        "size": ["a whole number", "a tuple of them"],
        "numbers": ["a number", "a tuple of numbers"],
        "tensor": ["a list of numbers"],
        "bool": [] if argument.choices else ["True", "False"],
        "str": [] if argument.choices else ["a string"],
        "any": ["a value"],
    }[kind]
    nouns += [c if kind == "bool" else repr(c) for c in argument.choices]
    nouns += ["None"] if argument.type.endswith("?") else []
    return nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} or {nouns[-1]}"


def describe_value(value: Any) -> str:
    """Return a refused value as a message shows it, cut to one short line."""
    if isinstance(value, Op):
        return f"the op {value.name}"
    text = format_value(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
