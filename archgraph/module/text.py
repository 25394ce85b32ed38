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
    "Code",
    "argument",
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


class Code(str):
    """A Python expression that stands where a number would."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


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
    if isinstance(value, Code):
        return str(value)
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
        statement: On one line: an expression, `target = expression` or `return expression`; or a
            `for` with such statements, one a line.
        indent: Columns before it.
    """
    if "\n" in statement:
        lines = statement.splitlines()
        depths = [len(line) - len(line.lstrip()) for line in lines]
        pairs = zip(lines, depths, strict=True)
        return [done for line, depth in pairs for done in layout(line.lstrip(), indent + depth)]
    # Positions in a syntax tree count bytes, so that other text is left on its line.
    if indent + len(statement) <= WIDTH or not statement.isascii():
        return [" " * indent + statement]
    if statement.startswith("for "):
        head, _, values = statement.removesuffix(":").partition(" in ")
        return _broken(values, indent, f"{head} in ", ":")
    prefix, value = _split_statement(statement)
    return _broken(value, indent, prefix)


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


def _broken(value: str, indent: int, prefix: str = "", suffix: str = "") -> list[str]:
    """Return an expression as lines, what stands before and behind it on the first and last."""
    pad = " " * indent
    if len(pad) + len(prefix) + len(value) + len(suffix) <= WIDTH:
        return [f"{pad}{prefix}{value}{suffix}"]
    if value.startswith("*(") or value.startswith("**{"):
        return _starred(value, indent, prefix, suffix)
    tree = ast.parse(value, mode="eval").body
    match tree:
        case ast.Call() if tree.args or tree.keywords:
            opening = value[: tree.func.end_col_offset] + "("
            return _exploded(f"{prefix}{opening}", _items(value, tree), f"){suffix}", indent)
        case ast.Tuple() | ast.List() if tree.elts:
            items = [_segment(value, item) for item in tree.elts]
            opening, closing = ("[", "]") if isinstance(tree, ast.List) else ("(", ")")
            return _exploded(f"{prefix}{opening}", items, f"{closing}{suffix}", indent)
        case ast.Dict() | ast.DictComp():
            return _exploded(f"{prefix}{{", _entries(value, tree), f"}}{suffix}", indent)
        case ast.BinOp() if prefix and not prefix.endswith("="):
            lines = [f"{pad}    {line}" for line in _terms(value, tree)]
            return [f"{pad}{prefix}(", *lines, f"{pad}){suffix}"]
        case ast.BinOp():
            first, *others = _terms(value, tree)
            lines = [f"{pad}{prefix}{first}", *(f"{pad}{term}" for term in others)]
            return [*lines[:-1], f"{lines[-1]}{suffix}"]
        case ast.IfExp() if prefix and not prefix.endswith("="):
            return [f"{pad}{prefix}(", *_choice(value, tree, indent + 4), f"{pad}){suffix}"]
        case ast.IfExp():
            *lines, last = _choice(value, tree, indent)
            lines = [*lines, f"{last}{suffix}"]
            return [pad + prefix + lines[0].lstrip(), *lines[1:]]
    return [f"{pad}{prefix}{value}{suffix}"]


class _Clauses(str):
    """The inside of a comprehension, which has the brackets of what is around it."""

    __slots__ = ()


def _segment(value: str, node: ast.expr | ast.keyword) -> str:
    return value[node.col_offset : node.end_col_offset]


def _items(value: str, tree: ast.Call) -> list[str]:
    nodes: list[ast.expr | ast.keyword] = [*tree.args, *tree.keywords]
    if len(nodes) == 1 and isinstance(nodes[0], ast.GeneratorExp):
        return [_Clauses(value[(tree.func.end_col_offset or 0) + 1 : -1])]
    return [_segment(value, node) for node in nodes]


