"""Scene → DOT text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

import graphviz

from archgraph.expression import format_number
from archgraph.graph import Edge
from archgraph.picture.flow import Flow
from archgraph.picture.rows import Strips, ranks
from archgraph.picture.scene import Arc, Scene, Vertex
from archgraph.picture.style import (
    ALERT,
    FONT,
    GREY,
    INK,
    NEUTRAL,
    SHAPES,
    arrow_size,
    colour,
    count_text,
    line_width,
    number_text,
    percent,
    safe,
    shorten,
)

__all__ = ["Emitter"]

_GREEK = {"lam": "λ", "lambda": "λ", "lmbda": "λ", "alpha": "α", "beta": "β", "gamma": "γ"}


class Emitter:
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
        self._row_of = {key: i for i, row in enumerate(strips.rows) for key in row}
        self._jumps = self._find_jumps()
        self._middles = 0

    def _find_jumps(self) -> list[tuple[Arc, int, int]]:
        """Return the lines that jump over part of the spine, with the ranks of their ends."""
        ends = [(a, self._ranks[a.source], self._ranks[a.target]) for a in self._scene.arcs]
        return [
            (arc, low, high)
            for arc, low, high in ends
            if high - low > 1 and {arc.source, arc.target} <= self._spine
        ]

    def emit(self, name: str, direction: str, head: str, foot: str) -> str:
        """Return the DOT text, with `head` above the network and `foot` below it."""
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
                self._add_arc(inner, arc, direction)
            self._stack_rows(inner, direction)
        return str(dot.source)

    def _add_arc(self, dot: graphviz.Digraph, arc: Arc, direction: str) -> None:
        """Add a line; one that jumps over part of the spine gets its label in its middle.

        There the label is a node of its own: dot then never draws the line across the spine, whose
        vertices are one `group`, and the label stands on no line.
        """
        source, target = self._ids[arc.source], self._ids[arc.target]
        attributes = self._edge_attributes(arc)
        label = self._label(arc)
        span = self._ranks[arc.target] - self._ranks[arc.source]
        if span < 2 or not {arc.source, arc.target} <= self._spine:
            if label:
                attributes["label"] = _on_white(label, float(attributes.get("penwidth", 1)))
            dot.edge(source, target, **attributes)
            return
        self._middles += 1
        middle = f"#{self._middles}"  # no vertex is called so: see `_dot_ids`
        if label:
            text = {"shape": "plain", "style": "", "fontcolor": INK, "fontsize": "9"}
            dot.node(middle, label=f"< {safe(label)} >", tooltip=attributes["tooltip"], **text)
        else:
            dot.node(middle, label="", shape="point", width="0.01", style="invis")
        if self._is_free(arc):
            self._place_above(dot, arc, middle)
        halves = [attributes, attributes | {"dir": "none"}]
        if not self._backward:
            halves.reverse()
        halves[1].pop("id", None)
        # Ports make a line level in its middle. On long halves they may make dot's curve overshoot,
        # so a faint line goes without.
        first, second = span // 2, span - span // 2
        near, far = (":w", ":e") if direction == "LR" else (":n", ":s")
        tail = middle + (near if arc.carries or first == 1 else "")
        head = middle + (far if arc.carries or second == 1 else "")
        dot.edge(source, tail, **halves[0], minlen=str(first))
        dot.edge(head, target, **halves[1], minlen=str(second))

    def _is_free(self, arc: Arc) -> bool:
        """Whether no other line over the spine begins under this one and ends beyond it, or so."""
        low, high = self._ranks[arc.source], self._ranks[arc.target]
        row = self._row_of[arc.source]
        return not any(
            row == self._row_of[other.source] and (low < a < high < b or a < low < b < high)
            for other, a, b in self._jumps
        )

    def _place_above(self, dot: graphviz.Digraph, arc: Arc, middle: str) -> None:
        """Keep the middle of a line above the spine: so the arcs of a strip look alike."""
        half = (self._ranks[arc.target] - self._ranks[arc.source]) // 2
        rank = self._ranks[arc.source] + half
        row = self._rows[self._row_of[arc.source]]
        spine = [key for key in row if key in self._spine and self._ranks[key] == rank]
        if not spine:
            return
        with dot.subgraph() as same:
            same.attr(rank="same")
            same.edge(self._ids[spine[0]], middle, style="invis")

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
        if arc.id:
            attributes["id"] = _plain(arc.id)
        tooltip = self._tooltip(arc)
        attributes |= {"tooltip": tooltip, "labeltooltip": tooltip}
        if not arc.carries:
            return attributes | {"color": GREY, "style": "dotted", "dir": "none"}
        width = line_width(arc.share) if self._flow else 1.2
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

    def _label(self, arc: Arc) -> str:
        parts = [arc.port] if arc.port else []
        edge = arc.edge
        # λ=1 goes without saying, but on the skips of a sum it is what one looks for.
        if edge and (
            not edge.scale.is_one or (edge.role == "skip" and edge.kind == "add" and arc.carries)
        ):
            parts.append(_scale_text(edge))
        if self._flow and arc.share is not None and arc.carries and arc.source in self._forks:
            parts.append(percent(arc.share))
        return " · ".join(parts)

    def _tooltip(self, arc: Arc) -> str:
        parts = [arc.id or f"{arc.source} → {arc.target}"]
        if arc.edge:
            parts += [_scale_text(arc.edge), arc.edge.role if arc.edge.role != "none" else ""]
        if not arc.carries:
            parts.append("carries nothing here")
        elif self._flow:
            parts.append("share " + percent(arc.share) if arc.share is not None else "not measured")
            parts.append(f"‖cotangent‖ {number_text(arc.norm)}" if arc.norm is not None else "")
        if arc.paths is not None:
            parts.append(f"{count_text(arc.paths)} path{'' if arc.paths == 1 else 's'}")
        return _plain(" · ".join(part for part in parts if part))


def _scale_text(edge: Edge) -> str:
    """Return λ as the spec spells it and its number: `λ=0.9`, `α=0, learnable`."""
    scale = edge.scale
    number = format_number(scale.value, 4).replace("-", "−")
    if scale.learn:
        name = str(scale.learn).rpartition(".")[2]
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
