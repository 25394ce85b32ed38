"""The body of a class's `__init__`: what it holds, and how the rest of the class reads it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from archgraph.graph import Edge, Graph, Node
from archgraph.module import text as python
from archgraph.module.classes import Plan, free_arguments
from archgraph.module.columns import Column, Numbers
from archgraph.module.containers import Element, is_counted, mapping, sequence, sequential
from archgraph.module.expressions import names_in, substitute
from archgraph.module.hoisting import hoist
from archgraph.module.instances import place
from archgraph.module.names import RESERVED, attribute, is_plain
from archgraph.module.sizes import Sizes, Texts
from archgraph.module.units import Layer, Part, Ref, Unit, relative
from archgraph.module.values import Shapes
from archgraph.ops import initial_tensor

__all__ = ["Constructor", "Network", "Place", "spec_wide_sizes"]

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

    def constructor(self, unit: Unit) -> Constructor:
        """Return what writes the class of a unit."""
        return self.done[id(self.plan_of[unit])]


class Constructor:
    """Writes what a class holds, and says how `forward` reads it."""

    def __init__(self, plan: Plan, network: Network) -> None:
        self.plan, self.network = plan, network
        self.graph, self.shapes = network.graph, network.shapes
        self.unit = plan.full
        self.numbers = Numbers(plan, {*RESERVED, *network.class_names.values(), "i"})
        self.sizes = Sizes(self.graph, self.shapes, self.numbers)
        self.size_of: dict[str, tuple[int, int]] = {}
        """By name of a size: the input and the axis that it is read off."""
        self.base = "nn.Module"
        self.layers: dict[str, str] = {}
        """By layer whose op is called, and by unit: the text that is called."""
        self.optional: dict[str, str] = {}
        """By merge that some instances lack: the condition, as `forward` reads it."""
        self.extra: dict[str, list[str]] = {}
        """By unit: arguments of its call that are no tensors."""
        self.turns: dict[str, str] = {}
        """By loop that calls one module several times: how often."""
        self.call_names: dict[str, bool] = {}
        """Numbers that `forward` takes, each with whether it is a float."""
        self.asked: dict[str, set[tuple[int, str]]] = {}
        """By size: what callers give for it, each with the identity of the caller's plan."""
        self.outputs: list[Texts] = []
        """Sizes of what the class gives."""
        self._kept: dict[str, None] = {}
        self._made: set[str] = set()
        self._learnt: set[str] = set()
        self._scales: dict[str, str | None] = {}
        self._free: dict[tuple[str, str], Any] = {}
        self._parts = {
            unit: {relative(part.path, unit.path): part for part in unit.parts}
            for unit in plan.units
        }

    # --- the whole --------------------------------------------------------------------------------

    def write(self) -> list[str]:
        """Return the statements after `super().__init__()`, but for `reset_parameters()`."""
        self._inputs()
        self._choose_base()
        if self.unit.instance.kind == "repeat" and self.unit.loop is not None:
            whole = self.numbers.column({unit: unit for unit in self.plan.units})
            _, held = self._loop(whole)
            statements = [f"super().__init__({held.partition('(')[2]}"]
        elif self.base == "nn.Sequential" and self._counts():
            texts = [text for part in self.unit.parts if (text := self._member(part))]
            statements = [python.call("super().__init__", texts)]
        else:
            self._survey()
            statements = [line for part in self.unit.parts for line in self._statements(part)]
            statements = ["super().__init__()", *statements]
        if self.unit.parent is None:
            statements += [f"{self.parameter(a)} = {self.parameter(b)}" for a, b in self.graph.ties]
        self.outputs = [self.sizes.of.get(ref, ()) for ref in self.unit.outputs]
        self._note_numbers()
        kept = [f"self.{self._attribute(name)} = {name}" for name in self._kept]
        taken = {*self.numbers.given, *self.network.class_names.values(), *RESERVED}
        return hoist([statements[0], *kept, *statements[1:]], taken)

    def _inputs(self) -> None:
        units, single = self.plan.units, len(self.unit.inputs) == 1
        for k, (ref, name) in enumerate(self.unit.inputs.items()):
            values = [self.shapes.element(*list(unit.inputs)[k]) for unit in units]
            axis = next((v.channel_axis for v in values if v.channel_axis), None)
            node = self.graph.node(ref[0])
            texts: list[tuple[str, ...]] = []
            for i, size in enumerate(values[0].shape):
                sizes = {unit: v.shape[i] for unit, v in zip(units, values, strict=True)}
                last = i == len(values[0].shape) - 1
                if self.unit.parent is None:
                    column = self.numbers.column({self.unit: self.unit})
                    spelt = node.shape_texts[i] if node.shape_texts else str(size)
                    texts.append(self.sizes.pick(column, [spelt], [size]))
                elif axis == i + 1 or last:
                    kind = "features" if last else "channels"
                    chosen = f"in_{kind}" if single else f"{_plain(name)}_{kind}"
                    known = self.network.sizes.get(id(self.plan), {}).get(chosen)
                    chosen = self.numbers.add(chosen, "size", sizes)
                    self.size_of[chosen] = (k, i)
                    texts.append((chosen if known is None else known,))
                else:
                    texts.append((str(size),) if len(set(sizes.values())) == 1 else ())
            self.sizes.of[ref] = tuple(texts)

    def _survey(self) -> None:
        """Carry sizes through all parts, where a list is made before all that its copies read."""
        names = [relative(part.module, self.unit.module) for part in self.unit.parts]
        if any(name.endswith(".0") for name in names):
            before = dict(self.numbers.contexts)
            for part in self.unit.parts:
                self.text(self._column(part))
            self.numbers.contexts = before
            self.layers.clear()
            self.extra.clear()

    def _choose_base(self) -> None:
        unit = self.unit
        names = [relative(p.module, unit.module) for p in unit.parts if _holds(p)]
        place: Place = "names"
        if unit.parent is None:
            pass
        elif unit.is_chain:
            self.base = "nn.Sequential"
            place = "index" if is_counted(names) else "names"
        elif unit.instance.kind == "repeat" and unit.loop is not None:
            place = "index" if is_counted(names) else "dict"
            self.base = "nn.ModuleList" if place == "index" else "nn.ModuleDict"
        elif not all(map(is_plain, names)) and not any("." in name for name in names):
            self.base, place = "nn.ModuleDict", "dict"
        for instance in self.plan.units:
            self.network.places[instance.module] = place

    def _counts(self) -> bool:
        return self.network.places[self.unit.module] == "index"

    # --- members ----------------------------------------------------------------------------------

    def _column(self, part: Part) -> Column:
        name = relative(part.path, self.unit.path)
        return self.numbers.column(
            {unit: parts[name] for unit, parts in self._parts.items() if name in parts}
        )

    def _statements(self, part: Part) -> list[str]:
        """Return the statements that make one part, with what goes before it."""
        learnables = self._learnables(part) if isinstance(part, Layer) else []
        path = relative(part.module, self.unit.module)
        made = path in self._made
        gathered = self._gathered(path) if _holds(part) else None
        text = self._member(part)
        if text is None or made:
            return learnables
        if gathered is not None:
            return [*learnables, *gathered]
        self._made.add(path)
        return [*learnables, *self._containers(path), self._assign(path, text)]

    def _member(self, part: Part) -> str | None:
        """Return the text that makes one part, None if there is nothing to hold."""
        column = self._column(part)
        text = self.text(column)
        name = relative(part.path, self.unit.path)
        if name not in self.plan.optional:
            return text
        there = [name in self._parts[unit] for unit in self.plan.units]
        units = Column(list(self.plan.units), [self.numbers.known[u] for u in self.plan.units],
                       list(self.plan.units))
        candidates = [self.plan.optional[name]]
        if text is None:
            self.optional[part.path] = self._in_forward(units, there, candidates, name)
            return None
        condition = self.numbers.solve(units, there, candidates, name)
        return f"{text} if {condition} else nn.Identity()"

    def text(self, column: Column) -> str | None:
        """Return the text that makes a part, and carry the sizes through it."""
        part = column.first
        if isinstance(part, Layer):
            return self._layer(column, part)
        if part.form == "class":
            return self._call(column, part)
        if part.form == "chain":
            return self._chain(column, part)
        return self._loop(column)[1]

    def _layer(self, column: Column, part: Layer) -> str | None:
        self.sizes.visit(column)
        match part.manner:
            case "module":
                self.layers[part.path] = self.reference(part.module)
                return self._build(column, part.node)
            case "parameter":
                return self._tensor(column, part.node)
            case "function":
                self.layers[part.path] = self.network.name_of(part.node)
        return None

    # --- layers -----------------------------------------------------------------------------------

    def _build(self, column: Column, node: Node) -> str:
        """Return the text that makes a layer: `nn.Conv2d(3, 64, 7, stride=2)`."""
        assert node.op is not None
        name, op = self.network.name_of(node), node.op.op
        if op.origin == "opaque":
            return python.call("copy.deepcopy", [name])
        arguments = self.shapes.arguments[node.name]
        positional, keywords = place(op, arguments)
        if not op.signature and any(isinstance(value, bool | str) for _, value in positional):
            positional, keywords = [], {**dict(positional), **keywords}  # `nn.ReLU(inplace=True)`
        if op.variadic is None:
            texts = [self._argument(column, key, value) for key, value in positional]
        else:
            texts = [python.literal(value) for _, value in positional]
        texts += [f"{key}={self._argument(column, key, value)}" for key, value in keywords.items()]
        return python.call(name, texts)

    def _argument(self, column: Column, name: str, value: Any) -> str:
        assert isinstance(column.first, Layer)
        op = column.first.node.op
        assert op is not None
        argument = op.op.argument(name)
        if argument is not None and argument.type.startswith("tensor") and value is not None:
            return f"torch.tensor({python.literal(value)})"
        return self.sizes.argument(column, name)

    def _tensor(self, column: Column, node: Node) -> str:
        """Return the text that makes a layer which is a parameter: `nn.Parameter(torch.…)`."""
        assert node.op is not None
        arguments = self.shapes.arguments[node.name]
        shape = arguments["shape"]
        written = ast.parse(self._argument(column, "shape", shape), mode="eval").body
        sizes = [*map(python.unparse, written.elts)] if isinstance(written, ast.Tuple) else []
        if len(sizes) != len(shape):
            sizes = [python.literal(size) for size in shape]
        start = initial_tensor(arguments.get("init", node.op.get("init")), ["1", *sizes])
        return f"nn.Parameter({start})"

    # --- calls of classes -------------------------------------------------------------------------

    def _call(self, column: Column, part: Unit) -> str:
        """Return the text that makes an instance of a class: `Bottleneck(256, 64)`."""
        child = self.network.constructor(part)
        self.layers.setdefault(part.path, self.reference(part.module))
        texts = []
        for name in child.positional():
            texts.append(self._passed(column, child, name))
        for name, default in child.keywords().items():
            text = self._passed(column, child, name)
            if text != default:
                texts.append(f"{name}={text}")
        self.extra[part.path] = [
            self._in_forward(column, *self._asked(column, child, name), name, as_float=as_float)
            for name, as_float in child.call_names.items()
        ]
        self._give(column, child)
        return python.call(self.network.class_names[id(child.plan)], texts)

    def _passed(self, column: Column, child: Constructor, name: str) -> str:
        values, candidates = self._asked(column, child, name)
        as_float = child.given_float(name)
        text = self.numbers.solve(column, values, candidates, name, as_float=as_float)
        if name in child.size_of:
            child.asked.setdefault(name, set()).add((id(self.plan), text))
        return text

    def _asked(
        self, column: Column, child: Constructor, name: str
    ) -> tuple[list[Any], list[str]]:
        """Return the values of a name of an inner class, and texts that may spell them here."""
        units = [part for part in column.parts if isinstance(part, Unit)]
        values = [child.numbers.known[unit][name] for unit in units]
        given = child.numbers.given[name]
        match given.source:
            case "size":
                k, axis = child.size_of[name]
                texts = self.sizes.of.get(list(units[0].inputs)[k], ())
                known = list(texts[axis]) if axis < len(texts) else []
                # An input may be as wide as the block makes its output.
                return values, known + [text for _, text in units[0].instance.texts]
            case "own":
                found = [dict(unit.instance.texts).get(name) for unit in units]
                return values, [text for text in dict.fromkeys(found) if text]
            case "outer":
                return values, [name]
        return values, [given.texts[unit] for unit in units if unit in given.texts]

    def _give(self, column: Column, child: Constructor) -> None:
        """Carry sizes through a call: what the inner class says of them, in the names of this."""
        assert isinstance(column.first, Unit)
        for ref, texts in zip(column.first.outputs, child.outputs, strict=True):
            found: Texts = tuple(
                tuple(t for text in axis if (t := self._translated(column, child, text)))
                for axis in texts
            )
            self.sizes.give(column, ref, found)

    def _translated(self, column: Column, child: Constructor, text: str) -> str | None:
        names: dict[str, str] = {}
        for name in names_in(text):
            spelt = self.numbers.trying(lambda name=name: self._spelt(column, child, name))
            if spelt is None:
                return None
            names[name] = spelt
        return substitute(text, names)

    def _spelt(self, column: Column, child: Constructor, name: str) -> str:
        before = dict(self.numbers.contexts)
        values, candidates = self._asked(column, child, name)
        whole = Column(column.parts, column.numbers, column.units, column.turn)
        try:
            return self.numbers.solve(whole, values, candidates, name, strict=True)
        finally:
            self.numbers.contexts = before

    # --- chains, repeats and loops ------------------------------------------------------------------

    def _chain(self, column: Column, part: Unit) -> str:
        """Return the text of an `nn.Sequential`."""
        self.layers[part.path] = self.reference(part.module)
        names = [relative(p.module, part.module) for p in part.parts]
        self._placed(column, "index" if is_counted(names) else "names")
        if part.instance.kind == "repeat":
            return sequential(names, self._copies(column))
        elements = []
        for k in range(len(part.parts)):
            text = self.text(_inside(column, k))
            assert text is not None
            elements.append(Element(text))
        return sequential(names, elements)

    def _loop(self, column: Column) -> tuple[str, str]:
        """Return how a loop reads its copies, and the text of what holds them."""
        part = column.first
        assert isinstance(part, Unit)
        names = [relative(copy.module, part.module) for copy in part.loop.copies]
        here = self.reference(part.module)
        if not names[0]:  # one module, called several times
            self.layers[part.path] = here
            return here, self._shared(column)
        place: Place = "index" if is_counted(names) else "dict"
        self._placed(column, place)
        elements = self._copies(column)
        self.layers[part.path] = here if place == "index" else f"{here}.values()"
        text = sequence if place == "index" else mapping
        return self.layers[part.path], text(names, elements)

    def _shared(self, column: Column) -> str:
        """Return the text of the one module that all copies of a repeat are."""
        found = [
            (copy, {**known, "i": i}, unit)
            for repeat, known, unit in zip(
                column.parts, column.numbers, column.units, strict=True
            )
            if isinstance(repeat, Unit)
            for i, copy in enumerate(repeat.loop.copies)
        ]
        parts, numbers, units = map(list, zip(*found, strict=True))
        text = self.text(Column(parts, numbers, units, "i", forced=True))
        assert text is not None
        repeats = [repeat for repeat in column.parts if isinstance(repeat, Unit)]
        counts = [len(repeat.loop.copies) for repeat in repeats]
        spelt = [repeat.instance.count for repeat in repeats]
        self.turns[column.first.path] = self._in_forward(column, counts, spelt, "n")
        copy = repeats[0].loop.copies[0]
        given = copy.outputs[0] if isinstance(copy, Unit) else (copy.path, 0)
        for ref in repeats[0].outputs:
            self.sizes.give(column, ref, self.sizes.of.get(given, ()))
        return text

    def _placed(self, column: Column, place: Place) -> None:
        for part in column.parts:
            self.network.places.setdefault(part.module, place)

    def _copies(self, column: Column) -> list[Element]:
        """Return the texts of a repeat's copies, those that are alike as one."""
        from archgraph.module.copies import Copies

        return Copies.of_repeat(self, column).write()

    # --- parameters -------------------------------------------------------------------------------

    def _learnables(self, part: Layer) -> list[str]:
        """Return the parameters that scale what a layer reads."""
        statements = []
        for position, edge in enumerate(self.graph.edges_into(part.path)):
            learn = edge.scale.learn
            if learn is None or learn.name in self._learnt or edge.kind == "loss":
                continue
            group = self._listed(learn.name)
            self._learnt.update(group)
            path = relative(learn.name, self.unit.module)
            if len(group) > 1 or path.endswith(".0"):
                parent = path.rpartition(".")[0]
                self.network.places[_joined(self.unit.module, parent)] = "index"
                self._made.add(parent)
                texts = [self._start(*found) for found in map(self._found, group)]
                value = f"nn.ParameterList([{', '.join(texts)}])"
                statements += [*self._containers(parent), self._assign(parent, value)]
                continue
            value = f"nn.Parameter({self._start(part, position)})"
            statements += [*self._containers(path), self._assign(path, value)]
        return statements

    def _listed(self, name: str) -> list[str]:
        """Return the parameters of the list that one is in, itself if it is in none."""
        parent, _, number = name.rpartition(".")
        if not number.isdigit() or not parent:
            return [name]
        names = [
            e.scale.learn.name
            for p in self.unit.parts
            if isinstance(p, Layer)
            for e in self.graph.edges_into(p.path)
            if e.scale.learn is not None and e.scale.learn.name.rpartition(".")[0] == parent
        ]
        names = list(dict.fromkeys(names))
        return names if is_counted([n.rpartition(".")[2] for n in names]) else [name]

    def _found(self, name: str) -> tuple[Layer, int]:
        """Return where a learnable is first used: the layer, and which of its edges."""
        for part in self.unit.parts:
            if isinstance(part, Layer):
                for position, edge in enumerate(self.graph.edges_into(part.path)):
                    if edge.scale.learn is not None and edge.scale.learn.name == name:
                        return part, position
        raise KeyError(name)

    def _start(self, part: Layer, position: int) -> str:
        """Return the tensor that a learnable starts as."""
        column = self._column(part)
        edges = [self.graph.edges_into(p.path)[position] for p in column.parts]
        learn = edges[0].scale.learn
        assert learn is not None
        if learn.count is not None:
            return self._vector(column, learn.name)
        values = [edge.scale.value for edge in edges]
        spelt = [edge.scale.text for edge in edges]
        start = self.numbers.solve(column, values, spelt, learn.name.rpartition(".")[2],
                                   as_float=True)
        if learn.per == "all":
            return f"torch.tensor({start})"
        return self._per_channel(column, edges, start)

    def _vector(self, column: Column, name: str) -> str:
        """Return the tensor of the starts of one parameter that scales several terms."""
        starts: list[str] = []
        first = self.graph.edges_into(column.first.path)
        for position, edge in enumerate(first):
            if edge.scale.learn is None or edge.scale.learn.name != name:
                continue
            values = [self.graph.edges_into(p.path)[position].scale.value for p in column.parts]
            starts.append(self.numbers.solve(column, values, [edge.scale.text],
                                             f"start{len(starts)}", as_float=True))
        return f"torch.tensor([{', '.join(starts)}])"

    def _per_channel(self, column: Column, edges: Sequence[Edge], start: str) -> str:
        values = [self.shapes.element(e.source, e.element) for e in edges]
        value, edge = values[0], edges[0]
        assert value.channel_axis is not None
        texts = self.sizes.of.get((edge.source, edge.element), ())
        candidates = texts[value.channel_axis - 1] if texts else ()
        size = self.numbers.solve(column, [v.channels for v in values], candidates, "channels")
        sizes = [size, *("1" for _ in value.shape[value.channel_axis :])]
        if start in ("0.0", "1.0"):
            return python.call("torch.zeros" if start == "0.0" else "torch.ones", sizes)
        shape = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
        return f"torch.full({shape}, {start})"

    # --- where things are -------------------------------------------------------------------------

    def _gathered(self, path: str) -> list[str] | None:
        """Return the statement that makes a list of copies which no loop runs, at its first."""
        parent, _, name = path.rpartition(".")
        if name != "0" or not parent or parent in self._made:
            return None
        copies = [
            p
            for p in self.unit.parts
            if _holds(p) and relative(p.module, self.unit.module).startswith(f"{parent}.")
        ]
        names = [relative(relative(p.module, self.unit.module), parent) for p in copies]
        if not is_counted(names) or any(isinstance(p, Layer) and not p.is_held for p in copies):
            return None
        if any(p.manner == "parameter" for p in copies if isinstance(p, Layer)):
            return None
        self.network.places[_joined(self.unit.module, parent)] = "index"
        from archgraph.module.copies import Copies

        elements = Copies.of_parts(self, [self._column(p) for p in copies]).write()
        self._made.update(relative(p.module, self.unit.module) for p in copies)
        self._made.add(parent)
        return [*self._containers(parent), self._assign(parent, sequence(names, elements))]

    def _containers(self, path: str) -> list[str]:
        """Return the statements that make what a path goes through, where that is new."""
        parts = path.split(".")
        above = [".".join(parts[:i]) for i in range(1, len(parts))]
        new = [p for p in above if p not in self._made]
        self._made.update(new)
        return [self._assign(p, "nn.Module()") for p in new]

    def _assign(self, path: str, value: str) -> str:
        """Return the statement that puts a module or parameter at a path."""
        parent, _, name = path.rpartition(".")
        holder = self.reference(_joined(self.unit.module, parent))
        if is_plain(name):
            return f"{holder}.{name} = {value}"
        if value.startswith("nn.Parameter("):
            return f'{holder}.register_parameter("{name}", {value})'
        if self.network.places.get(_joined(self.unit.module, parent)) == "dict":
            return f'{holder}["{name}"] = {value}'
        return f'{holder}.add_module("{name}", {value})'

    def reference(self, path: str, what: str = "submodule") -> str:
        """Return how a module or parameter is read here, given its path in the network."""
        here, module = "self", self.unit.module
        names = relative(path, module).split(".") if path != module else []
        for k, name in enumerate(names):
            way = self.network.places.get(module, "names")
            module = _joined(module, name)
            if way == "index" and name.isdigit():
                here = f"{here}[{name}]"
            elif way == "dict":
                here = f'{here}["{name}"]'
            elif is_plain(name):
                here = f"{here}.{name}"
            else:
                return f'{here}.get_{what}("{".".join(names[k:])}")'
        return here

    def parameter(self, name: str) -> str:
        """Return how a parameter is read here."""
        module, _, last = name.rpartition(".")
        if is_plain(last):
            return f"{self.reference(module) if module else 'self'}.{last}"
        return self.reference(name, "parameter")

    # --- numbers in forward -----------------------------------------------------------------------

    def _note_numbers(self) -> None:
        """Find the texts of what `forward` multiplies by, so that it can be kept."""
        for part in self.unit.parts:
            if isinstance(part, Layer):
                column = self._column(part)
                for position, edge in enumerate(self.graph.edges_into(part.path)):
                    if edge.kind != "loss":
                        self._scales[edge.id] = self._scale(column, position)
                self._note_free(column, part)

    def scale(self, edge: Edge) -> str | None:
        """Return the text of an edge's λ in `forward`; None for a 1 that is no param."""
        return self._scales[edge.id]

    def free(self, node: Node) -> dict[str, Any]:
        """Return the arguments of a tensor expression as `forward` writes them."""
        found = dict(self.shapes.arguments[node.name])
        found.update({k: v for (name, k), v in self._free.items() if name == node.name})
        return found

    def _scale(self, column: Column, position: int) -> str | None:
        scales = [self.graph.edges_into(p.path)[position].scale for p in column.parts]
        learn = scales[0].learn
        if learn is not None:
            text = self.parameter(learn.name)
            return text if learn.index is None else f"{text}[{learn.index}]"
        spelt = [scale.text for scale in scales]
        if scales[0].text is None and all(scale.is_one for scale in scales):
            return None
        values = [scale.value for scale in scales]
        text = self._in_forward(column, values, spelt, "scale", as_float=True)
        return None if text == "1.0" and all(scale.is_one for scale in scales) else text

    def _note_free(self, column: Column, part: Layer) -> None:
        for name in free_arguments(part):
            values = [self.shapes.arguments[p.path].get(name) for p in column.parts]
            if all(value == values[0] for value in values) or None in values:
                continue
            assert part.node.op is not None
            spelt = [dict(p.node.op.expressions).get(name) for p in column.parts
                     if isinstance(p, Layer) and p.node.op is not None]
            if isinstance(values[0], tuple):
                texts = [
                    self._in_forward(column, [value[k] for value in values], [], f"size{k}")
                    for k in range(len(values[0]))
                ]
                self._free[part.path, name] = tuple(map(python.Code, texts))
            else:
                text = self._in_forward(column, values, spelt, name)
                self._free[part.path, name] = python.Code(text)

    def _in_forward(
        self,
        column: Column,
        values: Sequence[Any],
        candidates: Iterable[str | None],
        name: str,
        *,
        as_float: bool = False,
    ) -> str:
        """Return a text that `forward` may use: names are attributes, or arguments of the call."""
        before = dict(self.numbers.contexts)
        text = self.numbers.solve(column, values, candidates, name, as_float=as_float)
        names = {}
        for used in names_in(text):
            if used == "i" and column.turn == "i":
                continue
            if self._varies(used):
                self.call_names[used] = self.call_names.get(used, True) and as_float
                if used not in before:
                    self.numbers.contexts.pop(used, None)
                continue
            self._kept.setdefault(used)
            names[used] = f"self.{self._attribute(used)}"
        return substitute(text, names) if names else text

    def _attribute(self, name: str) -> str:
        held = {relative(p.module, self.unit.module).partition(".")[0] for p in self.unit.parts}
        return f"{name}_" if name in held else attribute(name)

    def _varies(self, name: str) -> bool:
        """Whether a number differs between the calls of one module."""
        if not self.plan.shared:
            return False
        seen: dict[str, Any] = {}
        return any(
            seen.setdefault(unit.module, self.numbers.known[unit][name])
            != self.numbers.known[unit][name]
            for unit in self.plan.units
        )

    # --- the signature ----------------------------------------------------------------------------

    def used(self) -> list[str]:
        """Return the names that the constructor takes: sizes, extras, the block's own, the spec's."""
        order = ("size", "extra", "own", "outer")
        given = self.numbers.given
        names = [name for name in given if name in self.numbers.contexts]
        return sorted(names, key=lambda name: order.index(given[name].source))

    def positional(self) -> list[str]:
        """Return the arguments that a call gives by position."""
        return [name for name in self.used() if self.default(name) is None]

    def keywords(self) -> dict[str, str]:
        """Return the arguments that a call gives by name, with their defaults."""
        found = {name: self.default(name) for name in self.used()}
        return {name: default for name, default in found.items() if default is not None}

    def given_float(self, name: str) -> bool:
        """Whether an argument is annotated as a float."""
        return self.annotation(name) == "float"

    def annotation(self, name: str) -> str:
        """Return the type of an argument."""
        value = self.numbers.known[self.unit][name]
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "float" if whole and self.numbers.contexts[name] else _annotation(value)

    def call_annotation(self, name: str) -> str:
        """Return the type of a number that `forward` takes."""
        value = self.numbers.known[self.unit][name]
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "float" if whole and self.call_names[name] else _annotation(value)

    def is_spec_wide(self, name: str) -> bool:
        """Whether an argument is a param of the spec."""
        given = self.numbers.given[name]
        return given.source == "outer" and name in self.graph.params and name != "i"

    def default(self, name: str) -> str | None:
        """Return the text of an argument's default, None if it has none."""
        given = self.numbers.given[name]
        if given.source == "outer" and self.is_spec_wide(name):
            return self._literal(name, self.numbers.known[self.unit][name])
        if given.source != "own":
            return None
        after = [n for n in self.used() if self.numbers.given[n].source == "own"]
        after = after[after.index(name) + 1 :]
        if any(self._usual(other) is None for other in after):
            return None
        return self._usual(name)

    def _usual(self, name: str) -> str | None:
        """Return the value that calls leave out, else the more common one of a flag, else None."""
        values, left_out = [], []
        for unit in self.plan.units:
            value = self.numbers.known[unit][name]
            values.append(value)
            if name not in dict(unit.instance.texts):
                left_out.append(value)
        if left_out:
            same = all(value == left_out[0] for value in left_out)
            return self._literal(name, left_out[0]) if same else None
        flags = [value for value in values if isinstance(value, bool)]
        both = len(flags) == len(values) and len(set(flags)) > 1
        return self._literal(name, max(flags, key=flags.count)) if both else None

    def _literal(self, name: str, value: Any) -> str:
        return python.literal(float(value) if self.annotation(name) == "float" else value)


