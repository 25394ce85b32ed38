"""The files that a sweep is written into: CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from archgraph.errors import UsageError

if TYPE_CHECKING:
    from archgraph.sweeping.table import Sweep

__all__ = ["as_bytes", "check_format"]

_TEXTS: Final = frozenset({"what", "kind", "name", "method", "error"})


def check_format(path: Path) -> None:
    """Raise `UsageError` if no table is written into a file with this suffix."""
    if path.suffix.lower() not in FORMATS:
        known = ", ".join(FORMATS)
        raise UsageError(f"cannot tell the format of {path.name!r}: its suffix must be {known}")
    if path.suffix.lower() == ".parquet":
        _parquet_modules()


def as_bytes(found: Sweep, path: Path) -> bytes:
    """Return what a file with this path's suffix holds; see `Sweep.write`."""
    check_format(path)
    return FORMATS[path.suffix.lower()](found)


def _csv(found: Sweep) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, found.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.rows)
    return text.getvalue().encode()


def _json(found: Sweep) -> bytes:
    return (json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False) + "\n").encode()


def _parquet(found: Sweep) -> bytes:
    arrow, parquet = _parquet_modules()
    numbers = {"replicate": arrow.int64(), "seed": arrow.int64()}
    columns = {}
    for name in found.columns:
        values = [row[name] for row in found.rows]
        if name in found.grid.names:
            columns[name] = arrow.array(_even(values))
            continue
        # A column that is empty here has the type that it has elsewhere.
        kind = arrow.string() if name in _TEXTS else numbers.get(name, arrow.float64())
        columns[name] = arrow.array(values, kind)
    file = io.BytesIO()
    parquet.write_table(arrow.table(columns), file)
    return file.getvalue()


def _even(values: list[Any]) -> list[Any]:
    """Return a param's column as one type: of numbers and texts, all as text."""
    if {type(value) for value in values} <= {bool}:
        return values
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        whole = all(isinstance(value, int) for value in values)
        return values if whole else [float(value) for value in values]
    return [None if value is None else str(value) for value in values]


def _parquet_modules() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            "Parquet needs the package 'pyarrow': pip install 'archgraph-nn[parquet]', "
            "or write a .csv"
        ) from None
    return pyarrow, parquet


FORMATS: Final[Mapping[str, Callable[[Sweep], bytes]]] = {
    ".csv": _csv,
    ".json": _json,
    ".parquet": _parquet,
}
"""By suffix of the file."""
