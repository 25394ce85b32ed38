"""Read the tensor side of a formula: numbers fold, names become readings, what is left is a sum."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from archgraph.expression import FUNCTIONS, ExpressionError, binary, evaluate_node, names_in
from archgraph.graph.records import ONE, Learnable, Scale
from archgraph.numbers import Number, as_number, format_number
from archgraph.spec.values import Concat, Linear, Names, Product, TensorTerm

__all__ = ["FormulaReader"]

Item: TypeAlias = Any  # a number, or a Linear


def _times(first: Scale, second: Scale, node: ast.AST) -> Scale:
    """Return the product of two numeric scales."""
    texts = [_operand_text(s) for s in (first, second) if not (s.is_one and s.text is None)]
    named = any(s.text for s in (first, second))
    value = first.value * second.value
    return Scale(value, None, "*".join(texts) if named else None)


def _operand_text(scale: Scale) -> str:
    text = scale.text or format_number(scale.value, 17)
    return f"({text})" if any(c in text.lstrip("-") for c in "+-<>= ") else text


class FormulaReader:
    """Evaluates one formula of one layer.

    Args:
        text: The formula, for the spelling of scales.
        names: What its names mean.
        layer: The layer's name, from which a learnable λ takes its default name.
    """

    def __init__(self, text: str, names: Names, layer: str) -> None:
        self._text, self._names, self._layer = text, names, layer
        self._learned: list[str] = []

    # --- entry points -------------------------------------------------------------------------

    def linear(self, node: ast.expr) -> Linear:
        """Return a tensor expression as a `Linear`.

        Raises:
            ExpressionError: a name is unknown, or the expression is not allowed, or no tensor.
        """
        value = self.item(node)
        if not isinstance(value, Linear):
            raise ExpressionError.at(node, f"'{self._source(node)}' reads no layer")
        return value

    def scale(self, node: ast.expr) -> Scale:
        """Return a scale: a number or `learn(…)`."""
        if isinstance(node, ast.Call) and _function_name(node) == "learn":
            return self._learn(node)
        value = as_number(self._number(node))
        if value is None:
            raise ExpressionError.at(
                node, f"'{self._source(node)}' is no number, as a scale must be"
            )
        return Scale(value, None, self._spelling(node))

    # --- the walk -----------------------------------------------------------------------------

    def item(self, node: ast.expr) -> Item:
        """Return the value of any sub-expression: a number, or a Linear."""
        match node:
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._name(node)
            case ast.BinOp():
                return self._binary(node)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self.item(operand)
                if isinstance(value, Linear):
                    return self._scaled(Scale(-1), value, node)
                return self._number(node)
            case ast.IfExp():
                return self.item(node.body if self._number(node.test) else node.orelse)
            case ast.Call():
                return self._call(node)
        return self._number(node)

    def _name(self, node: ast.expr) -> Item:
        read = self._names.readings(node)
        if read is None:
            return self._number(node)
        if len(read) != 1:
            raise ExpressionError.at(
                node,
                f"'{self._source(node)}' is {len(read)} values",
                help="put it in concat(…) or sum(…)",
            )
        return Linear((TensorTerm(read[0], node=node),))

    def _number(self, node: ast.expr) -> Any:
        known = names_in(node) <= self._names.numbers.keys()
        for part in ast.walk(node) if not known else ():
            if isinstance(part, ast.Name) and self._is_layer(part.id):
                message = f"'{part.id}' is a layer, and a number is wanted here"
                raise ExpressionError.at(part, message)
        return evaluate_node(node, _Numbers(self._names))

    def _is_layer(self, name: str) -> bool:
        return name not in self._names.numbers and name in self._names.names()

    def _source(self, node: ast.AST) -> str:
        start, end = getattr(node, "col_offset", 0), getattr(node, "end_col_offset", None)
        return " ".join(self._text[start:end].split())[:80]

    def _spelling(self, node: ast.expr) -> str | None:
        named = any(name not in FUNCTIONS for name in names_in(node))
        return self._source(node) if named else None

    def _binary(self, node: ast.BinOp) -> Item:
        left, right = self._operand(node.left), self._operand(node.right)
        tensors = isinstance(left, Linear), isinstance(right, Linear)
        if not any(tensors):
            if isinstance(left, Scale) or isinstance(right, Scale):
                raise ExpressionError.at(node, "learn(…) multiplies a layer: learn(0.0)*x")
            return binary(node, left, right)
        match node.op:
            case ast.Add() | ast.Sub():
                return self._added(node, left, right)
            case ast.Mult() if all(tensors):
                return self._product(node, left, right)
            case ast.Mult():
                number, tensor = (right, left) if tensors[0] else (left, right)
                where = node.right if tensors[0] else node.left
                return self._scaled(self._coefficient(number, where), tensor, node)
            case ast.Div() if not tensors[1]:
                one = ast.copy_location(ast.Constant(1), node)
                ratio = binary(
                    ast.copy_location(ast.BinOp(one, ast.Div(), node.right), node), 1, right
                )
                spelled = self._spelling(node.right)
                text = f"1/({spelled})" if spelled else None
                return self._scaled(Scale(ratio, None, text), left, node)
        raise ExpressionError.at(
            node,
            f"'{self._source(node)}' is not allowed between layers",
            help="layers are added, subtracted, multiplied, and divided by numbers; "
            "anything else is an op of its own",
        )

    def _operand(self, node: ast.expr) -> Item:
        if isinstance(node, ast.Call) and _function_name(node) == "learn":
            return self._learn(node)
        return self.item(node)

    def _coefficient(self, value: Any, node: ast.expr) -> Scale:
        if isinstance(value, Scale):
            return value
        number = as_number(value)
        if number is None:
            kind = "a list" if isinstance(value, list) else "no number"
            message = f"'{self._source(node)}' is {kind}, and a scale is one number"
            raise ExpressionError.at(node, message)
        return Scale(number, None, self._spelling(node))

    def _added(self, node: ast.BinOp, left: Item, right: Item) -> Linear:
        sign = -1 if isinstance(node.op, ast.Sub) else 1
        terms: list[TensorTerm] = []
        constant: Number = 0
        for value, factor, where in ((left, 1, node.left), (right, sign, node.right)):
            if isinstance(value, Linear):
                # A difference of a sum keeps the sum whole: λ = −1 sits on one edge.
                signed = value if factor == 1 else self._scaled(Scale(-1), value, where)
                terms += signed.terms
                constant += signed.constant
            else:
                number = as_number(value)
                if number is None:
                    raise ExpressionError.at(where, f"'{self._source(where)}' is not a number")
                constant += factor * number
        return Linear(tuple(terms), constant)

    def _scaled(self, scale: Scale, value: Linear, node: ast.AST) -> Linear:
        if len(value.terms) == 1 and not (value.constant and scale.learn):
            term = value.terms[0]
            one_number = scale.learn is None and term.scale.learn is None
            if one_number or scale.is_one or term.scale.is_one:
                product = (
                    _times(scale, term.scale, node)
                    if one_number
                    else (scale if term.scale.is_one else term.scale)
                )
                return Linear((replace(term, scale=product),), value.constant * scale.value)
        # A sum, or a second factor beside a learnable one, becomes an inner merge.
        return Linear((TensorTerm(value, scale, node=node),))

    def _product(self, node: ast.BinOp, left: Linear, right: Linear) -> Linear:
        scale = ONE
        factors: list[Linear] = []
        for value in (left, right):
            term = value.terms[0]
            if len(value.terms) > 1 or value.constant or term.scale.learn:
                factors.append(value)
                continue
            scale = _times(scale, term.scale, node)
            if isinstance(term.value, Product):
                factors += term.value.factors
            else:
                factors.append(Linear((replace(term, scale=ONE),)))
        return Linear((TensorTerm(Product(tuple(factors)), scale, node=node),))

    # --- calls --------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Item:
        name = _function_name(node)
        if name == "concat":
            return self._concat(node)
        if name == "sum" and self._reads(node.args):
            return self._sum(node)
        if name == "mix":
            return self._mix(node)
        if name == "learn":
            raise ExpressionError.at(node, "learn(…) multiplies a layer: learn(0.0)*x")
        if name in FUNCTIONS:
            return self._number(node)
        shown = self._source(node.func)
        raise ExpressionError.at(
            node,
            f"'{shown}(…)' is not allowed inside an expression",
            help=f"one op per formula: give {shown} a layer of its own",
        )

    def _reads(self, nodes: Sequence[ast.expr]) -> bool:
        for node in nodes:
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and part.id not in self._names.numbers:
                    return part.id not in FUNCTIONS
        return False

    def _expanded(self, nodes: Sequence[ast.expr]) -> list[tuple[Linear, ast.expr]]:
        """Return each argument as a Linear, slices of copies as several."""
        found: list[tuple[Linear, ast.expr]] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                raise ExpressionError.at(node, "'*' is not needed: a slice gives all its values")
            if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
                read = self._names.readings(node)
                if read is not None:
                    found += [(Linear((TensorTerm(r, node=node),)), node) for r in read]
                    continue
            found.append((self.linear(node), node))
        return found

    def _concat(self, node: ast.Call) -> Linear:
        dim: int | None = None
        for keyword in node.keywords:
            value = self._number(keyword.value) if keyword.arg == "dim" else None
            if keyword.arg != "dim" or isinstance(value, bool) or not isinstance(value, int):
                raise ExpressionError.at(keyword, "concat takes values and dim=<whole number>")
            dim = value
        slots = tuple(linear for linear, _ in self._expanded(node.args))
        if not slots:
            raise ExpressionError.at(node, "concat of nothing")
        if len(slots) == 1:
            # Slices of copies may be empty; `concat(a)` as such is a slip.
            if not any(isinstance(part, ast.Subscript) for part in node.args):
                raise ExpressionError.at(node, "concat needs at least two values, not 1")
            return slots[0]
        return Linear((TensorTerm(Concat(slots, dim), node=node),))

    def _sum(self, node: ast.Call) -> Linear:
        if node.keywords:
            raise ExpressionError.at(node, "sum takes values only")
        parts = self._expanded(node.args)
        if not parts:
            raise ExpressionError.at(node, "sum of nothing")
        terms = tuple(term for linear, _ in parts for term in linear.terms)
        return Linear(terms, sum(linear.constant for linear, _ in parts))

    def _mix(self, node: ast.Call) -> Linear:
        """`mix(a, b, …, w)`: Σ_j w_j · x_j, where `w` may use `j`, the term's index."""
        if len(node.args) < 2 or node.keywords:
            raise ExpressionError.at(node, "mix takes values and then a weight: mix(a, b, 1/2)")
        *values, weight = node.args
        parts = self._expanded(values)
        terms: list[TensorTerm] = []
        for j, (linear, where) in enumerate(parts):
            inner = FormulaReader(self._text, _WithIndex(self._names, j), self._layer)
            scale = self._element(inner.scale(weight), j, len(parts), weight)
            scaled = self._scaled(scale, linear, where)
            if scaled.constant:
                raise ExpressionError.at(where, "a term of mix is a layer")
            terms += scaled.terms
        if not terms:
            raise ExpressionError.at(node, "mix of nothing")
        if isinstance(weight, ast.Call) and (learn := terms[0].scale.learn):
            self._note(learn.name, weight)
        return Linear(tuple(terms))

    def _element(self, scale: Scale, j: int, count: int, node: ast.expr) -> Scale:
        """Return a term's learnable weight as one element of the vector of all."""
        if scale.learn is None:
            return scale
        if scale.learn.per != "all":
            raise ExpressionError.at(node, "the weights of a mix are one vector, not per channel")
        if count == 1:
            return scale
        return replace(scale, learn=replace(scale.learn, index=j, count=count))

    def _learn(self, node: ast.Call) -> Scale:
        """`learn(init, per='channel', name='alpha')`: a learnable λ.

        The flat form also says `index` and `count`, where λ is an element of a vector.
        """
        keywords = {k.arg: self._number(k.value) for k in node.keywords}
        unknown = set(keywords) - {"per", "name", "init", "index", "count"}
        if unknown or len(node.args) > 1:
            raise ExpressionError.at(node, "learn takes a start value, per='channel' and name=…")
        start = self._number(node.args[0]) if node.args else keywords.get("init", 0)
        number = as_number(start)
        if number is None:
            raise ExpressionError.at(node, "the start of a learnable scale is a number")
        per = keywords.get("per", "all")
        if per not in ("all", "channel"):
            raise ExpressionError.at(node, f"per is 'channel' or 'all', not {per!r}")
        index, count = keywords.get("index"), keywords.get("count")
        if not all(isinstance(value, int | None) for value in (index, count)):
            raise ExpressionError.at(node, "index and count are whole numbers")
        name = keywords.get("name", f"{self._layer}_scale")
        try:
            path = self._names.parameter(name)
        except ExpressionError as error:
            raise ExpressionError.at(node, error.message, help=error.help) from None
        if index is None:
            self._note(path, node)
        return Scale(number, Learnable(path, per, index, count))

    def _note(self, path: str, node: ast.AST) -> None:
        if path in self._learned:
            name = path.rpartition(".")[2]
            raise ExpressionError.at(
                node,
                f"two learnable scales are called '{name}'",
                help="name them: learn(…, name='…')",
            )
        self._learned.append(path)


class _WithIndex:
    """Names in the weight of a `mix`, where `j` is the term's index."""

    def __init__(self, names: Names, j: int) -> None:
        self.numbers: Mapping[str, Any] = {**names.numbers, "j": j}
        self.readings, self.names, self.parameter = names.readings, names.names, names.parameter


class _Numbers(dict[str, Any]):
    """The numbers of a scope, where the name of a layer is explained rather than unknown."""

    def __init__(self, names: Names) -> None:
        super().__init__(names.numbers)
        self._names = names

    def __iter__(self) -> Any:
        yield from dict.fromkeys([*super().__iter__(), *self._names.names()])


def _function_name(node: ast.Call) -> str | None:
    return node.func.id if isinstance(node.func, ast.Name) else None
