"""The sketches of the language: they load, and have the path counts of their closed forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from archgraph.graph import Graph
from archgraph.paths import count_paths
from archgraph.spec import load

SKETCHES = Path(__file__).parent.parent / "sketches"
COUNTS = {
    "dense_block": ("H0", 16),
    "denseformer": ("x", 2 * 3**7),
    "densenet_block": ("H0", 2**5),
    "gpt2": ("wte", 8**12),
    "highway": ("x", 4**10),
    "mlp": ("x", 1),
    "residual": ("x1", 4),
    "residual_formulas": ("x1", 4),
    "resnet50": ("x", 2**16),
    "rezero": ("x", 2**32),
    "rnn": ("x", 20),
    "unet": ("x", 5),
}


def sketch(name: str) -> Graph:
    return load(SKETCHES / f"{name}.yaml")


def count_every_edge(graph: Graph, name: str) -> int:
    """Paths from a node to L, whether or not a gradient flows along them."""
    ways = {"L": 1}
    for node in reversed(graph.nodes[:-1]):
        ways[node.name] = sum(ways[e.target] for e in graph.edges if e.source == node.name)
    return ways[name]


def test_every_sketch_is_here():
    assert sorted(COUNTS) == sorted(path.stem for path in SKETCHES.glob("*.yaml"))


@pytest.mark.parametrize("name", COUNTS)
def test_path_counts(name):
    graph = sketch(name)
    wrt, count = COUNTS[name]
    assert graph.name == name
    assert count_paths(graph, wrt) == count
    assert graph.warnings == ()


def test_the_integer_input_of_gpt2():
    # Token and position embedding each lead into all of 8^12.
    graph = sketch("gpt2")
    assert count_every_edge(graph, "idx") == 2 * 8**12
    assert graph.node("idx").is_integer


def test_edges_and_formulas_say_the_same():
    edges, formulas = sketch("residual"), sketch("residual_formulas")
    assert edges.nodes == formulas.nodes
    assert [e.id for e in edges.edges] == [e.id for e in formulas.edges]
    assert edges.loss == formulas.loss
    assert [(e.role, e.scale) for e in edges.edges] == [(e.role, e.scale) for e in formulas.edges]
