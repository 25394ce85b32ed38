"""Plots of sweeps: lines where one param varies, a heatmap where two do."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from archgraph.errors import UsageError
from archgraph.picture.plots_style import (
    INK,
    check_plot,
    drawing,
    line_styles,
    log_ticks,
    new_figure,
    plain_axes,
    save,
    title_inches,
    titles,
)
from archgraph.sweeping.grid import Axis, Grid, value_text
from archgraph.sweeping.table import Point, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["check_varying", "plot_sweep"]

_ANNOTATED: Final = 200
"""Most cells of a heatmap that bear their numbers."""


def check_varying(grid: Grid) -> None:
    """Raise `UsageError` if no picture shows what varies."""
    names = [axis.name for axis in grid.varying]
    if not 1 <= len(names) <= 2:
        said = f"{', '.join(names)} do" if names else "none does"
        raise UsageError(f"a picture shows one or two params that vary, and here {said}")


def plot_sweep(found: Sweep, path: str | os.PathLike[str]) -> Path:
    """Draw the points of a sweep: a line over one param that varies, a heatmap over two.

    A line has a band of two standard errors. In a heatmap the param with more values, of two with
    as many the second, runs from left to right; a cell whose jobs all failed is crossed out.

    Args:
        found: The sweep; its first target is drawn.
        path: `….png`, `….svg` or `….pdf`.

    Returns:
        The path that was written.

    Raises:
        UsageError: more than two params vary, or none; the suffix is unknown, matplotlib is
            missing, there is nothing to draw, or the file cannot be written.
    """
    check_plot(path)
    check_varying(found.grid)
    if not any(point.value for point in found.points):
        raise UsageError("every job failed or found zero, and a log scale shows neither")
    with drawing():
        axes = found.grid.varying
        return _lines(found, axes[0], path) if len(axes) == 1 else _heatmap(found, path)


def _measure(found: Sweep) -> tuple[str, str]:
    """Return what is drawn, as a title and as an axis says it."""
    targets = list(dict.fromkeys(point.target for point in found.points if point.target))
    target = targets[0] if len(targets) == 1 else "V"
    if found.task.what == "decompose":
        return f"Gradient norm at {target}", f"√E‖∂L/∂{target}‖²"
    first = next(row for _, o in found.outcomes for row in o.rows)
    if first["kind"] == "parameter":
        return f"Gradient of {target}, per element", f"√E(∂L/∂{target})²"
    return f"Gradient energy at {target}, relative to the output’s", f"E‖∂L/∂{target}‖²"


def _subtitle(found: Sweep) -> list[str]:
    options = found.task.options
    fixed = [
        f"{axis.name}={value_text(axis.values[0])}" for axis in found.grid.axes if not axis.varies
    ]
    spec = found.task.source.title() + (f" ({', '.join(fixed)})" if fixed else "")
    methods = dict.fromkeys(
        str(row["method"]) for _, o in found.outcomes for row in o.rows[:1] if "method" in row
    )
    what = {"predict": "predicted", "measure": "measured", "decompose": "measured"}
    how = what[found.task.what]
    if found.task.what == "predict":
        how += f" ({', '.join(methods)})"
    seeds = f"{found.seeds:,} seed{'s' if found.seeds > 1 else ''} a point"
    each = [f"{options.samples:,} networks each"] if options.samples else []
    batch = [f"batch {options.batch}"] if options.batch else []
    parts = [spec, how, seeds, *each, *batch, f"seed {options.seed}"]
    failed = [f"{found.failed:,} of {len(found.outcomes):,} jobs failed"] if found.failed else []
    return [" · ".join([*parts, *failed])]


def _lines(found: Sweep, axis: Axis, path: str | os.PathLike[str]) -> Path:
    title, label = _measure(found)
    figure = new_figure(6.6, 4.2)
    top = titles(figure, title, [*_subtitle(found), "band: ±2 standard errors"])
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.9 / width, 0.62 / height, 5.4 / width, top - 0.62 / height))
    numeric = all(_is_number(value) for value in axis.values)
    places = [float(v) for v in axis.values] if numeric else [*map(float, range(len(axis.values)))]
    points = dict(zip(places, found.points, strict=True))
    _line(axes, points)
    axes.set_yscale("log")
    log_ticks(axes)
    if numeric:
        if min(places) > 0 and max(places) / min(places) > 50:
            axes.set_xscale("log")
        elif len(places) <= 12:
            axes.set_xticks(places, [value_text(value) for value in axis.values])
    else:
        axes.set_xticks(places, [value_text(value) for value in axis.values])
        axes.set_xlim(-0.4, len(places) - 0.6)
    axes.set_xlabel(axis.name)
    axes.set_ylabel(f"{label}   (log scale)")
    plain_axes(axes)
    return save(figure, path)


def _line(axes: Axes, points: Mapping[float, Point]) -> None:
    style = line_styles(1)[0]
    known = {x: p for x, p in sorted(points.items()) if p.value}
    x = list(known)
    y = [float(p.value or 0.0) for p in known.values()]
    spread = [2 * (p.standard_error or 0.0) for p in known.values()]
    low = [max(v - s, v / 10) for v, s in zip(y, spread, strict=True)]
    high = [v + s for v, s in zip(y, spread, strict=True)]
    axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)
    axes.plot(x, y, linewidth=1.6, markersize=4.6, **style)


def _heatmap(found: Sweep, path: str | os.PathLike[str]) -> Path:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    down, across = found.grid.varying
    swapped = len(down.values) > len(across.values)
    if swapped:
        down, across = across, down
    cells = _cells(found, down, across)
    scale = 20 if found.task.what == "decompose" else 10
    levels = {k: scale * math.log10(p.value) for k, p in cells.items() if p.value}
    low, high = min(levels.values()), max(levels.values())
    normalize = Normalize(low, high if high > low else low + 1)
    rows, columns = len(down.values), len(across.values)
    title, label = _measure(found)

    cell_width = min(0.85, max(0.5 if rows * columns <= _ANNOTATED else 0.1, 6.2 / columns))
    cell_height = min(0.55, max(0.34 if rows * columns <= _ANNOTATED else 0.1, 3.2 / rows))
    wide, tall = cell_width * columns, cell_height * rows
    names = max(len(value_text(value)) for value in down.values)
    left = 0.55 + 0.075 * min(names, 30)
    width = max(left + wide + 1.35, 6.0)
    height = tall + 0.7 + title_inches(_subtitle(found), width)
    figure = new_figure(width, height)
    titles(figure, title, _subtitle(found))
    axes = figure.add_axes((left / width, 0.62 / height, wide / width, tall / height))
    bar = figure.add_axes(((left + wide + 0.2) / width, 0.62 / height, 0.14 / width, tall / height))

    colours = colormaps["cividis_r"]  # dark is large, as in diagrams
    for (row, column), point in cells.items():
        level = levels.get((row, column))
        face = "#f2f2f2" if level is None else colours(normalize(level))
        _cell(axes, row, column, face, level, point, numbers=rows * columns <= _ANNOTATED)
    axes.set_xlim(0, columns)
    axes.set_ylim(0, rows)
    _ticks(axes.xaxis, across)
    _ticks(axes.yaxis, down)
    axes.tick_params(length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel(across.name)
    axes.set_ylabel(down.name)
    _colour_bar(bar, colours, normalize, f"{scale}·log₁₀ {label}, dB")
    return save(figure, path)


def _cells(found: Sweep, down: Axis, across: Axis) -> dict[tuple[int, int], Point]:
    rows = {value_text(value): i for i, value in enumerate(down.values)}
    columns = {value_text(value): i for i, value in enumerate(across.values)}
    cells = {}
    for point in found.points:
        settings = {name: value_text(value) for name, value in point.settings}
        cells[rows[settings[down.name]], columns[settings[across.name]]] = point
    return cells


def _cell(
    axes: Axes,
    row: int,
    column: int,
    face: Any,
    level: float | None,
    point: Point,
    *,
    numbers: bool,
) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=face, edgecolor="white", linewidth=1.2))
    if level is None:
        missing = "0" if point.value == 0 else "failed" if point.failed else "?"
        axes.text(column + 0.5, row + 0.5, missing, ha="center", va="center", fontsize=7, color=INK)
        return
    if not numbers:
        return
    red, green, blue = face[:3]
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45
    text = f"{level:+.1f}" if abs(level) < 99.5 else f"{level:+.0f}"
    axes.text(
        column + 0.5,
        row + 0.5,
        text.replace("-", "−"),
        ha="center",
        va="center",
        fontsize=8,
        color=INK if light else "white",
    )


def _ticks(axis: Any, values: Axis) -> None:
    texts = [value_text(value) for value in values.values]
    step = max(1, -(-len(texts) // 24))
    places = list(range(0, len(texts), step))
    axis.set_ticks([place + 0.5 for place in places], [texts[place] for place in places])


def _colour_bar(axes: Axes, colours: Any, normalize: Any, label: str) -> None:
    gradient = [[i / 255] for i in range(256)]
    extent = (0.0, 1.0, float(normalize.vmin), float(normalize.vmax))
    axes.imshow(
        gradient, cmap=colours, aspect="auto", origin="lower", extent=extent, vmin=0, vmax=1
    )
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(label, fontsize=8)
    axes.tick_params(length=2, labelsize=8)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool | str | list | tuple) and value is not None
