from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archgraph.errors import UsageError
from archgraph.graph import GraphBuilder
from archgraph.ops import parse_call
from archgraph.paths import flow_weights, iter_paths, iter_ranked_paths, rank_paths, sample_paths
from archgraph.paths.walk import walk
from tests.paths.oracle import brute_paths, brute_product, cases
from tests.strategies import residual_graph

NUMBERS = (1, 0, 2, 0.5, Fraction(1, 3), 1e-300)


@settings(deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_a_mapping_of_some_edges_ranks_as_the_sorted_enumeration(case, rng):
    graph, wrt = case
    some = {e.id: NUMBERS[rng.randint(0, 5)] for e in graph.edges if rng.randint(0, 1)}
    expected = sorted(
        brute_paths(graph, wrt),
        key=lambda path: -brute_product(graph, path, lambda e: some.get(e.id, 1)),
    )
    assert [p.edge_indices for p in iter_ranked_paths(graph, wrt, some)] == expected


def test_an_edge_that_is_not_there():
    graph = residual_graph(2)
    for give in (
        lambda weights: rank_paths(graph, "x", 1, weights),
        lambda weights: sample_paths(graph, "x", 1, weight=weights),
        lambda weights: flow_weights(walk(graph, "x"), weights),
    ):
        with pytest.raises(UsageError, match=r"'x->out\.9', which is no edge here; did you mean"):
            give({"x->out.9": 1})


def test_a_flow_divides_at_each_node():
    b = GraphBuilder("toy")
    b.input("x", (3,))
    b.layer("f", parse_call("Linear(3)"), ["x"])
    b.layer("y", None, ["f", "x"])
    b.layer("z", None, ["y", "f"])
    b.layer("unused", None, ["x", "x"])
    b.output("z")
    graph = b.build()
    # What enters f leaves it; of a negative share the size counts.
    shares = {
        "x->f": 0.75,
        "x->y": -0.25,
        "f->y": 0.25,
        "f->z": 0.5,
        "y->z": 0.5,
        "z->L": 1.0,
    }
    weights = flow_weights(walk(graph, "x"), shares)
    carried = {
        path.nodes: brute_product(graph, path.edge_indices, lambda e: weights[e.id])
        for path in iter_paths(graph, "x")
    }
    assert carried == {
        ("x", "f", "y", "z", "L"): Fraction(1, 4),
        ("x", "f", "z", "L"): Fraction(1, 2),
        ("x", "y", "z", "L"): Fraction(1, 4),
    }
    heaviest = rank_paths(graph, "x", 1, weights)
    assert heaviest[0].nodes == ("x", "f", "z", "L")


def test_where_nothing_flows_every_way_counts_alike():
    graph = residual_graph(1)
    assert flow_weights(walk(graph, "x"), {}) == {}
