"""What a sweep found: tidy rows, a summary for each point, and files of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from archgraph.files import write_whole
from archgraph.sweeping.formats import as_bytes
from archgraph.sweeping.grid import Grid, Settings, value_text
from archgraph.sweeping.job import Job, Outcome, Task

__all__ = ["Point", "Sweep", "plain_value"]

_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "estimates": (
        "method",
        "energy",
        "standard_error",
        "reference_energy",
        "second_moment",
        "bound",
        "rms",
        "norm",
    ),
    "decompose": (
        "norm",
        "share",
        "rms",
        "effective_depth",
        "skip_share",
        "direct_share",
        "gain_db_per_block",
    ),
}


@dataclass(frozen=True, slots=True)
class Point:
    """What the jobs of one point of the grid say together, of one target."""

    settings: Settings
    target: str | None
    """The node, input or parameter; None if every job failed."""
    value: float | None
    """`predict` and `measure`: E‖∂L/∂V‖², relative to the reference output, of a parameter √E of
    its mean square; `decompose`: √E‖∂L/∂V‖²."""
    standard_error: float | None
    """Of the seeds' spread, or a single prediction's own; None where there is neither."""
    jobs: int
    errors: tuple[str, ...]
    """Of the jobs that failed, each once."""
    failed: int
    means: Mapping[str, float]
    """`decompose`: means over the seeds of the headline numbers."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "settings": {name: plain_value(value) for name, value in self.settings},
            "target": self.target,
            "value": self.value,
            "standard_error": self.standard_error,
            "jobs": self.jobs,
            "failed": self.failed,
            "errors": list(self.errors),
            "means": dict(self.means),
        }


@dataclass(frozen=True)
class Sweep:
    """What was found at every point of a grid. Made by `sweep`."""

    task: Task
    grid: Grid
    seeds: int
    """Jobs at each point."""
    outcomes: tuple[tuple[Job, Outcome], ...]
    """In the order of the grid."""

    @property
    def failed(self) -> int:
        """How many jobs failed."""
        return sum(outcome.error is not None for _, outcome in self.outcomes)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the rows: the params, then which job, what it is about, and numbers."""
        numbers = _COLUMNS.get(self.task.what, _COLUMNS["estimates"])
        return (*self.grid.names, "replicate", "seed", "what", "kind", "name", *numbers, "error")

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each node, parameter or part of each job; of a failed job one with why."""
        return list(self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        for job, outcome in self.outcomes:
            start = {
                **{name: plain_value(value) for name, value in job.settings},
                "replicate": job.replicate,
                "seed": job.seed(self.task.options.seed),
                "what": self.task.what,
            }
            found = list(outcome.rows)
            if outcome.error is not None:
                found.append({"kind": "error", "error": outcome.error})
            for row in found:
                whole = {**start, **row}
                yield {name: whole.get(name) for name in self.columns}

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """What each point says of the first target: the first of `wrt`, or the first input."""
        grouped: dict[Settings, list[Outcome]] = {}
        for job, outcome in self.outcomes:
            grouped.setdefault(_hashable(job.settings), []).append(outcome)
        settings = {_hashable(job.settings): job.settings for job, _ in self.outcomes}
        return tuple(_point(settings[key], self.task.what, found) for key, found in grouped.items())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "spec": self.task.source.name,
            "what": self.task.what,
            "seeds": self.seeds,
            "seed": self.task.options.seed,
            "params": {a.name: [plain_value(v) for v in a.values] for a in self.grid.axes},
            "jobs": len(self.outcomes),
            "failed": self.failed,
            "points": [point.to_dict() for point in self.points],
            "columns": list(self.columns),
            "rows": self.rows,
        }

    def write(self, path: str | Path) -> Path:
        """Write the rows into a file, whole or not at all, and return its path.

        Args:
            path: `….csv`, `….json` (the whole result) or `….parquet`.

        Raises:
            UsageError: the suffix is another, the file cannot be written, or the package that
                writes Parquet is missing.
        """
        where = Path(path)
        return write_whole(where, as_bytes(self, where))


def plain_value(value: Any) -> Any:
    """Return a param's value as tables have it: a number, or text."""
    if isinstance(value, Fraction):
        return float(value)
    return value if isinstance(value, int | float) or value is None else value_text(value)


def _hashable(settings: Settings) -> Settings:
    return tuple((name, value_text(value)) for name, value in settings)


# --- points ------------------------------------------------------------------------------------


def _point(settings: Settings, what: str, outcomes: Sequence[Outcome]) -> Point:
    firsts = [outcome.rows[0] for outcome in outcomes if outcome.rows]
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    estimate = _squares if what == "decompose" else _ratios
    value, error = estimate(firsts) if firsts else (None, None)
    means: dict[str, float] = {}
    if what == "decompose":
        for name in ("effective_depth", "skip_share", "direct_share", "gain_db_per_block"):
            known = [row[name] for row in firsts if row.get(name) is not None]
            means |= {name: sum(known) / len(known)} if known else {}
    return Point(
        settings,
        str(firsts[0]["name"]) if firsts else None,
        value,
        error,
        len(outcomes),
        tuple(dict.fromkeys(errors)),
        len(errors),
        means,
    )


def _ratios(rows: Sequence[Mapping[str, Any]]) -> tuple[float | None, float | None]:
    """Return the ratio of the mean energies, of what is relative to a reference, with its error.

    The mean of ratios would be another number: networks whose reference is small would count most.
    """
    if rows[0]["kind"] == "parameter":
        return _squares(rows, "rms")
    known = [row for row in rows if row["energy"] is not None]
    if not known:
        return None, None
    if len(known) == 1:
        return known[0]["energy"], known[0]["standard_error"]
    base = [row["reference_energy"] or 1.0 for row in known]
    own = [row["energy"] * b for row, b in zip(known, base, strict=True)]
    ratio = math.fsum(own) / math.fsum(base)
    residuals = [o - ratio * b for o, b in zip(own, base, strict=True)]
    n = len(known)
    spread = math.fsum(r * r for r in residuals) / (n - 1) / n
    return ratio, math.sqrt(spread) / (math.fsum(base) / n)


def _squares(
    rows: Sequence[Mapping[str, Any]], name: str = "norm"
) -> tuple[float | None, float | None]:
    """Return the root of the mean square of a column, with its standard error."""
    known = [row[name] for row in rows if row.get(name) is not None]
    largest = max(known, default=0.0)
    if not known or not largest:
        return (0.0 if known else None), None
    if len(known) == 1:
        return known[0], rows[0].get("standard_error")
    squares = [(value / largest) ** 2 for value in known]  # so that none underflows
    n, mean = len(squares), math.fsum(squares) / len(squares)
    spread = math.fsum((square - mean) ** 2 for square in squares) / (n - 1) / n
    return largest * math.sqrt(mean), largest * math.sqrt(spread / mean) / 2
