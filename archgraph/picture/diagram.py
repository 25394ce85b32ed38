"""Graph → DOT: the network, or the paths along which one gradient flows back through it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import graphviz

from archgraph.errors import UsageError
from archgraph.expression import format_number
from archgraph.graph import Edge, Graph
from archgraph.picture.flow import Flow, PathRow
from archgraph.picture.fold import fold
from archgraph.picture.panels import footer, title
from archgraph.picture.rows import Strips, break_rows, ranks
from archgraph.picture.scene import Arc, Scene, Vertex, build_scene
from archgraph.picture.style import (
    ALERT,
    FONT,
    GREY,
    INK,
    NEUTRAL,
    SHAPES,
    arrow_size,
    colour,
    decades,
    line_width,
    number_text,
    percent,
    safe,
    shorten,
)

__all__ = ["diagram"]

MAX_PATH_ROWS = 8
_GREEK = {"lam": "λ", "lambda": "λ", "lmbda": "λ", "alpha": "α", "beta": "β", "gamma": "γ"}


def diagram(
    graph: Graph,
    *,
    wrt: str | None = None,
    flow: Flow | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    histogram: Mapping[int, int] | None = None,
    paths: Sequence[PathRow] = (),
    direction: Literal["LR", "TB"] = "LR",
    max_nodes: int = 60,
    row_length: int = 16,
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
        histogram: Number of paths by length in edges, drawn as bars.
        paths: Rows of the table of paths where `flow` has none; shown up to eight.
        direction: `LR` or `TB`.
        max_nodes: Above this, runs of alike blocks are folded into one box each.
        row_length: Longer strips are broken into rows of about this many ranks.
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
    whole = build_scene(graph, wrt=wrt, flow=flow, shapes=shapes)
    scene = fold(whole, max_nodes)
    strips = break_rows(scene, row_length)
    norms = [arc.norm for arc in whole.arcs if arc.norm is not None]
    scale = norm_range or decades(norms)
    shown = (flow.paths if flow and flow.paths else tuple(paths)) if wrt else ()
    bars = dict(histogram or {}) if wrt else {}
    count = flow.count if flow and flow.count is not None else None
    if count is None and bars:
        count = sum(bars.values())
    head = title(
        graph.name,
        wrt=wrt,
        flow=flow,
        count=count,
        notes=[f"{scene.hidden} nodes folded"] if scene.hidden else [],
    )
    foot = footer(
        strips.scene,
        wrt=wrt,
        flow=flow,
        scale=scale,
        histogram=bars,
        paths=shown if len(shown) <= MAX_PATH_ROWS else (),
    )
    return _Emitter(strips, backward=wrt is not None, flow=flow, scale=scale).emit(
        graph.name, direction, head, foot
    )


def _checked_target(graph: Graph, wrt: str | None, flow: Flow | None) -> str | None:
    if flow is None:
        return wrt
    if wrt is not None and wrt != flow.wrt:
        raise UsageError(f"the flow given is of ∂L/∂{flow.wrt}, not of ∂L/∂{wrt}")
    known = graph.edge_positions
    for edge_id in (*flow.shares, *flow.norms):
        if edge_id not in known and not edge_id.startswith(f"{flow.wrt}->"):
            graph.edge(edge_id)  # raises, with a suggestion
    return flow.wrt


class _Emitter:
    """Writes one scene as DOT."""

    def __init__(
        self,
        strips: Strips,
        *,
        backward: bool,
        flow: Flow | None,
        scale: tuple[float, float] | None,
    ) -> None:
        self._scene, self._rows = strips.scene, strips.rows
        self._backward, self._flow, self._scale = backward, flow, scale
        self._ids = _dot_ids(self._scene)
        self._ranks = ranks(self._scene)
        self._spine = _spine(self._scene, self._ranks)
        self._forks = _forks(self._scene)

    def emit(self, name: str, direction: str, head: str, foot: str) -> str:
        dot = graphviz.Digraph(name=_plain(name))
        dot.attr(
            "graph",
            bgcolor="white",
            fontname=FONT,
            fontsize="11",
            label=foot,
            labeljust="l",
            labelloc="b",
            nodesep="0.25",
            pad="0.2",
            rankdir=direction,
            ranksep="0.32",
            tooltip=_plain(name),
        )
        dot.attr("node", color="#444444", fillcolor="white", fontname=FONT, fontsize="11")
        dot.attr("node", height="0.3", margin="0.1,0.05", style="filled")
        dot.attr("edge", fontcolor=INK, fontname=FONT, fontsize="9")
        if self._backward:
            dot.attr("edge", arrowhead="none", arrowtail="normal", dir="back")
        with dot.subgraph(name="cluster_network") as inner:
            inner.attr(label=f"<{head}>", labeljust="l", labelloc="t", peripheries="0", margin="4")
            for vertex in self._scene.vertices:
                inner.node(self._ids[vertex.key], **self._node_attributes(vertex))
            for arc in self._scene.arcs:
                ends = self._ids[arc.source], self._ids[arc.target]
                inner.edge(*ends, **self._edge_attributes(arc))
            self._stack_rows(inner, direction)
        return str(dot.source)

    def _stack_rows(self, dot: graphviz.Digraph, direction: str) -> None:
        """Keep the rows in order: invisible lines between their first vertices, in one rank."""
        firsts = [self._ids[row[0]] for row in self._rows]
        if direction == "LR":
            firsts.reverse()  # within a rank, dot then counts from the bottom
        if len(firsts) < 2:
            return
        with dot.subgraph() as same:
            same.attr(rank="same")
            for above, below in pairwise(firsts):
                same.edge(above, below, style="invis")

    def _node_attributes(self, vertex: Vertex) -> dict[str, str]:
        attributes = dict(SHAPES[vertex.kind])
        lines = [safe(vertex.lines[0])]
        lines += (
            f'<FONT POINT-SIZE="9" COLOR="{NEUTRAL}">{safe(line)}</FONT>'
            for line in vertex.lines[1:]
        )
        if vertex.alert:
            lines.append(f'<FONT COLOR="{ALERT}"><B>⚠ {vertex.alert}</B></FONT>')
            attributes |= {"color": ALERT, "penwidth": "2.5"}
            if "fixedsize" in attributes:
                attributes["fixedsize"] = "false"
        elif vertex.target:
            attributes["penwidth"] = "2.5"
        if not vertex.carries:
            attributes |= {"color": GREY, "fontcolor": GREY}
            lines = [re.sub(' COLOR="[^"]*"', "", line) for line in lines]
        attributes["label"] = f"<{'<BR/>'.join(lines)}>"
        tooltip = vertex.tooltip or vertex.lines[0]
        if vertex.rms is not None:
            tooltip += f" · gradient per element (rms) {number_text(vertex.rms)}"
        attributes["tooltip"] = _plain(tooltip)
        if vertex.node:
            attributes["id"] = _plain(vertex.node)
        if vertex.key in self._spine:
            attributes["group"] = "spine"
        return attributes

    def _edge_attributes(self, arc: Arc) -> dict[str, str]:
        skip = arc.edge is not None and arc.edge.role == "skip"
        spine = arc.source in self._spine and arc.target in self._spine
        near = self._ranks[arc.target] - self._ranks[arc.source] == 1
        attributes = {"weight": "100" if spine and near else "1"}
        if arc.edge:
            attributes["id"] = _plain(arc.edge.id)
        tooltip = self._tooltip(arc)
        attributes |= {"tooltip": tooltip, "labeltooltip": tooltip}
        width = line_width(arc.share) if self._flow and arc.carries else 1.2
        if label := self._label(arc, skip):
            attributes["label"] = _on_white(label, width)
        if not arc.carries:
            return attributes | {"color": GREY, "style": "dotted", "dir": "none"}
        attributes["style"] = "dashed" if skip else "solid"
        attributes["penwidth"] = f"{width:.2f}"
        attributes["arrowsize"] = f"{arrow_size(width):.2f}"
        attributes["color"] = self._colour(arc)
        return attributes

    def _colour(self, arc: Arc) -> str:
        if not self._flow:
            return NEUTRAL
        negative = arc.share is not None and arc.share < 0
        return colour(arc.norm, self._scale, negative=negative)

    def _label(self, arc: Arc, skip: bool) -> str:
        parts = [arc.port] if arc.port else []
        told = skip and arc.carries and arc.edge is not None and arc.edge.kind == "add"
        if arc.edge and (told or not arc.edge.scale.is_one):
            parts.append(_scale_text(arc.edge))
        if self._flow and arc.share is not None and arc.carries and arc.source in self._forks:
            parts.append(percent(arc.share))
        return " · ".join(parts)

    def _tooltip(self, arc: Arc) -> str:
        parts = [arc.edge.id if arc.edge else f"{arc.source} → {arc.target}"]
        if arc.edge:
            parts += [_scale_text(arc.edge), arc.edge.role if arc.edge.role != "none" else ""]
        if not arc.carries:
            parts.append("carries nothing here")
        elif self._flow:
            parts.append("share " + percent(arc.share) if arc.share is not None else "not measured")
            parts.append(f"‖cotangent‖ {number_text(arc.norm)}" if arc.norm is not None else "")
        return _plain(" · ".join(part for part in parts if part))


def _scale_text(edge: Edge) -> str:
    """Return λ as the spec spells it and its number: `λ=0.9`, `α=0, learnable`."""
    scale = edge.scale
    number = format_number(scale.value, 4).replace("-", "−")
    if scale.learn:
        name = scale.learn.name.rpartition(".")[2]
        return f"{_GREEK.get(name, shorten(name, 14))}={number}, learnable"
    text = scale.text or "lam"
    if text.isidentifier():
        return f"{_GREEK.get(text, shorten(text, 14))}={number}"
    return f"λ={shorten(text, 14)}={number}"


def _on_white(text: str, width: float) -> str:
    """Return a label on white ground, with room below it for half of a line `width` points wide."""
    return (
        '<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1"><TR>'
        f'<TD BGCOLOR="white">{safe(text)}</TD></TR>'
        f'<TR><TD HEIGHT="{round(width / 2) + 1}"></TD></TR></TABLE>>'
    )


def _plain(text: str) -> str:
    """Return text for an attribute that is not HTML-like: no escapes, no control characters."""
    text = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]", "�", text)
    return str(graphviz.escape(text))


def _dot_ids(scene: Scene) -> Mapping[str, str]:
    """Return a DOT name for each vertex; colons would be ports, backslashes escapes."""
    taken: dict[str, str] = {}
    for vertex in scene.vertices:
        name = re.sub(r"[^\w.~ +‖×…']", "_", vertex.key)
        while name in taken:
            name += "_"
        taken[name] = vertex.key
    return {key: name for name, key in taken.items()}


def _spine(scene: Scene, rank: Mapping[str, int]) -> frozenset[str]:
    """Return the vertices of a longest way through each row, which is drawn straight."""
    into: dict[str, list[str]] = {}
    for arc in scene.arcs:
        into.setdefault(arc.target, []).append(arc.source)
    ends = {vertex.key for vertex in scene.vertices} - {arc.source for arc in scene.arcs}
    spine: set[str] = set()
    for end in ends:
        key: str | None = end
        while key is not None and key not in spine:
            spine.add(key)
            before = [s for s in into.get(key, ()) if rank[s] == rank[key] - 1]
            key = before[0] if before else None
    return frozenset(spine)


def _forks(scene: Scene) -> frozenset[str]:
    """Return the vertices from which several lines carry something: there shares are told apart."""
    seen: set[str] = set()
    forks: set[str] = set()
    for arc in scene.arcs:
        if arc.carries:
            (forks if arc.source in seen else seen).add(arc.source)
    return frozenset(forks)
