"""What the specs with references say of themselves, by the numbers of the papers and by hand."""

from __future__ import annotations

import pytest

from archgraph.paths import count_paths
from archgraph.spec import load

LARGE = 2**8 * 3**5
"""MobileNetV3: a unit has 2 ways with a skip or with a gate, 3 with both, else 1."""


@pytest.mark.parametrize(
    ("spec", "params", "source", "paths"),
    [
        ("resnet", {"depth": 18}, "x", 2**8),
        ("resnet", {}, "x", 2**16),
        ("resnet", {"depth": 152}, "x", 2**50),
        ("densenet", {}, "x", 2**58),
        ("densenet", {"depth": 201}, "x", 2**98),
        ("vgg_bn", {}, "x", 1),
        ("squeezenet", {}, "x", 2**8),
        ("squeezenet", {"early": True}, "x", 2**8),
        ("googlenet", {}, "x", 4**9),
        ("mobilenet_v2", {}, "x", 2**10),
        ("mobilenet_v3", {}, "x", LARGE),
        ("mobilenet_v3", {"large": False}, "x", 2**5 * 3**5),
        ("efficientnet_b0", {}, "x", 2**7 * 3**9),
        ("convnext", {}, "x", 2**18),
        ("vit_b_16", {}, "x", 8**12),
        ("gpt2", {}, "wte", 8**12),
    ],
    ids=lambda value: str(value) if isinstance(value, str | dict) else None,
)
def test_paths(spec, params, source, paths):
    assert count_paths(load(spec, **params), source) == paths


@pytest.mark.parametrize(
    ("spec", "params", "skips"),
    [
        ("resnet", {}, 16),
        ("resnet", {"depth": 18}, 8),
        ("densenet", {}, sum(n * (n + 1) // 2 for n in (6, 12, 24, 16))),
        ("vgg_bn", {}, 0),
        ("squeezenet", {}, 0),
        ("googlenet", {}, 0),
        ("mobilenet_v2", {}, 10),
        ("mobilenet_v3", {}, 10),
        ("efficientnet_b0", {}, 9),
        ("convnext", {}, 18),
        ("vit_b_16", {}, 24),
        ("gpt2", {}, 24),
    ],
    ids=lambda value: str(value) if isinstance(value, str | dict) else None,
)
def test_skips(spec, params, skips):
    graph = load(spec, **params)
    assert sum(edge.role == "skip" for edge in graph.edges) == skips
