from __future__ import annotations

from fractions import Fraction

import pytest

from archgraph.errors import SpecError
from archgraph.spec.document import parse_document
from archgraph.spec.tree import plain_number, scalar_value, to_plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", Fraction(1, 1000)),
        ("0.1", Fraction(1, 10)),
        ("-2.50", Fraction(-5, 2)),
        ("2.0", 2),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("+7", 7),
        (".5", Fraction(1, 2)),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("-.inf", float("-inf")),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text, value):
    assert scalar_value(text) == value
    assert type(scalar_value(text)) is type(value)


def test_a_quoted_scalar_is_text():
    plain = to_plain(parse_document("a: '1e-3'\nb: \"no\"\nc: 1e-3\n", "f").root)
    assert plain == {"a": "1e-3", "b": "no", "c": Fraction(1, 1000)}


def test_marks_point_at_the_characters():
    document = parse_document("a:\n  b: 'x + yy'\n", "f.yaml")
    scalar = document.tree(("a", "b"))
    mark = scalar.at(4, 2)
    assert (mark.line, mark.column) == (2, 11)
    assert mark.text[mark.column - 1 : mark.column + 1] == "yy"


def test_a_folded_scalar_is_marked_as_a_whole():
    document = parse_document("a: >\n  x +\n  y\n", "f")
    assert document.tree(("a",)).at(4, 1) == document.tree(("a",)).mark


def test_the_users_own_keys_are_left_out():
    assert to_plain(parse_document("x-note: 1\na: {x-mine: 2, b: 3}\n", "f").root) == {
        "a": {"b": 3}
    }


def test_aliases_are_followed():
    root = parse_document("a: &s [1, 2]\nb: *s\n", "f").root
    assert to_plain(root) == {"a": [1, 2], "b": [1, 2]}


def test_several_broken_formulas_are_all_reported():
    with pytest.raises(SpecError) as caught:
        parse_document("a: {x: F(1, 2), y: G(3, 4)(x), z: 1}\n", "f")
    assert [p.mark.column for p in caught.value.problems] == [8, 20]


def test_a_callers_float_is_exact_as_written():
    assert plain_number(0.1) == Fraction(1, 10)
    assert plain_number([0.5, 2]) == [Fraction(1, 2), 2]
    assert plain_number(True) is True
