"""Blocks, groups, `when`, `include`: what they become, node by node."""

from __future__ import annotations

from fractions import Fraction

import pytest

from archgraph.errors import SpecError
from archgraph.spec import load, parse
from archgraph.spec.document import Limits
from archgraph.spec.dump import dump

HEAD = "archgraph: 1\nparams: {w: 8, lam: 0.5, act: Tanh}\ninputs: {x: [8]}\n"


def graph(text, **params):
    made = parse(HEAD + text, **params)
    assert parse(dump(made)) == made
    return made


def edges(g):
    return [e.id for e in g.edges]


def names(g):
    return [n.name for n in g.nodes]


def problem(text, **params):
    with pytest.raises(SpecError) as caught:
        parse(HEAD + text, **params)
    return str(caught.value)


UNIT = """
blocks:
  unit:
    params: {n: required, scale: lam, op: act}
    layers:
      fc: Linear(n)
      a: op()
      out: scale*input + a
"""


def test_a_call_writes_the_block_out():
    g = graph(UNIT + "layers: {u: unit(w), y: Linear(2)}")
    assert names(g) == ["x", "u.fc", "u.a", "u.out", "y", "L"]
    expected = ["x->u.fc", "u.fc->u.a", "x->u.out", "u.a->u.out", "u.out->y", "y->L"]
    assert edges(g) == expected
    assert g.edge("x->u.out").scale.value == Fraction(1, 2)
    assert str(g.node("u.a").op) == "Tanh()"
    assert g.node("u.fc").block == ("u",)
    assert g.node("u.fc").module == "u.fc"


def test_params_are_given_by_place_by_name_and_by_default():
    g = graph(UNIT + "layers: {u: 'unit(w, 2*lam, op=ReLU)', v: 'unit(n=8, scale=3)'}", lam=0.25)
    assert g.edge("x->u.out").scale.value == Fraction(1, 2)
    assert str(g.node("u.a").op) == "ReLU()"
    assert g.edge("u.out->v.out").scale.value == 3
    assert str(g.node("v.a").op) == "Tanh()"
    assert dict(g.instances["u"].texts) == {"n": "w", "scale": "2*lam", "op": "ReLU"}
    assert dict(g.instances["u"].params)["scale"] == Fraction(1, 2)


def test_a_merged_input_is_a_node_of_its_own():
    g = graph(UNIT + "layers: {a: Linear(8), u: unit(w)(a - x), v: unit(w)(2*a)}")
    assert [e.id for e in g.edges_into("u.input")] == ["a->u.input", "x->u.input"]
    assert g.edge("a->v.input").scale.value == 2
    assert {e.source for e in g.edges_into("v.out")} == {"v.input", "v.a"}
    assert g.node("u.input").module is None


def test_a_merge_of_merges_at_an_input():
    g = graph(UNIT + "layers: {a: Linear(8), u: unit(w)(a*x + (1 - a)*x)}")
    inner = ["u.input~1", "u.input~2", "u.input~3", "u.input"]
    assert [n for n in names(g) if n.startswith("u.input")] == inner


TWO = """
blocks:
  pair:
    inputs: [a, b]
    outputs: {sum: s, product: p}
    layers: {s: a + b, p: a*b}
"""


def test_several_inputs_and_outputs():
    g = graph(TWO + "layers: {f: Linear(8), q: 'pair()(f, b=x)', y: q + q.product}")
    assert [e.id for e in g.edges_into("q.p")] == ["f->q.p", "x->q.p"]
    assert [e.id for e in g.edges_into("y")] == ["q.s->y", "q.p->y"]


def test_inner_layers_are_read_by_name_from_outside():
    text = "layers: {u: unit(w), v: 'unit(w)', y: u.a + v.fc}\noutputs: [y, u.a, v.fc]"
    g = graph(UNIT + text)
    assert [e.id for e in g.edges_into("y")] == ["u.a->y", "v.fc->y"]
    assert g.outputs == (("y", "y"), ("u.a", "u.a"), ("v.fc", "v.fc"))


def test_a_layer_may_bear_the_block_s_name():
    g = graph(UNIT + "layers: {unit: unit(w), y: unit + x}")
    assert [e.id for e in g.edges_into("y")] == ["unit.out->y", "x->y"]


def test_a_layer_called_like_its_block_needs_no_brackets():
    g = graph(
        "blocks: {gate: {layers: {a: Linear(8), b: Sigmoid}}}\nlayers: {gate: gate, ReLU: ReLU}"
    )
    assert edges(g) == ["x->gate.a", "gate.a->gate.b", "gate.b->ReLU", "ReLU->L"]


def test_blocks_call_blocks_and_do_not_see_outer_layers():
    text = """
blocks:
  inner: {params: {k: 1}, layers: {fc: Linear(8*k)}}
  outer: {layers: {a: inner(), b: inner(k=2)}}
layers: {o: outer(), y: Linear(8)}
"""
    g = graph(text)
    assert names(g)[1:3] == ["o.a.fc", "o.b.fc"]
    assert g.node("o.b.fc").block == ("o", "o.b")
    assert "there is no layer, input or param 'x'" in problem(
        "blocks: {b: {layers: {a: Linear(8), c: a + x}}}\nlayers: {u: b()}"
    )


