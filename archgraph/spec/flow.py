"""Formulas that YAML's flow syntax breaks: find the whole call and print the corrected line."""

from __future__ import annotations

from archgraph.errors import Mark

__all__ = ["broken_call", "quote_call"]

_PAIRS = {"(": ")", "[": "]", "{": "}"}


def _call_end(line: str, start: int) -> int | None:
    """Return the index after the bracket that closes the call beginning at `start`."""
    open_brackets: list[str] = []
    for position in range(start, len(line)):
        character = line[position]
        if character in _PAIRS:
            open_brackets.append(_PAIRS[character])
        elif open_brackets and character == open_brackets[-1]:
            open_brackets.pop()
            following = line[position + 1 : position + 2]
            if not open_brackets and following not in ("(", "["):
                return position + 1
        elif character in ")]}":
            return None
    return None


def _quoted(line: str, start: int, end: int) -> str:
    mark = "'" if '"' in line[start:end] else '"'
    return f"{line[:start]}{mark}{line[start:end]}{mark}{line[end:]}"


def broken_call(text: str, mark: Mark) -> tuple[int, str] | None:
    """Recognise a value that YAML cut at a comma inside its brackets.

    Args:
        text: What YAML read, such as `Chunk(3`.
        mark: Where it stands.

    Returns:
        The column (1-based) where the whole call ends, and the line with the call quoted; None
        if the brackets are balanced.
    """
    if text.count("(") <= text.count(")"):
        return None
    start = mark.column - 1
    end = _call_end(mark.text, start)
    return None if end is None else (end, _quoted(mark.text, start, end))


def quote_call(line: str, position: int) -> tuple[int, str] | None:
    """Recognise a call around `position`, where YAML stopped at a bracket inside `{ }`.

    Returns:
        Where the call starts (0-based) and the line with the call quoted, or None.
    """
    if position >= len(line) or line[position] not in "[]{},":
        return None
    start = max(line.rfind(": ", 0, position), line.rfind(", ", 0, position)) + 2
    if line.rfind("{", 0, position) < 0 or "(" not in line[start : position + 1]:
        return None
    end = _call_end(line, start)
    return None if end is None or end <= position else (start, _quoted(line, start, end))
