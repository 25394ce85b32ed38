"""What a number of a network may depend on: params of the spec and of blocks, copies of repeats."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

__all__ = ["NOTHING", "Copy", "Names", "Own"]


class Own(NamedTuple):
    """A param of a block, the same for all of its calls that are one class."""

    home: int | str
    name: str


class Copy(NamedTuple):
    """The number `i` of a copy in the repeat at a path."""

    path: str


Names: TypeAlias = frozenset[str | Own | Copy]
"""What a number depends on; a name as such is a param of the spec."""

NOTHING: Final[Names] = frozenset()
