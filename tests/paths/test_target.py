from dataclasses import replace

import pytest

from archgraph.errors import TargetError
from archgraph.graph import GraphBuilder, Term, learnable
from archgraph.ops import parse_call
from archgraph.paths import count_histograms, iter_paths, resolve
from tests.strategies import residual_graph


def build(*terms):
    builder = GraphBuilder("toy")
    builder.input("x", (3,))
    builder.layer("fc", parse_call("Linear(3)"), ["x"])
    builder.layer("y", parse_call("Linear(3)"), list(terms))
    return builder.build()


def test_nodes_and_inputs_are_found_by_name():
    graph = residual_graph(1)
    assert resolve(graph, "x").position == 0
    target = resolve(graph, "out.0")
    assert (target.kind, graph.nodes[target.position].name) == ("node", "out.0")


def test_a_parameter_is_a_source_with_an_edge_into_its_layer():
    paths = list(iter_paths(build("fc"), "fc.weight"))
    assert [path.edge_ids for path in paths] == [("fc.weight->fc", "fc->y", "y->L")]
    assert paths[0].nodes == ("fc.weight", "fc", "y", "L")
    assert paths[0].length == 3
    # ∂z/∂W is no weight matrix; that of y is the only one.
    assert paths[0].weights == 1


def test_a_learnable_scale_enters_the_layer_that_reads_the_edge():
    graph = build("fc", Term("x", learnable("alpha", 2)))
    (path,) = iter_paths(graph, "alpha")
    assert path.edge_ids == ("alpha->y", "y->L")
    # d(W·αx)/dα = W·x: the weight is a factor, and α itself is not.
    assert (path.weights, path.scale) == (1, 1)
    assert count_histograms(graph, "alpha").weights == {1: 1}


def test_a_scale_learnt_for_two_edges_of_a_layer_has_two_edges():
    alpha = learnable("alpha", 2)
    paths = list(iter_paths(build(Term("fc", alpha), Term("x", alpha)), "alpha"))
    assert [path.edge_ids[0] for path in paths] == ["alpha->y", "alpha->y#1"]


def test_shared_weights_have_an_edge_into_each_layer():
    graph = build("fc")
    nodes = tuple(replace(n, module="h") if n.module else n for n in graph.nodes)
    paths = list(iter_paths(replace(graph, nodes=nodes), "h.weight"))
    assert [path.nodes for path in paths] == [("h.weight", "fc", "y", "L"), ("h.weight", "y", "L")]
    assert [path.weights for path in paths] == [1, 0]


def test_tied_parameters_have_the_edges_of_both():
    graph = replace(build("fc"), ties=(("y.weight", "fc.weight"),))
    for name in ("fc.weight", "y.weight"):
        ids = [path.edge_ids[0] for path in iter_paths(graph, name)]
        assert ids == [f"{name}->fc", f"{name}->y"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fcc", "'toy' has no node, input or parameter 'fcc'; did you mean 'fc'?"),
        (
            "fc.wieght",
            "'toy' has no node, input or parameter 'fc.wieght'; did you mean 'fc.weight'?",
        ),
        ("zebra", "'toy' has no node, input or parameter 'zebra'"),
        ("L", "'L' is the loss itself; ask for a node, an input or a parameter before it"),
    ],
)
def test_a_name_that_is_no_target_is_refused(name, message):
    with pytest.raises(TargetError) as caught:
        resolve(build("fc"), name)
    assert str(caught.value) == message


def test_integers_have_no_gradient():
    builder = GraphBuilder("tokens")
    builder.input("ids", (), dtype="int64", below=9)
    builder.layer("embed", parse_call("Embedding(9, 3)"), ["ids"])
    with pytest.raises(TargetError, match=r"'ids' is an input of integers .* no gradient"):
        resolve(builder.build(), "ids")
