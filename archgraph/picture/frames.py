"""Frames around blocks, and names as short as the frame around them allows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from archgraph.graph import Graph
from archgraph.graph.instances import Instance
from archgraph.graph.outline import called
from archgraph.picture.scene import Scene, Vertex
from archgraph.picture.style import shorten_call, shorten_name

__all__ = ["framed"]

NAME_LIMIT = 30
MOST = 0.6
"""A frame around more of what is visible than this would say nothing."""


def framed(scene: Scene, graph: Graph) -> tuple[Scene, Mapping[str, str]]:
    """Return the scene with its names within their frames, and the title of each frame by path.

    A frame is drawn around a block or a group of which at least two vertices are visible;
    a vertex's `scope` is then the frames around it, outermost first.
    """
    counts = Counter(path for vertex in scene.vertices for path in vertex.scope)
    visible = {
        path
        for path, count in counts.items()
        if 1 < count <= MOST * len(scene.vertices) and _is_framed(graph.instances[path])
    }
    titles: dict[str, str] = {}
    vertices = []
    for vertex in scene.vertices:
        around = tuple(path for path in vertex.scope if path in visible)
        for outer, path in zip(("", *around), around, strict=False):
            titles.setdefault(path, _title(graph, path, outer))
        vertices.append(_renamed(vertex, around))
    return Scene(tuple(vertices), scene.arcs), titles


def _title(graph: Graph, path: str, outer: str) -> str:
    name = shorten_name(_within(path, outer), 40)
    instance = graph.instances[path]
    call = "" if instance.kind == "group" else shorten_call(called(instance), 40)
    call = call.removesuffix("()")
    return f"{name} · {call}" if call and call != name else name


def _is_framed(instance: Instance) -> bool:
    """Whether a frame may be drawn: copies that simply follow each other need none."""
    return instance.kind in ("block", "group") or instance.connect in ("add", "concat")


def _renamed(vertex: Vertex, around: tuple[str, ...]) -> Vertex:
    name, *rest = vertex.lines
    name = _within(name, around[-1] if around else "")
    tail = re.search(r"( … .*)?(   ×\d+)?$", name)
    assert tail is not None
    symbol = re.match(r"([+‖×]  )?", name)
    assert symbol is not None
    core = name[symbol.end() : tail.start()]
    name = symbol.group() + shorten_name(core, NAME_LIMIT) + tail.group()
    lines = (name, *rest)
    if vertex.kind == "activation" and len(rest) == 1 and len(name) + len(rest[0]) < 18:
        lines = (f"{name}  {rest[0]}",)
    return replace(vertex, lines=lines, scope=around)


def _within(name: str, scope: str) -> str:
    """Return a name, or several in a text, without the path that is around them."""
    return re.sub(rf"(?<![^\s]){re.escape(scope)}\.", "", name) if scope else name
