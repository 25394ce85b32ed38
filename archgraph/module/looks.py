"""What a unit holds and reads, numbers left out: units that look the same are of one class."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from archgraph.graph import Edge, Graph
from archgraph.module.classes import Plan, free_arguments, names_pattern
from archgraph.module.loops import Loop
from archgraph.module.units import Layer, Part, Ref, Unit, relative
from archgraph.module.values import Shapes

__all__ = ["Looks"]


class Looks:
    """How the units of a network look.

    Args:
        graph: The network.
        shapes: Its shapes.
        plan_of: The class of each unit that is inside those which are looked at.
    """

    def __init__(self, graph: Graph, shapes: Shapes, plan_of: Mapping[Unit, Plan]) -> None:
        self.graph, self.shapes, self._plan_of = graph, shapes, plan_of
        self._chosen: set[str] = set()
        """Layers that are an argument of their class, where its instances differ in the op."""

    def choose(self, units: list[Unit]) -> None:
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

    def body(self, unit: Unit) -> Hashable:
        """Return what a unit holds and reads, numbers left out."""
        return self.without(unit, {})[0]

    def without(
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
            return "class", id(self._plan_of[part])
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
        values = tuple(map(self.tensor, self._elements(part)))
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

    def tensor(self, ref: Ref) -> Hashable:
        """Return what kind of tensor a value is."""
        value = self.shapes.element(*ref)
        return len(value.shape), value.batched, value.dtype


@dataclass(eq=False)
class _Body:
    """One reading of a unit: which value is which, without their names in the graph."""

    looks: Looks
    unit: Unit
    known: dict[Ref, Hashable] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    read: set[Ref] = field(default_factory=set)

    def start(self) -> Hashable:
        """Return what is read from outside."""
        inputs = self.unit.inputs.items()
        return tuple((n, self.looks.tensor(ref)) for ref, n in inputs if ref in self.read)

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
        graph = self.looks.graph
        if isinstance(part, Unit):
            if len(part.inputs) != 1 or len(part.outputs) != 1 or part.form == "loop":
                return False
            self.known[part.outputs[0]] = self.where(next(iter(part.inputs)))
            return True
        edges = graph.edges_into(part.path)
        lone = (
            len(edges) == 1
            and part.manner == "module"
            and part.path not in (self.looks.shapes.tuples)
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
        kind = self.looks.kind(part)
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
        looks = self.looks
        for port, edges in looks.graph.ports(part.path).items():
            dim = looks.shapes.dims.get((part.path, port))
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
