"""The `edges` section: edges beside the chain, joined into the inputs of their layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from archgraph.errors import Mark, suggest
from archgraph.expression import ExpressionError, parse
from archgraph.graph.records import Scale
from archgraph.spec.model import EdgeModel
from archgraph.spec.reader import FormulaReader
from archgraph.spec.values import Concat, Linear, Product, Reading, TensorTerm

if TYPE_CHECKING:
    from archgraph.spec.draft import Draft
    from archgraph.spec.expansion import Expansion
    from archgraph.spec.scope import Scope

__all__ = ["edges_by_target", "join_edges"]


@dataclass(frozen=True, slots=True)
class _Joined:
    """An edge entry, resolved: what it reads, and where it stands in the file."""

    model: EdgeModel
    terms: tuple[TensorTerm, ...]
    mark: Mark


Entries = Mapping[str, Sequence[tuple[int, EdgeModel]]]


def edges_by_target(scope: Scope) -> Entries:
    """Return the entries of a scope's `edges` by the layer they go to, with their positions.

    What goes to no layer of the scope is reported.
    """
    found: dict[str, list[tuple[int, EdgeModel]]] = {}
    for k, model in enumerate(scope.edges):
        if model.to in scope.layers:
            found.setdefault(model.to, []).append((k, model))
        else:
            _unknown_target(scope, model.to, k)
    return found


def join_edges(scope: Scope, draft: Draft, entries: Sequence[tuple[int, EdgeModel]]) -> None:
    """Join the entries that go to one layer into what its formula says it reads.

    `sequential` is a base input; `add-skip`, `add` and `multiply` join it; `concat` entries
    replace one that is only the chain, and then list every slot. One merge kind per port.
    """
    by_port: dict[str, list[_Joined]] = {}
    for k, model in entries:
        port = model.port or draft.first_port
        exists = draft.broken or _port_exists(scope, draft, port, k)
        joined = _resolve(scope, model, k)
        if joined is not None and exists and not draft.broken:
            by_port.setdefault(port, []).append(joined)
    for port, group in by_port.items():
        _join_port(scope.expansion, draft, port, group)


def _unknown_target(scope: Scope, name: str, k: int) -> None:
    mark = scope.document.mark((*scope.path, "edges", k, "to"))
    if name in scope.bound and name not in scope.layers:
        scope.expansion.add("edge-target", f"'{name}' is an input, which reads nothing", mark)
        return
    head = name.partition(".")[0].partition("[")[0]
    if head != name and head in scope.layers:
        scope.expansion.add(
            "edge-target",
            f"an edge cannot go into '{head}'",
            mark,
            why="what a block reads comes through its inputs",
            help=f"give the block an input, and write the edge to '{head}'",
        )
        return
    close = suggest(name, scope.layers)
    scope.expansion.add(
        "unknown-name",
        f"there is no layer '{name}'",
        mark,
        help=f"did you mean '{close}'?" if close else None,
    )


def _port_exists(scope: Scope, draft: Draft, port: str, k: int) -> bool:
    if port in draft.ports:
        return True
    close = suggest(port, draft.ports)
    known = f"its inputs are {', '.join(draft.ports)}" if draft.ports else "it has none"
    mark = scope.document.mark((*scope.path, "edges", k, "port"))
    scope.expansion.add(
        "port",
        f"{draft.what} has no input called '{port}'",
        mark,
        help=f"did you mean '{close}'?" if close else known,
    )
    return False


def _resolve(scope: Scope, model: EdgeModel, k: int) -> _Joined | None:
    path = (*scope.path, "edges", k)
    mark = scope.document.mark
    names = model.from_ if isinstance(model.from_, list) else [model.from_]
    if isinstance(model.from_, list) and model.kind != "concat" and len(names) != 1:
        scope.expansion.add(
            "edge-sources",
            f"an edge of kind {model.kind} comes from one layer",
            mark((*path, "from")),
            help="only kind: concat lists several",
        )
        return None
    scale = _scale(scope, model, (*path, "scale"))
    forced = {"add-skip": True, "add": False}.get(model.kind)
    terms = []
    for position, text in enumerate(names):
        where: tuple[str | int, ...] = (*path, "from")
        if isinstance(model.from_, list):
            where = (*where, position)
        if not isinstance(text, str):
            scope.expansion.add("wrong-type", f"'from' must be a name, not {text}", mark(where))
            return None
        reading = scope.reference(text, where, forward=path)
        if reading is None:
            return None
        terms.append(TensorTerm(reading, scale, forced))
    return _Joined(model, tuple(terms), mark(path))


def _scale(scope: Scope, model: EdgeModel, path: tuple[str | int, ...]) -> Scale:
    given: Any = model.scale
    if not isinstance(given, str):
        return Scale(given)
    try:
        return FormulaReader(given, scope, model.to).scale(parse(given))
    except ExpressionError as error:
        scope.expansion.add_expression(scope, error, path)
        return Scale()


def _join_port(expansion: Expansion, draft: Draft, port: str, entries: list[_Joined]) -> None:
    for entry in entries:
        if entry.model.kind == "sequential":
            _set_base(expansion, draft, port, entry)
    joins = [entry for entry in entries if entry.model.kind != "sequential"]
    concats = [entry for entry in joins if entry.model.kind == "concat"]
    if concats:
        _concatenate(expansion, draft, port, concats, joins)
        return
    for entry in joins:
        _join(expansion, draft, port, entry)


def _set_base(expansion: Expansion, draft: Draft, port: str, entry: _Joined) -> None:
    if port in draft.from_formula:
        expansion.add(
            "two-bases",
            f"'{draft.name}' says twice what it reads",
            entry.mark,
            why="its formula has a second bracket, or another sequential edge",
            help="keep one; kind: add-skip or add joins a second input to the first",
        )
        return
    draft.from_formula.add(port)
    draft.bases[port] = Linear(entry.terms)


def _concatenate(
    expansion: Expansion, draft: Draft, port: str, concats: list[_Joined], joins: list[_Joined]
) -> None:
    slots = tuple(Linear((term,)) for entry in concats for term in entry.terms)
    other = next((entry for entry in joins if entry.model.kind != "concat"), None)
    if other is not None or port in draft.from_formula:
        wrong = other or concats[0]
        expansion.add(
            "merge-kind",
            f"'{draft.name}' would concatenate and also merge otherwise",
            wrong.mark,
            why="a layer has one merge kind for each of its inputs",
            help="concat edges list every slot; give the other merge a layer of its own",
        )
        return
    if len(slots) < 2:
        expansion.add(
            "concat-slots",
            f"'{draft.name}' concatenates one value",
            concats[0].mark,
            why="concat edges replace the chain, and list every slot",
            help=f"from: [{_chain_name(draft)}, {_name(concats[0])}]",
        )
        return
    dims = {entry.model.dim for entry in concats if entry.model.dim is not None}
    if len(dims) > 1:
        expansion.add(
            "concat-dim",
            f"'{draft.name}' concatenates along {sorted(dims)}",
            concats[-1].mark,
            help="give one dim",
        )
        return
    draft.bases[port] = Linear((TensorTerm(Concat(slots, dims.pop() if dims else None)),))


def _chain_name(draft: Draft) -> str:
    base = draft.bases.get(draft.first_port)
    value = base.terms[0].value if base else None
    return value.node if isinstance(value, Reading) else "…"


def _name(entry: _Joined) -> str:
    value = entry.terms[0].value
    return value.node if isinstance(value, Reading) else "…"


def _join(expansion: Expansion, draft: Draft, port: str, entry: _Joined) -> None:
    (term,) = entry.terms
    base = draft.bases.get(port)
    if base is None:
        draft.bases[port] = Linear((term,))
    elif entry.model.kind == "multiply":
        joined = _multiplied(base, term)
        if joined is None:
            _mixed(expansion, draft, entry, "multiplies")
        else:
            draft.bases[port] = joined
    elif len(base.terms) == 1 and isinstance(base.terms[0].value, Product | Concat):
        _mixed(expansion, draft, entry, "adds")
    else:
        draft.bases[port] = replace(base, terms=(*base.terms, term))


def _multiplied(base: Linear, term: TensorTerm) -> Linear | None:
    if len(base.terms) != 1 or base.constant or isinstance(base.terms[0].value, Concat):
        return None
    first = base.terms[0]
    if isinstance(first.value, Product):
        product = Product((*first.value.factors, Linear((term,))))
        return Linear((replace(first, value=product),))
    return Linear((TensorTerm(Product((Linear((first,)), Linear((term,))))),))


def _mixed(expansion: Expansion, draft: Draft, entry: _Joined, does: str) -> None:
    expansion.add(
        "merge-kind",
        f"this edge {does} what '{draft.name}' merges in another way",
        entry.mark,
        why="a layer has one merge kind for each of its inputs",
        help="write the whole merge in the formula, or give it a layer of its own",
    )
