from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given, settings

from archgraph.errors import SpecError, TargetError, UsageError
from archgraph.graph import GraphBuilder, Node, assemble, learnable
from archgraph.graph.records import Edge, LossTerm
from archgraph.graph.summary import summarize
from archgraph.ops import opaque
from archgraph.ops.calls import parse_call
from archgraph.spec import load
from tests.strategies import graphs


def small():
    builder = GraphBuilder("small")
    x = builder.input("x", (4,))
    f = builder.layer("f", parse_call("Linear(4)"), [x])
    builder.layer("y", opaque(lambda value: value), [f, f, x])
    return builder.build()


def test_edge_ids_name_parallel_edges_and_ports():
    assert [e.id for e in small().edges] == ["x->f", "f->y", "f->y#1", "x->y", "y->L"]


def test_the_multidigraph_is_the_same_graph_and_frozen():
    graph = small()
    assert [(u, v, k) for u, v, k in graph.nx.edges(keys=True)] == [
        (e.source, e.target, e.id)
        for e in sorted(graph.edges, key=lambda e: graph.sources[e.index])
    ]
    assert nx.is_directed_acyclic_graph(graph.nx)
    with pytest.raises(nx.NetworkXError, match="rozen"):
        graph.nx.add_edge("a", "b")


@settings(deadline=None, max_examples=60)
@given(graphs())
def test_arrays_agree_with_networkx(graph):
    for node in graph.nodes:
        assert sorted(e.id for e in graph.edges_out_of(node.name)) == sorted(
            k for _, _, k in graph.nx.out_edges(node.name, keys=True)
        )
        assert sorted(graph.edges[i].id for i in graph.into[graph.position(node.name)]) == sorted(
            k for _, _, k in graph.nx.in_edges(node.name, keys=True)
        )
        assert graph.reaches_loss(node.name) == nx.has_path(graph.nx, node.name, "L")
    ends = list(zip(graph.sources, graph.targets, strict=True))
    assert all(u < v for u, v in ends)


def test_parameters_and_who_uses_them():
    builder = GraphBuilder("p")
    x = builder.input("x", (4,))
    f = builder.layer("f", parse_call("Linear(4, bias=False)"), [x])
    builder.layer("y", None, [f, x], merge="add")
    builder.layer("z", None, ["y"])
    graph = builder.build()
    assert dict(graph.parameter_users) == {"f.weight": ((1, None),)}
    scaled = GraphBuilder("s")
    x = scaled.input("x", (4,))
    from archgraph.graph import Term

    scaled.layer("y", None, [x, Term(x, learnable("alpha", 0.5))])
    assert dict(scaled.build().parameter_users) == {"alpha": ((1, 1),)}


def test_unknown_names_are_explained():
    with pytest.raises(TargetError, match="did you mean 'f'"):
        small().node("ff")
    with pytest.raises(TargetError, match="has no edge 'x->ff'; did you mean 'x->f'"):
        small().edge("x->ff")


def test_a_cycle_is_explained():
    nodes = [Node(name="x", kind="input", shape=(2,)), Node(name="a"), Node(name="b")]
    edges = [
        Edge(source="x", target="a", kind="add"),
        Edge(source="b", target="a", kind="add", slot=1),
        Edge(source="a", target="b"),
    ]
    with pytest.raises(SpecError, match="edges form a cycle: a → b → a"):
        assemble("loop", nodes, edges, [("b", "b")], [LossTerm("b", "b")])


def test_nodes_out_of_order_are_put_in_order():
    nodes = [Node(name="x", kind="input", shape=(2,)), Node(name="b"), Node(name="a")]
    edges = [Edge(source="x", target="a"), Edge(source="a", target="b")]
    graph = assemble("g", nodes, edges, [("b", "b")], [LossTerm("b", "b")])
    assert [n.name for n in graph.nodes] == ["x", "a", "b", "L"]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda b: b.layer("x", None, ["x"]), "the name 'x' is taken"),
        (lambda b: b.layer("L", None, ["x"]), "the name 'L' is taken"),
        (lambda b: b.layer("y", None, ["z"]), "reads 'z', which does not exist yet"),
        (lambda b: b.layer("y", None, []), "layer 'y' reads nothing"),
        (lambda b: b.output("z"), "output 'z' is not a node"),
    ],
)
def test_the_builder_refuses(build, message):
    builder = GraphBuilder("g")
    builder.input("x", (2,))
    with pytest.raises(UsageError, match=message):
        build(builder)


def test_a_builder_without_nodes_builds_nothing():
    with pytest.raises(UsageError, match="at least one node"):
        GraphBuilder("g").build()


def test_summary():
    rows = summarize(load("residual", lam=0.5)).to_dict()
    assert (rows["nodes"], rows["edges"], rows["inputs"], rows["outputs"]) == (
        10,
        11,
        ["x1"],
        ["x5"],
    )
    assert rows["layers"][3] == {
        "name": "x3", "op": "ReLU()", "from": ["F2", "lam·x1"], "shape": None, "parameters": None,
    }  # fmt: skip
    assert rows["parameters"] is None
