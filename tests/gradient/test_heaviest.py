"""The heaviest paths against the sorted list of all, and what is promised of the others."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archgraph.errors import BudgetError, UsageError
from archgraph.gradient import decompose, path_gradients
from archgraph.gradient import heaviest as heaviest_module
from archgraph.gradient.heaviest import heaviest_paths
from archgraph.graph import GraphBuilder
from archgraph.ops import parse_call as call
from archgraph.paths import count_paths
from archgraph.paths.walk import walk
from tests.gradient.networks import HARD, recorded
from tests.strategies import graphs, residual_graph, target_names


def heaviest(tape, wrt, k, budget=10**6):
    return heaviest_paths(tape, walk(tape.graph, wrt), wrt, "L", None, k, budget=budget)


def listed(tape, wrt):
    return sorted((float(g.norm()) for _, g in path_gradients(tape, wrt)), reverse=True)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), choice=st.integers(0, 10**6), k=st.integers(1, 8))
def test_they_are_the_head_of_the_sorted_list(graph, choice, k):
    targets = target_names(graph)
    wrt = targets[choice % len(targets)]
    assume(0 < count_paths(graph, wrt) <= 500)
    tape = recorded(graph)
    found = heaviest(tape, wrt, k)
    norms = listed(tape, wrt)
    assert [norm for *_, norm in found.paths] == pytest.approx(norms[:k], rel=1e-12, abs=1e-300)
    assert found.certain
    by_path = {path.edge_ids: gradient for path, gradient in path_gradients(tape, wrt)}
    for path, bundle, norm in found.paths:
        (gradient,) = bundle.values()
        assert float((gradient - by_path[path.edge_ids]).norm()) <= 1e-12 * norm


@pytest.mark.parametrize("name", sorted(HARD))
def test_hard_networks(name):
    tape = recorded(HARD[name], train=True, batch=3)
    for wrt in target_names(tape.graph):
        if wrt != "pos" and count_paths(tape.graph, wrt):
            found = heaviest(tape, wrt, 2)
            assert [n for *_, n in found.paths] == pytest.approx(listed(tape, wrt)[:2], rel=1e-9)


@pytest.mark.parametrize("budget", [20, 60, 200, 10**6])
def test_the_bound_holds_whatever_the_budget(budget):
    tape = recorded(residual_graph(7))
    found = heaviest(tape, "x", 3, budget)
    norms = listed(tape, "x")
    assert found.products <= budget
    mine = [norm for *_, norm in found.paths]
    others = list(norms)
    for norm in mine:
        others.remove(min(others, key=lambda n: abs(n - norm)))
    assert max(others) <= found.bound
    assert found.certain == (budget == 10**6 or found.bound <= mine[-1])


def test_parts_that_cannot_be_among_them_are_not_followed():
    tape = recorded(residual_graph(9))
    products = heaviest(tape, "x", 1).products
    assert products < heaviest(tape, "x", 512).products / 2


def test_a_wrong_bound_would_be_seen(monkeypatch):
    """So that the tests above would fail if a bound were too small."""
    tape = recorded(residual_graph(7))
    right = heaviest_module.edge_bounds
    monkeypatch.setattr(
        heaviest_module,
        "edge_bounds",
        lambda tape, edges: {e: bound / 5 for e, bound in right(tape, edges).items()},
    )
    found = heaviest(tape, "x", 3, 60)
    assert found.bound < listed(tape, "x")[3]


def test_as_a_decomposition():
    tape = recorded(residual_graph(5))
    found = decompose(tape, "x", "path", top=4)
    everything = decompose(tape, "x", "path")
    best = sorted(everything.parts, key=lambda part: -part.norm)[:4]
    assert [part.key for part in found.parts] == [part.key for part in best]
    assert [part.share for part in found.parts] == pytest.approx([part.share for part in best])
    assert found.note == "4 of 32 paths: no other has a larger norm than the last of these"


def test_more_paths_than_could_ever_be_followed():
    tape = recorded(residual_graph(100))
    found = decompose(tape, "x", "path", top=3, budget=2000)
    assert len(found.parts) == 3
    assert found.note.startswith("3 of more than 2^100 paths: ")
    assert "no other has" in found.note
    with pytest.raises(
        BudgetError, match=r"^more than 2\^100 paths .* by edge, weights or branches"
    ):
        decompose(tape, "x", "path")


def test_a_layer_without_a_known_bound_is_said():
    b = GraphBuilder("unknown")
    b.input("x", (3,))
    b.layer("f", lambda value: value.cumsum(-1), ["x"])
    b.layer("y", call("Linear(3)"), ["f", "x"])
    tape = recorded(b.build())
    assert decompose(tape, "x", "path", top=1, budget=2).note == (
        "1 of 2 paths: the largest found in 2 products; a layer has no known bound, so that "
        "larger ones may have been missed"
    )


def test_none_is_not_asked_for():
    with pytest.raises(UsageError, match="asked for the 0 heaviest paths"):
        decompose(recorded(residual_graph(1)), "x", "path", top=0)
