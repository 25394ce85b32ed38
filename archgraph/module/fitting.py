"""Texts held against the values that they are to have."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from types import CodeType
from typing import Any, Final

from archgraph.expression import ExpressionError, evaluate_node, parse
from archgraph.module import text as python
from archgraph.module.expressions import names_in
from archgraph.module.folding import simplified
from archgraph.module.names import RESERVED
from archgraph.numbers import as_number

__all__ = ["fit_line", "fits"]


_FUNCTIONS: Final = {f.__name__: f for f in (abs, int, len, max, min, round, sum)}
"""What generated code may call in an expression."""


def fits(source: str, values: Sequence[Any], numbers: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a spec's expression as Python text, or None if it does not have these values.

    Exact division of a spec is `//` in Python where all values are whole. The text has the values
    when Python runs it, too: a whole number is an int and no float, as `6 * 2 ** (i - 1)` is at
    i = 0.

    Args:
        source: The expression.
        values: What it has to be.
        numbers: For each value, what the names stand for.

    Example:
        >>> fits("4*w/2", [8, 12], [{"w": 4}, {"w": 6}])
        '2 * w'
    """
    whole = all(isinstance(value, int) for value in values)
    found = _as_python(source, whole)
    if found is None:
        return None
    text, tree, names = found
    rows = set()
    for value, known in zip(values, numbers, strict=True):
        if any(name not in known for name in names):
            return None
        rows.add((value, isinstance(value, bool), *(known[name] for name in names)))
    for value, _, *given in rows:
        try:
            result = evaluate_node(tree, dict(zip(names, given, strict=True)))
        except ExpressionError:
            return None
        if not _same(result, value) or not _runs_to(
            text, dict(zip(names, given, strict=True)), value
        ):
            return None
    return text


def _runs_to(text: str, given: Mapping[str, Any], value: Any) -> bool:
    """Whether Python gives a value for a text that was bounded and evaluated exactly before."""
    known = {name: _in_python(number) for name, number in given.items()}
    try:
        found = eval(_compiled(text), {"__builtins__": _FUNCTIONS}, known)
    except (ArithmeticError, TypeError, ValueError):
        return False
    if isinstance(value, int) or isinstance(found, bool):
        return type(found) is type(value) and bool(found == value)
    if isinstance(found, int | float) and isinstance(value, float | Fraction):
        return math.isclose(found, value, rel_tol=1e-12)
    return bool(_in_python(found) == value)


def _in_python(number: Any) -> Any:
    """Return a number as generated code holds it."""
    if isinstance(number, tuple | list):
        return tuple(map(_in_python, number))
    if isinstance(number, Fraction):
        return number.numerator if number.denominator == 1 else float(number)
    return number


@lru_cache(maxsize=4096)
def _compiled(text: str) -> CodeType:
    return compile(text, "<expression>", "eval")


def _same(found: Any, value: Any) -> bool:
    if isinstance(value, bool) or isinstance(found, bool):
        return found is value
    if as_number(found) is None or as_number(value) is None:
        return bool(_in_python(found) == _in_python(value))
    return float(found) == float(value)


@lru_cache(maxsize=4096)
def _as_python(source: str, whole: bool) -> tuple[str, ast.expr, tuple[str, ...]] | None:
    """Return an expression as Python text, parsed again as a spec's, and the names in it."""
    try:
        parse(source)  # bounds its size
        tree = ast.parse(f"({source}\n)", mode="eval").body
        if whole:
            tree = _WholeDivision().visit(tree)
        text = python.unparse(simplified(tree))
        names = names_in(text)
        if not text.strip() or set(names) & (RESERVED | {"sqrt", "super"}):
            return None
        return text, parse(text), names
    except (ExpressionError, SyntaxError):
        return None


class _WholeDivision(ast.NodeTransformer):
    """Writes `/` as `//`, after all factors: `c * (w / 2)` may be whole where `w / 2` is not."""

    def __init__(self) -> None:
        self._made: set[ast.AST] = set()

    def visit_BinOp(self, node: ast.BinOp) -> ast.BinOp:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div | ast.Mult):
            return node
        (top, below), (factor, divisor) = self._ratio(node.left), self._ratio(node.right)
        if isinstance(node.op, ast.Div):
            factor, divisor = divisor, factor
        top, below = _product(top, factor), _product(below, divisor)
        if top is None or below is None:
            return node if below is None else self._ratio_of(ast.Constant(1), below)
        return self._ratio_of(top, below)

    def _ratio(self, node: ast.expr) -> tuple[ast.expr | None, ast.expr | None]:
        if isinstance(node, ast.BinOp) and node in self._made:
            return node.left, node.right
        return node, None

    def _ratio_of(self, top: ast.expr, below: ast.expr) -> ast.BinOp:
        made = ast.BinOp(top, ast.FloorDiv(), below)
        self._made.add(made)
        return made


def _product(left: ast.expr | None, right: ast.expr | None) -> ast.expr | None:
    if left is None or right is None:
        return left if right is None else right
    if isinstance(right, ast.BinOp) and isinstance(right.op, ast.Mult):
        return ast.BinOp(_product(left, right.left) or left, ast.Mult(), right.right)
    return ast.BinOp(left, ast.Mult(), right)


def fit_line(values: Sequence[Any], numbers: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a name, a multiple or a line through all values: `w`, `4 * w`, `64 + 32 * i`.

    A line that has a constant needs three different points.
    """
    if not values or not all(_is_int(value) for value in values):
        return None
    for name in numbers[0]:
        given = [known.get(name) for known in numbers]
        if not all(map(_is_int, given)) or len(set(given)) < 2:
            continue
        text = _line(name, values, [x for x in given if x is not None])
        if text is not None:
            return text
    return None


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _line(name: str, values: Sequence[int], given: Sequence[int]) -> str | None:
    (x, y), (u, v) = (
        (given[0], values[0]),
        next((g, w) for g, w in zip(given, values, strict=True) if g != given[0]),
    )
    slope = Fraction(v - y, u - x)
    constant = y - slope * x
    if slope.denominator != 1 or slope <= 0 or constant.denominator != 1:
        return None
    if any(slope * g + constant != w for g, w in zip(given, values, strict=True)):
        return None
    if constant and (len(set(given)) < 3 or constant < 0):
        return None
    term = name if slope == 1 else f"{slope} * {name}"
    return f"{constant} + {term}" if constant else term
