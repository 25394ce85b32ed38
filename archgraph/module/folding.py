"""Expressions made simpler: constants folded, sums gathered, conditions that are known decided."""

from __future__ import annotations

import ast

from archgraph.expression import ExpressionError, evaluate_node

__all__ = ["simplified", "whole_number"]


def simplified(tree: ast.expr) -> ast.expr:
    """Return an expression with its constants folded: `i - 1 + 1` is `i`, `4 * 64` is 256.

    Example:
        >>> for text in ("4 * c // 4", "6 * c // 3", "4 * c // 3", "2 * (3 * c)"):
        ...     print(ast.unparse(simplified(ast.parse(text, mode="eval").body)))
        c
        2 * c
        4 * c // 3
        6 * c
    """
    simple: ast.expr = _Folding().visit(tree)
    return simple


class _Folding(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        left, right = whole_number(node.left), whole_number(node.right)
        if left is not None and right is not None:
            return _fold(node, left, right)
        if isinstance(node.op, ast.Add | ast.Sub):
            return _fold_sum(node)
        if isinstance(node.op, ast.Mult | ast.FloorDiv | ast.Pow) and right == 1:
            return node.left
        if isinstance(node.op, ast.FloorDiv) and right is not None and right > 0:
            return _fold_quotient(node, right)
        if isinstance(node.op, ast.Mult) and left is not None:
            return node.right if left == 1 else _fold_product(node, left)
        return node

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
        index = whole_number(node.slice)
        if isinstance(node.value, ast.Tuple | ast.List) and index is not None:
            items = node.value.elts
            return items[index] if -len(items) <= index < len(items) else node
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        left, right = whole_number(node.left), whole_number(node.comparators[-1])
        if len(node.ops) > 1 or left is None or right is None:
            return node
        try:
            return ast.Constant(bool(evaluate_node(node, {})))
        except ExpressionError:
            return node


def whole_number(node: ast.expr) -> int | None:
    """Return the whole number that an expression is, or None."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = whole_number(node.operand)
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


def _fold_product(node: ast.BinOp, left: int) -> ast.expr:
    """Gather whole factors: `4 * (2 * c)` is `8 * c`."""
    inner = node.right
    if not isinstance(inner, ast.BinOp) or not isinstance(inner.op, ast.Mult):
        return node
    factor = whole_number(inner.left)
    return node if factor is None else ast.BinOp(_constant(left * factor), ast.Mult(), inner.right)


def _fold_quotient(node: ast.BinOp, divisor: int) -> ast.expr:
    """Cancel a whole factor: `4 * c // 4` is `c`, since `//` rounds nothing there."""
    factors = node.left
    if not isinstance(factors, ast.BinOp) or not isinstance(factors.op, ast.Mult):
        return node
    factor = whole_number(factors.left)
    if factor is None or factor % divisor:
        return node
    if factor == divisor:
        return factors.right
    return ast.BinOp(ast.Constant(factor // divisor), ast.Mult(), factors.right)


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
    value = whole_number(node)
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
