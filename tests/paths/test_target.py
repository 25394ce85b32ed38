import re
from dataclasses import replace

import pytest

from archgraph.errors import TargetError
from archgraph.graph import GraphBuilder, Term, learnable
from archgraph.ops import parse_call
from archgraph.paths import count_histograms, count_paths, iter_paths, resolve
from archgraph.spec import load
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


def test_a_block_instance_is_its_first_output():
    graph = load("resnet")
    assert resolve(graph, "layer1.0") == resolve(graph, "layer1.0.out")
    assert next(iter_paths(graph, "layer4.2")).nodes[0] == "layer4.2.out"
    # A repeat is its last copy.
    assert resolve(graph, "layer1").name == "layer1.2.out"


def test_all_parameters_of_a_block_are_a_source_with_one_edge_into_each_layer():
    graph = load("resnet")
    target = resolve(graph, "layer1.0.*")
    names = ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1"]
    layers = [f"layer1.0.{name}" for name in names]
    assert [edge_id for edge_id, _, _ in target.entries] == [f"layer1.0.*->{n}" for n in layers]
    assert target.kind == "parameters"
    # Weight and bias of a norm come in by one edge.
    assert len(target.parameters) == 4 + 4 * 2
    expected = sum(count_paths(graph, name) for name in layers)
    assert count_paths(graph, "layer1.0.*") == expected == 8 * 2**15
    histogram = count_histograms(graph, "layer1.0.*").weights
    assert sum(histogram.values()) == expected
    first = next(iter_paths(graph, "layer1.0.*"))
    assert first.nodes[:3] == ("layer1.0.*", "layer1.0.conv1", "layer1.0.bn1")


def test_all_parameters_of_a_group_a_repeat_a_layer_and_of_everything():
    graph = load("resnet")
    assert count_paths(graph, "layer4.*") == sum(
        count_paths(graph, f"layer4.{i}.*") for i in range(3)
    )
    assert [e for e, _, _ in resolve(graph, "fc.*").entries] == ["fc.*->fc"]
    assert len(resolve(graph, "*").parameters) == 161
    vit = resolve(load("vit_b_16"), "*")
    # A class token is a layer, and its parameter too.
    assert ("*->class_token", 1, None) in vit.entries
    assert "class_token" in vit.parameters
    assert len(vit.parameters) == 152


def test_the_scale_of_an_edge_is_a_parameter_of_its_block():
    graph = load("rezero")
    target = resolve(graph, "body.0.*")
    assert [(edge_id, edge is None) for edge_id, _, edge in target.entries] == [
        ("body.0.*->body.0.fc", True),
        ("body.0.*->body.0.out", False),
    ]
    assert count_paths(graph, "body.0.*") == 2 * count_paths(graph, "body.1.*") == 2 * 2**31


def test_copies_that_share_their_weights_share_their_parameters():
    graph = load("rnn")
    shared, copy = resolve(graph, "h.*"), resolve(graph, "h.3.*")
    assert shared.parameters == copy.parameters
    assert len(shared.entries) == len(copy.entries) == len(resolve(graph, "h.0.*").entries) > 20


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maxpool.*", "'maxpool' has no parameters"),
        ("layr4.*", "no node, input or parameter 'layr4.*'; did you mean 'layer4.*'?"),
        ("layer1.0.cnv1.*", "; did you mean 'layer1.0.conv1.*'?; 'layer1.0' holds conv1, bn1, "),
        (
            "layer5.*",
            "; did you mean 'layer4.*'?; there are x, conv1, bn1, relu, maxpool, ",
        ),
        ("layer1.9.*", "; did you mean 'layer1.2.*'?; 'layer1' holds 0, 1, 2"),
    ],
)
def test_blocks_without_parameters(name, message):
    with pytest.raises(TargetError, match=re.escape(message)):
        resolve(load("resnet"), name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fcc", "'toy' has no node, input or parameter 'fcc'; did you mean 'fc'?"),
        (
            "fc.wieght",
            "'toy' has no node, input or parameter 'fc.wieght'; did you mean 'fc.weight'?",
        ),
        ("zebra", "'toy' has no node, input or parameter 'zebra'; there are x, fc, y"),
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
