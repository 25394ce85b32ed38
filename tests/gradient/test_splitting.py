"""Path gradients against autograd with every other edge cut, and against closed forms."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archgraph.errors import BudgetError, GradientError, TargetError, UsageError
from archgraph.gradient import bundle, decompose, path_gradients
from archgraph.gradient import tape as tape_module
from archgraph.graph import GraphBuilder, Scale, Term, learnable
from archgraph.ops import parse_call as call
from archgraph.paths import count_paths, iter_paths
from tests.gradient.networks import HARD, path_by_autograd, recorded, residual, tuples
from tests.strategies import graphs, residual_graph, target_names

MOST = 60
# Values are of size 1. Where terms cancel in the forward pass, what is left is rounding of this
# size, and it differs with the order in which an oracle adds them.
ROUNDING = 1e-14


def assert_sums_to_autograd(tape, wrt):
    """Law 1, with autograd's side from one plain graph in which nothing is cut."""
    everything = {edge.id for edge in tape.graph.edges}
    expected = path_by_autograd(tape, wrt, everything)
    total, sizes = torch.zeros_like(expected), 0.0
    for _, gradient in path_gradients(tape, wrt):
        total, sizes = total + gradient, sizes + float(gradient.norm())
    assert float((total - expected).norm()) <= 1e-12 * sizes + ROUNDING


@settings(max_examples=40, deadline=None)
@given(graph=graphs(vectors=True), choice=st.integers(0, 10**6))
def test_path_gradients_of_random_networks_add_up_to_autograd_s(graph, choice):
    targets = target_names(graph)
    wrt = targets[choice % len(targets)]
    assume(count_paths(graph, wrt) <= 500)
    assert_sums_to_autograd(recorded(graph), wrt)


@settings(max_examples=40, deadline=None)
@given(graph=graphs(vectors=True), choice=st.integers(0, 10**6))
def test_every_path_gradient_is_that_of_a_network_with_the_other_edges_cut(graph, choice):
    targets = [t for t in target_names(graph) if len(graph.parameter_users.get(t, ())) < 2]
    wrt = targets[choice % len(targets)]
    assume(0 < count_paths(graph, wrt) <= MOST)
    tape = recorded(graph)
    for path, gradient in path_gradients(tape, wrt):
        expected = path_by_autograd(tape, wrt, set(path.edge_ids))
        error = float((gradient - expected).norm())
        assert error <= 1e-12 * float(expected.norm()) + ROUNDING


@settings(max_examples=30, deadline=None)
@given(graph=graphs(vectors=True), choice=st.integers(0, 10**6))
def test_paths_come_in_the_order_of_enumeration(graph, choice):
    targets = target_names(graph)
    wrt = targets[choice % len(targets)]
    assume(count_paths(graph, wrt) <= MOST)
    tape = recorded(graph)
    expected = [path.edge_ids for path in iter_paths(graph, wrt)]
    assert [path.edge_ids for path, _ in path_gradients(tape, wrt)] == expected
    assert [part.key for part in decompose(tape, wrt).parts] == expected


@settings(max_examples=30, deadline=None)
@given(graph=graphs(learn=False), choice=st.integers(0, 10**6))
def test_an_edge_of_scale_zero_is_no_edge(graph, choice):
    sums = [e for e in graph.edges if e.kind == "add" and len(graph.edges_into(e.target)) > 2]
    assume(sums)
    gone = sums[choice % len(sums)]
    zero = replace(gone, scale=Scale(0))
    zeroed = replace(graph, edges=tuple(zero if e is gone else e for e in graph.edges))
    kept = [replace(e, index=i) for i, e in enumerate(e for e in graph.edges if e is not gone)]
    without = replace(graph, edges=tuple(kept))
    one, other = recorded(zeroed).cotangents(), recorded(without).cotangents()
    for position in one.nodes.keys() | other.nodes.keys():
        left, right = one.nodes.get(position, {}), other.nodes.get(position, {})
        size = max(bundle.norm(left), bundle.norm(right))
        assert bundle.norm(bundle.difference(left, right)) <= 1e-12 * size + ROUNDING


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", sorted(HARD))
def test_hard_networks_split_at_every_target(name, train):
    graph = HARD[name]
    tape = recorded(graph, train=train, batch=3)
    for wrt in target_names(graph):
        if wrt == "pos":
            continue
        split = decompose(tape, wrt)
        assert len(split.parts) == count_paths(graph, wrt)
        assert split.residual <= 1e-12
        if split.note is None:
            assert sum(part.share for part in split.parts) == pytest.approx(1, abs=1e-9)


