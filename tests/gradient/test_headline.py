"""Headline numbers against sums over listed paths and against hand-computed networks."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archgraph.gradient import decompose, fold_edges, headline, path_gradients
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.ops import parse_call as call
from archgraph.paths import count_paths
from archgraph.spec import load
from tests.gradient.networks import recorded
from tests.gradient.test_flow import Once
from tests.strategies import graphs, residual_graph, target_names


@settings(max_examples=40, deadline=None)
@given(graph=graphs(), choice=st.integers(0, 10**6))
def test_means_over_paths_are_those_of_the_listed_paths(graph, choice):
    targets = target_names(graph)
    wrt = targets[choice % len(targets)]
    assume(0 < count_paths(graph, wrt) <= 200)
    tape = recorded(graph)
    found = headline(tape, wrt)
    paths = list(path_gradients(tape, wrt))
    whole = sum(gradient for _, gradient in paths)
    assert found.norm == pytest.approx(float(whole.norm()), abs=1e-13)
    assert found.rms == pytest.approx(float(whole.square().mean().sqrt()), abs=1e-13)
    assume(found.effective_depth is not None)
    square = float((whole * whole).sum())
    shares = [float((gradient * whole).sum()) / square for _, gradient in paths]
    size = 1e-10 * sum(map(abs, shares)) * 20

    def mean(number):
        return sum(share * number(path) for share, (path, _) in zip(shares, paths, strict=True))

    assert found.effective_depth == pytest.approx(mean(lambda p: p.weights), abs=size)
    assert found.direct_share == pytest.approx(
        mean(lambda p: not any(e.role == "branch" for e in p.edges)), abs=size
    )
    skips = mean(lambda p: p.skips)
    both = skips + mean(lambda p: sum(e.role == "branch" for e in p.edges))
    if found.skip_share is not None and abs(both) > 1e-3:
        assert found.skip_share == pytest.approx(skips / both, abs=1e-6)


def test_a_scaled_chain_by_hand():
    b = GraphBuilder("hand")
    state = b.input("x", (2,))
    for i in range(3):
        value = b.layer(f"F{i}", call("Linear(2, bias=False)"), [state])
        state = b.layer(f"s{i}", None, [value, Term(state, Scale(2))])
    graph = b.build()
    tape = recorded(graph)
    import torch

    from archgraph.gradient import record

    with torch.no_grad():
        for parameter in tape.module.parameters():
            parameter.copy_(torch.eye(2))
    found = headline(record(graph, tape.module, tape.batch), "x")
    # Each block multiplies by 1 + 2, of which 2 goes by the skip.
    assert found.effective_depth == pytest.approx(1)
    assert found.skip_share == pytest.approx(2 / 3)
    assert found.direct_share == pytest.approx(8 / 27)
    assert found.block_gains_db == pytest.approx({f"s{i}": 20 * math.log10(3) for i in range(3)})
    assert found.gain_db_per_block == pytest.approx(9.5424, rel=1e-4)
    assert found.norm == pytest.approx(27 * float(tape.batch.targets[0].norm()))


def test_gains_are_those_of_the_blocks_of_a_spec():
    graph = load("resnet", depth=18, size=32)
    tape = recorded(graph)
    found = headline(tape, "conv1")
    assert list(found.block_gains_db) == [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]
    nodes = {part.key: part.norm for part in decompose(tape, "conv1", "node").parts}
    expected = 20 * math.log10(nodes["maxpool"] / nodes["layer1.0.out"])
    assert found.block_gains_db["layer1.0"] == pytest.approx(expected)


def test_a_network_without_skips():
    b = GraphBuilder("plain")
    b.input("x", (2,))
    b.layer("fc", call("Linear(2)"), ["x"])
    b.layer("y", call("Tanh()"), ["fc"])
    found = headline(recorded(b.build()), "x")
    assert (found.effective_depth, found.direct_share) == (1, 1)
    assert (found.skip_share, found.gain_db_per_block) == (None, None)
    assert found.to_dict()["block_gains_db"] == {}


def test_of_a_gradient_that_is_zero():
    b = GraphBuilder("cancel")
    b.input("x", (2,))
    b.layer("y", None, ["x", Term("x", Scale(-1))])
    found = decompose(recorded(b.build()), "x", "edge").headline
    assert found.norm == 0
    assert (found.effective_depth, found.skip_share, found.direct_share) == (None, None, None)


def test_what_cannot_be_pushed_forward_has_no_headline_but_its_paths():
    b = GraphBuilder("once")
    b.input("x", (2,))
    b.layer("custom", lambda value: Once.apply(value), ["x"])
    b.layer("y", call("Tanh()"), ["custom"])
    found = decompose(recorded(b.build()), "x", "weights")
    assert found.headline is None
    assert found.note.startswith("no headline numbers: edges cannot be split: 'custom' cannot be")
    assert decompose(recorded(b.build()), "x", "path", headlines=False).note is None


def test_edges_folded_by_block():
    graph = load("resnet", depth=18, size=32)
    found = decompose(recorded(graph), "conv1", "edge")
    rows = fold_edges(graph, found)
    assert {row.name for row in rows} == {f"layer{i}.{j}" for i in range(1, 5) for j in range(2)}
    assert [abs(row.branch) for row in rows] == sorted((abs(r.branch) for r in rows), reverse=True)
    assert all(row.skip + row.branch == pytest.approx(1) for row in rows)
    shares = {part.key: part.share for part in found.parts}
    row = next(row for row in rows if row.name == "layer1.0")
    assert row.skip == shares["maxpool->layer1.0.out"]


def test_merges_that_are_not_alone_in_their_block_keep_their_names():
    graph = load("gpt2", depth=1, d=8, heads=2, vocab=11, context=5)
    names = [row.name for row in fold_edges(graph, decompose(recorded(graph), "wte", "edge"))]
    assert sorted(names) == ["h.0.mid", "h.0.out"]


def test_without_skips_there_is_nothing_to_fold():
    b = GraphBuilder("plain")
    b.input("x", (2,))
    b.layer("y", call("Linear(2)"), ["x"])
    graph = b.build()
    assert fold_edges(graph, decompose(recorded(graph), "x", "edge")) == []
    assert fold_edges(residual_graph(2), decompose(recorded(residual_graph(2)), "x", "edge"))
