"""Long sizes that a constructor needs several times, given a name as a person would."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import Final

from archgraph.module import text as python

__all__ = ["hoist"]

_LONG: Final = 20
"""Shortest text that is worth a name."""


def hoist(statements: Sequence[str], taken: Container[str]) -> list[str]:
    """Return statements with names for long sums and products that stand in them more than once.

    Args:
        statements: Each on one line.
        taken: Names that mean something else.

    Example:
        >>> hoist(["a = f(2 * k + units[0] * k)", "b = g((2 * k + units[0] * k) // 2)"], ())
        ['channels = 2 * k + units[0] * k', 'a = f(channels)', 'b = g(channels // 2)']
    """
    lines = list(statements)
    number = 1
    while (found := _repeated(lines)) is not None:
        name = "channels" if number == 1 else f"channels{number}"
        number += 1
        if name in taken:
            continue
        first = next(k for k, line in enumerate(lines) if found in line)
        lines = [_replaced(line, found, name) for line in lines]
        lines.insert(first, f"{name} = {found}")
    return lines


def _repeated(lines: Sequence[str]) -> str | None:
    """Return the shortest long expression that occurs twice."""
    texts = [text for line in lines for _, text in _sums(line)]
    named = {line.partition(" = ")[2] for line in lines}
    often = [t for t, n in Counter(texts).items() if n > 1 and len(t) >= _LONG and t not in named]
    return min(often, key=len, default=None)


def _sums(line: str) -> Iterator[tuple[ast.BinOp, str]]:
    """Yield the sums and products of a statement that depend on no loop's variable."""
    for node in ast.walk(ast.parse(line)):
        if isinstance(node, ast.BinOp):
            names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            if "i" not in names and names:
                yield node, python.unparse(node)


def _replaced(line: str, text: str, name: str) -> str:
    while True:
        node = next((node for node, found in _sums(line) if found == text), None)
        if node is None:
            return line
        raw = line.encode()  # positions count bytes
        head, tail = raw[: node.col_offset], raw[node.end_col_offset :]
        if head.endswith(b"(") and tail.startswith(b")") and not _is_call(head):
            head, tail = head[:-1], tail[1:]
        line = (head + name.encode() + tail).decode()


def _is_call(head: bytes) -> bool:
    """Whether the bracket at the end opens a call's arguments."""
    before = head[:-1].decode().rstrip()
    return before[-1:].isalnum() or before[-1:] in ("_", ")", "]")
