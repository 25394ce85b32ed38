"""The log of a sweep: a line for every job that is done, so that a sweep can stop and go on."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from archgraph.errors import UsageError
from archgraph.sweeping.job import Outcome

__all__ = ["Log"]

_TOLD: Final = {
    "digest": "the spec",
    "archgraph": "archgraph's version",
    "torch": "torch's version",
    "what": "what is done",
}


class Log:
    """A file of JSON lines: a header, then one job each.

    A line is there whole or not at all: lines are written at once and synced, and what a kill
    left of a last one is cut off when the log is opened again.

    Args:
        path: The file; it need not be there yet.
        header: What must be the same for jobs to belong together.
        fresh: Whether to forget what is in it.

    Raises:
        UsageError: it belongs to another sweep, another one is writing it just now, or it cannot
            be written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = path
        self.done: dict[str, Outcome] = {}
        """The jobs that gave something, by key; those that failed are tried again."""
        try:
            self._file: BinaryIO = path.open("a+b")
        except OSError as error:
            raise UsageError(f"cannot write {str(path)!r}: {error.strerror}") from None
        try:
            _lock(self._file, path)
            if fresh:
                self._file.truncate(0)
            self._read(header)
        except BaseException:
            self._file.close()
            raise

    def _read(self, header: Mapping[str, Any]) -> None:
        self._file.seek(0)
        end = 0
        first = True
        for line in self._file:
            found = _parsed(line)
            if found is None:
                break
            if first:
                _compare(found, header, self.path)
                first = False
            else:
                self._note(found)
            end += len(line)
        # Behind a torn line nothing can be trusted, and its jobs are done again.
        self._file.truncate(end)
        if first:
            self._write([dict(header)])

    def _note(self, line: Mapping[str, Any]) -> None:
        key, error = str(line["key"]), line["error"]
        if error is None or line["rows"]:
            self.done[key] = Outcome(key, tuple(line["rows"]), error)

    def append(self, outcomes: Iterable[Outcome]) -> None:
        """Add jobs that are done, all of them or none.

        Raises:
            UsageError: the disk is full, or the like.
        """
        try:
            self._write([outcome.to_dict() for outcome in outcomes])
        except OSError as error:
            raise UsageError(f"cannot write {str(self.path)!r}: {error.strerror}") from None

    def _write(self, records: Iterable[Mapping[str, Any]]) -> None:
        lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records]
        self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let another sweep have the file."""
        self._file.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return None


def _compare(found: Mapping[str, Any], header: Mapping[str, Any], path: Path) -> None:
    """Raise `UsageError` if a log's header is not this sweep's."""
    differ = [name for name in header if found.get(name) != header[name]]
    if not differ:
        return
    old, new = found.get("options") or {}, header.get("options") or {}
    names = [_TOLD.get(name, name) for name in differ if name != "options"]
    changed = [name for name in new if old.get(name) != new[name]]
    names += [f"{name} ({old.get(name)}, now {new[name]})" for name in changed]
    raise UsageError(
        f"{str(path)!r} is the log of another sweep; what differs: {', '.join(names)}\n"
        "give another -o, or --fresh to forget what was done"
    )


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"another sweep is writing {str(path)!r} just now") from None
