"""Exact numbers from small expressions, and the bounded parser that every formula goes through.

Text becomes a Python `ast` only after its length and nesting were bounded, and is walked over a
whitelist; it is never evaluated by Python. Decimal literals are exact: ``0.1`` is 1/10.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, TypeAlias

from archgraph.numbers import Number, as_number, parse_decimal, simplified

__all__ = [
    "FUNCTIONS",
    "MAX_LENGTH",
    "ExpressionError",
    "Value",
    "evaluate",
    "evaluate_node",
    "names_in",
    "parse",
]

Value: TypeAlias = Any
"""A number, bool, str, None, a list or tuple of these, or whatever a caller's namespace holds."""

MAX_LENGTH: Final = 4000
MAX_DEPTH: Final = 60
MAX_BITS: Final = 4096


class ExpressionError(ValueError):
    """An expression is not allowed or has no value; `offset` and `length` locate it in the text."""

    def __init__(
        self,
        message: str,
        offset: int = 0,
        length: int = 1,
        *,
        help: str | None = None,
        code: str = "expression",
    ) -> None:
        super().__init__(message)
        self.message, self.offset, self.length = message, offset, length
        self.help, self.code = help, code

    @classmethod
    def at(
        cls, node: ast.AST, message: str, *, help: str | None = None, code: str = "expression"
    ) -> ExpressionError:
        """Return the error for `node`, which came from `parse`."""
        start = getattr(node, "col_offset", 0)
        end = getattr(node, "end_col_offset", None) or start + 1
        return cls(message, start, end - start, help=help, code=code)


def _exact_sqrt(x: Number) -> Number:
    if x < 0:
        raise ValueError("sqrt of a negative number")
    root = Fraction(math.isqrt(Fraction(x).numerator), math.isqrt(Fraction(x).denominator))
    return simplified(root) if root * root == x else math.sqrt(x)


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "int": int,
    "sqrt": _exact_sqrt,
    "len": len,
    "sum": sum,
}


