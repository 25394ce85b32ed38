"""Grids: which values a setting means, and what is refused."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archgraph.errors import UsageError
from archgraph.sweeping import parse_grid
from archgraph.sweeping.grid import make_grid, value_text

TENTH = Fraction(1, 10)

VALUES = {
    "lam=0.5,1,1.1": (Fraction(1, 2), 1, Fraction(11, 10)),
    "lam=1.0": (1,),
    "depth=2:20:4": (2, 6, 10, 14, 18),
    "depth=2:4": (2, 3, 4),
    "depth=5:1:-2": (5, 3, 1),
    "width=16:100:*2": (16, 32, 64),
    "lam=1:0.1:*0.5": (1, Fraction(1, 2), Fraction(1, 4), Fraction(1, 8)),
    "lam=0:0.3:0.1": (0, TENTH, 2 * TENTH, 3 * TENTH),
    "depth=1:3,8": (1, 2, 3, 8),
    "act=ReLU, Tanh": ("ReLU", "Tanh"),
    "act=LeakyReLU(0.1, True),ReLU": ("LeakyReLU(0.1, True)", "ReLU"),
    "depths=[3, 4, 6]": ([3, 4, 6],),
    "depths=[3, 4],[3, 8]": ([3, 4], [3, 8]),
    "norm=no,on": ("no", "on"),
    "project=true,false": (True, False),
    "name='a,b:c'": ("'a,b:c'",),
    "lam=1e-3": (Fraction(1, 1000),),
}


@pytest.mark.parametrize(("setting", "values"), VALUES.items())
def test_values(setting, values):
    (axis,) = parse_grid([setting]).axes
    assert axis.values == values
    assert [type(v) for v in axis.values] == [type(v) for v in values]


WRONG = {
    "lam": "takes name=values",
    "=1": "takes name=values",
    "lam=": "empty value",
    "lam=1,,2": "empty value",
    "lam=1,1.0": "value 1 twice",
    "lam=1:2:0": "never gets to its stop",
    "lam=2:1": "never gets to its stop",
    "lam=1:2:*1": "never gets to its stop",
    "lam=0:2:*2": "never gets to its stop",
    "lam=1:8:*0.5": "never gets to its stop",
    "lam=a:b": "is no range",
    "lam=1:2:3:4": "is no range",
    "lam=.nan:2": "is no range",
    "lam=0:1:1e-9": "values; 10,000 are the most",
    "depths=[3,": "--set",
}


@pytest.mark.parametrize(("setting", "message"), WRONG.items())
def test_refused(setting, message):
    with pytest.raises(UsageError, match=message.replace("(", r"\(").replace("*", r"\*")):
        parse_grid([setting])


def test_every_problem_is_told_in_one_go():
    with pytest.raises(UsageError, match="twice") as caught:
        parse_grid(["lam=1", "lam=2", "a=1:0", "lan=3"], declared=["lam", "a"], where="it")
    lines = str(caught.value).splitlines()
    assert lines[0] == "--set lam stands there twice; put all its values into one"
    assert lines[1] == "--set a=1:0: the range '1:0' never gets to its stop"
    assert lines[2] == "it has no param 'lan'; did you mean 'lam'?"
    assert len(lines) == 3


def test_too_many_points():
    with pytest.raises(UsageError, match=r"the grid has 100,000,000 points"):
        parse_grid(["a=1:10000", "b=1:10000"])


def test_python_values():
    grid = make_grid({"lam": [0.1, 1], "depth": range(2, 7, 2), "act": "ReLU", "d": [[3, 4]]})
    assert [axis.values for axis in grid.axes] == [(TENTH, 1), (2, 4, 6), ("ReLU",), ([3, 4],)]
    with pytest.raises(UsageError, match="lam has no values"):
        make_grid({"lam": []})


# Of a busy machine, nothing follows about grids.
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@RELAXED
@given(st.lists(st.lists(st.integers(-9, 9), min_size=1, max_size=4, unique=True), max_size=3))
def test_all_combinations_the_last_varies_fastest(columns):
    names = "abc"[: len(columns)]
    grid = parse_grid([f"{n}={','.join(map(str, c))}" for n, c in zip(names, columns, strict=True)])
    expected = [tuple(zip(names, values, strict=True)) for values in itertools.product(*columns)]
    assert list(grid) == expected
    assert len(grid) == len(expected)


@RELAXED
@given(st.fractions(-100, 100) | st.integers() | st.lists(st.fractions(-9, 9), max_size=3))
def test_different_values_have_different_texts(value):
    texts = {value_text(value), value_text(Fraction(7, 1000003)), value_text([value])}
    assert len(texts) == 3
