"""Print how far the zoo is from its references: `python -m tests.parity [spec …]`."""

from __future__ import annotations

import sys
import time

import torch
from rich.console import Console
from rich.table import Table

from tests.parity.cases import CASES
from tests.parity.comparing import Parity, compare
from tests.references import MissingReferenceError

HEADINGS = ("network", "keys equal", "max |Δ output|", "max |Δ buffer|", "max Δ gradient", "", "s")


def cells(row: Parity, seconds: float) -> tuple[str, ...]:
    """Return one line of the table."""
    keys = f"{row.keys}" if row.first_difference is None else f"NO: {row.first_difference}"
    verdict = "[green]ok[/]" if row.ok else "[bold red]FAIL[/]"
    measured = (f"{value:.1e}" for value in (row.output, row.buffers, row.gradient))
    return (row.name, keys, *measured, verdict, f"{seconds:.1f}")


def main(chosen: list[str]) -> int:
    """Compare the networks of the chosen specs, or all; return the exit code."""
    unknown = sorted(set(chosen) - {case.spec for case in CASES})
    if unknown:
        print(f"no reference for {', '.join(unknown)}", file=sys.stderr)
        return 2
    title = "The zoo against its references with the same weights; all differences relative"
    table = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("network", "") else "right")
    torch.set_num_threads(1)  # several wait for each other where the machine is shared
    failed = False
    for case in CASES:
        if chosen and case.spec not in chosen:
            continue
        start = time.perf_counter()
        try:
            row = compare(case)
        except MissingReferenceError as error:
            print(error, file=sys.stderr)
            return 2
        failed |= not row.ok
        table.add_row(*cells(row, time.perf_counter() - start))
    wide = None if sys.stdout.isatty() else 120
    Console(width=wide).print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
