import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archgraph.errors import TargetError, UsageError
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.ops import parse_call
from archgraph.paths import count_histograms, count_paths, iter_paths, rank_paths
from archgraph.paths.view import view
from archgraph.spec import load
from tests.paths import networks
from tests.paths.oracle import brute_paths, cases
from tests.strategies import residual_graph


def visible(graph, wrt, kind="state"):
    return list(view(graph, kind, wrt).nodes)


def hop_ids(graph, wrt, kind="state", of="L"):
    return [edge.id for edge in view(graph, kind, wrt, of).arrays.hops]


def test_the_states_of_a_spec_are_what_is_visible():
    graph = networks.residual()
    assert visible(graph, "x1") == ["x1", "x2", "x3", "x4", "x5", "L"]
    assert hop_ids(graph, "x1") == [
        "x1..F1->x2",
        "x2..F2->x3",
        "x1->x3",
        "x3..F3->x4",
        "x4..F4->x5",
        "x3->x5",
        "x5->L",
    ]


def test_target_and_end_are_visible_whatever_the_states():
    graph = replace(networks.residual(), states=("x3",))
    assert visible(graph, "F1") == ["F1", "x3", "L"]
    assert list(view(graph, "state", "x1", "F4").nodes) == ["x1", "x3", "F4"]


def test_what_lies_off_every_path_is_not_there():
    assert visible(networks.residual(), "x4", "op") == ["x4", "F4", "x5", "L"]


def test_a_parameter_comes_first_and_enters_its_layer():
    graph = networks.residual()
    assert visible(graph, "F1.weight") == ["F1.weight", "x2", "x3", "x4", "x5", "L"]
    assert hop_ids(graph, "F1.weight")[0] == "F1.weight..F1->x2"
    assert hop_ids(graph, "F1.weight", "op")[0] == "F1.weight->F1"
    assert visible(networks.rezero(), "alpha") == ["alpha", "y", "L"]


def states(*layers):
    """Layers of (name, op or None, terms) over the input x; the last is the output."""
    b = GraphBuilder("toy")
    b.input("x", (4,))
    for name, op, terms in layers:
        b.layer(name, parse_call(op) if op else None, terms)
    return visible(b.build(), "x")


def test_by_default_merges_are_states_and_so_are_activations_that_merge():
    assert states(
        ("f", "Linear(4)", ["x"]),
        ("y", "ReLU", ["f", "x"]),
        ("g", "Linear(4)", ["y"]),
        ("a", "ReLU", ["g"]),
        ("h", "Linear(4)", ["a"]),
    ) == ["x", "y", "h", "L"]


def test_an_activation_stands_for_the_merge_that_only_it_reads():
    layers = [("f", "Linear(4)", ["x"]), ("m", None, ["f", "x"]), ("a", "ReLU", ["m"])]
    end = ("h", "Linear(4)", ["a"])
    assert states(*layers, end) == ["x", "a", "h", "L"]
    assert states(*layers, ("h", None, ["a", "m"])) == ["x", "m", "a", "h", "L"]
    norm = [*layers[:2], ("n", "LayerNorm", ["m"]), ("a", "ReLU", ["n"])]
    assert states(*norm, end) == ["x", "m", "h", "L"]


def test_a_lone_scaled_term_is_no_merge():
    layers = [("m", None, [Term("x", Scale(2))]), ("y", "Linear(4)", ["m"])]
    assert states(*layers) == ["x", "y", "L"]


def test_implied_merges_are_only_in_the_view_of_every_node():
    graph = networks.highway()
    assert visible(graph, "x") == ["x", "y", "L"]
    assert [n for n in visible(graph, "x", "block") if "~" in n] == []
    assert "y~1" in visible(graph, "x", "op")
    assert [hop.routes for hop in view(graph, "state", "x").hops] == [2, 2, 1]


