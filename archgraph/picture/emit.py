"""Scene → DOT text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile

import graphviz

from archgraph.picture.flow import Flow
from archgraph.picture.lettering import on_white, plain, scale_text
from archgraph.picture.rows import Strips, ranks
from archgraph.picture.scene import Arc, Scene, Vertex
from archgraph.picture.style import (
    ALERT,
    FONT,
    FRAME,
    FRAME_INK,
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
)

__all__ = ["Emitter"]

MAX_TALKATIVE = 20
"""In a folded drawing of more vertices than these, λ=1 goes without saying on skips too."""
_NOTHING = {
    "fixedsize": "true",
    "height": "0",
    "label": "",
    "shape": "none",
    "style": "invis",
    "width": "0",
}


class Emitter:
    """Writes one scene as DOT."""

    def __init__(
        self,
        strips: Strips,
        *,
        backward: bool,
        flow: Flow | None,
        scale: tuple[float, float] | None,
        frames: Mapping[str, str],
    ) -> None:
        self._scene, self._rows = strips.scene, strips.rows
        self._backward, self._flow, self._scale = backward, flow, scale
        self._frames = frames
        self._quiet = strips.scene.hidden > 0 and len(strips.scene.vertices) > MAX_TALKATIVE
        self._ids = _dot_ids(self._scene)
        self._vertices = {vertex.key: vertex for vertex in self._scene.vertices}
        self._ranks = ranks(self._scene)
        self._spine = _spine(self._scene, self._ranks)
        self._forks = _forks(self._scene)
        self._row_of = {key: i for i, row in enumerate(strips.rows) for key in row}
        self._jumps = self._find_jumps()
        self._middles = self._name_middles()

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
        dot = graphviz.Digraph(name=plain(name))
        dot.attr(
            "graph",
            bgcolor="white",
            fontname=FONT,
            fontsize="10",
            nodesep="0.25",
            pack="16",
            # Every row is a component that dot lays out by itself, left-aligned below the last. It
            # packs before it turns a drawing from left to right, and so upside down.
            packmode="array_ict1" if direction == "LR" else "array_ilt1",
            pad="0.2",
            rankdir=direction,
            ranksep="0.32",
            tooltip=plain(name),
        )
        dot.attr("node", color="#444444", fillcolor="white", fontname=FONT, fontsize="11")
        dot.attr("node", height="0.3", margin="0.1,0.05", style="filled")
        dot.attr("edge", fontcolor=INK, fontname=FONT, fontsize="9")
        if self._backward:
            dot.attr("edge", arrowhead="none", arrowtail="normal", dir="back")
        panels: list[str | int] = [head, *range(len(self._rows)), foot]
        for number, panel in enumerate(panels[::-1] if direction == "LR" else panels):
            with dot.subgraph(name=f"cluster_{number}") as inner:
                inner.attr(margin="2", peripheries="0")
                if isinstance(panel, str):
                    inner.node(f"#panel{number}", label=panel, shape="plain", style="", tooltip=" ")
                else:
                    self._add_members(inner, panel, ())
                    for i, arc in enumerate(self._scene.arcs):
                        if self._row_of[arc.source] == panel:
                            self._add_arc(inner, i, arc, direction)
        return str(dot.source)

    def _add_members(self, dot: graphviz.Digraph, row: int, frame: tuple[str, ...]) -> None:
        """Add what lies in one frame of a row, and the frames inside it.

        Lines come later: dot would put the ends of a line into the frame where it is said.
        """
        depth = len(frame)
        around = {
            key: self._vertices[key].scope
            for key in self._rows[row]
            if self._vertices[key].scope[:depth] == frame
        }
        inner: dict[str, None] = {}
        for key, scope in around.items():
            if len(scope) == depth:
                dot.node(self._ids[key], **self._node_attributes(self._vertices[key]))
            else:
                inner.setdefault(scope[depth])
        for path in inner:
            with dot.subgraph(name=f"cluster_{row}_{plain(path)}") as box:
                box.attr(color=FRAME, fontcolor=FRAME_INK, label=plain(self._frames[path]))
                box.attr(labeljust="l", margin="7", peripheries="1", style="rounded")
                box.attr(tooltip=plain(path))
                self._add_members(box, row, (*frame, path))
        for i, middle in self._middles.items():
            arc = self._scene.arcs[i]
            if self._row_of[arc.source] == row and self._home(arc) == frame:
                self._add_middle(dot, arc, middle)

    def _home(self, arc: Arc) -> tuple[str, ...]:
        """Return the frames that a line runs in: those around both ends.

        One that enters a frame and jumps over part of what is inside runs in it.
        """
        source, target = self._vertices[arc.source].scope, self._vertices[arc.target].scope
        pairs = takewhile(lambda pair: pair[0] == pair[1], zip(source, target, strict=False))
        depth = len(list(pairs))
        low, high = self._ranks[arc.source], self._ranks[arc.target]
        middle = low + (high - low) // 2
        while len(target) > depth and self._first_rank(arc, target[depth]) <= middle:
            depth += 1
        return target[:depth]

    def _first_rank(self, arc: Arc, path: str) -> int:
        """Return the lowest rank in a frame, in the row of a line."""
        row = self._rows[self._row_of[arc.source]]
        return min(self._ranks[key] for key in row if path in self._vertices[key].scope)

    def _name_middles(self) -> dict[int, str]:
        """Return a name for the middle of each line that jumps over part of the spine.

        Over a whole frame dot draws a line better without.
        """
        found: dict[int, str] = {}
        for i, arc in enumerate(self._scene.arcs):
            span = self._ranks[arc.target] - self._ranks[arc.source]
            plain = self._is_free(arc) and not self._label(arc) and self._jumps_frame(arc)
            if span > 1 and {arc.source, arc.target} <= self._spine and not plain:
                found[i] = f"#{len(found) + 1}"  # no vertex is called so: see `_dot_ids`
        return found

    def _add_middle(self, dot: graphviz.Digraph, arc: Arc, middle: str) -> None:
        """Add a line's middle, which has its label.

        As it is a node of its own, dot never draws the line across the spine, whose vertices are
        one `group`, and the label stands on no line.
        """
        if label := self._label(arc):
            text = {"shape": "plain", "style": "", "fontcolor": INK, "fontsize": "9"}
            dot.node(middle, label=f"< {safe(label)} >", tooltip=self._tooltip(arc), **text)
        else:
            dot.node(middle, **_NOTHING)
        if self._is_free(arc):
            self._place_above(dot, arc, middle)

    def _add_arc(self, dot: graphviz.Digraph, index: int, arc: Arc, direction: str) -> None:
        source, target = self._ids[arc.source], self._ids[arc.target]
        attributes = self._edge_attributes(arc)
        label = self._label(arc)
        middle = self._middles.get(index)
        if middle is None:
            if label:
                attributes["label"] = on_white(label, float(attributes.get("penwidth", 1)))
            dot.edge(source, target, **attributes)
            return
        span = self._ranks[arc.target] - self._ranks[arc.source]
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

    def _jumps_frame(self, arc: Arc) -> bool:
        """Whether a frame lies between the ends of a line."""
        low, high = self._ranks[arc.source], self._ranks[arc.target]
        depth = len(self._home(arc))
        return any(
            low < self._ranks[key] < high and len(self._vertices[key].scope) > depth
            for key in self._rows[self._row_of[arc.source]]
        )

    def _place_above(self, dot: graphviz.Digraph, arc: Arc, middle: str) -> None:
        """Keep the middle of a line above the spine: so the arcs of a strip look alike."""
        half = (self._ranks[arc.target] - self._ranks[arc.source]) // 2
        rank = self._ranks[arc.source] + half
        row = self._rows[self._row_of[arc.source]]
        spine = [key for key in row if key in self._spine and self._ranks[key] == rank]
        # Inside frames dot may fail on ranks that are given, and end with a segmentation fault.
        if not spine or any(self._vertices[key].scope for key in row):
            return
        with dot.subgraph() as same:
            same.attr(rank="same")
            same.edge(self._ids[spine[0]], middle, style="invis")

    def _node_attributes(self, vertex: Vertex) -> dict[str, str]:
        attributes = dict(SHAPES[vertex.kind])
        lines = [safe(vertex.lines[0])]
        lines += (
            f'<FONT POINT-SIZE="9" COLOR="{NEUTRAL}">{safe(line)}</FONT>'
            for line in vertex.lines[1:]
        )
        if vertex.alert:
            word = f"{vertex.alert} inside" if vertex.alert_inside else vertex.alert
            lines.append(f'<FONT COLOR="{ALERT}"><B>⚠ {word}</B></FONT>')
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
        attributes["tooltip"] = plain(tooltip)
        if vertex.node:
            attributes["id"] = plain(vertex.node)
        if vertex.key in self._spine:
            attributes["group"] = "spine"
        return attributes

    def _edge_attributes(self, arc: Arc) -> dict[str, str]:
        skip = arc.skip
        spine = arc.source in self._spine and arc.target in self._spine
        near = self._ranks[arc.target] - self._ranks[arc.source] == 1
        attributes = {"weight": "100" if spine and near else "1"}
        if arc.id:
            attributes["id"] = plain(arc.id)
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
        if len(arc.joins) > 1:
            parts.append(f"{len(arc.joins)} edges")
        edge = arc.edge
        # λ=1 goes without saying, but on the skips of a small sum it is what one looks for.
        if edge and (
            not edge.scale.is_one
            or (arc.skip and edge.kind == "add" and arc.carries and not self._quiet)
        ):
            parts.append(scale_text(edge))
        if self._flow and arc.share is not None and arc.carries and arc.source in self._forks:
            parts.append(percent(arc.share))
        return " · ".join(parts)

    def _tooltip(self, arc: Arc) -> str:
        parts = [arc.id or f"{arc.source} → {arc.target}"]
        if arc.edge:
            parts += [scale_text(arc.edge), arc.edge.role if arc.edge.role != "none" else ""]
        if not arc.carries:
            parts.append("carries nothing here")
        elif self._flow:
            parts.append("share " + percent(arc.share) if arc.share is not None else "not measured")
            parts.append(f"‖cotangent‖ {number_text(arc.norm)}" if arc.norm is not None else "")
        if arc.paths is not None:
            parts.append(f"{count_text(arc.paths)} path{'' if arc.paths == 1 else 's'}")
        return plain(" · ".join(part for part in parts if part))


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
