"""A layer's formula: `Op(arguments)(inputs)`, a bare `Op`, or an expression of layers."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from archgraph.errors import suggest
from archgraph.expression import FUNCTIONS, ExpressionError, evaluate_node, names_in, parse
from archgraph.ops.arguments import bind
from archgraph.ops.op import Op, OpCall, SizeExpression
from archgraph.spec.params import choose, named_op
from archgraph.spec.reader import FormulaReader
from archgraph.spec.template import REQUIRED, BlockCall, Template
from archgraph.spec.values import TENSOR_FUNCTIONS, Linear, Names

__all__ = ["Formula", "OpNames", "read_formula"]


class OpNames(Names, Protocol):
    """Names that may also be ops."""

    def op(self, name: str) -> Op | OpCall | Template | None:
        """Return the op or block called `name`, or the one that a param of that name stands for."""

    def op_names(self) -> Sequence[str]:
        """Return the names of all ops, for suggestions."""


@dataclass(frozen=True, slots=True)
class Formula:
    """What a formula says: an op or none, and what each port reads; no bases means the chain."""

    op: OpCall | BlockCall | None
    bases: Mapping[str, Linear] = field(default_factory=dict)


def read_formula(
    text: str, names: OpNames, layer: str
) -> tuple[Formula | None, list[ExpressionError]]:
    """Read one formula.

    Args:
        text: Such as `ReLU`, `Linear(64)(x)`, `ReLU()(F2 + lam*x1)`, `T*H + (1 - T)*x`.
        names: What its names mean.
        layer: The name of the layer that bears it.

    Returns:
        The formula, None if it could not be read, and every problem found, each located in `text`.
    """
    try:
        node = parse(text)
        return _Formula(text, names, layer).read(node)
    except ExpressionError as error:
        return None, [error]


class _Formula:
    def __init__(self, text: str, names: OpNames, layer: str) -> None:
        self._text, self._names, self._layer = text, names, layer
        self._reader = FormulaReader(text, names, layer)
        self._problems: list[ExpressionError] = []

    def read(self, node: ast.expr) -> tuple[Formula | None, list[ExpressionError]]:
        match node:
            case ast.Name() if self._is_op(node):
                return self._done(self._call(node, ast.Call(node, [], [])), {})
            case ast.Call(func=ast.Name(id=name)) if not _is_function(name):
                return self._done(self._call(node.func, node), {})
            case ast.Call(func=ast.Call(func=ast.Name() as name_node) as inner):
                call = self._call(name_node, inner)
                op = self._names.op(name_node.id)
                return self._done(call, self._bases(node, op) if op else {})
            case ast.IfExp():
                return self.read(choose(node, self._names.numbers))
        return self._done(None, {"input": self._reader.linear(node)})

    def _done(
        self, call: OpCall | BlockCall | None, bases: dict[str, Linear]
    ) -> tuple[Formula | None, list[ExpressionError]]:
        formula = None if self._problems else Formula(call, bases)
        return formula, self._problems

    def _is_op(self, node: ast.Name) -> bool:
        """Whether a bare name is an op: a layer of that name comes first, then params, then ops."""
        known = self._names.op(node.id) is not None
        if known and node.id == self._layer:
            return True  # a layer cannot read itself
        if node.id not in self._names.numbers and self._names.readings(node) is not None:
            return False
        if known:
            return True
        if node.id in self._names.numbers or not node.id[:1].isupper():
            return False
        self._unknown_op(node)
        return True

    def _unknown_op(self, node: ast.Name) -> None:
        close = suggest(node.id, [*self._names.op_names(), *self._names.names()])
        self._problems.append(
            ExpressionError.at(
                node,
                f"layer '{self._layer}' has unknown op '{node.id}'",
                help=f"did you mean '{close}'?" if close else None,
                code="unknown-op",
            )
        )

    def _call(self, name: ast.expr, call: ast.Call) -> OpCall | BlockCall | None:
        assert isinstance(name, ast.Name)
        op = self._names.op(name.id)
        if op is None:
            if not self._problems:
                self._unknown_op(name)
            return None
        if isinstance(op, Template):
            return self._block_call(op, call)
        if isinstance(op, OpCall):
            return self._op_call(op.op, name, call, dict(op.arguments))
        return self._op_call(op, name, call)

    def _block_call(self, block: Template, call: ast.Call) -> BlockCall | None:
        """Bind the arguments of a block: positional in the order of its params, then by name."""
        params = list(block.model.params)
        given: dict[str, ast.expr] = {}
        for name, value in zip(params, call.args, strict=False):
            given[name] = value
        if len(call.args) > len(params):
            self._problems.append(self._too_many(block.name, params, call))
        for keyword in call.keywords:
            self._by_name(block, keyword, given)
        missing = [n for n, d in block.model.params.items() if d == REQUIRED and n not in given]
        if missing:
            where: ast.AST = call if hasattr(call, "col_offset") else call.func
            message = f"block '{block.name}' needs {' and '.join(missing)}"
            hint = f"write: {block.name}({', '.join(f'{name}=…' for name in missing)})"
            self._problems.append(ExpressionError.at(where, message, help=hint, code="argument"))
        values = {name: self._param(block, value, call) for name, value in given.items()}
        texts = tuple((name, self._source(value)) for name, value in given.items())
        return None if self._problems else BlockCall(block, values, texts)

    def _too_many(self, block: str, params: list[str], call: ast.Call) -> ExpressionError:
        extra = call.args[len(params) :]
        takes = f"block '{block}' takes {len(params)} argument{'s' * (len(params) != 1)}"
        hint = f"its params are {', '.join(params)}" if params else "it has no params"
        if all(self._layers_in(argument) for argument in extra):
            kept = ", ".join(map(self._source, call.args[: len(params)]))
            hint = f"did you mean {block}({kept})({', '.join(map(self._source, extra))})?"
        message = f"{takes}, not {len(call.args)}"
        return ExpressionError.at(extra[0], message, help=hint, code="argument")

    def _layers_in(self, node: ast.expr) -> list[ast.Name]:
        parts = (part for part in ast.walk(node) if isinstance(part, ast.Name))
        return [part for part in parts if self._reads_layer(part)]

    def _by_name(self, block: Template, keyword: ast.keyword, given: dict[str, ast.expr]) -> None:
        name, params = keyword.arg, list(block.model.params)
        message, hint = None, None
        if name is None:
            message = "'**' is not allowed here"
        elif name not in params:
            close = suggest(name, params)
            message = f"block '{block.name}' has no param '{name}'"
            known = f"its params are {', '.join(params)}" if params else "it has no params"
            hint = f"did you mean '{close}'?" if close else known
        elif name in given:
            message = f"the param '{name}' is given twice"
        else:
            given[name] = keyword.value
        if message:
            error = ExpressionError.at(keyword, message, help=hint, code="argument")
            self._problems.append(error)

    def _param(self, block: Template, node: ast.expr, call: ast.Call) -> Any:
        """Return the value of a block's argument: a number, a list, text, or an op."""
        try:
            node = choose(node, self._names.numbers)
            op = named_op(node, self._names.numbers, self._names.op)
            if op is not None:
                return op
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and part.id == "cin":
                    message = "'cin' is known in the arguments of ops only"
                    help = (
                        f"use it inside '{block.name}', in an op's arguments, where it is the size "
                        "of that op's input; or write the number here"
                    )
                    raise ExpressionError.at(part, message, help=help)
                if isinstance(part, ast.Name) and self._reads_layer(part):
                    self._problems.append(self._wrong_bracket(block.name, part, call))
                    return None
            return evaluate_node(node, self._names.numbers)
        except ExpressionError as error:
            self._problems.append(error)
            return None

    def _op_call(
        self, op: Op, name: ast.Name, call: ast.Call, given: Mapping[str, Any] | None = None
    ) -> OpCall | None:
        """Bind the arguments of an op; those of a param that names a call come first."""
        positional = [self._argument(op, argument, call) for argument in call.args]
        keywords: dict[str, Any] = dict(given or {})
        nodes: dict[str, ast.expr] = {}
        for keyword in call.keywords:
            if keyword.arg is None:
                self._problems.append(ExpressionError.at(keyword, "'**' is not allowed here"))
                continue
            keywords[keyword.arg] = self._argument(op, keyword.value, call)
            nodes[keyword.arg] = keyword.value
        if self._problems:
            return None
        bound, problems = bind(op, positional, keywords)
        for problem in problems:
            where: ast.AST = call if hasattr(call, "col_offset") else name
            if isinstance(problem.argument, int) and problem.argument < len(call.args):
                where = call.args[problem.argument]
            elif isinstance(problem.argument, str):
                where = next((k for k in call.keywords if k.arg == problem.argument), where)
            self._problems.append(
                ExpressionError.at(where, problem.message, help=problem.help, code=problem.code)
            )
        if bound is None:
            return None
        return self._with_expressions(bound, call, nodes)

    def _with_expressions(
        self, bound: OpCall, call: ast.Call, keywords: Mapping[str, ast.expr]
    ) -> OpCall:
        """Keep the spec's own text of arguments that use names, for the source."""
        positional = [a.name for a in bound.op.arguments if not a.keyword_only]
        pairs: list[tuple[str, ast.expr]]
        pairs = [*zip(positional, call.args, strict=False), *keywords.items()]
        texts = []
        if bound.op.variadic is not None and call.args:
            listed = ", ".join(map(self._source, call.args))
            if any(n in self._names.numbers for item in call.args for n in names_in(item)):
                texts.append((bound.op.variadic, f"({listed},)"))
            pairs = [*keywords.items()]
        for name, node in pairs:
            if any(n in self._names.numbers for n in names_in(node)):
                texts.append((name, self._source(node)))
        return OpCall(bound.op, bound.arguments, tuple(texts))

    def _argument(self, op: Op, node: ast.expr, call: ast.Call) -> Any:
        try:
            names = names_in(node)
            for part in ast.walk(node) if not names <= self._names.numbers.keys() else ():
                if isinstance(part, ast.Name) and self._reads_layer(part):
                    self._problems.append(self._wrong_bracket(op.name, part, call))
                    return None
            if "cin" in names:
                return SizeExpression(
                    ast.unparse(_Substitute(self._names.numbers).visit(copy.deepcopy(node)))
                )
            return evaluate_node(node, self._names.numbers)
        except ExpressionError as error:
            self._problems.append(error)
            return None

    def _reads_layer(self, node: ast.Name) -> bool:
        if node.id in self._names.numbers or _is_function(node.id):
            return False
        return node.id in self._names.names()

    def _wrong_bracket(self, op: str, node: ast.Name, call: ast.Call) -> ExpressionError:
        inner = ", ".join(self._source(argument) for argument in call.args)
        return ExpressionError.at(
            node,
            f"'{node.id}' is a layer, and the first bracket holds the arguments of {op}",
            help=f"write: {op}()({inner})",
            code="wrong-bracket",
        )

    def _bases(self, node: ast.Call, op: Op | OpCall | Template) -> dict[str, Linear]:
        op = op.op if isinstance(op, OpCall) else op
        ports = list(op.ports if isinstance(op, Template) else (port.name for port in op.ports))
        bases: dict[str, Linear] = {}
        if not node.args and not node.keywords:
            message = "the second bracket is empty; leave it out, or say what it reads"
            self._problems.append(ExpressionError.at(node, message))
        if len(node.args) > len(ports):
            takes = f"{op.name} takes {len(ports)} input{'s' * (len(ports) != 1)}"
            listed = f" ({', '.join(ports)})" if ports else ""
            message = f"{takes}{listed}, not {len(node.args)}"
            hint = "concat(…) or a sum makes one of several" if len(ports) == 1 else None
            error = ExpressionError.at(node.args[len(ports)], message, help=hint, code="port")
            self._problems.append(error)
        named = [(keyword.arg, keyword) for keyword in node.keywords]
        for port, item in [*zip(ports, node.args, strict=False), *named]:
            if port not in ports:
                close = suggest(port or "", ports)
                known = f"its inputs are {', '.join(ports)}" if ports else "it has none"
                hint = f"did you mean '{close}'?" if close else known
                message = f"{op.name} has no input called '{port}'"
                self._problems.append(ExpressionError.at(item, message, help=hint, code="port"))
            elif port in bases:
                message = f"the input '{port}' is given twice"
                self._problems.append(ExpressionError.at(item, message, code="port"))
            else:
                self._read_port(bases, str(port), item)
        return bases

    def _read_port(self, bases: dict[str, Linear], port: str, item: ast.AST) -> None:
        value = item.value if isinstance(item, ast.keyword) else item
        assert isinstance(value, ast.expr)
        try:
            bases[port] = self._reader.linear(value)
        except ExpressionError as error:
            self._problems.append(error)

    def _source(self, node: ast.AST) -> str:
        start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", None)
        return " ".join(self._text[start:end].split())


class _Substitute(ast.NodeTransformer):
    """Replaces names of numbers by their values, so that only `cin` is left to compute."""

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self._numbers = numbers

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._constant(self._numbers[node.id]) if node.id in self._numbers else node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return self._constant(node.value)

    def _constant(self, value: Any) -> ast.expr:
        if isinstance(value, Fraction):
            top, bottom = ast.Constant(value.numerator), ast.Constant(value.denominator)
            return ast.BinOp(top, ast.Div(), bottom)
        if isinstance(value, list | tuple):
            return ast.List([self._constant(item) for item in value], ast.Load())
        return ast.Constant(value)


def _is_function(name: str) -> bool:
    return name in FUNCTIONS or name in TENSOR_FUNCTIONS
