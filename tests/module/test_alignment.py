"""Calls of a block that read one value at several inputs are instances of the block's one class."""

from __future__ import annotations

import pytest

from archgraph.errors import SpecError
from archgraph.module import infer, source
from archgraph.module.alignment import aligned
from archgraph.spec import parse
from tests.module.specs import SPECS, spec
from tests.module.test_blocks import assert_is_the_graph
from tests.module.test_plain_text import classes, made

INNER = """
inputs: {x: [4], y: [4]}
blocks:
  mixed:
    inputs: [a, b, c]
    layers:
      fa: Linear(4)(a + c)
      fb: Linear(4)(b)
      product: fa*fb
      out: {op: product - c + b}
  pair:
    inputs: [p, q]
    layers:
      first: mixed()(p, q, q)
      out: LayerNorm()(first + p)
layers:
  one: pair()(x, x)
  two: pair()(one, y)
  three: mixed()(two, two, two)
  four: mixed()(three, x, two)
  h: {op: "mixed()(h[i - 1] if i > 0 else four, x if i > 0 else four, y)", repeat: 3}
  chunk: Chunk(2, 0)(h)
  other: Chunk(2, 1)(h)
"""


def test_calls_with_equal_inputs_are_of_the_one_class():
    graph = made(INNER)
    text = source(graph)
    assert classes(text) == ["Mixed", "Pair", "Plain"]
    assert "x = self.one(x, x)" in text or "self.one(x, x)" in text
    assert "self.three(two, two, two)" in text
    assert_is_the_graph(graph)


@pytest.mark.parametrize("name", SPECS)
def test_the_graph_stays_itself_where_no_inputs_coincide(name):
    graph = spec(name)
    assert (aligned(graph) is graph) is (name != "branches")


def test_what_is_wrong_is_said_of_the_nodes_of_the_spec():
    graph = made("""
inputs: {x: [4], y: [5]}
blocks:
  f:
    inputs: [a, b]
    layers: {fa: Linear(4)(a), out: fa + b}
layers: {good: "f()(x, x)", bad: "f()(y, y)", last: "f()(x, y)"}
""")
    with pytest.raises(SpecError) as caught:
        source(graph)
    with pytest.raises(SpecError) as expected:
        infer(graph)
    assert str(caught.value) == str(expected.value)


def test_a_loop_runs_copies_of_which_the_first_reads_one_value_twice():
    graph = parse(
        """
archgraph: 1
inputs: {x: [4]}
blocks:
  f:
    inputs: [a, b]
    layers: {fa: Linear(4)(a), fb: Linear(4)(b), out: fa*fb}
layers:
  h: {op: "f()(h[i - 1] if i > 0 else x, x)", repeat: 3}
""",
        file="loop.yaml",
    )
    text = source(graph)
    assert classes(text)[0] == "F"
    assert "for f in self.h:" in text
    assert_is_the_graph(graph)


def test_a_sum_of_which_some_calls_have_the_first_term_only_is_one_class():
    text = source(spec("branches"))
    assert classes(text) == ["Inner", "Inner2", "Outer", "Branches"]
    assert "return out_1 + fa if self.gate else out_1" in text
    assert "Inner2(w, w, w, gate=i > 0) for i in range(n)" in text
    graph = made("""
inputs: {x: [4]}
blocks:
  f:
    params: {more: false, scale: 0.5}
    layers:
      a: Linear(4)
      b: Tanh()(input)
      y: {op: a*b + scale*input, when: more}
      out: ReLU()(y)
layers: {p: f(True), q: f(), r: "f(scale=2)", s: "f(True, 3)"}
""")
    assert classes(source(graph)) == ["F", "Plain"]
    assert_is_the_graph(graph)
