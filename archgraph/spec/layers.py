"""Layers to nodes and edges, one by one: ops, merges, and what a `when` leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archgraph.errors import Mark
from archgraph.expression import ExpressionError, evaluate
from archgraph.graph.instances import Member
from archgraph.graph.records import Node
from archgraph.ops.op import OpCall
from archgraph.spec.blocks import call_block, enter_group
from archgraph.spec.draft import Draft
from archgraph.spec.edges import edges_by_target, join_edges
from archgraph.spec.ends import read_initialisers
from archgraph.spec.formula import read_formula
from archgraph.spec.lower import lower_layer
from archgraph.spec.names import name_problem
from archgraph.spec.origins import deciding_names, names_of
from archgraph.spec.scope import Bound, Path, Scope
from archgraph.spec.template import BlockCall
from archgraph.spec.values import Linear, Reading

if TYPE_CHECKING:
    from archgraph.spec.model import EdgeModel, LayerModel

__all__ = ["Site", "condition", "draft_layer", "finish", "make_layer", "read_layers", "settle"]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a layer, or one copy of it, is made."""

    scope: Scope
    name: str
    """The layer's name in its scope."""
    model: LayerModel
    path: str
    """The name of its node, or the prefix of its nodes' names."""
    module: str
    """The path of its submodule."""
    blocks: tuple[str, ...]
    """Paths of the instances around it."""
    entries: Sequence[tuple[int, EdgeModel]] = ()
    """Entries of `edges` that go into it."""
    index: int | None = None
    """Of a copy: `i`."""

    @property
    def place(self) -> Path:
        """Where it stands in its document."""
        return (*self.scope.path, "layers", self.name)

    @property
    def mark(self) -> Mark:
        """The mark of its name."""
        return self.scope.document.mark(self.place, key=True)


def read_layers(scope: Scope, start: Reading | None) -> list[Member]:
    """Make every layer of a scope, in order, each chained to the one before it.

    Args:
        scope: The scope, which knows the names of its inputs.
        start: What the first layer follows; None where it has to say what it reads.
    """
    from archgraph.spec.repeats import repeat_layer

    entries = edges_by_target(scope)
    members: list[Member] = []
    chain = start
    for name, model in scope.layers.items():
        scope.current, scope.key = name, "op"
        module = scope.module + name
        site = Site(
            scope, name, model, scope.prefix + name, module, scope.blocks, entries.get(name, ())
        )
        scope.expansion.at(site.path if scope.prefix else "")
        _check_name(site)
        bound = repeat_layer(site, chain) if model.repeat is not None else _read_layer(site, chain)
        scope.bound[name] = bound
        members.append(_member(site, bound))
        chain = bound.reading or chain
        scope.expansion.at("")
    return members


def _member(site: Site, bound: Bound) -> Member:
    when = None if site.model.when is None else str(site.model.when)
    reading = bound.reading or Reading("")
    decided, wired = deciding_names(site.model, site.scope)
    member = Member(site.name, "instance", when=when, decided=decided, wired=wired)
    if site.path in site.scope.expansion.instances:
        return member
    if reading.node == site.path:
        return replace(member, kind="node")
    repeat = names_of(str(site.model.repeat), site.scope.numbers)
    decided = (*decided, *(name for name in repeat if name not in decided))
    return replace(member, kind="alias", reads=(reading.node, reading.element), decided=decided)


def _check_name(site: Site) -> None:
    scope, name = site.scope, site.name
    found = name_problem(name, "layer")
    if found is None and "." in name and scope.prefix:
        found = f"'{name}' cannot be the name of a layer", "only the flat form has names with dots"
    if found is not None:
        scope.expansion.add("reserved-name", found[0], site.mark, why=found[1])
    taken = scope.taken(name)
    if taken:
        scope.expansion.add(
            "duplicate-name",
            f"'{name}' is the name of {taken} already",
            site.mark,
            why="one name stands for one thing, so that formulas can read it",
        )


def _read_layer(site: Site, chain: Reading | None) -> Bound:
    _refuse_repeat_keys(site)
    with site.scope.expansion.doubtful() as doubt:
        draft = draft_layer(site)
        on = condition(site)
        if not on:
            doubt.forget()
    settle(site, draft, chain)
    return finish(site, draft, on=on)


def _refuse_repeat_keys(site: Site) -> None:
    for key in ("connect", "names"):
        if getattr(site.model, key) is not None:
            mark = site.scope.document.mark((*site.place, key), key=True)
            message = f"'{key}' says how copies are made, and '{site.name}' is not repeated"
            site.scope.expansion.add("repeat", message, mark, help="repeat: 2")


def draft_layer(site: Site) -> Draft:
    """Read what a layer calls, and what its formula says it reads."""
    scope, model, mark = site.scope, site.model, site.mark
    broken = site.place in scope.expansion.broken
    if model.layers is not None and model.op is not None:
        message = f"'{site.name}' is a group and has a formula as well"
        scope.expansion.add("group", message, mark, help="give the formula a layer of its own")
    if model.op is None or model.layers is not None:
        return Draft(site.name, None, mark, broken=broken)
    tree = scope.document.tree((*site.place, "op"))
    text = model.op if isinstance(model.op, str) else getattr(tree, "text", str(model.op))
    formula, problems = read_formula(text, scope, site.name)
    for error in problems:
        scope.expansion.add_expression(scope, error, (*site.place, "op"))
    if formula is None:
        return Draft(site.name, None, mark, broken=True)
    return Draft(site.name, formula.op, mark, dict(formula.bases), set(formula.bases))


