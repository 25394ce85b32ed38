"""Norms of sampled paths against those of all paths, listed."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict

import pytest

from archgraph.errors import GradientError, UsageError
from archgraph.gradient import path_gradients, sample_norms
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.paths import count_histograms
from tests.gradient.networks import HARD, recorded
from tests.strategies import residual_graph

GRADES = {
    "branches": lambda path: sum(edge.role == "branch" for edge in path.edges),
    "weights": lambda path: path.weights,
    "skips": lambda path: path.skips,
}


def listed(tape, wrt, grade):
    sums = defaultdict(float)
    for path, gradient in path_gradients(tape, wrt):
        sums[grade(path)] += float(gradient.norm())
    return sums


def assert_unbiased(tape, wrt, by, *, samples=20, runs=40):
    """Sums within 4 standard errors of 40 estimates: false alarm once in 16,000 of them.

    Those of less than 2 % are drawn so rarely that their errors are not normal.
    """
    expected = listed(tape, wrt, GRADES[by])
    found = [sample_norms(tape, wrt, by, samples=samples, random_seed=i) for i in range(runs)]
    assert found[0].counts == getattr(count_histograms(tape.graph, wrt), by)
    whole = sum(expected.values())
    assert {k for run in found for k in run.sums} <= expected.keys()
    for k, norms in expected.items():
        if norms < 0.02 * whole:
            continue
        values = [float(run.sums[k].value) if k in run.sums else 0.0 for run in found]
        error = statistics.stdev(values) / math.sqrt(runs)
        assert abs(statistics.fmean(values) - norms) <= 4 * error + 1e-12 * norms
    totals = [float(run.total.value) for run in found]
    spread = statistics.stdev(totals)
    assert abs(statistics.fmean(totals) - whole) <= 4 * spread / math.sqrt(runs) + 1e-12 * whole
    told = math.sqrt(statistics.fmean(float(run.total.standard_error) ** 2 for run in found))
    # Of 40 runs the spread is known to 11 %.
    assert told == pytest.approx(spread, rel=0.45, abs=1e-7 * whole)


@pytest.mark.parametrize("by", sorted(GRADES))
def test_norms_of_a_residual_network(by):
    assert_unbiased(recorded(residual_graph(7)), "x", by)


@pytest.mark.parametrize(
    ("name", "wrt"), [("attention", "tokens"), ("recurrent", "W0.weight"), ("mixture", "x")]
)
def test_norms_of_hard_networks(name, wrt):
    assert_unbiased(recorded(HARD[name], batch=3), wrt, "weights", samples=30)


def test_paths_that_cancel_are_counted():
    b = GraphBuilder("cancel")
    b.input("x", (2,))
    b.layer("a", None, ["x", Term("x", Scale(-1))])
    b.layer("y", None, ["a", "x"])
    tape = recorded(b.build())
    found = sample_norms(tape, "x", samples=60)
    readout = float(tape.batch.targets[0].norm())
    assert found.norm == pytest.approx(readout)
    assert float(found.total.value) == pytest.approx(3 * readout, rel=0.5)
    assert found.to_dict()["total"]["samples"] == 60


def test_more_paths_than_could_be_listed():
    found = sample_norms(recorded(residual_graph(120)), "x", samples=50)
    assert sum(found.counts.values()) == 2**120
    assert found.total.value > 100 * found.norm
    assert 0 < found.mean < 120
    assert found == sample_norms(recorded(residual_graph(120)), "x", samples=50)


def test_what_is_asked_wrongly():
    tape = recorded(residual_graph(2))
    with pytest.raises(UsageError, match="told apart by branches, weights or skips, not by 'edge'"):
        sample_norms(tape, "x", "edge")
    with pytest.raises(UsageError, match="asked for 1 samples"):
        sample_norms(tape, "x", samples=1)
    b = GraphBuilder("zero")
    b.input("x", (2,))
    b.layer("y", None, [Term("x", Scale(0)), Term("x", Scale(0))])
    with pytest.raises(GradientError, match="no path from 'x' that was drawn has a gradient"):
        sample_norms(recorded(b.build()), "x")