def _bounded(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    depth = 0
    run = 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        run = run + 1 if character in "-+~ " else 0
        if depth > MAX_DEPTH or run > MAX_LENGTH // 8:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}", position)
    if len(re.findall(r"\bnot\b|\bif\b|\*\*|\blambda\b", text)) > MAX_DEPTH:
        raise ExpressionError(f"nested deeper than {MAX_DEPTH}")


@lru_cache(maxsize=4096)
def parse(text: str) -> ast.expr:
    """Parse one expression after bounding its size.

    Columns of the nodes count characters of `text`. The tree is shared with everyone who asks for
    the same text, as the copies of a block do: it must not be changed.

    Raises:
        ExpressionError: the text is too long, too deep, or not an expression.
    """
    _bounded(text)
    if not text.isascii() or any(c in text for c in "\n\r\t\f\0"):
        for position, character in enumerate(text):
            if character in "\n\r\t\f":
                text = text[:position] + " " + text[position + 1 :]
            elif ord(character) > 126 or ord(character) < 32:
                raise ExpressionError(f"character {character!r} is not allowed here", position)
    stripped = text.lstrip(" ")
    lead = len(text) - len(stripped)
    if not stripped:
        raise ExpressionError("an expression is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            # The parentheses let ast accept text that YAML folded over several lines.
            tree = ast.parse(f"({stripped}\n)", mode="eval").body
    except SyntaxError as error:
        column = (error.offset or 1) - 2 + lead if (error.lineno or 1) == 1 else len(text) - 1
        message = (error.msg or "invalid syntax").split(". Perhaps")[0]
        raise ExpressionError(message, min(max(column, 0), len(text) - 1)) from None
    except (RecursionError, MemoryError, ValueError) as error:
        raise ExpressionError(f"cannot be read: {type(error).__name__}") from None
    for node in ast.walk(tree):
        if hasattr(node, "col_offset"):
            node.col_offset += lead - 1
            node.end_col_offset += lead - 1  # type: ignore[attr-defined]
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            node.value = parse_decimal(text[node.col_offset : node.end_col_offset])  # type: ignore[assignment]
    return tree


_BINARY: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def binary(node: ast.BinOp, left: Value, right: Value) -> Number:
    """Apply an arithmetic operator to two numbers, exactly where both are exact."""
    a, b = _operand(node.left, left), _operand(node.right, right)
    try:
        if isinstance(node.op, ast.Div):
            quotient: Number = (
                a / b
                if isinstance(a, float) or isinstance(b, float)
                else (simplified(Fraction(a) / Fraction(b)))
            )
            return quotient
        if isinstance(node.op, ast.Pow):
            return _power(node, a, b)
        operation = _BINARY.get(type(node.op))
        if operation is None:
            raise ExpressionError.at(node, "this operator is not allowed")
        result: Number = simplified(operation(a, b))
    except ZeroDivisionError:
        raise ExpressionError.at(node, "division by zero") from None
    except OverflowError:
        raise ExpressionError.at(node, "the number is too large") from None
    return _check_size(node, result)


def _lists(node: ast.BinOp, left: Value, right: Value) -> list[Value]:
    """Join two lists, or repeat one a number of times."""
    match node.op, left, right:
        case ast.Add(), list(), list():
            items, count = left + right, 1
        case (ast.Mult(), list(), int()) | (ast.Mult(), int(), list()):
            items, count = (left, right) if isinstance(left, list) else (right, left)
        case _:
            message = "lists are joined by '+', and repeated by '*' and a whole number"
            raise ExpressionError.at(node, message)
    if len(items) * count > MAX_LENGTH:
        raise ExpressionError.at(node, f"a list of more than {MAX_LENGTH} items")
    return items * count


def _power(node: ast.BinOp, base: Number, exponent: Number) -> Number:
    exact = isinstance(exponent, int) and not isinstance(base, float)
    if exact:
        size = max(Fraction(base).numerator.bit_length(), Fraction(base).denominator.bit_length())
        if size * abs(int(exponent)) > MAX_BITS:
            raise ExpressionError.at(node, "the number is too large")
        return _check_size(node, simplified(Fraction(base) ** int(exponent)))
    result: float | complex = float(base) ** float(exponent)
    if isinstance(result, complex):
        raise ExpressionError.at(node, "a power of a negative number is not real")
    return result


def _check_size(node: ast.AST, value: Number) -> Number:
    if isinstance(value, int | Fraction):
        exact = Fraction(value)
        if max(exact.numerator.bit_length(), exact.denominator.bit_length()) > MAX_BITS:
            raise ExpressionError.at(node, "the number is too large")
    elif not math.isfinite(value):
        raise ExpressionError.at(node, "the number is not finite")
    return value


def _operand(node: ast.expr, value: Value) -> Number:
    number = as_number(int(value) if isinstance(value, bool) else value)
    if number is None:
        raise ExpressionError.at(node, f"{ast.unparse(node)!r} is not a number")
    return number


def evaluate(text: str, names: Mapping[str, Value]) -> Value:
    """Evaluate an expression of numbers.

    Args:
        text: Literals, names, ``+ - * / // % **``, comparisons, ``and or not``, ``a if c else b``,
            indexing, lists (``[1]*3 + [2]``), and calls of `FUNCTIONS`.
        names: What each name stands for.

    Raises:
        ExpressionError: a name is unknown, or something is not allowed or has no value.

    Example:
        >>> evaluate("2*k + 0.1", {"k": 3})
        Fraction(61, 10)
    """
    return evaluate_node(parse(text), names)


def names_in(node: ast.AST) -> frozenset[str]:
    """Return the names in a parsed expression; they are noted on the node, which must not change.

    Example:
        >>> sorted(names_in(parse("2*k + len(h)")))
        ['h', 'k', 'len']
    """
    found: frozenset[str] | None = getattr(node, "_names_in", None)
    if found is None:
        found = frozenset(part.id for part in ast.walk(node) if isinstance(part, ast.Name))
        node._names_in = found  # type: ignore[attr-defined]
    return found


def evaluate_node(node: ast.expr, names: Mapping[str, Value]) -> Value:
    """Evaluate a parsed expression; see `evaluate`."""
    match node:
        case ast.Constant(value=value):
            if isinstance(value, int | float | Fraction):
                return value if isinstance(value, bool) else _check_size(node, value)
            if value is None or isinstance(value, str):
                return value
            raise ExpressionError.at(node, "this literal is not allowed")
        case ast.Name(id=name):
            if name not in names:
                close = _close(name, names)
                message = f"there is no {name!r}"
                raise ExpressionError.at(node, message, help=close, code="unknown-name")
            return names[name]
        case ast.BinOp():
            left, right = evaluate_node(node.left, names), evaluate_node(node.right, names)
            lists = isinstance(left, list), isinstance(right, list)
            return _lists(node, left, right) if any(lists) else binary(node, left, right)
        case ast.UnaryOp():
            return _unary(node, evaluate_node(node.operand, names))
        case ast.BoolOp():
            return _boolean(node, names)
        case ast.Compare():
            return _compare(node, names)
        case ast.IfExp():
            chosen = node.body if evaluate_node(node.test, names) else node.orelse
            return evaluate_node(chosen, names)
        case ast.List() | ast.Tuple():
            items = [evaluate_node(item, names) for item in node.elts]
            return items if isinstance(node, ast.List) else tuple(items)
        case ast.Subscript():
            return _index(node, names)
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS and not node.keywords:
            return _call(node, name, [evaluate_node(item, names) for item in node.args])
    raise ExpressionError.at(node, f"'{ast.unparse(node)[:60]}' is not allowed here")


def _close(name: str, names: Mapping[str, Value]) -> str | None:
    from archgraph.errors import suggest

    close = suggest(name, names)
    return f"did you mean {close!r}?" if close else None


def _unary(node: ast.UnaryOp, value: Value) -> Value:
    if isinstance(node.op, ast.Not):
        return not value
    if isinstance(node.op, ast.Invert):
        raise ExpressionError.at(node, "'~' is not allowed here")
    number = _operand(node.operand, value)
    return -number if isinstance(node.op, ast.USub) else number


def _boolean(node: ast.BoolOp, names: Mapping[str, Value]) -> Value:
    stop_on = isinstance(node.op, ast.Or)
    value: Value = not stop_on
    for item in node.values:
        value = evaluate_node(item, names)
        if bool(value) is stop_on:
            break
    return value


def _compare(node: ast.Compare, names: Mapping[str, Value]) -> bool:
    left = evaluate_node(node.left, names)
    for operation, item in zip(node.ops, node.comparators, strict=True):
        right = evaluate_node(item, names)
        function = _COMPARE.get(type(operation))
        if function is None:
            raise ExpressionError.at(node, "only == != < <= > >= compare here")
        try:
            if not function(left, right):
                return False
        except TypeError:
            raise ExpressionError.at(node, "these two cannot be compared") from None
        left = right
    return True


def _index(node: ast.Subscript, names: Mapping[str, Value]) -> Value:
    sequence = evaluate_node(node.value, names)
    if not isinstance(sequence, list | tuple):
        raise ExpressionError.at(node.value, f"'{ast.unparse(node.value)}' is not a list")
    if isinstance(node.slice, ast.Slice):
        raise ExpressionError.at(node, "a list of numbers takes one index, no slice")
    position = evaluate_node(node.slice, names)
    literal = isinstance(node.slice, ast.UnaryOp)
    if isinstance(position, bool) or not isinstance(position, int):
        raise ExpressionError.at(node.slice, "an index is a whole number")
    if position < 0 and not literal:
        raise ExpressionError.at(
            node.slice, f"the index is {position}; a computed one may not wrap"
        )
    if not -len(sequence) <= position < len(sequence):
        raise ExpressionError.at(node, f"index {position} of a list of {len(sequence)}")
    return sequence[position]


def _call(node: ast.Call, name: str, values: list[Value]) -> Value:
    try:
        result = FUNCTIONS[name](*values)
    except (TypeError, ValueError, OverflowError) as error:
        raise ExpressionError.at(node, f"{name}(…) has no value: {error}") from None
    return simplified(result)
