"""Formulas and edges, by the nodes and edges that they make."""

from __future__ import annotations

from fractions import Fraction

import pytest

from archgraph.errors import SpecError
from archgraph.spec import parse

HEAD = (
    "archgraph: 1\nparams: {lam: 0.5, k: 3, acts: [1, 2, 4], act: Tanh}\ninputs: {x: [8], q: [8]}\n"
)


def graph(layers, rest=""):
    return parse(f"{HEAD}layers:\n  a: Linear(8)(x)\n{layers}\n{rest}")


def edges_into(g, node):
    return [(e.source, e.kind, e.scale.value) for e in g.edges_into(node)]


@pytest.mark.parametrize(
    ("formula", "edges"),
    [
        ("ReLU", [("a", "sequential", 1)]),
        ("ReLU()(a + lam*x)", [("a", "add", 1), ("x", "add", Fraction(1, 2))]),
        ("a - x", [("a", "add", 1), ("x", "add", -1)]),
        ("-a", [("a", "sequential", -1)]),
        ("a/4 + 2*lam*x", [("a", "add", Fraction(1, 4)), ("x", "add", 1)]),
        ("2*(a*q)", [("a", "multiply", 2), ("q", "multiply", 1)]),
        ("a*(lam*q)", [("a", "multiply", Fraction(1, 2)), ("q", "multiply", 1)]),
        ("a*a", [("a", "multiply", 1), ("a", "multiply", 1)]),
        ("a + (x + q)", [("a", "add", 1), ("x", "add", 1), ("q", "add", 1)]),
        ("concat(a, lam*x)", [("a", "concat", 1), ("x", "concat", Fraction(1, 2))]),
        ("sum(a, x)", [("a", "add", 1), ("x", "add", 1)]),
        ("mix(a, x, j + lam)", [("a", "add", Fraction(1, 2)), ("x", "add", Fraction(3, 2))]),
        ("a if k > 2 else x", [("a", "sequential", 1)]),
        ("acts[2]*a", [("a", "sequential", 4)]),
        ("act()(a)", [("a", "sequential", 1)]),
    ],
)
def test_terms(formula, edges):
    assert edges_into(graph(f"  y: {formula}"), "y") == edges


def test_scales_keep_their_spelling():
    g = graph("  y: a + lam*x")
    assert [e.scale.text for e in g.edges_into("y")] == [None, "lam"]


def test_inner_merges_are_named_left_to_right_inner_first():
    g = graph("  y: a*q + (1 - a)*x")
    assert [n.name for n in g.nodes if "~" in n.name] == ["y~1", "y~2", "y~3"]
    assert edges_into(g, "y~1") == [("a", "multiply", 1), ("q", "multiply", 1)]
    assert str(g.node("y~2").op) == "Affine(-1, shift=1)"
    assert edges_into(g, "y~3") == [("y~2", "multiply", 1), ("x", "multiply", 1)]
    assert edges_into(g, "y") == [("y~1", "add", 1), ("y~3", "add", 1)]


def test_a_constant_beside_a_layer_makes_the_layer_an_affine():
    g = graph("  y: 1 - 2*a")
    assert str(g.node("y").op) == "Affine(-2, shift=1)"
    assert edges_into(g, "y") == [("a", "sequential", 1)]


def test_a_coefficient_before_a_sum_is_on_its_edge():
    g = graph("  y: x - lam*(a + q)")
    assert edges_into(g, "y") == [("x", "add", 1), ("y~1", "add", Fraction(-1, 2))]
    assert edges_into(g, "y~1") == [("a", "add", 1), ("q", "add", 1)]


def test_learnable_scales():
    g = graph("  y: x + learn(0.1, per='channel', name='alpha')*a\n  z: y + learn()*x")
    learned = [e.scale for e in g.edges if e.scale.learn]
    assert [(s.learn.name, s.learn.per, s.value) for s in learned] == [
        ("alpha", "channel", Fraction(1, 10)),
        ("z_scale", "all", 0),
    ]


def test_a_number_beside_a_learnable_scale_makes_an_inner_merge():
    g = graph("  y: x - learn(0.1)*a")
    assert edges_into(g, "y") == [("x", "add", 1), ("y~1", "add", -1)]
    assert g.edges_into("y~1")[0].scale.learn is not None


def test_ports():
    g = graph("  s: ScaledDotProductAttention(2)(a, value=q, key=x + a)")
    assert [(e.id, e.kind) for e in g.edges_into("s")] == [
        ("a->s[query]", "sequential"),
        ("q->s[value]", "sequential"),
        ("x->s[key]", "add"),
        ("a->s[key]", "add"),
    ]


def test_elements_of_a_tuple():
    g = graph("  l: LSTM(8)\n  y: l + l[1]")
    assert [e.element for e in g.edges_into("y")] == [0, 1]
    assert [e.id for e in g.edges_into("y")] == ["l->y", "l->y#1"]


def test_from_starts_the_chain():
    g = graph("  y: {op: ReLU, from: q}\n  z: {from: a}")
    assert edges_into(g, "y") == [("q", "sequential", 1)]
    assert edges_into(g, "z") == [("a", "sequential", 1)]
    assert g.node("z").op is None


def test_a_size_of_the_input_waits_for_shapes():
    g = graph("  y: Linear(cin//2 + k)")
    assert str(dict(g.node("y").op.arguments)["out_features"]) == "cin // 2 + 3"


