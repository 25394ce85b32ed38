"""The paths of one gradient as a report: how many, how long, and the first or heaviest of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from archgraph.expression import Number
from archgraph.graph import Graph
from archgraph.paths.algebra import multiply, write
from archgraph.paths.count import Histograms, count_histograms, count_paths
from archgraph.paths.enumerate import Path, iter_paths, json_number
from archgraph.paths.equations_symbols import MAX_ROUTES, HopSymbols
from archgraph.paths.factors import Assumption, Factors
from archgraph.paths.rank import rank_paths
from archgraph.paths.view import Hop, View, ViewKind, view

__all__ = ["ListedPath", "PathList", "list_paths"]


@dataclass(frozen=True, slots=True)
class ListedPath:
    """A path and its factor."""

    path: Path
    factor: Number | None
    """The product of the factors, where λ and the assumptions make it a number."""
    symbol: str
    """The factors in symbols, from L back to the target."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        factor = None if self.factor is None else json_number(self.factor)
        return {**self.path.to_dict(), "factor": factor, "symbol": self.symbol}


@dataclass(frozen=True, slots=True)
class PathList:
    """How many paths a gradient has, and some of them."""

    wrt: str
    view: ViewKind
    count: int
    histograms: Histograms
    paths: tuple[ListedPath, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: `wrt`, `view`, `count`, `histogram`, `paths`."""
        return {
            "wrt": self.wrt,
            "view": self.view,
            "count": self.count,
            "histogram": self.histograms.to_dict(),
            "paths": [listed.to_dict() for listed in self.paths],
        }


def list_paths(
    graph: Graph,
    wrt: str,
    *,
    view: ViewKind = "op",
    limit: int = 20,
    top: int | None = None,
    assume: Iterable[Assumption | str] = (),
) -> PathList:
    """Count the paths from `wrt` to the loss, and list some with their factors.

    Args:
        graph: The network.
        wrt: A node, an input or a parameter.
        view: Which nodes are seen; counts depend on it.
        limit: List at most this many, in the order of enumeration.
        top: List this many of the largest |λ product| instead.
        assume: Numbers for Jacobians, such as `F*=0.25`.

    Raises:
        TargetError: there is no such target, or it has no gradient.
        UsageError: an assumption cannot be read or matches nothing.

    Cost: the counts in O(V + E) big-integer operations, however many paths there are.

    Example:
        >>> from archgraph.spec import load
        >>> listed = list_paths(load("residual", lam=0.5), "x1", view="state", assume=["*=1"])
        >>> listed.count, [str(p.factor) for p in listed.paths]
        (4, ['1', '1/2', '1/2', '1/4'])
    """
    seen = _view(graph, view, wrt)
    factors = _PathFactors(seen, Factors(graph, assume))
    found = rank_paths(seen, wrt, top) if top is not None else iter_paths(seen, wrt)
    listed = tuple(
        ListedPath(path, factors.number(path), factors.symbol(path))
        for path in islice(found, limit if top is None else top)
    )
    histograms = count_histograms(seen, wrt)
    return PathList(wrt, view, count_paths(seen, wrt), histograms, listed)


def _view(graph: Graph, kind: ViewKind, wrt: str) -> View:
    return view(graph, kind, wrt)


class _PathFactors:
    """The factors of the hops of one view."""

    def __init__(self, seen: View, factors: Factors) -> None:
        self._view, self._factors = seen, factors
        self._symbols = HopSymbols(seen, factors)
        self._numbers: dict[int, Number | None] = {}

    def symbol(self, path: Path) -> str:
        hops = [self._view.hops[i] for i in reversed(path.edge_indices)]
        return write(multiply(*map(self._symbols.local, hops))).text

    def number(self, path: Path) -> Number | None:
        product: Number = 1
        for index in path.edge_indices:
            if index not in self._numbers:
                self._numbers[index] = self._hop_number(self._view.hops[index])
            number = self._numbers[index]
            if number is None:
                return None
            product = product * number
        return product

    def _hop_number(self, hop: Hop) -> Number | None:
        """Return Σ over the hop's routes; None if one of them is no number, or there are many."""
        if hop.routes > MAX_ROUTES:
            return None
        total: Number = 0
        for route in self._view.routes(hop):
            number = self._factors.number([self._view.base.hops[i] for i in route])
            if number is None:
                return None
            total = total + number
        return total
