"""Stretches of a network that lose or add more than the others, and skips that are missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from archgraph.diagnosis.examination import Examination, Stretch
from archgraph.diagnosis.finding import Finding, outliers

__all__ = [
    "extreme_run",
    "find_missing_skips",
    "find_odd_stretches",
    "levels",
    "local_gain",
]

BY: Final = 10.0
"""dB by which a stretch differs from the others of its kind when it is reported."""
COMMON: Final = 0.5
"""Share of the stretches that must have a skip before one without is missing it."""


def find_missing_skips(seen: Examination) -> Iterator[Finding]:
    """Yield the runs without a skip between blocks that have one, where a skip would fit.

    A run counts if it has as many weight layers as the blocks have, and the same shape at both
    ends; blocks that change the shape cannot have an identity.
    """
    stretches = seen.stretches
    blocks = [s for s in stretches if s.has_skip]
    if len(blocks) < 2:
        return
    usual = median(s.weights for s in blocks)
    runs = [run for run in _runs(stretches) if _weights(run) >= usual and _fits(seen, run)]
    if len(blocks) < COMMON * (len(blocks) + len(runs)):
        return
    gains = [s.gain for s in blocks if s.gain is not None]
    for run in runs:
        where = f"{run[0].first} … {run[-1].last}"
        gain = _total(run)
        beside = f"; it changes the gradient by {gain:+.1f} dB" if gain is not None else ""
        if gains and gain is not None:
            beside += f", the others by {median(gains):+.1f} dB each"
        why = (
            f"no skip leads around its {_weights(run)} weight layers, as in the "
            f"{len(blocks)} blocks beside it{beside}"
        )
        nodes = tuple(name for stretch in run for name in stretch.nodes)
        yield Finding("no skip", where, why, nodes, gain or 0.0)


def _runs(stretches: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """Yield the runs without a skip that have a block with one on either side."""
    run: list[Stretch] | None = None
    for stretch in stretches:
        if stretch.has_skip:
            if run:
                yield run
            run = []
        elif run is not None:
            run.append(stretch)


def _weights(run: Sequence[Stretch]) -> int:
    return sum(stretch.weights for stretch in run)


def _total(run: Sequence[Stretch]) -> float | None:
    gains = [stretch.gain for stretch in run]
    return None if None in gains else sum(gain for gain in gains if gain is not None)


def _fits(seen: Examination, run: Sequence[Stretch]) -> bool:
    first, last = (
        seen.tape.values[seen.graph.position(name)][0] for name in (run[0].first, run[-1].last)
    )
    return first.shape == last.shape


def find_odd_stretches(seen: Examination) -> Iterator[Finding]:
    """Yield the stretches that change the gradient unlike the others of their kind."""
    known = [s for s in seen.stretches if s.gain is not None and s.weights]
    kind = outliers(known, lambda s: s.has_skip, lambda s: s.gain or 0.0, BY)
    for stretch, middle in kind:
        assert stretch.gain is not None
        culprit = max(stretch.nodes, key=lambda name: abs(local_gain(seen, name)))
        op = seen.graph.node(culprit).op
        text = f"{culprit!r}" if op is None else f"{culprit!r} ({op.name})"
        why = (
            f"it changes the gradient by {stretch.gain:+.1f} dB, most others by {middle:+.1f} dB; "
            f"most of that is {text} with {local_gain(seen, culprit):+.1f} dB"
        )
        where = f"{stretch.first} … {stretch.last}"
        yield Finding("stretch", where, why, stretch.nodes, stretch.gain - middle)


def local_gain(seen: Examination, name: str) -> float:
    """Return how much more a node delivers to what it reads than it receives, in dB."""
    sent = math.hypot(*(seen.delivered(edge) for edge in seen.graph.edges_into(name)))
    return levels(seen.node_norm(name), sent) or 0.0


def levels(before: float, after: float) -> float | None:
    """Return 20·log10(after / before) in dB; None where either is zero."""
    return 20 * (math.log10(after) - math.log10(before)) if before > 0 and after > 0 else None


def extreme_run(stretches: Sequence[Stretch]) -> tuple[Sequence[Stretch], float] | None:
    """Return the run of stretches in which the gradient changes most, and by how many dB."""
    best: tuple[Sequence[Stretch], float] | None = None
    for sign in (1.0, -1.0):
        start, total = 0, 0.0
        for i, stretch in enumerate(stretches):
            if stretch.gain is None or total < 0:
                start, total = i, 0.0
            if stretch.gain is None:
                start = i + 1
                continue
            total += sign * stretch.gain
            if best is None or total > abs(best[1]):
                best = stretches[start : i + 1], sign * total
    return best
