"""Run as a script: DOT on stdin → a picture on stdout, by the Graphviz inside pygraphviz.

A process of its own, so that a layout that takes too long can be ended.
"""

from __future__ import annotations

import sys

NO_PYGRAPHVIZ = 3
NO_FONT = 4

_PROBE = "digraph { node [shape=box]; a [label=iiiiiiiiiiii]; b [label=MMMMMMMMMMMM] }"


def main() -> int:
    """Draw stdin in the format named by the first argument; further ones are graph attributes."""
    try:
        import pygraphviz
    except ImportError:
        return NO_PYGRAPHVIZ
    picture_format, *settings = sys.argv[1:]
    if picture_format in ("png", "pdf") and _has_no_font(pygraphviz.AGraph(string=_PROBE)):
        return NO_FONT
    graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode("utf-8"))
    for setting in settings:
        key, _, value = setting.partition("=")
        graph.graph_attr[key] = value
    sys.stdout.buffer.write(graph.draw(format=picture_format, prog="dot"))
    return 0


def _has_no_font(probe: object) -> bool:
    # Without any font every letter is drawn as the same empty box, so i is as wide as M.
    rows = probe.draw(format="plain", prog="dot").decode().splitlines()  # type: ignore[attr-defined]
    widths = [float(row.split()[4]) for row in rows if row.startswith("node")]
    return widths[0] == widths[1]


if __name__ == "__main__":
    sys.exit(main())
