"""Bounds hold, are what they should be where that is known, and say where there is none."""

from __future__ import annotations

import math

import pytest
import torch

from archgraph.graph import Graph
from archgraph.prediction import predict
from archgraph.prediction.bounds import RISK, slope_bound
from archgraph.spec import load, parse
from tests.prediction.networks import SPECS, network

torch.set_num_threads(1)


def graph_of(text: str) -> Graph:
    return parse(f"archgraph: 1\nname: net\n{text}".encode(), file="net.yaml")


@pytest.mark.parametrize("name", SPECS)
def test_no_gradient_exceeds_its_bound(name: str) -> None:
    prediction = predict(network(name), method="draws", samples=20)
    for node, found in prediction.nodes.items():
        assert (found.bound is None) == (found.bound_reason is not None), node
        if found.bound is not None:
            assert found.energy <= found.bound * (1 + 1e-9), node


def test_bounds_alone_need_no_samples() -> None:
    prediction = predict(load("residual"), method="bounds")
    assert prediction.samples == 0
    assert prediction.nodes["x1"].energy is None
    assert prediction.nodes["x1"].bound > 1


def test_a_constant_matrix_is_bounded_by_its_norm() -> None:
    graph = graph_of("inputs: {x: [4]}\nlayers: {y: {op: Linear(9), init: {weight: 0.5, bias: 0}}}")
    assert predict(graph, method="bounds").nodes["x"].bound == pytest.approx((0.5 * 6) ** 2)


def test_a_gaussian_matrix_is_bounded_by_its_size() -> None:
    graph = graph_of("inputs: {x: [4]}\nlayers: {y: {op: Linear(9), init: {weight: normal}}}")
    excess = math.sqrt(2 * math.log(1 / RISK))
    assert predict(graph, method="bounds").nodes["x"].bound == pytest.approx((2 + 3 + excess) ** 2)


def test_paths_add_up_and_scales_multiply() -> None:
    graph = graph_of("inputs: {x: [4]}\nlayers: {s: Sigmoid(), y: 3*s + 0.5*x, z: Affine(-2)}")
    assert predict(graph, method="bounds").nodes["x"].bound == pytest.approx((2 * 1.25) ** 2)


def test_a_gate_is_bounded_by_what_opens_it() -> None:
    graph = graph_of(
        "inputs: {x: [4], g: [4]}\nlayers: {s: Tanh()(g), t: Sigmoid()(g), y: 3*t*s + (1 - t)*s}"
    )
    nodes = predict(graph, method="bounds").nodes
    assert nodes["s"].bound == pytest.approx((3 + 1) ** 2)
    assert nodes["x"].bound == 0
    open_gate = graph_of("inputs: {x: [4], g: [4]}\nlayers: {y: x*g}")
    assert predict(open_gate, method="bounds").nodes["x"].bound is None


@pytest.mark.parametrize(
    ("layer", "bound"),
    [
        ("AvgPool1d(2)", 0.5),
        ("AvgPool1d(4, stride=1)", 1.0),
        ("MaxPool1d(3, stride=1)", 3.0),
        ("Mean(2)", 1 / 8),
        ("Flatten()", 1.0),
        ("ConstantPad1d((1, 2), 5)", 1.0),
        ("Upsample(scale_factor=2)", 2.0),
        ("Dropout(0.5)", 4.0),
    ],
)
def test_layers_that_move_numbers(layer: str, bound: float) -> None:
    graph = graph_of(f'inputs: {{x: [2, 8]}}\nlayers: {{y: "{layer}"}}')
    assert predict(graph, method="bounds").nodes["x"].bound == pytest.approx(bound)


def test_what_has_no_bound_says_why() -> None:
    graph = graph_of("inputs: {x: [8]}\nlayers: {a: Linear(8), b: LayerNorm(), c: Linear(8)}")
    nodes = predict(graph, method="bounds").nodes
    assert nodes["b"].bound is not None
    assert nodes["a"].bound is None
    assert nodes["x"].bound_reason == "'b': a norm divides by what it reads, which may be small"


@pytest.mark.parametrize(
    ("act", "slope"),
    [
        (torch.nn.Sigmoid(), 0.25),
        (torch.nn.Tanh(), 1.0),
        (torch.nn.ReLU(), 1.0),
        (torch.nn.LeakyReLU(2.0), 2.0),
        (torch.nn.GELU(), 1.128904145),
        (torch.nn.SiLU(), 1.099839320),
    ],
)
def test_largest_slopes(act: torch.nn.Module, slope: float) -> None:
    assert slope_bound(act) == pytest.approx(slope, abs=1e-8)
