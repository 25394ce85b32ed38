"""The DOT text, read back with Graphviz's own parser, and whole in golden files."""

import dataclasses
import math
import re
from fractions import Fraction

import pygraphviz
import pytest

from archgraph.errors import TargetError, UsageError
from archgraph.graph import GraphBuilder, Scale, Term, learnable
from archgraph.picture import Flow, PathRow
from archgraph.picture.diagram import diagram
from archgraph.picture.routes import Routes
from tests.goldens import assert_golden
from tests.picture import networks


@dataclasses.dataclass
class Drawn:
    """What Graphviz's own parser reads in DOT text."""

    nodes: dict[str, dict[str, str]]
    edges: list[dict[str, str]]
    defaults: dict[str, str]

    @property
    def lines(self):
        """Attributes of what is drawn by edge id; an arc over the spine has two halves."""
        found = {}
        for edge in self.edges:
            if edge.get("style") != "invis":
                found.setdefault(edge["tooltip"].split(" · ")[0], []).append(edge)
        return found

    @property
    def labels(self):
        """The texts of nodes and edges, without their markup."""
        items = [*self.nodes.values(), *self.edges]
        return [re.sub("<[^>]*>", " ", item.get("label", "")).strip(" <>") for item in items]


def read(text):
    # Copied while the graph lives: pygraphviz's views of attributes crash after it.
    graph = pygraphviz.AGraph(string=text)
    nodes = {str(node): dict(node.attr) for node in graph.nodes()}
    return Drawn(nodes, [dict(edge.attr) for edge in graph.edges()], dict(graph.edge_attr))


def parsed(*arguments, **options):
    return read(diagram(*arguments, **options))


GOLDEN = {
    "residual": (networks.residual(), {}),
    "residual_shapes": (networks.residual(), {"shapes": {"F1": (16,), "x3": (16,)}}),
    "residual_measured": (networks.residual(), {"flow": networks.residual_flow()}),
    "residual_top_to_bottom": (networks.residual(), {"wrt": "x3", "direction": "TB"}),
    "residual_weight": (networks.residual(), {"wrt": "F2.weight"}),
    "dense_block": (networks.dense_block(), {"wrt": "H3"}),
    "highway": (networks.highway(), {"wrt": "x"}),
    "scaled_residual": (networks.scaled_residual(), {"wrt": "x0"}),
    "scaled_residual_folded": (networks.scaled_residual(40), {"wrt": "x0"}),
    "two_headed": (networks.two_headed(), {"wrt": "stem"}),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    graph, options = GOLDEN[name]
    assert_golden(f"dot/{name}.dot", diagram(graph, **options))


def test_skips_are_dashed_and_show_their_scale():
    drawn = parsed(networks.residual(Scale(Fraction(9, 10), text="lam")))
    for edge_id, halves in drawn.lines.items():
        skip = edge_id in ("x1->x3", "x3->x5")
        assert {half["style"] for half in halves} == {"dashed" if skip else "solid"}
    assert drawn.labels.count("λ=0.9") == 2


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (Scale(1), "λ=1"),
        (Scale(-1), "λ=−1"),
        (Scale(Fraction(1, 3), text="1/3"), "λ=1/3=0.3333"),
        (Scale(2, text="width"), "width=2"),
        (Scale(0.5, text="beta"), "β=0.5"),
        (learnable("alpha", 0), "α=0, learnable"),
        (learnable("block.x3_scale", 1), "x3_scale=1, learnable"),
    ],
)
def test_a_scale_is_written_as_the_spec_spells_it(scale, text):
    assert text in parsed(networks.residual(scale)).labels


def test_without_a_target_arrows_point_forward():
    assert parsed(networks.residual()).defaults.get("dir") != "back"
    assert parsed(networks.residual(), wrt="x1").defaults.get("dir") == "back"


def test_an_arc_has_one_head_at_the_right_end():
    forward = parsed(networks.residual()).lines["x1->x3"]
    backward = parsed(networks.residual(), wrt="x1").lines["x1->x3"]
    assert [half.get("dir") == "none" for half in forward] == [True, False]
    assert [half.get("dir") == "none" for half in backward] == [False, True]


