"""Graph → DOT: the network, or the paths along which one gradient flows back through it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Literal

from archgraph.errors import UsageError
from archgraph.graph import Graph
from archgraph.paths import resolve
from archgraph.picture.blocks import fold_blocks
from archgraph.picture.emit import Emitter
from archgraph.picture.flow import Flow, PathRow
from archgraph.picture.fold import fold
from archgraph.picture.frames import framed
from archgraph.picture.panels import LONGEST_LABEL, footer, title
from archgraph.picture.routes import Routes
from archgraph.picture.rows import break_rows, fits_page, fold_wide
from archgraph.picture.scene import Scene, build_scene
from archgraph.picture.style import decades

__all__ = ["diagram"]

MAX_PATH_ROWS = 8
MAX_NODES = 60
ROW_WIDTH = 14.0
PAGE_HEIGHT = 9.5
"""Of the rows, in inches: with title and panels the drawing has about the shape of A4."""


def diagram(
    graph: Graph,
    *,
    wrt: str | None = None,
    flow: Flow | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    histogram: Mapping[int, int] | None = None,
    paths: Sequence[PathRow] | None = None,
    direction: Literal["LR", "TB"] = "LR",
    max_nodes: int | None = None,
    row_width: float = ROW_WIDTH,
    norm_range: tuple[float, float] | None = None,
) -> str:
    """Return a drawing of a graph as DOT text.

    Without a target the network itself: arrows forward, λ on its skips. With one, the paths from
    the target to L: arrows backward, what lies on no path grey and dotted. With a flow, too,
    the line widths grow with √|share|, and colours show the cotangent's norm.

    Args:
        graph: The network.
        wrt: Target of the gradient, a node or a parameter; default that of `flow`.
        flow: A measured or predicted gradient.
        shapes: Shape of each node's value, without the batch axis.
        histogram: Number of paths by length in edges, drawn as bars; default counted here.
        paths: Rows of the table of paths; default those of `flow`, else the paths themselves. More
            than eight are not shown.
        direction: `LR` or `TB`.
        max_nodes: Above this, copies that are alike, straight pieces and blocks are folded into
            one box each; default 60, and fewer where these would not fit an A4 page.
        row_width: Strips that are wider, in inches, are broken into rows.
        norm_range: Ends of the colour scale as log₁₀ of a norm, to share it between drawings;
            default the whole decades that hold the norms of this one.

    Raises:
        TargetError: the target is not in the graph.
        UsageError: the flow is of another target or another graph.

    Cost: linear in the graph, but for the search for repeats when it is folded.
    """
    if direction not in ("LR", "TB"):
        raise UsageError(f"direction {direction!r} is neither 'LR' nor 'TB'")
    wrt = _checked_target(graph, wrt, flow)
    routes = Routes(graph, wrt)
    whole = build_scene(graph, flow=flow, shapes=shapes, routes=routes)
    scene, frames = _folded(whole, graph, max_nodes, row_width)
    strips = break_rows(scene, row_width)
    scale = norm_range or decades([arc.norm for arc in whole.arcs if arc.norm is not None])
    bars = routes.histogram if histogram is None else histogram
    rows = paths if paths is not None else flow.paths if flow else ()
    if not rows and paths is None:
        rows = routes.rows(MAX_PATH_ROWS)
    head = title(
        graph.name,
        wrt=wrt,
        flow=flow,
        count=flow.count if flow and flow.count is not None else sum(bars.values()),
        notes=[f"{scene.hidden} of {len(graph.nodes)} nodes folded"] if scene.hidden else [],
    )
    foot = footer(
        strips.scene,
        wrt=wrt,
        flow=flow,
        scale=scale,
        histogram=bars if wrt else {},
        paths=_named(rows, scene) if len(rows) <= MAX_PATH_ROWS else (),
    )
    return Emitter(strips, backward=wrt is not None, flow=flow, scale=scale, frames=frames).emit(
        graph.name, direction, head, foot
    )


def _folded(
    whole: Scene, graph: Graph, max_nodes: int | None, row_width: float
) -> tuple[Scene, Mapping[str, str]]:
    """Return the least folded scene that fits, and the titles of its frames."""
    limit = MAX_NODES if max_nodes is None else max_nodes
    found: tuple[Scene, Mapping[str, str]] | None = None
    for scene in _candidates(whole, graph, limit):
        narrow = scene if max_nodes is not None else fold_wide(scene, row_width)
        found = framed(narrow, graph)
        if len(found[0].vertices) > limit:
            continue
        if max_nodes is not None:
            break
        if fits_page(break_rows(found[0], row_width), row_width, PAGE_HEIGHT):
            break
    assert found is not None
    return found


def _candidates(whole: Scene, graph: Graph, limit: int) -> Iterator[Scene]:
    """Yield a scene folded more and more, by its blocks first."""
    yield whole
    scene = whole
    for scene in fold_blocks(whole, graph):
        yield scene
    for part in (limit, 2 * limit // 3, limit // 3):
        yield fold(scene, part)


def _named(rows: Sequence[PathRow], scene: Scene) -> list[PathRow]:
    """Return the rows of the table of paths, in each what a box hides under the box's name.

    Where one would be too long, what all paths share is left out of all, so that they stay apart.
    """
    boxes = {name: vertex.value for vertex in scene.vertices for name in vertex.hides}
    shown = [[key for key, _ in groupby(boxes.get(n, n) for n in row.nodes)] for row in rows]
    if any(len(" ← ".join(names)) > LONGEST_LABEL for names in shown):
        shared = set.intersection(*(set(names) for names in shown))
        shown = [_without(names, shared) for names in shown]
    return [
        replace(row, label=" ← ".join(names) + row.note if row.nodes else row.label)
        for row, names in zip(rows, shown, strict=True)
    ]


def _without(names: Sequence[str], shared: Collection[str]) -> list[str]:
    """Return the names on a path with an … for each run of shared ones between its ends."""
    inner = ("…" if name in shared else name for name in names[1:-1])
    runs = [key for key, run in groupby(inner) for _ in ([key] if key == "…" else run)]
    return [*names[:1], *runs, *names[-1:]]


def _checked_target(graph: Graph, wrt: str | None, flow: Flow | None) -> str | None:
    if flow is None:
        return wrt
    if wrt is not None and wrt != flow.wrt:
        raise UsageError(f"the flow given is of ∂L/∂{flow.wrt}, not of ∂L/∂{wrt}")
    entries = {edge_id for edge_id, *_ in resolve(graph, flow.wrt).entries}
    for edge_id in (*flow.shares, *flow.norms):
        if edge_id not in graph.edge_positions and edge_id not in entries:
            graph.edge(edge_id)  # raises, with a suggestion
    return flow.wrt
