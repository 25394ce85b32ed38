"""What-if questions: a network with edges cut or changed, predicted beside the one there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from archgraph.errors import UsageError
from archgraph.expression import ExpressionError, evaluate
from archgraph.graph import Edge, Graph, Node, Scale
from archgraph.graph.build import assemble
from archgraph.graph.records import LOSS, LossTerm
from archgraph.module import infer
from archgraph.numbers import as_number
from archgraph.suggestion.effect import Effect
from archgraph.suggestion.origin import Origin
from archgraph.suggestion.search import predicted
from archgraph.suggestion.skips import repeat_skip
from archgraph.suggestion.text import Source

__all__ = ["Answer", "ask", "is_of_text"]

_EVERY: Final = re.compile(r"skip\s+(?P<name>\S+)\s+every\s+(?P<every>\d+)\Z")
_SKIP: Final = re.compile(r"skip\s+(?P<source>\S+?)\s*->\s*(?P<target>[^\s:]+)(?P<rest>.*)\Z")
_EDGE: Final = re.compile(r"(?P<edge>[^\s:]+->[^\s:]+)(?P<rest>\s*:.*)\Z")
_SCALE: Final = re.compile(r"\s*:\s*(?:lambda|λ)\s*=\s*(?P<value>.+?)\s*\Z")
_KEY: Final = re.compile(r"(?P<key>[\w.~-]+)\s*=(?!=)\s*(?P<value>.*)\Z", re.DOTALL)

_FORMS: Final = (
    "a what-if is one of: lam=0.9 (a param), init.weight=orthogonal (any key of the spec), "
    "'skip hidden every 5', 'skip A->B', 'A->B: lambda=0.5'"
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A network as it is and as it would be."""

    changes: tuple[str, ...]
    before: Effect
    after: Effect
    text: str | None
    """The changed spec; None where an edge was changed, for which its text may have no place."""
    diff: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "changes": list(self.changes),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "diff": self.diff,
        }


def ask(
    origin: Origin,
    settings: Mapping[str, Any],
    *,
    cut: Iterable[str] = (),
    edit: Iterable[str] = (),
    batch: int | None = None,
    seed: int = 0,
) -> Answer:
    """Predict a network as it is and with all of these changes.

    Args:
        origin: The spec.
        settings: Params, as of `--set`.
        cut: Edges by id, or by a pattern with `*`: what they carry is multiplied by λ = 0, forwards
            and so backwards.
        edit: Each one of `lam=0.9` (a param), `init.weight=orthogonal` (the key of the spec at a
            path), `skip hidden every 5` (over copies of a repeat), `skip A->B` (B + A wherever B
            was read, or `: lambda=0.5` times A), `A->B: lambda=0.5` (λ of an edge).
        batch: Number of examples; by default as `suggest` has it.
        seed: Of everything that is drawn, the same for both.

    Raises:
        SpecError: the spec is bad, or would be.
        UsageError: a change makes no sense, or there is no such edge.
    """
    origin = origin.with_settings(settings)
    edits, cuts = tuple(edit), tuple(cut)
    changed, surgery = origin, [_cutting(pattern) for pattern in cuts]
    for text in edits:
        found = _operation(text)
        if found is not None:
            surgery.append(found)
        else:
            changed = replace(changed, text=_rewritten(changed, text))
    graph = changed.graph()
    for operate in surgery:
        graph = operate(graph)
    # What is no change is said before anything is predicted.
    before = predicted(origin.graph(), batch=batch, seed=seed)
    after = predicted(graph, batch=batch or before.batch, seed=seed)
    return Answer(
        changes=(*(f"cut {pattern}" for pattern in cuts), *edits),
        before=before,
        after=after,
        text=None if surgery else changed.text,
        diff=None if surgery else origin.diff(changed.text),
    )


def is_of_text(change: str) -> bool:
    """Return whether an edit changes the spec's text, and not an edge of its graph.

    Raises:
        UsageError: what should be a λ is none.
    """
    return _operation(change) is None


# --- changes of the text ------------------------------------------------------------------------


def _rewritten(origin: Origin, change: str) -> str:
    """Return the spec's text with one change made that has a place in it."""
    if match := _EVERY.match(change.strip()):
        every = int(match["every"])
        return origin.changed(repeat_skip(origin.subject(), match["name"], every))
    source = Source(origin.text)
    match = _KEY.match(change.strip())
    if match is None:
        raise UsageError(f"{change!r} is not understood; {_FORMS}")
    *path, key = match["key"].split(".")
    if not path and key in source.keys(("params",)):
        path = ["params"]
    elif not path and key not in source.keys(()):
        known = ", ".join(source.keys(("params",))) or "none"
        raise UsageError(f"there is no param {key!r} (there are: {known}); {_FORMS}")
    return source.apply([source.set(tuple(path), key, match["value"].strip())])


