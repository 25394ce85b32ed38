"""Paths along which gradients flow: counted, listed, ranked, sampled; torch is never needed.

The function that makes a view is `archgraph.view`; here, `view` is the module that it lives in.
"""

from archgraph.paths.count import (
    Histograms,
    count_all,
    count_by,
    count_histograms,
    count_paths,
    role_degrees,
)
from archgraph.paths.enumerate import Path, iter_paths, json_number
from archgraph.paths.equations import Derivation, derive
from archgraph.paths.estimation import Estimate, estimate, estimate_by
from archgraph.paths.listing import PathList, list_paths
from archgraph.paths.rank import iter_ranked_paths, rank_paths
from archgraph.paths.route import Route, iter_routes, rank_routes
from archgraph.paths.sample import sample_paths
from archgraph.paths.target import Target, resolve
from archgraph.paths.view import Hop, View, ViewKind
from archgraph.paths.walk import Walk, Walkable
from archgraph.paths.weight import EdgeWeight, flow_weights

__all__ = [
    "Derivation",
    "EdgeWeight",
    "Estimate",
    "Histograms",
    "Hop",
    "Path",
    "PathList",
    "Route",
    "Target",
    "View",
    "ViewKind",
    "Walk",
    "Walkable",
    "count_all",
    "count_by",
    "count_histograms",
    "count_paths",
    "derive",
    "estimate",
    "estimate_by",
    "flow_weights",
    "iter_paths",
    "iter_ranked_paths",
    "iter_routes",
    "json_number",
    "list_paths",
    "rank_paths",
    "rank_routes",
    "resolve",
    "role_degrees",
    "sample_paths",
]
