"""Paths per second against networkx on one residual graph, and the analyses of ResNet-1001."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import networkx as nx

from archgraph.graph import Graph
from archgraph.paths import count_paths, iter_paths, list_paths
from archgraph.spec import load
from benchmarks.common import Row, seconds, time_paired
from tests.strategies import residual_graph

BLOCKS = 14


def rows() -> list[Row]:
    graph = residual_graph(BLOCKS)
    name, opponent = fastest_networkx(graph)
    return [
        against_networkx("paths with their edges", partial(read_edges, graph), name, opponent, 50),
        against_networkx("paths with node names", partial(read_nodes, graph), name, opponent, 12),
        *resnet_1001(),
    ]


def read_edges(graph: Graph) -> int:
    count = 0
    for path in iter_paths(graph, "x"):
        path.edges  # noqa: B018 - reading it is what is measured
        count += 1
    return count


def read_nodes(graph: Graph) -> int:
    count = 0
    for path in iter_paths(graph, "x"):
        path.nodes  # noqa: B018
        count += 1
    return count


def exhaust(find: Callable[..., object], graph: nx.MultiDiGraph | nx.DiGraph) -> int:
    return sum(1 for _ in find(graph, "x", "L"))


def fastest_networkx(graph: Graph) -> tuple[str, Callable[[], int]]:
    """The fastest way that networkx has to list the paths; each gives all 2^blocks of them."""
    several, simple = graph.nx, nx.DiGraph(graph.nx)
    ways = {
        f"networkx.{find.__name__} on a {type(on).__name__}": partial(exhaust, find, on)
        for find in (nx.all_simple_paths, nx.all_simple_edge_paths)
        for on in (several, simple)
    }
    for name, way in ways.items():
        if way() != 2**BLOCKS or count_paths(graph, "x") != 2**BLOCKS:
            raise AssertionError(f"{name} finds another number of paths")
    best = min(ways, key=lambda name: min(seconds(ways[name]) for _ in range(2)))
    return best, ways[best]


def against_networkx(
    what: str, ours: Callable[[], int], name: str, theirs: Callable[[], int], bar: float
) -> Row:
    if ours() != 2**BLOCKS:
        raise AssertionError("the number of paths is wrong")
    timing = time_paired(ours, theirs)
    per_second = [2**BLOCKS / taken / 1000 for taken in (timing.first, timing.second)]
    detail = f"{per_second[0]:,.0f}k against {per_second[1]:,.0f}k paths/s, {BLOCKS} blocks"
    return Row(what, name, timing.ratio, bar, "higher", detail)


def resnet_1001() -> list[Row]:
    """The whole process of the command, and what it does after the spec was loaded."""
    graph = load("preact_resnet", depth=1001)
    command = "paths preact_resnet --set depth=1001 --wrt image --top 10 --json"

    def ask() -> None:
        run = [sys.executable, "-m", "archgraph", *command.split()]
        found = subprocess.run(run, check=True, capture_output=True, text=True)
        if f'"count": {2**333}' not in found.stdout:
            raise AssertionError("the count is wrong")

    def analyse() -> None:
        report = list_paths(graph, "image", top=10)
        if len(report.paths) != 10 or len(report.routes) != 10:
            raise AssertionError("not all was listed")

    whole = statistics.median(seconds(ask) for _ in range(3))
    alone = statistics.median(seconds(analyse) for _ in range(3))
    what = "count, histograms, top 10 and routes of 2^333 paths"
    nodes = f"seconds; {len(graph.nodes):,} nodes"
    return [
        Row(f"archgraph {command}", "–", whole, 1.0, "lower", "seconds, whole process"),
        Row(f"{what}, the spec loaded", "–", alone, 0.4, "lower", nodes),
    ]
