"""A progress bar on stderr, for work that takes long and only on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["progress"]

SILENCE: Final = 10.0
"""Seconds without a word, off a terminal."""


@contextmanager
def progress(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that moves a bar; off a terminal a line every 10 seconds.

    Args:
        unit: What is counted, in the plural.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from archgraph.cli.printing import console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield _lines(unit)
        return
    with Progress(*columns, console=shown, transient=True) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(unit: str) -> Callable[[int, int], None]:
    """Return a function that says how far the work is, now and then."""
    said = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= SILENCE and done < total:
            said = time.monotonic()
            print(f"{unit}: {done:,} of {total:,}", file=sys.stderr, flush=True)

    return say