def condition(site: Site) -> bool:
    """Return whether the layer is there: the value of its `when`."""
    given = site.model.when
    if given is None:
        return True
    if not isinstance(given, str):
        return bool(given)
    try:
        return bool(evaluate(given, site.scope.numbers))
    except ExpressionError as error:
        site.scope.expansion.add_expression(site.scope, error, (*site.place, "when"))
        return True


def settle(site: Site, draft: Draft, chain: Reading | None) -> None:
    """Complete what a layer reads: its chain, its `from`, and its entries in `edges`."""
    scope, model = site.scope, site.model
    start = chain
    if model.from_ is not None:
        scope.key = "from"
        start = scope.reference(model.from_, (*site.place, "from"))
        scope.key = "op"
    if start is not None and not draft.bases and not draft.reads_nothing:
        draft.read(start)
    elif model.from_ is not None and draft.bases:
        scope.expansion.add(
            "two-bases",
            f"'{site.name}' says twice what it reads",
            draft.mark,
            why="its formula has a second bracket, and it has 'from' as well",
            help="keep one of the two",
        )
    join_edges(scope, draft, site.entries)
    _check_ports(site, draft)


def _check_ports(site: Site, draft: Draft) -> None:
    """Say of a layer that reads nothing, or leaves a needed port empty."""
    if draft.broken:
        return
    empty = [port for port in draft.needed if port not in draft.bases]
    if not draft.bases and not draft.reads_nothing:
        _report_no_input(site)
    elif empty:
        inputs = ", ".join(f"{port}=…" for port in draft.needed)
        called = draft.what.removeprefix("block ").strip("'")
        site.scope.expansion.add(
            "missing-port",
            f"{draft.what} reads nothing at {' and '.join(empty)}",
            draft.mark,
            help=f"write: {called}(…)({inputs})",
        )


def _report_no_input(site: Site) -> None:
    scope = site.scope
    inputs = [name for name in scope.bound if name not in scope.layers]
    if len(inputs) > 1 and site.name == next(iter(scope.layers)):
        scope.expansion.add(
            "missing-input",
            f"the first layer '{site.name}' does not say what it reads",
            site.mark,
            why=f"there are several inputs: {', '.join(inputs)}",
            help=f"write its input in a second bracket: …(…)({inputs[0]})",
        )
    else:
        scope.expansion.add("missing-input", f"'{site.name}' reads nothing", site.mark)


def finish(site: Site, draft: Draft, *, on: bool) -> Bound:
    """Make a layer whose inputs are known, or the alias that stands for it when it is off."""
    if not on:
        base = draft.bases.get(draft.first_port)
        if base is None:
            return Bound(Reading(""))
        if draft.call is None and site.model.layers is None:
            base = replace(base, terms=base.terms[:1], constant=0)  # a merge that is off
        return Bound(base.reading or merged(site, site.path, base))
    return make_layer(site, draft)


def make_layer(site: Site, draft: Draft) -> Bound:
    """Make the nodes of a layer and return what its name stands for."""
    site = _shared(site, draft)
    if isinstance(draft.call, BlockCall) or site.model.layers is not None:
        _refuse_init(site, draft)
        if isinstance(draft.call, BlockCall):
            return call_block(site, draft, draft.call)
        return enter_group(site, draft)
    scope, model = site.scope, site.model
    node = Node(
        name=site.path,
        op=draft.call,
        module=site.module if draft.call is not None else None,
        block=site.blocks,
        init=read_initialisers(scope, model.init, (*site.place, "init"), draft.call),
        label=model.label,
        symbol=model.symbol,
        about=model.about,
        mark=draft.mark,
    )
    marks = dict.fromkeys(draft.bases, draft.mark)
    scope.expansion.add_lowered(lower_layer(node, draft.bases, marks))
    return Bound(Reading(site.path), op=draft.call, module=site.module)


def merged(site: Site, name: str, base: Linear) -> Reading:
    """Make the node that merges what `base` says, and return it."""
    node = Node(name=name, op=None, block=site.blocks, mark=site.mark)
    site.scope.expansion.add_lowered(lower_layer(node, {"input": base}, {"input": site.mark}))
    return Reading(name)


def _refuse_init(site: Site, draft: Draft) -> None:
    if site.model.init:
        what = draft.what if draft.call is not None else "a group"
        mark = site.scope.document.mark((*site.place, "init"), key=True)
        message = f"'{site.name}' calls {what}, which has no parameter of its own"
        site.scope.expansion.add("init", message, mark, help="put init on a layer inside")


def _shared(site: Site, draft: Draft) -> Site:
    """Return the site with the module whose weights the layer shares, if it says so."""
    given, scope = site.model.share, site.scope
    if given is None or isinstance(given, bool) or site.index is not None:
        return site
    mark = scope.document.mark((*site.place, "share"))
    other = scope.bound.get(given)
    if other is None and "." in site.name:
        return replace(site, module=given)  # the flat form names the module itself
    if other is None or other.module is None:
        message = f"there is no layer '{given}' above whose weights could be shared"
        scope.expansion.add("share", message, mark)
        return site
    if isinstance(draft.call, OpCall) and other.op is not None and other.op != draft.call:
        message = f"'{site.name}' is {draft.call}, and '{given}' is {other.op}"
        why = "layers that share their weights are the same op"
        scope.expansion.add("share", message, mark, why=why)
    return replace(site, module=other.module)
