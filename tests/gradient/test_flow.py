"""Shares of edges against sums over listed paths, and conserved where there are too many."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archgraph.errors import GradientError
from archgraph.gradient import decompose, edge_flow, flow, path_gradients
from archgraph.gradient import tape as tape_module
from archgraph.gradient.tape import OnceOnlyError
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.ops import parse_call as call
from archgraph.paths import count_paths
from tests.gradient.networks import HARD, attention, recorded
from tests.strategies import graphs, residual_graph, target_names


def brute_shares(tape, wrt, through=lambda path: path.edge_ids):
    """Σ over the paths through each edge of ⟨g_p, g⟩/⟨g, g⟩, and Σ of their absolute values."""
    paths = [(through(path), g.flatten()) for path, g in path_gradients(tape, wrt)]
    whole = sum(gradient for _, gradient in paths)
    shares, sizes = Counter(), Counter()
    for passed, gradient in paths:
        share = float(gradient @ whole / (whole @ whole))
        for name in passed:
            shares[name] += share
            sizes[name] += float(gradient.norm() / whole.norm())
    return shares, sizes


def assert_cuts_sum_to_one(graph, shares, wrt):
    """Every cut between two neighbours in the graph's order carries the whole gradient."""
    start = graph.positions[wrt]
    for place in range(start, graph.loss_position):
        crossing = [
            shares.get(e.id, 0)
            for e in graph.edges
            if graph.sources[e.index] <= place < graph.targets[e.index]
        ]
        assert sum(crossing) == pytest.approx(1, abs=1e-9 * max(1, sum(map(abs, crossing))))


@settings(max_examples=40, deadline=None)
@given(graph=graphs(vectors=True), choice=st.integers(0, 10**6))
def test_shares_of_edges_are_those_of_the_paths_through_them(graph, choice):
    targets = target_names(graph)
    wrt = targets[choice % len(targets)]
    assume(0 < count_paths(graph, wrt) <= 4096)
    tape = recorded(graph)
    found = edge_flow(tape, wrt)
    if found.norm == 0:
        assert set(found.shares.values()) == {None}
        return
    assume(found.note is None)
    expected, sizes = brute_shares(tape, wrt)
    assert found.shares.keys() == expected.keys()
    for edge, share in found.shares.items():
        assert share == pytest.approx(expected[edge], abs=1e-12 * max(1, sizes[edge]))
    by_node, sizes = brute_shares(tape, wrt, lambda path: path.nodes)
    for node, share in found.node_shares.items():
        assert share == pytest.approx(by_node[node], abs=1e-12 * max(1, sizes[node]))
    if wrt in graph.positions:
        assert_cuts_sum_to_one(graph, found.shares, wrt)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", sorted(HARD))
def test_hard_networks_are_conserved(name, train):
    graph = HARD[name]
    tape = recorded(graph, train=train, batch=3)
    for wrt in target_names(graph):
        if wrt == "pos":
            continue
        found = edge_flow(tape, wrt)
        assert found.residual <= 1e-9
        if found.note is None and found.shares and wrt != "split":  # whose paths differ in shape
            expected, _ = brute_shares(tape, wrt)
            assert found.shares == pytest.approx(expected, abs=1e-7)


def test_more_paths_than_could_ever_be_listed():
    graph = residual_graph(200)
    found = edge_flow(recorded(graph), "x")
    assert found.residual < 1e-12
    assert_cuts_sum_to_one(graph, found.shares, "x")
    assert found.node_shares["out.99"] == pytest.approx(1)


def test_norms_are_of_what_each_edge_delivers():
    b = GraphBuilder("norms")
    b.input("x", (2,))
    b.layer("y", None, [Term("x", Scale(3)), Term("x", Scale(-1))])
    tape = recorded(b.build(), batch=1)
    found = edge_flow(tape, "x")
    readout = float(tape.batch.targets[0].norm())
    assert found.norms == pytest.approx({"x->y": 3 * readout, "x->y#1": readout, "y->L": readout})
    assert found.shares == pytest.approx({"x->y": 1.5, "x->y#1": -0.5, "y->L": 1})
    assert found.node_norms == pytest.approx({"x": 2 * readout, "y": readout, "L": 1})
    assert found.node_rms["x"] == pytest.approx(2 * readout / 2**0.5)


def test_a_vanishing_gradient_keeps_its_shares():
    b = GraphBuilder("tiny")
    state = b.input("x", (3,))
    for i in range(4):
        state = b.layer(f"s{i}", None, [Term(state, Scale(1e-60)), Term(state, Scale(3e-60))])
    found = edge_flow(recorded(b.build()), "x")
    assert 0 < found.norm < 1e-230
    assert found.shares["x->s0#1"] == pytest.approx(0.75)


def test_by_edge_and_by_node():
    tape = recorded(residual_graph(2))
    edges, nodes = decompose(tape, "x", "edge"), decompose(tape, "x", "node")
    assert edges.parts[0].key == "x->fc.0.0"
    assert {part.key for part in nodes.parts} >= {"x", "out.0", "L"}
    whole = {part.key: part.share for part in nodes.parts}
    assert whole["x"] == pytest.approx(1)
    assert whole["L"] == pytest.approx(1)


def test_a_gradient_that_is_only_rounding_has_no_shares():
    found = edge_flow(recorded(attention()), "k.bias")  # softmax does not see it
    assert found.norm < 1e-15
    assert set(found.shares.values()) == {None}
    assert found.note == "∂L/∂k.bias is zero but for rounding, so shares are not defined"


class Once(torch.autograd.Function):
    """A function whose derivative is right and has none itself."""

    @staticmethod
    def forward(ctx, value):
        return value * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, cotangent):
        return cotangent * 2


def test_an_op_that_can_be_differentiated_only_once_is_named():
    b = GraphBuilder("once")
    b.input("x", (2,))
    b.layer("custom", lambda value: Once.apply(value), ["x"])
    b.layer("y", call("Tanh()"), ["custom"])
    tape = recorded(b.build())
    assert decompose(tape, "x").residual <= 1e-12
    with pytest.raises(OnceOnlyError, match="'custom' cannot be differentiated twice"):
        edge_flow(tape, "x")


def test_shares_that_are_not_conserved_are_never_shown(monkeypatch):
    tape = recorded(residual_graph(2))
    original = tape_module.Tape.push

    def lossy(self, position, tangents):
        return {k: t * 1.001 for k, t in original(self, position, tangents).items()}

    monkeypatch.setattr(tape_module.Tape, "push", lossy)
    with pytest.raises(GradientError, match="not conserved"):
        flow.edge_flow(tape, "x")


def test_four_thousand_paths_by_listing():
    tape = recorded(residual_graph(12), batch=1)
    found = edge_flow(tape, "x")
    expected, sizes = brute_shares(tape, "x")
    assert count_paths(tape.graph, "x") == 4096
    for edge, share in found.shares.items():
        assert abs(share - expected[edge]) <= 1e-12 * max(1, sizes[edge])
