"""Predictions that are right pass, and each kind of wrong one fails."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

import archgraph
from archgraph.checking import statistics
from archgraph.checking.statistics import affordable_networks, check_statistics, holm
from archgraph.errors import UsageError
from archgraph.graph import Graph
from archgraph.prediction import Prediction, predict, weights
from archgraph.spec import load, parse
from tests.prediction.networks import SPECS, network

torch.set_num_threads(1)


# Each verdict is wrong by chance once in a thousand; the seeds are fixed.
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", SPECS)
def test_right_predictions_hold(name: str, train: bool) -> None:
    found = check_statistics(network(name), networks=60, train=train, method="finite")
    assert found.ok, found.rejected
    assert found.method == "finite"


def test_rows_cover_nodes_and_parameters() -> None:
    graph = load("residual")
    found = check_statistics(graph, networks=20)
    expected = {node.name for node in graph.nodes[:-1]} | set(graph.parameter_users)
    assert set(found.rows) == expected


def planted(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    def wrong(graph: Graph, **options: Any) -> Prediction:
        return change(predict(graph, **options))

    monkeypatch.setattr(statistics, "predict", wrong)


def test_a_wrong_energy_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(found: Prediction) -> Prediction:
        x1 = replace(found.nodes["x1"], energy=2 * found.nodes["x1"].energy)
        return replace(found, nodes={**found.nodes, "x1": x1})

    planted(monkeypatch, change)
    found = check_statistics(load("residual"), networks=100)
    assert not found.ok
    assert found.rejected == ["x1"]
    assert found.to_dict()["x1"]["ok"] is False
    assert found.to_dict()["x3"]["ok"] is True


def test_a_wrong_parameter_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(found: Prediction) -> Prediction:
        wrong = replace(found.parameters["F2.bias"], rms=found.parameters["F2.bias"].rms / 2)
        return replace(found, parameters={**found.parameters, "F2.bias": wrong})

    planted(monkeypatch, change)
    assert check_statistics(load("residual"), networks=100).rejected == ["F2.bias"]


def test_a_number_that_is_certain_must_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(found: Prediction) -> Prediction:
        output = replace(found.nodes["x5"], energy=1 + 1e-5)
        return replace(found, nodes={**found.nodes, "x5": output})

    planted(monkeypatch, change)
    assert check_statistics(load("residual"), networks=20).rejected == ["x5"]


def test_a_sampler_that_forgets_a_correlation_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """L = ½‖x_L‖² reads its features: fresh signs on the way back give 1 instead of 28.6."""
    text = """
archgraph: 1
name: features
inputs: {x: [32]}
blocks: {block: {layers: {z: Linear(32), a: ReLU()}}}
layers: {h: {op: block(), repeat: 6}}
init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}
loss: MSELoss(reduction='sum')
"""
    graph = parse(text.encode(), file="features.yaml")
    assert conditioned(graph, monkeypatch).ok

    def forgetful(self: weights.ConditionedCore, cotangents: torch.Tensor) -> torch.Tensor:
        root, _ = weights.roots(cotangents @ cotangents.mT)
        return root @ (self.std * torch.randn(*root.shape[:-1], self.basis.shape[-1]))

    monkeypatch.setattr(weights.ConditionedCore, "backward", forgetful)
    assert not conditioned(graph, monkeypatch).ok


def conditioned(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> statistics.Statistics:
    with monkeypatch.context() as patch:
        patch.setattr(statistics, "predict", lambda g, **o: predict(g, **o, matrices="conditioned"))
        return check_statistics(graph, networks=200, method="finite")


def test_the_limit_has_its_bias_term() -> None:
    graph = load("residual")
    found = check_statistics(graph, networks=100, method="limit")
    assert found.method == "limit"
    assert found.rows["x1"].bias > 0.1
    assert found.ok
    assert all(row.bias == 0 for row in check_statistics(graph, networks=4).rows.values())


def test_what_is_only_rounding_says_nothing() -> None:
    """A bias before a BatchNorm has no gradient."""
    text = "archgraph: 1\nname: n\ninputs: {x: [8]}\nlayers: {a: Linear(8), b: BatchNorm1d()}"
    graph = parse(text.encode(), file="n.yaml")
    found = check_statistics(graph, networks=30, train=True, batch=8)
    assert found.rows["a.bias"].measured < 1e-14
    assert found.ok


def test_a_measurement_that_is_not_finite_fails() -> None:
    assert statistics._distance(1.0, math.nan, 0.1, 0.0, 0.0) == math.inf
    assert statistics._distance(1.0, 1.0, 0.0, 0.0, 0.0) == 0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_verdicts_are_wrong_as_rarely_as_they_say() -> None:
    """Of Gaussian rows, 5 % of the families at level 0.05: 2,000 of them, 4 standard errors."""
    generator = torch.Generator().manual_seed(1)
    draws = torch.randn(2000, 20, generator=generator, dtype=torch.float64)
    chances = torch.erfc(draws.abs() / math.sqrt(2)).tolist()
    wrong = sum(min(holm(row)) <= 0.05 for row in chances) / 2000
    assert wrong == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 2000))


def test_a_large_network_is_left_out_unless_asked() -> None:
    assert affordable_networks(load("residual"), 4) == 200
    assert affordable_networks(load("resnet"), 4) is None


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="at least 2 networks"):
        check_statistics(load("residual"), networks=1)


def test_progress_ends_where_it_said() -> None:
    steps: list[tuple[int, int]] = []
    check_statistics(
        load("residual"), networks=6, progress=lambda done, total: steps.append((done, total))
    )
    assert steps[0] == (6, 12)
    assert steps[-1] == (12, 12)


def test_json_form() -> None:
    found = json.loads(json.dumps(check_statistics(load("residual"), networks=9).to_dict()))
    assert set(found["x1"]) >= {"predicted", "measured", "standard_error", "ok"}
    assert archgraph.check_statistics is check_statistics
