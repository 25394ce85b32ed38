"""The forms say the same: symbols become numbers, and every sum is held against brute force."""

import math
from collections import Counter
from dataclasses import replace

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from archgraph.paths.algebra import atoms
from archgraph.paths.equations import derive
from archgraph.paths.equations_nested import nested_lines
from archgraph.paths.equations_symbols import HopSymbols
from archgraph.paths.factors import Factors
from archgraph.paths.view import view
from tests.paths.oracle import brute_paths, cases
from tests.paths.reference import evaluate

VIEWS = st.sampled_from(["op", "state"])


class Numbers(dict):
    """A different whole number for every symbol; exact, so that sums are equal or not."""

    def __call__(self, atom):
        return self.setdefault(atom.text, len(self) + 2)


def ends(graph, wrt):
    plain = nx.DiGraph((e.source, e.target) for e in graph.edges if e.gradient)
    return ["L", *(sorted(nx.descendants(plain, wrt) - {"L"}) if wrt in plain else [])]


@st.composite
def questions(draw):
    """A graph, a target, an end behind it, and a view."""
    graph, wrt = draw(cases())
    if draw(st.booleans()):
        names = [node.name for node in graph.nodes if node.kind != "loss"]
        states = draw(st.lists(st.sampled_from(names), unique=True))
        graph = replace(graph, states=tuple(states))
    return graph, wrt, draw(st.sampled_from(ends(graph, wrt))), draw(VIEWS)


@settings(deadline=None)
@given(questions())
def test_the_nested_form_writes_every_hop_once_and_adds_up(question):
    graph, wrt, of, kind = question
    seen = view(graph, kind, wrt, of)
    symbols = HopSymbols(seen, Factors(graph))
    number = Numbers()
    partials = {symbols.partial(hop).text for hop in seen.hops}
    assert len(partials) == len(seen.hops)
    values = {hop.index: number(symbols.partial(hop)) for hop in seen.hops}
    expected = sum(math.prod(values[seen.hops[i].index] for i in path) for path in view_paths(seen))
    lines = nested_lines(symbols) if seen.hops else []
    used = Counter(atom.text for line in lines for term in line.partial for atom in atoms(term))
    assert {text: used[text] for text in partials - ends_of_atomic(symbols)} == dict.fromkeys(
        partials - ends_of_atomic(symbols), 1
    )
    total = 0
    for line in reversed(lines):
        total = sum(evaluate(term, number) for term in line.partial)
        name = symbols.total(line.node).text
        if name not in partials:
            number[name] = total
    assert total == expected


def ends_of_atomic(symbols):
    """Partials that are a total too: of nodes that only the end reads. They may be used often."""
    names = symbols.view.nodes[:-1]
    totals = {symbols.total(name).text for name in names}
    return totals & {symbols.partial(hop).text for hop in symbols.view.hops}


def view_paths(seen):
    plain = nx.MultiDiGraph()
    plain.add_nodes_from(seen.nodes)
    for hop in seen.hops:
        plain.add_edge(hop.source, hop.target, key=hop.index)
    for path in nx.all_simple_edge_paths(plain, seen.wrt, seen.of):
        yield [index for _, _, index in path]


@settings(deadline=None)
@given(questions())
def test_local_forms_are_sums_over_the_edges_of_the_graph(question):
    graph, wrt, of, kind = question
    factors, number = Factors(graph), Numbers()
    derivation = derive(graph, wrt, of=of, view=kind, max_terms=10_000)
    base = derivation.view.base
    expected = sum(
        math.prod(evaluate(factors.hop(base.hops[i]), number) for i in path)
        for path in brute_paths(graph, wrt, of)
    )
    found = sum(evaluate(term.local, number) for term in derivation.terms)
    assert abs(found - expected) <= 1e-9 * abs(expected)
    assert len(derivation.terms) == derivation.count
    lines = nested_lines(HopSymbols(derivation.view, factors)) if derivation.view.hops else []
    for line in reversed(lines):
        nested = sum(evaluate(term, number) for term in line.local)
        if line.node != wrt:
            number[HopSymbols(derivation.view, factors).total(line.node).text] = nested
        elif not derivation.view.hops[0].routes > 16:
            assert abs(nested - expected) <= 1e-9 * max(1, abs(expected))