def _entries(value: str, tree: ast.Dict | ast.DictComp) -> list[str]:
    """Return the entries of a dictionary; those of a comprehension are one."""
    if isinstance(tree, ast.DictComp):
        return [_Clauses(value[1:-1])]
    return [
        f"**{_segment(value, entry)}"
        if key is None
        else f"{_segment(value, key)}: {_segment(value, entry)}"
        for key, entry in zip(tree.keys, tree.values, strict=True)
    ]


def _starred(value: str, indent: int, prefix: str, suffix: str) -> list[str]:
    """Return `*(… for i in …)` or `**{…: … for i in …}` as lines."""
    pad = " " * indent
    opening, closing = value[: value.index(value.lstrip("*")) + 1], value[-1]
    lines = _clauses(value[len(opening) : -1], indent + 4)
    return [f"{pad}{prefix}{opening}", *lines, f"{pad}{closing}{suffix}"]


def _clauses(value: str, indent: int) -> list[str]:
    """Return the inside of a comprehension as lines: what it makes, and the `for`."""
    if indent + len(value) <= WIDTH:
        return [" " * indent + value]
    cut = value.rindex(" for ")
    return [*_pair(value[:cut], indent), " " * indent + value[cut + 1 :]]


def _pair(value: str, indent: int) -> list[str]:
    """Return an expression, or `key: value`, as lines."""
    key = re.match(r'f?"[^"]*": ', value)
    return _broken(value[key.end() :] if key else value, indent, key[0] if key else "")


def _choice(value: str, tree: ast.IfExp, indent: int) -> list[str]:
    pad = " " * indent
    if indent + len(value) <= WIDTH:
        return [pad + value]
    first = _broken(_segment(value, tree.body), indent)
    rest = _segment(value, tree.orelse)
    return [*first, f"{pad}if {_segment(value, tree.test)}", *_broken(rest, indent, "else ")]


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
    if isinstance(items[0], _Clauses):
        return [pad + opening, *_clauses(items[0], indent + 4), pad + closing]
    # The arguments of a call may share a line, the elements of a list may not.
    if opening.endswith("(") and opening[-2:-1].isidentifier() and len(inner + together) <= WIDTH:
        return [pad + opening, inner + together, pad + closing]
    lines: list[str] = []
    for item in items:
        *inside, last = argument(item, indent + 4)
        lines += [*inside, f"{last},"]
    return [pad + opening, *lines, pad + closing]


def argument(item: str, indent: int) -> list[str]:
    """Return an argument, an element or an entry as lines that leave room for a comma.

    Args:
        item: On one line; `name=value` or `name: type = value` too.
        indent: Columns before it.
    """
    if indent + len(item) + 1 <= WIDTH:
        return [" " * indent + item]
    keyword = re.match(r"[A-Za-z_]\w*(=(?!=)|: [\w\[\]]+ = )", item)
    if keyword:
        return _broken(item[keyword.end() :], indent, keyword[0])
    return _pair(item, indent)


def docstring(words: Sequence[str], indent: int = 0) -> list[str]:
    """Return words as a docstring's lines, wrapped between them, whatever characters they hold."""
    pad = " " * indent
    plain = " ".join(filter(None, map(_escaped, words)))
    if plain.endswith('"') and not plain.endswith('\\"'):
        plain = plain[:-1] + '\\"'
    if indent + len(plain) + 6 <= WIDTH:
        return [f'{pad}"""{plain}"""']
    *before, last = filter(None, map(_escaped, words))
    lines = [f'{pad}"""']
    for word in before:
        if len(lines[-1]) + 1 + len(word) > WIDTH and not lines[-1].endswith('"""'):
            lines.append(pad)
        blank = " " if lines[-1].strip() and not lines[-1].endswith('"""') else ""
        lines[-1] += blank + word
    # On one line of its own, formatters would put the closing quotes behind it, too far.
    if len(lines) == 1 or len(lines[-1]) + 1 + len(last) > WIDTH:
        lines.append(pad + last)
    else:
        lines[-1] += f" {last}"
    return [*lines, f'{pad}"""']


def _escaped(word: str) -> str:
    word = "".join(c if c.isprintable() else " " for c in word).strip()
    return word.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
