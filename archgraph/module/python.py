"""A graph as the Python that a person would have written.

The text is put together from parts: `constructor` writes what a class holds, `forward` what it
does, `sizes` the numbers as expressions of the spec's params.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from archgraph.errors import SpecError, UsageError
from archgraph.graph import Graph, Node
from archgraph.module import text as python
from archgraph.module.alignment import aligned
from archgraph.module.classes import choose_names
from archgraph.module.constructor import Constructor
from archgraph.module.flow import Calls, flow_of
from archgraph.module.following import lost_in_structure
from archgraph.module.forward import Forward
from archgraph.module.grouping import plan_classes
from archgraph.module.names import RESERVED, Scope, class_name
from archgraph.module.network import Network
from archgraph.module.resets import Resets
from archgraph.module.shapes import infer
from archgraph.module.signature import annotation, spec_wide_sizes
from archgraph.module.values import Shapes, Value

__all__ = ["Emission", "emit", "source"]


def source(graph: Graph) -> str:
    """Return the network as Python source: one class, named attributes, plain expressions.

    The text needs torch, and archgraph only where one of its modules is used. The class takes the
    spec's params as keywords; `forward` takes the inputs in order and returns the output, or a
    tuple of several.

    Raises:
        SpecError: the shapes do not fit.
        UsageError: an op is a callable that no `import` finds, such as a lambda.

    Example:
        >>> from archgraph.graph import GraphBuilder
        >>> from archgraph.ops import parse_call
        >>> builder = GraphBuilder("toy")
        >>> x = builder.input("x", (8,))
        >>> fc = builder.layer("fc", parse_call("Linear(8)"), [x])
        >>> y = builder.layer("y", parse_call("ReLU"), [fc, x])
        >>> print(source(builder.build()).partition("def forward")[2])
        (self, x: Tensor) -> Tensor:
                return self.y(self.fc(x) + x)
        <BLANKLINE>
    """
    emission = emit(graph)
    if emission.bindings:
        name = next(iter(emission.binders))
        raise UsageError(
            f"the op of '{name}' is a callable that no import finds, so it has no source; "
            "compile() takes it as it is, or move it to a module of its own"
        )
    return emission.text


@dataclass(frozen=True)
class Emission:
    """A network's text, and what the text needs that it cannot import."""

    text: str
    class_name: str
    classes: tuple[str, ...] = ()
    """The names of all its classes, inner ones first."""
    bindings: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """By global name: a callable of the user."""
    binders: Mapping[str, str] = field(default_factory=dict)
    """By node: the global name of its callable."""


def emit(graph: Graph) -> Emission:
    """Return the text of a graph's module, and the callables that it is to be given.

    A callable that can be imported is imported; another is a global name of the generated module,
    which `compile` puts there. A user's `nn.Module` is copied, so that it stays as it is.

    Raises:
        SpecError: the shapes do not fit.
    """
    alike = aligned(graph)
    try:
        shapes = infer(alike)
    except SpecError:
        infer(graph)  # says it of the nodes that the user knows
        raise
    return _Emitter(alike, shapes).emit()


