"""What the classes of one network share: how they are called, and where modules are held."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from archgraph.graph import Graph, Node
from archgraph.module.classes import Plan
from archgraph.module.dependence import Names, Own
from archgraph.module.names import is_plain
from archgraph.module.origins import Origins
from archgraph.module.units import Unit, joined, relative
from archgraph.module.values import Shapes

if TYPE_CHECKING:
    from archgraph.module.constructor import Constructor

__all__ = ["Network", "Place"]

Place: TypeAlias = Literal["names", "index", "dict"]
"""How what a module holds is read: by attributes, by position, by key."""


@dataclass
class Network:
    """What the classes of one network share."""

    graph: Graph
    shapes: Shapes
    plan_of: Mapping[Unit, Plan]
    class_names: Mapping[int, str]
    """By identity of a plan."""
    name_of: Callable[[Node], str]
    """How the class or callable of a node's op is called in the code."""
    done: dict[int, Constructor] = field(default_factory=dict)
    """By identity of a plan, inner ones first."""
    places: dict[str, Place] = field(default_factory=dict)
    """By path of a module that is not read by attributes: how."""
    sizes: dict[int, dict[str, str]] = field(default_factory=dict)
    """By identity of a plan: sizes of its inputs that need no argument, and what they are."""
    frozen: Names = frozenset()
    """Params that no class takes, since not all that depends on them could follow."""
    lost: set[str | Own] = field(default_factory=set)
    """Params that something did not follow, this time."""
    followed: set[str] = field(default_factory=set)
    """Paths of repeats whose number of copies is written, and of layers whose `when` is."""

    @cached_property
    def origins(self) -> Origins:
        """What each number depends on."""
        return Origins(self.graph, self.shapes, self.home)

    def home(self, path: str) -> int | str:
        """Return what all calls of a block that are one class have in common."""
        return self._homes.get(path, path)

    @cached_property
    def _homes(self) -> Mapping[str, int]:
        return {unit.path: id(plan) for unit, plan in self.plan_of.items()}

    def constructor(self, unit: Unit) -> Constructor:
        """Return what writes the class of a unit."""
        return self.done[id(self.plan_of[unit])]

    def reference(self, home: str, path: str, what: str = "submodule") -> str:
        """Return how the module at `home` reads a module or parameter inside it.

        Example:
            >>> network = Network(None, None, {}, {}, str, places={"h": "index"})
            >>> network.reference("", "h.0.fc"), network.reference("h.0", "h.0.fc")
            ('self.h[0].fc', 'self.fc')
        """
        here, module = "self", home
        names = relative(path, module).split(".") if path != module else []
        for k, name in enumerate(names):
            way = self.places.get(module, "names")
            module = joined(module, name)
            if way == "index" and name.isdigit():
                here = f"{here}[{name}]"
            elif way == "dict":
                here = f'{here}["{name}"]'
            elif is_plain(name):
                here = f"{here}.{name}"
            else:
                return f'{here}.get_{what}("{".".join(names[k:])}")'
        return here

    def parameter(self, home: str, name: str) -> str:
        """Return how the module at `home` reads a parameter inside it."""
        module, _, last = name.rpartition(".")
        in_list = self.places.get(module) == "index" and last.isdigit()
        if is_plain(last) or in_list:
            holder = self.reference(home, module) if module != home else "self"
            return f"{holder}[{last}]" if in_list else f"{holder}.{last}"
        return self.reference(home, name, "parameter")
