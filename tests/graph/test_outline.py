"""The folded list of a network."""

from __future__ import annotations

from archgraph.graph import GraphBuilder
from archgraph.graph.outline import outline
from archgraph.ops import parse_call
from archgraph.spec import parse

SPEC = """
archgraph: 1
inputs: {x: [8]}
blocks:
  unit: {params: {n: 8}, layers: {fc: Linear(n), a: ReLU, out: input + a}}
  wide: {layers: {a: Linear(4), b: Linear(8)}}
layers:
  h: {op: unit(), repeat: 4}
  p: {op: Linear(8), when: false}
  w: wide()
  v: wide()
  g: {layers: {"0": Tanh, y: 2*w + v}}
"""


def listed(graph):
    return [("  " * line.depth + line.name, line.what, len(line.nodes)) for line in outline(graph)]


def test_what_is_alike_is_listed_once():
    assert listed(parse(SPEC)) == [
        ("h", "× 4", 12),
        ("  0", "unit()", 3),
        ("    fc", "Linear(8)", 1),
        ("    a", "ReLU()", 1),
        ("    out", "add", 1),
        ("  1 … 3", "3 × as 0", 9),
        ("p", "off", 0),
        ("w", "wide()", 2),
        ("  a", "Linear(4)", 1),
        ("  b", "Linear(8)", 1),
        ("v", "wide(), inside as w", 2),
        ("g", "group", 2),
        ("  0", "Tanh()", 1),
        ("  y", "add", 1),
    ]


def test_other_sizes_are_not_folded_into_one_line():
    lines = listed(parse(SPEC.replace("op: unit(), repeat: 4", "op: unit(8 + 0*i), repeat: 2")))
    assert ("  1", "as 0", 3) in lines
    text = SPEC.replace(
        "layers: {fc: Linear(n), a: ReLU, out: input + a}", "layers: {fc: Linear(n)}"
    )
    lines = listed(parse(text.replace("op: unit(), repeat: 4", "op: unit(8*(i + 1)), repeat: 2")))
    assert ("  1", "unit(n=16), inside as h.0", 1) in lines or ("  1", "unit(n=16)", 1) in lines


def test_every_layer_is_in_one_line_or_another():
    graph = parse(SPEC)
    assert {n for line in outline(graph) for n in line.nodes} == {
        node.name for node in graph.nodes if node.kind == "layer"
    }


def test_what_is_read_is_said():
    lines = {line.name: line.reads for line in outline(parse(SPEC))}
    assert lines["y"] == ("2·w.b", "v.b")
    assert lines["p"] == ("h.3.out",)


def test_a_flat_graph_is_listed_flat():
    builder = GraphBuilder("flat")
    builder.input("x", (2,))
    builder.layer("y", parse_call("Linear(2)"), ["x"])
    assert listed(builder.build()) == [("y", "Linear(2)", 1)]


LADDER = """
archgraph: 1
inputs: {x: [8]}
blocks:
  rung: {inputs: [all, below], layers: {fc: "Linear(8)(all + below)"}}
layers:
  a: Linear(8)
  y: {op: "rung()(a, y[i - 1] if i > 0 else x)", repeat: 5}
  z: {op: "Linear(8)(y if i < 2 else z[i - 2])", repeat: 6}
"""


def test_copies_that_read_differently_are_not_folded_together():
    lines = [(line.name, line.what, line.reads) for line in outline(parse(LADDER))]
    assert lines == [
        ("a", "Linear(8)", ("x",)),
        ("y", "× 5", ()),
        ("0", "rung()", ("a", "x")),
        ("fc", "Linear(8)", ("a", "x")),
        ("1", "rung()", ("a", "y.0.fc")),
        ("fc", "Linear(8)", ("a", "y.0.fc")),
        ("2 … 4", "3 × as 1", ("a", "y.1.fc", "…")),
        ("z", "× 6", ()),
        ("0", "Linear(8)", ("y.4.fc",)),
        ("1", "as 0", ("y.4.fc",)),
        ("2", "Linear(8)", ("z.0",)),
        ("3 … 5", "3 × as 2", ("z.1", "…")),
    ]
