"""Paths along which gradients flow: counted, listed, ranked, sampled; torch is never needed."""

from archgraph.paths.count import (
    Histograms,
    count_all,
    count_by,
    count_histograms,
    count_paths,
    role_degrees,
)
from archgraph.paths.enumerate import Path, iter_paths, json_number
from archgraph.paths.rank import iter_ranked_paths, rank_paths
from archgraph.paths.sample import sample_paths
from archgraph.paths.target import Target, resolve
from archgraph.paths.walk import Walk, Walkable
from archgraph.paths.weight import EdgeWeight

__all__ = [
    "EdgeWeight",
    "Histograms",
    "Path",
    "Target",
    "Walk",
    "Walkable",
    "count_all",
    "count_by",
    "count_histograms",
    "count_paths",
    "iter_paths",
    "iter_ranked_paths",
    "json_number",
    "rank_paths",
    "resolve",
    "role_degrees",
    "sample_paths",
]
