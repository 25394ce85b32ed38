"""Instances of blocks, and groups: scopes inside scopes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from archgraph.errors import Mark
from archgraph.graph.instances import Instance, Member
from archgraph.spec.draft import Draft
from archgraph.spec.ends import read_ends
from archgraph.spec.params import param_texts, param_values
from archgraph.spec.scope import Bound, Scope
from archgraph.spec.template import BlockCall, Template
from archgraph.spec.values import Reading

if TYPE_CHECKING:
    from archgraph.spec.layers import Site

__all__ = ["call_block", "enter_group"]


def call_block(site: Site, draft: Draft, call: BlockCall) -> Bound:
    """Expand one call of a block and return what its name stands for.

    The name is another one for the node of the block's first output; a merged input is a node of
    its own, `path.input`.
    """
    template, outer = call.template, site.scope
    if _calls_itself(site, template, draft.mark):
        return Bound(Reading(""), module=site.module)
    outer.expansion.count_instance(draft.mark)
    numbers = _numbers(site, call)
    outer.expansion.instances[site.path] = _PENDING  # before what it holds
    inner = Scope(
        outer.expansion,
        template.document,
        template.path,
        prefix=f"{site.path}.",
        module=f"{site.module}.",
        numbers=numbers,
        own_params=template.model.params,
        layers=template.model.layers,
        edges=template.model.edges,
        blocks=(*site.blocks, site.path),
        calls=(*outer.calls, template.name),
    )
    for port in template.ports:
        inner.bound[port] = Bound(_input(site, draft, port, inner.blocks))
    readings = [inner.bound[port].reading for port in template.ports]
    members = _members(inner, readings[0] if len(readings) == 1 else None)
    ends = read_ends(inner, template.model.outputs, template.path) or [("", Reading(""))]
    outer.expansion.instances[site.path] = Instance(
        path=site.path,
        kind="block",
        module=site.module,
        block=template.name,
        params=tuple((name, numbers[name]) for name in template.model.params if name in numbers),
        texts=call.texts,
        defaults=tuple(param_texts(template.model.params)),
        inputs=_triples(zip(template.ports, readings, strict=True)),
        outputs=_triples(ends),
        members=tuple(members),
        index=site.index,
        about=template.model.about,
    )
    named = {name: Bound(reading) for name, reading in ends if name not in inner.bound}
    return Bound(ends[0][1], members={**inner.bound, **named}, module=site.module)


_PENDING = Instance(path="", kind="block", module="")


def enter_group(site: Site, draft: Draft) -> Bound:
    """Expand a group: a nested module, called once, that sees the names around it."""
    outer, model = site.scope, site.model
    outer.expansion.count_instance(draft.mark)
    outer.expansion.instances[site.path] = _PENDING
    inner = Scope(
        outer.expansion,
        outer.document,
        site.place,
        prefix=f"{site.path}.",
        module=f"{site.module}.",
        numbers=outer.numbers,
        own_params=(),
        layers=model.layers or {},
        edges=model.edges,
        outer=outer,
        blocks=(*site.blocks, site.path),
        calls=outer.calls,
    )
    if not inner.layers:
        outer.expansion.add("no-layers", f"group '{site.name}' has no layers", site.mark)
    start = _input(site, draft, "input", inner.blocks) if draft.bases else None
    members = _members(inner, start)
    end = next((b.reading for b in reversed(inner.bound.values()) if b.reading), Reading(""))
    outer.expansion.instances[site.path] = Instance(
        path=site.path,
        kind="group",
        module=site.module,
        inputs=_triples([("input", start)]) if start else (),
        outputs=_triples([("", end)]),
        members=tuple(members),
        index=site.index,
        about=model.about,
    )
    return Bound(end, members=dict(inner.bound), module=site.module)


def _members(inner: Scope, start: Reading | None) -> list[Member]:
    from archgraph.spec.layers import read_layers

    place = inner.expansion.place
    members = read_layers(inner, start)
    inner.expansion.at(place)
    return members


def _input(site: Site, draft: Draft, port: str, blocks: tuple[str, ...]) -> Reading:
    """Return what an input reads, after merging it in a node of its own where needed."""
    from dataclasses import replace

    from archgraph.spec.layers import merged

    base = draft.bases.get(port)
    if base is None:
        return Reading("")
    return base.reading or merged(replace(site, blocks=blocks), f"{site.path}.{port}", base)


def _numbers(site: Site, call: BlockCall) -> Mapping[str, Any]:
    """Return the numbers a block sees: the spec's params, and its own."""
    expansion, template = site.scope.expansion, call.template
    declared = template.model.params
    path = (*template.path, "params")
    defaults = {k: 0 if k in call.params else v for k, v in declared.items()}
    own: dict[str, Any] = {}
    for name in declared:
        if name in call.params:
            own[name] = call.params[name]
            continue
        outer = {**expansion.numbers, **own}
        values, problems = param_values(
            template.document, path, {name: defaults[name]}, {}, outer, expansion.op
        )
        for problem in problems:
            expansion.add(
                problem.code, problem.message, problem.mark, why=problem.why, help=problem.help
            )
        own.update(values)
    return {**expansion.numbers, **own}


def _calls_itself(site: Site, template: Template, mark: Mark) -> bool:
    calls = site.scope.calls
    if template.name not in calls:
        return False
    chain = [*calls[calls.index(template.name) :], template.name]
    site.scope.expansion.add(
        "recursion",
        f"block '{template.name}' calls itself: {' → '.join(chain)}",
        mark,
        why="a block is written out where it is called, and this one would never end",
        help="repeat: n calls a block a number of times",
    )
    return True


def _triples(pairs: Any) -> tuple[tuple[str, str, int], ...]:
    return tuple((name, reading.node, reading.element) for name, reading in pairs if reading)
