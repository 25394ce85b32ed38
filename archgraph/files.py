"""Write a file whole or not at all, and see beforehand whether it can be written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from archgraph.errors import UsageError

__all__ = ["check_target", "write_whole"]


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that is to be written, before the work whose result it will hold.

    Raises:
        UsageError: its folder does not exist or takes no files, or it is a folder itself.
    """
    where = Path(path)
    if not where.parent.is_dir():
        raise UsageError(f"cannot write {str(path)!r}: there is no folder {str(where.parent)!r}")
    if where.is_dir():
        raise UsageError(f"cannot write {str(path)!r}: it is a folder")
    if not os.access(where.parent, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {str(path)!r}: no files can be put into its folder")
    return where


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all, and return its path.

    Raises:
        UsageError: it cannot be written; what was there is as it was.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # A temporary file is private; a result has the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
    return path
