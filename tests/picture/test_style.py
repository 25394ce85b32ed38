"""Colours read in greyscale; numbers read as a person writes them."""

import math
from decimal import Decimal

import pytest

from archgraph.picture.style import (
    arrow_size,
    colour,
    count_text,
    decades,
    line_width,
    percent,
    safe,
    shorten,
)


def luminance(text: str) -> float:
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("negative", [False, True])
def test_larger_norms_are_darker(negative):
    shades = [luminance(colour(10.0**k, (-6, 2), negative=negative)) for k in range(-6, 3)]
    assert shades == sorted(shades, reverse=True)
    assert len(set(shades)) == 9


def test_negative_shares_have_a_hue_of_their_own():
    for exponent in range(-3, 1):
        text = colour(10.0**exponent, (-3, 0), negative=True)
        red, green, blue = (int(text[i : i + 2], 16) for i in (1, 3, 5))
        assert red > 2 * blue or red > 1.5 * green
        cividis = colour(10.0**exponent, (-3, 0))
        assert abs(int(cividis[1:3], 16) - int(cividis[3:5], 16)) < 45, "cividis has no red"


def test_norms_off_the_scale_take_its_ends():
    assert colour(1e-30, (-3, 0)) == colour(0.0, (-3, 0)) == colour(1e-3, (-3, 0))
    assert colour(1e9, (-3, 0)) == colour(1.0, (-3, 0))


def test_an_unknown_norm_is_grey():
    for text in (colour(None, (-3, 0)), colour(1.0, None), colour(math.nan, (0, 1))):
        assert text[1:3] == text[3:5] == text[5:7]


def test_width_squared_is_linear_in_the_share():
    base = line_width(0.0)
    assert line_width(0.64) - base == pytest.approx(4 * (line_width(0.04) - base))
    assert line_width(-0.64) == line_width(0.64)
    assert line_width(50.0) == 5.0
    assert arrow_size(line_width(1.0)) < arrow_size(line_width(0.1))
    assert arrow_size(5.0) > 0.3


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ([0.03, 0.9], (-2, 0)),
        ([1.0], (-1, 0)),
        ([0.0, math.nan, math.inf], None),
        ([1e-300, 1e300], (-300, 300)),
    ],
)
def test_decades_hold_every_finite_norm(norms, expected):
    assert decades(norms) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (1.0, "100 %"),
        (0.0996, "10 %"),
        (0.06, "6 %"),
        (-0.123, "−12 %"),
        (-0.0001, "−<0.1 %"),
        (12.5, "1250 %"),
        (math.nan, "NaN"),
    ],
)
def test_percent(share, expected):
    assert percent(share) == expected


@pytest.mark.parametrize("count", [1, 999_999, 2**333, 3**200, 7**4000])
def test_counts_are_close_to_what_is_written(count):
    text = count_text(count).replace(" ", "").replace("·10^", "e")
    shown = Decimal(2) ** int(text[2:]) if text.startswith("2^") else Decimal(text)
    assert abs(shown / Decimal(count) - 1) < Decimal("0.006")


def test_long_names_keep_both_ends():
    text = shorten("encoder.layers.11.attention.output", 20)
    assert len(text) == 20
    assert text.startswith("encoder.lay")
    assert text.endswith("output")
    assert shorten("short") == "short"


def test_no_text_breaks_xml():
    assert safe('<a & "b">\x00\ud800') == "&lt;a &amp; &quot;b&quot;&gt;��"
