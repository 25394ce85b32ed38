import math
from collections import Counter

import pytest
from hypothesis import given, settings

from archgraph.errors import TargetError
from archgraph.graph import GraphBuilder
from archgraph.ops import Op, OpCall, parse_call
from archgraph.paths import count_all, count_by, count_histograms, count_paths
from archgraph.paths.walk import walk
from tests.paths.oracle import brute_paths, cases
from tests.strategies import residual_graph


@settings(deadline=None)
@given(cases())
def test_count_and_every_histogram_agree_with_brute_force(case):
    graph, wrt = case
    paths = brute_paths(graph, wrt)
    edges = graph.edges
    own = len(edges)

    def spread(measure):
        return dict(Counter(sum(measure(i) for i in path) for path in paths))

    def weighs(index):
        if index < own:
            op = graph.node(edges[index].target).op
            return op is not None and op.name == "Linear"
        # A learnable λ acts before the layer's map, so the map is a factor; a weight does not.
        users = [e.target for e in edges if e.scale.learn and e.scale.learn.name == wrt]
        return bool(users) and graph.node(users[index - own]).name.startswith("linear")

    assert count_paths(graph, wrt) == len(paths)
    histograms = count_histograms(graph, wrt)
    assert histograms.edges == spread(lambda i: 1)
    assert histograms.weights == spread(weighs)
    assert histograms.skips == spread(lambda i: i < own and edges[i].role == "skip")
    assert histograms.branches == spread(lambda i: i < own and edges[i].role == "branch")


@settings(deadline=None)
@given(cases())
def test_the_parts_of_a_walk_meet_at_the_nodes_that_every_path_visits(case):
    graph, wrt = case
    paths = walk(graph, wrt)
    visited = [{wrt, *(paths.names[paths.targets[i]] for i in p)} for p in brute_paths(graph, wrt)]
    ends = [paths.names[node] for part in paths.parts for node in (part[0], part[-1])]
    assert set(ends) == (set.intersection(*visited) if visited else set())
    assert ends[1:-1:2] == ends[2::2]  # each begins where the one before ended
    inside = [node for part in paths.parts for node in part[:-1]]
    assert inside == list(paths.order[:-1])


@settings(deadline=None)
@given(cases())
def test_count_all_agrees_with_the_count_from_each_node(case):
    graph, _ = case
    counts = count_all(graph)
    assert counts.pop("L") == 1
    assert counts == {name: len(brute_paths(graph, name)) for name in counts}


@settings(deadline=None, max_examples=50)
@given(cases())
def test_paths_may_end_before_the_loss(case):
    graph, wrt = case
    for node in graph.nodes:
        if node.name != wrt:
            assert count_paths(graph, wrt, node.name) == len(brute_paths(graph, wrt, node.name))


def test_a_node_reaches_itself_by_the_empty_path():
    graph = residual_graph(2)
    assert count_paths(graph, "out.0", "out.0") == 1
    assert count_histograms(graph, "out.0", "out.0").edges == {0: 1}


def test_two_to_the_333_paths_spread_binomially():
    blocks = 333
    graph = residual_graph(blocks, depth=2)
    binomial = {k: math.comb(blocks, k) for k in range(blocks + 1)}
    histograms = count_histograms(graph, "x")
    assert count_paths(graph, "x") == 2**blocks
    assert histograms.skips == {blocks - k: n for k, n in binomial.items()}
    assert histograms.branches == binomial
    assert histograms.weights == {2 * k: n for k, n in binomial.items()}
    # A branch has 5 edges, a skip one, and there is the edge into the loss.
    assert histograms.edges == {5 * k + (blocks - k) + 1: n for k, n in binomial.items()}


def test_lengths_ascend_and_become_strings_in_json():
    histograms = count_histograms(residual_graph(3), "x")
    assert list(histograms.edges) == sorted(histograms.edges)
    assert histograms.to_dict()["skips"] == {"0": 1, "1": 3, "2": 3, "3": 1}


def test_degrees_of_any_size_are_counted():
    graph = residual_graph(2)
    paths = walk(graph, "x")
    by_index = count_by(paths, [edge.index for edge in graph.edges])
    assert by_index == dict(Counter(map(sum, brute_paths(graph, "x"))))


def test_no_gradient_flows_out_of_integers():
    builder = GraphBuilder("tokens")
    builder.input("ids", (), dtype="int64", below=9)
    builder.layer("embed", parse_call("Embedding(9, 3)"), ["ids"])
    builder.layer("y", parse_call("Linear(3)"), ["embed"])
    graph = builder.build()
    assert count_all(graph) == {"ids": 0, "embed": 1, "y": 1, "L": 1}
    assert count_paths(graph, "embed.weight") == 1


def test_no_gradient_flows_through_an_op_that_gives_integers():
    builder = GraphBuilder("argmax")
    builder.input("x", (3,))
    builder.layer("argmax", OpCall(Op("ArgMax", "plugin", gradient=False)), ["x"])
    builder.layer("embed", parse_call("Embedding(3, 3)"), ["argmax"])
    builder.layer("y", None, ["embed", "x"])
    graph = builder.build()
    assert count_paths(graph, "x") == count_all(graph)["x"] == 1
    assert count_paths(graph, "argmax") == 0


def test_a_target_that_does_not_reach_the_loss_has_no_paths():
    builder = GraphBuilder("dead")
    builder.input("x", (3,))
    builder.layer("unused", parse_call("Linear(3)"), ["x"])
    builder.output(builder.layer("y", parse_call("Linear(3)"), ["x"]))
    graph = builder.build()
    assert count_paths(graph, "unused") == count_paths(graph, "unused.weight") == 0
    assert count_histograms(graph, "unused").weights == {}


def test_a_target_must_be_named():
    with pytest.raises(TargetError, match="from which node"):
        count_paths(residual_graph(1))


def test_an_end_that_does_not_exist_is_refused():
    with pytest.raises(TargetError, match=r"no node or parameter 'out\.9'; did you mean 'out\.0'"):
        count_paths(residual_graph(1), "x", "out.9")
