"""Params that decided a network's structure in a way that its source does not follow."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from archgraph.graph import Member
from archgraph.module.dependence import Copy, Names, Own
from archgraph.module.loops import Loop, slices
from archgraph.module.network import Network
from archgraph.module.units import ROOT, Ref, Unit, joined

__all__ = ["lost_in_structure"]


def lost_in_structure(network: Network, root: Unit) -> set[str | Own]:
    """Return the params that something depends on which the written source does not follow.

    To be asked when all constructors are written: repeats that no `for` runs, layers whose `when`
    is not written, ops that were chosen, values that were picked by number.
    """
    found: set[str | Own] = set()
    for names in _structural(network, root):
        found |= _params(network, names)
    return found - network.frozen


def _structural(network: Network, root: Unit) -> Iterator[Names]:
    origins, followed = network.origins, network.followed
    for path, instance in network.graph.instances.items():
        if path == ROOT:
            yield origins.of_names(ROOT, instance.decided)
        if instance.kind == "repeat" and path not in followed:
            yield origins.of_count(path)
        for member in instance.members:
            yield from _member(network, path, member)
    repeats = [unit for unit in root.units() if unit.instance.kind == "repeat"]
    sliced = _sliced(repeats)
    for unit in repeats:
        if _is_picked(unit, sliced):
            yield origins.of_count(unit.path)


def _member(network: Network, path: str, member: Member) -> Iterator[Names]:
    origins, inner = network.origins, joined(path, member.name)
    scope = inner if _is_repeat(network, inner) else path
    yield origins.of_names(scope, member.decided)
    if inner not in network.followed:
        yield origins.of_text(scope, member.when)
    if inner not in network.followed or scope == path:
        yield origins.of_names(scope, member.wired)


def _is_repeat(network: Network, path: str) -> bool:
    instance = network.graph.instances.get(path)
    return instance is not None and instance.kind == "repeat"


def _sliced(repeats: Sequence[Unit]) -> set[Ref]:
    """Return the values of copies that another repeat takes as a slice: `*reversed(enc[:-1])`.

    As many copies in both and the same number of them left out: so it is with any number.
    """
    loops = [repeat for repeat in repeats if repeat.loop is not None]
    places = {ref: (repeat, k) for repeat in loops for k, ref in enumerate(repeat.loop.given)}
    found: set[Ref] = set()
    for reader in loops:
        for given in reader.loop.inputs:
            known = [places.get(ref) for ref in given.refs] if given.kind == "each" else []
            items = [p and (p[0].path, p[1], len(p[0].loop.given)) for p in known]
            for start, stop, _ in slices(items):
                source = known[start]
                same = source is not None and source[0].instance.count == reader.instance.count
                if same and all(p is None for p in (*known[:start], *known[stop:])):
                    found.update(given.refs)
    return found


def _is_picked(repeat: Unit, sliced: Container[Ref]) -> bool:
    """Whether single copies are read, or a value for each copy is listed."""
    loop: Loop | None = repeat.loop
    if loop is None:
        return len(repeat.outputs) > 1
    listed = [ref for given in loop.inputs if given.kind == "each" for ref in given.refs]
    each = any(ref not in sliced for ref in listed)
    last = {loop.states[-1], (loop.end, 0), *(r for r in repeat.outputs if r in sliced)}
    picked = [ref for ref in repeat.outputs if ref not in last]
    only_first = picked == [loop.states[0]] and len(loop.states) > 2
    return each or (bool(picked) and not only_first)


def _params(network: Network, names: Names) -> set[str | Own]:
    """Return the params among names; for a copy's number, those of how many copies there are."""
    found: set[str | Own] = set()
    for name in names:
        if isinstance(name, Copy):
            found |= _params(network, network.origins.of_count(name.path))
        else:
            found.add(name)
    return found
