"""Python text: literals, brackets, line breaks. Knows nothing of graphs."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

__all__ = [
    "ATOM",
    "PRODUCT",
    "SUM",
    "UNARY",
    "WIDTH",
    "bracket",
    "call",
    "docstring",
    "layout",
    "literal",
    "precedence",
    "unparse",
]

WIDTH: Final = 100

SUM, PRODUCT, UNARY, ATOM = 1, 2, 3, 4
"""How tightly an expression binds, loosest first; 0 is looser than any."""

_POWER = re.compile(r"(?<![\w.)\]])([\w.]+) \*\* (-?[\w.]+)(?![\w.(\[])")


def literal(value: Any) -> str:
    """Return an argument's value as Python text, with double quotes.

    Example:
        >>> literal((3, 3)), literal("same"), literal(Fraction(1, 10))
        ('(3, 3)', '"same"', '0.1')
    """
    if isinstance(value, tuple | list):
        inner = ", ".join(map(literal, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, Fraction):
        return literal(value.numerator if value.denominator == 1 else float(value))
    if isinstance(value, float) and not abs(value) < float("inf"):
        return f'float("{value}")'
    if isinstance(value, str):
        plain = repr(value)[1:-1]
        return repr(value) if '"' in value or "'" in value else f'"{plain}"'
    return repr(value)


def unparse(tree: ast.expr) -> str:
    """Return an expression's text with the spacing that formatters give it."""
    return _POWER.sub(r"\1**\2", ast.unparse(tree))


def precedence(text: str) -> int:
    """Return how tightly an expression binds."""
    tree = ast.parse(text, mode="eval").body
    if isinstance(tree, ast.BinOp):
        return SUM if isinstance(tree.op, ast.Add | ast.Sub) else PRODUCT
    if isinstance(tree, ast.UnaryOp):
        return UNARY
    loose = isinstance(tree, ast.IfExp | ast.BoolOp | ast.Compare | ast.Lambda | ast.Tuple)
    return 0 if loose and not text.startswith("(") else ATOM


def bracket(text: str, tightness: int) -> str:
    """Return an expression, in brackets if it binds less tightly than asked.

    Example:
        >>> bracket("a + b", PRODUCT), bracket("a * b", PRODUCT)
        ('(a + b)', 'a * b')
    """
    return text if precedence(text) >= tightness else f"({text})"


def call(head: str, arguments: Sequence[str]) -> str:
    """Return a call on one line."""
    return f"{head}({', '.join(arguments)})"


def layout(statement: str, indent: int) -> list[str]:
    """Return a statement as lines within the width, broken as formatters break it.

    Args:
        statement: On one line: an expression, `target = expression` or `return expression`.
        indent: Columns before it.
    """
    pad = " " * indent
    # Positions in a syntax tree count bytes, so that other text is left on its line.
    if indent + len(statement) <= WIDTH or not statement.isascii():
        return [pad + statement]
    prefix, value = _split_statement(statement)
    tree = ast.parse(value, mode="eval").body
    if isinstance(tree, ast.Call) and (tree.args or tree.keywords):
        opening, items = value[: (tree.func.end_col_offset or 0)] + "(", _items(value, tree)
        return _exploded(f"{prefix}{opening}", items, ")", indent)
    if isinstance(tree, ast.Tuple | ast.List) and tree.elts:
        items = [value[item.col_offset : item.end_col_offset] for item in tree.elts]
        opening, closing = ("[", "]") if isinstance(tree, ast.List) else ("(", ")")
        return _exploded(f"{prefix}{opening}", items, closing, indent)
    if isinstance(tree, ast.BinOp) and prefix:
        lines = [" " * (indent + 4) + line for line in _terms(value, tree)]
        return [f"{pad}{prefix}(", *lines, f"{pad})"]
    return [pad + statement]


def _split_statement(statement: str) -> tuple[str, str]:
    if statement.startswith("return "):
        return "return ", statement.removeprefix("return ")
    tree = ast.parse(statement).body[0]
    if isinstance(tree, ast.Assign):
        start = tree.value.col_offset
        if isinstance(tree.value, ast.Tuple):
            start = statement.index("= ") + 2
        return statement[:start], statement[start:]
    return "", statement


def _items(value: str, tree: ast.Call) -> list[str]:
    nodes: list[ast.expr | ast.keyword] = [*tree.args, *tree.keywords]
    return [value[node.col_offset : node.end_col_offset] for node in nodes]


def _terms(value: str, tree: ast.BinOp) -> list[str]:
    """Split a chain of one precedence at its operators, each at the start of a line."""
    level = precedence(value)
    cuts = []
    node: ast.expr = tree
    while isinstance(node, ast.BinOp) and (
        (SUM if isinstance(node.op, ast.Add | ast.Sub) else PRODUCT) == level
    ):
        cuts.append((node.left.end_col_offset or 0) + value[node.left.end_col_offset :].index(" "))
        node = node.left
    edges = [0, *sorted(cuts), len(value)]
    return [value[a:b].strip() for a, b in pairwise(edges)]


def _exploded(opening: str, items: list[str], closing: str, indent: int) -> list[str]:
    pad, inner = " " * indent, " " * (indent + 4)
    together = ", ".join(items)
    if len(inner) + len(together) <= WIDTH:
        return [pad + opening, inner + together, pad + closing]
    lines: list[str] = []
    for item in items:
        *inside, last = layout(item, indent + 4)
        lines += [*inside, f"{last},"]
    return [pad + opening, *lines, pad + closing]


def docstring(words: Sequence[str], indent: int = 0) -> list[str]:
    """Return words as a docstring's lines, wrapped between them, whatever characters they hold."""
    pad = " " * indent
    plain = " ".join(filter(None, map(_escaped, words)))
    if plain.endswith('"') and not plain.endswith('\\"'):
        plain = plain[:-1] + '\\"'
    if indent + len(plain) + 6 <= WIDTH:
        return [f'{pad}"""{plain}"""']
    lines = [f'{pad}"""']
    for word in filter(None, map(_escaped, words)):
        if len(lines[-1]) + 1 + len(word) > WIDTH and not lines[-1].endswith('"""'):
            lines.append(pad)
        blank = " " if lines[-1].strip() and not lines[-1].endswith('"""') else ""
        lines[-1] += blank + word
    return [*lines, f'{pad}"""']


def _escaped(word: str) -> str:
    word = "".join(c if c.isprintable() else " " for c in word).strip()
    return word.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