class _Emitter:
    def __init__(self, graph: Graph, shapes: Shapes) -> None:
        self.graph, self.shapes = graph, shapes
        ops = {node.op.name for node in graph.nodes if node.op is not None}
        name = class_name(graph.name)
        self.class_name = f"{name}Net" if name in ops else name
        self.root, self.plans, plan_of = plan_classes(graph, shapes)
        taken = {self.class_name, *ops, *RESERVED, *graph.params}
        self.classes = choose_names(self.plans[:-1], taken)
        self.classes[id(self.plans[-1])] = self.class_name
        self.globals = Scope({*self.classes.values(), *graph.params})
        self.imports: dict[str, set[str]] = {"torch": {"Tensor", "nn"}}
        self.bindings: dict[str, Callable[..., Any]] = {}
        self.binders: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self._imported: dict[str, str] = dict.fromkeys(self.classes.values(), "")
        """By name of a class: the module that it is imported from; empty for those made here."""
        self.network = Network(graph, shapes, plan_of, self.classes, self._name_of)

    def emit(self) -> Emission:
        held = self._write()
        while lost := self.network.lost | lost_in_structure(self.network, self.root):
            self.network.frozen |= lost
            held = self._write()
        resets = Resets(self.network, self.root)
        body: list[str] = []
        for plan, statements in zip(self.plans, held, strict=True):
            constructor = self.network.done[id(plan)]
            gap = ["", ""] if body else []
            body += [*gap, *self._class(constructor, statements, resets.write(constructor))]
        lines = [
            *(python.docstring(self.graph.about.split()) if self.graph.about else []),
            *([""] if self.graph.about else []),
            *self._imports("\n".join(body)),
            *self._bound(),
            "",
            "",
            *body,
        ]
        text = "\n".join(lines) + "\n"
        classes = tuple(self.classes[id(plan)] for plan in self.plans)
        return Emission(text, self.class_name, classes, self.bindings, self.binders)

    def _write(self) -> list[list[str]]:
        """Return the statements of every constructor, inner classes first."""
        self.network.sizes = {}
        held = self._write_once()
        self.network.sizes = spec_wide_sizes(self.plans, self.network)
        return self._write_once() if self.network.sizes else held

    def _write_once(self) -> list[list[str]]:
        self.network.lost.clear()
        self.network.followed.clear()
        self.network.done.clear()
        self.network.places.clear()
        held = []
        for plan in self.plans:
            constructor = Constructor(plan, self.network)
            self.network.done[id(plan)] = constructor
            held.append(constructor.write())
        return held

    def _class(self, constructor: Constructor, held: list[str], reset: list[str]) -> list[str]:
        lines = [*self._head(constructor), *self._constructor(constructor, held, bool(reset))]
        if reset:
            lines += ["", *_reset(reset)]
        if constructor.base != "nn.Sequential":
            lines += ["", *self._forward(constructor)]
        return lines

    # --- what is called what ----------------------------------------------------------------------

    def _name_of(self, node: Node) -> str:
        """Return how the class or callable of a node's op is called, and import it."""
        assert node.op is not None
        op = node.op.op
        if op.origin == "torch.nn":
            return f"nn.{op.name}"
        if op.origin == "archgraph":
            self.imports.setdefault("archgraph.nn", set()).add(op.name)
            return op.name
        assert op.function is not None
        known = self._names.get(id(op.function))
        if known is None:
            known = self._names[id(op.function)] = self._callable(node, op.function)
        if known in self.bindings:
            self.binders[node.name] = known
        return known

    def _callable(self, node: Node, function: Callable[..., Any]) -> str:
        name = getattr(function, "__name__", "")
        module = home(function)
        if module is not None and name not in RESERVED | {self.class_name}:
            chosen, number = name, 2
            while self._imported.setdefault(chosen, module) != module:
                chosen, number = f"{name}{number}", number + 1
            spelt = name if chosen == name else f"{name} as {chosen}"
            self.imports.setdefault(module, set()).add(spelt)
            return chosen
        stem = name if name.isidentifier() else f"{node.name}_function"
        stem = f"{node.name}_module" if isinstance(function, nn.Module) else stem
        chosen = self.globals.choose(stem)
        self.bindings[chosen] = function
        return chosen

    # --- parts of the text ----------------------------------------------------------------------

    def _imports(self, body: str) -> list[str]:
        plain = [name for name in ("copy", "math") if f"{name}." in body]
        froms = {m: n for m, n in self.imports.items() if not m.startswith("archgraph")}
        standard = [f"import {name}" for name in plain]
        if "OrderedDict(" in body:
            standard.append("from collections import OrderedDict")
        if "Sequence[" in body:
            standard.append("from collections.abc import Sequence")
        own = {m: n for m, n in self.imports.items() if m.startswith("archgraph")}
        third = ["import torch"] if "torch." in body else []
        third += [
            f"from {m} import {', '.join(_sorted(names))}" for m, names in sorted(froms.items())
        ]
        first = [f"from {m} import {', '.join(_sorted(names))}" for m, names in sorted(own.items())]
        blocks = [block for block in (standard, third, first) if block]
        return [line for i, block in enumerate(blocks) for line in ([""] if i else []) + block]

    def _bound(self) -> list[str]:
        if not self.bindings:
            return []
        names = ", ".join(self.bindings)
        return ["", f"# Given from outside, and no part of this text: {names}."]

    def _head(self, constructor: Constructor) -> list[str]:
        name = self.classes[id(constructor.plan)]
        if constructor.unit is self.root:
            takes = [f"{n.name} {_shown(self.shapes[n.name])}" for n in self.graph.inputs]
            returns = [f"{name} {_shown(self.shapes[node])}" for name, node in self.graph.outputs]
            words = [
                "Takes",
                *_listed(takes or ["nothing"], ";"),
                "returns",
                *_listed(returns, "."),
            ]
        else:
            words = (constructor.unit.instance.about or "").split()
        about = [*python.docstring(words, 4), ""] if words else []
        return [f"class {name}({constructor.base}):", *about]

    def _constructor(self, constructor: Constructor, held: list[str], reset: bool) -> list[str]:
        lines = [line for statement in held for line in python.layout(statement, 8)]
        return [
            *_definition("__init__", ["self", *constructor.signature.texts()], "None"),
            *lines,
            *(["        self.reset_parameters()"] if reset else []),
        ]

    def _forward(self, constructor: Constructor) -> list[str]:
        unit = constructor.unit
        imported = (name for names in self.imports.values() for name in names)
        used = {*self.bindings, *(name.rpartition(" as ")[2] for name in imported)}
        extra = constructor.used.arguments
        forward = Forward(
            flow_of(unit, self.graph, self.shapes),
            self.shapes,
            Calls(
                constructor.layers,
                constructor.optional,
                constructor.otherwise,
                constructor.calls.extra,
                constructor.turns,
                constructor.used,
                constructor.parameter,
            ),
            Scope({*self.classes.values(), *used}),
            list(extra),
        )
        arguments, statements = forward.write()
        several = len(unit.outputs)
        kind = f"tuple[{', '.join(['Tensor'] * several)}]" if several > 1 else "Tensor"
        typed = [f"{name}: Tensor" for name in arguments]
        known = constructor.numbers.known[unit]
        typed += [f"{n}: {annotation(known[n], as_float=only)}" for n, only in extra.items()]
        lines = (line for statement in statements for line in python.layout(statement, 8))
        return [*_definition("forward", ["self", *typed], kind), *lines]


