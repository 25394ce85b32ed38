"""Which units of a network are instances of one class.

Two calls of a block are one class if they hold and read the same, numbers aside. A call that lacks
some members, for which the spec's `when` was false, is one too, if those members may stand aside.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from archgraph.graph import Edge, Graph
from archgraph.module.loops import Loop, find_loop, is_chain
from archgraph.module.names import class_name
from archgraph.module.units import Layer, Part, Ref, Unit, relative, unit_tree
from archgraph.module.values import Shapes

__all__ = ["Plan", "choose_names", "free_arguments", "names_pattern", "plan_classes"]

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
        self._chosen: set[str] = set()
        """Layers that are an argument of their class, where its instances differ in the op."""
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
        self._choose(units)
        groups: dict[Hashable, Plan] = {}
        for unit in units:
            looks = self._body(unit)
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

    def _choose(self, units: list[Unit]) -> None:
        """Note the layers of a block or group that are plain activations in all of its calls."""
        found: dict[str, list[Layer]] = {}
        for unit in units if units[0].instance.kind in ("block", "group") else ():
            for part in unit.parts:
                if isinstance(part, Layer):
                    found.setdefault(relative(part.path, unit.path), []).append(part)
        for layers in found.values():
            if all(map(self._is_activation, layers)):
                self._chosen.update(layer.path for layer in layers)

    def _is_activation(self, part: Layer) -> bool:
        """Whether a layer is an activation that nothing but its name and `inplace` says."""
        node = part.node
        if node.op is None or part.manner != "module" or node.op.op.family != "activation":
            return False
        held = self.shapes.held.get(node.module or node.name, {})
        given = [name for name, _ in node.op.arguments if name != "inplace"]
        return node.op.op.origin == "torch.nn" and not held and not given and not node.init

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
        body, otherwise = self._reduced(other.full, {n: reads.get(n) for n in lacking})
        known = other.otherwise
        agree = all(known.get(n) == otherwise.get(n) for n in other.optional if n in lacking)
        if body != looks or not agree:
            return False
        other.units += plan.units
        other.optional |= lacking
        other.otherwise |= otherwise
        return True

    # --- how units look -----------------------------------------------------------------------

    def _body(self, unit: Unit) -> Hashable:
        """Return what a unit holds and reads, numbers left out."""
        return self._reduced(unit, {})[0]

    def _reduced(
        self, unit: Unit, absent: Mapping[str, str | None]
    ) -> tuple[Hashable, dict[str, str]]:
        """Return what a unit holds and reads without some members; None if that cannot be.

        Args:
            unit: The unit.
            absent: The members that are left out, each with the input that stands for it.

        Returns:
            The look, and the members that are not simply passed by, each with its input.
        """
        body = _Body(self, unit)
        if unit.instance.kind == "repeat" and unit.loop is not None:
            return (self._loop_kind(unit), tuple(body.where(ref) for ref in unit.inputs)), {}
        parts = []
        otherwise: dict[str, str] = {}
        for part in unit.parts:
            name = relative(part.path, unit.path)
            if name not in absent:
                parts.append(body.part(part))
                continue
            if not body.skip(part):
                return None, {}
            given = absent[name]
            if given is not None and body.replace(part, given):
                otherwise[name] = given
        return (body.start(), tuple(parts), tuple(map(body.where, unit.outputs))), otherwise

    def kind(self, part: Part) -> Hashable:
        """Return what a part is, whatever it reads and is called."""
        if isinstance(part, Layer):
            return self._layer_kind(part)
        if part.form == "class":
            return "class", id(self.plan_of[part])
        names = tuple(relative(p.path, part.path) for p in part.parts)
        kinds = tuple(map(self.kind, part.parts))
        if part.form == "chain":
            pattern = names_pattern(names) if part.instance.kind == "repeat" else None
            if pattern is not None and len(set(kinds)) == 1:
                return "chain", pattern, kinds[0]
            return "chain", names, kinds
        return "loop", self._loop_kind(part)

    def _layer_kind(self, part: Layer) -> Hashable:
        node, shapes = part.node, self.shapes
        values = tuple(map(self.looks, self._elements(part)))
        init = tuple((name, str(value)) for name, value in node.init)
        if node.op is None:
            return part.manner, values
        arguments = shapes.arguments[node.name]
        if part.path in self._chosen:
            return "activation", arguments.get("inplace"), node.name in shapes.tuples, values
        free = free_arguments(part)
        fixed = part.manner == "expression"
        keys = tuple((k, repr(v) if fixed and k not in free else "") for k, v in arguments.items())
        op = (node.op.op.origin, node.op.name, id(node.op.op.function))
        return part.manner, op, keys, values, node.name in shapes.tuples, init

    def _elements(self, part: Layer) -> list[Ref]:
        found = self.shapes.elements[part.path]
        return [(part.path, k) for k, value in enumerate(found) if value is not None]

    def _loop_kind(self, unit: Unit) -> Hashable:
        loop: Loop = unit.loop
        kinds = tuple(map(self.kind, loop.copies))
        names = tuple(relative(copy.module, unit.module) for copy in loop.copies)
        pattern = names_pattern(names) if len(set(kinds)) == 1 and names[0] else None
        reads = tuple((i.kind, i.dim) for i in loop.inputs)
        last = (loop.states[-1], (loop.end, 0))
        if pattern is not None and set(unit.outputs) <= set(last):
            return pattern, kinds[0], reads, loop.adds
        return names, kinds, reads, loop.adds, len(names)

    def looks(self, ref: Ref) -> Hashable:
        """Return what kind of tensor a value is."""
        value = self.shapes.element(*ref)
        return len(value.shape), value.batched, value.dtype


@dataclass(eq=False)
class _Body:
    """One reading of a unit: which value is which, without their names in the graph."""

    planner: _Planner
    unit: Unit
    known: dict[Ref, Hashable] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    read: set[Ref] = field(default_factory=set)

    def start(self) -> Hashable:
        """Return what is read from outside."""
        inputs = self.unit.inputs.items()
        return tuple((n, self.planner.looks(ref)) for ref, n in inputs if ref in self.read)

    def where(self, ref: Ref) -> Hashable:
        """Return which value a reference is."""
        if ref in self.known:
            return self.known[ref]
        if ref in self.unit.inputs:
            self.read.add(ref)
            return "input", self.unit.inputs[ref]
        return self.nodes[ref[0]], ref[1]

    def skip(self, part: Part) -> bool:
        """Let a part stand aside: who reads it reads its first input. False if it cannot."""
        graph = self.planner.graph
        if isinstance(part, Unit):
            if len(part.inputs) != 1 or len(part.outputs) != 1 or part.form == "loop":
                return False
            self.known[part.outputs[0]] = self.where(next(iter(part.inputs)))
            return True
        edges = graph.edges_into(part.path)
        lone = (
            len(edges) == 1
            and part.manner == "module"
            and part.path not in (self.planner.shapes.tuples)
        )
        if not (lone or part.manner == "merge") or _scale(edges[0], "") != "":
            return False
        self.known[part.path, 0] = self.where((edges[0].source, edges[0].element))
        return True

    def replace(self, part: Part, name: str) -> bool:
        """Let an input stand for a part that stands aside; False if it does so already."""
        ref = part.outputs[0] if isinstance(part, Unit) else (part.path, 0)
        held = part.is_held if isinstance(part, Layer) else part.form == "class"
        if self.known[ref] == ("input", name) or not held:
            return False
        self.known[ref] = "input", name
        self.read.update(r for r, n in self.unit.inputs.items() if n == name)
        return True

    def part(self, part: Part) -> Hashable:
        """Return what a part is and reads, and know what it gives from now on."""
        name = relative(part.path, self.unit.path)
        kind = self.planner.kind(part)
        if isinstance(part, Unit):
            held = relative(part.module, self.unit.module)
            reads: Hashable = tuple(map(self.where, self._inputs(part)))
            given = part.outputs
            for k, ref in enumerate(given):
                self.known[ref] = (name, k)
            return name, held, kind, reads, len(given)
        held = relative(part.module, self.unit.module) if part.is_held else ""
        self.nodes[part.path] = name
        return name, held, kind, tuple(self._ports(part))

    def _inputs(self, part: Unit) -> Iterable[Ref]:
        if part.form == "loop":
            return [ref for i in part.loop.inputs for ref in i.refs]
        return part.inputs

    def _ports(self, part: Layer) -> Iterable[Hashable]:
        planner = self.planner
        for port, edges in planner.graph.ports(part.path).items():
            dim = planner.shapes.dims.get((part.path, port))
            terms = tuple(
                (self.where((e.source, e.element)), _scale(e, self.unit.module)) for e in edges
            )
            yield port, edges[0].kind, dim, terms


def _scale(edge: Edge, module: str) -> Hashable:
    """Return what kind of λ an edge has: none, a number, or which parameter."""
    learn = edge.scale.learn
    if learn is not None:
        return relative(learn.name, module), learn.per, learn.index, learn.count
    if edge.scale.text is None:
        return "" if edge.scale.value == 1 else "-" if edge.scale.value == -1 else "number"
    return "number"


# --- names and order ------------------------------------------------------------------------------


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
