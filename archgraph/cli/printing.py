"""Print JSON, tables and messages."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archgraph.files import write_whole

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "console",
    "number",
    "print_json",
    "print_table",
    "say",
    "short_count",
    "warn",
    "write_text",
]


def warn(text: str) -> None:
    """Print a message for a person on stderr."""
    print(text, file=sys.stderr)


def say(text: str = "") -> None:
    """Print a line of the answer."""
    print(text)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number to so many digits, or nothing where there is none."""
    return "" if value is None else f"{value:.{digits}g}"


def short_count(count: int) -> str:
    """Return a count in full if it is below 10^15, else rounded, of any size."""
    if count < 10**15:
        return str(count)
    exponent = math.floor(math.log10(count))
    mantissa = f"{count / 10**exponent:.4g}"
    return f"{mantissa}e+{exponent}" if mantissa != "10" else f"1e+{exponent + 1}"


def print_json(value: Any) -> None:
    """Print one JSON object: numbers at full precision, integers of any size whole."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        print(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))
    finally:
        sys.set_int_max_str_digits(limit)


def console(*, stderr: bool = False) -> Console:
    """Return a rich console; wide where the output is no terminal, so that nothing is cut."""
    from rich.console import Console

    plain = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return plain if plain.is_terminal else Console(stderr=stderr, highlight=False, width=140)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()
) -> None:
    """Print a table.

    Args:
        columns: Their headings.
        rows: The cells.
        right: The columns that are aligned to the right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console().print(table)


def write_text(path: str, text: str) -> Path:
    """Write a text file whole or not at all, and return its path.

    Raises:
        UsageError: it cannot be written.
    """
    return write_whole(Path(path), text.encode())
