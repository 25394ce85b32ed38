"""Repeats: copies, how they are joined, what their names stand for."""

from __future__ import annotations

import pytest

from archgraph.errors import SpecError
from archgraph.spec import parse
from archgraph.spec.dump import dump

HEAD = """archgraph: 1
params: {n: 3, w: 8}
inputs: {x: [8]}
blocks:
  f: {params: {k: 8}, layers: {fc: Linear(k), a: ReLU}}
  two: {inputs: [h, x], layers: {a: Linear(8)(h), out: a + x}}
"""


def graph(layers, rest="", **params):
    made = parse(f"{HEAD}layers: {layers}\n{rest}", **params)
    assert parse(dump(made)) == made
    return made


def names(g):
    return [n.name for n in g.nodes[1:-1]]


def into(g, node):
    return [e.source for e in g.edges_into(node)]


def problem(layers, rest=""):
    with pytest.raises(SpecError) as caught:
        parse(f"{HEAD}layers: {layers}\n{rest}")
    return str(caught.value)


def test_copies_follow_each_other():
    g = graph("{h: {op: Linear(8), repeat: n}, y: ReLU}")
    assert names(g) == ["h.0", "h.1", "h.2", "y"]
    assert [into(g, n) for n in names(g)] == [["x"], ["h.0"], ["h.1"], ["h.2"]]
    assert g.node("h.1").module == "h.1"
    assert g.node("h.1").block == ("h",)
    assert (g.instances["h"].kind, g.instances["h"].count) == ("repeat", "n")


def test_copies_of_blocks_see_i_in_their_arguments():
    g = graph("{h: {op: 'f(8 * (i + 1))', repeat: 2}}")
    assert [str(g.node(f"h.{i}.fc").op) for i in range(2)] == ["Linear(8)", "Linear(16)"]
    assert g.instances["h.1"].index == 1
    assert dict(g.instances["h.1"].texts) == {"k": "8 * (i + 1)"}
    assert g.node("h.1.fc").block == ("h", "h.1")


def test_i_is_not_seen_inside_the_block():
    text = f"{HEAD}  g: {{layers: {{fc: Linear(i)}}}}\nlayers: {{h: {{op: g(), repeat: 2}}}}"
    with pytest.raises(SpecError, match=r"there is no layer, input or param 'i' \(in h\.0\.fc\)"):
        parse(text)


def test_names_follow_a_pattern():
    g = graph("{d: {op: f(), repeat: 2, names: 'layer{n}'}, y: \"d['layer1'] + d.layer2 + d[0]\"}")
    assert names(g)[:4] == ["d.layer1.fc", "d.layer1.a", "d.layer2.fc", "d.layer2.a"]
    assert into(g, "y") == ["d.layer1.a", "d.layer2.a", "d.layer1.a"]


def test_connect_add():
    g = graph("{h: {op: f(), repeat: 2, connect: add}, y: 'concat(h, h[0], h[0].sum)'}")
    assert names(g)[:6] == ["h.0.fc", "h.0.a", "h.0.sum", "h.1.fc", "h.1.a", "h.1.sum"]
    assert into(g, "h.0.sum") == ["x", "h.0.a"]
    assert into(g, "h.1.sum") == ["h.0.sum", "h.1.a"]
    assert into(g, "h.1.fc") == ["h.0.sum"]
    assert into(g, "y") == ["h.1.sum", "h.0.a", "h.0.sum"]
    assert g.edge("x->h.0.sum").role == "skip"


def test_connect_add_of_an_op_from_a_merge():
    g = graph("{a: Linear(8), h: {op: Linear(8)(a + x), repeat: 2, connect: add}}")
    assert names(g) == ["a", "h~1", "h.0", "h.0.sum", "h.1", "h.1.sum"]
    assert into(g, "h.0.sum") == ["h~1", "h.0"]


def test_a_copy_that_is_off_adds_nothing():
    g = graph("{h: {op: f(), repeat: 3, connect: add, when: i != 1}, y: ReLU}")
    assert into(g, "h.2.sum") == ["h.0.sum", "h.2.a"]
    assert g.instances["h"].members[1].kind == "alias"


def test_connect_concat():
    g = graph("{h: {op: f(), repeat: 2, connect: concat}, y: Linear(2)}")
    assert into(g, "h.0.fc") == ["x"]
    assert into(g, "h.1.input") == ["x", "h.0.a"]
    assert into(g, "h.cat") == ["x", "h.0.a", "h.1.a"]
    assert into(g, "y") == ["h.cat"]
    written = graph(
        "{h: {op: 'f()(concat(x, h[:i]))', repeat: 2}, cat: 'concat(x, h[:])', y: Linear(2)}"
    )
    assert [into(written, n) for n in ("h.0.fc", "h.1.input", "cat")] == [
        into(g, n) for n in ("h.0.fc", "h.1.input", "h.cat")
    ]


def test_copies_that_say_what_they_read():
    g = graph("{h: {op: 'two()(h[i - 1] if i > 0 else x, x)', repeat: n}}")
    assert [into(g, f"h.{i}.a") for i in range(3)] == [["x"], ["h.0.out"], ["h.1.out"]]


def test_copies_that_read_the_same_and_are_read_one_by_one():
    g = graph("{c: {op: 'Chunk(2, i)(x)', repeat: 2}, y: 'c[0] * c[1]'}")
    assert into(g, "y") == ["c.0", "c.1"]


def test_slices_and_negative_literals():
    g = graph("{h: {op: Linear(8), repeat: 4}, y: 'sum(h[1:3]) + h[-1]', z: 'sum(h[::2]) + y'}")
    assert into(g, "y") == ["h.1", "h.2", "h.3"]
    assert into(g, "z") == ["h.0", "h.2", "y"]


