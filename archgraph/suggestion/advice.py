"""What is said of a network: how flat its gradient is, and which changes would make it flatter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archgraph.graph import Graph
from archgraph.suggestion.effect import Effect

__all__ = ["Advice", "Suggestion"]


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A change of the user's own file, and what it is predicted to do."""

    title: str
    why: str
    text: str
    """The whole of the changed spec."""
    diff: str
    """The unified diff from the user's file to it."""
    before: Effect
    after: Effect
    invasiveness: int = 0

    @property
    def mends(self) -> bool:
        """Whether the gradient is then flat, in the values too and at a sane size."""
        return self.after.flat and self.after.distance < 1

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        after = self.after.to_dict()
        return {
            "title": self.title,
            "why": self.why,
            "diff": self.diff,
            "before": self.before.to_dict()["ratio"],
            "after": after["ratio"],
            "standard_error": after["standard_error"],
            "method": after["method"],
            "mends": self.mends,
            "effect": after,
        }


@dataclass(frozen=True, kw_only=True)
class Advice:
    """How flat a network's gradient is, and which changes would make it flatter."""

    graph: Graph
    before: Effect
    suggestions: tuple[Suggestion, ...]
    """The best one first; none where nothing needs mending."""
    settings: tuple[str, ...] = ()
    """Params whose given values became the file's defaults."""
    tried: int = 0
    """Changes that were predicted."""

    @property
    def flat(self) -> bool:
        """Whether nothing needs mending; see `Effect.trouble`."""
        return self.before.flat

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "ok": True,
            "name": self.graph.name,
            "needs_mending": not self.flat and self.before.closed is None,
            "before": self.before.to_dict(),
            "settings": list(self.settings),
            "tried": self.tried,
            "suggestions": [suggestion.to_dict() for suggestion in self.suggestions],
        }
