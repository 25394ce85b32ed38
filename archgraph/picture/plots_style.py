"""How plots look: colours and lines that are told apart in greyscale, labels where the lines end.

matplotlib is imported when something is drawn, and only its drawing objects: no window system, no
global state.
"""

from __future__ import annotations

import io
import math
import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from archgraph.errors import UsageError
from archgraph.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "FORMATS",
    "INK",
    "SOFT",
    "check_plot",
    "drawing",
    "label_ends",
    "line_styles",
    "log_ticks",
    "new_figure",
    "plain_axes",
    "roughly",
    "save",
    "title_inches",
    "titles",
]

FORMATS: Final = ("png", "svg", "pdf")
INK: Final = "#222222"
SOFT: Final = "#6b6b6b"
DPI: Final = 160
_DASHES: Final = ("-", (0, (5, 1.6)), (0, (1, 1.2)), (0, (6, 1.4, 1, 1.4)), (0, (9, 2)))
_LEADER: Final = "#c4c4c4"
_KEY: Final = (1.012, 1.042)
"""Where the sample of a line stands before its label, as fractions of the axis."""
ROUGH: Final = 20
"""Fewer networks than these have a standard error that is off by a sixth or more, 1/√(2n)."""
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_SETTINGS: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",  # which matplotlib brings along
    "font.size": 9,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "archgraph",
    "pdf.fonttype": 42,
    "mathtext.fontset": "dejavusans",
}


def check_plot(path: str | os.PathLike[str]) -> Path:
    """Return a picture's path.

    Raises:
        UsageError: its suffix is no format, or matplotlib is missing.
    """
    where = Path(path)
    if where.suffix[1:].lower() not in FORMATS:
        known = ", ".join(f".{known}" for known in FORMATS)
        raise UsageError(f"cannot tell the format of {where.name!r}: its suffix must be {known}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError(
            "plots need the package 'matplotlib': pip install 'archgraph-nn[plot]'"
        ) from None
    return where


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with this module's settings, and no others that a user's file may have."""
    import matplotlib
    from matplotlib import rc_context

    settings: Any = {
        name: value
        for name, value in matplotlib.rcParamsDefault.items()
        if not name.startswith(("backend", "interactive", "toolbar", "webagg", "date."))
    }
    with rc_context(settings | _SETTINGS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure in the format that its path's suffix names, whole or not at all.

    Raises:
        UsageError: the suffix is no format, or the file cannot be written.
    """
    where = check_plot(path)
    kind = where.suffix[1:].lower()
    # Without a date, the same picture is the same file.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=DPI, metadata=metadata)
    return write_whole(where, content.getvalue())


def line_styles(count: int) -> list[dict[str, Any]]:
    """Return so many line styles: by lightness of cividis, dashes and marker all at once."""
    from matplotlib import colormaps

    # Its lightest end would vanish on white.
    places = [0.0] if count == 1 else [0.82 * i / (count - 1) for i in range(count)]
    return [
        {
            "color": colormaps["cividis"](place),
            "linestyle": _DASHES[i % len(_DASHES)],
            "marker": _MARKERS[i % len(_MARKERS)],
        }
        for i, place in enumerate(places)
    ]