def test_members_of_a_slice():
    g = graph("{h: {op: f(), repeat: 3}, y: 'sum(h[:2].fc)'}")
    assert into(g, "y") == ["h.0.fc", "h.1.fc"]


def test_repeat_zero_is_an_alias():
    assert into(graph("{h: {op: f(), repeat: 0}, y: ReLU}"), "y") == ["x"]
    assert into(graph("{h: {op: f(), repeat: 0, connect: concat}, y: h + x}"), "y") == ["x", "x"]


def test_shared_weights():
    g = graph("{h: {op: f(), repeat: 2, share: true}}")
    assert g.node("h.0.fc").module == g.node("h.1.fc").module == "h.fc"
    assert len(g.parameter_users["h.fc.weight"]) == 2


def test_the_weights_of_another_layer():
    g = graph("{a: Linear(8), b: {op: Linear(8), share: a}}")
    assert (g.node("a").module, g.node("b").module) == ("a", "a")
    assert "'b' is Linear(9), and 'a' is Linear(8)" in problem(
        "{a: Linear(8), b: {op: Linear(9), share: a}}"
    )
    assert "there is no layer 'q' above" in problem("{a: {op: Linear(8), share: q}}")


def test_learnable_scales_over_copies_are_one_list():
    g = graph("{h: {op: 'Linear(8)(learn(1, name=\"s\")*h[i - 1] if i else x)', repeat: 3}}")
    assert {"s.0", "s.1"} <= set(g.parameter_users)
    assert "s.2" not in g.parameter_users


def test_a_mix_has_one_vector_for_each_copy():
    g = graph("{h: {op: 'f()(mix(x, h[:i], learn(1 if j == i else 0)))', repeat: 3}}")
    learn = [e.scale.learn for e in g.edges_into("h.2.input")]
    assert [(p.name, p.index, p.count) for p in learn] == [("h_scale.2", k, 3) for k in range(3)]
    assert [e.scale.value for e in g.edges_into("h.2.input")] == [0, 0, 1]


def test_groups_repeat():
    g = graph("{h: {layers: {a: Linear(8), b: ReLU}, repeat: 2, connect: add}}")
    assert into(g, "h.1.a") == ["h.0.sum"]


def test_edges_reach_the_first_copy_only():
    rest = "edges: [{from: x, to: h}]"
    g = graph("{a: Linear(8), h: {op: Linear(8), repeat: 2}, y: a + h}", rest)
    assert into(g, "h.0") == ["x"]
    assert "is repeated, and an edge of kind add-skip" in problem(
        "{a: Linear(8), h: {op: Linear(8), repeat: 2}}",
        "edges: [{from: x, to: h, kind: add-skip}]",
    )


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("{h: {op: Linear(8)(x), repeat: 2}}", "every copy of 'h' reads the same"),
        ("{h: {op: Linear(8), repeat: -1}}", "repeat is a whole number from 0 on, not -1"),
        ("{h: {op: Linear(8), repeat: w/3}}", "repeat is a whole number from 0 on, not 8/3"),
        ("{h: {op: Linear(8), repeat: 2, names: a}}", "all copies would be called 'a'"),
        ("{h: {op: Linear(8), repeat: 2, names: 'a.{i}'}}", "names that no submodule can bear"),
        ("{h: {op: Linear(8), names: 'a{i}'}}", "'names' says how copies are made"),
        ("{h: {op: 'Linear(8)(h[i - 1])', repeat: 2}}", "the index i - 1 is -1; a computed one"),
        ("{h: {op: 'Linear(8)(h[i])', repeat: 2}}", "no copy 0 of 'h', which has 0 copies here"),
        ("{h: {op: Linear(8), repeat: 2}, y: 'h[2] + x'}", "no copy 2 of 'h', which has 2 copies"),
        ("{h: {op: f(), repeat: 2}, y: h.fc + x}", "there is no 'fc' in 'h'"),
        ("{h: {op: f(), repeat: 2}, y: 'h[0].fd + x'}", "there are: input, fc, a"),
        ("{h: {op: f(), repeat: 2}, y: 'h[:2] + x'}", "'h[:2]' is 2 values"),
        ("{h: {op: Linear(8)(h + x), repeat: 2}}", "edges form a cycle: h"),
        ("{h: {op: 'f(9, 9)', repeat: 2}}", "takes 1 argument, not 2"),
        ("{h: f(q=1)}", "block 'f' has no param 'q'"),
        ("{h: f(cin)}", "'cin' is known in the arguments of ops only"),
        ("{h: two()(x)}", "block 'two' reads nothing at x"),
        ("{h: 'two()(x, x, x)'}", "two takes 2 inputs (h, x), not 3"),
        ("{h: {op: f(), init: {weight: 0}}}", "has no parameter of its own"),
        ("{h: {op: f(), repeat: 2, share: x}}", "copies share their own weights"),
        ("{h: f(x)}", "'x' is a layer, and the first bracket holds the arguments of f"),
        ("{h: {layers: {}}}", "group 'h' has no layers"),
    ],
)
def test_what_is_refused(layers, message):
    assert message in problem(layers)


def test_recursion_is_refused_with_its_chain():
    with pytest.raises(SpecError, match="block 'a' calls itself: a → b → a"):
        parse(
            "{archgraph: 1, inputs: {x: [2]}, layers: {y: a()}, "
            "blocks: {a: {layers: {b: b()}}, b: {layers: {a: a()}}}}"
        )
