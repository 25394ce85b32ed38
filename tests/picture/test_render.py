"""Files: valid in every format, whole or not at all."""

import re
import struct
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from archgraph.errors import UsageError
from archgraph.graph import GraphBuilder
from archgraph.picture import Flow, LayoutError, render
from archgraph.picture.diagram import diagram
from tests.picture import networks

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [("svg", b"<?xml"), ("png", b"\x89PNG\r\n\x1a\n"), ("pdf", b"%PDF-"), ("dot", b"digraph")],
)
def test_every_format_begins_as_it_must(tmp_path, suffix, magic):
    path = render(networks.residual(), tmp_path / f"net.{suffix}", flow=networks.residual_flow())
    assert path == tmp_path / f"net.{suffix}"
    assert path.read_bytes().startswith(magic)
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "no temporary file is left"


def test_dot_files_hold_the_diagram(tmp_path):
    path = render(networks.highway(), tmp_path / "net.dot", wrt="x")
    assert path.read_text() == diagram(networks.highway(), wrt="x")


def test_a_png_is_large_enough_to_read_and_small_enough_for_a_screen(tmp_path):
    content = render(networks.residual(), tmp_path / "net.PNG").read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert 1200 < width < 4000
    assert 200 < height < 1500


def test_a_long_strip_is_broken_so_that_a_page_holds_it(tmp_path):
    content = render(networks.scaled_residual(25), tmp_path / "net.png", max_nodes=99).read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert 0.5 < width / height < 4


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("inches", [7, 10, 14])
def test_rows_are_about_as_wide_as_asked(tmp_path, inches, measured):
    graph = networks.scaled_residual(25)
    flow = Flow(wrt="x0", shares={edge.id: 0.5 for edge in graph.edges}) if measured else None
    options = {"flow": flow, "max_nodes": 99, "row_width": inches}
    content = render(graph, tmp_path / "net.png", **options).read_bytes()
    (width,) = struct.unpack(">I", content[16:20])
    assert 0.75 * inches < width / 144 < 1.25 * inches


def svg(tmp_path, graph, **options):
    return ElementTree.parse(render(graph, tmp_path / "net.svg", **options)).getroot()


def texts(root):
    return ["".join(node.itertext()).strip() for node in root.iter(f"{SVG}text")]


def test_an_svg_has_its_title_and_facts_inside(tmp_path):
    found = " ".join(texts(svg(tmp_path, networks.residual(), flow=networks.residual_flow())))
    assert "residual" in found
    assert "∂L/∂x1 · 4 paths · measured" in found
    assert "CrossEntropyLoss · batch 4 · seed 0 · float64" in found


def test_an_svg_names_edges_and_tells_them_on_hover(tmp_path):
    root = svg(tmp_path, networks.residual(), flow=networks.residual_flow())
    groups = {group.get("id"): group for group in root.iter(f"{SVG}g")}
    assert {edge.id for edge in networks.residual().edges} <= set(groups)
    titles = [
        anchor.get("{http://www.w3.org/1999/xlink}title")
        for anchor in groups["x1->x3"].iter(f"{SVG}a")
    ]
    assert "x1->x3 · λ=1 · skip · share 78 % · ‖cotangent‖ 0.5 · 2 paths" in titles


def test_boxes_contain_their_text(tmp_path):
    builder = GraphBuilder("wide")
    x = builder.input("x", (4,))
    for name in ("W" * 30, "i", "a_layer_with_a_name_of_its_own"):
        x = builder.layer(name, networks.call("Conv2d", out_channels=8, kernel_size=3), [x])
    root = svg(tmp_path, builder.build(), shapes={"i": (512, 1024, 1024)})
    checked = 0
    for group in root.iter(f"{SVG}g"):
        box, words = group.find(f".//{SVG}polygon"), group.findall(f".//{SVG}text")
        if group.get("class") != "node" or box is None or not words:
            continue
        points = [tuple(map(float, p.split(","))) for p in box.get("points").split()]
        left, right = min(p[0] for p in points), max(p[0] for p in points)
        top, bottom = min(p[1] for p in points), max(p[1] for p in points)
        for word in words:
            # Letters are at least 0.4 em wide on average, in any font that may be used.
            width = 0.4 * float(word.get("font-size")) * len(word.text)
            assert right - left > width
            assert left <= float(word.get("x")) <= right
            assert top < float(word.get("y")) <= bottom
            checked += 1
    assert checked >= 7


def test_arcs_of_a_strip_are_on_one_side_and_their_labels_do_not_overlap(tmp_path):
    rows = {}
    for word in svg(tmp_path, networks.scaled_residual(24), wrt="x0", max_nodes=99).iter(
        f"{SVG}text"
    ):
        if "λ" in (word.text or ""):
            rows.setdefault(word.get("y"), []).append(float(word.get("x")))
    from_the_top = sorted(rows, key=float)
    assert [len(rows[height]) for height in from_the_top] == [5, 5, 5, 5, 4]
    for places in rows.values():
        assert all(b - a > 60 for a, b in pairwise(sorted(places)))


def test_no_arc_crosses_the_spine(tmp_path):
    root = svg(tmp_path, networks.dense_block(6))
    spine = {
        float(shape.get("cy"))
        for shape in root.iter(f"{SVG}ellipse")  # the merges and L
    }
    assert max(spine) - min(spine) < 1, "the spine is straight"
    arcs = [path for path in root.iter(f"{SVG}path") if path.get("stroke-dasharray")]
    assert len(arcs) == 2 * 15, "two halves each"
    for arc in arcs:
        heights = [float(y) - min(spine) for y in re.findall(r",(-?[\d.]+)", arc.get("d"))]
        assert not (min(heights) < -20 and max(heights) > 20)


def test_any_name_gives_a_valid_svg(tmp_path):
    builder = GraphBuilder('we"ird <b>\\n & \x01')
    x = builder.input('a:b"<i>\\', (3,))
    builder.layer("ünï\n--> ]]>", lambda value: value, [x, x])
    found = " ".join(texts(svg(tmp_path, builder.build())))
    assert 'a:b"<i>\\' in found
    assert "--> ]]>" in found


@pytest.mark.parametrize("name", ["net.jpg", "net", "net."])
def test_an_unknown_suffix_names_the_known_ones(tmp_path, name):
    with pytest.raises(UsageError, match=re.escape(".svg, .png, .pdf, .dot")):
        render(networks.residual(), tmp_path / name)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"cannot write .*No such file or directory"):
        render(networks.residual(), tmp_path / "none" / "net.dot")


def test_a_folder_in_the_place_of_the_file_is_said(tmp_path):
    (tmp_path / "net.dot").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        render(networks.residual(), tmp_path / "net.dot")
    assert [file.name for file in tmp_path.iterdir()] == ["net.dot"]


def test_a_failed_drawing_leaves_the_old_file(tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise LayoutError("too slow", "digraph {}")

    monkeypatch.setattr("archgraph.picture.writing.layout", fail)
    path = tmp_path / "net.svg"
    path.write_text("old")
    with pytest.raises(LayoutError, match="too slow"):
        render(networks.residual(), path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["net.svg"]


def test_a_picture_is_as_readable_as_any_new_file(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    path = render(networks.residual(), tmp_path / "net.dot")
    assert path.stat().st_mode == plain.stat().st_mode
