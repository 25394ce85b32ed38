"""Run a sweep: hand out the jobs, log what comes back, and put it together."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Final

from archgraph.errors import UsageError
from archgraph.sweeping.crew import Crew, crew_of
from archgraph.sweeping.grid import Grid, make_grid
from archgraph.sweeping.job import Job, Options, Outcome, Task, as_task
from archgraph.sweeping.log import Log
from archgraph.sweeping.source import Source, read_source
from archgraph.sweeping.table import Sweep

__all__ = ["Progress", "sweep"]

Progress = Callable[[int, int], None]

CHUNK_SECONDS: Final = 0.5
"""What a chunk should take: long against handing it out, short against a sweep."""
MOST_JOBS: Final = 64
"""Of a chunk."""
JOBS: Final = 10_000_000
"""Of a sweep."""


def sweep(
    spec: str | os.PathLike[str] | Source,
    grid: Grid | Mapping[str, Any],
    what: str = "predict",
    *,
    seeds: int = 1,
    options: Options | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    log: str | os.PathLike[str] | None = None,
    fresh: bool = False,
    plugins: Iterable[str] = (),
    progress: Progress | None = None,
) -> Sweep:
    """Do one thing at every point of a grid, with several seeds.

    A job's seed is a hash of its point and number, so the numbers do not depend on who does it or
    in which order: they are the same on one worker, on many and on a cluster. A job that fails is
    a row with its error.

    Args:
        spec: A file, the name of a shipped spec, or its text.
        grid: By param one value, or a sequence of them.
        what: `predict` (`seeds` independent predictions), `measure` (`samples` real networks for
            each seed, by default one) or `decompose` (one).
        seeds: Jobs at each point.
        options: How each job is done.
        workers: Number of processes; default one for each processor. They are spawned: a script
            that calls this does so under `if __name__ == "__main__":`.
        scheduler: Address of a Dask scheduler, whose workers do the jobs instead.
        log: A file to which every job is written when it is done. If it is there, its jobs are not
            done again; more values or seeds may have been added to the grid since.
        fresh: Whether to forget what is in it.
        plugins: Modules whose registered classes are ops too.
        progress: Called with (jobs done, jobs in all).

    Returns:
        One row for each node, parameter or part of each job, in the order of the grid.

    Raises:
        SpecError: it is no spec at all; what is wrong at some points only is told in their rows.
        UsageError: with everything that is wrong with the grid and the options, before anything
            runs; or the log belongs to another sweep.

    Cost: the jobs', on one thread each; a process start and an import of torch for each worker.

    Example:
        >>> from archgraph.sweeping import Options
        >>> few = Options(batch=2, samples=16, wrt=("x0",))
        >>> found = sweep("scaled_residual", {"lam": [0.5, 1]}, options=few, workers=1)
        >>> [(row["lam"], row["name"]) for row in found.rows]
        [(0.5, 'x0'), (1, 'x0')]
    """
    source = spec if isinstance(spec, Source) else read_source(spec, plugins=plugins)
    whole = grid if isinstance(grid, Grid) else make_grid(grid)
    task = _checked(source, whole, what, seeds, options or Options())
    jobs = [Job(point, number) for point in whole for number in range(seeds)]
    if log is None:
        outcomes = _do(task, jobs, {}, workers, scheduler, None, progress)
    else:
        with Log(Path(log), task.header(), fresh=fresh) as file:
            outcomes = _do(task, jobs, file.done, workers, scheduler, file, progress)
    return Sweep(task, whole, seeds, tuple((job, outcomes[job.key]) for job in jobs))


def _checked(source: Source, grid: Grid, what: str, seeds: int, options: Options) -> Task:
    problems = grid.problems(source.params(), source.file) + options.problems(what)
    if seeds < 1:
        problems.append("a sweep needs at least 1 seed")
    if len(grid) * seeds > JOBS:
        problems.append(f"that is {len(grid) * seeds:,} jobs; {JOBS:,} are the most")
    if problems:
        raise UsageError("\n".join(problems))
    return as_task(source, what, options)


def _do(
    task: Task,
    jobs: Sequence[Job],
    done: Mapping[str, Outcome],
    workers: int | None,
    scheduler: str | None,
    log: Log | None,
    progress: Progress | None,
) -> dict[str, Outcome]:
    found = {job.key: done[job.key] for job in jobs if job.key in done}
    left = [job for job in jobs if job.key not in found]
    if progress is not None:
        progress(len(found), len(jobs))
    if not left:
        return found

    def note(outcomes: Sequence[Outcome]) -> None:
        found.update((outcome.key, outcome) for outcome in outcomes)
        if log is not None:
            log.append(outcomes)
        if progress is not None:
            progress(len(found), len(jobs))

    crew = crew_of(workers, scheduler, len(left))
    try:
        suspects = _hand_out(crew, task, left, note)
        _one_by_one(crew, task, suspects, note)
    except BaseException:
        crew.close(at_once=True)
        raise
    crew.close()
    return found


def _hand_out(
    crew: Crew, task: Task, jobs: Sequence[Job], note: Callable[[Sequence[Outcome]], None]
) -> list[Job]:
    """Do jobs in chunks; return those that were handed out when a process died."""
    left = deque(jobs)
    at_work: dict[Future[list[Outcome]], list[Job]] = {}
    suspects: list[Job] = []
    seconds, count = 0.0, 0
    while left or at_work:
        while left and len(at_work) < crew.size + crew.waiting:
            pace = seconds / count if count else CHUNK_SECONDS
            fair = -(-len(left) // crew.size)  # so that the last ones end together
            most = min(MOST_JOBS, fair, max(1, int(CHUNK_SECONDS / max(pace, 1e-6))))
            chunk = [left.popleft() for _ in range(most)]
            at_work[crew.submit(task, chunk)] = chunk
        finished, _ = wait(at_work, return_when=FIRST_COMPLETED)
        broken = False
        for future in finished:
            chunk = at_work.pop(future)
            try:
                outcomes = future.result()
            except crew.lost:
                suspects += chunk
                broken = True
                continue
            seconds, count = _pace(seconds, count, outcomes)
            note(outcomes)
        if broken:
            for chunk in at_work.values():
                suspects += chunk
            at_work.clear()
            crew.mend()
            _probe(crew, task)
    return suspects


def _probe(crew: Crew, task: Task) -> None:
    """Raise `UsageError` if processes end without any job to do."""
    try:
        crew.submit(task, []).result()
    except crew.lost:
        raise UsageError(
            "the worker processes end as soon as they start; a script calls this under "
            'if __name__ == "__main__":, and not at import'
        ) from None


def _pace(seconds: float, count: int, outcomes: Sequence[Outcome]) -> tuple[float, int]:
    """Return the running sums, in which jobs of long ago count little."""
    keep = 0.9 ** len(outcomes)
    taken = sum(outcome.seconds for outcome in outcomes)
    return keep * seconds + taken, int(keep * count) + len(outcomes)


def _one_by_one(
    crew: Crew, task: Task, jobs: Sequence[Job], note: Callable[[Sequence[Outcome]], None]
) -> None:
    """Do jobs of which one ended its process, to find out which one."""
    for job in jobs:
        try:
            note(crew.submit(task, [job]).result())
        except crew.lost:
            note([Outcome(job.key, error="its process died: killed, or out of memory")])
            crew.mend()
