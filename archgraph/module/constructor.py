"""The body of a class's `__init__`: what it holds, and how the rest of the class reads it."""

from __future__ import annotations

import ast
from typing import Any, TypeGuard

from torch import nn

from archgraph.graph import Node
from archgraph.module import text as python
from archgraph.module.calls import InnerCalls
from archgraph.module.classes import Plan
from archgraph.module.columns import Column
from archgraph.module.containers import Element, is_counted, mapping, sequence, sequential
from archgraph.module.copies import Copies
from archgraph.module.expressions import names_in
from archgraph.module.factors import Factors
from archgraph.module.flow import input_node
from archgraph.module.hoisting import hoist
from archgraph.module.instances import place, usual_text
from archgraph.module.learnables import Learnables
from archgraph.module.names import RESERVED, is_plain
from archgraph.module.network import Network, Place
from archgraph.module.numbers import Numbers
from archgraph.module.signature import Signature
from archgraph.module.sizes import Sizes, Texts
from archgraph.module.units import Layer, Part, Unit, joined, relative
from archgraph.ops import Op, initial_tensor

__all__ = ["Constructor"]


class Constructor:
    """Writes what a class holds, and says how `forward` reads it."""

    def __init__(self, plan: Plan, network: Network) -> None:
        self.plan, self.network = plan, network
        self.graph, self.shapes = network.graph, network.shapes
        self.unit = plan.full
        self.numbers = Numbers(plan, network, {*RESERVED, *network.class_names.values(), "i"})
        self.sizes = Sizes(network, self.numbers)
        self.signature = Signature(plan, self.numbers, self.graph.params)
        self.used, self.calls = Factors(self), InnerCalls(self)
        self.base = "nn.Module"
        self.size_of: dict[str, tuple[int, int]] = {}
        """By name of a size: the input and the axis that it is read off."""
        self.layers: dict[str, str] = {}
        """By layer whose op is called, and by unit: the text that is called."""
        self.optional: dict[str, str] = {}
        """By merge that some instances lack: the condition, as `forward` reads it."""
        self.otherwise: dict[str, str] = {}
        """By part that may be None: the input that stands for it then, as its `forward` counts."""
        self.turns: dict[str, str] = {}
        """By loop that calls one module several times: how often."""
        self.outputs: list[Texts] = []
        """Sizes of what the class gives."""
        self._learnables = Learnables(self)
        self._made: set[str] = set()
        self._parts = {
            unit: {relative(part.path, unit.path): part for part in unit.parts}
            for unit in plan.units
        }

    # --- the whole --------------------------------------------------------------------------------

    def write(self) -> list[str]:
        """Return the statements of `__init__`, but for `reset_parameters()`."""
        self._inputs()
        self._choose_base()
        first, *statements = self._held()
        if self.unit.parent is None:
            statements += [f"{self.parameter(a)} = {self.parameter(b)}" for a, b in self.graph.ties]
        self.outputs = [self.sizes.of.get(ref, ()) for ref in self.unit.outputs]
        for part in self.unit.parts:
            if isinstance(part, Layer):
                self.used.note(self.column(part), part)
        kept = [f"self.{self.used.attribute(name)} = {name}" for name in self.used.kept]
        taken = {*self.numbers.given, *self.network.class_names.values(), *RESERVED}
        return hoist([first, *self._locals([first, *kept, *statements]), *kept, *statements], taken)

    def _locals(self, statements: list[str]) -> list[str]:
        """Return the statements that set the params which follow others, and forget what is unread.

        A name may have been tried and not be written.
        """
        written = {n.id for line in statements for n in ast.walk(ast.parse(line)) if _is_name(n)}
        numbers = self.numbers
        found: list[str] = []
        for name, text in reversed(numbers.locals.items()):
            if name in written:
                found.insert(0, f"{name} = {text}")
                written |= set(names_in(text))
                numbers.use(text, as_float=False)
        numbers.contexts = {n: f for n, f in numbers.contexts.items() if n in written}
        return found

    def _held(self) -> list[str]:
        if self.unit.instance.kind == "repeat" and self.unit.loop is not None:
            whole = self.numbers.column({unit: unit for unit in self.plan.units})
            return [f"super().__init__({self._loop(whole).partition('(')[2]}"]
        if self.base == "nn.Sequential" and self.network.places[self.unit.module] == "index":
            texts = [text for part in self.unit.parts if (text := self._member(part))]
            return [python.call("super().__init__", texts)]
        self._place_holders()
        self._survey()
        statements = [line for part in self.unit.parts for line in self._statements(part)]
        return ["super().__init__()", *statements]

    def _inputs(self) -> None:
        """Name the sizes of what the class reads."""
        for k, ref in enumerate(self.unit.inputs):
            shape = self.shapes.element(*ref).shape
            self.sizes.of[ref] = tuple(self._input_size(k, i) for i in range(len(shape)))

    def _input_size(self, k: int, i: int) -> tuple[str, ...]:
        units = self.plan.units
        values = [self.shapes.element(*list(unit.inputs)[k]) for unit in units]
        ref, name = list(self.unit.inputs.items())[k]
        size = values[0].shape[i]
        if self.unit.parent is None:
            spelt = self.graph.node(ref[0]).shape_texts
            column = self.numbers.column({self.unit: self.unit})
            return self.sizes.pick(column, [spelt[i] if spelt else str(size)], [size])
        axis = next((value.channel_axis for value in values if value.channel_axis), None)
        last = i == len(values[0].shape) - 1
        sizes = {unit: v.shape[i] for unit, v in zip(units, values, strict=True)}
        if axis != i + 1 and not last:
            return (str(size),) if len(set(sizes.values())) == 1 else ()
        stem = "in" if len(self.unit.inputs) == 1 else name if is_plain(name) else "input"
        chosen = f"{stem}_{'features' if last else 'channels'}"
        known = self.network.sizes.get(id(self.plan), {}).get(chosen)
        chosen = self.numbers.add(chosen, "size", sizes)
        axis_of = self.network.origins.axis
        inputs = {unit: list(unit.inputs)[k] for unit in units}
        self.numbers.given[chosen].origins = {u: axis_of(r, i) for u, r in inputs.items()}
        self.size_of[chosen] = (k, i)
        return (chosen if known is None else known,)

    def _survey(self) -> None:
        """Carry sizes through all parts, where a list is made before all that its copies read."""
        names = [relative(part.module, self.unit.module) for part in self.unit.parts]
        if any(name.endswith(".0") for name in names):
            before, lost = dict(self.numbers.contexts), set(self.network.lost)
            for part in self.unit.parts:
                self.text(self.column(part))
            self.numbers.contexts, self.network.lost = before, lost
            self.layers.clear()
            self.calls.extra.clear()

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

    # --- members ----------------------------------------------------------------------------------

    def column(self, part: Part) -> Column:
        """Return a part of the full unit in all units that have it."""
        name = relative(part.path, self.unit.path)
        return self.numbers.column(
            {unit: parts[name] for unit, parts in self._parts.items() if name in parts}
        )

    def _statements(self, part: Part) -> list[str]:
        """Return the statements that make one part, with what goes before it."""
        learnables = self._learnables.write(part) if isinstance(part, Layer) else []
        path = relative(part.module, self.unit.module)
        gathered = self._gathered(path) if _holds(part) else None
        made = path in self._made and gathered is None
        text = self._member(part)
        if text is None or made:
            return learnables
        return [*learnables, *(self.put(path, text) if gathered is None else gathered)]

    def _member(self, part: Part) -> str | None:
        """Return the text that makes one part, None if there is nothing to hold."""
        text = self.text(self.column(part))
        name = relative(part.path, self.unit.path)
        if name not in self.plan.optional:
            return text
        units = self.numbers.column({unit: unit for unit in self.plan.units})
        there = [name in self._parts[unit] for unit in self.plan.units]
        condition = self.plan.optional[name]
        of_text = self.network.origins.of_text
        origins = [(unit, of_text(unit.path, condition)) for unit in units.units]
        self.network.followed.update(joined(unit.path, name) for unit in units.units)
        if text is None:
            self.optional[part.path] = self.used.text(units, there, [condition], name, origins)
            return None
        condition = self.numbers.solve(units, there, [condition], name, origins)
        if name not in self.plan.otherwise:
            return f"{text} if {condition} else nn.Identity()"
        place = list(self.unit.inputs.values()).index(self.plan.otherwise[name])
        self.otherwise[part.path] = input_node(place)
        return f"{text} if {condition} else None"

    def text(self, column: Column) -> str | None:
        """Return the text that makes a part, and carry the sizes through it."""
        part = column.first
        if isinstance(part, Layer):
            return self._layer(column, part)
        if part.form == "class":
            self.layers.setdefault(part.path, self.reference(part.module))
            return self.calls.write(column, part)
        return self._chain(column, part) if part.form == "chain" else self._loop(column)

    # --- layers -----------------------------------------------------------------------------------

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

    def _build(self, column: Column, node: Node) -> str:
        """Return the text that makes a layer: `nn.Conv2d(3, 64, 7, stride=2)`."""
        assert node.op is not None
        name, op = self._op(column, node), node.op.op
        if op.origin == "opaque":
            return python.call("copy.deepcopy", [name])
        positional, keywords = place(op, self.shapes.arguments[node.name])
        if not op.signature and any(isinstance(value, bool | str) for _, value in positional):
            positional, keywords = [], {**dict(positional), **keywords}  # `nn.ReLU(inplace=True)`
        if op.variadic is None:
            texts = [self._argument(column, node, key, value) for key, value in positional]
        else:
            texts = [python.literal(value) for _, value in positional]
            of_arguments = self.network.origins.of_arguments
            self.numbers.lose(column.origins(lambda layer: of_arguments(layer.node)))
        for key, value in keywords.items():
            text = self._argument(column, node, key, value)
            if text != usual_text(op, key):
                texts.append(f"{key}={text}")
        return python.call(name, texts)

    def _op(self, column: Column, node: Node) -> str:
        """Return the class of a layer: an argument, where instances differ in it."""
        names = [self.network.name_of(p.node) for p in column.parts if isinstance(p, Layer)]
        if len(set(names)) == 1:
            return names[0]
        stem = self._op_param(node) or "activation"
        return self.numbers.solve(column, list(map(python.Code, names)), [stem], stem, ())

    def _op_param(self, node: Node) -> str | None:
        """Return the param of the block, or of one around it, that is the op of a layer."""
        unit: Unit | None = self.unit
        while unit is not None:
            for name, value in unit.instance.params:
                if value == _op_of(node):
                    return name
            unit = unit.parent
        return None

    def _argument(self, column: Column, node: Node, name: str, value: Any) -> str:
        argument = None if node.op is None else node.op.op.argument(name)
        if argument is not None and argument.type.startswith("tensor") and value is not None:
            return f"torch.tensor({python.literal(value)})"
        return self.sizes.argument(column, name)

    def _tensor(self, column: Column, node: Node) -> str:
        """Return the text that makes a layer which is a parameter: `nn.Parameter(torch.…)`."""
        assert node.op is not None
        arguments = self.shapes.arguments[node.name]
        shape = arguments["shape"]
        written = ast.parse(self._argument(column, node, "shape", shape), mode="eval").body
        sizes = [*map(python.unparse, written.elts)] if isinstance(written, ast.Tuple) else []
        if len(sizes) != len(shape):
            sizes = [python.literal(size) for size in shape]
        start = initial_tensor(arguments.get("init", node.op.get("init")), ["1", *sizes])
        return f"nn.Parameter({start})"

    # --- chains, repeats and loops ----------------------------------------------------------------

    def _chain(self, column: Column, part: Unit) -> str:
        """Return the text of an `nn.Sequential`."""
        self.layers[part.path] = self.reference(part.module)
        names = [relative(p.module, part.module) for p in part.parts]
        self._placed(column, "index" if is_counted(names) else "names")
        if part.instance.kind == "repeat":
            return sequential(names, Copies.of_repeat(self, column).write())
        elements = []
        for k in range(len(part.parts)):
            text = self.text(column.inside(k))
            assert text is not None
            elements.append(Element(text))
        return sequential(names, elements)

    def _loop(self, column: Column) -> str:
        """Return the text of what holds the copies that a loop runs."""
        part = column.first
        assert isinstance(part, Unit)
        names = [relative(copy.module, part.module) for copy in part.loop.copies]
        here = self.reference(part.module)
        if not names[0]:  # one module, called several times
            self.layers[part.path] = here
            return self._shared(column)
        counted = is_counted(names)
        self._placed(column, "index" if counted else "dict")
        self.layers[part.path] = here if counted else f"{here}.values()"
        elements = Copies.of_repeat(self, column).write()
        return sequence(elements) if counted else mapping(names, elements)

    def _shared(self, column: Column) -> str:
        """Return the text of the one module that all copies of a repeat are."""
        copies = Copies.of_repeat(self, column)
        repeats = [repeat for repeat in column.parts if isinstance(repeat, Unit)]
        counts = [len(repeat.loop.copies) for repeat in repeats]
        spelt = [repeat.instance.count for repeat in repeats]
        origins = column.origins(lambda part: self.network.origins.of_count(part.path))
        self.network.followed.update(repeat.path for repeat in repeats)
        self.turns[column.first.path] = self.used.text(column, counts, spelt, "n", origins)
        return copies.write_shared()

    def _placed(self, column: Column, place: Place) -> None:
        for part in column.parts:
            self.network.places.setdefault(part.module, place)

    def _gathered(self, path: str) -> list[str] | None:
        """Return the statement that makes a list of copies which no loop runs, at its first."""
        parent, _, name = path.rpartition(".")
        if name != "0" or not parent or parent in self._made:
            return None
        place = joined(self.unit.module, parent)
        copies = [p for p in self.unit.parts if _holds(p) and p.module.startswith(f"{place}.")]
        names = [relative(p.module, place) for p in copies]
        parameters = any(isinstance(p, Layer) and p.manner == "parameter" for p in copies)
        if not is_counted(names) or parameters:
            return None
        self.network.places[place] = "index"
        elements = Copies.of_parts(self, [self.column(p) for p in copies]).write()
        self._made.update(relative(p.module, self.unit.module) for p in copies)
        return self.put(parent, sequence(elements))

    # --- where things are -------------------------------------------------------------------------

    def put(self, path: str, value: str) -> list[str]:
        """Return the statements that put a module or parameter at a path of this class."""
        names = path.split(".")
        above = [".".join(names[:i]) for i in range(1, len(names))]
        new = [p for p in above if p not in self._made]
        self._made.update(new, [path])
        holders = [self._assign(p, f"nn.{self._holder(p)}()") for p in new]
        return [*holders, self._assign(path, value)]

    def _holder(self, path: str) -> str:
        """Return the class of what holds the layers below a path, if nothing else does."""
        found = self.network.places.get(joined(self.unit.module, path)) == "dict"
        return "ModuleDict" if found else "Module"

    def _place_holders(self) -> None:
        """Note which paths inside the class are read by key, since a name there is no attribute."""
        inside: dict[str, list[str]] = {}
        for part in self.unit.parts:
            if _holds(part):
                *above, last = relative(part.module, self.unit.module).split(".")
                for k, name in enumerate([*above, last][1:]):
                    inside.setdefault(".".join(above[: k + 1]), []).append(name)
        for path, found in inside.items():
            names = list(dict.fromkeys(found))
            taken = set(names) & {*dir(nn.ModuleDict)}
            if not all(map(is_plain, names)) and not is_counted(names) and not taken:
                self.network.places.setdefault(joined(self.unit.module, path), "dict")

    def _assign(self, path: str, value: str) -> str:
        parent, _, name = path.rpartition(".")
        place = joined(self.unit.module, parent)
        holder = self.reference(place)
        parameter = value.startswith("nn.Parameter(")
        if self.network.places.get(place) == "dict" and not parameter:
            return f'{holder}["{name}"] = {value}'
        if is_plain(name):
            return f"{holder}.{name} = {value}"
        if parameter:
            return f'{holder}.register_parameter("{name}", {value})'
        return f'{holder}.add_module("{name}", {value})'

    def reference(self, path: str) -> str:
        """Return how a module is read here, given its path in the network."""
        return self.network.reference(self.unit.module, path)

    def parameter(self, name: str) -> str:
        """Return how a parameter is read here, given its path in the network."""
        return self.network.parameter(self.unit.module, name)


def _op_of(node: Node) -> Op | None:
    return None if node.op is None else node.op.op


def _is_name(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)


def _holds(part: Part) -> bool:
    return part.is_held if isinstance(part, Layer) else True
