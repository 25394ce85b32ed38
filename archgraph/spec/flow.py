"""Formulas that YAML's flow syntax breaks: find the whole of it and print the corrected line."""

from __future__ import annotations

import re

from archgraph.errors import Mark

__all__ = ["broken_call", "quote_call"]

_PAIRS = {"(": ")", "[": "]", "{": "}"}


def _value_end(line: str, start: int) -> int | None:
    """Return the index after the formula that begins at `start`, in or outside of `{ }`.

    None if its brackets do not close on the line.
    """
    open_brackets: list[str] = []
    for position in range(start, len(line)):
        character = line[position]
        if character in _PAIRS:
            open_brackets.append(_PAIRS[character])
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
        elif not open_brackets and character in ",]}":
            return len(line[:position].rstrip())
        elif character in ")]}":
            return None
    return None if open_brackets else len(line.rstrip())


def _quoted(line: str, start: int, end: int) -> str:
    mark = "'" if '"' in line[start:end] else '"'
    return f"{line[:start]}{mark}{line[start:end]}{mark}{line[end:]}"


def broken_call(text: str, mark: Mark) -> tuple[int, str] | None:
    """Recognise a value that YAML cut at a comma inside its brackets.

    Args:
        text: What YAML read, such as `Chunk(3`.
        mark: Where it stands.

    Returns:
        The column (1-based) where the whole formula ends, and the line with it quoted; None
        if the brackets are balanced.
    """
    if text.count("(") <= text.count(")"):
        return None
    start = mark.column - 1
    end = _value_end(mark.text, start)
    return None if end is None else (end, _quoted(mark.text, start, end))


def quote_call(line: str, position: int) -> tuple[int, str] | None:
    """Recognise a formula around `position`, where YAML stopped at a bracket inside `{ }`.

    Returns:
        Where the formula starts (0-based) and the line with it quoted, or None.
    """
    if position >= len(line) or line[position] not in "[]{},":
        return None
    start = max(line.rfind(": ", 0, position), line.rfind(", ", 0, position)) + 2
    called = re.match(r"\w[^:]*?[(\[]", line[start : position + 1])
    if line.rfind("{", 0, position) < 0 or called is None:
        return None
    end = _value_end(line, start)
    return None if end is None or end <= position else (start, _quoted(line, start, end))