def test_a_residual_chain_of_two_blocks_by_hand():
    b = GraphBuilder("hand")
    b.input("x", (2,))
    b.layer("A", call("Linear(2, bias=False)"), ["x"])
    b.layer("y", None, ["A", Term("x", Scale(Fraction(1, 2)))])
    b.layer("B", call("Linear(2, bias=False)"), ["y"])
    b.layer("z", None, ["B", Term("y", Scale(-2))])
    tape = recorded(b.build(), batch=1)
    matrices = (tape.module.get_parameter(f"{name}.weight").detach() for name in "AB")
    first, second = matrices
    c = tape.batch.targets[0]
    by_nodes = {"→".join(path.nodes): g for path, g in path_gradients(tape, "x")}
    expected = {
        "x→A→y→B→z→L": c @ second @ first,
        "x→A→y→z→L": -2 * c @ first,
        "x→y→B→z→L": 0.5 * c @ second,
        "x→y→z→L": -1.0 * c,
    }
    assert by_nodes.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(by_nodes[key], value)


def test_a_product_multiplies_by_the_other_factors():
    b = GraphBuilder("product")
    b.input("x", (2,))
    b.input("g", (2,))
    b.layer("y", None, [Term("g", Scale(3)), "x", "x"], merge="multiply")
    tape = recorded(b.build())
    x, g = tape.batch.inputs
    c = tape.batch.targets[0]
    parts = [gradient for _, gradient in path_gradients(tape, "x")]
    assert len(parts) == 2
    for part in parts:
        torch.testing.assert_close(part, 3 * g * x * c)
    torch.testing.assert_close(next(path_gradients(tape, "g"))[1], 3 * x * x * c)


def test_paths_of_a_parameter_start_in_each_of_its_layers():
    tape = recorded(HARD["recurrent"])
    starts = [path.edge_ids[0] for path, _ in path_gradients(tape, "W0.weight")]
    assert sorted(starts) == ["W0.weight->W0", "W0.weight->W1", "W0.weight->W2"]
    tied = decompose(recorded(HARD["language"]), "wte.weight")
    assert {part.key[0] for part in tied.parts} == {"wte.weight->wte", "wte.weight->head"}


def test_a_learnable_scale_per_channel():
    b = GraphBuilder("layerscale")
    b.input("x", (3,))
    b.layer("y", None, [Term("x", learnable("gamma", 0.5, per_channel=True)), "x"])
    tape = recorded(b.build())
    ((path, gradient),) = path_gradients(tape, "gamma")
    assert path.edge_ids == ("gamma->y", "y->L")
    expected = (tape.batch.inputs[0] * tape.batch.targets[0]).sum(0)
    torch.testing.assert_close(gradient.flatten(), expected)


def test_terms_that_cancel_have_no_shares_but_their_norms():
    b = GraphBuilder("cancel")
    b.input("x", (2,))
    b.layer("y", None, ["x", Term("x", Scale(-1))])
    tape = recorded(b.build())
    split = decompose(tape, "x")
    readout = float(tape.batch.targets[0].norm())
    assert split.norm == 0
    assert [part.norm for part in split.parts] == pytest.approx([readout, readout])
    assert [part.share for part in split.parts] == [None, None]
    assert split.note == "∂L/∂x is exactly zero, so shares are not defined"


def test_a_gradient_that_is_only_rounding_is_said_to_be():
    tape = recorded(residual(2), train=True, batch=3)
    split = decompose(tape, "fc0.bias")  # a BatchNorm follows, so adding a constant does nothing
    assert split.norm < 1e-15
    assert split.note == "∂L/∂fc0.bias is zero but for rounding, so shares are not defined"
    assert all(part.share is None for part in split.parts)


def test_a_tiny_gradient_has_its_norm_and_shares():
    b = GraphBuilder("tiny")
    state = b.input("x", (3,))
    for i in range(4):
        state = b.layer(f"s{i}", None, [Term(state, Scale(1e-60)), Term(state, Scale(2e-60))])
    tape = recorded(b.build())
    split = decompose(tape, "x")
    readout = float(tape.batch.targets[0].norm())
    assert split.norm == pytest.approx(81e-240 * readout, rel=1e-12)
    shares = [part.share for part in split.parts]
    assert max(shares) == pytest.approx(16 / 81)
    assert min(shares) == pytest.approx(1 / 81)
    assert sum(shares) == pytest.approx(1)


def test_a_target_that_nothing_depends_on_has_no_parts():
    b = GraphBuilder("unused")
    b.input("x", (2,))
    b.layer("idle", call("Linear(2)"), ["x"])
    b.layer("y", call("Tanh()"), ["x"])
    b.output("y")
    tape = recorded(b.build())
    for wrt in ("idle", "idle.weight"):
        split = decompose(tape, wrt)
        assert (split.norm, split.parts, split.residual) == (0, (), 0)


def test_between_two_nodes():
    tape = recorded(residual_graph(2), batch=1)
    found = list(path_gradients(tape, "x", of="out.0"))
    assert [path.nodes[-1] for path, _ in found] == ["out.0", "out.0"]
    ((path, gradient),) = path_gradients(tape, "x", of="x")
    assert path.edge_ids == ()
    assert gradient.tolist() == [[1, 1, 1]]


