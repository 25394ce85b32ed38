"""Conservation on the networks that ship, at every node and every cut."""

from __future__ import annotations

import pytest
import torch

from archgraph.gradient import decompose, edge_flow, record, run_once
from archgraph.graph import LOSS
from archgraph.module.build import compile as compile_graph
from archgraph.module.loss import draw
from archgraph.paths.target import resolve
from archgraph.spec import load

torch.set_num_threads(1)

NETWORKS = {
    "resnet": ({"size": 32, "classes": 10}, "conv1.weight"),
    "densenet": ({"size": 32, "k": 4, "classes": 10}, "features.conv0.weight"),
    "vit_b_16": ({"depth": 3, "width": 24, "attention_heads": 3, "size": 48}, "conv_proj.weight"),
    "gpt2": ({"depth": 2, "d": 24, "heads": 3, "vocab": 61, "context": 12}, "wte.weight"),
    "rnn": ({}, "h.W.weight"),
    "unet": ({"depth": 3, "c": 4, "size": 32}, "input"),
}


def taped(name, *, train):
    """A pass of a network of the zoo, small, none of its layers at zero."""
    settings, wrt = NETWORKS[name]
    graph = load(name, **{key: value for key, value in settings.items() if key in known(name)})
    module = compile_graph(graph, seed=0, dtype=torch.float64)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():  # a head that starts at zero passes nothing back
                parameter.normal_(std=0.05)
    drawn = draw(graph, batch=2, seed=0, dtype=torch.float64)
    wrt = graph.inputs[0].name if wrt == "input" else wrt
    return record(graph, module, drawn, train=train, seed=0), wrt


def known(name):
    return load(name).params


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_shares_are_conserved_at_every_node_and_cut(name, train):
    tape, wrt = taped(name, train=train)
    graph = tape.graph
    found = edge_flow(tape, wrt)
    assert found.note is None
    assert found.residual <= 1e-10
    entries = [(edge_id, position) for edge_id, position, _ in resolve(graph, wrt).entries]
    start = graph.positions.get(wrt, -1)
    for place in range(start, graph.loss_position):
        crossing = [found.shares[edge] for edge, to in entries if to > place and start < 0]
        crossing += [
            found.shares[edge.id]
            for edge in graph.edges
            if edge.id in found.shares
            and graph.sources[edge.index] <= place < graph.targets[edge.index]
        ]
        assert abs(sum(crossing) - 1) <= 1e-10 * max(1, sum(map(abs, crossing)))
    for node in graph.nodes:
        into = [found.shares.get(e.id, 0.0) for e in graph.edges_into(node.name)]
        into += [found.shares[edge] for edge, to in entries if graph.nodes[to] is node]
        out = [found.shares.get(e.id, 0.0) for e in graph.edges_out_of(node.name)]
        size = max(1, sum(map(abs, into)), sum(map(abs, out)))
        if node.name in found.node_shares and node.name not in (wrt, LOSS):
            assert abs(sum(into) - sum(out)) <= 1e-10 * size
            assert abs(sum(out) - found.node_shares[node.name]) <= 1e-10 * size


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_grades_add_up(name):
    tape, wrt = taped(name, train=True)
    found = decompose(tape, wrt, "weights")
    assert found.residual <= 1e-10
    mean = sum(part.key * part.share for part in found.parts)
    assert mean == pytest.approx(found.headline.effective_depth, rel=1e-6)


def test_float32_is_conserved_as_far_as_it_can_be():
    for name in ("densenet", "gpt2"):
        settings, wrt = NETWORKS[name]
        tape = run_once(load(name, **settings), batch=4, dtype="float32", train=True)
        single = decompose(tape, wrt, "edge", headlines=False)
        assert single.residual <= 1e-4
        double = decompose(
            run_once(load(name, **settings), batch=4, train=True), wrt, "edge", headlines=False
        )
        for one, other in zip(single.parts, double.parts, strict=True):
            assert one.share == pytest.approx(other.share, abs=2e-2)


def test_a_zero_head_leaves_no_shares():
    graph = load("vit_b_16", depth=1, width=24, attention_heads=3, size=32)
    module = compile_graph(graph, seed=0, dtype=torch.float64)
    torch.nn.init.zeros_(module.get_parameter("heads.head.weight"))
    tape = record(graph, module, draw(graph, batch=2, dtype=torch.float64))
    found = decompose(tape, "conv_proj", "edge")
    assert found.norm == 0
    assert {part.share for part in found.parts} == {None}
    assert found.note == "∂L/∂conv_proj is exactly zero, so shares are not defined"
