"""The symbols of a view's hops: direct partials, what they are locally, and totals."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Final

from archgraph.graph import LOSS
from archgraph.paths.algebra import ONE, Atom, Expression, add, multiply, write
from archgraph.paths.factors import Factors
from archgraph.paths.notation import Written, write_name
from archgraph.paths.view import Hop, View

__all__ = ["MAX_ROUTES", "HopSymbols"]

MAX_ROUTES: Final = 16
"""A hop with more ways through hidden nodes keeps its ∂⁺ in the local form."""
MAX_TAG: Final = 24
"""A longer formula of a merge that no one named is shown by the merge's implied name."""


class HopSymbols:
    """Writes the hops of one view; no two hops have the same direct partial."""

    def __init__(self, view: View, factors: Factors) -> None:
        self.view = view
        self.factors = factors
        self._partials: dict[int, Atom] = {}
        self._locals: dict[int, Expression] = {}

    def total(self, node: str) -> Atom:
        """Return ∂of/∂node, the sum over all paths; ∂⁺ where that is one hop of a node's own."""
        hops = self._leaving.get(node, ())
        if len(hops) == 1 and hops[0].target == self.view.of:
            return self.partial(hops[0])
        return self.factors.partial(self.view.of, node, total=True)

    def partial(self, hop: Hop) -> Atom:
        """Return ∂⁺target/∂source of a hop; ∂L/∂x if nothing but L reads x."""
        if hop.index not in self._partials:
            only = hop.target == LOSS and len(self._leaving[hop.source]) == 1
            tag = self._tags.get(hop.index)
            symbol = self.factors.partial(hop.target, hop.source, total=only, tag=tag)
            self._partials[hop.index] = symbol
        return self._partials[hop.index]

    def local(self, hop: Hop) -> Expression:
        """Return the hop's factor in local derivatives, summed over its routes."""
        if hop.index not in self._locals:
            self._locals[hop.index] = self._local(hop)
        return self._locals[hop.index]

    def _local(self, hop: Hop) -> Expression:
        if hop.routes > MAX_ROUTES:
            symbol = self.partial(hop)
            return Atom(symbol.text, symbol.latex, f"the sum over {hop.routes} ways")
        view = self.view
        edge = self.factors.hop
        if view.source(hop.last) == hop.source:
            return edge(view.base.hops[hop.last])
        below: dict[str, Expression] = {hop.source: ONE}
        for name, edges in view.between(hop).items():
            ways = [multiply(edge(view.base.hops[i]), below[view.source(i)]) for i in edges]
            below[name] = add(ways)
        return multiply(edge(view.base.hops[hop.last]), below[view.source(hop.last)])

    @cached_property
    def _leaving(self) -> dict[str, tuple[Hop, ...]]:
        groups: dict[str, list[Hop]] = {}
        for hop in self.view.hops:
            groups.setdefault(hop.source, []).append(hop)
        return {name: tuple(hops) for name, hops in groups.items()}

    @cached_property
    def _tags(self) -> dict[int, Written]:
        """What tells apart the hops between the same two nodes."""
        parallel: dict[tuple[str, str], list[Hop]] = {}
        for hop in self.view.hops:
            parallel.setdefault((hop.source, hop.target), []).append(hop)
        tags: dict[int, Written] = {}
        for hops in parallel.values():
            if len(hops) > 1:
                seen: Counter[str] = Counter()
                for hop in hops:
                    tag = self._through(hop, hops)
                    again = seen[tag.text]
                    seen[tag.text] += 1
                    number = f"#{again}" if again else ""
                    tags[hop.index] = Written(tag.text + number, tag.latex + number[1:])
        return tags

    def _through(self, hop: Hop, parallel: list[Hop]) -> Written:
        """Return the summand of L, the last value before the target, or the port: what differs."""
        edges = self.view.base.hops
        edge = edges[hop.last]
        graph = self.view.graph
        if edge.index >= len(graph.edges):
            return _upright("direct")
        if edge.target == LOSS:
            return _upright(graph.loss[edge.slot].name)
        if edge.source != hop.source:
            value = write(self.factors.value(edge))
            return value if len(value.text) <= MAX_TAG else self.factors.names(edge.source)
        ports = {edges[other.last].port for other in parallel}
        return _upright(edge.port if len(ports) > 1 else "direct")


def _upright(word: str) -> Written:
    return Written(word, write_name(word))
