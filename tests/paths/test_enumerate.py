import itertools
import json
import tracemalloc
from collections import Counter
from fractions import Fraction
from unittest import mock

import pytest
from hypothesis import given, settings

from archgraph.errors import TargetError
from archgraph.graph import GraphBuilder, Scale, Term, learnable
from archgraph.ops import opaque, parse_call
from archgraph.paths import Path, count_histograms, count_paths, iter_paths, json_number
from archgraph.paths import enumerate as enumeration
from archgraph.paths.walk import walk
from tests.paths.oracle import brute_paths, brute_product, cases
from tests.strategies import residual_graph


@settings(deadline=None)
@given(cases())
def test_enumeration_is_brute_force_in_the_order_of_edge_indices(case):
    graph, wrt = case
    found = [path.edge_indices for path in iter_paths(graph, wrt)]
    assert found == brute_paths(graph, wrt)
    assert len(found) == count_paths(graph, wrt)


@settings(deadline=None)
@given(cases())
def test_blocks_of_any_size_give_the_same_paths(case):
    graph, wrt = case
    paths = brute_paths(graph, wrt)
    for block, memo in ((1, 1), (4, 8), (12, 16)):
        with mock.patch.multiple(enumeration, BLOCK_HOPS=block, MEMO_HOPS=memo):
            assert [path.edge_indices for path in iter_paths(graph, wrt)] == paths


@settings(deadline=None)
@given(cases())
def test_what_a_path_says_of_itself(case):
    graph, wrt = case
    for path in itertools.islice(iter_paths(graph, wrt), 40):
        own = [e for e in path.edges if e.index >= len(graph.edges)]
        edges = [graph.edges[i] for i in path.edge_indices[len(own) :]]
        assert list(path.edges) == own + edges
        assert path.edge_ids == tuple(e.id for e in own + edges)
        assert path.nodes == (wrt, *(e.target for e in own + edges))
        assert path.nodes[-1] == "L"
        assert path.length == len(own) + len(edges) == len(path.nodes) - 1
        assert path.skips == sum(e.role == "skip" for e in edges)
        assert path.branches == sum(e.role == "branch" for e in edges)
        exact = brute_product(graph, path.edge_indices, lambda e: e.scale.value)
        assert path.scale == pytest.approx(exact, rel=1e-14)
        if all(e.scale.exact for e in edges):
            assert path.scale == exact


@settings(deadline=None, max_examples=50)
@given(cases())
def test_weights_of_the_paths_add_up_to_the_histogram(case):
    graph, wrt = case
    weights = Counter(path.weights for path in iter_paths(graph, wrt))
    assert count_histograms(graph, wrt).weights == dict(weights)


def test_the_first_of_two_to_the_333_paths_comes_at_once():
    graph = residual_graph(333, Fraction(1, 2))
    paths = iter_paths(graph, "x")
    first, second = next(paths), next(paths)
    assert first.weights == 333
    assert second.nodes == (*first.nodes[:-4], *first.nodes[-2:])
    assert (first.scale, second.scale) == (1, Fraction(1, 2))


def peak_bytes(paths):
    tracemalloc.start()
    for _ in paths:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_paths_that_were_read_are_not_kept():
    paths = iter_paths(residual_graph(200), "x")
    # Kept, they would take 30,000 · about 600 indices · 8 bytes = 144 MB.
    assert peak_bytes(itertools.islice(paths, 30_000)) < 8e6


def test_blocks_are_not_kept_without_bound():
    builder = GraphBuilder("fan")
    builder.input("x", (3,))
    for i in range(150):
        builder.layer(f"w{i}", parse_call("Tanh()"), ["x"])
    state = builder.layer("sum", None, [f"w{i // 2}" for i in range(300)])
    for i in range(6):
        state = builder.layer(f"y{i}", None, [state, state])
    graph = builder.build()
    # A block for each w, of 128 tuples: 150 of them take about 2 MB, 9 of them a fifteenth.
    with mock.patch.object(enumeration, "MEMO_HOPS", 9 * 128 * 8):
        assert peak_bytes(iter_paths(graph, "x")) < 1e6
    assert peak_bytes(iter_paths(graph, "x")) > 2e6


