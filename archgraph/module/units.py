"""The parts of a network that become modules of their own, as a tree.

A unit is a block, a group or a repeat whose layers stand together in the graph, so that one call
can run them. What a spec nests but no call can run (weights that are held elsewhere, layers that
others stand between) is opened: its layers belong to the unit around it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from torch import nn

from archgraph.graph import Edge, Graph, Instance, Node
from archgraph.module.instances import is_expression_call
from archgraph.module.values import Shapes
from archgraph.numbers import as_number
from archgraph.ops import OpCall

__all__ = [
    "Layer",
    "Manner",
    "Part",
    "Ref",
    "Unit",
    "is_expression",
    "joined",
    "manner",
    "numbers_of",
    "relative",
    "unit_tree",
]

Ref: TypeAlias = tuple[str, int]
"""A value: a node, and which element of its result."""

Manner: TypeAlias = Literal["merge", "expression", "function", "parameter", "module"]
"""How a layer is written: without an op, as a tensor expression, as the call of a function of the
user, as a parameter, or as a submodule."""

ROOT: Final = ""


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """A node, as a part of the unit that it stands in."""

    node: Node
    manner: Manner

    @property
    def path(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def module(self) -> str:
        """Path of what it holds."""
        return self.node.module or self.node.name

    @property
    def is_held(self) -> bool:
        """Whether the module around it holds something for it."""
        return self.manner in ("module", "parameter")


@dataclass(eq=False, slots=True)
class Unit:
    """A block, group, repeat or the whole network, with what it reads and gives."""

    instance: Instance
    parent: Unit | None
    numbers: Mapping[str, Any]
    """The numbers that its texts may name."""
    parts: list[Part] = field(default_factory=list)
    inputs: dict[Ref, str] = field(default_factory=dict)
    """Values from outside, in order, and what they are called inside."""
    outputs: list[Ref] = field(default_factory=list)
    """Values from inside that are read outside, in order."""
    escapes: bool = False
    """Whether it uses a parameter that is held outside."""
    form: Literal["class", "chain", "loop"] = "class"
    """A class of its own, or `nn.Sequential` or a loop in the class around it."""
    is_chain: bool = False
    """Whether each part reads just the one before it."""
    loop: Any = None
    """Of a repeat that is no chain: the `Loop` that runs it, if there is one."""

    @property
    def path(self) -> str:
        """Prefix of its nodes' names."""
        return self.instance.path

    @property
    def module(self) -> str:
        """Path of its submodule."""
        return self.instance.module

    @property
    def home(self) -> Unit:
        """The unit whose class holds its layers: itself, or the one around it."""
        unit = self
        while unit.form != "class" and unit.parent is not None:
            unit = unit.parent
        return unit

    def units(self) -> Iterator[Unit]:
        """Yield it and all units inside, parents first."""
        yield self
        for part in self.parts:
            if isinstance(part, Unit):
                yield from part.units()


Part: TypeAlias = Layer | Unit


def relative(path: str, base: str) -> str:
    """Return a path as seen from `base`, which it begins with.

    Example:
        >>> relative("h.0.fc", "h.0"), relative("fc", ""), relative("h", "h")
        ('fc', 'fc', '')
    """
    return path[len(base) :].removeprefix(".")


def joined(path: str, name: str) -> str:
    """Return the path of what is called `name` at a path, either of which may be empty."""
    return f"{path}.{name}".strip(".")


