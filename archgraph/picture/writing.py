"""Write a drawing to a file, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from archgraph.errors import UsageError
from archgraph.files import write_whole
from archgraph.graph import Graph
from archgraph.picture.diagram import diagram
from archgraph.picture.layout import FORMATS, layout

__all__ = ["check_picture", "render"]


def check_picture(path: str | os.PathLike[str]) -> Path:
    """Return a picture's path.

    Raises:
        UsageError: its suffix is no format.
    """
    where = Path(path)
    if where.suffix[1:].lower() not in FORMATS:
        known = ", ".join(f".{known}" for known in FORMATS)
        raise UsageError(f"cannot tell the format of {where.name!r}: its suffix must be {known}")
    return where


def render(
    graph: Graph, path: str | os.PathLike[str], *, timeout_seconds: float = 60.0, **options: Any
) -> Path:
    """Draw a graph into a file, in the format that its suffix names.

    Args:
        graph: The network.
        path: `….svg`, `….png`, `….pdf` or `….dot`.
        timeout_seconds: Limit of each try of the layout.
        options: As for `diagram`: `wrt`, `flow`, `shapes`, `histogram`, `paths`, ….

    Returns:
        The path that was written.

    Raises:
        UsageError: the suffix is unknown, or the file cannot be written.
        LayoutError: no picture could be made; `path` is as it was.
    """
    where = check_picture(path)
    picture = layout(
        diagram(graph, **options), where.suffix[1:].lower(), timeout_seconds=timeout_seconds
    )
    return write_whole(where, picture)
