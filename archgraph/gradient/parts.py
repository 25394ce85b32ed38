"""The parts of a gradient, as a result that is shown and written as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archgraph.gradient.headline import Headline

__all__ = ["Decomposition", "Part", "cancelling"]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a gradient."""

    key: tuple[str, ...] | str | int
    """A path's edge ids from the target to L; an edge's id; a node's name; a grade; a loss term's
    name."""
    norm: float
    """Norm of the part; at an edge or node, of the cotangent there."""
    share: float | None
    """Signed fraction of ‖g‖², ⟨g_p, g⟩ / ⟨g, g⟩; None if g is zero."""
    paths: int | None = None
    """Of a grade: how many paths have it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; a path's key is the list of its edge ids."""
        key = list(self.key) if isinstance(self.key, tuple) else self.key
        found = {"key": key, "norm": self.norm, "share": self.share}
        return found if self.paths is None else {**found, "paths": self.paths}


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A gradient g = ∂L/∂wrt at one recorded pass, and its parts in the order of enumeration."""

    wrt: str
    by: str
    norm: float
    """‖g‖."""
    parts: tuple[Part, ...]
    residual: float
    """For parts that add up ‖Σ g_p − g‖ / Σ‖g_p‖; for edges and nodes the worst violation of
    conservation.

    Where sums cancel inside one layer, for paths relative to what would be there without."""
    note: str | None = None
    """What a reader must know: that g is zero or rounding, or that parts cancel."""
    headline: Headline | None = None
    """The gradient in a few numbers; None if they were not asked for, or cannot be had."""
    cosines: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """By pairs of loss terms: the cosine between their gradients, negative where they conflict."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "wrt": self.wrt,
            "by": self.by,
            "norm": self.norm,
            "parts": [part.to_dict() for part in self.parts],
            "residual": self.residual,
            "note": self.note,
            "headline": None if self.headline is None else self.headline.to_dict(),
            **self._conflict(),
        }

    def _conflict(self) -> dict[str, Any]:
        if self.by != "loss":
            return {}
        pairs = self.cosines.items()
        return {"cosines": [{"terms": list(pair), "cosine": cosine} for pair, cosine in pairs]}


def cancelling(parts: Sequence[Part]) -> str | None:
    """Return what a reader must know of parts that are far larger than their sum."""
    if any(part.share is not None and abs(part.share) > 1e3 for part in parts):
        return "parts cancel almost wholly: their shares are large and tell of rounding"
    return None
