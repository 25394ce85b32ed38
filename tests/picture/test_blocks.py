"""Large networks fold by the spec's own blocks, within frames and rows that a page holds."""

import re
import struct
from functools import cache

import pytest

import archgraph
from archgraph.picture import Flow, render
from archgraph.picture.blocks import fold_blocks
from archgraph.picture.diagram import diagram
from archgraph.picture.frames import framed
from archgraph.picture.rows import break_rows
from archgraph.picture.scene import build_scene

LARGE = (
    "resnet",
    "densenet",
    "gpt2",
    "unet",
    "googlenet",
    "vit_b_16",
    "rnn",
    "examples/res2net.yaml",
    "examples/se_densenet.yaml",
    "examples/two_encoder_fusion.yaml",
)


@cache
def load(name, **params):
    return archgraph.load(name, **params)


def parsed(text):
    return archgraph.parse(text, file="test.yaml")


def steps(graph, **options):
    return list(fold_blocks(build_scene(graph, **options), graph))


def names(scene):
    return [vertex.lines[0] for vertex in scene.vertices]


@pytest.mark.parametrize("name", LARGE)
def test_large_networks_fit_an_a4_page(tmp_path, name):
    graph = load(name)
    text = diagram(graph)
    nodes = {line for line in text.splitlines() if "tooltip" in line and "->" not in line}
    assert 8 <= len(nodes) <= 75, "60 vertices, labels of lines and ghosts"
    content = render(graph, tmp_path / "net.png").read_bytes()
    width, height = (pixels / 144 for pixels in struct.unpack(">II", content[16:24]))
    # On 8.27 in × 11.69 in, less margins of 0.25 in, letters of 11 pt are at least 6 pt high.
    upright = max(width / 7.77, height / 11.19)
    across = max(width / 11.19, height / 7.77)
    assert min(upright, across) < 11 / 6


@pytest.mark.parametrize("name", LARGE)
def test_folding_hides_every_node_once_and_keeps_the_order(name):
    graph = load(name)
    previous = build_scene(graph)
    for scene in steps(graph):
        shown = [vertex.node for vertex in scene.vertices if vertex.node]
        hidden = [node for vertex in scene.vertices for node in vertex.hides]
        assert sorted([*shown, *hidden]) == sorted(node.name for node in graph.nodes)
        place = scene.positions()
        assert all(place[arc.source] < place[arc.target] for arc in scene.arcs)
    assert len(scene.vertices) < len(previous.vertices)


@pytest.mark.parametrize("name", LARGE)
def test_rows_keep_every_vertex_and_every_line(name):
    graph = load(name)
    for scene in steps(graph)[2:5]:
        strips = break_rows(framed(scene, graph)[0], 14)
        row = {key: i for i, members in enumerate(strips.rows) for key in members}
        assert {vertex.key for vertex in scene.vertices} <= set(row)
        assert all(row[arc.source] == row[arc.target] for arc in strips.scene.arcs)
        ids = [arc.id for arc in strips.scene.arcs if arc.id]
        assert sorted(ids) == sorted(arc.id for arc in scene.arcs if arc.id)


def test_the_middle_of_a_run_of_copies_folds_and_its_ends_stay():
    first = names(steps(load("gpt2"))[0])
    assert "h.1 … 10   ×10" in first
    assert {"h.0.ln_1", "h.11.ln_1"} <= set(first)


def test_copies_that_are_not_alike_do_not_fold_together():
    graph = parsed(
        """archgraph: 1
name: mixed
inputs: {x: [4]}
blocks:
  unit:
    params: {lam: 1}
    layers:
      f: Linear(4)
      y: f + lam*input
layers:
  a: {op: "unit(2 if i == 3 else 1)", repeat: 8}
"""
    )
    scene = steps(graph)[0]
    assert [name for name in names(scene) if "×" in name] == ["a.5 … 6   ×2"]
    assert {"a.0.f", "a.1.f", "a.2.f", "a.3.f", "a.4.f", "a.7.f"} <= set(names(scene))


def test_the_first_block_of_each_kind_stays_open_longest():
    text = diagram(load("resnet"))
    frames = re.findall(r'label="(layer[^"]*)"', text)
    assert sorted(frame.partition(" · ")[0] for frame in frames) == ["layer1.0", "layer1.1"]
    assert "layer3.1 … 5   ×5" in text


def test_a_target_stays_visible_however_much_is_folded():
    graph = load("resnet")
    assert all("layer3.2.bn2" in names(scene) for scene in steps(graph, wrt="layer3.2.bn2"))
    weight = "layer3.2.conv2.weight"
    assert all("layer3.2.conv2" in names(scene) for scene in steps(graph, wrt=weight))


def test_the_copy_in_which_the_gradient_changes_most_stays_out_of_the_box():
    graph = load("resnet", depth=152)
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    cut = order["layer3.20.out"]
    rms = {name: 1.0 if i >= cut else 0.01 for name, i in order.items()}
    scene = steps(graph, flow=Flow(wrt="x", node_rms=rms))[0]
    boxes = [name for name in names(scene) if name.startswith("layer3") and "×" in name]
    assert boxes == ["layer3.2 … 19   ×18", "layer3.21 … 34   ×14"]


def test_a_box_tells_the_median_share_of_its_skips():
    graph = load("gpt2")
    shares = {edge.id: 0.75 if edge.role == "skip" else 0.25 for edge in graph.edges}
    shares["h.3.ln_1->h.3.mid"] = 0.25
    flow = Flow(wrt="emb", shares=shares)
    (box,) = [v for v in steps(graph, wrt="emb", flow=flow)[0].vertices if "×10" in v.lines[0]]
    assert "skip 75 %" in box.lines


def test_names_in_a_frame_are_short_and_the_frame_says_where():
    graph = load("examples/res2net.yaml")
    scene, titles = framed(steps(graph)[2], graph)
    assert titles["stage1.0"] == "stage1.0 · unit(w=6, project=True)"
    inside = [v.lines[0] for v in scene.vertices if v.scope == ("stage1.0",)]
    assert {"reduce", "bn1", "x  ReLU", "y1", "x2", "restore"} <= set(inside)
    assert not any("stage1" in name for name in inside)


def test_integer_inputs_and_terms_of_the_loss_are_named():
    text = diagram(load("examples/two_encoder_fusion.yaml"))
    assert "16 int64 &lt; 100" in text
    assert "own · aux=0.3" in text


def test_members_beside_each_other_are_no_copies():
    graph = parsed(
        """archgraph: 1
name: beside
inputs: {x: [4]}
blocks:
  unit: {layers: {f: Linear(4), g: Tanh, h: Linear(4)}}
layers:
  a: unit()(x)
  b: unit()(x)
  c: unit()(x)
  d: unit()(x)
  y: a + b + c + d
"""
    )
    for scene in steps(graph):
        assert not any("×" in name for name in names(scene))


def test_an_element_of_a_list_of_learnable_scales_has_a_name_of_its_own():
    text = diagram(load("denseformer"))
    assert "h_scale.7[0]=0, learnable" in text
