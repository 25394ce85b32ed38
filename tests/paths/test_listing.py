from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archgraph.paths import count_histograms, count_paths, list_paths
from archgraph.paths.factors import path_factor
from archgraph.paths.listing import ROUTES
from archgraph.spec import load
from tests.paths.oracle import brute_paths, brute_product, cases
from tests.strategies import residual_graph


@settings(deadline=None)
@given(cases(), st.booleans())
def test_each_path_has_the_factor_that_it_has_alone(case, ranked):
    graph, wrt = case
    listed = list_paths(graph, wrt, limit=12, top=12 if ranked else None)
    assert len(listed.paths) == min(12, len(brute_paths(graph, wrt))) or not listed.count
    for item in listed.paths:
        number, symbol = path_factor(graph, item.path.edges)
        assert item.symbol == symbol
        assert item.factor == number
    assert (listed.count, listed.histograms) == (
        count_paths(graph, wrt),
        count_histograms(graph, wrt),
    )


def test_assumptions_make_numbers():
    graph = residual_graph(3, Fraction(-1, 2))
    listed = list_paths(graph, "x", assume=["relu*=1", "fc*=3", "out.2->L=1"])
    expected = [
        brute_product(graph, path, lambda e: 3 if e.target.startswith("fc") else e.scale.value)
        for path in brute_paths(graph, "x")
    ]
    assert [item.factor for item in listed.paths] == expected


def test_where_the_listed_paths_are_ties_there_are_routes():
    tied = list_paths(load("resnet"), "x", top=3)
    assert tied.tied
    assert len(tied.routes) == ROUTES
    assert tied.to_dict()["routes"][0]["route"] == str(tied.routes[0])
    told_apart = list_paths(load("resnet", lam=Fraction(1, 2)), "x", top=3)
    assert (told_apart.tied, told_apart.routes) == (False, ())
    assert not list_paths(load("resnet"), "x", top=1).tied
    every = list_paths(load("residual"), "x1")
    assert (every.tied, every.routes, every.to_dict()["routes"]) == (False, (), [])


def test_as_many_routes_as_were_asked_for():
    graph = residual_graph(9, Fraction(1, 2))
    listed = list_paths(graph, "x", limit=2, routes=4)
    # Σ|λ| = C(9, k)·2^(k − 9): largest where two thirds are branches.
    assert [str(route) for route in listed.routes] == [f"out {k}/9" for k in (6, 7, 5, 8)]
    assert list_paths(residual_graph(9), "x", limit=2, routes=0).routes == ()
    by_skips = list_paths(graph, "x", limit=2, routes=1, grade="skips")
    assert str(by_skips.routes[0]) == "out 3/9"


def test_weights_rank_paths_and_routes():
    graph = residual_graph(6)
    branches = {e.id: 3 for e in graph.edges if e.role == "branch"}
    listed = list_paths(graph, "x", top=1, weight=branches, routes=1)
    assert listed.paths[0].path.branches == 6
    assert str(listed.routes[0]) == "out 5/6"
    assert listed.routes[0].total == 6 * 3**5
    assert list_paths(graph, "x", top=1, weight=branches).routes == ()


@pytest.mark.parametrize("kind", ["op", "state", "block"])
def test_routes_of_a_view_add_up_to_its_count(kind):
    listed = list_paths(load("gpt2", depth=2), "drop", view=kind, limit=1, routes=99)
    assert sum(route.count for route in listed.routes) == listed.count
