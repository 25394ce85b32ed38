"""Weights of edges from a file, by which paths are ranked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archgraph.errors import UsageError
from archgraph.expression import Number, parse_decimal
from archgraph.graph import Graph
from archgraph.paths.view import ViewKind, view
from archgraph.paths.weight import flow_weights

__all__ = ["read_weights"]


def read_weights(path: str, graph: Graph, wrt: str, kind: ViewKind) -> Mapping[str, Number]:
    """Return the weights in a JSON file: a number for each edge id, or what `decompose` printed.

    The shares of `decompose --by edge` become the parts in which the flow divides at each node, so
    that a path's product is the share that it would carry.

    Raises:
        UsageError: the file cannot be read, or has something else in it.
    """
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
