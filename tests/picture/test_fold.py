"""Repeats fold to one box that says what it hides; long strips break into rows."""

from fractions import Fraction

import pytest

from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.picture import Flow
from archgraph.picture.fold import fold, waists
from archgraph.picture.rows import break_rows, fold_wide
from archgraph.picture.scene import build_scene
from tests.picture import networks


def folded(graph, max_nodes=10, **options):
    return fold(build_scene(graph, **options), max_nodes)


def keys(scene):
    return [vertex.key for vertex in scene.vertices]


def boxes(scene):
    return [vertex for vertex in scene.vertices if vertex.kind == "fold"]


def chain(length):
    builder = GraphBuilder("chain")
    x = builder.input("x", (8,))
    for i in range(length):
        x = builder.layer(f"z{i}", networks.call("Linear", out_features=8), [x])
        x = builder.layer(f"a{i}", networks.call("Sigmoid"), [x])
    return builder.build()


def test_first_and_last_block_stay_open():
    scene = folded(chain(60))
    assert keys(scene) == ["x", "z0", "a0", "z1 … a58", "z59", "a59", "L"]
    (box,) = boxes(scene)
    assert box.lines == ("a1 … a58   ×58", "Linear, Sigmoid")
    assert scene.hidden == 116
    assert scene.hidden + len(scene.vertices) - 1 == len(chain(60).nodes)


def test_small_networks_are_not_folded():
    graph = networks.scaled_residual(8)
    scene = build_scene(graph)
    assert fold(scene, 60) is scene


def test_two_blocks_are_no_run_but_straight_chains_fold():
    scene = folded(networks.residual(), max_nodes=3)
    assert [box.lines for box in boxes(scene)] == [
        ("F1 … F2", "2 Linear, ReLU"),
        ("F3 … F4", "2 Linear, ReLU"),
    ]
    assert keys(scene) == ["x1", "F1 … F2", "x3 +", "x3", "F3 … F4", "x5 +", "x5", "L"]
    assert scene.hidden == 6
    assert [a.id for a in scene.arcs if a.target == "F1 … F2"] == ["x1->F1"]


def test_a_chain_box_leaves_the_target_and_a_scaled_edge_outside():
    builder = GraphBuilder("scaled")
    x = builder.input("x", (4,))
    for i in range(8):
        term = Term(x, Scale(2 if i == 4 else 1))
        x = builder.layer(f"f{i}", networks.call("Linear", out_features=4 + i), [term])
    scene = folded(builder.build(), max_nodes=2, wrt="f0")
    assert keys(scene) == ["x", "f0", "f1 … f3", "f4 … f7", "L"]
    assert [str(a.edge.scale) for a in scene.arcs if a.target == "f4 … f7"] == ["2"]


def test_blocks_are_cut_where_ways_part():
    builder = GraphBuilder("phase")
    x = builder.input("x", (4,))
    for i in range(9):
        # The first block has another layer, but ends like the rest.
        op = networks.call("Conv1d" if i == 0 else "Linear", out_features=4)
        f = builder.layer(f"f{i}", op, [x])
        x = builder.layer(f"y{i}", networks.call("ReLU"), [f, x])
    (box,) = boxes(folded(builder.build()))
    assert box.lines == ("y2 … y7   ×6", "Linear, +, ReLU")


def test_a_residual_block_folds_with_its_skip():
    scene = folded(networks.scaled_residual(20))
    (box,) = boxes(scene)
    assert box.lines == ("x2 … x19   ×18", "Linear, +")
    into = [arc for arc in scene.arcs if arc.target == box.key]
    assert [arc.source for arc in into] == ["x1"], "F2's edge and the skip enter as one line"
    out = {(arc.target, arc.edge.role) for arc in scene.arcs if arc.source == box.key}
    assert out == {("F20", "none"), ("x20", "skip")}


def test_another_scale_is_not_alike():
    builder = GraphBuilder("mixed")
    x = builder.input("x0", (4,))
    for i in range(1, 17):
        f = builder.layer(f"F{i}", networks.call("Linear", out_features=4), [x])
        scale = Scale(Fraction(1, 3 if i == 9 else 2))
        x = builder.layer(f"x{i}", None, [f, Term(x, scale)])
    scene = folded(builder.build())
    assert "x9" in keys(scene)
    assert [box.lines[0] for box in boxes(scene)] == ["x2 … x7   ×6", "x11 … x15   ×5"]