def _definition(name: str, arguments: list[str], result: str) -> list[str]:
    line = f"    def {name}({', '.join(arguments)}) -> {result}:"
    if len(line) <= python.WIDTH:
        return [line]
    together = f"        {', '.join(arguments)}"
    inner = [together]
    if len(together) > python.WIDTH:
        inner = []
        for text in arguments:
            *lines, last = python.argument(text, 8)
            inner += [*lines, f"{last},"]
    return [f"    def {name}(", *inner, f"    ) -> {result}:"]


def _reset(statements: list[str]) -> list[str]:
    lines = ["    def reset_parameters(self) -> None:"]
    for statement in statements:
        inner = statement.lstrip()
        indent = 8 + len(statement) - len(inner)
        if inner.startswith("for ") and indent + len(inner) > python.WIDTH:
            layers = inner.removeprefix("for layer in (").removesuffix("):").split(", ")
            lines += [f"{' ' * indent}for layer in ("]
            lines += [f"{' ' * indent}    {layer}," for layer in layers]
            lines += [f"{' ' * indent}):"]
        elif inner.startswith("for "):
            lines.append(" " * indent + inner)
        else:
            lines += python.layout(inner, indent)
    return lines


def _listed(items: list[str], end: str) -> list[str]:
    return [*(f"{item}," for item in items[:-1]), items[-1] + end]


def _shown(value: Value) -> str:
    sizes = ", ".join(["batch" if value.batched else "1", *map(str, value.shape)])
    kind = "" if value.is_float else f" of {value.dtype}"
    return f"({sizes}){kind}"


def _sorted(names: set[str]) -> list[str]:
    """Sort names as import sorters do: constants, then classes, then the rest."""
    return sorted(names, key=lambda n: (not n.isupper(), not n[:1].isupper(), n))


def home(function: Callable[..., Any]) -> str | None:
    """Return the module from which an import gives this very object in any program, or None."""
    name, module = getattr(function, "__name__", ""), getattr(function, "__module__", None) or ""
    if not name.isidentifier() or module.startswith(("__main__", "archgraph_generated")):
        return None
    # The functions of torch call private modules their home.
    public = ("torch", "torch.nn.functional") if module.startswith("torch") or not module else ()
    for candidate in (*public, module):
        holder = sys.modules.get(candidate)
        if holder is not None and vars(holder).get(name) is function:
            return str(candidate)
    return None
