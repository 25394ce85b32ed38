import itertools
import math
import random
from collections import Counter
from fractions import Fraction
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archgraph.errors import UsageError
from archgraph.graph import GraphBuilder
from archgraph.ops import parse_call
from archgraph.paths import sample_paths
from tests.paths.oracle import brute_paths, brute_product, cases
from tests.strategies import residual_graph


class Replay(random.Random):
    """Answers `randrange` with the numbers given, then with zeros, and keeps what was asked for."""

    def __init__(self, answers):
        self.answers, self.asked = list(answers), []

    def randrange(self, stop):
        self.asked.append(stop)
        return self.answers.pop(0) if self.answers else 0


def exact_distribution(graph, wrt, weight):
    """The probability of each path, found by trying every answer that chance could give."""
    probability = Counter()
    todo = [()]
    while todo:
        answers = todo.pop()
        rng = Replay(answers)
        with mock.patch.object(random, "Random", return_value=rng):
            (path,) = sample_paths(graph, wrt, weight=weight)
        if len(rng.asked) > len(answers):
            todo += [(*answers, i) for i in range(rng.asked[len(answers)])]
        else:
            probability[path.edge_indices] += Fraction(1, math.prod(rng.asked))
    return probability


WEIGHTS = {"x->y": 2, "x->y#1": Fraction(1, 3), "x->z": 0.5, "w->z": 0}


@pytest.mark.parametrize("weight", [None, lambda e: WEIGHTS.get(e.id, 1)])
def test_probabilities_are_exact(weight):
    builder = GraphBuilder("small")
    builder.input("x", (3,))
    builder.layer("y", None, ["x", "x"])
    builder.layer("w", None, ["x", "y"])
    builder.layer("z", None, ["y", "x", "w"])
    graph = builder.build()
    products = {
        path: brute_product(graph, path, weight or (lambda e: 1))
        for path in brute_paths(graph, "x")
    }
    total = sum(products.values())
    expected = {path: product / total for path, product in products.items() if product}
    assert exact_distribution(graph, "x", weight) == expected


def test_frequencies_follow_the_weights():
    # Chi-square with 15 degrees of freedom: above 37.7 in 1 of 1,000 seeds; the seed is fixed.
    graph = residual_graph(4, Fraction(1, 2))
    draws = 3200
    found = Counter(
        p.edge_indices
        for p in sample_paths(graph, "x", draws, seed=1, weight=lambda e: e.scale.value)
    )
    paths = brute_paths(graph, "x")
    products = {p: float(brute_product(graph, p, lambda e: e.scale.value)) for p in paths}
    total = sum(products.values())
    expected = {p: draws * product / total for p, product in products.items()}
    assert sum((found[p] - expected[p]) ** 2 / expected[p] for p in paths) < 37.7


def test_uniform_paths_of_two_to_the_333_have_half_of_the_skips():
    # The mean of 400 Binomial(333, 1/2) has a standard deviation of 0.456: 4 of them, seed fixed.
    paths = sample_paths(residual_graph(333), "x", 400, seed=2)
    assert abs(sum(p.skips for p in paths) / 400 - 166.5) < 4 * 0.456


@settings(deadline=None)
@given(cases(), st.integers(0, 99))
def test_samples_are_paths(case, seed):
    graph, wrt = case
    paths = set(brute_paths(graph, wrt))
    if paths:
        assert {p.edge_indices for p in sample_paths(graph, wrt, 8, seed)} <= paths
    else:
        with pytest.raises(UsageError, match="no path leads from"):
            sample_paths(graph, wrt, 8, seed)


def test_the_seed_decides():
    graph = residual_graph(50)
    same = [sample_paths(graph, "x", 3, seed) for seed in (5, 5, 6)]
    assert same[0] == same[1]
    assert all(a != b for a, b in itertools.product(same[0], same[2]))


def test_nothing_to_draw():
    builder = GraphBuilder("dead")
    builder.input("x", (3,))
    builder.layer("unused", parse_call("Linear(3)"), ["x"])
    builder.output("x")
    graph = builder.build()
    with pytest.raises(UsageError, match=r"^no path leads from 'unused' to 'L'"):
        sample_paths(graph, "unused")
    with pytest.raises(UsageError, match=r"^no path of positive weight leads from 'x' to 'L'"):
        sample_paths(graph, "x", weight=lambda e: 0)
    assert sample_paths(graph, "unused", 0) == []
    with pytest.raises(UsageError, match="asked for -2 paths"):
        sample_paths(graph, "x", -2)


def test_the_only_path_from_a_node_to_itself():
    (path,) = sample_paths(residual_graph(1), "x", of="x")
    assert path.edge_indices == ()
