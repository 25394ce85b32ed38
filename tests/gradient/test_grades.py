"""Grades against sums over listed paths, closed forms, and the law of random networks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archgraph.errors import BudgetError, GradientError, TargetError, UsageError
from archgraph.gradient import decompose, edge_flow, path_gradients
from archgraph.gradient.graded import Graded
from archgraph.gradient.grades import graded_gradient, grades_of
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.ops import parse_call as call
from archgraph.paths import count_histograms, count_paths
from archgraph.paths.walk import walk
from archgraph.spec import load
from tests.gradient.networks import HARD, path_by_autograd, recorded
from tests.strategies import graphs, residual_graph, target_names

MOST = 4096


def by_listing(tape, wrt, grade):
    """Σ of the gradients of the paths of each grade, and Σ of their norms."""
    sums, sizes = {}, 0.0
    for path, gradient in path_gradients(tape, wrt, budget=MOST):
        key = grade(path)
        sums[key] = sums.get(key, torch.zeros_like(gradient)) + gradient
        sizes += float(gradient.norm())
    return sums, sizes


def assert_grades(tape, wrt, by, grade):
    """Hold norms and shares by grade against sums over the listed paths."""
    sums, sizes = by_listing(tape, wrt, grade)
    whole = sum(sums.values())
    found = decompose(tape, wrt, by, headlines=False)
    assert [part.key for part in found.parts] == sorted(sums)
    for part in found.parts:
        expected = sums[part.key]
        assert part.norm == pytest.approx(float(expected.norm()), abs=1e-12 * sizes + 1e-300)
        if part.share is not None:
            product = float((expected * whole).sum())
            square = float((whole * whole).sum())
            assert abs(part.share * square - product) <= 1e-12 * sizes * math.sqrt(square)
    return found


GRADES = {
    "weights": lambda path: path.weights,
    "skips": lambda path: path.skips,
    "branches": lambda path: sum(edge.role == "branch" for edge in path.edges),
}


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), choice=st.integers(0, 10**6), by=st.sampled_from(sorted(GRADES)))
def test_grades_are_sums_of_paths(graph, choice, by):
    targets = target_names(graph)
    wrt = targets[choice % len(targets)]
    assume(0 < count_paths(graph, wrt) <= MOST)
    assert_grades(recorded(graph), wrt, by, GRADES[by])


@settings(max_examples=30, deadline=None)
@given(graph=graphs(), choice=st.integers(0, 10**6), data=st.data())
def test_any_integer_of_an_edge_is_a_degree(graph, choice, data):
    targets = [name for name in target_names(graph) if name in graph.positions]
    wrt = targets[choice % len(targets)]
    assume(0 < count_paths(graph, wrt) <= 200)
    degrees = {
        edge.id: data.draw(st.integers(0, 3), edge.id) for edge in graph.edges if edge.gradient
    }
    tape = recorded(graph)
    assert_grades(tape, wrt, degrees, lambda path: sum(degrees[e] for e in path.edge_ids))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", sorted(set(HARD) - {"tuples"}))
def test_hard_networks_by_weights(name, train):
    graph = HARD[name]
    tape = recorded(graph, train=train, batch=3)
    for wrt in target_names(graph):
        if wrt != "pos":
            assert_grades(tape, wrt, "weights", GRADES["weights"])


def test_a_grade_is_the_network_with_the_other_paths_cut():
    tape = recorded(residual_graph(3))
    found = decompose(tape, "x", "weights")
    paths = [path for path, _ in path_gradients(tape, "x") if path.weights == 2]
    expected = sum(path_by_autograd(tape, "x", path.edge_ids) for path in paths)
    two = next(part for part in found.parts if part.key == 2)
    assert two.norm == pytest.approx(float(expected.norm()), rel=1e-12)
    assert two.paths == len(paths) == 3


def test_a_grade_without_a_path_is_left_out():
    b = GraphBuilder("gaps")
    state = b.input("x", (3,))
    for i in range(3):
        value = b.layer(f"a{i}", call("Linear(3)"), [state])
        value = b.layer(f"b{i}", call("Linear(3)"), [value])
        state = b.layer(f"s{i}", None, [value, state])
    found = decompose(recorded(b.build()), "x", "weights")
    assert [(part.key, part.paths) for part in found.parts] == [(0, 1), (2, 3), (4, 3), (6, 1)]


def test_two_hundred_blocks_add_up():
    graph = residual_graph(200)
    tape = recorded(graph)
    found = decompose(tape, "x", "branches")
    assert len(found.parts) == 201
    assert sum(part.paths for part in found.parts) == 2**200
    assert found.residual <= 1e-10
    assert sum(part.share for part in found.parts) == pytest.approx(1, abs=1e-10)
    # The mean over all paths needs no grades.
    flow = edge_flow(tape, "x")
    mean = sum(flow.shares[e.id] for e in graph.edges if e.role == "branch" and e.id in flow.shares)
    assert sum(p.key * p.share for p in found.parts) == pytest.approx(mean, rel=1e-9)


def chain(blocks: int, scale: float):
    """x ← scale·x + scale·x: 2^blocks paths, of which C(blocks, k) take k first edges."""
    b = GraphBuilder("chain")
    state = b.input("x", (2,))
    for i in range(blocks):
        terms = [Term(state, Scale(scale)), Term(state, Scale(3 * scale))]
        state = b.layer(f"s{i}", None, terms)
    return b.build()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_grades_do_not_underflow_on_the_way(dtype):
    blocks, scale = 120, 0.25 if dtype == torch.float32 else 3.2e-3
    graph = chain(blocks, scale)
    degrees = {edge.id: 1 for edge in graph.edges if edge.id.endswith("#1")}
    tape = recorded(graph, dtype=dtype)
    found = decompose(tape, "x", degrees, headlines=False)
    readout = float(tape.batch.targets[0].double().norm())
    rounding = 1e-4 if dtype == torch.float32 else 1e-12
    for part in found.parts:
        # In float32 the smallest is 4^−120, which is 2^−240.
        expected = math.comb(blocks, part.key) * 3.0**part.key * scale**blocks * readout
        assert part.norm == pytest.approx(expected, rel=rounding, abs=0)


def test_high_grades_in_float32_are_those_in_float64():
    graph = residual_graph(60)
    single, double = (
        decompose(recorded(graph, dtype=dtype), "x", "branches")
        for dtype in (torch.float32, torch.float64)
    )
    assert single.parts[-1].norm < 1e-15 * single.parts[5].norm
    for one, other in zip(single.parts, double.parts, strict=True):
        assert one.norm == pytest.approx(other.norm, rel=1e-3, abs=0)


@pytest.mark.parametrize("window", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("name", ["branches", "custom"])
def test_grades_in_several_sweeps_are_the_same(monkeypatch, window, name):
    graph = residual_graph(6)
    tape = recorded(graph)
    by = name
    if name == "custom":
        by = {edge.id: 1 + i % 4 for i, edge in enumerate(graph.edges) if i % 3}
    expected = decompose(tape, "x", by)
    monkeypatch.setattr("archgraph.gradient.grades._window", lambda *args: window)
    steps = []
    found = decompose(tape, "x", by, progress=lambda *step: steps.append(step))
    assert [part.key for part in found.parts] == [part.key for part in expected.parts]
    for one, other in zip(found.parts, expected.parts, strict=True):
        assert one.norm == pytest.approx(other.norm, rel=1e-12)
        assert one.share == pytest.approx(other.share, rel=1e-9, abs=1e-13)
    done, total = steps[-1]
    assert done == total == len(steps)
    assert all(after[0] > before[0] for before, after in pairwise(steps))


def test_memory_bounds_the_polynomials():
    from torch.profiler import ProfilerActivity, profile

    b = GraphBuilder("wide")
    state = b.input("x", (16,))
    for i in range(24):
        value = b.layer(f"a{i}", call("Linear(512)"), [state])
        value = b.layer(f"b{i}", call("Linear(16)"), [value])
        state = b.layer(f"s{i}", None, [value, state])
    tape = recorded(b.build(), batch=64)  # 256 KiB a hidden value, 8 KiB a state
    paths = walk(tape.graph, "x")
    degrees = [int(hop.role == "branch") for hop in paths.hops]

    def peak(memory_bytes):
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recording:
            graded_gradient(tape, paths, "x", degrees, tape.seed("L"), memory_bytes=memory_bytes)
        total, most = 0, 0
        for event in sorted(
            (e for e in recording.profiler.kineto_results.events() if e.name() == "[memory]"),
            key=lambda e: e.start_ns(),
        ):
            total += event.nbytes()
            most = max(most, total)
        return most

    free, bounded = peak(None), peak(4 << 20)
    assert free > 25 * (256 << 10)
    # 25 grades are found, and one coefficient waits for every block: all of the size of a state.
    assert bounded <= (4 << 20) + (25 + 24 + 8) * (8 << 10)


def test_too_little_memory_is_said():
    with pytest.raises(BudgetError, match=r"one grade takes about .* MiB, and 0.0 MiB are allowed"):
        decompose(recorded(residual_graph(3)), "x", "branches", memory_bytes=10)


def test_exponents_are_renormalised_where_terms_meet():
    tiny = Graded((0, 1), torch.tensor([[1e-30], [1.0]]), (0, -300))
    huge = Graded((1, 2), torch.tensor([[1.0], [1e30]]), (-301, 0))
    total = tiny.plus(huge)
    assert total.grades == (0, 1, 2)
    values = [row.item() * 2.0**e for row, e in zip(total.stack, total.exponents, strict=True)]
    assert values == pytest.approx([1e-30, 1.5 * 2.0**-300, 1e30])
    assert all(1e-9 < abs(row.item()) < 1e9 for row in total.stack)


def test_what_is_asked_wrongly():
    tape = recorded(residual_graph(2))
    with pytest.raises(UsageError, match=r"degree of edge 'x->out.0' is -1"):
        decompose(tape, "x", {"x->out.0": -1})
    with pytest.raises(TargetError, match=r"has no edge 'x->out\.7'; did you mean"):
        decompose(tape, "x", {"x->out.7": 1})
    with pytest.raises(UsageError, match="not by 'branch'; did you mean 'branches'"):
        decompose(tape, "x", "branch")
    with pytest.raises(UsageError, match=r"those of 'L', and not of 'out.1'"):
        decompose(tape, "x", "loss", of="out.1")


def test_grades_that_do_not_add_up_are_never_shown(monkeypatch):
    tape = recorded(residual_graph(2))
    original = type(tape).pull_many

    def lossy(self, position, element, stack, **options):
        return original(self, position, element, stack * 1.001, **options)

    monkeypatch.setattr(type(tape), "pull_many", lossy)
    with pytest.raises(GradientError, match="the 3 parts of ∂L/∂x do not add up to it"):
        decompose(tape, "x", "branches")


def test_grades_of_nothing():
    b = GraphBuilder("unused")
    b.input("x", (2,))
    b.layer("idle", call("Linear(2)"), ["x"])
    b.layer("y", call("Tanh()"), ["x"])
    b.output("y")
    tape = recorded(b.build())
    assert decompose(tape, "idle.weight", "weights").parts == ()
    assert grades_of(walk(tape.graph, "idle"), [0] * len(tape.graph.edges)) == ()


def test_the_histogram_of_paths_stands_beside_the_shares():
    graph = load("resnet", depth=18, size=32)
    found = decompose(recorded(graph), "conv1.weight", "weights")
    counts = count_histograms(graph, "conv1.weight").weights
    assert {part.key: part.paths for part in found.parts} == counts
