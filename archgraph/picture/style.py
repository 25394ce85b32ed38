"""Colours, widths, shapes and number formats: the visual language in one place.

Every channel is doubled: colour by lightness, a skip by its dashes, an alert by a word, a negative
share by its minus sign, so that a print in greyscale says the same.
"""

from __future__ import annotations

import html
import math
import re
from typing import Final

__all__ = [
    "FONT",
    "GREY",
    "arrow_size",
    "colour",
    "count_text",
    "decades",
    "line_width",
    "number_text",
    "percent",
    "safe",
    "shorten",
    "shorten_call",
    "shorten_name",
]

# Metrics of these are close to each other, so that text laid out with one and shown with another
# stays inside its box.
FONT: Final = "Helvetica,Arial,sans-serif"
INK: Final = "#333333"
GREY: Final = "#9a9a9a"
NEUTRAL: Final = "#555555"
FRAME: Final = "#b4bccb"
FRAME_INK: Final = "#5a6579"
ALERT: Final = "#a50f15"

# Cividis (Nuñez, Anderton and Renslow 2018), from large norms (dark) to small ones (light); its
# lightest end is left out, where a line would vanish on white.
_CIVIDIS: Final = (
    (0, 32, 76),
    (0, 52, 110),
    (60, 74, 107),
    (91, 95, 109),
    (117, 117, 117),
    (146, 140, 120),
    (176, 165, 114),
    (209, 191, 102),
    (232, 211, 84),
)
# A hue that cividis does not have, with the same lightness rule.
_NEGATIVE: Final = ((103, 0, 13), (165, 15, 21), (222, 73, 60), (239, 138, 115))

# Family or kind of vertex → DOT attributes.
SHAPES: Final = {
    "input": {"shape": "cylinder", "margin": "0.1,0.04"},
    "weights": {"shape": "box", "fillcolor": "#ececec"},
    "activation": {"shape": "box", "style": "rounded,filled"},
    "norm": {"shape": "box", "peripheries": "2"},
    "plain": {"shape": "box", "color": "#8a8a8a"},
    "unknown": {"shape": "note"},
    "merge": {"shape": "circle", "width": "0.27", "fixedsize": "true", "margin": "0"},
    "named merge": {"shape": "ellipse", "margin": "0.02,0.02"},
    "loss": {"shape": "doublecircle", "width": "0.3", "fixedsize": "true", "margin": "0"},
    "parameter": {"shape": "tab", "margin": "0.1,0.06"},
    "fold": {"shape": "box3d", "fillcolor": "#e9eef7", "margin": "0.12,0.06"},
    "ghost": {"shape": "box", "style": "dotted,rounded", "color": "#8a8a8a"},
}
SYMBOLS: Final = {"add": "+", "concat": "‖", "multiply": "×"}


def line_width(share: float | None) -> float:
    """Return the width of a line, in points: 0.6 + 3.6·√|share|, at most 5."""
    if share is None or math.isnan(share):
        return 1.2
    return min(5.0, 0.6 + 3.6 * math.sqrt(abs(share)))


def arrow_size(width: float) -> float:
    """Return Graphviz's `arrowsize` for a line: heads must not grow with the line."""
    return 0.8 - 0.0785 * width


def decades(norms: list[float]) -> tuple[int, int] | None:
    """Return the whole decades (log₁₀) that hold all finite positive norms; None without any."""
    logs = [math.log10(norm) for norm in norms if 0 < norm < math.inf]
    if not logs:
        return None
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return (low, high) if high > low else (low - 1, high)


def colour(norm: float | None, scale: tuple[float, float] | None, *, negative: bool = False) -> str:
    """Return the colour of a cotangent's norm on a log₁₀ scale: light is small, dark is large."""
    if norm is None or scale is None or not math.isfinite(norm):
        return "#cb3b32" if negative else GREY
    low, high = scale
    level = (math.log10(norm) - low) / (high - low) if norm > 0 else 0.0
    anchors = _NEGATIVE if negative else _CIVIDIS
    place = (1 - min(1.0, max(0.0, level))) * (len(anchors) - 1)
    first = min(int(place), len(anchors) - 2)
    mixed = (
        round(a + (b - a) * (place - first))
        for a, b in zip(anchors[first], anchors[first + 1], strict=True)
    )
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def percent(share: float) -> str:
    """Return a share as a person reads it.

    Example:
        >>> percent(0.774), percent(-0.031), percent(0.0004), percent(0.0)
        ('77 %', '−3.1 %', '<0.1 %', '0 %')
    """
    if not math.isfinite(share):
        return "NaN"
    size = abs(share) * 100
    if size == 0:
        return "0 %"
    sign = "−" if share < 0 else ""
    if size < 0.1:
        return f"{sign}<0.1 %"
    return f"{sign}{size:.0f} %" if size >= 9.95 else f"{sign}{size:.2g} %"


def number_text(value: float) -> str:
    """Return a norm with three significant digits."""
    return f"{value:.3g}".replace("-", "−")


def count_text(count: int) -> str:
    """Return a number of paths: whole up to a million, then a power of two or of ten.

    Example:
        >>> count_text(4), count_text(2**40), count_text(3**40)
        ('4', '2^40', '1.22·10^19')
    """
    if count < 10**6:
        return f"{count:,}".replace(",", " ")
    if count & (count - 1) == 0:
        return f"2^{count.bit_length() - 1}"
    excess = max(0, int((count.bit_length() - 900) * math.log10(2)))
    mantissa, exponent = f"{count // 10**excess:.2e}".split("e")
    return f"{mantissa}·10^{int(exponent) + excess}"


def shorten(text: str, limit: int = 26) -> str:
    """Return text of at most `limit` characters, its middle left out where it is longer."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 3
    return f"{text[: limit - 1 - tail]}…{text[-tail:]}"


def shorten_name(text: str, limit: int = 28) -> str:
    """Return a dotted name of at most `limit` characters: its end is what tells it from others.

    Example:
        >>> shorten_name("encoder.layers.encoder_layer_3.mlp.0", 24)
        '…encoder_layer_3.mlp.0'
    """
    while len(text) > limit and "." in text:
        text = "…" + text.lstrip("…").partition(".")[2]
    return text if len(text) <= limit else "…" + text[1 - limit :]


def shorten_call(text: str, limit: int = 30) -> str:
    """Return a call of at most `limit` characters: its last arguments are left out first.

    Example:
        >>> shorten_call("Conv2d(256, 3, padding=1, bias=False)")
        'Conv2d(256, 3, padding=1…)'
    """
    if len(text) <= limit or not text.endswith(")"):
        return shorten(text, limit)
    kept = text
    while ", " in kept and len(kept) + 2 > limit:
        kept = kept.rpartition(", ")[0]
    return f"{kept}…)" if len(kept) + 2 <= limit else shorten(text, limit)


def safe(text: str) -> str:
    """Return text for an HTML-like label: escaped, without what XML cannot hold."""
    return html.escape(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]", "�", text))
