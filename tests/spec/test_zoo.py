"""What the comment of each shipped spec says it shows."""

from __future__ import annotations

from fractions import Fraction

import pytest

from archgraph.gradient import decompose, run_once
from archgraph.paths import count_histograms, count_paths, iter_paths
from archgraph.paths.equations import derive
from archgraph.spec import load, zoo


@pytest.mark.parametrize("name", zoo())
def test_each_says_what_it_shows(name):
    assert zoo()[name].read_text(encoding="utf-8").startswith("# Shows: ")
    graph = load(name)
    assert graph.name == name.rpartition("/")[2]
    assert graph.about
    assert graph.warnings == ()


def test_residual_masks_the_skip_too():
    text = derive(load("residual"), "x1", form="local").text
    assert count_paths(load("residual"), "x1") == 4
    assert "φ'(z_x5)·λ·φ'(z_x3)·λ" in text


def test_scaled_residual_multiplies_scales_along_skips():
    graph = load("scaled_residual", lam=0.5)
    scales = {path.skips: path.scale for path in iter_paths(graph, "x0")}
    assert scales == {skips: Fraction(1, 2**skips) for skips in range(9)}
    binomial = (1, 8, 28, 56, 70, 56, 28, 8, 1)
    assert count_histograms(graph, "x0").skips == dict(enumerate(binomial))


def test_a_projection_shortcut_leaves_no_path_without_weights():
    graph = load("projection_shortcut")
    assert min(path.weights for path in iter_paths(graph, "stem")) == 2  # the 1×1 shortcut and fc
    assert min(path.weights for path in iter_paths(graph, "y1")) == 1  # fc alone


def test_dense_blocks():
    assert [path.nodes for path in iter_paths(load("dense_block"), "H3")] == [
        ("H3", "H4", "H5", "L"),
        ("H3", "H5", "L"),
    ]
    every = load("dense_block_all")
    assert [count_paths(every, f"H{i}") for i in range(1, 6)] == [16, 8, 4, 2, 1]


def test_mlp3_has_the_one_path_of_the_chain_rule():
    (path,) = iter_paths(load("mlp3"), "X")
    assert (path.weights, path.skips) == (3, 0)


def test_the_skip_carries_what_the_vanishing_chain_loses():
    tape = run_once(load("skip"))
    by_length = sorted(decompose(tape, "Z0", "path").parts, key=lambda part: len(part.key))
    short, long = by_length
    assert short.share > 0.999999
    assert long.norm < 1e-5 * short.norm


def test_gradient_flow_depends_on_the_activation():
    norms = {
        act: decompose(run_once(load("gradient_flow_demo", act=act), batch=32), "fc1.weight").norm
        for act in ("Tanh", "Sigmoid")
    }
    assert norms["Sigmoid"] < 1e-4 * norms["Tanh"]


def test_highway_has_four_ways_through_each_layer():
    # h, t by T·H, t by 1 − T, and the carry.
    graph = load("highway", depth=3)
    assert count_paths(graph, "x") == 4**3
    assert [e.id for e in graph.edges if e.role == "skip"] == [
        f"body.{i}.out~3->body.{i}.out" for i in range(3)
    ]
