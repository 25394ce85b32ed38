"""Derivations in numbers: every factor by hand in a network of width 1."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archgraph.errors import GradientError
from archgraph.gradient import autograd, evaluate, path_gradients, record
from archgraph.gradient import tape as tape_module
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.ops import parse_call as call
from archgraph.paths import count_paths
from archgraph.paths.equations import derive
from tests.gradient.networks import HARD, path_by_autograd, recorded
from tests.paths.networks import dense_block, highway, residual
from tests.strategies import graphs, target_names


def made_scalar(graph, weights):
    """A tape of batch 1 whose weights are as given and whose biases are zero."""
    tape = recorded(graph, batch=1)
    with torch.no_grad():
        for name, parameter in tape.module.named_parameters():
            parameter.fill_(weights.get(name, 0.0))
    drawn = tape.batch
    drawn.inputs[0].fill_(1.0)
    return record(graph, tape.module, drawn)


def test_a_residual_network_of_width_one_by_hand():
    graph = residual(1, lam=0.5)
    weights = {"F1.weight": 2.0, "F2.weight": 3.0, "F3.weight": -5.0, "F4.weight": 7.0}
    tape = made_scalar(graph, weights)  # F3 makes x4 negative, so that branch is dead
    found = evaluate(derive(graph, "x1", of="x5"), tape)
    assert found.scalar
    products = [math.prod(n for _, n in term.factors) for term in found.terms]
    # x5 by x3: 7·0·(−5) and λ; x3 by x1: 3·2 and λ. By x4 first, as paths are enumerated.
    assert products == [0, 0.5 * 6, 0, 0.5 * 0.5]
    assert float(found.total[0]) == float(found.autograd[0]) == 3.25
    text = found.text
    assert "= 0.5 · 3 · 2 " in text
    assert "autograd" in text
    assert text.splitlines()[-1].endswith("0.0e+00")


@pytest.mark.parametrize("view", ["op", "state"])
@pytest.mark.parametrize(
    ("graph", "wrt", "of"),
    [
        (residual(4), "x1", "L"),
        (residual(4), "x1", "x5"),
        (residual(4), "F1.weight", "L"),
        (dense_block(), "H3", "L"),
        (dense_block(read_all=True), "H3.bias", "L"),
        (highway(), "x", "L"),
        (highway(), "x", "y"),
        (HARD["attention"], "alpha", "L"),
        (HARD["recurrent"], "W0.weight", "L"),
        (HARD["noise"], "x", "L"),
        (HARD["tuples"], "split", "L"),
        (HARD["tuples"], "x", "L"),
    ],
)
def test_terms_add_up_to_autograd(graph, wrt, of, view):
    tape = recorded(graph)
    derivation = derive(graph, wrt, of=of, view=view)
    found = evaluate(derivation, tape)
    assert len(found.terms) == derivation.count
    assert found.total.keys() == found.autograd.keys()
    for element, total in found.total.items():
        torch.testing.assert_close(total, found.autograd[element], rtol=1e-10, atol=1e-12)
    assert "autograd" in found.text
    assert not found.scalar


def test_terms_of_the_finest_view_are_the_paths():
    graph = highway()
    tape = recorded(graph)
    found = evaluate(derive(graph, "x", view="op"), tape)
    for term, (_, gradient) in zip(found.terms, path_gradients(tape, "x"), strict=True):
        torch.testing.assert_close(term.gradient[0], gradient)


@settings(max_examples=30, deadline=None)
@given(graph=graphs(vectors=True), choice=st.integers(0, 10**6))
def test_random_networks_in_the_view_of_states(graph, choice):
    targets = target_names(graph)
    wrt = targets[choice % len(targets)]
    assume(count_paths(graph, wrt) <= 60)
    tape = recorded(graph)
    found = evaluate(derive(graph, wrt), tape)
    expected = path_by_autograd(tape, wrt, {edge.id for edge in graph.edges})
    total = found.total.get(0, torch.zeros_like(expected))
    size = sum(term.norm for term in found.terms)
    assert float((total - expected).norm()) <= 1e-12 * size + 1e-14


def test_autograd_between_two_nodes_takes_a_seed():
    b = GraphBuilder("matrix")
    b.input("x", (2,))
    b.layer("y", call("Linear(2, bias=False)"), ["x"])
    tape = recorded(b.build(), batch=1)
    seed = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    weight = tape.module.get_parameter("y.weight").detach()
    torch.testing.assert_close(autograd(tape, "x", of="y", seed=seed)[0], seed @ weight)
    assert autograd(tape, "y", of="x") == {}
    found = evaluate(derive(tape.graph, "x", of="y"), tape, seed=seed)
    torch.testing.assert_close(found.total[0], seed @ weight)


def test_terms_left_out_are_said():
    tape = recorded(residual(4))
    found = evaluate(derive(tape.graph, "x1", max_terms=2), tape)
    assert found.total is None
    assert found.to_dict()["sum"] is None
    assert "2 more terms are left out" in found.text


def test_json_form_of_a_scalar():
    b = GraphBuilder("scalar")
    b.input("x", (1,))
    b.layer("y", None, [Term("x", Scale(3)), "x"])
    tape = recorded(b.build(), batch=1)
    found = evaluate(derive(tape.graph, "x", of="y"), tape).to_dict()
    assert [term["value"] for term in found["terms"]] == [[[3.0]], [[1.0]]]
    assert [term["factors"][0]["value"] for term in found["terms"]] == [3.0, 1.0]
    assert found["sum"] == found["autograd"] == [[4.0]]


def test_terms_that_do_not_add_up_are_never_shown(monkeypatch):
    tape = recorded(residual(4))
    original = tape_module.Tape.pull

    def lossy(self, position, cotangent, *, edges=None, parameters=()):
        pull = original(self, position, cotangent, edges=edges, parameters=parameters)
        if edges is not None:
            for edge in pull.edges:
                pull.edges[edge] = pull.edges[edge] * 1.001
        return pull

    monkeypatch.setattr(tape_module.Tape, "pull", lossy)
    with pytest.raises(GradientError, match="do not add up"):
        evaluate(derive(tape.graph, "x1"), tape)
