"""The classes to be written: what each stands for, and what it is called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from archgraph.module.names import class_name
from archgraph.module.units import Layer, Unit

__all__ = ["Plan", "choose_names", "free_arguments", "names_pattern"]

_FREE: Final = {
    "Chunk": ("index",),
    "Select": ("index",),
    "Slice": ("start", "stop"),
    "Reshape": ("shape",),
}
"""Arguments of tensor expressions that may differ between the instances of a class."""


@dataclass(eq=False)
class Plan:
    """A class to be written: the units that are its instances."""

    units: list[Unit]
    full: Unit
    """The one that stands for all: it has every member."""
    stem: str
    """What the class is called after."""
    optional: dict[str, str] = field(default_factory=dict)
    """Members that some instances lack, and the spec's condition for each."""
    otherwise: dict[str, str] = field(default_factory=dict)
    """Of these, the ones for which an input of the class stands where they are left out, and not
    what they would read: its name."""
    shared: bool = False
    """Whether several units are one and the same module."""


def free_arguments(part: Layer) -> tuple[str, ...]:
    """Return the arguments of a tensor expression that the instances of a class may differ in."""
    op = part.node.op
    return _FREE.get(op.name, ()) if op is not None and part.manner == "expression" else ()


def names_pattern(names: tuple[str, ...]) -> tuple[str, int, str] | None:
    """Return what stands before and behind a number in names, and the first number.

    Example:
        >>> names_pattern(("unit1a", "unit2a")), names_pattern(("a", "b"))
        (('unit', 1, 'a'), None)
    """
    match = re.fullmatch(r"(.*?)(\d+)(\D*)", names[0])
    if match is None:
        return None
    before, first, after = match[1], int(match[2]), match[3]
    fits = all(name == f"{before}{first + i}{after}" for i, name in enumerate(names))
    return (before, first, after) if fits else None


def choose_names(plans: Iterable[Plan], taken: set[str]) -> dict[int, str]:
    """Return by plan's identity what its class is called: CamelCase, none of `taken`."""
    names: dict[int, str] = {}
    others = frozenset(taken)
    for plan in plans:
        stem = class_name(plan.stem)
        name = stem = f"{stem}Block" if stem in others else stem
        number = 2
        while name in taken:
            name, number = f"{stem}{number}", number + 1
        taken.add(name)
        names[id(plan)] = name
    return names
