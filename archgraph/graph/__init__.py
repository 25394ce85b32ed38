"""The graph that everything else reads."""

from archgraph.graph.build import GraphBuilder, Term, assemble, learnable
from archgraph.graph.core import Graph
from archgraph.graph.instances import Instance, Member
from archgraph.graph.records import LOSS, ONE, Edge, Learnable, LossTerm, Node, Scale

__all__ = [
    "LOSS",
    "ONE",
    "Edge",
    "Graph",
    "GraphBuilder",
    "Instance",
    "Learnable",
    "LossTerm",
    "Member",
    "Node",
    "Scale",
    "Term",
    "assemble",
    "learnable",
]
