"""A measured gradient as a drawing shows it: shares by edge, by path length, alerts."""

import math

import pytest
import torch

from archgraph.gradient import path_gradients, run_once
from archgraph.paths import count_histograms
from archgraph.picture.diagram import diagram
from archgraph.picture.measured import measured_flow
from archgraph.spec import load, parse
from tests.picture import networks


@pytest.mark.parametrize("wrt", ["x0", "x.2.F.weight", "x.3.out"])
def test_shares_by_length_are_those_of_the_paths(wrt):
    graph = load("scaled_residual", width=4)
    flow = measured_flow(graph, wrt)
    assert set(flow.length_shares) == set(count_histograms(graph, wrt).edges)
    assert math.fsum(flow.length_shares.values()) == pytest.approx(1, abs=1e-9)
    expected = dict.fromkeys(flow.length_shares, 0.0)
    tape = run_once(graph, batch=4, seed=0)
    found = [(path, gradient.flatten()) for path, gradient in path_gradients(tape, wrt)]
    total = torch.stack([gradient for _, gradient in found]).sum(dim=0)
    for path, gradient in found:
        expected[path.length] += float(gradient @ total / (total @ total))
    assert flow.length_shares == pytest.approx(expected, abs=1e-9)


def test_long_paths_are_only_counted():
    flow = measured_flow(networks.scaled_residual(45), "x0")
    assert flow.length_shares == {}
    assert flow.paths == ()
    assert flow.count == 2**45


def test_a_gradient_that_vanishes_is_marked_with_the_word():
    text = """archgraph: 1
name: vanishing
inputs: {x: [4]}
layers:
  a: {op: Linear(4), repeat: 3, init: {weight: 0.001, bias: 0}}
  y: Linear(2)
"""
    graph = parse(text, file="vanishing.yaml")
    flow = measured_flow(graph, "x")
    # W is 0.001 everywhere, so each layer multiplies the size per element by at most 0.004.
    assert flow.node_rms["a.0"] < 1e-3 * flow.node_rms["y"] < flow.node_rms["a.2"] * 10
    drawn = diagram(graph, flow=flow)
    assert "⚠ vanishing" in drawn
    assert "vanishing: &lt; 0.001 × the outputs&#x27;, per element and in all" in drawn
