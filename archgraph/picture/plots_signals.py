"""Signal propagation plots: mean², variance and branch variance, block by block."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from archgraph.errors import UsageError
from archgraph.picture.plots import name_places, specs, visible
from archgraph.picture.plots_style import (
    check_plot,
    drawing,
    label_ends,
    line_styles,
    log_ticks,
    new_figure,
    plain_axes,
    roughly,
    save,
    title_inches,
    titles,
)
from archgraph.sweeping.profile import Profile
from archgraph.sweeping.signals import Signals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_signals"]

_PANELS: Final = (
    ("mean_squares", "channel mean²"),
    ("variances", "channel variance"),
    ("branches", "branch variance"),
)


def plot_signals(signals: Sequence[Signals], path: str | os.PathLike[str]) -> Path:
    """Draw a signal propagation plot: mean², variance and branch variance, block by block.

    Args:
        signals: What `measure_signals` found, a line for each network.
        path: `….png`, `….svg` or `….pdf`.

    Returns:
        The path that was written.

    Raises:
        UsageError: the suffix is unknown, matplotlib is missing, nothing can be drawn on a log
            scale, or the file cannot be written.

    References:
        Brock, De and Smith 2021 (2101.08692), figure 1.
    """
    check_plot(path)
    if not any(value for item in signals for value in item.variances.values):
        raise UsageError("no signal gets anywhere, and a log scale does not show that")
    panels = [(n, text) for n, text in _PANELS if any(getattr(s, n) is not None for s in signals)]
    variants = [item.variant for item in signals]
    labels = max(len(variant.label) for variant in variants)
    room = 0.15 if len(signals) == 1 else 0.57 + 0.078 * min(labels, 40)
    with drawing():
        lines = _signal_lines(signals)
        wide, panel, gap = 6.3 + room, 1.45, 0.16
        height = 0.62 + len(panels) * (panel + gap) + title_inches(lines, wide)
        figure = new_figure(wide, height)
        titles(figure, "Signal propagation", lines)
        first: Axes | None = None
        for row, (name, text) in enumerate(panels):
            bottom = 0.62 + (len(panels) - 1 - row) * (panel + gap)
            axes = figure.add_axes(
                (0.9 / wide, bottom / height, 5.25 / wide, panel / height), sharex=first
            )
            first = first or axes
            _draw_signal(axes, signals, name, text)
            if row < len(panels) - 1:
                axes.tick_params(labelbottom=False)
        assert first is not None
        name_places(axes, [item.variances for item in signals], "blocks")
        return save(figure, path)


def _signal_lines(signals: Sequence[Signals]) -> list[str]:
    one = signals[0]
    spec, varied = specs([item.variant for item in signals])
    drawn = [f"measured in {roughly(one.networks)}", f"batch {one.batch}", f"seed {one.seed}"]
    says = "after each sum of a skip" if one.branches is not None else "between blocks"
    gaps = list(dict.fromkeys(name for item in signals for name in item.gaps))
    if gaps:
        more = f" and {len(gaps) - 1} more" if len(gaps) > 1 else ""
        says += f", none in {gaps[0].rpartition('.')[0]}{more}"
    return [
        " · ".join([spec, *varied, *drawn]),
        f"{says}; means over channels, band ±2 standard errors",
    ]


def _draw_signal(axes: Axes, signals: Sequence[Signals], name: str, text: str) -> None:
    ends: list[tuple[float, float, str, Any]] = []
    axes.set_yscale("log")
    for item, style in zip(signals, line_styles(len(signals)), strict=True):
        profile: Profile | None = getattr(item, name)
        if profile is None or not any(profile.values):
            continue
        x, y, low, high = visible(profile)
        every = max(1, len(x) // 16)
        look = {"linewidth": 1.5, "markersize": 4.2, "markevery": every, **style}
        for part in _unbroken(x):
            ends_at = (low[part], high[part])
            axes.fill_between(x[part], *ends_at, color=style["color"], alpha=0.18, linewidth=0)
            axes.plot(x[part], y[part], **look)
        ends.append((x[-1], y[-1], item.variant.label, style))
    log_ticks(axes)
    plain_axes(axes)
    axes.set_ylabel(text)
    axes.yaxis.set_label_coords(-0.115, 0.5)
    axes.set_xlim(-0.35, max(len(item.variances.names) for item in signals) - 0.65)
    if len(signals) > 1:
        label_ends(axes, ends)


def _unbroken(places: Sequence[int]) -> list[slice]:
    """Return the runs of places that follow one another."""
    starts = [i for i in range(len(places)) if i == 0 or places[i] != places[i - 1] + 1]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(places)], strict=True)]
