"""A checked spec to a graph: names resolved, blocks written out, formulas read, merges lowered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from archgraph.errors import Mark, Problem, SpecError
from archgraph.graph.build import assemble
from archgraph.graph.core import Graph
from archgraph.graph.instances import Instance, Member
from archgraph.graph.records import LOSS
from archgraph.ops.op import Op
from archgraph.spec.checked import Checked
from archgraph.spec.document import Document, Limits
from archgraph.spec.ends import read_ends, read_initialisers, read_loss, read_states, read_ties
from archgraph.spec.expansion import Expansion
from archgraph.spec.layers import read_layers
from archgraph.spec.names import name_problem
from archgraph.spec.origins import names_of
from archgraph.spec.params import param_texts, param_values
from archgraph.spec.scope import Scope
from archgraph.spec.template import Template

__all__ = ["expand"]


def expand(
    document: Document,
    checked: Checked,
    given: Mapping[str, Any],
    name: str,
    *,
    templates: Mapping[str, Template],
    plugins: Mapping[str, Op],
    limits: Limits,
    doomed: bool = False,
) -> Graph:
    """Return the graph of a checked spec.

    Args:
        document: Where everything stands.
        checked: The spec, its keys and kinds checked.
        given: Values that replace those of its params.
        name: The network's name if the spec gives none.
        templates: Its blocks, and those it includes.
        plugins: Ops beside the catalogue's.
        limits: How large it may become.
        doomed: Whether a problem was found before, so that there are only more to be found.

    Raises:
        SpecError: with every problem found.

    Cost: linear in the nodes of the result.
    """
    spec = checked.spec
    assert spec is not None
    expansion = Expansion(document, spec, checked.broken, templates, plugins, limits)
    params = _params(expansion, given)
    expansion.numbers = params
    if not spec.layers:
        mark = document.mark(("layers",), key=True)
        expansion.add("no-layers", "the spec has no layers", mark, help="layers: {fc: Linear(10)}")
        raise SpecError(expansion.problems)
    scope = Scope(
        expansion, document, (), "", "", params, spec.params, layers=spec.layers, edges=spec.edges
    )
    expansion.read_inputs(scope)
    start = scope.bound[next(iter(spec.inputs))].reading if len(spec.inputs) == 1 else None
    expansion.instances[""] = Instance(path="", kind="network", module="")
    members = read_layers(scope, start)
    expansion.judge_order()
    ends = [(n, r.node) for n, r in read_ends(scope, spec.outputs, ())]
    terms = read_loss(scope, checked.losses, ends)
    states = read_states(scope)
    init = read_initialisers(scope, spec.init, ("init",), None)
    ties = read_ties(scope, [] if expansion.problems else list(expansion.nodes.values()))
    if expansion.problems or doomed:
        raise SpecError(expansion.problems)
    graph = assemble(
        spec.name or name,
        list(expansion.nodes.values()),
        expansion.edges,
        ends,
        terms,
        states=states,
        ties=ties,
        init=init,
        about=spec.about,
        params=params,
        instances=_whole(expansion, members, ends, given),
    )
    return _with_warnings(graph, expansion.unused_blocks())


def _params(expansion: Expansion, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the spec's params."""
    document, declared = expansion.document, expansion.spec.params
    for name in declared:
        if found := name_problem(name, "param"):
            mark = document.mark(("params", name), key=True)
            expansion.add("reserved-name", found[0], mark, why=found[1])
    values, problems = param_values(document, ("params",), declared, given, {}, expansion.op)
    expansion.problems += problems
    return values


def _whole(
    expansion: Expansion,
    members: Sequence[Member],
    ends: Sequence[tuple[str, str]],
    given: Mapping[str, Any],
) -> dict[str, Instance]:
    """Return the instances, the network itself first."""
    params = {**expansion.spec.params, **given}
    root = replace(
        expansion.instances[""],
        inputs=tuple((name, name, 0) for name in expansion.spec.inputs),
        outputs=tuple((name, node, 0) for name, node in ends),
        members=tuple(members),
        about=expansion.spec.about,
        texts=tuple((name, text) for name, text in param_texts(params) if names_of(text, params)),
        decided=names_of(" ,".join(map(str, expansion.spec.init.values())), params),
    )
    return {**expansion.instances, "": root}


def _with_warnings(graph: Graph, warnings: list[Problem]) -> Graph:
    """Return the graph with a warning for every layer or input that reaches no output."""
    used = _reaches_an_output(graph)
    marks = set()
    for node in graph.nodes:
        if node.name in used or node.name == LOSS or "~" in node.name or node.mark in marks:
            continue
        marks.add(node.mark)
        what = "input" if node.kind == "input" else "layer"
        warnings.append(
            Problem(
                "unused",
                f"{what} '{node.name}' reaches no output; its gradient is zero",
                node.mark or Mark(graph.name, 1, 1),
                help="read it somewhere, or delete it",
                severity="warning",
            )
        )
    return replace(graph, warnings=tuple(warnings)) if warnings else graph


def _reaches_an_output(graph: Graph) -> set[str]:
    used = {LOSS, *(node for _, node in graph.outputs)}
    for edge in reversed(graph.edges):
        if edge.target in used:
            used.add(edge.source)
    return used