def plain_axes(axes: Axes, *, grid: str = "y") -> None:
    """Leave of an axis what is read: two spines, short ticks, a faint grid behind."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=3, width=0.8)
    axes.tick_params(which="minor", length=0)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(visible=True, axis=grid, color="#e4e4e4", linewidth=0.7)  # type: ignore[arg-type]


def log_ticks(axes: Axes) -> None:
    """Put ticks on a log scale whose limits are final; plain numbers where the range is small."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    low, high = axes.get_ylim()
    decades = math.log10(high) - math.log10(low)
    axes.yaxis.set_minor_locator(NullLocator())
    if decades > 2.5:
        axes.yaxis.set_major_locator(LogLocator(base=10, numticks=10))
        return
    if decades > 0.7:
        steps = (1.0, 2.0, 5.0) if decades < 1.8 else (1.0, 3.0)
        first = math.floor(math.log10(low))
        places = [s * 10.0**k for k in range(first, first + 5) for s in steps]
    else:
        step = 10.0 ** math.floor(math.log10((high - low) / 2))
        step *= next(f for f in (1, 2, 5, 10) if (high - low) / (step * f) <= 6)
        places = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    axes.yaxis.set_major_locator(FixedLocator([p for p in places if low <= p <= high]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.set_ylim(low, high)


def titles(figure: Figure, title: str, lines: Sequence[str], *, left: float = 0.02) -> float:
    """Write a title and smaller lines below it; return how much of the height is left."""
    width, height = figure.get_size_inches()
    top = 1 - 0.13 / height
    figure.text(left, top, title, ha="left", va="top", fontsize=11.5, fontweight="bold")
    top -= 0.27 / height
    for part in _wrapped(lines, width):
        figure.text(left, top, part, ha="left", va="top", fontsize=8, color=SOFT)
        top -= 0.17 / height
    return float(top - 0.10 / height)


def roughly(networks: int) -> str:
    """Return what a subtitle says of so many networks, and of how well their errors are known.

    A standard error from n networks is itself off by about 1/√(2n) of it, and two of them hold the
    truth in 95 of 100 cases only if n is large: with n = 5 in 88, by Student's t.
    """
    if networks == 1:
        return "1 network: its error is unknown"
    rough = " only: their errors are rough" if networks < ROUGH else ""
    return f"{networks:,} networks{rough}"


def title_inches(lines: Sequence[str], width: float) -> float:
    """Return how much of the height `titles` takes in a figure of this width, in inches."""
    return 0.50 + 0.17 * len(_wrapped(lines, width))


def _wrapped(lines: Sequence[str], width: float) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, int(width * 15.5)) or [""]]


def label_ends(
    axes: Axes, ends: Sequence[tuple[float, float, str, Any]], *, left: bool = False
) -> None:
    """Write labels where lines end, apart from each other; call when limits and size are final.

    Before each stands a sample of its line. What leads there from the line's end may cross the
    picture, and is so faint that nobody takes it for data.

    Args:
        axes: Where the lines are.
        ends: (x, y, label, style) of each line's last point, or first.
        left: Whether these are the first ones.
    """
    from matplotlib.lines import Line2D

    figure = axes.get_figure(root=True)
    assert figure is not None
    key = [1 - place for place in _KEY] if left else list(_KEY)
    inches = axes.get_position().height * figure.get_size_inches()[1]
    to_fraction = axes.transData + axes.transAxes.inverted()
    seen = [(to_fraction.transform((x, y))[1], x, y, label, s) for x, y, label, s in ends]
    seen.sort(key=lambda item: float(item[0]))
    heights = _apart([float(item[0]) for item in seen], 11.5 / 72 / inches, 0.0, 1.0)
    for (_, x, y, label, style), height in zip(seen, heights, strict=True):
        axes.annotate(
            "",
            xy=(x, y),
            xytext=(key[0], height),
            textcoords="axes fraction",
            annotation_clip=False,
            zorder=1,
            arrowprops={
                "arrowstyle": "-",
                "color": _LEADER,
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 5,
            },
        )
        looks = {name: style[name] for name in ("color", "linestyle")}
        sample = Line2D(key, [height] * 2, transform=axes.transAxes, linewidth=1.6, **looks)
        figure.add_artist(sample)
        axes.annotate(
            label,
            xy=(key[1] + (-0.012 if left else 0.012), height),
            xycoords="axes fraction",
            va="center",
            ha="right" if left else "left",
            fontsize=9,
            color=INK,
            annotation_clip=False,
        )


def _apart(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return heights, ascending, moved as little as it takes to be `gap` from each other."""
    groups: list[tuple[float, int]] = []  # (centre, members), merged while they overlap
    for height in heights:
        groups.append((height, 1))
        while len(groups) > 1:
            (a, m), (b, n) = groups[-2:]
            if b - a >= gap * (m + n) / 2:
                break
            groups[-2:] = [((a * m + b * n) / (m + n), m + n)]
    placed: list[float] = []
    for centre, members in groups:
        half = gap * (members - 1) / 2
        centre = min(max(centre, low + half), max(high - half, low + half))
        placed += [centre - half + gap * k for k in range(members)]
    return placed
