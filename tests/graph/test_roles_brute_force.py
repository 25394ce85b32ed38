"""The rule for skips against its words, by walking everything; and that it needs no such walks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence

import networkx as nx
import pytest

from archgraph.graph import Edge, Graph, GraphBuilder, Term
from archgraph.ops.calls import parse_call
from tests.strategies import random_graph

ROOT = "<root>"
OPS = {
    text: parse_call(text)
    for text in ("Linear(3)", "ReLU", "LayerNorm", "Affine(2)", "Chunk(3, 0)", "Select(1, 0)")
}


class BruteForce:
    """Roles by plain searches in networkx, one for each question."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.edges = [e for e in graph.edges if e.gradient]
        self.flow = nx.DiGraph((e.source, e.target) for e in self.edges)
        self.flow.add_nodes_from(n.name for n in graph.nodes)
        self.rooted = nx.DiGraph(self.flow)
        starts = [n for n in self.flow if not self.flow.in_degree(n)]
        self.rooted.add_edges_from((ROOT, n) for n in starts)
        self.heavy = {n.name for n in graph.nodes if n.op and n.op.op.weight_layer}

    def into(self, name: str) -> list[Edge]:
        return [e for e in self.edges if e.target == name]

    def above(self, name: str) -> set[str]:
        return nx.ancestors(self.flow, name) | {name}

    def dominator(self, names: set[str]) -> str | None:
        """The last node without which no way from the root leads to any of `names`."""
        found = []
        for node in set.intersection(*map(self.above, names)):
            rest = nx.restricted_view(self.rooted, [node], [])
            if not any(v != node and nx.has_path(rest, ROOT, v) for v in names):
                found.append(node)
        return max(found, key=self.graph.positions.__getitem__, default=None)

    def chain(self, name: str, dominator: str | None) -> set[str]:
        found, pending = set(), [name]
        while pending:
            v = pending.pop()
            found.add(v)
            into = self.into(v)
            passes = len(into) == 1 or {e.kind for e in into} <= {"multiply"}
            if v != dominator and v not in self.heavy and passes:
                pending += [e.source for e in into]
        return found

    def leads_through_weights(self, v: str, end: str) -> bool:
        ways = nx.descendants(self.flow, v) & self.above(end)
        return bool(ways & self.heavy)

    def witness(self, chain: set[str], end: str) -> float:
        """Position of the first value of a chain that leads to `end` through weights."""
        found = [v for v in chain if self.leads_through_weights(v, end)]
        return min((self.graph.positions[v] for v in found), default=float("inf"))

    def skips(self, terms: Sequence[Edge]) -> set[Edge]:
        d = self.dominator({e.source for e in terms})
        chains = [self.chain(e.source, d) for e in terms]
        bypass = {
            e
            for k, e in enumerate(terms)
            for o, other in enumerate(terms)
            if o != k
            and (first := self.witness(chains[k], other.source)) < float("inf")
            and first <= self.witness(chains[o], e.source)
        }
        if bypass or d is None:
            return bypass
        between = set().union(*(self.above(e.source) for e in terms)) & nx.descendants(self.flow, d)
        if not between & self.heavy:
            straight = {e for e in terms if e.source == d}
            return straight if len(straight) < len(terms) else set()
        target = terms[0].target
        private = all(r in between | {target} for v in between for r in self.flow.successors(v))
        ways = {e: list(self.ways(d, e.source)) for e in terms}
        weights = {e: max(len(self.heavy & set(way)) for way in ways[e]) for e in terms}
        if terms[0].kind == "concat" or not private or max(weights.values()) < 2:
            return set()
        return {e for e in terms if weights[e] == 1 and self.is_linear(ways[e], d)}

    def ways(self, d: str, end: str) -> Iterator[list[str]]:
        """Every way from d (left out) to `end`."""
        if end == d:
            yield []
            return
        for way in nx.all_simple_paths(self.flow, d, end):
            yield way[1:]

    def is_linear(self, ways: list[list[str]], d: str) -> bool:
        if len(ways) != 1:
            return False
        for v in ways[0]:
            into, op = self.into(v), self.graph.node(v).op
            if len(into) != 1 or into[0].element:
                return False
            if op is None:
                continue
            cut = op.name in ("Chunk", "Select", "Slice")
            plain = op.op.linear or op.op.weight_layer or op.op.family == "normalization"
            if cut or not plain:
                return False
        return True

    def roles(self) -> dict[str, str]:
        roles = {e.id: "none" for e in self.graph.edges}
        for node in self.graph.nodes:
            merged = [e for e in self.into(node.name) if e.kind in ("add", "concat")]
            for port in {e.port for e in merged}:
                terms = [e for e in merged if e.port == port]
                skips = self.skips(terms) if len(terms) > 1 else set()
                skips |= {e for e in terms if e.forced}
                skips -= {e for e in terms if e.forced is False}
                roles |= {e.id: "branch" if skips else "none" for e in terms}
                roles |= {e.id: "skip" for e in skips}
        return roles