def _annotation(value: Any) -> str:
    """Return the type of a number that a constructor takes."""
    if isinstance(value, list | tuple):
        kinds = {_annotation(item) for item in value}
        return f"Sequence[{kinds.pop() if len(kinds) == 1 else 'float'}]"
    return type(value).__name__ if isinstance(value, bool | int | str) else "float"


def _inside(column: Column, k: int) -> Column:
    """Return the column of part `k` of a column of units."""
    parts = [part.parts[k] for part in column.parts if isinstance(part, Unit)]
    return Column(parts, column.numbers, column.units, column.turn)


def _holds(part: Part) -> bool:
    return part.is_held if isinstance(part, Layer) else True


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}".strip(".")


def _plain(name: str) -> str:
    return name if is_plain(name) else "input"




def spec_wide_sizes(plans: Sequence[Plan], network: Network) -> dict[int, dict[str, str]]:
    """Return by plan's identity the sizes that all callers give by params of the spec alone.

    The class knows these params too, so that it needs no argument for such a size.
    """
    found: dict[int, dict[str, str]] = {}
    for plan in reversed(plans):  # callers first
        for name, asked in network.done[id(plan)].asked.items():
            texts = {substitute(text, found.get(caller, {})) for caller, text in asked}
            names = names_in(next(iter(texts)))
            if len(texts) == 1 and names and set(names) <= set(network.graph.params):
                found.setdefault(id(plan), {})[name] = texts.pop()
    return found
