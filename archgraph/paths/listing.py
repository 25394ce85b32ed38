"""The paths of one gradient as a report: how many, how long, and the first or heaviest of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from archgraph.graph import Graph
from archgraph.numbers import Number
from archgraph.paths.algebra import write, write_factors
from archgraph.paths.count import Histograms, count_histograms, count_paths
from archgraph.paths.enumerate import Path, iter_paths, json_number
from archgraph.paths.equations_symbols import MAX_ROUTES, HopSymbols
from archgraph.paths.factors import Assumption, Factors
from archgraph.paths.fold import Folding
from archgraph.paths.rank import rank_paths
from archgraph.paths.route import Route, RouteOrder, rank_routes
from archgraph.paths.stage import Grade
from archgraph.paths.view import Hop, View, ViewKind, view
from archgraph.paths.weight import EdgeWeight

__all__ = ["ROUTES", "ListedPath", "PathList", "list_paths"]

ROUTES: Final = 10
"""How many routes are listed where the paths alone say nothing."""


@dataclass(frozen=True, slots=True)
class ListedPath:
    """A path and its factor."""

    path: Path
    factor: Number | None
    """The product of the factors, where λ and the assumptions make it a number."""
    write: Callable[[Path], str] = field(repr=False, compare=False)
    """What writes a path's factors."""

    @property
    def symbol(self) -> str:
        """The factors in symbols, from L back to the target."""
        return self.write(self.path)

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
    routes: tuple[Route, ...] = ()
    folding: Folding | None = field(default=None, compare=False, repr=False)

    def texts(self) -> list[str]:
        """Return the listed paths for people: long ones by their blocks; see `Folding`."""
        paths = [listed.path for listed in self.paths]
        return [str(path) for path in paths] if self.folding is None else self.folding.texts(paths)

    @property
    def tied(self) -> bool:
        """Whether several paths are listed of more that there are, and all have the same |λ|."""
        sizes = {abs(listed.path.scale) for listed in self.paths}
        return 1 < len(self.paths) < self.count and len(sizes) == 1

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: `wrt`, `view`, `count`, `histogram`, `paths`, `routes`."""
        return {
            "wrt": self.wrt,
            "view": self.view,
            "count": self.count,
            "histogram": self.histograms.to_dict(),
            "paths": [listed.to_dict() for listed in self.paths],
            "routes": [route.to_dict() for route in self.routes],
        }


def list_paths(
    graph: Graph,
    wrt: str,
    *,
    view: ViewKind = "op",
    limit: int = 20,
    top: int | None = None,
    assume: Iterable[Assumption | str] = (),
    weight: EdgeWeight | None = None,
    routes: int | None = None,
    grade: Grade | None = None,
) -> PathList:
    """Count the paths from `wrt` to the loss, and list some with their factors.

    Args:
        graph: The network.
        wrt: A node, an input or a parameter.
        view: Which nodes are seen; counts depend on it.
        limit: List at most this many, in the order of enumeration.
        top: List this many of the largest |λ product| instead.
        assume: Numbers for Jacobians, such as `F*=0.25`.
        weight: What paths and routes are ranked by instead of |λ|.
        routes: How many routes to list too, those of the largest weight first; by default `ROUTES`
            where several of more paths are listed and all of these have the same |λ|.
        grade: What is counted of the stages of a route; see `iter_routes`.

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
    paths, factors = seen.arrays, _PathFactors(seen, Factors(graph, assume, explain=False))
    found = iter_paths(paths) if top is None else rank_paths(paths, k=top, weight=weight)
    listed = tuple(
        ListedPath(path, factors.number(path), factors.symbol)
        for path in islice(found, limit if top is None else top)
    )
    report = PathList(
        wrt=wrt,
        view=view,
        count=count_paths(paths),
        histograms=count_histograms(paths),
        paths=listed,
        folding=Folding(seen),
    )
    if routes is None and weight is None and report.tied:
        routes = ROUTES
    if not routes:
        return report
    by: RouteOrder = "lambda" if weight is None else weight
    return replace(report, routes=tuple(rank_routes(seen, k=routes, by=by, grade=grade)))


def _view(graph: Graph, kind: ViewKind, wrt: str) -> View:
    return view(graph, kind, wrt)


class _PathFactors:
    """The factors of the hops of one view, each made and written once."""

    def __init__(self, seen: View, factors: Factors) -> None:
        self._view, self._factors = seen, factors
        self._symbols = HopSymbols(seen, factors)
        self._numbers: dict[int, Number | None] = {}
        self._written: dict[int, tuple[bool, list[str]]] = {}

    def symbol(self, path: Path) -> str:
        hops = path.edge_indices
        if len(hops) == 1:
            return write(self._symbols.local(self._view.hops[hops[0]])).text
        written = [self._write(hop) for hop in reversed(hops)]
        product = "·".join(part for _, parts in written for part in parts) or "1"
        return "−" * (sum(negative for negative, _ in written) % 2) + product

    def _write(self, hop: int) -> tuple[bool, list[str]]:
        if hop not in self._written:
            negative, parts = write_factors(self._symbols.local(self._view.hops[hop]))
            self._written[hop] = negative, [part.text for part in parts]
        return self._written[hop]

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
