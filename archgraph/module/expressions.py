"""Texts of numbers: a spec's expressions as Python, taken apart and put into each other."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache

from archgraph.module import text as python
from archgraph.module.folding import simplified, whole_number

__all__ = ["divide", "elements", "names_in", "substitute"]


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
        ('8 * c', 'c * 2 ** (n - 1)')
        >>> substitute("c * 2**(i + 1)", {"i": "i - 1"}), substitute("4 * w", {"w": "64"})
        ('c * 2**i', '256')
        >>> substitute("2 if up and level > 0 else 1", {"up": "True"})
        '2 if level > 0 else 1'
    """
    if not set(names_in(text)) & set(replacements):
        return text
    trees = {name: _parsed(new) for name, new in replacements.items()}
    tree = ast.parse(text.strip(), mode="eval").body
    return python.unparse(simplified(_Substitution(trees).visit(tree)))


def divide(text: str, parts: int) -> str:
    """Return an expression divided by a whole number.

    Example:
        >>> divide("3 * d", 3), divide("6 * d", 3), divide("2 * c", 3)
        ('d', '2 * d', '2 * c // 3')
    """
    tree = _parsed(text)
    left = whole_number(tree.left) if isinstance(tree, ast.BinOp) else None
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
