from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings

from archgraph.errors import UsageError
from archgraph.graph import GraphBuilder
from archgraph.ops import opaque
from archgraph.spec import load, parse, zoo
from archgraph.spec.dump import dump
from tests.graph.test_roles import CASES
from tests.strategies import graphs

ODD = """
archgraph: 1
name: "odd: name"
about: 'has "quotes", λ and # signs'
params: {w: 3}
inputs: {x: [w], q: [w], idx: {shape: [4], dtype: int64, below: 7}}
layers:
  a:
    op: Linear(w)(x)
    init: {weight: kaiming_normal(nonlinearity='relu'), bias: 1/3}
    about: "has: colon"
  l: {op: LSTM(3), label: "the [cell]", symbol: "c_{t}"}
  b: ReLU()(l[0] - 2*(a + q) + learn(0.5, name='al')*x + 1)
  c: concat(sqrt(2)*a, learn(0, per='channel')*b, x*q*3, dim=-1)
  d: Dropout(0.1)
  f: Linear(cin//3)
  e: Linear(cin)(f)
  s: ScaledDotProductAttention(1)(e, value=e, key=e)
outputs: {one: e, two: a}
states: [x, b]
loss:
  m: {of: one, op: MSELoss(), scale: 0.3}
  k: {of: two, op: CrossEntropyLoss(label_smoothing=0.1)}
  r: {of: one, scale: 2}
init: {weight: xavier_uniform, bias: 0}
tie: {a.weight: l.weight_hh_l0}
x-mine: anything
"""


def assert_round_trip(graph):
    text = dump(graph)
    again = parse(text)
    assert again == graph
    assert [edge.role for edge in again.edges] == [edge.role for edge in graph.edges]
    assert [edge.id for edge in again.edges] == [edge.id for edge in graph.edges]
    assert dump(again) == text
    assert set(yaml.safe_load(text)) >= {"archgraph", "inputs", "layers", "outputs"}


@pytest.mark.parametrize("name", zoo())
def test_shipped_specs(name):
    assert_round_trip(load(name))


@pytest.mark.parametrize("name", CASES)
def test_the_role_cases(name):
    assert_round_trip(parse(CASES[name]["spec"]))


@pytest.mark.parametrize("kinds", [("add-skip", "add"), ("add-skip", "add-skip"), ("add", "add")])
def test_a_role_that_is_forced_on_the_first_term_of_the_first_layer(kinds):
    edges = ", ".join(
        f"{{from: {name}, to: y, kind: {kind}}}" for name, kind in zip("ab", kinds, strict=True)
    )
    text = f"archgraph: 1\ninputs: {{a: [4], b: [4]}}\nlayers:\n  y:\nedges: [{edges}]\n"
    graph = parse(text)
    assert (graph.edges[0].role == "skip") == (kinds[0] == "add-skip")
    assert_round_trip(graph)


def test_everything_at_once():
    assert_round_trip(parse(ODD))


@settings(deadline=None, max_examples=150)
@given(graphs())
def test_random_graphs(graph):
    assert_round_trip(graph)


def test_a_python_callable_cannot_be_written():
    builder = GraphBuilder("g")
    builder.layer("f", opaque(abs), [builder.input("x", (2,))])
    with pytest.raises(UsageError, match="layer 'f' is a Python callable"):
        dump(builder.build())
