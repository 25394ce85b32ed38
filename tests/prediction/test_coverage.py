"""Error bars keep what they promise; `benchmarks.prediction` has 200 networks for the figures."""

from __future__ import annotations

import random

import torch

from tests.prediction.coverage import SPREAD, random_spec, z_scores

torch.set_num_threads(1)


def test_error_bars_cover_what_they_promise() -> None:
    """|z| < 2 for 95.4 %: nodes of a network go together, so 60 networks tell it to ±5 %."""
    found = [z_scores(seed, 100) for seed in range(60)]
    scores = [z for one in found for z in one]
    inside = sum(abs(z) < 2 for z in scores) / len(scores)
    assert len(scores) > 400
    assert 0.90 < inside < 0.99
    # Neither side is favoured: the mean over networks of their mean z, within 4 of its errors.
    means = torch.tensor([sum(one) / len(one) for one in found])
    assert abs(float(means.mean())) < 4 * float(means.std()) / len(means) ** 0.5


def test_the_random_networks_are_small_and_of_every_kind() -> None:
    graphs = [random_spec(random.Random(seed)) for seed in range(100)]
    names = {node.op.name for graph in graphs for node in graph.nodes if node.op is not None}
    assert names >= {"BatchNorm1d", "LayerNorm", "Linear", "ReLU", "Sigmoid", "Tanh"}
    kinds = {edge.kind for graph in graphs for edge in graph.edges}
    assert kinds >= {"add", "concat", "multiply"}
    for graph in graphs:
        layers = [n for n in graph.nodes if n.op is not None and n.op.name == "Linear"]
        assert len(layers) <= 16 / SPREAD * 4