def test_skip_and_branch_stay_apart():
    graph = networks.scaled_residual(3)
    edges = tuple(
        replace(e, role="skip" if e.source[0] == "s" else "branch") if e.kind == "add" else e
        for e in graph.edges
    )
    graph = replace(graph, edges=edges)
    coarse = view(graph, "state", "s0")
    assert len(coarse.hops) == 2 * 3 + 1
    assert count_histograms(coarse, "s0") == replace(
        count_histograms(graph, "s0"), edges={4: 8}, weights={0: 1, 1: 3, 2: 3, 3: 1}
    )
    assert [p.skips for p in rank_paths(coarse, "s0", 2)] == [0, 1]


def test_a_block_shows_its_outputs_alone():
    b = GraphBuilder("blocks")
    b.input("x", (4,))
    b.layer("b.0.f", parse_call("Linear(4)"), ["x"], block=("b.0",))
    b.layer("b.0.y", None, ["b.0.f", "x"], block=("b.0",))
    b.layer("b.1.f", parse_call("Linear(4)"), ["b.0.y"], block=("b.1",))
    b.layer("b.1.g", parse_call("Linear(4)"), ["b.1.f"], block=("b.1", "b.1.inner"))
    b.layer("b.1.y", None, ["b.1.g", "b.0.y"], block=("b.1",))
    b.layer("head", parse_call("Linear(1)"), ["b.1.y"])
    graph = b.build()
    assert visible(graph, "x", "block") == ["x", "b.0.y", "b.1.y", "head", "L"]
    assert visible(graph, "b.1.f", "block") == ["b.1.f", "b.1.y", "head", "L"]


def test_the_block_view_of_a_resnet_shows_its_units():
    graph = load("resnet", lam=Fraction(1, 2))
    units = [f"layer{k}.{i}.out" for k, n in enumerate((3, 4, 6, 3), 1) for i in range(n)]
    tail = ["avgpool", "flatten", "fc", "L"]
    assert visible(graph, "x", "block") == ["x", "conv1", "bn1", "relu", "maxpool", *units, *tail]
    assert visible(graph, "layer4.1", "block") == [*units[-2:], *tail]
    hops = [hop for hop in view(graph, "block", "maxpool").arrays.hops if hop.role != "none"]
    # Branch and shortcut of each unit, the projected one too.
    assert [hop.role for hop in hops] == ["branch", "skip"] * 16
    assert {str(hop.scale) for hop in hops if hop.role == "skip"} == {"0.5"}
    assert hops[0].id == "maxpool..layer1.0.bn3->layer1.0.out"
    assert count_paths(view(graph, "block", "x"), "x") == 2**16


def test_groups_and_repeats_hide_nothing_in_the_block_view():
    seen = visible(load("densenet"), "x", "block")
    assert seen[:6] == [
        "x",
        *(f"features.{name}" for name in ("conv0", "norm0", "relu0", "pool0")),
        "features.denseblock1.denselayer1.conv2",
    ]
    assert "features.denseblock1.cat" in seen
    assert "features.transition1.pool" in seen
    assert not [name for name in seen if name.endswith(".input")]
    # Attention and MLP lie within the outermost block.
    gpt2 = ["drop", "h.0.out", "h.1.out", "ln_f", "lm_head", "L"]
    assert visible(load("gpt2", depth=2), "drop", "block") == gpt2


@pytest.mark.parametrize(
    ("spec", "wrt", "states"),
    [
        ("resnet", "maxpool", "layer1.0.out layer1.1.out layer1.2.out layer2.0.out"),
        ("gpt2", "drop", "h.0.mid h.0.out h.1.mid h.1.out"),
        ("preact_resnet", "image", "stage1.0.out stage1.1.out"),
    ],
)
def test_states_of_networks_with_blocks(spec, wrt, states):
    expected = states.split()
    assert visible(load(spec), wrt)[1 : 1 + len(expected)] == expected


@pytest.mark.parametrize("kind", ["op", "state", "block"])
def test_an_instance_is_seen_under_the_name_of_its_output(kind):
    graph = load("resnet")
    coarse = view(graph, kind, "layer3.5", "layer4.0")
    assert (coarse.wrt, coarse.of) == ("layer3.5.out", "layer4.0.out")
    assert coarse.walk("layer3.5", "layer4.0") is coarse.arrays
    assert count_paths(coarse.arrays) == 2
    assert count_paths(graph, "layer3.5", "layer4.0") == 2


