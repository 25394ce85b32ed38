"""The finite-width sampler against real networks, and against itself with matrices drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from archgraph.graph import Graph
from archgraph.ops import OpCall, catalogue
from archgraph.prediction import Prediction, predict
from archgraph.spec import load, parse
from tests.prediction import oracle
from tests.prediction.architectures import BATCH, HE, LAYERS, architecture, real
from tests.prediction.networks import SPECS, network

torch.set_num_threads(1)


def z_score(a: float, error_a: float, b: float, error_b: float) -> float:
    return (a - b) / math.hypot(error_a, error_b)


def _is_matrix(name: str) -> bool:
    return name.endswith(("z.weight", "F.weight"))


def assert_ratio(prediction: Prediction, found: dict[str, Tensor]) -> None:
    """Energy at x, and size of the first weight's gradient: |z| < 3."""
    base = found["output"].mean()
    value = found["x"].mean() / base
    error = float((found["x"] / base - value * found["output"] / base).std())
    node = prediction.nodes["x"]
    count = math.sqrt(len(found["x"]))
    assert abs(z_score(node.energy, node.standard_error, float(value), error / count)) < 3
    weight = next(p for name, p in prediction.parameters.items() if _is_matrix(name))
    first = found["weight"]
    norm = float(first.mean().sqrt())
    norm_error = float(first.std()) / count / (2 * norm)
    relative = weight.standard_error / weight.rms
    assert abs(z_score(weight.norm, relative * weight.norm, norm, norm_error)) < 3


# 42 comparisons at |z| < 3 on other seeds: one in nine runs would fail by chance.
@pytest.mark.parametrize("width", [32, 64, 128])
@pytest.mark.parametrize("name", [*LAYERS, "dense"])
def test_conditioned_matrices_against_real_networks(name: str, width: int) -> None:
    networks = {32: 2000, 64: 1000, 128: 400}[width]
    prediction = predict(
        architecture(name, width),
        method="finite",
        batch=BATCH,
        samples=networks,
        matrices="conditioned",
        seed=width,
    )
    assert_ratio(prediction, real(name, width, networks))


@pytest.mark.parametrize("act", ["Tanh", "ReLU", "Sigmoid"])
def test_the_notes_program_before_it_runs(act: str) -> None:
    """Every layer within 10 %; 1,200 networks on either side, about 3 % each."""
    function = {"Tanh": torch.tanh, "ReLU": torch.relu, "Sigmoid": torch.sigmoid}[act]
    graph = load("gradient_flow_demo", act=act)
    prediction = predict(graph, method="finite", batch=32, samples=1200)
    measured = oracle.note_program(function, networks=1200, seed=1)
    names = [*(f"fc{i}.weight" for i in range(1, 11)), "head.weight"]
    for name, norm in zip(names, measured, strict=True):
        assert prediction.parameters[name].norm == pytest.approx(norm, rel=0.1), name
    published = {"Tanh": 8.17e-3, "ReLU": 3.7e-4, "Sigmoid": 8.8e-9}[act]
    assert prediction.parameters["fc1.weight"].norm == pytest.approx(published, rel=0.1)


def assert_predictions_agree(one: Prediction, other: Prediction, largest: float) -> None:
    """Every energy, moment, share and parameter's gradient: |z| below `largest`."""
    pairs = [
        (name, a, b)
        for kind, fields in {
            "nodes": (("energy", "standard_error"), ("second_moment", "second_moment_error")),
            "parameters": (("rms", "standard_error"),),
            "edges": (("energy", "standard_error"), ("share", "share_error")),
        }.items()
        for value, error in fields
        for name in getattr(other, kind)
        for a, b in [
            [
                (getattr(item, value), getattr(item, error) or 0.0)
                for item in (getattr(one, kind)[name], getattr(other, kind)[name])
            ]
        ]
    ]
    assert pairs
    for name, (a, error_a), (b, error_b) in pairs:
        if a is None or b is None:
            assert a is b, name
            continue
        # What is zero but for rounding has a rounding error only, and no sampling error.
        slack = 1e-6 * max(abs(a), abs(b)) + 1e-12
        error = math.hypot(error_a, error_b)
        assert abs(a - b) < largest * error + slack, (name, a, b, error)


# About 60 correlated comparisons each at |z| < 4.5: one in 3,000 runs would fail by chance.
@pytest.mark.parametrize("name", SPECS)
def test_every_kind_of_layer_against_real_networks(name: str) -> None:
    graph = network(name)
    simulated = predict(graph, method="finite", samples=400, seed=3)
    drawn = predict(graph, method="draws", samples=100, seed=4)
    assert set(simulated.parameters) == set(drawn.parameters)
    assert set(simulated.edges) == set(drawn.edges)
    assert_predictions_agree(simulated, drawn, 4.5)


@pytest.mark.parametrize("name", ["residual", "rezero", "highway"])
def test_drawn_and_conditioned_matrices_agree(name: str) -> None:
    params = {} if name == "residual" else {"depth": 3, "width": 24}
    graph = load(name, **params)
    graph = _with_gaussian_weights(graph)
    one = predict(graph, method="finite", samples=1000, matrices="drawn", seed=1)
    other = predict(graph, method="finite", samples=1000, matrices="conditioned", seed=2)
    assert_predictions_agree(one, other, 4.5)


def _with_gaussian_weights(graph: Graph) -> Graph:
    normal = OpCall(catalogue.initialiser("xavier_normal"), ())
    return replace(graph, init=(("weight", normal), ("bias", 0)))


@pytest.mark.parametrize("width", [64, 128])
def test_a_typical_network_is_smaller_than_the_mean(width: int) -> None:
    """ln energy of a He ReLU net: mean −β/2 and variance β, β = 5Σ1/n, to leading order in 1/n."""
    depth, samples = 10, 1500
    text = f"""
archgraph: 1
name: net
inputs: {{x: [{width}]}}
blocks: {{block: {{layers: {{z: Linear({width}), a: ReLU()}}}}}}
layers: {{h: {{op: block(), repeat: {depth}}}}}
{HE}
"""
    graph = parse(text.encode(), file="relu.yaml")
    node = predict(graph, method="finite", batch=1, samples=samples).nodes["x"]
    beta = 5 * depth / width
    assert abs(node.energy - 1) < 4 * node.standard_error
    assert abs(node.log_energy + beta / 2) < 4 * node.log_standard_error + 0.1 * beta / 2
    variance = node.log_standard_error**2 * samples
    assert variance == pytest.approx(beta, rel=4 * math.sqrt(2 / samples) + 0.1)
