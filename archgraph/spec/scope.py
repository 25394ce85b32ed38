"""What names mean inside one block instance, one group, or the whole network."""

from __future__ import annotations

import ast
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from archgraph.errors import Mark, suggest
from archgraph.expression import ExpressionError, evaluate_node, parse
from archgraph.ops.op import Op, OpCall
from archgraph.spec.document import Document
from archgraph.spec.model import EdgeModel, LayerModel
from archgraph.spec.template import Template
from archgraph.spec.tree import Scalar
from archgraph.spec.values import Reading

if TYPE_CHECKING:
    from archgraph.spec.expansion import Expansion

__all__ = ["Bound", "Path", "Scope"]

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Bound:
    """What a name stands for: a value, and what can be read from inside it."""

    reading: Reading | None
    """The value of the bare name; None while a repeat is still being made."""
    members: dict[str, Bound] = field(default_factory=dict)
    """Layers and outputs of a block or group, `sum` of a copy that is added."""
    copies: list[Bound] | None = None
    """The copies of a repeat, so far."""
    op: OpCall | None = None
    """The op that makes the value, if one layer does."""
    module: str | None = None
    """Path of the submodule, which `share` names."""


@dataclass
class Scope:
    """Names while one part of a spec is expanded.

    A block's scope sees the spec's params and its own; a group's also what its surroundings see.
    """

    expansion: Expansion
    document: Document
    path: Path
    """Where `layers` and `edges` stand in the document."""
    prefix: str
    """What the names of its nodes begin with: empty, or `layer1.0.`."""
    module: str
    """What the paths of its submodules begin with."""
    numbers: Mapping[str, Any]
    """Params, and `i` inside the keys of a repeated layer."""
    own_params: Container[str]
    """Names of the params of this very block, or of the spec."""
    layers: Mapping[str, LayerModel]
    edges: Sequence[EdgeModel]
    outer: Scope | None = None
    """For a group, its surroundings."""
    blocks: tuple[str, ...] = ()
    """Paths of the instances around it, its own last."""
    calls: tuple[str, ...] = ()
    """Names of the blocks that are being expanded, outermost first."""
    bound: dict[str, Bound] = field(default_factory=dict)
    """What stands above, by name."""
    current: str = ""
    """The layer that is being read."""
    key: str = "op"
    """The key of it whose text is being read."""

    copy: int | None = None
    """Which copy of a repeated layer is being read."""

    def taken(self, name: str) -> str | None:
        """Return what else bears a layer's name, if anything does."""
        if name in self.bound:
            return "an input"
        if name in self.own_params:
            return "a param"
        return None

    @property
    def place(self) -> Path:
        """Where the text that is being read stands."""
        return (*self.path, "layers", self.current, self.key)

    # --- as formulas see them -------------------------------------------------------------------

    def names(self) -> Sequence[str]:
        """See `values.Names.names`."""
        outer = self.outer.names() if self.outer is not None else ()
        return [*self.bound, *(n for n in self.layers if n not in self.bound), *outer]

    def op(self, name: str) -> Op | OpCall | Template | None:
        """See `formula.OpNames.op`."""
        value = self.numbers.get(name)
        if value is not None:
            return value if isinstance(value, Op | OpCall | Template) else None
        return self.expansion.op(name)

    def op_names(self) -> Sequence[str]:
        """See `formula.OpNames.op_names`."""
        return self.expansion.op_names()

    def parameter(self, name: str) -> str:
        """See `values.Names.parameter`."""
        return self.expansion.parameter_path(self, name)

    def readings(self, node: ast.expr) -> list[Reading] | None:
        """See `values.Names.readings`."""
        found = self._resolve(node)
        if found is None:
            return None
        if isinstance(found, list):
            return [self._value(bound, node) for bound in found]
        return [self._value(found, node)]

    def _value(self, bound: Bound, node: ast.AST) -> Reading:
        if bound.reading is None:
            self._forward(ast.unparse(node), node)
            return Reading("")
        return bound.reading

    # --- the walk -------------------------------------------------------------------------------

    def _resolve(self, node: ast.expr) -> Bound | list[Bound] | None:
        match node:
            case ast.Name(id=name):
                return self._named(name, node)
            case ast.Attribute(value=value, attr=name):
                base = self._resolve(value)
                return None if base is None else self._member(base, name, node, value)
            case ast.Subscript(value=value, slice=index):
                base = self._resolve(value)
                if base is None:
                    return None
                if isinstance(base, list):
                    raise ExpressionError.at(node, "a slice of a slice is not allowed")
                return self._subscript(base, index, node, value)
        return None

    def _named(self, name: str, node: ast.AST) -> Bound | None:
        if name in self.bound:
            bound = self.bound[name]
            if bound.reading is None and bound.copies is None:
                return self._forward(name, node)
            return bound
        if name in self.layers and name not in self.numbers:
            return self._forward(name, node)
        if self.outer is not None and name not in self.numbers:
            return self.outer._seen_from_group(name, node, self)
        return None

    def _seen_from_group(self, name: str, node: ast.AST, group: Scope) -> Bound | None:
        """Look a name up for a group, in whose text a forward reading is then marked."""
        if name in self.bound:
            bound = self.bound[name]
            return (
                bound if bound.reading or bound.copies is not None else group._forward(name, node)
            )
        if name in self.layers:
            return group._forward(name, node)
        return None if self.outer is None else self.outer._seen_from_group(name, node, group)

    def _forward(self, name: str, node: ast.AST) -> Bound:
        """Note a reading of what does not stand above; whether it is a cycle shows at the end."""
        tree = self.document.tree(self.place)
        offset, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", 1)
        mark = tree.at(offset, end - offset) if isinstance(tree, Scalar) else tree.mark
        self.forward_reading(name, mark)
        return Bound(Reading(self.prefix + name))

    def forward_reading(self, name: str, mark: Mark) -> None:
        """Note that the current layer reads `name`, which does not stand above it."""
        if self.outer is not None and name not in self.layers:
            self.outer.forward_reading(name, mark)
            return
        reader = self.prefix + self.current
        self.expansion.forward_reads.append((reader, self.prefix + name, mark))

    def _member(
        self, base: Bound | list[Bound], name: str, node: ast.AST, value: ast.expr
    ) -> Bound | list[Bound]:
        if isinstance(base, list):
            return [self._one_member(bound, name, node, value) for bound in base]
        return self._one_member(base, name, node, value)

    def _one_member(self, base: Bound, name: str, node: ast.AST, value: ast.expr) -> Bound:
        found = base.members.get(name)
        if found is not None:
            return found
        shown = ast.unparse(value)
        close = suggest(name, base.members)
        inside = ", ".join(base.members) if len(base.members) < 12 else None
        known = f"there are: {inside}" if inside else None
        if base.copies is not None:
            known = f"it is repeated; a copy is {shown}[0]"
        raise ExpressionError.at(
            node,
            f"there is no '{name}' in '{shown}'",
            help=f"did you mean '{close}'?" if close else known,
            code="unknown-name",
        )

    def _subscript(
        self, base: Bound, index: ast.expr, node: ast.Subscript, value: ast.expr
    ) -> Bound | list[Bound]:
        if isinstance(index, ast.Constant) and isinstance(index.value, str):
            return self._one_member(base, index.value, node, value)
        if base.copies is not None:
            if isinstance(index, ast.Slice):
                return base.copies[slice(*self._bounds(index))]
            return self._copy(base.copies, self._whole(index), index, value)
        position = index.value if isinstance(index, ast.Constant) else self._whole(index)
        return self._element(base, node, position, value)

    def _bounds(self, index: ast.Slice) -> list[int | None]:
        return [
            None if part is None else self._whole(part)
            for part in (index.lower, index.upper, index.step)
        ]

    def _whole(self, index: ast.expr) -> int:
        value = evaluate_node(index, self.numbers)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ExpressionError.at(index, "an index is a whole number")
        names = any(isinstance(part, ast.Name) for part in ast.walk(index))
        if value < 0 and names:
            text = ast.unparse(index)
            raise ExpressionError.at(
                index,
                f"the index {text} is {value}; a computed one may not wrap",
                help=f"… if {text} >= 0 else …",
            )
        return value

    def _copy(self, copies: list[Bound], position: int, index: ast.expr, value: ast.expr) -> Bound:
        if -len(copies) <= position < len(copies):
            return copies[position]
        count = f"{len(copies)} cop{'y' if len(copies) == 1 else 'ies'}"
        raise ExpressionError.at(
            index,
            f"there is no copy {position} of '{ast.unparse(value)}', which has {count} here",
            help="a copy reads only the copies before it",
        )

    def _element(self, base: Bound, node: ast.AST, position: Any, value: ast.expr) -> Bound:
        if isinstance(position, bool) or not isinstance(position, int):
            raise ExpressionError.at(node, "an element is chosen by a whole number")
        call, reading = base.op, base.reading
        if (
            call is not None
            and reading is not None
            and (call.returns_tuple or call.op.origin in ("plugin", "opaque"))
        ):
            return Bound(Reading(reading.node, position), op=None)
        raise ExpressionError.at(
            node,
            f"'{ast.unparse(value)}' is one tensor, not several",
            help=f"Select(1, {position}) takes one position of an axis",
        )

    # --- as other texts see them: `from`, `of`, outputs, states ---------------------------------

    def reference(self, text: str, path: Path, forward: Path | None = None) -> Reading | None:
        """Return what a text reads: a layer's name, a path with dots, or what a formula may read.

        Reports the problem and returns None if it is no layer or input. A reading of what stands
        below is marked at `forward`, or at `path`.
        """
        try:
            bound = self._by_path(text)
            if bound is None:
                node = parse(text)
                found = None if isinstance(node, ast.Name) else self._resolve(node)
                bound = found if isinstance(found, Bound) else None
        except ExpressionError as error:
            self.expansion.add_expression(self, error, path)
            return None
        if bound is not None and bound.reading is not None:
            return bound.reading
        if text in self.layers:
            self.forward_reading(text, self.document.mark(forward or path))
            return Reading(self.prefix + text)
        close = suggest(text, self.names())
        self.expansion.add(
            "unknown-name",
            f"there is no layer or input '{text}'",
            self.document.mark(path),
            help=f"did you mean '{close}'?" if close else None,
        )
        return None

    def _by_path(self, text: str) -> Bound | None:
        """Return what `name`, `name[1]` or `layer1.0.out` stands for, name by name."""
        scope: Scope | None = self
        while scope is not None and not (found := _walk(scope.bound, text)):
            scope = scope.outer
        return found if scope is not None else None


def _walk(names: Mapping[str, Bound], text: str) -> Bound | None:
    if text in names:
        return names[text]
    if text.endswith("]"):  # a name with dots, in the flat form
        base, _, index = text[:-1].rpartition("[")
        bound = names.get(base)
        if bound is not None and index.isdigit() and bound.copies is None and bound.reading:
            return Bound(Reading(bound.reading.node, int(index)))
    head, dot, rest = text.partition(".")
    while dot:
        bound = names.get(head)
        if bound is not None:
            return _walk(bound.members, rest)
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None
