"""Neural-network architectures as YAML: every backprop path counted, derived, measured and drawn.

Importing this package loads nothing heavy; what needs torch imports it when it is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from archgraph.checking import check, check_statistics
    from archgraph.diagnosis import diagnose
    from archgraph.errors import ArchgraphError, SpecError
    from archgraph.gradient import decompose, run_once
    from archgraph.graph import Graph, GraphBuilder, Term, learnable
    from archgraph.measurement import measure
    from archgraph.module import compile, source
    from archgraph.ops import opaque
    from archgraph.ops.calls import parse_call as op
    from archgraph.ops.plugin import register
    from archgraph.paths import (
        count_histograms,
        count_paths,
        derive,
        estimate,
        iter_paths,
        iter_routes,
        list_paths,
        rank_paths,
        rank_routes,
        sample_paths,
    )
    from archgraph.paths.view import view
    from archgraph.picture import render
    from archgraph.prediction import predict
    from archgraph.spec import Limits, load, parse, zoo
    from archgraph.spec.dump import dump
    from archgraph.suggestion import suggest
    from archgraph.sweeping import compare, sweep

__version__: Final = "0.1.0"

_HOMES: Final = {
    "ArchgraphError": "errors",
    "Graph": "graph",
    "GraphBuilder": "graph",
    "Limits": "spec",
    "SpecError": "errors",
    "Term": "graph",
    "check": "checking",
    "check_statistics": "checking",
    "compare": "sweeping",
    "compile": "module",
    "count_histograms": "paths",
    "count_paths": "paths",
    "decompose": "gradient",
    "derive": "paths",
    "diagnose": "diagnosis",
    "dump": "spec.dump",
    "estimate": "paths",
    "iter_paths": "paths",
    "iter_routes": "paths",
    "learnable": "graph",
    "list_paths": "paths",
    "load": "spec",
    "measure": "measurement",
    "op": "ops.calls",
    "opaque": "ops",
    "parse": "spec",
    "predict": "prediction",
    "rank_paths": "paths",
    "rank_routes": "paths",
    "register": "ops.plugin",
    "run_once": "gradient",
    "render": "picture",
    "sample_paths": "paths",
    "source": "module",
    "suggest": "suggestion",
    "sweep": "sweeping",
    "view": "paths.view",
    "zoo": "spec",
}
"""Where each public name lives; its module is imported when the name is first used."""

__all__ = [
    "ArchgraphError",
    "Graph",
    "GraphBuilder",
    "Limits",
    "SpecError",
    "Term",
    "check",
    "check_statistics",
    "compare",
    "compile",
    "count_histograms",
    "count_paths",
    "decompose",
    "derive",
    "diagnose",
    "dump",
    "estimate",
    "iter_paths",
    "iter_routes",
    "learnable",
    "list_paths",
    "load",
    "measure",
    "op",
    "opaque",
    "parse",
    "predict",
    "rank_paths",
    "rank_routes",
    "register",
    "render",
    "run_once",
    "sample_paths",
    "source",
    "suggest",
    "sweep",
    "view",
    "zoo",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'archgraph' has no attribute {name!r}")
    names = {"op": "parse_call"}
    value = getattr(import_module(f"archgraph.{home}"), names.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
