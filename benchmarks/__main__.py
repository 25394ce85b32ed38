"""Run the benchmarks and print one table: `python -m benchmarks [module …]`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.common import Row


def modules() -> list[str]:
    """Names of the modules of this package that may define `rows()`."""
    return [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name != "__main__"]


def collect(chosen: list[str]) -> list[Row]:
    rows: list[Row] = []
    for name in chosen:
        module = importlib.import_module(f"benchmarks.{name}")
        if hasattr(module, "rows"):
            rows += module.rows()
    return rows


def table(rows: list[Row]) -> Table:
    shown = Table(title="archgraph against the figures to reach", title_justify="left")
    for heading in ("what", "against", "measured", "bar", "", "detail"):
        justify = "right" if heading in ("measured", "bar") else "left"
        shown.add_column(heading, justify=justify, no_wrap=heading in ("measured", "bar", ""))
    for row in rows:
        sign = "≥" if row.better == "higher" else "≤"
        verdict = "[green]pass[/]" if row.passed else "[bold red]FAIL[/]"
        cells = (row.what, row.against, f"{row.ratio:.3g}", f"{sign} {row.bar:g}")
        shown.add_row(*cells, verdict, row.detail)
    return shown


def main(arguments: list[str]) -> int:
    known = modules()
    unknown = [name for name in arguments if name not in known]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    rows = collect(arguments or known)
    Console().print(table(rows))
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
