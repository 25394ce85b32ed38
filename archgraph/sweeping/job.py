"""One job of a sweep: a point of the grid, and which of the networks drawn there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Literal, get_args

from archgraph.errors import UsageError, suggest
from archgraph.sweeping.grid import Settings, value_text
from archgraph.sweeping.source import Source

__all__ = ["SEEDS", "Job", "Options", "Outcome", "Task", "What", "as_task"]

What = Literal["predict", "measure", "decompose"]

SEEDS: Final = 2**31
"""torch's generator reads 32 bits of a seed, and those from here on are for a network's data."""


@dataclass(frozen=True, slots=True)
class Job:
    """A point of the grid, and the number of a network drawn there."""

    settings: Settings
    replicate: int

    @property
    def key(self) -> str:
        """What tells it from every other job; it depends on no order."""
        values = {name: value_text(value) for name, value in self.settings}
        return json.dumps([values, self.replicate], sort_keys=True, ensure_ascii=False)

    def seed(self, base: int) -> int:
        """Return the seed of everything that this job draws, a hash of its key.

        Args:
            base: The sweep's own seed.
        """
        digest = hashlib.sha256(f"{base} {self.key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % SEEDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How each job is done; None is the default of what is called."""

    seed: int = 0
    batch: int | None = None
    train: bool | None = None
    dtype: str | None = None
    method: str = "auto"
    samples: int | None = None
    """How many networks a job of `predict` or `measure` averages over; of `measure` by default one,
    and many are measured together faster than one by one."""
    wrt: tuple[str, ...] = ()
    """Which nodes and parameters are kept, as patterns; of `decompose` its one target."""
    by: str = "edge"

    def problems(self, what: str) -> list[str]:
        """Return what is wrong with them."""
        found = []
        if what not in get_args(What):
            close = suggest(what, get_args(What))
            hint = f"; did you mean {close!r}?" if close else ""
            found.append(f"a sweep can {', '.join(get_args(What))}, not {what!r}{hint}")
        if what == "decompose" and len(self.wrt) > 1:
            found.append(f"a gradient is split for one target at a time, not {len(self.wrt)}")
        if what != "predict" and self.method != "auto":
            found.append(f"method belongs to predict, not to {what}")
        if what == "decompose" and self.samples is not None:
            found.append("samples belong to predict and measure, not to decompose")
        fewest = 2 if what == "predict" else 1
        if self.samples is not None and self.samples < fewest:
            found.append(f"a job of {what} needs at least {fewest} of samples")
        if self.batch is not None and self.batch < 1:
            found.append("a batch has at least 1 example")
        return found


@dataclass(frozen=True, slots=True)
class Task:
    """What is done at every point."""

    source: Source
    what: What
    options: Options

    def header(self) -> dict[str, Any]:
        """Return what must be the same for results to belong together, the grid left out."""
        from archgraph import __version__

        options = {name: getattr(self.options, name) for name in self.options.__slots__}
        return {
            "archgraph": __version__,
            "torch": version("torch"),
            "spec": self.source.name,
            "digest": self.source.digest,
            "what": self.what,
            "options": {**options, "wrt": list(self.options.wrt)},
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job gave."""

    key: str
    rows: tuple[dict[str, Any], ...] = ()
    error: str | None = None
    """Why there is nothing, or not all."""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the form in which it is logged."""
        return {"key": self.key, "error": self.error, "rows": list(self.rows)}


def as_task(source: Source, what: str, options: Options) -> Task:
    """Return a task.

    Raises:
        UsageError: with everything that is wrong with the options.
    """
    problems = options.problems(what)
    if problems:
        raise UsageError("\n".join(problems))
    return Task(source, what, options)  # type: ignore[arg-type]