def random_unit_graph(rng: random.Random) -> Graph:
    """Units around shortcuts of every kind: from here, from far up, projected, read elsewhere."""
    builder = GraphBuilder("units")
    x = h = builder.input("x", (3,))
    heads: list[str] = [x]
    layers = (f"n{i}" for i in range(1000))

    def chain(value: str, length: int) -> str:
        for _ in range(length):
            value = builder.layer(next(layers), rng.choice(list(OPS.values())), [value])
        return value

    for _ in range(rng.randint(1, 5)):
        branch = chain(h, rng.randint(0, 3))
        other = chain(rng.choice([h, h, x, rng.choice(heads)]), rng.choice([0, 0, 1, 2]))
        merge = rng.choice(["add", "add", "add", "concat", "multiply"])
        op = rng.choice([None, OPS["ReLU"], OPS["Linear(3)"]])
        forced = rng.choice([None] * 9 + [True, False])
        h = builder.layer(next(layers), op, [branch, Term(other, forced=forced)], merge=merge)
        heads.append(h)
        if rng.random() < 0.2:
            builder.output(chain(h, 1))
    builder.output(h, name="last")
    return builder.build()


@pytest.mark.parametrize("make", [random_graph, random_unit_graph])
def test_the_rule_is_what_its_words_say(make: Callable[[random.Random], Graph]) -> None:
    found = set()
    for seed in range(150):
        graph = make(random.Random(seed))
        assert {e.id: e.role for e in graph.edges} == BruteForce(graph).roles(), seed
        found |= {e.role for e in graph.edges}
    assert found == {"skip", "branch", "none"}


def recurrent(steps: int) -> GraphBuilder:
    builder = GraphBuilder("recurrent")
    x = builder.input("x", (3,))
    h = x
    for t in range(steps):
        w = builder.layer(f"w{t}", OPS["Linear(3)"], [h])
        u = builder.layer(f"u{t}", OPS["Linear(3)"], [x])
        h = builder.layer(f"h{t}", OPS["ReLU"], [w, u])
    return builder


def preactivated(units: int) -> GraphBuilder:
    builder = GraphBuilder("preactivated")
    h = builder.input("x", (3,))
    for t in range(units):
        r = builder.layer(f"r{t}", OPS["ReLU"], [h])
        f = builder.layer(f"f{t}", OPS["Linear(3)"], [r])
        h = builder.layer(f"h{t}", None, [f, h])
    return builder


def reading_the_input_again(units: int) -> GraphBuilder:
    builder = GraphBuilder("again")
    x = h = builder.input("x", (3,))
    for t in range(units):
        f = builder.layer(f"f{t}", OPS["Linear(3)"], [h])
        h = builder.layer(f"h{t}", None, [f, x])
    return builder


def nested(depth: int) -> GraphBuilder:
    builder = GraphBuilder("nested")
    h = builder.input("x", (3,))
    held = []
    for t in range(depth):
        h = builder.layer(f"d{t}", OPS["Linear(3)"], [h])
        held.append(h)
    for t, skip in enumerate(reversed(held)):
        h = builder.layer(f"u{t}", OPS["Linear(3)"], [h, skip], merge="concat")
    return builder


@pytest.mark.parametrize(
    ("make", "count"),
    [(recurrent, 1666), (preactivated, 1666), (reading_the_input_again, 2500), (nested, 2500)],
)
def test_5000_nodes_take_no_second(make: Callable[[int], GraphBuilder], count: int) -> None:
    builder = make(count)
    start = time.process_time()
    graph = builder.build()
    # A tenth of this when written; a rule that walks up from every merge takes 2 to 6 seconds.
    assert time.process_time() - start < 1
    assert len(graph.nodes) >= 5000


def test_what_another_port_reads_is_between_too():
    # q is read elsewhere, so nothing private lies between x and y, though it does below m's sum.
    builder = GraphBuilder("ports")
    x = builder.input("x", (3, 3))
    line = OPS["Linear(3)"]
    a = builder.layer("a2", line, [builder.layer("a1", line, [x])])
    p, q = (builder.layer(name, line, [x]) for name in "pq")
    m = builder.layer("m", parse_call("MatMul"), {"input": [a, p], "other": [q]})
    w, s = builder.layer("w", line, [m]), builder.layer("s", line, [x])
    builder.output(builder.layer("y", None, [w, s]))
    builder.output(builder.layer("head", line, [q]))
    graph = builder.build()
    assert {e.id: e.role for e in graph.edges} == BruteForce(graph).roles()
    assert [e.role for e in graph.edges_into("m")] == ["branch", "skip", "none"]
    assert [e.role for e in graph.edges_into("y")] == ["none", "none"]
