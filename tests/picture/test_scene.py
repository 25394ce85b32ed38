"""Merges are vertices of their own, and what carries the gradient is told from what does not."""

import networkx as nx
import pytest

from archgraph.errors import TargetError
from archgraph.graph import GraphBuilder, Scale, Term, learnable
from archgraph.picture import Flow
from archgraph.picture.routes import Routes
from archgraph.picture.scene import build_scene
from tests.picture import networks


def ends(scene):
    return {(arc.source, arc.target) for arc in scene.arcs}


def test_a_layer_that_merges_and_applies_an_op_is_two_vertices():
    scene = build_scene(networks.residual())
    assert {("F2", "x3 +"), ("x1", "x3 +"), ("x3 +", "x3")} <= ends(scene)
    assert ("F2", "x3") not in ends(scene)
    kinds = {vertex.key: vertex.kind for vertex in scene.vertices}
    assert kinds["x3 +"] == "merge"
    assert kinds["x3"] == "activation"
    assert kinds["F2"] == "weights"
    assert kinds["x1"] == "input"


def test_a_layer_that_only_merges_is_one_vertex_with_its_name():
    scene = build_scene(networks.highway())
    vertices = {vertex.key: vertex for vertex in scene.vertices}
    assert vertices["out"].lines == ("+  out",)
    assert vertices["out~1"].lines == ("×",)
    assert len(scene.vertices) == len(networks.highway().nodes)


def test_every_edge_of_the_graph_is_one_arc():
    for graph in (networks.residual(), networks.dense_block(), networks.two_headed()):
        scene = build_scene(graph)
        assert sorted(a.id for a in scene.arcs if a.id) == sorted(e.id for e in graph.edges)


def test_ports_are_named_where_there_are_several():
    builder = GraphBuilder("attention")
    x = builder.input("x", (4, 8))
    attention = networks.call("ScaledDotProductAttention", heads=2)
    builder.layer("sdpa", attention, {"query": [x], "key": [x], "value": [x, x]})
    scene = build_scene(builder.build())
    assert [a.port for a in scene.arcs if a.source == "x"] == ["query", "key", "", ""]
    assert [a.port for a in scene.arcs if a.source == "sdpa + value"] == ["value"]


@pytest.mark.parametrize(
    ("graph", "wrt"),
    [
        (networks.residual(), "x1"),
        (networks.dense_block(), "H2"),
        (networks.highway(), "x"),
        (networks.two_headed(), "stem"),
        (networks.residual(), "F2.weight"),
    ],
)
def test_paths_through_each_edge_are_those_of_brute_force(graph, wrt):
    plain = nx.MultiDiGraph()
    plain.add_edges_from((e.source, e.target, e.id) for e in graph.edges)
    if wrt not in plain:
        plain.add_edge(wrt, wrt.split(".")[0], f"{wrt}->{wrt.split('.')[0]}")
    expected: dict[str, int] = {}
    for path in nx.all_simple_edge_paths(plain, wrt, "L"):
        for *_, edge_id in path:
            expected[edge_id] = expected.get(edge_id, 0) + 1
    assert Routes(graph, wrt).counts == expected
    scene = build_scene(graph, wrt=wrt)
    assert {arc.id for arc in scene.arcs if arc.id and arc.carries} == set(expected)
    assert {arc.paths for arc in scene.arcs if arc.id and not arc.carries} <= {None}


def test_parallel_edges_are_told_apart():
    builder = GraphBuilder("twice")
    x = builder.input("x", (4,))
    builder.layer("y", None, [x, Term(x, Scale(2))])
    graph = builder.build()
    assert Routes(graph, "x").counts == {"x->y": 1, "x->y#1": 1, "y->L": 2}
    labels = [row.label for row in Routes(graph, "x").rows(8)]
    assert labels == ["x ← y ← L", "x ← y ← L (x->y#1)   λ = 2"]


def test_a_line_behind_a_merge_carries_what_enters_it():
    scene = build_scene(networks.residual(), flow=networks.residual_flow())
    behind = next(arc for arc in scene.arcs if arc.source == "x3 +")
    assert behind.share == pytest.approx(1.0)
    assert behind.norm == pytest.approx(0.5)


def test_the_norm_behind_a_scaled_merge_is_that_before_the_scale():
    flow = Flow(wrt="x1", norms={"x1->x3": 0.3})
    scene = build_scene(networks.residual(Scale(3)), flow=flow)
    assert next(a for a in scene.arcs if a.source == "x3 +").norm == pytest.approx(0.1)


def test_the_norm_behind_a_concat_is_that_of_all_slots():
    norms = {"H0->H2": 3.0, "H1->H2": 4.0}
    scene = build_scene(networks.dense_block(2), flow=Flow(wrt="H0", norms=norms))
    assert next(a for a in scene.arcs if a.source == "H2 ‖").norm == pytest.approx(5.0)


def test_a_learnable_scale_enters_at_the_merge():
    graph = networks.residual(learnable("x3_scale", 0))
    scene = build_scene(graph, wrt="x3_scale")
    assert ("x3_scale", "x3 +") in ends(scene)
    live = {(a.source, a.target) for a in scene.arcs if a.carries}
    assert ("x3 +", "x3") in live
    assert ("x1", "x3 +") not in live


def test_a_late_input_stands_by_its_reader():
    builder = GraphBuilder("late")
    x, y = builder.input("x", (4,)), builder.input("y", (4,))
    for i in range(5):
        x = builder.layer(f"f{i}", networks.call("Linear", out_features=4), [x])
    builder.layer("sum", None, [x, y])
    keys = [vertex.key for vertex in build_scene(builder.build()).vertices]
    assert keys == ["x", "f0", "f1", "f2", "f3", "f4", "y", "sum", "L"]


@pytest.mark.parametrize(
    ("rms", "alert"),
    [
        (1.0, ""),
        (1e-2, ""),
        (1e-5, "vanishing"),
        (1e5, "exploding"),
        (0.0, "dead"),
        (float("nan"), "NaN"),
        (float("inf"), "NaN"),
    ],
)
def test_alerts_compare_with_the_output(rms, alert):
    flow = Flow(wrt="x1", node_rms={"x5": 1.0, "F1": rms})
    scene = build_scene(networks.residual(), flow=flow)
    assert {vertex.key: vertex.alert for vertex in scene.vertices}["F1"] == alert


@pytest.mark.parametrize(("norm", "alert"), [(1.0, ""), (1e-5, "vanishing")])
def test_a_gradient_that_is_only_spread_out_does_not_vanish(norm, alert):
    rms, norms = {"x5": 1.0, "F1": 1e-5}, {"x5": 2.0, "F1": 2 * norm}
    scene = build_scene(networks.residual(), flow=Flow(wrt="x1", node_rms=rms, node_norms=norms))
    assert {vertex.key: vertex.alert for vertex in scene.vertices}["F1"] == alert


def test_an_unknown_target_is_said():
    with pytest.raises(TargetError, match="did you mean 'x3'"):
        build_scene(networks.residual(), wrt="x33")
