"""Texts of numbers: a spec's expressions as Python, put into each other, held against values."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from types import CodeType
from typing import Any, Final

from archgraph.expression import ExpressionError, as_number, evaluate_node, parse
from archgraph.module import text as python
from archgraph.module.names import RESERVED

__all__ = ["divide", "elements", "fit_line", "fits", "names_in", "substitute"]


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
        '4 * w // 2'
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
        text = python.unparse(_simplified(tree))
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


@lru_cache(maxsize=4096)
def names_in(text: str) -> tuple[str, ...]:
    """Return the names that an expression reads, functions left out, sorted."""
    called = set()
    names = set()
    for node in ast.walk(ast.parse(text.strip(), mode="eval")):
        if isinstance(node, ast.Call):
            called.add(node.func)
        if isinstance(node, ast.Name) and node not in called:
            names.add(node.id)
    return tuple(sorted(names))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body


def substitute(text: str, replacements: Mapping[str, str]) -> str:
    """Return an expression with other expressions in the place of names, simplified.

    Example:
        >>> substitute("4 * w", {"w": "2 * c"}), substitute("c * 2**i", {"i": "n - 1"})
        ('4 * (2 * c)', 'c * 2 ** (n - 1)')
        >>> substitute("c * 2**(i + 1)", {"i": "i - 1"}), substitute("4 * w", {"w": "64"})
        ('c * 2**i', '256')
        >>> substitute("2 if up and level > 0 else 1", {"up": "True"})
        '2 if level > 0 else 1'
    """
    if not set(names_in(text)) & set(replacements):
        return text
    trees = {name: _parsed(new) for name, new in replacements.items()}
    tree = ast.parse(text.strip(), mode="eval").body
    return python.unparse(_simplified(_Substitution(trees).visit(tree)))


def divide(text: str, parts: int) -> str:
    """Return an expression divided by a whole number.

    Example:
        >>> divide("3 * d", 3), divide("6 * d", 3), divide("2 * c", 3)
        ('d', '2 * d', '2 * c // 3')
    """
    tree = _parsed(text)
    left = _whole(tree.left) if isinstance(tree, ast.BinOp) else None
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult) and left is not None:
        if left == parts:
            return python.unparse(tree.right)
        if left % parts == 0:
            return f"{left // parts} * {python.bracket(python.unparse(tree.right), python.UNARY)}"
    return f"{python.bracket(text, python.PRODUCT)} // {parts}"


def elements(text: str | None, count: int) -> list[str | None]:
    """Return the texts of the elements of a tuple or list, of none if it is no such text.

    Example:
        >>> elements("(1, 2*w)", 2), elements("shape", 2)
        (['1', '2 * w'], [None, None])
    """
    tree = None if text is None else _parsed(text)
    if isinstance(tree, ast.Tuple | ast.List) and len(tree.elts) == count:
        return [*map(python.unparse, tree.elts)]
    return [None] * count


class _Substitution(ast.NodeTransformer):
    def __init__(self, replacements: Mapping[str, ast.expr]) -> None:
        self._replacements = replacements

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._replacements.get(node.id, node)


# --- simplification -------------------------------------------------------------------------------


def _simplified(tree: ast.expr) -> ast.expr:
    """Return an expression with its constants folded: `i - 1 + 1` is `i`, `4 * 64` is 256."""
    simple: ast.expr = _Folding().visit(tree)
    return simple


class _Folding(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        left, right = _whole(node.left), _whole(node.right)
        if left is not None and right is not None:
            return _fold(node, left, right)
        if isinstance(node.op, ast.Add | ast.Sub):
            return _fold_sum(node)
        if isinstance(node.op, ast.Mult | ast.FloorDiv | ast.Pow) and right == 1:
            return node.left
        return node.right if isinstance(node.op, ast.Mult) and left == 1 else node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        ends = isinstance(node.op, ast.Or)  # the value that decides it
        left = []
        for value in node.values:
            if not isinstance(value, ast.Constant):
                left.append(value)
            elif bool(value.value) is ends:
                left.append(value)
                break
        if not left:
            return node.values[-1]
        return left[0] if len(left) == 1 else ast.BoolOp(node.op, left)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant):
            return ast.Constant(not node.operand.value)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        index = _whole(node.slice)
        if isinstance(node.value, ast.Tuple | ast.List) and index is not None:
            items = node.value.elts
            return items[index] if -len(items) <= index < len(items) else node
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        left, right = _whole(node.left), _whole(node.comparators[-1])
        if len(node.ops) > 1 or left is None or right is None:
            return node
        try:
            return ast.Constant(bool(evaluate_node(node, {})))
        except ExpressionError:
            return node


def _whole(node: ast.expr) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _whole(node.operand)
        return None if inner is None else -inner
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _constant(value: int) -> ast.expr:
    if value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def _fold(node: ast.BinOp, left: int, right: int) -> ast.expr:
    match node.op:
        case ast.Add():
            return _constant(left + right)
        case ast.Sub():
            return _constant(left - right)
        case ast.Mult():
            return _constant(left * right)
        case ast.FloorDiv() if right:
            return _constant(left // right)
        case ast.Pow() if 0 <= right < 32 and abs(left) < 1024:
            return _constant(int(left**right))
    return node


def _fold_sum(node: ast.BinOp) -> ast.expr:
    """Gather the whole numbers of a sum at its end."""
    terms, constant = _terms(node, 1)
    terms = _uncancelled(terms)
    if len(terms) + bool(constant) >= _leaves(node):
        return node
    terms.sort(key=lambda term: -term[0])
    result: ast.expr | None = None
    if constant > 0 and terms and terms[0][0] < 0:
        result, constant = ast.Constant(constant), 0
    for sign, term in terms:
        if result is None:
            result = term if sign > 0 else ast.UnaryOp(ast.USub(), term)
        else:
            result = ast.BinOp(result, ast.Add() if sign > 0 else ast.Sub(), term)
    if result is None:
        return _constant(constant)
    if constant:
        kind = ast.Add() if constant > 0 else ast.Sub()
        result = ast.BinOp(result, kind, ast.Constant(abs(constant)))
    return result


def _terms(node: ast.expr, sign: int) -> tuple[list[tuple[int, ast.expr]], int]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        left, a = _terms(node.left, sign)
        right, b = _terms(node.right, sign if isinstance(node.op, ast.Add) else -sign)
        return left + right, a + b
    value = _whole(node)
    return ([], sign * value) if value is not None else ([(sign, node)], 0)


def _uncancelled(terms: list[tuple[int, ast.expr]]) -> list[tuple[int, ast.expr]]:
    left: list[tuple[int, ast.expr]] = []
    for sign, term in terms:
        text = ast.unparse(term)
        other = next(
            (k for k, (s, t) in enumerate(left) if s != sign and ast.unparse(t) == text), None
        )
        if other is None:
            left.append((sign, term))
        else:
            del left[other]
    return left


def _leaves(node: ast.expr) -> int:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        return _leaves(node.left) + _leaves(node.right)
    return 1


# --- fits -----------------------------------------------------------------------------------------


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