def test_a_block_that_is_nothing_but_its_input():
    g = graph(
        "blocks: {same: {layers: {a: {op: ReLU, when: false}}}}\nlayers: {s: same(), y: s + x}"
    )
    assert edges(g) == ["x->y", "x->y#1", "y->L"]


def test_groups_see_what_is_around_them():
    text = (
        "layers: {a: Linear(8), g: {layers: {'0': ReLU, b: Linear(w)(g0 + a)}}, y: \"g['0'] + g\"}"
    )
    g = graph(text.replace("g0", "a"))
    assert names(g)[1:4] == ["a", "g.0", "g.b"]
    assert [e.id for e in g.edges_into("y")] == ["g.0->y", "g.b->y"]
    assert g.instances["g"].kind == "group"


def test_when_is_off_the_name_is_its_input():
    text = UNIT + "layers: {p: {op: unit(w), when: w > 8}, y: p + x}"
    assert edges(graph(text)) == ["x->y", "x->y#1", "y->L"]
    assert "p.out" in parse(HEAD.replace("[8]", "[9]") + text, w=9).positions
    members = {
        m.name: m
        for m in graph(UNIT + "layers: {u: unit(w), p: {op: ReLU, when: false}}")
        .instances[""]
        .members
    }
    assert (members["p"].kind, members["p"].reads) == ("alias", ("u.out", 0))


def test_edges_inside_a_block_and_into_an_instance():
    text = """
blocks:
  f:
    layers: {a: Linear(8), b: Linear(8), c: ReLU}
    edges: [{from: input, to: c, kind: add-skip, scale: lam}]
layers: {p: Linear(8), f: f(), q: Linear(8)}
edges: [{from: x, to: f, kind: add-skip}, {from: f.a, to: q, kind: add}]
"""
    g = graph(text)
    assert [e.id for e in g.edges_into("f.input")] == ["p->f.input", "x->f.input"]
    assert g.edge("f.input->f.c").role == "skip"
    assert [e.id for e in g.edges_into("q")] == ["f.c->q", "f.a->q"]


def test_learnable_scales_belong_to_the_block_s_module():
    text = "blocks: {r: {layers: {fc: Linear(8), out: \"input + learn(0, name='alpha')*fc\"}}}\n"
    g = graph(text + "layers: {a: r(), b: r()}")
    assert set(g.parameter_users) >= {"a.alpha", "b.alpha"}


def test_list_params_and_text_params():
    text = """
blocks:
  c:
    params: {pad: "'same'", sizes: [3, 5]}
    layers: {v: "Linear(sizes[1])", u: Linear(len(pad))}
layers: {c: c()}
"""
    g = graph(text)
    assert [str(g.node(n).op) for n in ("c.v", "c.u")] == ["Linear(5)", "Linear(4)"]


def test_include(tmp_path):
    (tmp_path / "lib.yaml").write_text(
        "archgraph: 1\nblocks: {f: {layers: {fc: Linear(3), a: ReLU}}}\n"
    )
    spec = tmp_path / "s.yaml"
    spec.write_text(
        "archgraph: 1\ninclude: [lib.yaml]\ninputs: {x: [4]}\nlayers: {f: f(), g: f()}\n"
    )
    assert names(load(spec))[1:3] == ["f.fc", "f.a"]
    (tmp_path / "lib.yaml").write_text("archgraph: 1\nblocks: {f: {layers: {fc: Liner(3)}}}\n")
    with pytest.raises(SpecError, match=r"lib\.yaml:2:27: error\[unknown-op\].*\(in f\.fc\)"):
        load(spec)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../lib.yaml", "is no plain file name"),
        ("none.yaml", "cannot read 'none.yaml': no such file"),
        ("/etc/passwd", "is no plain file name"),
    ],
)
def test_includes_that_are_refused(tmp_path, name, message):
    spec = tmp_path / "s.yaml"
    spec.write_text(f"archgraph: 1\ninclude: ['{name}']\ninputs: {{x: [4]}}\nlayers: {{f: ReLU}}\n")
    with pytest.raises(SpecError, match=message):
        load(spec)


def test_text_without_a_file_includes_nothing():
    assert "text without a file includes nothing" in problem("include: [a.yaml]\nlayers: {a: ReLU}")


def test_limits_hold_however_blocks_nest():
    doubled = "\n".join(
        f"  b{k}: {{layers: {{a: b{k - 1}(), b: b{k - 1}()}}}}" for k in range(1, 30)
    )
    text = f"blocks:\n  b0: {{layers: {{a: ReLU}}}}\n{doubled}\nlayers: {{y: b29()}}"
    with pytest.raises(SpecError, match="more than 1,000 nodes"):
        parse(HEAD + text, limits=Limits(nodes=1_000))
    assert "more than 100,000 nodes" in problem("layers: {y: {op: ReLU, repeat: 10**9}}")


def test_a_problem_inside_a_block_is_told_once_with_its_first_instance():
    text = "blocks: {f: {layers: {fc: Linear(w + k)}}}\nlayers: {a: {op: f(), repeat: 3}, b: f()}"
    shown = problem(text)
    assert shown.count("error[") == 1
    assert "there is no layer, input or param 'k' (in a.0.fc)" in shown
    assert "<text>:4:38" in shown
