"""Every way to get a spec wrong, with the whole message that a person then reads."""

from __future__ import annotations

import math

import pytest

from archgraph.errors import SpecError, UsageError
from archgraph.module import infer
from archgraph.spec import load, parse
from archgraph.spec.document import Limits
from tests.goldens import GOLDEN, assert_golden

BAD_SPECS = sorted(path.stem for path in (GOLDEN / "errors").glob("*.yaml"))


@pytest.mark.parametrize("name", BAD_SPECS)
def test_message(name):
    text = (GOLDEN / "errors" / f"{name}.yaml").read_bytes()
    with pytest.raises(SpecError) as caught:
        infer(parse(text, file=f"specs/{name}.yaml"))
    assert_golden(f"errors/{name}.txt", f"{caught.value}\n")


def test_problems_are_sorted_and_each_stands_once():
    text = (GOLDEN / "errors" / "not_allowed.yaml").read_bytes()
    with pytest.raises(SpecError) as caught:
        parse(text)
    places = [(p.mark.line, p.mark.column, p.message) for p in caught.value.problems]
    assert places == sorted(set(places))
    assert len(places) > 8


def test_a_directory(tmp_path):
    with pytest.raises(SpecError, match=r":1:1: error\[unreadable\]: .* it is a directory"):
        load(tmp_path)


def test_no_such_file(tmp_path):
    with pytest.raises(SpecError, match="no such file or directory"):
        load(tmp_path / "none.yaml")


def test_a_binary_file(tmp_path):
    path = tmp_path / "weights.yaml"
    path.write_bytes(b"archgraph: 1\n\x00\xff\xfe\x80")
    with pytest.raises(SpecError, match=r":2:2: error\[not-text\]: byte 0xff is not UTF-8 text"):
        load(path)


def test_a_control_character():
    with pytest.raises(SpecError, match=r":2:3: error\[not-text\]: character U\+0007"):
        parse("archgraph: 1\nab\x07: 3\n")


def test_no_shipped_spec_of_that_name():
    with pytest.raises(UsageError, match="did you mean 'residual'"):
        load("resdual")


def test_no_such_param():
    with pytest.raises(UsageError, match="has no param 'lamb'; did you mean 'lam'"):
        load("residual", lamb=1)


def test_a_bad_value_for_a_param_is_named():
    with pytest.raises(SpecError, match=r"width=2\*wdith: there is no param 'wdith'"):
        load("residual", width="2*wdith")


@pytest.mark.parametrize("value", [math.nan, -math.inf, 10**309])
def test_a_value_for_a_param_is_finite(value):
    with pytest.raises(SpecError, match=r"lam=.*: a param is a finite number, not -?(nan|inf)"):
        load("residual", lam=value)


@pytest.mark.parametrize(
    ("limits", "text", "message"),
    [
        (Limits(file_bytes=10), "archgraph: 1\n", "the file has 13 bytes; the limit is 10"),
        (Limits(depth=3), "a: [[[[1]]]]\n", "nested deeper than 3"),
        (Limits(values=4), "a: [1, 2, 3, 4]\n", "more than 4 values"),
        (Limits(values=9), "a: &a [1, 2]\nb: [*a, *a]\n", "aliases make more than 9 values"),
    ],
)
def test_limits(limits, text, message):
    with pytest.raises(SpecError, match=message):
        parse(text, limits=limits)
