"""Numbers of parameters by hand, and short questions to a graph."""

from __future__ import annotations

from archgraph.graph import Graph
from archgraph.module.shapes import infer


def conv(c_in: int, c_out: int, size: int = 1, *, bias: bool = False) -> int:
    return c_in * c_out * size * size + bias * c_out


def norm(c: int) -> int:
    return 2 * c


def linear(c_in: int, c_out: int, *, bias: bool = True) -> int:
    return c_in * c_out + bias * c_out


def total(graph: Graph) -> int:
    return infer(graph).total


def skips(graph: Graph) -> list[str]:
    return [edge.id for edge in graph.edges if edge.role == "skip"]