def test_width_grows_with_the_root_of_the_share():
    drawn = parsed(networks.residual(), flow=networks.residual_flow()).lines
    width = {edge_id: float(halves[0]["penwidth"]) for edge_id, halves in drawn.items()}
    assert width["x1->x3"] == pytest.approx(0.6 + 3.6 * math.sqrt(0.78), abs=0.01)
    assert width["x3->F3"] == pytest.approx(0.6 + 3.6 * math.sqrt(0.18), abs=0.01)


def test_shares_are_written_where_ways_part():
    texts = parsed(networks.residual(), flow=networks.residual_flow()).labels
    assert {"λ=1 · 78 %", "22 %", "λ=1 · 82 %", "18 %"} <= set(texts)
    assert texts.count("22 %") == 1, "not again along the branch"


def test_a_negative_share_has_a_minus_and_its_own_hue():
    flow = networks.residual_flow()
    shares = flow.shares | {"x1->x3": 1.3, "x1->F1": -0.3}
    text = diagram(networks.residual(), flow=dataclasses.replace(flow, shares=shares))
    drawn = read(text)
    assert {"λ=1 · 130 %", "−30 %"} <= set(drawn.labels)
    red, green, blue = (int(drawn.lines["x1->F1"][0]["color"][i : i + 2], 16) for i in (1, 3, 5))
    assert red > 2 * max(green, blue)
    assert "works against the sum" in text
    assert "works against the sum" not in diagram(networks.residual(), flow=flow)


def test_what_carries_nothing_is_grey_and_dotted():
    drawn = parsed(networks.dense_block(), wrt="H3").lines
    live = {edge_id for edge_id, halves in drawn.items() if halves[0]["style"] != "dotted"}
    assert {edge_id for edge_id in live if "->" in edge_id} == {
        "H3->H4",
        "H3->H5",
        "H4->H5",
        "H5->L",
    }
    assert all(half.get("dir") == "none" for half in drawn["H0->H5"])


def test_what_was_not_measured_is_grey():
    flow = dataclasses.replace(networks.residual_flow(), shares={"x5->L": 1.0}, norms={})
    text = diagram(networks.residual(), flow=flow)
    color = read(text).lines["F1->x2"][0]["color"]
    assert color[1:3] == color[3:5] == color[5:7]
    assert "grey line: not measured" in text
    assert "not measured" in read(text).lines["F1->x2"][0]["tooltip"]


def test_the_colour_scale_can_be_shared():
    narrow, wide = (
        parsed(networks.residual(), flow=networks.residual_flow(), norm_range=ends).lines
        for ends in ((-2, 0), (-9, 0))
    )
    assert narrow["x1->F1"][0]["color"] != wide["x1->F1"][0]["color"]
    assert narrow["x5->L"][0]["color"] != narrow["x1->F1"][0]["color"]


def test_alerts_have_a_border_an_icon_and_a_word():
    rms = {"x5": 1.0, "F1": math.nan, "F2": 0.0, "F3": 1e-9, "F4": 1e9}
    flow = dataclasses.replace(networks.residual_flow(), node_rms=rms)
    drawn = parsed(networks.residual(), flow=flow)
    words = {"F1": "NaN", "F2": "dead", "F3": "vanishing", "F4": "exploding"}
    plain = float(drawn.nodes["x2"].get("penwidth") or 1)
    for name, word in words.items():
        attributes = drawn.nodes[name]
        assert f"⚠ {word}" in attributes["label"]
        assert float(attributes["penwidth"]) > plain
    assert "⚠" not in drawn.nodes["x5"]["label"]


def test_a_box_says_whether_its_own_value_or_something_inside_is_alarming():
    outputs = {"head": 1.0}
    graph = networks.scaled_residual(20)
    for name, word in (("F10", "⚠ vanishing inside<"), ("x19", "⚠ vanishing<")):
        rms = outputs | {name: 1e-9}
        text = diagram(graph, flow=Flow(wrt="x0", node_rms=rms), max_nodes=10)
        assert text.count("⚠ vanishing") == 1
        assert word in text


def test_hover_tells_share_norm_and_number_of_paths():
    drawn = parsed(networks.residual(), flow=networks.residual_flow()).lines
    expected = "x1->x3 · λ=1 · skip · share 78 % · ‖cotangent‖ 0.5 · 2 paths"
    assert drawn["x1->x3"][0]["tooltip"] == expected


