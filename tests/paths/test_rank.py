import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archgraph.errors import UsageError
from archgraph.paths import iter_ranked_paths, rank_paths
from tests.paths.oracle import brute_paths, brute_product, cases
from tests.strategies import residual_graph

NUMBERS = (1, 0, 2, 0.5, 0.1, Fraction(1, 3), Fraction(2, 3), 1e-300)


def head(graph, wrt, value, k):
    """The first k paths of the sorted enumeration; sorted() keeps ties in their order."""
    paths = brute_paths(graph, wrt)
    return sorted(paths, key=lambda path: -abs(brute_product(graph, path, value)))[:k]


@settings(deadline=None)
@given(cases(), st.integers(0, 12))
def test_top_k_is_the_head_of_the_sorted_enumeration(case, k):
    graph, wrt = case
    found = [path.edge_indices for path in rank_paths(graph, wrt, k)]
    assert found == head(graph, wrt, lambda e: e.scale.value, k)


@settings(deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_top_k_by_any_weight(case, rng):
    graph, wrt = case
    chosen = {e.id: NUMBERS[rng.randint(0, len(NUMBERS) - 1)] for e in graph.edges}
    paths = iter_ranked_paths(graph, wrt, lambda e: chosen.get(e.id, 1))
    expected = head(graph, wrt, lambda e: chosen[e.id], None)
    assert [path.edge_indices for path in paths] == expected


def test_equal_products_are_ties_though_floats_would_round_them_apart():
    # 0.1 · 3 · 0.3 and 3 · 0.1 · 0.3 differ as floats, depending on which comes first.
    graph = residual_graph(4)
    value = {"x->out.0": 0.1, "out.0->out.1": 3, "out.1->out.2": 0.3, "out.2->out.3": 0.7}
    paths = [p.edge_indices for p in iter_ranked_paths(graph, "x", lambda e: value.get(e.id, 1))]
    assert paths == head(graph, "x", lambda e: value.get(e.id, 1), None)


@pytest.mark.parametrize("scale", [Fraction(9, 10), 0.9, Fraction(-9, 10), Fraction(11, 10), 0])
def test_the_best_of_two_to_the_333_paths(scale):
    blocks = 333
    paths = rank_paths(residual_graph(blocks, scale), "x", 5)
    skips = [path.skips for path in paths]
    if abs(scale) > 1:
        assert skips == [blocks] + [blocks - 1] * 4
        assert paths[0].scale == scale**blocks
    elif scale == 0:
        # All paths with a skip are ties at zero, so they come in the order of enumeration.
        assert [path.scale for path in paths] == [1, 0, 0, 0, 0]
        assert skips == [0, 1, 1, 2, 1]
    else:
        assert skips == [0, 1, 1, 1, 1]
        assert [path.scale for path in paths] == [1, scale, scale, scale, scale]


def test_ranking_is_lazy():
    ranked = iter_ranked_paths(residual_graph(333, Fraction(1, 2)), "x")
    skips = [path.skips for path in itertools.islice(ranked, 335)]
    assert skips == [0] + [1] * 333 + [2]


def test_paths_from_a_node_to_itself():
    (path,) = rank_paths(residual_graph(1), "x", of="x")
    assert path.edge_indices == ()


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (lambda e: -1, r"weight of edge 'out\.0->L' is -1; .* at least 0"),
        (lambda e: float("inf"), r"weight of edge 'out\.0->L' is inf, which is no finite number"),
        (lambda e: float("nan"), "is nan, which is no finite number"),
        (lambda e: "big", "is 'big', which is no finite number"),
        (lambda e: True, "is True, which is no finite number"),
    ],
)
def test_weights_that_cannot_rank_are_refused(weight, message):
    with pytest.raises(UsageError, match=message):
        rank_paths(residual_graph(1), "x", weight=weight)


def test_a_negative_number_of_paths_is_refused():
    with pytest.raises(UsageError, match="the -1 best paths; give 0 or more"):
        rank_paths(residual_graph(1), "x", -1)
