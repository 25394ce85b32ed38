"""The texts and tables inside a drawing: title, legend, histogram of lengths, table of paths.

All are Graphviz's HTML-like labels, so that a drawing stays one file in every format.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from archgraph.picture.flow import Flow, PathRow
from archgraph.picture.scene import EXPLODING, VANISHING, Scene
from archgraph.picture.style import (
    GREY,
    SYMBOLS,
    colour,
    count_text,
    line_width,
    number_text,
    percent,
    safe,
    shorten,
)

__all__ = ["footer", "title"]

MAX_BARS = 12
BAR_WIDTH = 80
LONGEST_LABEL = 100
"""Characters of a path in the table."""
NOTE_WIDTH = 72
_KINDS = {
    "input": "cylinder: input",
    "parameter": "tab: parameter",
    "weights": "grey box: weights",
    "plain": "white box: no weights",
    "activation": "rounded: activation",
    "norm": "double box: norm",
    "unknown": "dog-ear: unknown op",
}
_SMALL = '<FONT POINT-SIZE="9" COLOR="#444444">'


def title(
    name: str, *, wrt: str | None, flow: Flow | None, count: int, notes: Sequence[str]
) -> str:
    """Return the two lines at the top: what is drawn, and how its numbers came about."""
    facts = []
    if wrt:
        facts.append(f"∂L/∂{shorten(wrt, 40)}")
        facts.append(f"{count_text(count)} path{'' if count == 1 else 's'}")
    if flow:
        facts.append(flow.source)
    below = " · ".join([*(flow.facts if flow else ()), *notes])
    rows = [f"<B>{safe(shorten(name, 60))}</B>   {_raised(safe(' · '.join(facts)))}"]
    if below:
        rows.append(f"{_SMALL}{safe(below)}</FONT>")
    return f"<{_table(_row(_cell(row)) for row in rows)}>"


def footer(
    scene: Scene,
    *,
    wrt: str | None,
    flow: Flow | None,
    scale: tuple[float, float] | None,
    histogram: Mapping[int, int],
    paths: Sequence[PathRow],
) -> str:
    """Return the panels below the drawing, side by side."""
    panels = [_legend(scene, wrt, flow, scale)]
    if histogram:
        panels.append(_histogram(histogram, flow.length_shares if flow else {}))
    if paths:
        panels.append(_paths(paths))
    # Graphviz stretches the rows of a shorter panel over the height of its neighbours, so all get
    # as many rows.
    height = max(map(len, panels))
    filler = _row(_cell(_small(" ")))
    tables = [_table([*rows, *[filler] * (height - len(rows))], border=True) for rows in panels]
    cells = "".join(f'<TD ALIGN="LEFT">{table}</TD>' for table in tables)
    return f'<<TABLE BORDER="0" CELLSPACING="6" CELLPADDING="0"><TR>{cells}</TR></TABLE>>'


def _legend(
    scene: Scene, wrt: str | None, flow: Flow | None, scale: tuple[float, float] | None
) -> list[str]:
    kinds = {vertex.kind for vertex in scene.vertices}
    rows: list[str] = []
    if flow:
        samples = "".join(
            f"<TD>{_SMALL}{percent(share)}</FONT></TD>{_bar(20, line_width(share), '#444444')}"
            for share in (0.01, 0.25, 1.0)
        )
        rows.append(_inner(_cell(f"{_SMALL}width: share</FONT>") + samples))
    if scale:
        swatches = "".join(
            f'<TD BGCOLOR="{colour(10 ** (scale[0] + (scale[1] - scale[0]) * i / 6), scale)}" '
            'FIXEDSIZE="TRUE" WIDTH="14" HEIGHT="8"></TD>'
            for i in range(7)
        )
        low, high = (f"{_SMALL}{number_text(end)}</FONT>" for end in scale)
        rows.append(
            _inner(_cell(f"{_SMALL}log₁₀ ‖cotangent‖</FONT>") + _cell(low) + swatches + _cell(high))
        )
    if any(arc.share is not None and arc.share < 0 for arc in scene.arcs):
        swatch = _bar(20, 3, colour(1, (-1, 0), negative=True))
        rows.append(_inner(swatch + _cell(f"{_SMALL}− works against the sum</FONT>")))
    notes = ["arrows: backward, as the gradient flows" if wrt else "arrows: forward"]
    if any(arc.skip and arc.carries for arc in scene.arcs):
        notes.append("– – – skip")
    if not all(arc.carries for arc in scene.arcs):
        notes.append("····· carries nothing here")
    if flow and any(arc.carries and arc.share is None for arc in scene.arcs):
        notes.append("grey line: not measured")
    rows += map(_small, _filled([*notes, *_shape_notes(scene, kinds)], NOTE_WIDTH))
    # Graphviz spreads what a table is too wide among its columns; the empty one takes it here.
    return [
        _row(_cell(row) + "<TD></TD>" if row.startswith("<TABLE") else _cell(row, span=2))
        for row in rows
    ]


def _shape_notes(scene: Scene, kinds: Iterable[str]) -> list[str]:
    used = {vertex.lines[0][:1] for vertex in scene.vertices if "merge" in vertex.kind}
    notes = [note for kind, note in _KINDS.items() if kind in kinds]
    notes += [f"{symbol} {kind}" for kind, symbol in SYMBOLS.items() if symbol in used]
    if "loss" in kinds:
        notes.append("double circle: the loss L")
    if any(vertex.scope for vertex in scene.vertices):
        notes.append("frame: a block, a group or copies; names inside are within it")
    if "fold" in kinds:
        notes.append("raised box: folded; ×n: so many copies that are alike")
    if "ghost" in kinds:
        notes.append("dotted box: the same value in another row")
    alerts = {vertex.alert for vertex in scene.vertices}
    if "vanishing" in alerts:
        notes.append(f"vanishing: < {VANISHING:g} × the outputs', per element and in all")
    if "exploding" in alerts:
        notes.append(f"exploding: > {EXPLODING:g} × the outputs', per element and in all")
    return notes


def _filled(notes: Iterable[str], width: int) -> list[str]:
    """Return notes as lines of at most `width` characters."""
    lines: list[str] = []
    for note in notes:
        if lines and len(lines[-1]) + len(note) + 3 <= width:
            lines[-1] += f"   {note}"
        else:
            lines.append(note)
    return lines


def _histogram(counts: Mapping[int, int], shares: Mapping[int, float]) -> list[str]:
    """Return a bar per path length, or per range of lengths where there are many."""
    bins = _bins(sorted(set(counts) | set(shares)))
    head = _cell(_small("length")) + _cell(_small("paths (log scale)"))
    head += _cell(_small("gradient share")) if shares else ""
    rows = [_row(head)]
    totals = [sum(counts.get(length, 0) for length in lengths) for lengths in bins]
    largest = max(_log(total) for total in totals)
    for lengths, total in zip(bins, totals, strict=True):
        name = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]}–{lengths[-1]}"
        width = BAR_WIDTH * _log(total) / largest if largest else 0
        cells = f'<TD ALIGN="RIGHT">{_small(name)}</TD>'
        cells += _cell(_bar_with_text(width, "#b8b8b8", count_text(total)))
        if shares:
            share = math.fsum(shares.get(length, 0.0) for length in lengths)
            tint = "#cb3b32" if share < 0 else "#33507a"
            cells += _cell(_bar_with_text(BAR_WIDTH * min(1.0, abs(share)), tint, percent(share)))
        rows.append(_row(cells))
    return rows


def _bins(lengths: list[int]) -> list[list[int]]:
    if not lengths:
        return []
    width = -(-(lengths[-1] - lengths[0] + 1) // MAX_BARS)
    groups: dict[int, list[int]] = {}
    for length in lengths:
        groups.setdefault((length - lengths[0]) // width, []).append(length)
    return list(groups.values())


def _log(count: int) -> float:
    return math.log10(count) + 0.3 if count > 0 else 0.0


def _paths(paths: Sequence[PathRow]) -> list[str]:
    head = ["path", "norm", "share"]
    has_norms = any(row.norm is not None for row in paths)
    rows = [_row("".join(_cell(_small(text)) for text in (head if has_norms else head[:1])))]
    for path in paths:
        cells = _cell(_small(shorten(path.label, LONGEST_LABEL)))
        if has_norms:
            norm = "" if path.norm is None else number_text(path.norm)
            share = "" if path.share is None else percent(path.share)
            cells += "".join(f'<TD ALIGN="RIGHT">{_small(text)}</TD>' for text in (norm, share))
        rows.append(_row(cells))
    return rows


def _small(text: str) -> str:
    return f"{_SMALL}{safe(text) or ' '}</FONT>"


def _cell(content: str, span: int = 1) -> str:
    spanning = f' COLSPAN="{span}"' if span > 1 else ""
    return f'<TD ALIGN="LEFT"{spanning}>{content}</TD>'


def _row(cells: str) -> str:
    return f"<TR>{cells}</TR>"


def _bar(width: float, height: float, tint: str) -> str:
    return (
        f'<TD><TABLE BORDER="0" CELLSPACING="0" CELLPADDING="0"><TR><TD BGCOLOR="{tint}" '
        f'FIXEDSIZE="TRUE" WIDTH="{max(1, round(width))}" HEIGHT="{max(1, round(height))}">'
        "</TD></TR></TABLE></TD>"
    )


def _raised(text: str) -> str:
    """Return text with its exponents raised: 2^40 → 2⁴⁰, at any size."""
    return re.sub(r"(?<=\d)\^(\d+)", r"<SUP>\1</SUP>", text)


def _bar_with_text(width: float, tint: str, text: str) -> str:
    """Return a bar and a number behind it, all of one total width, so that bars start alike."""
    number = (
        f'<TD FIXEDSIZE="TRUE" WIDTH="52" HEIGHT="14" ALIGN="LEFT">{_raised(_small(text))}</TD>'
    )
    missing = BAR_WIDTH - round(width)
    rest = f'<TD FIXEDSIZE="TRUE" WIDTH="{missing}" HEIGHT="8"></TD>' if missing > 0 else ""
    return _inner((_bar(width, 7, tint) if width >= 0.5 else "") + number + rest)


def _inner(cells: str) -> str:
    return f'<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1"><TR>{cells}</TR></TABLE>'


def _table(rows: Iterable[str], *, border: bool = False) -> str:
    frame = f'BORDER="1" COLOR="{GREY}" STYLE="ROUNDED" CELLBORDER="0"' if border else 'BORDER="0"'
    return f'<TABLE {frame} CELLSPACING="1" CELLPADDING="2">{"".join(rows)}</TABLE>'
