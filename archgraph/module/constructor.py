"""The body of `__init__` and of `reset_parameters`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from torch import nn

from archgraph.graph import Edge, Graph, Node, Scale
from archgraph.module import text as python
from archgraph.module.initialisers import matching_parameters
from archgraph.module.instances import place
from archgraph.module.names import attribute, is_plain, reference
from archgraph.module.sizes import SizeTexts, python_expression
from archgraph.module.values import Shapes
from archgraph.ops import OpCall
from archgraph.ops.rules import tensor_expression

__all__ = ["Constructor"]


@dataclass
class Constructor:
    """Writes what a class holds, and says how `forward` reads it."""

    graph: Graph
    shapes: Shapes
    sizes: SizeTexts
    name_of: Callable[[Node], str]
    """How the class or callable of a node's op is called in the code."""
    params: dict[str, str] = field(default_factory=dict)
    """By spec param that is used: its annotation."""
    layers: dict[str, str] = field(default_factory=dict)
    """By node whose op is called: the text that is called."""
    _kept: dict[str, None] = field(default_factory=dict)
    """Params that `forward` reads, so that they are attributes."""
    _learnt: set[str] = field(default_factory=set)
    _made: set[str] = field(default_factory=set)
    """Paths at which there is a module already."""

    def write(self) -> list[str]:
        """Return the statements after `super().__init__()`, but for `reset_parameters()`."""
        layers: list[str] = []
        for node in self.graph.nodes:
            layers += self._learnables(node)
            if node.op is None or is_expression(node, self.shapes):
                continue
            path = node.module or node.name
            function = node.op.op.function if node.op.op.origin == "opaque" else None
            if function is not None and not isinstance(function, nn.Module):
                self.layers[node.name] = self.name_of(node)
                continue
            self.layers[node.name] = reference(path)
            if path not in self._made:
                self._made.add(path)
                layers += [*self._containers(path), self._assign(path, self._build(node))]
        ties = [f"{self._parameter(a)} = {self._parameter(b)}" for a, b in self.graph.ties]
        for edge in self.graph.edges:
            if edge.kind != "loss":
                self.scale(edge)
        numbers = [f"self.{attribute(name)} = {name}" for name in self._kept]
        return [*numbers, *layers, *ties]

    def signature(self) -> list[str]:
        """Return the keyword arguments with their defaults, in the spec's order."""
        return [
            f"{name}: {self.params[name]} = {self._default(name, value)}"
            for name, value in self.graph.params.items()
            if name in self.params
        ]

    def _default(self, name: str, value: Any) -> str:
        if self.params[name] == "float":
            return python.literal(float(value))
        return python.literal(tuple(value) if isinstance(value, list) else value)

    # --- numbers --------------------------------------------------------------------------------

    def _use(self, text: str, *, as_float: bool = False) -> str:
        """Note which params a text uses, and return the text."""
        for node in ast.walk(ast.parse(text, mode="eval")):
            if isinstance(node, ast.Name) and node.id in self.sizes.params:
                value = self.sizes.params[node.id]
                wanted = "float" if as_float else _annotation(value)
                # A whole number that is a size somewhere stays one.
                if self.params.get(node.id) in (None, "float"):
                    self.params[node.id] = wanted
        return text

    def scale(self, edge: Edge) -> str | None:
        """Return the text of an edge's λ in `forward`; None for a 1 that is no param."""
        learn = edge.scale.learn
        if learn is not None:
            return reference(learn.name, "parameter")
        text = self._number(edge.scale)
        if text is None:
            return None if edge.scale.is_one else python.literal(float(edge.scale.value))
        tree = ast.parse(text, mode="eval").body
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in self.sizes.params:
                self._kept.setdefault(node.id)
                node.id = f"self.{attribute(node.id)}"
        return python.unparse(tree)

    def _number(self, scale: Scale) -> str | None:
        """Return the spec's own text of a λ, if Python gives it the same value."""
        if scale.text is None:
            return None
        text = python_expression(scale.text, float(scale.value), self.sizes.params)
        return None if text is None else self._use(text, as_float=True)

    # --- modules ----------------------------------------------------------------------------------

    def _build(self, node: Node) -> str:
        """Return the text that makes a layer: `nn.Conv2d(3, 64, 7, stride=2)`."""
        assert node.op is not None
        name, op = self.name_of(node), node.op.op
        if op.origin == "opaque":
            return python.call("copy.deepcopy", [name])
        arguments = self.shapes.arguments[node.name]
        positional, keywords = place(op, arguments)
        if op.variadic is None:
            texts = [self._argument(node, key, value) for key, value in positional]
        else:
            texts = [python.literal(value) for _, value in positional]
        texts += [f"{key}={self._argument(node, key, value)}" for key, value in keywords.items()]
        return python.call(name, texts)

    def _argument(self, node: Node, name: str, value: Any) -> str:
        assert node.op is not None
        argument = node.op.op.argument(name)
        if argument is not None and argument.type.startswith("tensor") and value is not None:
            return f"torch.tensor({python.literal(value)})"
        as_float = argument is not None and argument.type.startswith("float")
        return self._use(self.sizes.argument(node, name, value), as_float=as_float)

    def _learnables(self, node: Node) -> list[str]:
        """Return the parameters that scale what a node reads."""
        statements = []
        for edge in self.graph.edges_into(node.name):
            learn = edge.scale.learn
            if learn is None or learn.name in self._learnt or edge.kind == "loss":
                continue
            self._learnt.add(learn.name)
            start = python.literal(float(edge.scale.value))
            tensor = f"torch.tensor({start})"
            if learn.per == "channel":
                tensor = self._per_channel(edge, start)
            statement = self._assign(learn.name, f"nn.Parameter({tensor})")
            statements += [*self._containers(learn.name), statement]
        return statements

    def _per_channel(self, edge: Edge, start: str) -> str:
        value = self.shapes.element(edge.source, edge.element)
        assert value.channel_axis is not None
        size = str(value.channels)
        if edge.element == 0:
            size = self._use(self.sizes.channels(edge.source, value.channel_axis))
        sizes = [size, *("1" for _ in value.shape[value.channel_axis :])]
        if start in ("0.0", "1.0"):
            return python.call("torch.zeros" if start == "0.0" else "torch.ones", sizes)
        shape = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
        return f"torch.full({shape}, {start})"

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
        holder = reference(parent)
        if is_plain(name):
            return f"{holder}.{name} = {value}"
        method = "register_parameter" if value.startswith("nn.Parameter(") else "add_module"
        return f'{holder}.{method}("{name}", {value})'

    def _parameter(self, name: str) -> str:
        module, _, last = name.rpartition(".")
        return f"{reference(module)}.{last}"

    # --- initialisation ---------------------------------------------------------------------------

    def write_reset(self) -> list[str]:
        """Return the statements of `reset_parameters`, with loops as nested lines; maybe none."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for node in self.graph.nodes:
            starts = self._starts(node)
            if starts:
                path = node.module or node.name
                groups.setdefault(tuple(starts), []).append(reference(path))
        lines: list[str] = []
        for shared_starts, layers in groups.items():
            unique = list(dict.fromkeys(layers))
            if len(unique) == 1:
                lines += [start.replace("(layer.", f"({unique[0]}.", 1) for start in shared_starts]
            else:
                lines.append(f"for layer in ({', '.join(unique)}):")
                lines += [f"    {start}" for start in shared_starts]
        return lines

    def _starts(self, node: Node) -> list[str]:
        if node.op is None or node.module is None:
            return []
        chosen: dict[str, Any] = {}
        spec_wide = self.graph.init if node.op.op.weight_layer else ()
        for name, value in (*spec_wide, *node.init):
            for parameter in matching_parameters(self.shapes.parameters, node, name):
                chosen[parameter.removeprefix(f"{node.module}.")] = value
        return [_start(f"layer.{name}", value) for name, value in chosen.items()]


def is_expression(node: Node, shapes: Shapes) -> bool:
    """Whether a node's op is written as a tensor expression, without a module."""
    if node.op is None or node.op.op.origin != "archgraph":
        return False
    arguments = tuple(shapes.arguments[node.name].items())
    filled = OpCall(node.op.op, arguments)
    return tensor_expression(filled, {p.name: p.name for p in node.op.op.ports}) is not None


def _start(parameter: str, value: Any) -> str:
    """Return the statement that starts a parameter: `nn.init.zeros_(layer.bias)`."""
    if isinstance(value, OpCall):
        arguments = [f"{name}={python.literal(given)}" for name, given in value.arguments]
        return python.call(f"nn.init.{value.name}_", [parameter, *arguments])
    if value in (0, 1):
        return f"nn.init.{'ones' if value else 'zeros'}_({parameter})"
    return f"nn.init.constant_({parameter}, {python.literal(float(value))})"


def _annotation(value: Any) -> str:
    """Return the type of a param that a constructor takes."""
    if isinstance(value, list | tuple):
        kinds = {_annotation(item) for item in value}
        return f"Sequence[{kinds.pop() if len(kinds) == 1 else 'float'}]"
    if isinstance(value, bool | int | str):
        return type(value).__name__
    return "float" if isinstance(value, float | Fraction) else "object"
