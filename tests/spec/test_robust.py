"""The loader answers every byte string with a graph or a positioned SpecError (law 9)."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archgraph.errors import SpecError
from archgraph.graph import Graph
from archgraph.spec import parse, zoo
from archgraph.spec.document import Limits

HEAD = (
    "archgraph: 1\nparams: {lam: 0.5}\ninputs: {x: [8], y: [8]}\nlayers:\n  a: Linear(8)(x)\n  b: "
)
PIECES = [
    "a", "x", "y", "lam", "learn(0)", "1", "-", "+", "*", "/", "**", "(", ")", "[", "]", ",", "0",
    "concat", "sum", "mix", "Linear", "ReLU", "Chunk", "if", "else", "not", ":", "=", "dim", "'s'",
    ".", "%", "lambda", "cin", "j", "{", "}", "for", "in", "1e9", "~", "@", "ReLU()", "(a)", " ",
]  # fmt: skip


def assert_answered(data):
    started = time.monotonic()
    try:
        answer = parse(data, limits=Limits(file_bytes=20_000, nodes=2_000))
    except SpecError as error:
        answer = error
    if isinstance(answer, SpecError):
        assert answer.problems
        assert all(p.mark.line >= 1 and p.mark.column >= 1 and p.message for p in answer.problems)
    else:
        assert isinstance(answer, Graph)
    assert time.monotonic() - started < 20  # no hang; not a measure of speed


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_bytes(data):
    assert_answered(data)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200))
def test_text(text):
    assert_answered(text)


@settings(deadline=None, max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=14), st.sampled_from(["", " "]))
def test_formulas(pieces, gap):
    text = gap.join(pieces).replace("'", "''")
    assert_answered(f"{HEAD}'{text}'\n")


@pytest.mark.parametrize("name", zoo())
def test_mutilated_specs(name):
    text = zoo()[name].read_text(encoding="utf-8")
    rng = random.Random(name)
    for _ in range(60):
        changed = list(text)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(changed))
            kind = rng.randrange(3)
            if kind == 0:
                del changed[at : at + rng.randint(1, 9)]
            elif kind == 1:
                changed.insert(at, rng.choice("{}[]():,'\"#&*!|>%@`\n \t-+~.0aλ"))
            else:
                start = rng.randrange(len(text))
                changed[at:at] = text[start : start + rng.randint(1, 30)]
        assert_answered("".join(changed))


@pytest.mark.parametrize(
    "formula",
    [
        "(" * 500 + "a" + ")" * 500,
        "-" * 3000 + "a",
        "+".join(["a"] * 1900),
        "*".join(["a"] * 900),
        "a if lam else " * 200 + "a",
        "9**9**9**9",
        "Linear(" + "9" * 3000 + ")",
        "Linear(2**100000)",
        "not " * 900 + "a",
        "a" + "[0]" * 900,
        "a" + ".a" * 900,
        "x" * 5000,
        "Linear(10**40)",
        "lam" + "*lam" * 900 + "*a",
    ],
)
def test_large_formulas(formula):
    assert_answered(HEAD + formula)


def test_deep_and_wide_documents():
    assert_answered("a: " + "[" * 5000)
    assert_answered("- " * 5000)
    assert_answered("a: &a [" + "1," * 50 + "]\n" + "".join(f"b{i}: *a\n" for i in range(500)))
    bomb = "a0: &a0 [1,1,1,1,1,1,1,1]\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 12)
    )
    assert_answered(bomb)
