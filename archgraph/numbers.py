"""Exact numbers: what decimal literals mean, and how numbers are written.

Decimal literals are exact: ``0.1`` is 1/10.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Final, TypeAlias

__all__ = [
    "Number",
    "as_number",
    "format_number",
    "is_finite",
    "parse_decimal",
    "simplified",
]

Number: TypeAlias = int | float | Fraction

_DECIMAL: Final = re.compile(r"([0-9_]*)\.?([0-9_]*)(?:[eE]([+-]?[0-9]+))?\Z")


def parse_decimal(text: str) -> Number:
    """Return a decimal literal as an exact number; very large exponents stay floats.

    Example:
        >>> parse_decimal("0.1")
        Fraction(1, 10)
        >>> parse_decimal("2.0")
        2
    """
    match = _DECIMAL.match(text)
    if match is None or abs(int(match[3] or 0)) > 300 or len(text) > 400:
        return float(text)
    exact: Number = simplified(Fraction(text.replace("_", "")))
    return exact


def simplified(value: Any) -> Any:
    """Return a fraction that is whole as an int, anything else as it is."""
    if isinstance(value, Fraction) and value.denominator == 1:
        return value.numerator
    return value


def as_number(value: Any) -> Number | None:
    """Return `value` if it is a number (a bool is none), else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        return None
    return value


def is_finite(value: Number) -> bool:
    """Whether a number is neither NaN nor infinite, nor too large for a float.

    Example:
        >>> is_finite(10**308), is_finite(10**309)
        (True, False)
    """
    return math.isfinite(_as_float(value))


def format_number(value: Number, digits: int = 6) -> str:
    """Return a number as a person writes it: exact if short, else `digits` significant digits.

    Example:
        >>> format_number(Fraction(1, 10)), format_number(Fraction(1, 3)), format_number(12)
        ('0.1', '0.333333', '12')
    """
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else f"{_as_float(value):.{digits}g}"
    text = f"{_as_float(value):.{digits}g}"
    if isinstance(value, Fraction) and Fraction(text) != value:
        longer = repr(_as_float(value))
        return longer if len(longer) <= digits + 6 and Fraction(longer) == value else text
    return text


def _as_float(value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
