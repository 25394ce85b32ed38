"""`a if condition else b` between ops, blocks and whole formulas; merges that are off."""

from __future__ import annotations

import pytest

from archgraph.errors import SpecError
from archgraph.spec import parse

HEAD = "archgraph: 1\nparams: {deep: true, w: 8}\ninputs: {x: [w]}\n"

UNITS = """
blocks:
  wide: {params: {n: required}, layers: {a: Linear(n), b: ReLU()}}
  thin: {params: {n: required}, layers: {c: Linear(n)}}
"""


def nodes(text, **params):
    graph = parse(HEAD + text, **params)
    assert graph.warnings == ()
    return [node.name for node in graph.nodes]


@pytest.mark.parametrize(("deep", "inside"), [(True, ["y.a", "y.b"]), (False, ["y.c"])])
def test_a_formula_calls_one_of_two_blocks(deep, inside):
    text = UNITS + "layers: {y: wide(w) if deep else thin(w)}"
    assert nodes(text, deep=deep) == ["x", *inside, "L"]


def test_the_arms_may_read_what_they_like():
    text = "layers: {a: Linear(w), b: ReLU(), y: 'Tanh()(a + x) if not deep else a + b'}"
    graph = parse(HEAD + text)
    assert [e.source for e in graph.edges_into("y")] == ["a", "b"]
    assert graph.node("y").op is None
    other = parse(HEAD + text, deep=False)
    assert [e.source for e in other.edges_into("y")] == ["a", "x"]
    assert str(other.node("y").op) == "Tanh()"


def test_every_copy_chooses_for_itself():
    text = "layers: {y: {op: 'Linear(w) if i % 2 == 0 else ReLU()', repeat: 4}}"
    graph = parse(HEAD + text)
    assert [str(n.op) for n in graph.nodes[1:5]] == ["Linear(8)", "ReLU()", "Linear(8)", "ReLU()"]
    assert [e.id for e in graph.edges][1:3] == ["y.0->y.1", "y.1->y.2"]


def test_copies_of_which_one_arm_says_what_it_reads_are_not_chained():
    text = "layers: {y: {op: 'Linear(w)(y[i - 1] + x) if i > 0 else Linear(w)', repeat: 3}}"
    graph = parse(HEAD + text)
    assert [e.source for e in graph.edges_into("y.2")] == ["y.1", "x"]


@pytest.mark.parametrize(("deep", "inside"), [(True, ["y.a", "y.b"]), (False, ["y.c"])])
def test_a_param_names_one_of_two_blocks(deep, inside):
    text = UNITS + "layers: {y: unit(w)}"
    head = HEAD.replace("w: 8", "w: 8, unit: wide if deep else thin")
    graph = parse(head + text, deep=deep)
    assert graph.warnings == ()
    assert [node.name for node in graph.nodes] == ["x", *inside, "L"]


def test_an_argument_of_a_block_is_one_of_two_ops():
    text = (
        "blocks: {b: {params: {act: required}, layers: {a: act()}}}\n"
        "layers: {y: b(Tanh if deep else ReLU)}"
    )
    assert str(parse(HEAD + text).node("y.a").op) == "Tanh()"
    assert str(parse(HEAD + text, deep=False).node("y.a").op) == "ReLU()"


def test_lists_are_joined_and_repeated():
    head = HEAD.replace("w: 8", "w: 8, n: 2, plan: '[w, 0]*n + [4]'")
    text = "layers: {y: {op: 'ReLU() if plan[i] == 0 else Linear(plan[i])', repeat: len(plan)}}"
    graph = parse(head + text)
    ops = ["Linear(8)", "ReLU()", "Linear(8)", "ReLU()", "Linear(4)"]
    assert [str(n.op) for n in graph.nodes[1:6]] == ops


@pytest.mark.parametrize("wrong", ["[1] + 2", "[1] * 0.5", "[1] * [2]", "[1] - [1]"])
def test_nothing_else_is_done_with_lists(wrong):
    with pytest.raises(SpecError, match="lists are joined by"):
        parse(HEAD.replace("w: 8", f"w: 8, plan: '{wrong}'") + "layers: {y: ReLU}")


@pytest.mark.parametrize("long", ["[1, 2]*10000", "[1]*4000 + [1]"])
def test_lists_are_bounded(long):
    with pytest.raises(SpecError, match="a list of more than 4000 items"):
        parse(HEAD.replace("w: 8", f"w: 8, plan: '{long}'") + "layers: {y: ReLU}")


def test_only_a_number_decides():
    with pytest.raises(SpecError, match="there is no"):
        parse(HEAD + "layers: {a: Linear(w), y: Tanh() if never else ReLU()}")


def test_a_merge_that_is_off_is_its_first_term():
    text = "layers: {a: Linear(w), s: {op: a + x, when: deep}, y: Tanh()(s)}"
    assert nodes(text, deep=False) == ["x", "a", "y", "L"]
    graph = parse(HEAD + text, deep=False)
    assert [e.source for e in graph.edges_into("y")] == ["a"]


ACTIVATION = (
    "archgraph: 1\nparams: {slope: 0.2, act: ReLU}\ninputs: {x: [4]}\n"
    "blocks: {b: {params: {f: Tanh}, layers: {a: f()}}}\n"
    "layers: {a: act(), b: b(f=act), c: b(ELU(alpha=slope)), d: act()(b + c)}\n"
)


def ops(graph):
    return [str(node.op) for node in graph.nodes if node.op is not None]


@pytest.mark.parametrize("act", ["Sigmoid", "LeakyReLU(negative_slope=0.1)", "Softplus(beta=2)"])
def test_a_param_names_an_op_with_its_arguments(act):
    bare = act if "(" in act else f"{act}()"
    assert ops(parse(ACTIVATION, act=act)) == [bare, bare, "ELU(alpha=0.2)", bare]


def test_the_arguments_of_a_param_may_be_replaced_by_name():
    spec = ACTIVATION.replace("a: act()", "a: act(negative_slope=0.5)", 1)
    found = ops(parse(spec, act="LeakyReLU(0.1)"))
    assert found[:2] == ["LeakyReLU(negative_slope=0.5)", "LeakyReLU(negative_slope=0.1)"]


@pytest.mark.parametrize(
    ("act", "message", "help"),
    [
        ("Relu", "there is no op or param 'Relu'", "did you mean 'ReLU'?"),
        ("LeakyRelu(0.1)", "there is no op or param 'LeakyRelu'", "did you mean 'LeakyReLU'?"),
        ("LeakyReLU(slope=0.1)", "LeakyReLU has no argument 'slope'", None),
        ("LeakyReLU(gain)", "there is no param 'gain'", None),
    ],
)
def test_a_bad_op_in_a_param_is_told_once(act, message, help):
    with pytest.raises(SpecError) as error:
        parse(ACTIVATION, act=act)
    (problem,) = error.value.problems
    assert problem.message == f"act={act}: {message}"
    assert help is None or problem.help == help
