"""Paths by brute force, from `Graph.nx` and networkx alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import networkx as nx
from hypothesis import strategies as st

from archgraph.graph import Edge, Graph
from tests.strategies import graphs, target_names

Indices = tuple[int, ...]


def brute_paths(graph: Graph, wrt: str, of: str = "L") -> list[Indices]:
    """Every path as edge indices, sorted; a parameter's own edges are numbered last."""
    plain = nx.MultiDiGraph()
    plain.add_nodes_from(graph.nx)
    for source, target, data in graph.nx.edges(data=True):
        if data["edge"].gradient:
            plain.add_edge(source, target, key=data["edge"].index)
    for i, user in enumerate(brute_users(graph, wrt)):
        plain.add_edge(wrt, user, key=len(graph.edges) + i)
    if wrt not in plain or of not in plain:
        return []
    found = nx.all_simple_edge_paths(plain, wrt, of)
    return sorted(tuple(index for _, _, index in path) for path in found)


def brute_users(graph: Graph, wrt: str) -> list[str]:
    """The layers that use a parameter, by its name."""
    owner = wrt.rpartition(".")[0]
    owners = [n.name for n in graph.nodes if owner and n.module == owner]
    return owners or [e.target for e in graph.edges if e.scale.learn and e.scale.learn.name == wrt]


def brute_product(
    graph: Graph, path: Indices, value: Callable[[Edge], int | float | Fraction]
) -> Fraction:
    """The exact product of a number per edge; a parameter's own edge counts as 1."""
    product = Fraction(1)
    for index in path:
        if index < len(graph.edges):
            product *= Fraction(value(graph.edges[index]))
    return product


@st.composite
def cases(draw: st.DrawFn, *, max_layers: int = 7) -> tuple[Graph, str]:
    """A graph whose edges have random roles, and a target in it."""
    graph = draw(graphs(max_layers=max_layers))
    rng = draw(st.randoms(use_true_random=False))
    roles = ("none", "skip", "branch")
    edges = tuple(replace(edge, role=roles[rng.randint(0, 2)]) for edge in graph.edges)
    graph = replace(graph, edges=edges)
    return graph, draw(st.sampled_from(target_names(graph)))
