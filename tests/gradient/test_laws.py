"""Grades of wide random networks against the laws of THEORY.md §2 and §3."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from fractions import Fraction

import torch

from archgraph.gradient import decompose, record
from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.ops import parse_call as call
from tests.gradient.networks import made


def preactivation(blocks, width, *, skip=1, branch=1):
    """x ← skip·x + branch·W·relu(x)."""
    b = GraphBuilder("preactivation")
    state = b.input("x", (width,))
    for i in range(blocks):
        value = b.layer(f"a{i}", call("ReLU()"), [state])
        value = b.layer(f"F{i}", call(f"Linear({width}, bias=False)"), [value])
        state = b.layer(f"s{i}", None, [Term(value, Scale(branch)), Term(state, Scale(skip))])
    return b.build()


def drawn(graph, width, seed):
    """A recorded pass with He's weights, for which W·relu passes on all energy."""
    module, batch = made(graph, seed=seed, batch=1)
    torch.manual_seed(1000 + seed)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=math.sqrt(2 / width))
    return record(graph, module, batch)


def energies(tape):
    found = decompose(tape, "x", "branches", headlines=False)
    return {part.key: part.norm**2 for part in found.parts}


def standard_error(values):
    return statistics.stdev(values) / math.sqrt(len(values))


def test_branches_of_a_wide_random_network_are_binomial():
    """THEORY.md §2: with x ← λx + F(x) and T = 1, E‖g_k‖² is Binomial(L, T/(λ² + T)).

    Error: 3 standard errors over 24 networks, and 1.5·Σ 1/fan for the width; nine grades at three
    standard errors would fail by chance once in 40 tries, the seeds are fixed.
    """
    blocks, width, lam = 8, 256, 0.5
    graph = preactivation(blocks, width, skip=lam)
    found = defaultdict(list)
    readout = width * (lam**2 + 1) ** blocks
    for seed in range(24):
        for grade, energy in energies(drawn(graph, width, seed)).items():
            found[grade].append(energy / readout)
    taken = 1 / (lam**2 + 1)
    for k, values in found.items():
        law = math.comb(blocks, k) * taken**k * (1 - taken) ** (blocks - k)
        error = 3 * standard_error(values) + 1.5 * blocks / width * law
        assert abs(statistics.mean(values) - law) <= error


def mean_grade(sizes):
    return sum(k * size for k, size in sizes.items()) / sum(sizes.values())


def test_count_times_norm_takes_paths_for_longer_than_they_are():
    """THEORY.md §3, Veit et al. 2016: 12 blocks, T = ¼.

    Uncorrelated paths have energy Binomial(12, T/(1 + T)), with 2.4 branches in the mean; the count
    of paths times their norm, which ignores that they cancel, is Binomial(12, √T/(1 + √T)), with a
    mean of 4. Error: 3 standard errors over six networks, and 1.5·Σ 1/fan for the width.
    """
    blocks, width = 12, 128
    graph = preactivation(blocks, width, branch=Fraction(1, 2))
    branches = {edge.id for edge in graph.edges if edge.role == "branch"}
    exact, estimated = [], []
    for seed in range(6):
        tape = drawn(graph, width, seed)
        exact.append(mean_grade(energies(tape)))
        norms = defaultdict(float)
        for part in decompose(tape, "x", "path", headlines=False).parts:
            norms[len(branches.intersection(part.key))] += part.norm
        estimated.append(mean_grade(norms))
    for values, law in ((exact, 2.4), (estimated, 4.0)):
        error = 3 * standard_error(values) + 1.5 * blocks / width * law
        assert abs(statistics.mean(values) - law) <= error
    assert min(estimated) - max(exact) > 1