# --- changes of the graph -----------------------------------------------------------------------

_Operation = Callable[[Graph], Graph]


def _operation(change: str) -> _Operation | None:
    """Return what a change does to the graph, or None if it is one of the text."""
    if match := _SKIP.match(change.strip()):
        scale = _scale(match["rest"]) if match["rest"].strip() else Scale()
        source, target = match["source"], match["target"]
        return lambda graph: _with_skip(graph, source, target, scale)
    if match := _EDGE.match(change.strip()):
        scale, edge = _scale(match["rest"]), match["edge"]
        return lambda graph: _scaled(graph, edge, scale)
    return None


def _cutting(pattern: str) -> _Operation:
    return lambda graph: _scaled(graph, pattern, Scale(0))


def _scale(text: str) -> Scale:
    match = _SCALE.match(text)
    if match is None:
        raise UsageError(f"{text.strip()!r} is no λ; write ': lambda=0.5'")
    try:
        value = as_number(evaluate(match["value"], {}))
    except ExpressionError as error:
        raise UsageError(f"lambda={match['value']}: {error.message}") from None
    if value is None:
        raise UsageError(f"lambda={match['value']} is no number")
    return Scale(value)


def _scaled(graph: Graph, pattern: str, scale: Scale) -> Graph:
    """Return the graph with another λ on the edges of this id, or that match this pattern."""
    loss = [e.id for e in graph.edges if e.kind == "loss"]
    found = [pattern] if pattern in graph.edge_positions else []
    if not found and set(pattern) & {"*", "?"}:
        found = [e.id for e in graph.edges if e.kind != "loss" and fnmatchcase(e.id, pattern)]
        if not found:
            raise UsageError(f"no edge of {graph.name!r} matches {pattern!r}")
    if not found:
        graph.edge(pattern)  # says what it might be
    if pattern in loss:
        raise UsageError(f"{pattern!r} leads to the loss, without which there is no gradient")
    chosen = {graph.edge_positions[name] for name in found}
    whole = [graph.edges[i].id for i in chosen if not graph.edges[i].gradient]
    if whole:
        raise UsageError(f"{whole[0]!r} carries integers, which no λ multiplies")
    edges = [replace(e, scale=scale) if e.index in chosen else e for e in graph.edges]
    return replace(graph, edges=tuple(edges), instances={})


def _with_skip(graph: Graph, source: str, target: str, scale: Scale) -> Graph:
    """Return the graph with `target + scale · source` wherever `target` was read."""
    names = graph.nodes[graph.position(source)].name, graph.nodes[graph.position(target)].name
    first, second = names
    if second == LOSS:
        raise UsageError("a skip adds to the value of a layer, and L is the loss")
    if graph.positions[first] >= graph.positions[second]:
        raise UsageError(f"a skip runs forwards, and {source!r} does not come before {target!r}")
    shapes = infer(graph)
    if shapes[first].shape != shapes[second].shape:
        sizes = f"{shapes[first].shape} and {shapes[second].shape}"
        raise UsageError(f"a skip adds values of one shape; {source!r} and {target!r} have {sizes}")
    added = _unused(graph, f"{second}~skip")

    def moved(name: str) -> str:
        return added if name == second else name

    nodes: list[Node] = []
    for node in graph.nodes[:-1]:
        nodes.append(node)
        if node.name == second:
            nodes.append(Node(name=added))
    edges = [
        replace(edge, source=moved(edge.source)) for edge in graph.edges if edge.kind != "loss"
    ]
    edges += [
        Edge(source=second, target=added, kind="add"),
        Edge(source=first, target=added, kind="add", slot=1, scale=scale),
    ]
    loss = [_reading(term, moved(term.of)) for term in graph.loss]
    outputs = [(name, moved(node)) for name, node in graph.outputs]
    return assemble(
        graph.name,
        nodes,
        edges,
        outputs,
        loss,
        ties=graph.ties,
        init=graph.init,
        params=graph.params,
    )


def _reading(term: LossTerm, name: str) -> LossTerm:
    return replace(term, of=name)


def _unused(graph: Graph, name: str) -> str:
    while name in graph.positions:
        name += "~"
    return name