def test_json_form():
    b = GraphBuilder("json")
    b.input("x", (1,))
    b.layer("y", None, [Term("x", Scale(3)), "x"])
    split = decompose(recorded(b.build(), batch=1), "x").to_dict()
    assert list(split) == ["wrt", "by", "norm", "parts", "residual", "note", "headline"]
    assert (split["wrt"], split["by"]) == ("x", "path")
    assert [part["key"] for part in split["parts"]] == [["x->y", "y->L"], ["x->y#1", "y->L"]]
    assert [part["share"] for part in split["parts"]] == pytest.approx([0.75, 0.25])


def test_progress_counts_the_paths():
    seen = []
    decompose(recorded(residual_graph(3)), "x", progress=lambda *step: seen.append(step))
    assert seen == [(i, 8) for i in range(1, 9)]


def test_what_is_asked_wrongly():
    tape = recorded(residual_graph(3))
    with pytest.raises(BudgetError, match=r"^8 paths lead from 'x' to 'L', and at most 7 are"):
        decompose(tape, "x", budget=7)
    with pytest.raises(BudgetError, match="8 paths"):
        path_gradients(tape, "x", budget=7)
    with pytest.raises(UsageError, match="not by 'edges'; did you mean 'edge'"):
        decompose(tape, "x", "edges")
    with pytest.raises(TargetError, match="did you mean"):
        decompose(tape, "out.7")


def test_paths_that_do_not_add_up_are_never_shown(monkeypatch):
    tape = recorded(residual_graph(2))
    original = tape_module.Tape.pull

    def lossy(self, position, cotangent, *, edges=None, parameters=()):
        pull = original(self, position, cotangent, edges=edges, parameters=parameters)
        if edges is not None:  # as the path tree asks
            for edge in pull.edges:
                pull.edges[edge] = pull.edges[edge] * 1.001
        return pull

    monkeypatch.setattr(tape_module.Tape, "pull", lossy)
    with pytest.raises(GradientError, match="do not add up"):
        decompose(tape, "x")


def test_infinite_gradients_are_named_where_they_begin():
    b = GraphBuilder("infinite")
    b.input("x", (2,))
    b.layer("dead", call("ReLU()"), [Term("x", Scale(0))])
    b.layer("root", lambda value: value.sqrt(), ["dead"])
    b.layer("y", None, ["root"])
    tape = recorded(b.build())
    with pytest.raises(GradientError, match="∂L/∂dead is infinite or not a number; all values"):
        decompose(tape, "dead")


def test_paths_through_either_element_of_a_tuple():
    tape = recorded(tuples())
    x, readout = tape.batch.inputs[0], tape.batch.targets[0]
    total = sum(gradient for _, gradient in path_gradients(tape, "x"))
    weight = tape.module.get_parameter("a.weight").detach()
    left = 2 * (readout @ weight + readout)
    torch.testing.assert_close(total, torch.cat([left, 2 * x[:, 2:] * readout], 1))


@pytest.mark.parametrize("by", ["path", "edge", "node", "branches"])
def test_an_op_that_is_not_differentiated_is_named(by):
    b = GraphBuilder("stopped")
    b.input("x", (4,))
    b.layer("a", call("Linear(4)"), ["x"])
    b.layer("cut", lambda value: value.detach() * 2, ["a"])
    b.layer("index", lambda value: value.argmax(-1), ["a"])
    b.layer("e", call("Embedding(4, 4)"), ["index"])
    b.layer("y", None, ["cut", "e", "a"])
    found = decompose(recorded(b.build()), "x", by)
    assert found.note == (
        "torch does not differentiate 'cut', 'index', so that the paths through them carry nothing"
    )
    if by in ("path", "branches"):
        assert sum(part.share for part in found.parts) == pytest.approx(1)


def test_where_nothing_passes_the_gradient_is_zero():
    b = GraphBuilder("stopped")
    b.input("x", (4,))
    b.layer("a", call("Linear(4)"), ["x"])
    b.layer("y", lambda value: value.detach(), ["a"])
    found = decompose(recorded(b.build()), "x", "edge")
    assert found.note == (
        "∂L/∂x is exactly zero, so shares are not defined; torch does not differentiate 'y', so "
        "that the paths through it carry nothing"
    )


class NoDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value * 2


def test_an_op_without_a_derivative_is_named():
    b = GraphBuilder("none")
    b.input("x", (4,))
    b.layer("a", call("Linear(4)"), ["x"])
    b.layer("custom", lambda value: NoDerivative.apply(value), ["a"])
    with pytest.raises(GradientError, match=r"^'custom' cannot be differentiated: You must impl"):
        recorded(b.build())
