"""Who does the jobs: this process, processes of this machine, or a Dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any, Final, Protocol

from archgraph.errors import UsageError
from archgraph.sweeping.job import Job, Outcome, Task
from archgraph.sweeping.work import run_jobs

__all__ = ["Crew", "Here", "Processes", "count_processors", "crew_of"]

PATIENCE_SECONDS: Final = 10
"""How long a Dask scheduler may take to answer."""


class Crew(Protocol):
    """Does chunks of jobs, some at a time."""

    size: int
    """How many chunks are done at a time."""
    waiting: int
    """How many more are worth handing out, so that nobody waits for the next."""

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        """What a chunk's future raises if the process that did it died."""

    def submit(self, task: Task, jobs: Sequence[Job]) -> Future[list[Outcome]]:
        """Hand out a chunk."""

    def mend(self) -> None:
        """Take on new processes after some were lost; chunks that were handed out are lost too."""

    def close(self, *, at_once: bool = False) -> None:
        """Let everyone go; `at_once` without waiting for what they are at."""


def crew_of(workers: int | None, scheduler: str | None, jobs: int) -> Crew:
    """Return a crew.

    Args:
        workers: Number of processes; 1 is this one, None one for each processor.
        scheduler: Address of a Dask scheduler, instead.
        jobs: How many there are; no more processes than that are worth starting.

    Raises:
        UsageError: both are given, or the scheduler does not answer.
    """
    if scheduler is not None:
        if workers is not None:
            raise UsageError("a Dask cluster has its own workers: leave --workers out")
        return _Cluster(scheduler)
    count = min(workers or count_processors(), jobs)
    return Here() if count == 1 else Processes(count)


def count_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Here:
    """This process does the jobs, when they are handed out."""

    size = 1
    waiting = 0
    lost: tuple[type[BaseException], ...] = ()

    def submit(self, task: Task, jobs: Sequence[Job]) -> Future[list[Outcome]]:
        """Do a chunk."""
        future: Future[list[Outcome]] = Future()
        future.set_result(run_jobs(task, jobs))
        return future

    def mend(self) -> None:
        """Do nothing: if this process dies, nobody is left to call this."""

    def close(self, *, at_once: bool = False) -> None:
        """Do nothing."""


class Processes:
    """Processes of this machine, spawned, so that they share no state with this one."""

    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)

    def __init__(self, count: int) -> None:
        self.size = count
        self.waiting = count
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.size, mp_context=context, initializer=_prepare)

    def submit(self, task: Task, jobs: Sequence[Job]) -> Future[list[Outcome]]:
        """Hand out a chunk."""
        try:
            return self._pool.submit(run_jobs, task, jobs)
        except BrokenExecutor as error:
            future: Future[list[Outcome]] = Future()
            future.set_exception(error)
            return future

    def mend(self) -> None:
        """Spawn new processes."""
        self.close(at_once=True)
        self._pool = self._new()

    def close(self, *, at_once: bool = False) -> None:
        """End the processes."""
        processes = list((self._pool._processes or {}).values()) if at_once else []
        self._pool.shutdown(wait=not at_once, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def _prepare() -> None:
    """Make ready a process that was just spawned."""
    # Ctrl-C is for the process that hands out the jobs; it ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    import torch

    torch.set_num_threads(1)


def _die_with(sentinel: Any) -> None:
    """End this process when its parent has ended, killed perhaps, and could not say so."""
    wait([sentinel])
    os._exit(1)


class _Cluster:
    """The workers of a Dask cluster."""

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError:
            raise UsageError(
                "--scheduler needs the package 'distributed': pip install 'archgraph-nn[dask]'"
            ) from None
        try:
            self._client: Any = distributed.Client(address, timeout=PATIENCE_SECONDS)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UsageError(f"no Dask scheduler answers at {address!r}: {reason}") from None
        workers = self._client.nthreads()
        if not workers:
            self.close(at_once=True)
            raise UsageError(f"the Dask cluster at {address!r} has no workers")
        self.lost: tuple[type[BaseException], ...] = (
            distributed.KilledWorker,
            distributed.CancelledError,
        )
        # A process does one job at a time, however many threads it has.
        self.size = len(workers)
        self.waiting = len(workers)
        self._executor: Executor = self._client.get_executor(pure=False)

    def submit(self, task: Task, jobs: Sequence[Job]) -> Future[list[Outcome]]:
        """Hand out a chunk."""
        return self._executor.submit(run_jobs, task, jobs)

    def mend(self) -> None:
        """Do nothing: the cluster replaces its workers itself."""

    def close(self, *, at_once: bool = False) -> None:
        """Leave the cluster, which goes on."""
        with contextlib.suppress(Exception):
            if not at_once:
                self._executor.shutdown(wait=False)
            self._client.close()
