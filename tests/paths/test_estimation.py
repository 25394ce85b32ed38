import math
import statistics
from fractions import Fraction

import pytest

from archgraph.errors import UsageError
from archgraph.graph import GraphBuilder
from archgraph.ops import parse_call
from archgraph.paths import count_paths, estimate, estimate_by, iter_paths
from tests.strategies import residual_graph


def uneven():
    """Eight paths of different lengths and scales, some of them through the same edges."""
    b = GraphBuilder("uneven")
    linear = parse_call("Linear(3)")
    b.input("x", (3,))
    b.layer("a", linear, ["x", "x"])
    b.layer("b", linear, ["a", "x"])
    b.layer("c", None, ["b", "a", "x"])
    return b.build()


def measure(path):
    """Something that is neither a product nor a sum over edges."""
    return path.length**2 + 3 * ("a" in path.nodes)


WEIGHTS = {"x->a": 2, "x->b": Fraction(1, 3), "b->c": 0.7}


@pytest.mark.parametrize("weights", [None, WEIGHTS, lambda edge: WEIGHTS.get(edge.id, 1)])
def test_it_is_unbiased_and_its_error_is_as_large_as_it_says(weights):
    graph = uneven()
    exact = sum(map(measure, iter_paths(graph, "x")))
    found = [
        estimate(graph, "x", measure, 20, seed, proportional_to=weights) for seed in range(400)
    ]
    mean = statistics.fmean(e.value for e in found)
    spread = statistics.stdev(e.value for e in found)
    # 4 standard errors of 400 independent estimates: false alarm in 1 of 16,000 choices of seeds.
    assert abs(mean - exact) < 4 * spread / math.sqrt(len(found))
    told = math.sqrt(statistics.fmean(e.standard_error**2 for e in found))
    # The standard deviation of a standard deviation of 400 is about 3.5 %.
    assert told == pytest.approx(spread, rel=0.14)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_keys_are_estimated_apart(weights):
    graph = uneven()
    paths = list(iter_paths(graph, "x"))
    exact = {n: sum(measure(p) for p in paths if p.length == n) for n in {p.length for p in paths}}

    def found(seed):
        length = lambda path: path.length  # noqa: E731
        return estimate_by(graph, "x", measure, length, 30, seed, proportional_to=weights)

    runs = [found(seed) for seed in range(300)]
    assert all(list(run) == sorted(run) for run in runs)
    for n, expected in exact.items():
        values = [run[n].value if n in run else 0.0 for run in runs]
        spread = statistics.stdev(values)
        # 4 standard errors of 300 estimates, for three keys: false alarm once in 5,000.
        assert abs(statistics.fmean(values) - expected) < 4 * spread / math.sqrt(len(runs))
        told = [run[n].standard_error ** 2 if n in run else 0.0 for run in runs]
        assert math.sqrt(statistics.fmean(told)) == pytest.approx(spread, rel=0.2)
    whole = estimate(graph, "x", measure, 30, 5, proportional_to=weights)
    assert sum(part.value for part in runs[5].values()) == pytest.approx(whole.value)


@pytest.mark.parametrize("seed", range(3))
def test_one_estimate_is_within_its_error(seed):
    graph = residual_graph(8, Fraction(9, 10))
    exact = sum(path.weights * path.scale for path in iter_paths(graph, "x"))
    found = estimate(
        graph,
        "x",
        lambda path: path.weights * path.scale,
        samples=500,
        seed=seed,
        proportional_to=lambda edge: edge.scale.value,
    )
    assert abs(found.value - exact) < 4 * found.standard_error
    assert found.standard_error < 0.03 * exact
    assert found.samples == 500


def test_there_is_no_error_where_paths_are_drawn_in_proportion():
    graph = residual_graph(40, Fraction(2, 3))
    found = estimate(graph, "x", lambda p: p.scale, 20, proportional_to=lambda e: e.scale.value)
    assert found.value == pytest.approx(float(Fraction(5, 3) ** 40), rel=1e-14)
    assert found.standard_error <= 1e-15 * found.value
    assert estimate(graph, "x", lambda p: 1, 2).to_dict() == {
        "value": float(2**40),
        "standard_error": 0.0,
        "samples": 2,
    }


def test_a_better_proportion_has_a_smaller_error():
    graph = residual_graph(12, Fraction(1, 4))
    uniform = estimate(graph, "x", lambda p: p.scale * p.weights, 300)
    near = estimate(
        graph, "x", lambda p: p.scale * p.weights, 300, proportional_to=lambda e: e.scale.value
    )
    assert near.standard_error < uniform.standard_error / 5


def test_numbers_that_no_float_can_hold():
    graph = residual_graph(1100)
    found = estimate(graph, "x", lambda path: path.skips, 200, seed=3)
    assert count_paths(graph, "x") == 2**1100
    assert isinstance(found.value, Fraction)
    ratio = found.value / 2**1100
    assert abs(ratio - 550) < 4 * float(found.standard_error / 2**1100) < 10
    # Each path has a weight of 2^-1100, too small for a float.
    halves = {e.id: 0.5 for e in graph.edges if e.role in ("skip", "branch")}
    assert estimate(graph, "x", lambda p: 1, 2, proportional_to=halves).value == 2**1100


def test_the_seed_decides():
    graph = residual_graph(10)
    a, b, c = (estimate(graph, "x", lambda p: p.length, 50, seed) for seed in (1, 1, 2))
    assert a == b
    assert a != c


def test_what_cannot_be_estimated():
    graph = residual_graph(2)
    with pytest.raises(UsageError, match="asked for 1 samples"):
        estimate(graph, "x", lambda p: 1, 1)
    with pytest.raises(UsageError, match="is nan at the path"):
        estimate(graph, "x", lambda p: math.nan)
    with pytest.raises(UsageError, match=r"no path leads from 'out\.1' to 'out\.0'"):
        estimate(graph, "out.1", lambda p: 1, of="out.0")
    with pytest.raises(UsageError, match="need at least 0"):
        estimate(graph, "x", lambda p: 1, proportional_to=lambda e: -1)
