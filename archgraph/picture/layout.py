"""DOT text → a picture, by whichever Graphviz there is, within a time limit."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from archgraph.errors import ArchgraphError, UsageError
from archgraph.picture import wheel

__all__ = ["FORMATS", "LayoutError", "layout"]

FORMATS: Final = ("svg", "png", "pdf", "dot")
DPI: Final = 144
# Bounds on the network simplex and on the passes that lessen crossings: a layout a little worse,
# in a fraction of the time.
QUICK: Final = ("nslimit=1", "nslimit1=1", "mclimit=0.1")


class LayoutError(ArchgraphError):
    """No picture could be drawn; `dot` holds the DOT text that was to be."""

    def __init__(self, message: str, dot: str) -> None:
        super().__init__(message)
        self.dot = dot

    def __reduce__(self) -> tuple[type[LayoutError], tuple[str, str]]:
        return type(self), (str(self), self.dot)


def layout(dot: str, picture_format: str, *, timeout_seconds: float = 60.0) -> bytes:
    """Return DOT text as a picture.

    The `dot` program on PATH draws it, if there is one and it works; else the Graphviz inside the
    pygraphviz wheel does, in a process of its own. What takes longer than the limit is ended and
    tried once more with bounds on Graphviz's own iterations.

    Args:
        dot: The graph.
        picture_format: `svg`, `png`, `pdf` or `dot` (the text itself, without positions).
        timeout_seconds: Limit of each try.

    Raises:
        UsageError: the format is unknown.
        LayoutError: it takes too long, or Graphviz is missing or refuses; the error has the DOT.

    Cost: a process start, and Graphviz's layout, which may be cubic in the number of nodes.
    """
    if picture_format not in FORMATS:
        raise UsageError(
            f"unknown picture format {picture_format!r}; known are {', '.join(FORMATS)}"
        )
    if picture_format == "dot":
        return dot.encode("utf-8")
    try:
        return _draw(dot, picture_format, (), timeout_seconds)
    except subprocess.TimeoutExpired:
        pass
    try:
        return _draw(dot, picture_format, QUICK, timeout_seconds)
    except subprocess.TimeoutExpired:
        raise LayoutError(
            f"the layout takes more than {timeout_seconds:g} s, twice; the DOT text is kept; "
            "draw fewer nodes (a lower --max-nodes folds more), or a part of the network",
            dot,
        ) from None


def _draw(dot: str, picture_format: str, settings: Sequence[str], timeout: float) -> bytes:
    deadline = time.monotonic() + timeout
    complaints = []
    for command in _commands(picture_format, settings):
        try:
            done = _run(command, dot.encode("utf-8", "replace"), deadline - time.monotonic())
        except OSError as error:
            complaints.append(f"{Path(command[0]).name}: {error.strerror}")
            continue
        if done.returncode == 0 and done.stdout:
            return done.stdout
        complaints.append(_complaint(command, done))
    raise LayoutError("; ".join(complaints), dot)


def _run(command: Sequence[str], data: bytes, timeout: float) -> subprocess.CompletedProcess[bytes]:
    """Run a command; when time is up, or on any other exception, end it and all its children."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(data, timeout=max(0.01, timeout))
        except BaseException:
            # A wrapper script's child would hold the pipes open, and waiting for it would hang.
            if hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _commands(picture_format: str, settings: Sequence[str]) -> list[list[str]]:
    resolution = [f"dpi={DPI}"] if picture_format == "png" else []
    wanted = [*resolution, *settings]
    commands = []
    if program := shutil.which("dot"):
        commands.append([program, f"-T{picture_format}", *(f"-G{item}" for item in wanted)])
    # -P: the script's own folder must not shadow modules that pygraphviz imports.
    commands.append([sys.executable, "-P", str(Path(wheel.__file__)), picture_format, *wanted])
    return commands


def _complaint(command: Sequence[str], done: subprocess.CompletedProcess[bytes]) -> str:
    if command[0] == sys.executable:
        if done.returncode == wheel.NO_PYGRAPHVIZ:
            return (
                "no Graphviz was found: there is no dot program on PATH, and the package "
                "pygraphviz is not installed"
            )
        if done.returncode == wheel.NO_FONT:
            return (
                "this machine has no fonts, so the picture would have no letters; draw an .svg, "
                "which uses the reader's fonts, or install one (for example DejaVu)"
            )
    lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    said = [line for line in lines if "warning" not in line.lower()] or lines
    if done.returncode < 0:
        return f"Graphviz was ended by signal {-done.returncode}"
    return f"Graphviz refused the drawing: {said[-1] if said else f'exit {done.returncode}'}"
