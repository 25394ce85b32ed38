"""Every split of random networks against dense Jacobians multiplied along each listed path."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archgraph.errors import UsageError
from archgraph.gradient import decompose, path_gradient, path_gradients, record
from archgraph.paths import count_paths, estimate, iter_paths, sample_paths
from archgraph.paths.view import view
from tests.gradient.networks import made
from tests.gradient.oracle import brute_paths
from tests.strategies import graphs, residual_graph

MOST = 4096
BAR = 1e-12


class Brute:
    """The listed paths of a gradient, and sums over some of them."""

    def __init__(self, graph, wrt):
        self.module, self.batch = made(graph, batch=2)
        self.tape = record(graph, self.module, self.batch)
        self.paths = brute_paths(graph, self.module, self.batch, wrt)
        self.whole = sum(path.gradient for path in self.paths)
        self.norm = float(self.whole.norm())
        self.sizes = sum(float(path.gradient.norm()) for path in self.paths)

    def sums(self, keys):
        """By key: the sum over the paths that have it, of the keys that a path has."""
        found = defaultdict(lambda: torch.zeros_like(self.whole))
        for path in self.paths:
            for key in keys(path):
                found[key] += path.gradient
        return found

    def assert_same(self, found, keys, *, norms=True):
        """Hold shares, and the norms of sums of paths, against the listed paths."""
        expected = self.sums(keys)
        assert {part.key for part in found.parts} == expected.keys()
        for part in found.parts:
            gradient = expected[part.key]
            if norms:
                assert abs(part.norm - float(gradient.norm())) <= BAR * self.sizes
            product = float(gradient @ self.whole)
            assert abs(part.share * self.norm**2 - product) <= BAR * self.sizes * self.norm


def drawn(graph, choice):
    """A random node's gradient, where there is one that is no rounding."""
    names = [node.name for node in graph.nodes if node.kind != "loss"]
    wrt = names[choice % len(names)]
    assume(0 < count_paths(graph, wrt) <= MOST)
    brute = Brute(graph, wrt)
    assume(brute.norm > 1e-9 * brute.sizes)
    return wrt, brute


@settings(max_examples=60, deadline=None)
@given(graph=graphs(vectors=True), choice=st.integers(0, 10**6), data=st.data())
def test_every_split_is_that_of_the_listed_paths(graph, choice, data):
    wrt, brute = drawn(graph, choice)
    degrees = {edge.id: data.draw(st.integers(0, 3), edge.id) for edge in graph.edges}
    linear = {node.name for node in graph.nodes if node.op and node.op.name == "Linear"}
    splits = {
        "path": lambda path: [tuple(edge.id for edge in path.edges)],
        "edge": lambda path: [edge.id for edge in path.edges],
        "node": lambda path: [wrt, *(edge.target for edge in path.edges)],
        "weights": lambda path: [sum(edge.target in linear for edge in path.edges)],
    }
    for by, keys in splits.items():
        found = decompose(brute.tape, wrt, by, headlines=False)
        brute.assert_same(found, keys, norms=by in ("path", "weights"))
    found = decompose(brute.tape, wrt, degrees, headlines=False)
    brute.assert_same(found, lambda path: [sum(degrees[edge.id] for edge in path.edges)])


@settings(max_examples=20, deadline=None)
@given(graph=graphs(), choice=st.integers(0, 10**6))
def test_the_gradient_of_a_path_alone(graph, choice):
    wrt, brute = drawn(graph, choice)
    expected = {tuple(edge.id for edge in path.edges): path.gradient for path in brute.paths}
    for path in iter_paths(graph, wrt):
        error = (path_gradient(brute.tape, path).flatten() - expected[path.edge_ids]).norm()
        assert float(error) <= BAR * brute.sizes


def test_four_thousand_paths():
    graph = residual_graph(12)
    brute = Brute(graph, "x")
    assert len(brute.paths) == MOST
    edges = decompose(brute.tape, "x", "edge", headlines=False)
    brute.assert_same(edges, lambda path: [edge.id for edge in path.edges], norms=False)
    nodes = decompose(brute.tape, "x", "node", headlines=False)
    brute.assert_same(nodes, lambda path: ["x", *(edge.target for edge in path.edges)], norms=False)
    grades = decompose(brute.tape, "x", "branches", headlines=False)
    brute.assert_same(grades, lambda path: [sum("relu" in edge.source for edge in path.edges)])
    paths = decompose(brute.tape, "x", "path", headlines=False)
    brute.assert_same(paths, lambda path: [tuple(edge.id for edge in path.edges)])
    assert sum(part.share for part in grades.parts) == pytest.approx(1, abs=BAR)


def test_norms_of_paths_are_estimated_from_a_sample():
    """Within 4 standard errors, which fails by chance once in 16,000 tries; the seed is fixed."""
    graph = residual_graph(8)
    brute = Brute(graph, "x")

    def size(path):
        return float(path_gradient(brute.tape, path).norm())

    norms = {path.edge_ids: size(path) for path in iter_paths(graph, "x")}
    weights = {edge.id: 0.3 if edge.role == "branch" else 1 for edge in graph.edges}
    for proportional_to in (None, weights):
        found = estimate(graph, "x", size, samples=200, proportional_to=proportional_to)
        assert abs(found.value - brute.sizes) <= 4 * found.standard_error
    assert sum(norms.values()) == pytest.approx(brute.sizes, rel=BAR)


def test_a_path_of_a_view_is_none_of_the_recorded_graph():
    graph = residual_graph(2)
    brute = Brute(graph, "x")
    (path,) = sample_paths(view(graph, "state", "x"), "x")
    with pytest.raises(UsageError, match="take its paths in the op view"):
        path_gradient(brute.tape, path)


def test_the_gradient_of_a_path_from_a_parameter():
    brute = Brute(residual_graph(3), "x")
    expected = {path.edge_ids: g for path, g in path_gradients(brute.tape, "fc.0.0.weight")}
    for path in iter_paths(brute.tape.graph, "fc.0.0.weight"):
        assert torch.equal(path_gradient(brute.tape, path), expected[path.edge_ids])
