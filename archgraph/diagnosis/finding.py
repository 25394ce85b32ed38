"""What a rule found."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final, Literal, TypeVar

__all__ = ["Finding", "Kind", "fold", "outliers"]

Kind = Literal["detached", "dead", "saturated", "lambda", "weights", "no skip", "quiet", "stretch"]

T = TypeVar("T")
_NUMBER: Final = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know of a network."""

    kind: Kind
    where: str
    """A node, an edge id, or `first … last`."""
    why: str
    """One sentence that names the numbers it rests on."""
    nodes: tuple[str, ...] = ()
    """The nodes that it is about."""
    cost: float = 0.0
    """By how much it makes the gradient smaller or larger than it should be, in dB; −∞ where
    nothing is left."""
    count: int = 1
    """In how many places it is so; `where` is the first of them."""

    def __str__(self) -> str:
        more = f" and {self.count - 1} more" if self.count > 1 else ""
        return f"{self.where}{more}: {self.why}"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; an infinite cost is null."""
        return {
            "kind": self.kind,
            "where": self.where,
            "why": self.why,
            "nodes": list(self.nodes),
            "cost_db": self.cost if math.isfinite(self.cost) else None,
            "count": self.count,
        }


def fold(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Join the findings that say the same but for their numbers, in the order of the first."""
    alike: dict[tuple[Kind, str], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.kind, _NUMBER.sub("#", finding.why)), []).append(finding)
    for group in alike.values():
        nodes = tuple(dict.fromkeys(name for finding in group for name in finding.nodes))
        count = sum(finding.count for finding in group)
        yield replace(group[0], nodes=nodes, count=count)


def outliers(
    items: Iterable[T], key: Callable[[T], object], level: Callable[[T], float], by: float
) -> Iterator[tuple[T, float]]:
    """Yield what differs from most others of its kind, with the median of those.

    Args:
        items: What is compared.
        key: Which are of one kind. A kind of fewer than three tells nothing.
        level: A number of each, on a scale where differences count.
        by: How far from the median is out of line.

    Nothing is yielded of a kind in which more than a tenth are out of line (one always may be):
    there it is the design.
    """
    kinds: dict[object, list[T]] = {}
    for item in items:
        kinds.setdefault(key(item), []).append(item)
    for group in kinds.values():
        if len(group) < 3:
            continue
        middle = median(map(level, group))
        out = [item for item in group if abs(level(item) - middle) >= by]
        if len(out) <= max(1, len(group) // 10):
            yield from ((item, middle) for item in out)