def test_paths_of_over_a_thousand_edges_do_not_exhaust_the_stack():
    builder = GraphBuilder("recurrent")
    builder.input("x", (3,))
    state = builder.input("h", (3,))
    steps = 1_500
    for i in range(steps):
        state = builder.layer(f"h{i}", parse_call("Tanh()"), [state, "x"])
    graph = builder.build()
    (path,) = iter_paths(graph, "h")
    assert path.length == steps + 1
    assert [p.length for p in itertools.islice(iter_paths(graph, "x"), 2)] == [1_501, 1_500]


def test_a_bad_target_is_refused_before_the_first_path_is_asked_for():
    with pytest.raises(TargetError, match="no node, input or parameter 'y'"):
        iter_paths(residual_graph(1), "y")


def test_paths_from_a_node_to_itself():
    (path,) = iter_paths(residual_graph(1), "x", "x")
    assert (path.edge_indices, path.nodes, path.scale) == ((), ("x",), 1)


def two_way_graph(scale):
    builder = GraphBuilder("two")
    builder.input("x", (3,))
    builder.layer("f", parse_call("Linear(3)"), ["x"])
    builder.layer("y", None, ["f", Term("x", scale, forced=True)])
    return builder.build()


def test_the_json_form_of_a_path():
    _, skip = iter_paths(two_way_graph(Scale(Fraction(-1, 2))), "x")
    assert json.loads(json.dumps(skip.to_dict())) == {
        "nodes": ["x", "y", "L"],
        "edges": ["x->y", "y->L"],
        "length": 2,
        "weights": 0,
        "skips": 1,
        "branches": 0,
        "lambda": -0.5,
    }


def test_a_learnable_scale_counts_with_its_start_value():
    _, skip = iter_paths(two_way_graph(learnable("alpha", Fraction(1, 3))), "x")
    assert skip.scale == Fraction(1, 3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (10**400, 10**400),
        (Fraction(1, 4), 0.25),
        (0.5, 0.5),
        (Fraction(0), 0.0),
        (Fraction(1, 10**400), f"1/{10**400}"),
        (Fraction(10**400, 3), f"{10**400}/3"),
    ],
)
def test_numbers_in_json(value, expected):
    assert json_number(value) == expected
    assert type(json_number(value)) is type(expected)


def test_equality_and_text():
    graph = residual_graph(2)
    paths, again = list(iter_paths(graph, "x")), list(iter_paths(graph, "x"))
    assert paths == again
    assert len({*paths, *again}) == 4
    assert paths[0] != paths[1]
    assert paths[0] != next(iter_paths(residual_graph(2), "fc.0.0"))
    assert paths[0] != paths[0].edge_indices
    assert str(paths[-1]) == "x → out.0 → out.1 → L"
    assert repr(paths[-1]) == "Path(x → out.0 → out.1 → L)"
    long = next(iter_paths(residual_graph(9), "x"))
    assert repr(long).startswith(
        "Path(x → fc.0.0 → relu.0.0 → out.0 → fc.1.0 → relu.1.0 → (17 more)"
    )


def ported_graph(*ports):
    builder = GraphBuilder("ported")
    builder.input("x", (3,))
    builder.layer("y", opaque(max, ports), {port: ["x"] for port in ports})
    return builder.build()


def test_equal_indices_in_different_graphs_are_different_paths():
    one, other = ported_graph("a", "b"), ported_graph("c", "d")
    first, same, second = (next(iter_paths(graph, "x")) for graph in (one, one, other))
    assert first == same
    assert first.nodes == second.nodes
    assert first.edge_indices == second.edge_indices
    assert first != second
    # The empty path has no edges to tell it by.
    assert Path(walk(one, "x", "x"), ()) != Path(walk(one, "y", "y"), ())