def numbers_of(params: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the params that Python text may name: numbers, words and lists of these."""
    return {name: _frozen(value) for name, value in params if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | str) or as_number(value) is not None


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def is_expression(node: Node, shapes: Shapes) -> bool:
    """Whether a node's op is written as a tensor expression, without a module."""
    if node.op is None:
        return False
    return is_expression_call(OpCall(node.op.op, tuple(shapes.arguments[node.name].items())))


def manner(node: Node, shapes: Shapes) -> Manner:
    """Return how a layer is written."""
    if node.op is None:
        return "merge"
    op = node.op.op
    if op.is_parameter:
        return "parameter"
    if op.origin == "opaque" and not isinstance(op.function, nn.Module):
        return "function"
    return "expression" if is_expression(node, shapes) else "module"


# --- the tree -------------------------------------------------------------------------------------


def unit_tree(graph: Graph, shapes: Shapes, opened: Collection[str] = ()) -> Unit:
    """Return the whole network as a unit of units; forms are not decided yet.

    Args:
        graph: The network.
        shapes: Its shapes.
        opened: Paths of instances that are to be no units.
    """
    layers = {n.name: Layer(n, manner(n, shapes)) for n in graph.nodes if n.kind == "layer"}
    around = _around(graph, layers, opened)
    spec = numbers_of(graph.params.items())
    top = graph.instances.get(ROOT) or Instance(path=ROOT, kind="network", module="")
    units = {ROOT: Unit(top, None, spec)}
    for name, layer in layers.items():
        unit = units[ROOT]
        for path in around[name]:
            if path not in units:
                instance = graph.instances[path]
                units[path] = Unit(instance, unit, _numbers(instance, unit, spec))
                unit.parts.append(units[path])
            unit = units[path]
        unit.parts.append(layer)
    _connect(graph, units, around)
    return units[ROOT]


def _numbers(instance: Instance, parent: Unit, spec: Mapping[str, Any]) -> dict[str, Any]:
    if instance.kind == "block":
        return {**spec, **numbers_of(instance.params)}
    numbers = dict(parent.numbers)
    return numbers if instance.index is None else {**numbers, "i": instance.index}


def _around(
    graph: Graph, layers: Mapping[str, Layer], opened: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return by node the paths of the units around it, outermost first, the root left out."""
    merged = {
        node: instance.path
        for instance in graph.instances.values()
        for name, node, _ in instance.inputs
        if node == f"{instance.path}.{name}"
    }
    around: dict[str, tuple[str, ...]] = {}
    for node in graph.nodes:
        # The merge in front of a call is written where the call is.
        called = merged.get(node.name.partition("~")[0])
        paths = [p for p in node.block if p != called and p in graph.instances and p != ROOT]
        around[node.name] = tuple(paths)
    opened = {*opened, *_scattered(layers, around), *_escaping(graph, layers, around)}
    return {name: tuple(p for p in paths if p not in opened) for name, paths in around.items()}


def _scattered(layers: Iterable[str], around: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the instances whose layers do not stand together."""
    scattered: set[str] = set()
    closed: set[str] = set()
    inside: Sequence[str] = ()
    for name in layers:
        closed.update(path for path in inside if path not in around[name])
        inside = around[name]
        scattered.update(closed.intersection(inside))
    return scattered


def _escaping(
    graph: Graph, layers: Mapping[str, Layer], around: Mapping[str, Sequence[str]]
) -> set[str]:
    """Return the instances that call what is held outside of them."""
    escaping: set[str] = set()
    for name, layer in layers.items():
        learnt = [e.scale.learn.name for e in graph.edges_into(name) if e.scale.learn is not None]
        for path in around[name]:
            instance = graph.instances[path]
            held = [layer.module] if layer.is_held else []
            if instance.kind != "repeat":  # a repeat may be run by a loop of the class around it
                held += learnt
            if any(not p.startswith(f"{instance.module}.") for p in held):
                escaping.add(path)
    return escaping


def _connect(graph: Graph, units: Mapping[str, Unit], around: Mapping[str, Sequence[str]]) -> None:
    """Note what each unit reads from outside, and what is read of it outside."""
    given: dict[str, dict[Ref, None]] = {path: {} for path in units}
    for edge in graph.edges:
        if edge.kind != "loss":
            _note(edge, around[edge.source], around[edge.target], units, given)
    for _, node in graph.outputs:
        for path in around[node]:
            given[path][node, 0] = None
    for path, unit in units.items():
        declared = [(node, element) for _, node, element in unit.instance.outputs]
        first = [ref for ref in dict.fromkeys(declared) if ref in given[path]]
        unit.outputs = [*first, *(ref for ref in given[path] if ref not in first)]
        if path != ROOT and not unit.outputs:
            unit.outputs = [next(ref for ref in (*declared, _last(unit)) if _inside(ref, unit))]
        _name_inputs(unit)
    units[ROOT].inputs = {(node.name, 0): node.name for node in graph.inputs}
    units[ROOT].outputs = [(node, 0) for _, node in graph.outputs]
    for name in around:
        for edge in graph.edges_into(name):
            learn = edge.scale.learn
            for path in around[name] if learn is not None else ():
                assert learn is not None
                if not learn.name.startswith(f"{units[path].module}."):
                    units[path].escapes = True


def _note(
    edge: Edge,
    source: Sequence[str],
    target: Sequence[str],
    units: Mapping[str, Unit],
    given: Mapping[str, dict[Ref, None]],
) -> None:
    common = 0
    while common < min(len(source), len(target)) and source[common] == target[common]:
        common += 1
    ref = (edge.source, edge.element)
    for path in source[common:]:
        given[path][ref] = None
    for path in target[common:]:
        units[path].inputs.setdefault(ref, "")


def _name_inputs(unit: Unit) -> None:
    """Put the inputs in the order of the block and give them its names."""
    read = unit.inputs
    declared = {(node, element): name for name, node, element in reversed(unit.instance.inputs)}
    order = [ref for ref in reversed(declared) if ref in read]
    unit.inputs = {ref: declared[ref] for ref in order}
    for ref in read:
        if ref not in declared:
            unit.inputs[ref] = ref[0].rpartition(".")[2]


def _last(unit: Unit) -> Ref:
    part = unit.parts[-1]
    return (part.path, 0) if isinstance(part, Layer) else part.outputs[0]


def _inside(ref: Ref, unit: Unit) -> bool:
    return any(
        ref[0] == part.path if isinstance(part, Layer) else _inside(ref, part)
        for part in unit.parts
    )
