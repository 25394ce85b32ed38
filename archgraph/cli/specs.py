"""Load the spec that a verb was given."""

from __future__ import annotations

import argparse
import sys

from archgraph.cli.printing import warn
from archgraph.graph import Graph
from archgraph.spec import load, parse, parse_setting

__all__ = ["load_spec"]


def load_spec(arguments: argparse.Namespace, *, warnings: bool = True) -> Graph:
    """Return the graph of `arguments.spec` with `--set` applied; print its warnings.

    Raises:
        SpecError: the spec is bad.
        UsageError: there is no such spec or param.
    """
    settings = dict(parse_setting(text) for text in arguments.set)
    plugins = tuple(arguments.plugin)
    if arguments.spec == "-":
        graph = parse(sys.stdin.buffer.read(), file="<stdin>", plugins=plugins, **settings)
    else:
        graph = load(arguments.spec, plugins=plugins, **settings)
    if warnings:
        for problem in graph.warnings:
            warn(str(problem))
    return graph
