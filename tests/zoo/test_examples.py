"""The specs in examples/ hold what their comments say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import archgraph

FOLDER = Path(__file__).parents[2] / "examples"


def res2net(
    scale: int, first: int, widths: list[int], depths: list[int], expansion: int, classes: int
) -> int:
    """Count: per unit 1×1 convolution, scale − 1 of 3×3, 1×1; a shortcut where a stage begins."""
    total = 27 * first + 2 * first
    channels = first
    for width, depth in zip(widths, depths, strict=True):
        inner, outer = scale * width, expansion * scale * width
        for i in range(depth):
            total += channels * inner + 2 * inner
            total += (scale - 1) * (9 * width**2 + 2 * width)
            total += inner * outer + 2 * outer
            total += (channels * outer + 2 * outer) if i == 0 else 0
            channels = outer
    return total + (channels + 1) * classes


def se_densenet(depths: list[int], growth: int, bottleneck: int, ratio: int, classes: int) -> int:
    """Count: 2c + cb + 2b + 9bk per layer, (c + 1)h + (h + 1)c per gate, 2c + ct per transition."""

    def gate(c: int) -> int:
        hidden = max(1, c // ratio)
        return (c + 1) * hidden + (hidden + 1) * c

    wide = bottleneck * growth
    channels = 2 * growth
    total = 27 * channels
    for block, depth in enumerate(depths):
        for _ in range(depth):
            total += 2 * channels + channels * wide + 2 * wide + 9 * wide * growth
            channels += growth
        total += gate(channels)
        if block < len(depths) - 1:
            total += 2 * channels + channels * (channels // 2) + gate(channels // 2)
            channels //= 2
    return total + 2 * channels + (channels + 1) * classes


def two_encoder_fusion(
    channels: list[int], dim: int, depth: int, heads: int, length: int, vocab: int, classes: int
) -> int:
    """Count: 12d² + 13d per transformer unit, however many heads it has."""
    del heads
    picture = sum(9 * a * b + 2 * b for a, b in zip([3, *channels], channels, strict=False))
    picture += (channels[-1] + 1) * dim
    text = (vocab + length) * dim + depth * (12 * dim**2 + 13 * dim) + 2 * dim
    fusion = (2 * dim + 1) * dim
    return picture + text + fusion + (3 * dim + 1) * 2 * dim + (2 * dim + 1 + dim + 1) * classes


class Example(NamedTuple):
    parameters: Callable[..., int]
    sizes: dict[str, Any]
    """Small ones, that `parameters` takes too."""
    wrt: str
    paths: int
    """From `wrt` to the loss, at these sizes."""


EXAMPLES = {
    "res2net": Example(
        res2net,
        {
            "scale": 3,
            "first": 5,
            "widths": [2, 3, 4],
            "depths": [2, 0, 1],
            "expansion": 2,
            "classes": 4,
        },
        "image",
        (2 + 3 * 2 // 2) ** 3,
    ),
    "se_densenet": Example(
        se_densenet,
        {"depths": [1, 2, 1], "growth": 2, "bottleneck": 3, "ratio": 2, "classes": 4},
        "image",
        2 ** (4 + 5),
    ),
    "two_encoder_fusion": Example(
        two_encoder_fusion,
        {
            "channels": [4, 6],
            "dim": 8,
            "depth": 1,
            "heads": 2,
            "length": 5,
            "vocab": 11,
            "classes": 4,
        },
        "picture",
        4,
    ),
}


def test_every_example_is_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example(name: str, tmp_path: Path) -> None:
    file = FOLDER / f"{name}.yaml"
    example = EXAMPLES[name]
    assert not archgraph.load(file).warnings

    graph = archgraph.load(file, **example.sizes)
    assert not graph.warnings
    assert archgraph.count_paths(graph, example.wrt) == example.paths

    flat = tmp_path / "flat.yaml"
    flat.write_text(archgraph.dump(graph), encoding="utf-8")
    assert archgraph.load(flat) == graph
    assert archgraph.parse(archgraph.dump(graph)) == graph

    module = archgraph.compile(graph, seed=0)
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count == example.parameters(**example.sizes)
    assert archgraph.check(graph, batch=2, budget=300).ok
