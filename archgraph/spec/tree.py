"""The marked tree of a YAML file: every key and value knows its file, line and column.

Scalars mean what YAML 1.2 says they mean (`1e-3` is a number; `no` and `on` are strings), and
decimal literals are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, TypeAlias

from archgraph.errors import Mark
from archgraph.numbers import parse_decimal

__all__ = [
    "MapTree",
    "Scalar",
    "SeqTree",
    "Tree",
    "plain_number",
    "scalar_value",
    "texts",
    "to_plain",
]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A YAML scalar: its text, what it means, and where it stands."""

    text: str
    value: Any
    """str, int, Fraction, float (`.inf`), bool or None."""
    mark: Mark
    offset: int | None = None
    """Columns from the mark to the text's first character; None if the two do not line up."""

    def at(self, position: int, length: int) -> Mark:
        """Return the mark of part of the text, or of the whole if columns do not line up."""
        if self.offset is None:
            return self.mark
        return self.mark.shift(self.offset + position, length)


@dataclass(frozen=True, slots=True)
class SeqTree:
    """A YAML sequence."""

    items: tuple[Tree, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class MapTree:
    """A YAML mapping; keys are scalars, compared by their text, in the file's order."""

    entries: tuple[tuple[Scalar, Tree], ...]
    mark: Mark

    def get(self, key: str) -> Tree | None:
        """Return the value under `key`, or None."""
        return next((value for name, value in self.entries if name.text == key), None)

    def key(self, key: str) -> Scalar | None:
        """Return the key itself, for its mark."""
        return next((name for name, _ in self.entries if name.text == key), None)


Tree: TypeAlias = Scalar | SeqTree | MapTree


_NULL: Final = {"", "~", "null", "Null", "NULL"}
_TRUE: Final = {"true", "True", "TRUE"}
_FALSE: Final = {"false", "False", "FALSE"}
_INT: Final = re.compile(r"[-+]?[0-9]+\Z")
_BASED: Final = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL: Final = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")


def scalar_value(text: str) -> Any:
    """Return what a plain scalar means under the YAML 1.2 core schema, decimals exactly.

    Example:
        >>> scalar_value("1e-3"), scalar_value("no"), scalar_value("0o17")
        (Fraction(1, 1000), 'no', 15)
    """
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if len(text) <= 400:
        if _INT.match(text):
            return int(text)
        if _BASED.match(text):
            return int(text, 0)
        if _FLOAT.match(text):
            sign = -1 if text[0] == "-" else 1
            return sign * parse_decimal(text.lstrip("+-"))
        if _SPECIAL.match(text):
            return float(text.replace(".", ""))
    return text


def texts(tree: Tree) -> Iterator[str]:
    """Yield the text of every scalar value in a tree."""
    if isinstance(tree, Scalar):
        yield tree.text
        return
    items = tree.items if isinstance(tree, SeqTree) else [value for _, value in tree.entries]
    for item in items:
        yield from texts(item)


def to_plain(tree: Tree) -> Any:
    """Return the tree as dicts, lists and scalars, without the user's own `x-…` keys."""
    if isinstance(tree, Scalar):
        return tree.value
    if isinstance(tree, SeqTree):
        return [to_plain(item) for item in tree.items]
    return {
        key.text: to_plain(value) for key, value in tree.entries if not key.text.startswith("x-")
    }


def plain_number(value: Any) -> Any:
    """Return a Python value given by a caller as a YAML scalar would be: 0.1 is exactly 1/10."""
    if isinstance(value, float):
        return scalar_value(repr(value)) if value == value and abs(value) != float("inf") else value
    if isinstance(value, list | tuple):
        return [plain_number(item) for item in value]
    return Fraction(value) if isinstance(value, Fraction) else value
