"""Planted faults are found where they are, and nowhere else."""

from __future__ import annotations

import math

import pytest
import torch

from archgraph.measurement import Thresholds, measure
from archgraph.measurement.health import DEFAULT_THRESHOLDS, faults_of
from archgraph.spec import load, parse

torch.set_num_threads(1)


def measured(layers: str, **options: object):
    text = f"archgraph: 1\nname: net\ninputs: {{x: [16]}}\nlayers:\n{layers}"
    return measure(parse(text.encode(), file="net.yaml"), seeds=5, **options)


def test_a_healthy_network_has_no_faults() -> None:
    assert measure(load("residual"), seeds=20).faults == {}


def test_dead_units_are_counted() -> None:
    found = measured(
        "  a: {op: Linear(16), init: {bias: -100}}\n  r: ReLU()\n  b: Linear(16)\n  s: LeakyReLU()"
    )
    assert found.health["r"].dead == 1
    assert found.faults["r"] == ("dead",)
    assert found.health["s"].dead == 0
    assert found.faults["x"] == found.faults["a.weight"] == ("zero",)
    assert "b.bias" not in found.faults


def test_a_unit_that_one_example_wakes_is_not_dead() -> None:
    text = "  a: {op: Linear(16), init: {weight: normal, bias: 0}}\n  r: ReLU()"
    one, many = (measured(text, batch=batch).health["r"].dead for batch in (1, 8))
    assert one == pytest.approx(1 / 2, abs=4 * math.sqrt(0.25 / 80))
    assert many < 0.05


def test_units_of_an_image_are_channels() -> None:
    text = (
        "archgraph: 1\nname: net\ninputs: {x: [2, 5, 5]}\nlayers:\n"
        '  a: {op: "Conv2d(4, 3)", init: {bias: -100}}\n  r: ReLU()'
    )
    found = measure(parse(text.encode(), file="net.yaml"), seeds=3)
    assert found.health["r"].dead == 1
    plain = measure(parse(text.replace("-100", "0").encode(), file="net.yaml"), seeds=20)
    assert plain.health["r"].dead < 0.05


def test_saturated_elements_are_counted() -> None:
    found = measured("  a: {op: Linear(16), init: {bias: -9}}\n  gate: Sigmoid()\n  b: Linear(16)")
    assert found.health["gate"].saturated == 1
    assert found.health["gate"].dead == 0
    assert "saturated" in found.faults["gate"]
    assert measured("  a: Linear(16)\n  gate: Sigmoid()").health["gate"].saturated == 0
    assert measured("  a: Linear(16)\n  r: ReLU()").health["r"].saturated is None


def test_the_chain_rule_note_s_thresholds() -> None:
    found = measure(load("gradient_flow_demo", act="Sigmoid"), seeds=5, batch=32)
    assert found.health["fc1.weight"].norm == pytest.approx(8.8e-9, rel=0.5)
    assert found.faults["fc1.weight"] == ("vanishing",)
    assert "head.weight" not in found.faults
    lenient = Thresholds(vanishing=1e-30, relative_vanishing=1e-30)
    assert measure(found.graph, seeds=5, batch=32, thresholds=lenient).faults == {}


def test_an_exploding_gradient() -> None:
    found = measured("  a: {op: Linear(16), init: {weight: normal(std=100)}}\n  b: Linear(16)")
    assert found.faults["x"] == ("exploding",)
    assert "a" not in found.faults


def test_the_numbers_of_the_note() -> None:
    """Norm, mean and largest element, by torch on one network."""
    found = measured('  y: {op: "Linear(16, bias=False)", init: {weight: 0.5}}', batch=2)
    health = found.health["x"]
    assert health.norm == pytest.approx(health.rms * math.sqrt(32))
    assert abs(health.mean) <= health.rms <= health.max <= health.norm


@pytest.mark.parametrize(("value", "fault"), [("nan", "nan"), ("inf", "inf")])
def test_what_is_not_finite_is_said(value: str, fault: str) -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * float(value)

    from archgraph.graph import GraphBuilder
    from archgraph.ops import opaque

    builder = GraphBuilder("odd")
    builder.layer("b", opaque(Broken()), [builder.input("x", (6,))])
    found = measure(builder.build(), seeds=2)
    assert found.faults["x"] == (fault,)
    assert found.to_dict()["nodes"]["x"]["energy"] is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"norm": math.nan, "relative": math.nan}, ("nan",)),
        ({"norm": math.inf, "relative": None}, ("inf",)),
        ({"norm": 0.0, "relative": 0.0}, ("zero",)),
        ({"norm": 9e-8, "relative": None}, ("vanishing",)),
        ({"norm": 1.0, "relative": 9e-4}, ("vanishing",)),
        ({"norm": 1.1e3, "relative": 1.0}, ("exploding",)),
        ({"norm": 1.0, "relative": 1.1e3}, ("exploding",)),
        ({"norm": 1.0, "relative": 1.0}, ()),
        ({"norm": 1.0, "relative": 1.0, "dead": 0.9}, ("dead",)),
        ({"norm": 1.0, "relative": 1.0, "saturated": 0.5}, ("saturated",)),
    ],
)
def test_the_rules(given: dict[str, float], expected: tuple[str, ...]) -> None:
    assert faults_of(DEFAULT_THRESHOLDS, **given) == expected
