"""Do jobs, in whatever process: the same key gives the same numbers everywhere.

torch is imported when the first job runs, so that what only hands jobs out never loads it.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, Final

from archgraph.errors import ArchgraphError, SpecError, TargetError
from archgraph.graph import Graph
from archgraph.paths.target import first_target, resolve
from archgraph.sweeping.job import SEEDS, Job, Options, Outcome, Task

__all__ = ["run_jobs"]

Row = dict[str, Any]

_ALONE: Final = threading.Lock()
"""torch has one random state for a whole process, so its threads take turns."""


def run_jobs(task: Task, jobs: Sequence[Job]) -> list[Outcome]:
    """Do some jobs, on one thread; a job that fails gives its error, and the others go on.

    Cost: the spec is loaded once for jobs in a row at the same point.
    """
    outcomes: list[Outcome] = []
    loaded: tuple[Any, Graph | ArchgraphError] | None = None
    with _ALONE, _one_thread():
        for job in jobs:
            start = time.perf_counter()
            if loaded is None or loaded[0] != job.settings:
                loaded = (job.settings, _load(task, job))
            rows, error = _attempt(task, job, loaded[1])
            outcomes.append(Outcome(job.key, tuple(rows), error, time.perf_counter() - start))
    return outcomes


def _load(task: Task, job: Job) -> Graph | ArchgraphError:
    try:
        return task.source.load(job.settings)
    except ArchgraphError as error:
        return error


def _attempt(task: Task, job: Job, graph: Graph | ArchgraphError) -> tuple[list[Row], str | None]:
    if isinstance(graph, ArchgraphError):
        return [], _message(graph)
    try:
        with warnings.catch_warnings():
            # What an unusual size makes torch warn of, nobody sees in another process.
            warnings.simplefilter("ignore")
            rows = _WORK[task.what](graph, job.seed(task.options.seed), task.options)
    except ArchgraphError as error:
        return [], _message(error)
    except Exception as error:
        # One network must not end the sweep, whatever it is that its op or a plugin does.
        return [], f"{type(error).__name__}: {error}"
    strange = [str(row["name"]) for row in rows if row.pop("strange", False)]
    rows = [{name: _plain(value) for name, value in row.items()} for row in rows]
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        return rows, f"the gradient is not finite at {strange[0]}{more}"
    return rows, None


def _message(error: ArchgraphError) -> str:
    """Return an error as one line."""
    if isinstance(error, SpecError):
        return "; ".join(f"{p.mark}: {p.message}" for p in error.problems)
    return " ".join(str(error).split())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: jobs share the processors, and sums have one order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# --- what is done ------------------------------------------------------------------------------


def _predict(graph: Graph, seed: int, options: Options) -> list[Row]:
    from archgraph.prediction import predict

    found = predict(
        graph,
        method=options.method,  # type: ignore[arg-type]
        batch=options.batch,
        seed=seed,
        samples=options.samples,
        train=options.train is not False,
    )
    return _estimates(graph, found, options, certain=found.method != "bounds")


def _measure(graph: Graph, seed: int, options: Options) -> list[Row]:
    from archgraph.gradient import as_dtype
    from archgraph.measurement import measure

    found = measure(
        graph,
        seeds=[(seed + i) % SEEDS for i in range(options.samples or 1)],
        batch=options.batch or 4,
        train=options.train is not False,
        dtype=as_dtype(options.dtype or "float64"),
    )
    return _estimates(graph, found, options, certain=True)


def _estimates(graph: Graph, found: Any, options: Options, *, certain: bool) -> list[Row]:
    """Return the rows of a prediction or a measurement."""
    rows: list[Row] = []
    for name in _matching(graph, found.nodes, options.wrt):
        node = found.nodes[name]
        rows.append(
            {
                "kind": "node",
                "name": name,
                "method": getattr(node, "method", found.method),
                "energy": node.energy,
                "standard_error": node.standard_error,
                "reference_energy": found.reference_energy,
                "second_moment": node.second_moment,
                "bound": getattr(node, "bound", None),
                "strange": certain and _plain(node.energy) is None,
            }
        )
    for name in _matching(graph, found.parameters, options.wrt):
        item = found.parameters[name]
        rows.append(
            {
                "kind": "parameter",
                "name": name,
                "method": found.method,
                "rms": item.rms,
                "standard_error": item.standard_error,
                "norm": item.norm,
                "strange": certain and _plain(item.rms) is None,
            }
        )
    if not rows:
        raise TargetError(f"{graph.name!r} has no node or parameter {' or '.join(options.wrt)}")
    return rows


def _matching(graph: Graph, names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    # A block instance is its output's node.
    wanted = [graph.value_name(pattern) for pattern in patterns] or ["*"]
    return [n for n in names if any(n == p or fnmatchcase(n, p) for p in wanted)]


def _decompose(graph: Graph, seed: int, options: Options) -> list[Row]:
    from archgraph.gradient import decompose, run_once

    wrt = options.wrt[0] if options.wrt else first_target(graph)
    resolve(graph, wrt)
    tape = run_once(
        graph,
        batch=options.batch or 4,
        seed=seed,
        dtype=options.dtype or "float64",
        train=bool(options.train),
    )
    found = decompose(tape, wrt, options.by)
    whole: Row = {"kind": "gradient", "name": wrt, "norm": found.norm}
    if found.headline is not None:
        for name in ("rms", "effective_depth", "skip_share", "direct_share", "gain_db_per_block"):
            whole[name] = getattr(found.headline, name)
    parts = [
        {
            "kind": found.by,
            "name": " ".join(part.key) if isinstance(part.key, tuple) else str(part.key),
            "norm": part.norm,
            "share": part.share,
        }
        for part in found.parts
    ]
    return [whole, *parts]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: null for what is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


_WORK: Final[Mapping[str, Callable[[Graph, int, Options], list[Row]]]] = {
    "predict": _predict,
    "measure": _measure,
    "decompose": _decompose,
}
