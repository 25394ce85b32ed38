"""Plots of gradients along networks: norms layer by layer, predicted and measured together."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from archgraph.errors import UsageError
from archgraph.picture.plots_style import (
    INK,
    SOFT,
    check_plot,
    drawing,
    label_ends,
    line_styles,
    log_ticks,
    new_figure,
    plain_axes,
    roughly,
    save,
    titles,
)
from archgraph.sweeping.comparing import Comparison, Variant
from archgraph.sweeping.grid import value_text
from archgraph.sweeping.profile import Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["name_places", "plot_comparison", "specs", "visible"]

_TITLES: Final = {
    "weights": "Gradient norm of each weight layer",
    "states": "Gradient norm between blocks, relative to the output’s",
}
_LABELS: Final = {
    "weights": "√E‖∂L/∂W‖²   (log scale)",
    "states": "√(E‖∂L/∂x‖² / E‖∂L/∂output‖²)   (log scale)",
}
_NAMED: Final = 14
"""Most places that are named below the axis; more are counted."""


def plot_comparison(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Draw the gradient's norm layer by layer, a line for each network.

    Predictions are lines with a band of two standard errors; measurements are markers with bars
    of two standard errors.

    Args:
        comparison: What `compare` found; one network will do.
        path: `….png`, `….svg` or `….pdf`.

    Returns:
        The path that was written.

    Raises:
        UsageError: the suffix is unknown, matplotlib is missing, nothing can be drawn on a log
            scale, or the file cannot be written.
    """
    check_plot(path)
    if not any(value for v in comparison.variants for value in v.profile.values):
        raise UsageError("every gradient is zero or unknown, and a log scale shows neither")
    with drawing():
        variants = comparison.variants
        labels = max(len(variant.label) for variant in variants)
        room = 0.15 if len(variants) == 1 else 0.57 + 0.078 * min(labels, 40)
        figure = new_figure(6.3 + room, max(4.3, 1.45 + 0.165 * len(variants)))
        top = titles(figure, _TITLES[comparison.at], _subtitle(comparison))
        width, height = figure.get_size_inches()
        # Lines are labelled where they are apart; the scale stands on the other side.
        left = len(variants) > 1 and _spread(variants, 0) > _spread(variants, -1)
        start = room + 0.05 if left else 0.9
        axes = figure.add_axes((start / width, 0.62 / height, 5.25 / width, top - 0.62 / height))
        _draw_lines(axes, comparison, left=left)
        return save(figure, path)


def _spread(variants: Sequence[Variant], place: int) -> float:
    """Return how far apart lines are at one end: neighbours' distances, up to a decade each."""
    ends = [
        [value for value in variant.profile.values if value][place]
        for variant in variants
        if any(variant.profile.values)
    ]
    logs = sorted(map(math.log10, ends))
    return sum(min(1.0, b - a) for a, b in itertools.pairwise(logs))


def _subtitle(comparison: Comparison) -> list[str]:
    variants = comparison.variants
    spec, varied = specs(variants)
    first = [spec, *varied, f"batch {comparison.batch}", f"seed {comparison.seed}"]
    methods = list(dict.fromkeys(f"{v.method}, {v.samples:,} networks" for v in variants))
    second = [f"predicted: lines ({'; '.join(methods)})"]
    if comparison.networks:
        second.append(f"measured: markers ({roughly(comparison.networks)})")
    second.append("±2 standard errors")
    return [" · ".join(first), " · ".join(second)]


def specs(variants: Sequence[Variant]) -> tuple[str, list[str]]:
    """Return the specs with the params that all share, and what differs."""
    specs = list(dict.fromkeys(variant.spec for variant in variants))
    names = list(dict.fromkeys(name for variant in variants for name, _ in variant.settings))
    texts = {
        name: list(
            dict.fromkeys(
                value_text(v) for variant in variants for n, v in variant.settings if n == name
            )
        )
        for name in names
    }
    fixed = [f"{name}={found[0]}" for name, found in texts.items() if len(found) == 1]
    varied = [name for name, found in texts.items() if len(found) > 1]
    spec = ", ".join(specs) + (f" ({', '.join(fixed)})" if fixed else "")
    return spec, [f"a line for each {' and '.join(varied)}"] if varied else []


