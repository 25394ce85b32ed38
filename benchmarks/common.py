"""What all benchmarks share: a row of the table, and timing that is fair to both sides."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Row", "Timing", "seconds", "time_paired"]


@dataclass(frozen=True)
class Row:
    """A figure: how `what` compares with `against`, and the bar it must clear."""

    what: str
    against: str
    ratio: float
    """A ratio, or a number of seconds where there is nothing to compare with."""
    bar: float
    better: Literal["higher", "lower"]
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.ratio >= self.bar if self.better == "higher" else self.ratio <= self.bar


@dataclass(frozen=True)
class Timing:
    """Two things timed in turns: median seconds of each, and the median of the rounds' ratios."""

    first: float
    second: float
    ratio: float
    """Seconds of the second over seconds of the first, within a round: how often faster the first
    is."""


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call, with the garbage of what ran before collected beforehand."""
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def time_paired(
    first: Callable[[], Any], second: Callable[[], Any], *, rounds: int = 7, seed: int = 0
) -> Timing:
    """Time two calls in rounds, in shuffled order, so that a drift of the machine hits both.

    Both are called once beforehand, unmeasured.
    """
    first()
    second()
    rng = random.Random(seed)
    taken: list[tuple[float, float]] = []
    for _ in range(rounds):
        if rng.random() < 0.5:
            a = seconds(first)
            b = seconds(second)
        else:
            b = seconds(second)
            a = seconds(first)
        taken.append((a, b))
    return Timing(
        first=statistics.median(a for a, _ in taken),
        second=statistics.median(b for _, b in taken),
        ratio=statistics.median(b / a for a, b in taken),
    )
