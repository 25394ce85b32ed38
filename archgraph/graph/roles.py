"""Which edges are skips and which are branches: a role, found from the structure.

The rule has three parts, tried at every sum and concat over the edges that carry a gradient. Let
d be the nearest common dominator of what the merge reads, if there is one.

a. *Bypass*: a term is a skip when a value on its chain also reaches the merge by another term,
   through at least one weight layer. The chain runs back from the term through weightless
   one-input layers and products, as far as a weight layer, a merge or d.
b. *Projection*, at a sum with d and no bypass, where nothing between d and the merge is read
   elsewhere: a term with one weight layer and otherwise only linear layers, on the whole of d,
   against a term with more weight layers.
c. *No weights* between d and the merge: the edge straight from d, unless all are.

A spec can force the role on or off. The terms that are not skips, at a merge that has one, are
branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import networkx as nx

from archgraph.graph.core import Graph
from archgraph.graph.records import Edge, Role

__all__ = ["assign_roles"]

_ROOT = -1
_SLICES = frozenset({"Chunk", "Select", "Slice"})


def assign_roles(graph: Graph) -> Graph:
    """Return the graph with the role of every edge set.

    Cost: O(V + E) for the dominators, and for each merge the part of the graph between it and
    the values its chains reach.
    """
    finder = _RoleFinder(graph)
    edges = list(graph.edges)
    for node in range(len(graph.nodes)):
        for terms in _merges(graph, node):
            for index, role in zip(terms, finder.roles(node, terms), strict=True):
                edges[index] = replace(edges[index], role=role)
    return replace(graph, edges=tuple(edges))


def _merges(graph: Graph, node: int) -> list[list[int]]:
    """Return, for each port that sums or concatenates, its edges that carry a gradient."""
    ports: dict[str, list[int]] = {}
    for index in graph.gradient_into[node]:
        if graph.edges[index].kind in ("add", "concat"):
            ports.setdefault(graph.edges[index].port, []).append(index)
    return list(ports.values())


class _RoleFinder:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._sources = graph.sources
        self._weight = [bool(n.op and n.op.op.weight_layer) for n in graph.nodes]

    def roles(self, node: int, terms: Sequence[int]) -> list[Role]:
        """Return the roles of the edges `terms` into one port of `node`."""
        edges = [self._graph.edges[index] for index in terms]
        skips = self._skips(node, terms, edges[0]) if len(terms) > 1 else set()
        for slot, edge in enumerate(edges):
            if edge.forced is not None:
                (skips.add if edge.forced else skips.discard)(slot)
        rest: Role = "branch" if skips else "none"
        return ["skip" if slot in skips else rest for slot in range(len(edges))]

    def _skips(self, node: int, terms: Sequence[int], first: Edge) -> set[int]:
        dominator = self._common_dominator(terms)
        bypass = self._bypasses(terms, dominator)
        if bypass or dominator is None:
            return bypass
        region = self._region([self._sources[index] for index in terms], dominator)
        if not any(self._weight[v] for v in region):
            straight = {k for k, index in enumerate(terms) if self._sources[index] == dominator}
            return straight if len(straight) < len(terms) else set()
        if first.kind == "add" and self._is_private(region, node):
            return self._projections(terms, dominator)
        return set()

    # --- dominators -------------------------------------------------------------------------

    @cached_property
    def _dominators(self) -> dict[int, int]:
        """Immediate dominator of each node, under a virtual root above everything parentless."""
        plain: nx.DiGraph[int] = nx.DiGraph()
        for v, into in enumerate(self._graph.gradient_into):
            sources = {self._sources[index] for index in into} or {_ROOT}
            plain.add_edges_from((source, v) for source in sources)
        return dict(nx.immediate_dominators(plain, _ROOT))

    def _common_dominator(self, terms: Sequence[int]) -> int | None:
        common, *rest = {self._sources[index] for index in terms}
        for other in rest:
            # Positions are topological, so the later of the two is never the ancestor.
            while common != other:
                if common > other:
                    common = self._dominators[common]
                else:
                    other = self._dominators[other]
        return None if common == _ROOT else common

    # --- a: bypass --------------------------------------------------------------------------

    def _chain(self, start: int, dominator: int | None) -> list[int]:
        values, pending = [], [start]
        while pending:
            v = pending.pop()
            values.append(v)
            into = self._graph.gradient_into[v]
            product = all(self._graph.edges[index].kind == "multiply" for index in into)
            if v != dominator and not self._weight[v] and (len(into) == 1 or product):
                pending += (self._sources[index] for index in into)
        return values

    def _bypasses(self, terms: Sequence[int], dominator: int | None) -> set[int]:
        chains = [self._chain(self._sources[index], dominator) for index in terms]
        through = self._reach_through_weights(terms, min(map(min, chains)))
        # witness[k][other]: the most upstream value of term k's chain that reaches the merge
        # by the other term.
        witness: list[dict[int, int]] = []
        for k, chain in enumerate(chains):
            found: dict[int, int] = {}
            for v in sorted(chain):
                others = through.get(v, 0) & ~(1 << k)
                for other in _bits(others):
                    found.setdefault(other, v)
            witness.append(found)
        skips = set()
        for k, found in enumerate(witness):
            # Of two terms that bypass each other, the one whose value lies upstream.
            if any(k not in witness[o] or v <= witness[o][k] for o, v in found.items()):
                skips.add(k)
        return skips

    def _reach_through_weights(self, terms: Sequence[int], lowest: int) -> dict[int, int]:
        """Return by which terms (as bits) a node reaches the merge through a weight layer.

        For each node from `lowest` on that reaches it so.
        """
        plain: dict[int, int] = {}
        weighted: dict[int, int] = {}
        for k, index in enumerate(terms):
            source = self._sources[index]
            plain[source] = plain.get(source, 0) | 1 << k
        for v in range(max(plain), lowest, -1):
            without, through = plain.get(v, 0), weighted.get(v, 0)
            if not without and not through:
                continue
            if self._weight[v]:
                without, through = 0, without | through
            for index in self._graph.gradient_into[v]:
                u = self._sources[index]
                plain[u] = plain.get(u, 0) | without
                weighted[u] = weighted.get(u, 0) | through
        return weighted

    # --- b, c: what lies between the dominator and the merge ----------------------------------

    def _region(self, ends: Sequence[int], dominator: int) -> set[int]:
        """Return the nodes from the dominator (left out) to `ends` (kept)."""
        region: set[int] = set()
        pending = list(ends)
        while pending:
            v = pending.pop()
            if v != dominator and v not in region:
                region.add(v)
                pending += (self._sources[index] for index in self._graph.gradient_into[v])
        return region

    def _is_private(self, region: set[int], node: int) -> bool:
        targets = self._graph.targets
        return all(
            targets[index] in region or targets[index] == node
            for v in region
            for index in self._graph.gradient_out_of[v]
        )

    def _projections(self, terms: Sequence[int], dominator: int) -> set[int]:
        counts = [self._most_weights(self._sources[index], dominator) for index in terms]
        return {
            k
            for k, index in enumerate(terms)
            if max(counts) > 1 and self._is_projection(self._sources[index], dominator)
        }

    def _is_projection(self, v: int, dominator: int) -> bool:
        weights = 0
        while v != dominator:
            into = self._graph.gradient_into[v]
            op = self._graph.nodes[v].op
            if len(into) != 1 or self._graph.edges[into[0]].element:
                return False
            if op is not None:
                linear = op.op.linear or op.op.weight_layer or op.op.family == "normalization"
                if not linear or op.name in _SLICES:
                    return False
            weights += self._weight[v]
            v = self._sources[into[0]]
        return weights == 1

    def _most_weights(self, v: int, dominator: int) -> int:
        """Return the most weight layers on a path from the dominator to v, v included."""
        best = {dominator: 0}
        for u in sorted(self._region([v], dominator)):
            into = self._graph.gradient_into[u]
            best[u] = self._weight[u] + max(best.get(self._sources[i], 0) for i in into)
        return best[v]


def _bits(mask: int) -> list[int]:
    return [k for k in range(mask.bit_length()) if mask >> k & 1]
