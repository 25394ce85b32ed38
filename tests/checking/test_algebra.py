"""The check passes where the paths are right, fails where they are not, and says what it left."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings

from archgraph.checking import algebra, check
from archgraph.checking.probes import autograd_gradients
from archgraph.errors import UsageError
from archgraph.gradient import tape as tape_module
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.ops import parse_call as call
from archgraph.paths import count_paths
from archgraph.spec import parse
from tests.gradient.networks import HARD, path_by_autograd, recorded, residual
from tests.gradient.test_flow import Once
from tests.strategies import graphs, residual_graph, target_names


@settings(max_examples=40, deadline=None)
@given(graph=graphs(vectors=True))
def test_random_networks_agree_to_rounding(graph):
    result = check(graph)
    assert result.ok
    assert result.max_relative_error <= 1e-12
    assert {*result.targets, *result.skipped} == set(target_names(graph))
    for name, target in result.targets.items():
        assert target.paths == count_paths(graph, name)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", sorted(HARD))
def test_hard_networks_agree_to_rounding(name, train):
    result = check(HARD[name], train=train)
    assert result.ok
    assert not result.skipped


@settings(max_examples=20, deadline=None)
@given(graph=graphs(vectors=True))
def test_autograd_s_side_is_that_of_a_plain_network(graph):
    tape = recorded(graph)
    everything = {edge.id for edge in graph.edges}
    found = autograd_gradients(tape)
    for name in target_names(graph):
        expected = path_by_autograd(tape, name, everything)
        seen = found.get(name, {}).get(0, torch.zeros_like(expected))
        torch.testing.assert_close(seen, expected, rtol=1e-9, atol=1e-12)


def test_merges_that_no_layer_holds_are_checked_too():
    result = check(residual_graph(3))
    assert result.targets["out.1"].norm > 0
    assert result.targets["x"].paths == 8


def test_float32_has_its_own_tolerance():
    result = check(residual(2), dtype="float32")
    assert result.ok
    assert result.tolerance == 1e-4
    assert result.max_relative_error > 1e-12
    with pytest.raises(UsageError, match="float64 or float32, not 'float8'"):
        check(residual(2), dtype="float8")


def test_a_target_that_nothing_depends_on():
    b = GraphBuilder("unused")
    b.input("x", (2,))
    b.layer("idle", call("Linear(2)"), ["x"])
    b.layer("y", call("Tanh()"), ["x"])
    b.output("y")
    target = check(b.build()).targets["idle.weight"]
    assert (target.relative_error, target.norm, target.paths) == (0, 0, 0)


def test_cancellation_is_judged_by_what_cancels():
    b = GraphBuilder("cancel")
    b.input("x", (3,))
    b.layer("y", call("Linear(3)"), ["x"])
    b.layer("z", None, [Term("y", Scale(0.1)), Term("y", Scale(0.2)), Term("y", Scale(-0.3))])
    result = check(b.build())
    assert result.ok
    assert result.targets["x"].norm < 1e-15


ALIKE = """
archgraph: 1
inputs: {x: [8, 16]}
layers:
  same: 0.00000001*x + 1
  q: Linear(16)(x)
  k: Linear(16)(same)
  v: Linear(16)(x)
  att: "ScaledDotProductAttention(2)(query=q, key=k, value=v)"
  f: Tanh
  g: GELU()(f + att)
  y: f + g + att
  flat: Flatten()(y)
  head: Linear(4)
init: {weight: normal(std=0.3), bias: 0}
"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_cancels_inside_an_attention_whose_keys_are_alike_is_rounding(dtype):
    result = check(parse(ALIKE), dtype=dtype)
    assert result.targets["q"].norm < 1e-6 * result.targets["v"].norm
    assert result.ok


def test_a_wrong_gradient_is_found_where_an_op_cancels(monkeypatch):
    original = tape_module.Tape.pull

    def damaged(self, position, cotangent, *, edges=None, parameters=()):
        pull = original(self, position, cotangent, edges=edges, parameters=parameters)
        by_id = {self.graph.edges[e].id: e for e in pull.edges}
        if edges is not None and "q->att[query]" in by_id:  # as the path tree asks
            e, v = by_id["q->att[query]"], by_id["v->att[value]"]
            pull.edges[e] = pull.edges[e] + 1e-6 * pull.edges[v]
        return pull

    monkeypatch.setattr(tape_module.Tape, "pull", damaged)
    result = check(parse(ALIKE))
    assert result.targets["q"].relative_error > 1e-9
    assert result.targets["q.weight"].relative_error > 1e-9
    assert max(result.targets[name].relative_error for name in ("att", "v", "k")) < 1e-12


@pytest.mark.parametrize("damage", [0, 1.000001, math.nan])
def test_paths_that_are_wrong_fail_the_check(monkeypatch, damage):
    original = tape_module.Tape.pull

    def damaged(self, position, cotangent, *, edges=None, parameters=()):
        pull = original(self, position, cotangent, edges=edges, parameters=parameters)
        if edges is not None:  # as the path tree asks, and not the sweep of the self-check
            for edge in pull.edges:
                if self.graph.edges[edge].id == "x->out.0":
                    pull.edges[edge] = pull.edges[edge] * damage
        return pull

    monkeypatch.setattr(tape_module.Tape, "pull", damaged)
    result = check(residual_graph(2))
    assert not result.ok
    wrong = [name for name, t in result.targets.items() if not t.relative_error <= 1e-12]
    assert wrong == ["x"]
    assert result.to_dict()["ok"] is False


def test_too_many_paths_are_skipped_counted_and_conserved():
    graph = residual_graph(40)
    result = check(graph, budget=500)
    assert result.ok
    assert result.targets["out.39"].paths == 1
    assert result.skipped["x"].paths == 2**40
    assert sum(t.paths for name, t in result.targets.items() if "." not in name) <= 500
    assert all(s.conservation <= 1e-12 for s in result.skipped.values())
    followed = [name for name in graph.positions if name in result.targets]
    skipped = [name for name in graph.positions if name in result.skipped]
    most = max(result.targets[name].paths for name in followed)
    assert most <= min(result.skipped[name].paths for name in skipped)
    assert {*followed, *skipped, "L"} == set(graph.positions)


def test_an_op_that_cannot_be_split_leaves_conservation_open():
    b = GraphBuilder("once")
    b.input("x", (2,))
    b.layer("custom", lambda value: Once.apply(value), ["x"])
    b.layer("y", None, ["custom", "custom"])
    result = check(b.build(), budget=3)
    assert result.skipped["x"].conservation is None


def test_progress_ends_where_it_said():
    steps = []
    check(residual_graph(3), progress=lambda done, total: steps.append((done, total)))
    assert [done for done, _ in steps] == list(range(len(steps)))
    assert {total for _, total in steps} == {steps[-1][0]}, "known before the first product"


def test_json_form():
    result = check(residual_graph(2), budget=9)
    found = json.loads(json.dumps(result.to_dict()))
    assert list(found) == ["ok", "algebra", "statistics"]
    assert found["statistics"] == {}
    assert found["algebra"]["max_relative_error"] == result.max_relative_error
    assert set(found["algebra"]["targets"]["out.1"]) == {"relative_error", "norm", "paths"}
    assert found["algebra"]["skipped"]["x"]["paths"] == 4


def test_a_nan_is_never_ok():
    bad = algebra.TargetCheck(math.nan, 1.0, 1)
    good = algebra.TargetCheck(0.0, 1.0, 1)
    assert not algebra.Check({"a": good, "b": bad}, 1e-12).ok
    assert algebra.Check({"a": good}, 1e-12).ok
