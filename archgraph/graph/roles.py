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
from functools import reduce
from operator import or_

from archgraph.graph.core import Graph
from archgraph.graph.dominators import DominatorTree
from archgraph.graph.records import Edge, Role

__all__ = ["assign_roles"]

_NONE = -1
_SLICES = frozenset({"Chunk", "Select", "Slice"})


def assign_roles(graph: Graph) -> Graph:
    """Return the graph with the role of every edge set.

    Cost: one pass over the edges. What lies above a node is a set of bits, so that an edge takes a
    few operations on numbers of V bits; they are kept only as long as the node is read.
    """
    finder = _RoleFinder(graph)
    edges = list(graph.edges)
    for node in range(len(graph.nodes)):
        for terms in _merges(graph, node):
            for index, role in zip(terms, finder.roles(node, terms), strict=True):
                edges[index] = replace(edges[index], role=role)
        finder.enter(node)
    return replace(graph, edges=tuple(edges))


def _merges(graph: Graph, node: int) -> list[list[int]]:
    """Return, for each port that sums or concatenates, its edges that carry a gradient."""
    ports: dict[str, list[int]] = {}
    for index in graph.gradient_into[node]:
        if graph.edges[index].kind in ("add", "concat"):
            ports.setdefault(graph.edges[index].port, []).append(index)
    return list(ports.values())


class _RoleFinder:
    """Knows of every node that was entered what lies above it; nodes are entered in order.

    A set of nodes is an integer whose bit v stands for node v. Positions are topological, so of a
    set between a dominator d and a node all bits are above d, and what is above d is between.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._sources = graph.sources
        self._weight = [bool(n.op and n.op.op.weight_layer) for n in graph.nodes]
        self._dominators = DominatorTree()
        self._above: dict[int, int] = {}
        """What reaches a node, itself left out."""
        self._above_weights: dict[int, int] = {}
        """What reaches a node through a weight layer, which may be the node itself."""
        self._chain: dict[int, int] = {}
        """A node and what leads to it through weightless one-input layers and products."""
        self._last_weight: list[int] = []
        """The last weight layer at or above a node."""
        self._last_pair: list[int] = []
        """The last weight layer at or above a node that has another one behind it on the way."""
        self._closed: dict[int, int] = {}
        """By merge: the dominator, where nothing between the two is read elsewhere."""

    def enter(self, node: int) -> None:
        """Note what lies above a node; all that it reads must have been entered."""
        into = self._graph.gradient_into[node]
        above = list(dict.fromkeys(self._sources[index] for index in into))
        self._dominators.add(node, above)
        weight = self._weight[node]
        everything = reduce(or_, (self._above[v] | 1 << v for v in above), 0)
        self._above[node] = everything
        self._above_weights[node] = (
            everything if weight else reduce(or_, (self._above_weights[v] for v in above), 0)
        )
        product = all(self._graph.edges[index].kind == "multiply" for index in into)
        passes = not weight and (len(into) == 1 or product)
        self._chain[node] = reduce(or_, (self._chain[v] for v in above if passes), 1 << node)
        last = max((self._last_weight[v] for v in above), default=_NONE)
        pair = max((self._last_pair[v] for v in above), default=_NONE)
        self._last_weight.append(node if weight else last)
        self._last_pair.append(max(pair, last) if weight else pair)
        self._forget(node, above)

    def _forget(self, node: int, above: Sequence[int]) -> None:
        """Drop the sets of what nothing further down reads."""
        for v in (*above, node):
            readers = self._graph.gradient_out_of[v]
            if not readers or self._graph.targets[readers[-1]] <= node:
                for sets in (self._above, self._above_weights, self._chain):
                    sets.pop(v, None)

    def roles(self, node: int, terms: Sequence[int]) -> list[Role]:
        """Return the roles of the edges `terms` into one port of `node`, the next to be entered."""
        edges = [self._graph.edges[index] for index in terms]
        skips = self._skips(node, terms, edges[0]) if len(terms) > 1 else set()
        for slot, edge in enumerate(edges):
            if edge.forced is not None:
                (skips.add if edge.forced else skips.discard)(slot)
        rest: Role = "branch" if skips else "none"
        return ["skip" if slot in skips else rest for slot in range(len(edges))]

    def _skips(self, node: int, terms: Sequence[int], first: Edge) -> set[int]:
        ends = [self._sources[index] for index in terms]
        dominator = self._dominators.nearest_common(ends)
        bypass = self._bypasses(ends, dominator)
        if bypass or dominator is None:
            return bypass
        if all(self._last_weight[v] <= dominator for v in ends):
            straight = {k for k, v in enumerate(ends) if v == dominator}
            return straight if len(straight) < len(ends) else set()
        if first.kind == "add" and any(self._last_pair[v] > dominator for v in ends):
            projections = {k for k, v in enumerate(ends) if self._is_projection(v, dominator)}
            if projections and self._is_private(node, terms, dominator):
                return projections
        return set()

    # --- a: bypass --------------------------------------------------------------------------

    def _bypasses(self, ends: Sequence[int], dominator: int | None) -> set[int]:
        start = dominator or 0
        chains = [self._chain[v] >> start << start for v in ends]
        # The latest values first: they are the ones that others lead to.
        others = sorted(range(len(ends)), key=lambda k: -ends[k])
        return {
            k
            for k in range(len(ends))
            if any(o != k and self._leads_around(ends, chains, k, o) for o in others)
        }

    def _leads_around(self, ends: Sequence[int], chains: Sequence[int], k: int, o: int) -> bool:
        """Whether a value on the chain of term k reaches the merge by term o through weights.

        Of two terms that bypass each other, the one whose value lies upstream does. Neither does
        if the values are side by side: in g·a + (1 − g)·b, where g reads a and b, none is a skip.
        """
        witness = _lowest(chains[k] & self._above_weights[ends[o]])
        if witness == _NONE:
            return False
        back = _lowest(chains[o] & self._above_weights[ends[k]])
        return back == _NONE or self._leads_to(witness, back)

    def _leads_to(self, start: int, end: int) -> bool:
        """Whether `end` is `start` or below it. Cost: the edges between, and rarely asked."""
        pending, seen = [end], {end}
        while pending:
            v = pending.pop()
            if v == start:
                return True
            above = {self._sources[index] for index in self._graph.gradient_into[v]}
            new = {u for u in above - seen if u >= start}
            seen |= new
            pending += new
        return False

    # --- b: projections -----------------------------------------------------------------------

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
            if weights > 1:
                return False
            v = self._sources[into[0]]
        return weights == 1

    def _is_private(self, node: int, terms: Sequence[int], dominator: int) -> bool:
        """Whether nothing between the dominator and the merge is read elsewhere."""
        pending = [self._sources[index] for index in terms]
        region = reduce(or_, (self._above[v] | 1 << v for v in pending), 1 << node)
        seen = {dominator}
        while pending:
            v = pending.pop()
            if v in seen:
                continue
            seen.add(v)
            readers = self._graph.gradient_out_of[v]
            if not all(region >> self._graph.targets[index] & 1 for index in readers):
                return False
            if v in self._closed:
                pending.append(self._closed[v])
            else:
                pending += (self._sources[index] for index in self._graph.gradient_into[v])
        if len(terms) == len(self._graph.gradient_into[node]):
            self._closed[node] = dominator
        return True


def _lowest(nodes: int) -> int:
    """Return the first node of a set."""
    return (nodes & -nodes).bit_length() - 1