def test_title_and_facts_are_inside():
    flow = dataclasses.replace(networks.residual_flow(), source="predicted")
    text = diagram(networks.residual(), flow=flow)
    assert "<B>residual</B>   ∂L/∂x1 · 4 paths · predicted" in text
    facts = "CrossEntropyLoss · batch 4 · seed 0 · float64 · ‖∂L/∂x1‖ = 0.312"
    assert facts in text


def test_few_paths_are_listed_with_their_shares_and_many_are_not():
    text = diagram(networks.residual(), flow=networks.residual_flow())
    assert "x1 ← x3 ← x5 ← L" in text
    assert "66 %" in text
    assert "x1 ← x3 ← x5 ← L" in diagram(networks.residual(), wrt="x1"), "the paths themselves"
    assert " ← " not in diagram(networks.scaled_residual(), wrt="x0")
    rows = [PathRow("the only one")]
    assert "the only one" in diagram(networks.residual(), wrt="x1", paths=rows)


def test_the_histogram_has_a_bar_per_length():
    text = diagram(networks.scaled_residual(), wrt="x0")
    for length in range(9):
        assert f">{math.comb(8, length)}</FONT>" in text
    longest, shortest = (re.findall(r'WIDTH="(\d+)" HEIGHT="7"', text)[i] for i in (4, 0))
    assert int(longest) > int(shortest)


def test_a_long_histogram_is_binned_without_loss():
    text = diagram(networks.scaled_residual(100), wrt="x0", max_nodes=20)
    lengths = re.findall(r">(\d+)–(\d+)<", text)
    assert 10 <= len(lengths) <= 20
    assert (lengths[0][0], lengths[-1][1]) == ("102", "202")
    assert "2<SUP>100</SUP> paths" in text


def test_what_folding_hides_is_said():
    assert ">76 of 83 nodes folded</FONT>" in diagram(networks.scaled_residual(40))


def test_predicted_lengths_show_their_shares():
    text = diagram(networks.residual(), flow=networks.residual_flow())
    assert "gradient share" in text
    assert ">28 %</FONT>" in text, "no path has it alone"
    assert "gradient share" not in diagram(networks.residual(), wrt="x1")


def test_strange_names_stay_names():
    builder = GraphBuilder('we"ird <b>\\n')
    x = builder.input('a:b"<i>\\', (3,))
    y = builder.layer("<z>", lambda value: value, [x])
    clash = builder.layer("a;b", lambda value: value, [y])
    builder.layer("a,b", lambda value: value, [clash, Term(x)])
    drawn = parsed(builder.build())
    texts = " ".join(drawn.labels)
    for name in ("a:b&quot;&lt;i&gt;\\", "&lt;z&gt;", "a;b", "a,b"):
        assert name in texts
    assert len({node for node in drawn.nodes if not node.startswith("#")}) == 6


def test_every_edge_keeps_its_id():
    graph = networks.dense_block()
    ids = [edge["id"] for edge in parsed(graph).edges if edge.get("id")]
    assert sorted(ids) == sorted(edge.id for edge in graph.edges)


def test_the_same_graph_gives_the_same_text():
    first = diagram(networks.dense_block(7), wrt="H1")
    assert first == diagram(networks.dense_block(7), wrt="H1")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"wrt": "x9"}, TargetError, "no node, input or parameter 'x9'"),
        ({"wrt": "L"}, TargetError, "the loss itself"),
        ({"direction": "RL"}, UsageError, "neither 'LR' nor 'TB'"),
        ({"wrt": "x2", "flow": Flow(wrt="x1")}, UsageError, "of ∂L/∂x1, not of ∂L/∂x2"),
        ({"flow": Flow(wrt="x1", shares={"x1->x33": 1.0})}, TargetError, "did you mean 'x1->x3'"),
    ],
)
def test_wrong_use_is_explained(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        diagram(networks.residual(), **options)


def test_long_paths_are_shortened_where_they_are_alike():
    builder = GraphBuilder("long")
    linear = networks.call("Linear", out_features=4)
    x = builder.input("image", (4,))
    for i in range(8):
        x = builder.layer(f"a_layer_that_all_share_{i}", linear, [x])
    builder.layer("one", linear, [x])
    builder.layer("other", linear, [x])
    builder.layer("sum", None, ["one", "other"])
    graph = builder.build()
    text = diagram(graph, flow=Flow(wrt="image", paths=Routes(graph, "image").rows(8)))
    for way in ("one", "other"):
        assert f"image ← … ← {way} ← … ← L" in text
