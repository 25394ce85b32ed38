"""The verb `paths`: count and list the paths of a gradient."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archgraph.cli.printing import print_json, print_table, say, short_count
from archgraph.cli.specs import load_spec
from archgraph.errors import UsageError
from archgraph.graph import Graph
from archgraph.numbers import Number, format_number, parse_decimal

if TYPE_CHECKING:
    from archgraph.paths.listing import PathList
    from archgraph.paths.view import ViewKind

__all__ = ["run_paths"]


def run_paths(arguments: argparse.Namespace) -> int:
    """Count and list the paths of a gradient."""
    from archgraph.paths.listing import list_paths

    graph = load_spec(arguments)
    weight, top = None, arguments.top
    if arguments.rank_by is not None:
        weight = _read_weights(arguments.rank_by, graph, arguments.wrt, arguments.view)
        top = arguments.limit if top is None else top
    listed = list_paths(
        graph,
        arguments.wrt,
        view=arguments.view,
        limit=arguments.limit,
        top=top,
        assume=arguments.assume,
        weight=weight,
        routes=arguments.routes,
        grade=arguments.grade,
    )
    if arguments.json:
        print_json(listed.to_dict())
    else:
        _print_paths(graph, listed, "Σ|λ|" if weight is None else "Σ weight")
    return 0


def _print_paths(graph: Graph, listed: PathList, ranked_by: str) -> None:
    count = f"{_whole(listed.count)} path{'s' * (listed.count != 1)}"
    say(f"∂L/∂{listed.wrt} in {graph.name}: {count} ({listed.view} view)")
    if not listed.count:
        say("no path leads from it to L, so its gradient is zero")
        return
    for key in ("edges", "weights", "skips", "branches"):
        histogram: Mapping[int, int] = getattr(listed.histograms, key)
        bins = ", ".join(f"{n}: {short_count(found)}" for n, found in islice(histogram.items(), 12))
        say(f"  by {key:9s} {bins}{', …' if len(histogram) > 12 else ''}")
    numbered = any(item.factor is not None for item in listed.paths)
    columns = ["path", "edges", "weights", "skips", "λ", *(["factor"] if numbered else [])]
    rows = [
        [
            text,
            item.path.length,
            item.path.weights,
            item.path.skips,
            format_number(item.path.scale),
            *([] if not numbered else ["" if item.factor is None else format_number(item.factor)]),
        ]
        for text, item in zip(listed.texts(), listed.paths, strict=True)
    ]
    print_table(columns, rows, right=columns[1:])
    if len(listed.paths) < listed.count:
        say(f"{len(listed.paths)} of {short_count(listed.count)} paths; --limit N lists more")
    if listed.routes:
        _print_routes(listed, ranked_by)


def _print_routes(listed: PathList, ranked_by: str) -> None:
    grade = listed.routes[0].grade
    taken = "weight layers" if grade == "weights" else grade
    if listed.tied:
        say(f"these paths all have the same |λ|, so here are classes of paths by the {taken} taken")
    else:
        say(f"classes of paths by the {taken} taken of each stage, the largest {ranked_by} first")
    weighed = any(route.total != route.count for route in listed.routes)
    columns = ["route", "paths", "of all", "weights", "λ", *([ranked_by] if weighed else [])]
    rows = [
        [
            str(route),
            short_count(route.count),
            f"{100 * (route.count / listed.count):.3g} %",
            _range(map(str, route.weights)),
            _range(map(format_number, route.scale)),
            *([format_number(route.total)] if weighed else []),
        ]
        for route in listed.routes
    ]
    print_table(columns, rows, right=columns[1:])


def _range(ends: Iterable[str]) -> str:
    return " … ".join(dict.fromkeys(ends))


def _whole(count: int) -> str:
    """Return all digits of a number, of which Python by itself writes 4,300."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return str(count)
    finally:
        sys.set_int_max_str_digits(limit)


# --- weights ------------------------------------------------------------------------------------


def _read_weights(path: str, graph: Graph, wrt: str, kind: ViewKind) -> Mapping[str, Number]:
    """Return the weights in a JSON file: a number for each edge id, or what `decompose` printed.

    The shares of `decompose --by edge` become the parts in which the flow divides at each node, so
    that a path's product is the share that it would carry.

    Raises:
        UsageError: the file cannot be read, or has something else in it.
    """
    from archgraph.paths.view import view
    from archgraph.paths.weight import flow_weights

    try:
        # Decimals are exact here as they are in a spec.
        found = json.loads(Path(path).read_text(encoding="utf-8"), parse_float=_decimal)
    except OSError as error:
        raise UsageError(f"cannot read {path!r}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path!r} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f'{path!r} must be one object, {{"x1->x3": 0.5, …}}')
    if not isinstance(found.get("parts"), list):
        return found
    if found.get("by") != "edge":
        raise UsageError(f"{path!r} splits a gradient by {found.get('by')}; edges take --by edge")
    return flow_weights(view(graph, kind, wrt).arrays, _shares(path, found["parts"]))


def _decimal(text: str) -> Number:
    size = parse_decimal(text.removeprefix("-"))
    return -size if text.startswith("-") else size


def _shares(path: str, parts: list[Any]) -> dict[str, Number]:
    shares = {}
    for part in parts:
        share = part.get("share") if isinstance(part, dict) else None
        if isinstance(share, bool) or not isinstance(share, Number):
            raise UsageError(f"in {path!r} a part has no share: {json.dumps(part, default=str)}")
        shares[str(part.get("key"))] = share
    return shares
