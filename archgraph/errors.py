"""Positions, problems and the exceptions that carry them.

Nothing here imports the rest of the package: every other module may raise these.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "ArchgraphError",
    "BudgetError",
    "GradientError",
    "Mark",
    "Problem",
    "SpecError",
    "TargetError",
    "UsageError",
    "suggest",
]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a spec's text: file, 1-based line and column, and the characters it covers."""

    file: str
    line: int
    column: int
    length: int = field(default=1, compare=False)
    text: str = field(default="", compare=False)
    """The whole source line, shown under the message; empty when there is none to show."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def shift(self, offset: int, length: int) -> Mark:
        """Return the mark `offset` columns further right, on the same line."""
        return Mark(self.file, self.line, self.column + offset, max(1, length), self.text)

    def snippet(self) -> str:
        """Return the source line with carets under the marked part, or an empty string."""
        if not self.text.strip():
            return ""
        indent = len(self.text) - len(self.text.lstrip())
        shown = self.text.strip()[:160]
        start = max(0, self.column - 1 - indent)
        if start > len(shown):
            return f"    {shown}"
        carets = "^" * max(1, min(self.length, len(shown) - start))
        return f"    {shown}\n    {' ' * start}{carets}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a spec: a stable code, a message in the user's words, why, and a fix."""

    code: str
    message: str
    mark: Mark
    why: str | None = None
    help: str | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        lines = [f"{self.mark}: {self.severity}[{self.code}]: {self.message}"]
        if snippet := self.mark.snippet():
            lines.append(snippet)
        if self.why:
            lines.append(f"  why:  {self.why}")
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: `file, line, column, code, message, help` and more."""
        return {
            "file": self.mark.file,
            "line": self.mark.line,
            "column": self.mark.column,
            "code": self.code,
            "message": self.message,
            "why": self.why,
            "help": self.help,
            "severity": self.severity,
        }


class ArchgraphError(Exception):
    """Base of every error that archgraph raises on purpose."""


class SpecError(ArchgraphError):
    """A spec is wrong; `problems` holds everything found, sorted by position."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = {(p.mark, p.code, p.message): p for p in problems}
        self.problems: tuple[Problem, ...] = tuple(unique[key] for key in sorted(unique))
        super().__init__("\n\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[SpecError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class UsageError(ArchgraphError):
    """A call or a command line asks for something that does not exist or does not fit."""


class TargetError(UsageError):
    """The node, input or parameter asked for is not in the graph."""


class BudgetError(ArchgraphError):
    """Doing it as asked would exceed the stated budget; the message says what to use instead.

    Args:
        reason: What would be exceeded.
        advice: What to use instead, in terms of the function that was called.
    """

    def __init__(self, reason: str, advice: str) -> None:
        self.reason, self.advice = reason, advice
        super().__init__(f"{reason}; {advice}")

    def __reduce__(self) -> tuple[type[BudgetError], tuple[str, str]]:
        return type(self), (self.reason, self.advice)


class GradientError(ArchgraphError):
    """A gradient cannot be split, or a self-check failed, so that no result is shown."""


def suggest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice closest to `word` if one is close enough to be meant, else None.

    Example:
        >>> suggest("ReLu", ["ReLU", "Linear"])
        'ReLU'
    """
    known: Sequence[str] = list(choices)
    for choice in known:
        if choice.lower() == word.lower():
            return choice
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return close[0] if close else None