def test_arguments_keep_their_spelling():
    call = graph("  y: Linear(4*k, bias=False)").node("y").op
    assert call.arguments == (("out_features", 12), ("bias", False))
    assert call.expressions == (("out_features", "4*k"),)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ("- {from: x, to: y, kind: add-skip, scale: lam}", [("a", "add", 1), ("x", "add", 0.5)]),
        ("- {from: x, to: y, kind: multiply}", [("a", "multiply", 1), ("x", "multiply", 1)]),
        ("- {from: [x, q, a], to: y, kind: concat}",
         [("x", "concat", 1), ("q", "concat", 1), ("a", "concat", 1)]),
        ("- {from: q, to: y}", [("q", "sequential", 1)]),
        ("- {from: q, to: y}\n  - {from: x, to: y, kind: add, scale: -2}",
         [("q", "sequential", 1), ("x", "add", -2)]),
    ],
)  # fmt: skip
def test_edges_join_the_chain(edges, expected):
    g = graph("  y: ReLU", f"edges:\n  {edges}")
    wanted = [
        (s, k if len(expected) < 2 or k != "sequential" else "add", v) for s, k, v in expected
    ]
    assert edges_into(g, "y") == wanted


def test_edges_and_formulas_of_the_residual_network_give_the_same_graph():
    by_edges = """
layers:
  F1: Linear(8)(x)
  x2: ReLU()
  F2: Linear(8)
  x3: ReLU()
edges:
  - {from: x, to: x3, kind: add-skip, scale: lam}
"""
    by_formulas = """
layers:
  F1: Linear(8)(x)
  x2: ReLU()
  F2: Linear(8)
  x3: ReLU()(F2 + lam*x)
"""
    assert parse(HEAD + by_edges) == parse(HEAD + by_formulas)


def test_add_skip_and_add_force_the_role():
    forced = graph("  y: ReLU", "edges: [{from: q, to: y, kind: add-skip}]")
    assert [e.role for e in forced.edges_into("y")] == ["branch", "skip"]
    off = graph("  y: Linear(8)(x)", "edges: [{from: x, to: y, kind: add}]")
    assert [e.role for e in off.edges_into("y")] == ["none", "none"]


def test_a_layer_that_reaches_no_output_is_a_warning():
    g = graph("  dead: ReLU\n  y: ReLU()(a)")
    assert [(p.code, p.message) for p in g.warnings] == [
        ("unused", "input 'q' reaches no output; its gradient is zero"),
        ("unused", "layer 'dead' reaches no output; its gradient is zero"),
    ]
    assert not g.reaches_loss("dead")


def test_integers_carry_no_gradient():
    g = parse("""
archgraph: 1
inputs: {idx: {shape: [4], dtype: int64, below: 10}}
layers:
  wte: Embedding(10, 8)
  pos: Positions()(idx)
  wpe: Embedding(8, 8)
  y: wte + wpe
""")
    assert [e.id for e in g.edges if not e.gradient] == ["idx->wte", "idx->pos", "pos->wpe"]


def test_params_are_expressions_of_earlier_ones_and_can_be_set():
    params = "{a: 3, b: 2*a, c: [a, b]}"
    text = f"archgraph: 1\nparams: {params}\ninputs: {{x: [b]}}\nlayers: {{y: 'Linear(c[1])'}}\n"
    assert parse(text).inputs[0].shape == (6,)
    assert parse(text, a=5).params == {"a": 5, "b": 10, "c": [5, 10]}
    assert parse(text, b="a + 1").inputs[0].shape == (4,)


def test_losses():
    text = """
archgraph: 1
params: {w: 0.3}
inputs: {x: [8]}
layers: {h: Linear(8), main: Linear(3), aux: Linear(3)(h)}
outputs: [main, aux]
loss:
  one: {of: main, op: CrossEntropyLoss(label_smoothing=0.1)}
  two: {of: aux, op: CrossEntropyLoss, scale: w}
"""
    g = parse(text)
    assert [(t.name, t.of, str(t.op), t.scale.value) for t in g.loss] == [
        ("one", "main", "CrossEntropyLoss(label_smoothing=0.1)", 1),
        ("two", "aux", "CrossEntropyLoss()", Fraction(3, 10)),
    ]
    assert [(e.id, e.kind) for e in g.edges_into("L")] == [("main->L", "loss"), ("aux->L", "loss")]


def test_without_a_loss_every_output_is_read():
    g = parse("{archgraph: 1, inputs: {x: [8]}, layers: {a: ReLU, b: ReLU}, outputs: {p: a, q: b}}")
    assert g.outputs == (("p", "a"), ("q", "b"))
    assert [(t.name, t.of, t.op) for t in g.loss] == [("p", "a", None), ("q", "b", None)]


def test_initialisers():
    g = graph(
        "  y: {op: Linear(3), init: {weight: 'normal(std=lam)', bias: -lam}}", "init: {bias: 0}"
    )
    (weight, call), (bias, value) = g.node("y").init
    assert (weight, str(call), bias, value) == (
        "weight",
        "normal(std=0.5)",
        "bias",
        Fraction(-1, 2),
    )
    assert g.init == (("bias", 0),)


def test_several_problems_of_one_formula_are_all_reported():
    with pytest.raises(SpecError) as caught:
        graph("  y: Conv2d(lamb, kk, padding=w)(aa)")
    assert [p.message.split("'")[1] for p in caught.value.problems] == ["lamb", "kk", "w", "aa"]
