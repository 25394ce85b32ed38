"""Which units of a network are instances of one class.

Two calls of a block are one class if they hold and read the same, numbers aside. A call that lacks
some members, for which the spec's `when` was false, is one too, if those members may stand aside.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

from archgraph.graph import Graph
from archgraph.module.classes import Plan
from archgraph.module.looks import Looks
from archgraph.module.loops import find_loop, is_chain
from archgraph.module.units import Part, Unit, relative, unit_tree
from archgraph.module.values import Shapes

__all__ = ["plan_classes"]


def plan_classes(graph: Graph, shapes: Shapes) -> tuple[Unit, list[Plan], dict[Unit, Plan]]:
    """Return the network as a tree, its classes with inner ones first, and the class of each unit.

    The network itself is the last class.
    """
    opened: set[str] = set()
    while True:
        root = unit_tree(graph, shapes, opened)
        _decide(root, graph, shapes)
        planner = _Planner(root, graph, shapes)
        mixed = planner.mixed()
        if not mixed:
            return root, planner.plans, planner.plan_of
        opened |= mixed  # weights that two classes would share


# --- forms ----------------------------------------------------------------------------------------


def _decide(unit: Unit, graph: Graph, shapes: Shapes) -> None:
    """Decide how a unit and all inside are written; open what cannot be."""
    for part in unit.parts:
        if isinstance(part, Unit):
            _decide(part, graph, shapes)
    loose = [p for p in unit.parts if isinstance(p, Unit) and p.form == "loop"]
    looks = [_look(repeat) for repeat in loose]
    parts: list[Part] = []
    for part in unit.parts:
        if isinstance(part, Unit) and part.form == "loop":
            shares = any(p.module == part.module for p in part.parts)
            if looks.count(_look(part)) > 1 and not part.escapes and not shares:
                part.form = "class"
            elif part.loop is None:
                parts += _opened(part, unit)
                continue
        parts.append(part)
    unit.parts = parts
    unit.is_chain = is_chain(unit, graph, shapes)
    match unit.instance.kind:
        case "repeat":
            unit.loop = None if unit.is_chain else find_loop(unit, graph, shapes)
            unit.form = "chain" if unit.is_chain else "loop"
        case "group":
            unit.form = "chain" if unit.is_chain else "class"


def _opened(unit: Unit, parent: Unit) -> list[Part]:
    for part in unit.parts:
        if isinstance(part, Unit):
            part.parent = parent
    return unit.parts


def _look(repeat: Unit) -> Hashable:
    copy = next((p for p in repeat.parts if isinstance(p, Unit)), None)
    block = None if copy is None else copy.instance.block
    loop = repeat.loop is not None
    return block, repeat.instance.connect, len(repeat.inputs), len(repeat.outputs), loop


# --- classes --------------------------------------------------------------------------------------


class _Planner:
    def __init__(self, root: Unit, graph: Graph, shapes: Shapes) -> None:
        self.graph, self.shapes = graph, shapes
        self.plans: list[Plan] = []
        self.plan_of: dict[Unit, Plan] = {}
        self._looks = Looks(graph, shapes, self.plan_of)
        families: dict[Hashable, list[Unit]] = {}
        inside: dict[Hashable, dict[Hashable, None]] = {}
        for unit in root.units():
            if unit.form == "class":
                family = _family(unit)
                families.setdefault(family, []).append(unit)
                inside.setdefault(family, {})
                if unit.parent is not None:
                    inside[_family(unit.parent.home)][family] = None
        done: dict[Hashable, None] = {}
        _inner_first(_family(root), inside, done)
        for family in done:
            self._group(families[family])

    def mixed(self) -> set[str]:
        """Return the paths of units that are one module, but not one class."""
        plans: dict[str, set[int]] = {}
        for unit, plan in self.plan_of.items():
            plans.setdefault(unit.module, set()).add(id(plan))
        several = {module for module, found in plans.items() if len(found) > 1}
        return {
            u.path
            for u, plan in self.plan_of.items()
            if u.module in several and u.parent is not None and u.instance.kind != "repeat"
        }

    def _group(self, units: list[Unit]) -> None:
        self._looks.choose(units)
        groups: dict[Hashable, Plan] = {}
        for unit in units:
            looks = self._looks.body(unit)
            if looks in groups:
                groups[looks].units.append(unit)
            else:
                groups[looks] = Plan([unit], unit, _stem(unit))
        for looks, plan in sorted(groups.items(), key=lambda group: len(group[1].full.parts)):
            largest = sorted(groups.values(), key=lambda plan: -len(plan.full.parts))
            if any(self._joins(plan, looks, other) for other in largest):
                del groups[looks]
        for plan in groups.values():
            modules = [unit.module for unit in plan.units]
            plan.shared = len(set(modules)) < len(modules)
            self.plans.append(plan)
            self.plan_of |= dict.fromkeys(plan.units, plan)

    def _joins(self, plan: Plan, looks: Hashable, other: Plan) -> bool:
        """Put a plan's units into another whose instances they are but for what they lack.

        Returns whether it could be done.
        """
        if plan is other or plan.optional:
            return False
        there = {relative(p.path, other.full.path) for p in other.full.parts}
        lacking = {
            m.name: m.when
            for m in plan.full.instance.members
            if m.kind == "alias" and m.when is not None and m.name in there
        }
        same_inputs = list(plan.full.inputs.values()) == list(other.full.inputs.values())
        if not lacking or not same_inputs:
            return False
        given = plan.full.inputs
        reads = {m.name: given[m.reads] for m in plan.full.instance.members if m.reads in given}
        body, otherwise = self._looks.without(other.full, {n: reads.get(n) for n in lacking})
        known = other.otherwise
        agree = all(known.get(n) == otherwise.get(n) for n in other.optional if n in lacking)
        if body != looks or not agree:
            return False
        other.units += plan.units
        other.optional |= lacking
        other.otherwise |= otherwise
        return True


def _family(unit: Unit) -> Hashable:
    """Return what units have in common that may be one class."""
    instance, parent = unit.instance, unit.parent
    if instance.kind == "block" or parent is None:
        # How often it stands inside itself, which only a graph that no spec made can.
        inside = 0
        while parent is not None:
            inside += parent.instance.kind == "block" and parent.instance.block == instance.block
            parent = parent.parent
        return instance.kind, instance.block, inside
    return instance.kind, _family(parent.home), _stem(unit)


def _stem(unit: Unit) -> str:
    """Return what a unit's class is called after: its block, or its name without numbers."""
    instance, parent = unit.instance, unit.parent
    if instance.block is not None or parent is None:
        return instance.block or "network"
    name = relative(unit.path, parent.path).rpartition(".")[2]
    plain = re.sub(r"\d+", "", name).strip("_-")
    if re.search(r"[A-Za-z]", plain):
        return plain
    above = unit.path.rpartition(".")[0].rpartition(".")[2]
    return f"{above}_{name}" if re.search(r"[A-Za-z]", above) else f"part_{name}"


def _inner_first(
    family: Hashable, inside: Mapping[Hashable, Mapping[Hashable, Any]], done: dict[Hashable, None]
) -> None:
    for inner in inside[family]:
        if inner not in done:
            _inner_first(inner, inside, done)
    done[family] = None
