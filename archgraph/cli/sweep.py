"""The verb sweep."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archgraph.cli.printing import print_json, print_table, say, warn
from archgraph.cli.progress import progress
from archgraph.errors import UsageError
from archgraph.files import check_target

if TYPE_CHECKING:
    from archgraph.sweeping import Sweep
    from archgraph.sweeping.source import Source
    from archgraph.sweeping.table import Point

__all__ = ["read_spec", "run_sweep"]


def run_sweep(arguments: argparse.Namespace) -> int:
    """Do one thing at every point of a grid."""
    from archgraph.sweeping import parse_grid, sweep
    from archgraph.sweeping.formats import check_format

    output = None if arguments.output is None else Path(arguments.output)
    if output is not None:
        check_format(output)
        check_target(output)
    if arguments.plot is not None:
        from archgraph.picture.plots_style import check_plot

        check_target(check_plot(arguments.plot))
    if arguments.fresh and output is None:
        raise UsageError("--fresh forgets the log beside -o, and there is no -o")
    log = None if output is None else output.with_name(f"{output.name}.jobs.jsonl")
    source = read_spec(arguments.spec, arguments.plugin)
    grid = parse_grid(arguments.set, declared=source.params(), where=source.file)
    if arguments.plot is not None:
        from archgraph.picture.plots_sweep import check_varying

        check_varying(grid)
    try:
        with _stoppable(), progress("jobs") as report:
            found = sweep(
                source,
                grid,
                arguments.what,
                seeds=arguments.seeds,
                options=_options(arguments),
                workers=arguments.workers,
                scheduler=arguments.scheduler,
                log=log,
                fresh=arguments.fresh,
                progress=report,
            )
    except KeyboardInterrupt:
        again = "nothing is kept without -o" if log is None else f"{log} has what is done; "
        warn(again + ("" if log is None else "the same command goes on from there"))
        raise
    written = [] if output is None else [found.write(output)]
    if arguments.plot is not None:
        from archgraph.picture.plots_sweep import plot_sweep

        written.append(plot_sweep(found, arguments.plot))
    if arguments.json:
        print_json(found.to_dict())
    else:
        _print(found)
        for path in written:
            say(str(path))
    return _verdict(found)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C meanwhile: processes and what they share are then cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def read_spec(name: str, plugins: list[str]) -> Source:
    """Return a spec's text, from a file, the zoo or stdin."""
    from archgraph.sweeping.source import read_source

    if name == "-":
        return read_source("<stdin>", text=sys.stdin.buffer.read(), plugins=plugins)
    return read_source(name, plugins=plugins)


def _options(arguments: argparse.Namespace) -> Any:
    from archgraph.sweeping.job import Options

    train = True if arguments.train else False if arguments.eval else None
    return Options(
        seed=arguments.seed,
        batch=arguments.batch,
        train=train,
        dtype=arguments.dtype,
        method=arguments.method,
        samples=arguments.samples,
        wrt=tuple(arguments.wrt),
        by=arguments.by,
    )


def _verdict(found: Sweep) -> int:
    """Say what failed; the sweep as a whole is good only if nothing did."""
    if not found.failed:
        return 0
    warn(f"{found.failed:,} of {len(found.outcomes):,} jobs failed:")
    errors = [error for point in found.points for error in point.errors]
    different = list(dict.fromkeys(errors))
    for error in different[:5]:
        warn(f"  {error} ({errors.count(error)} points)")
    if len(different) > 5:
        warn(f"  and {len(different) - 5} other errors; their rows say which")
    return 1


_VALUES = {
    "predict": "E‖∂L/∂V‖² relative to the output's",
    "measure": "E‖∂L/∂V‖² relative to the output's",
    "decompose": "√E‖∂L/∂V‖²",
}


def _print(found: Sweep) -> None:
    options = found.task.options
    say(
        f"{found.task.source.name}: {found.task.what} at {len(found.grid)} points × "
        f"{found.seeds} seeds, {len(found.rows):,} rows, seed {options.seed}"
    )
    targets = sorted({point.target for point in found.points if point.target is not None})
    if targets:
        more = " of each point" if len(targets) > 1 else ""
        say(f"{_VALUES[found.task.what]}, V = {', '.join(targets[:3])}{more}")
    means = list(dict.fromkeys(name for point in found.points for name in point.means))
    columns = [*found.grid.names, "value", "±", "dB", *(n.replace("_", " ") for n in means)]
    columns += ["failed"] if found.failed else []
    scale = 20 if found.task.what == "decompose" else 10
    rows = [_cells(found, point, means, scale) for point in found.points]
    print_table(columns, rows, right=columns[len(found.grid.names) :])


def _cells(found: Sweep, point: Point, means: list[str], scale: int) -> list[str]:
    from archgraph.sweeping.grid import value_text

    values = [value_text(value) for _, value in point.settings]
    decibels = f"{scale * math.log10(point.value):.1f}" if point.value else ""
    numbers = [_number(point.value, 4), _number(point.standard_error, 2), decibels]
    numbers += [_number(point.means.get(name), 4) for name in means]
    return [*values, *numbers, *([f"{point.failed}/{point.jobs}"] if found.failed else [])]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}g}"