def _draw_lines(axes: Axes, comparison: Comparison, *, left: bool) -> None:
    axes.set_yscale("log")
    ends: list[tuple[float, float, str, Any]] = []
    styles = line_styles(len(comparison.variants))
    for variant, style in zip(comparison.variants, styles, strict=True):
        _draw_variant(axes, variant, style)
        shown = [(i, v) for i, v in enumerate(variant.profile.values) if v]
        if shown:
            place, value = shown[0 if left else -1]
            ends.append((place, value, variant.label, style))
    log_ticks(axes)
    plain_axes(axes)
    name_places(axes, [variant.profile for variant in comparison.variants], comparison.at)
    axes.set_ylabel(_LABELS[comparison.at])
    if left:
        axes.yaxis.tick_right()
        axes.yaxis.set_label_position("right")
        axes.spines["left"].set_visible(False)
        axes.spines["right"].set_visible(True)
    if len(comparison.variants) > 1:
        label_ends(axes, ends, left=left)


def _draw_variant(axes: Axes, variant: Variant, style: dict[str, Any]) -> None:
    predicted, measured = variant.predicted, variant.measured
    if predicted is not None:
        x, y, low, high = visible(predicted)
        own = {} if measured is not None else {"marker": style["marker"], "markersize": 4.2}
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)
        axes.plot(
            x,
            y,
            color=style["color"],
            linestyle=style["linestyle"],
            linewidth=1.6,
            markevery=max(1, len(x) // 16),
            **own,
        )
    if measured is not None:
        x, y, low, high = visible(measured)
        below = [value - end for value, end in zip(y, low, strict=True)]
        above = [end - value for value, end in zip(y, high, strict=True)]
        axes.errorbar(
            x,
            y,
            yerr=[below, above],
            linestyle="none",
            elinewidth=0.9,
            capsize=1.8,
            markerfacecolor="white",
            markeredgewidth=1.1,
            color=style["color"],
            marker=style["marker"],
            markersize=4.6,
        )


def visible(profile: Profile) -> tuple[list[int], list[float], list[float], list[float]]:
    """Return what a log scale can show: places, values, and two standard errors either way."""
    x, y, low, high = [], [], [], []
    for i, (value, error) in enumerate(zip(profile.values, profile.errors, strict=True)):
        if not value:
            continue
        # A band that reaches zero ends a decade below its line.
        spread = 2 * (error or 0.0)
        x.append(i)
        y.append(value)
        low.append(max(value - spread, value / 10))
        high.append(value + spread)
    return x, y, low, high


def name_places(axes: Axes, profiles: Sequence[Profile], at: str) -> None:
    """Write the layers' names below the axis where all lines have the same, few ones.

    Of many blocks with the same names, those that fit have theirs, without what all end in.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    count = max(len(profile.names) for profile in profiles)
    axes.set_xlim(-0.35, count - 1 + 0.35)
    names = profiles[0].names
    same = all(profile.names == names for profile in profiles)
    if same and count <= _NAMED and max(map(len, names)) * count <= 90:
        axes.set_xticks(range(count), names)
        axes.set_xlabel("from the input to the output", color=SOFT)
        return
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if same and at == "blocks":
        short = _without_common_end(names)
        fitting = max(2, min(10, 60 // max(map(len, short))))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=fitting, integer=True))
        shown = {float(i): name for i, name in enumerate(short)}
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: shown.get(place, "")))
        axes.set_xlabel("from the input to the output", color=SOFT)
        return
    what = {"weights": "weight layer", "states": "state"}.get(at, "block")
    axes.set_xlabel(f"{what}, counted from the input (0)", color=INK)


def _without_common_end(names: Sequence[str]) -> list[str]:
    """Return paths without their last part where that is the same in all: `h.3.out` is `h.3`."""
    ends = {name.rpartition(".")[2] for name in names}
    paths = [name.rpartition(".")[0] for name in names]
    return paths if len(ends) == 1 and all(paths) else list(names)