def test_the_target_stays_visible():
    scene = folded(networks.scaled_residual(20), wrt="x10")
    assert "x10" in keys(scene)
    assert all(vertex.target == (vertex.key == "x10") for vertex in scene.vertices)


def test_the_block_where_the_gradient_falls_most_stays_open():
    rms = {f"x{i}": 0.9 ** (20 - i) * (0.01 if i < 8 else 1.0) for i in range(21)}
    scene = folded(networks.scaled_residual(20), max_nodes=14, flow=Flow(wrt="x0", node_rms=rms))
    assert {"F8", "x8"} <= set(keys(scene))
    assert [box.lines[0] for box in boxes(scene)] == ["x2 … x7   ×6", "x9 … x19   ×11"]


def test_a_box_tells_the_skips_share_and_the_norms_at_its_ends():
    shares, norms = {}, {}
    for i in range(1, 21):
        skip = 0.5 + i / 100
        shares |= {f"x{i - 1}->x{i}": skip, f"x{i - 1}->F{i}": 1 - skip, f"F{i}->x{i}": 1 - skip}
        norms |= {f"x{i - 1}->x{i}": 2.0**i, f"x{i - 1}->F{i}": 1.0}
    flow = Flow(wrt="x0", shares=shares, norms=norms)
    (box,) = boxes(folded(networks.scaled_residual(20), flow=flow))
    assert box.lines[2:] == ("skip 60 % (52 %–69 %)", "norm 4 ← 5.24e+05")


def test_a_long_chain_under_a_skip_folds_in_its_middle():
    builder = GraphBuilder("skip")
    x = state = builder.input("x", (4,))
    for i in range(20):
        state = builder.layer(f"z{i}", networks.call("Linear", out_features=4), [state])
    builder.layer("y", None, [state, x])
    norms = {"z1->z2": 1e-9, "z17->z18": 0.25}
    scene = build_scene(builder.build(), flow=Flow(wrt="x", norms=norms))
    narrow = fold_wide(scene, 14)
    assert keys(narrow) == ["x", "z0", "z1", "z2 … z17", "z18", "z19", "y", "L"]
    (box,) = boxes(narrow)
    assert box.lines == ("z2 … z17", "16 Linear", "norm 1e−09 ← 0.25")
    assert fold_wide(scene, 40) is scene


def test_waists_are_where_everything_passes():
    graph = networks.residual()
    scene = build_scene(graph)
    names = [scene.vertices[place].key for place in waists(scene)]
    assert names == ["x1", "x3 +", "x3", "x5 +", "x5", "L"]


def test_a_short_strip_is_one_row():
    scene = build_scene(networks.residual())
    strips = break_rows(scene, 14)
    assert strips.scene.vertices == scene.vertices
    assert len(strips.rows) == 1


@pytest.mark.parametrize("depth", [8, 13, 30])
def test_no_line_runs_from_row_to_row_and_none_is_lost(depth):
    scene = build_scene(networks.scaled_residual(depth))
    strips = break_rows(scene, 9)
    assert len(strips.rows) > depth // 4
    row = {key: i for i, members in enumerate(strips.rows) for key in members}
    assert all(row[arc.source] == row[arc.target] for arc in strips.scene.arcs)
    assert [a.id for a in strips.scene.arcs] == [a.id for a in scene.arcs]
    lengths = [len(members) for members in strips.rows]
    assert max(lengths) <= 2 + min(lengths[:-1]), "about equally long"
    assert sum(map(len, strips.rows)) == len(strips.scene.vertices) == len(row)


def test_rows_begin_with_a_ghost_of_where_the_last_one_ended():
    strips = break_rows(build_scene(networks.scaled_residual(8)), 12)
    ghost = {vertex.key: vertex for vertex in strips.scene.vertices}[strips.rows[1][0]]
    assert ghost.kind == "ghost"
    assert ghost.lines == (f"… {strips.rows[0][-1]}",)


def test_an_early_output_has_an_l_in_its_own_row():
    builder = GraphBuilder("early")
    x = builder.input("x", (4,))
    for i in range(30):
        x = builder.layer(f"f{i}", networks.call("Linear", out_features=4), [x])
        if i in (3, 29):
            builder.output(x)
    strips = break_rows(build_scene(builder.build()), 12)
    assert len(strips.rows) == 4
    assert [vertex.kind for vertex in strips.scene.vertices].count("loss") == 2
    assert "L in row 1" in strips.rows[0]