def test_scale_and_weights_of_a_hop():
    b = GraphBuilder("toy")
    b.input("x", (4,))
    b.layer("f", parse_call("Linear(4)"), [Term("x", Scale(3))])
    b.layer("g", parse_call("Linear(4)"), [Term("f", Scale(5))])
    b.layer("y~1", None, ["g", Term("x", Scale(7))])
    b.layer("y", None, [Term("y~1", Scale(2)), Term("f", Scale(-1, text="-lam"))])
    arrays = view(b.build(), "state", "x").arrays
    assert [(e.id, str(e.scale), e.scale.text) for e in arrays.hops] == [
        ("x..y~1->y", "2", None),  # two ways: what they share
        ("x..f->y", "-3", None),
        ("y->L", "1", None),
    ]
    assert list(arrays.weights) == [2, 1, 0]


@st.composite
def cases_with_states(draw):
    """A graph that says itself which nodes are visible, any of them, and a target."""
    graph, wrt = draw(cases())
    names = [node.name for node in graph.nodes if node.kind != "loss"]
    return replace(graph, states=tuple(draw(st.lists(st.sampled_from(names), unique=True)))), wrt


@settings(deadline=None)
@given(cases() | cases_with_states(), st.sampled_from(["op", "state", "block"]))
def test_the_routes_of_the_hops_are_the_paths_of_the_graph(case, kind):
    graph, wrt = case
    coarse = view(graph, kind, wrt)
    routes = {hop.index: list(coarse.routes(hop)) for hop in coarse.hops}
    assert {hop.index: hop.routes for hop in coarse.hops} == {
        index: len(ways) for index, ways in routes.items()
    }
    paths = []
    for path in iter_paths(coarse, wrt):
        ways = [()]
        for hop in path.edge_indices:
            ways = [(*way, *route) for way in ways for route in routes[hop]]
        paths += ways
    assert sorted(paths) == brute_paths(graph, wrt)
    if kind == "op":
        assert paths == brute_paths(graph, wrt)


@settings(deadline=None)
@given(cases_with_states())
def test_a_hop_is_all_there_is_between_a_node_and_an_in_edge(case):
    graph, wrt = case
    coarse = view(graph, "state", wrt)
    assert len({(hop.source, hop.last) for hop in coarse.hops}) == len(coarse.hops)
    hidden = {node.name for node in graph.nodes} - set(coarse.nodes)
    for hop in coarse.hops:
        for route in coarse.routes(hop):
            inner = [coarse.base.hops[i].target for i in route[:-1]]
            assert set(inner) <= hidden
            assert coarse.base.hops[route[-1]].target == hop.target


def test_a_view_is_walked_towards_other_ends():
    coarse = view(networks.residual(), "state", "x1")
    assert count_paths(coarse, "x1") == 4
    assert count_paths(coarse, "x3") == 2
    assert count_paths(coarse, "x1", "x3") == 2
    assert count_paths(coarse, "x5", "x1") == 0


def test_the_end_itself_and_no_path_at_all():
    graph = networks.residual()
    same = view(graph, "state", "x3", "x3")
    assert (same.nodes, same.hops, count_paths(same.arrays)) == (("x3",), (), 1)
    back = view(graph, "state", "x5", "x1")
    assert (back.nodes, back.hops, count_paths(back.arrays)) == (("x5", "x1"), (), 0)


def test_a_deep_network_is_counted_and_never_enumerated():
    graph = residual_graph(333, depth=2)
    coarse = view(replace(graph, states=("x", "out.332")), "state", "x")
    assert math.log2(coarse.hops[0].routes + coarse.hops[1].routes) == 333
    assert len(next(coarse.routes(coarse.hops[0]))) >= 333


def test_what_is_not_there():
    graph = networks.residual()
    with pytest.raises(
        UsageError, match="no view 'states': choose op, state or block; did you mean"
    ):
        view(graph, "states", "x1")
    with pytest.raises(TargetError, match="'x9'"):
        view(graph, "state", "x9")
    with pytest.raises(TargetError, match="'x9'"):
        view(graph, "state", "x1", "x9")
