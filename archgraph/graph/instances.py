"""Where nodes come from: the tree of blocks, groups and repeats that a spec was expanded from.

Nothing here changes what the graph computes. Source code, folded tables and pictures read it; a
graph made without it (flat specs, `GraphBuilder`) is drawn and compiled flat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Instance", "Member"]


@dataclass(frozen=True, slots=True)
class Member:
    """One layer of a scope, as the spec names it, and what it became."""

    name: str
    """The layer's own name in its scope: `conv1`, `downsample`, `0`."""
    kind: Literal["node", "instance", "alias"]
    """A node, an `Instance` (its path is the scope's path and the name), or only another name for
    a value: `when` was false, or `repeat` 0."""
    reads: tuple[str, int] | None = None
    """Aliases only: the (node, element) that the name stands for."""
    when: str | None = None
    """The spec's own condition, over the scope's names, if the layer has one."""
    decided: tuple[str, ...] = ()
    """Names of numbers that made the layer what it is in a way that no other record says: which op
    it is, a constant that is added, an axis, how its weights start, a repeat of nothing."""
    wired: tuple[str, ...] = ()
    """Names of numbers in what says which values it reads: indices, conditions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A part of the network that holds others: a called block, a group, a repeat, or the whole."""

    path: str
    """Prefix of the names of its nodes: `layer1.0`; empty for the whole network."""
    kind: Literal["network", "block", "group", "repeat"]
    module: str
    """Path of its submodule. Copies that share their weights have the same."""
    block: str | None = None
    """The name of the block that is called, in the spec."""
    params: tuple[tuple[str, Any], ...] = ()
    """The block's own params and their values here, in the block's order."""
    texts: tuple[tuple[str, str], ...] = ()
    """The caller's own expression of each param that the call gives, over the names of the scope
    around it, and `i` in a repeat. Of the network: the text of each param that follows others."""
    defaults: tuple[tuple[str, str], ...] = ()
    """The block's own text of each param that has a default, over the spec's params and the
    block's own above it."""
    inputs: tuple[tuple[str, str, int], ...] = ()
    """(input's name, node, element) that it reads; a merged input is the node `path.input`."""
    outputs: tuple[tuple[str, str, int], ...] = ()
    """(output's name, node, element); the first is what its own name stands for."""
    members: tuple[Member, ...] = ()
    """Its layers in the spec's order; of a repeat its copies."""
    index: int | None = None
    """Of a copy in a repeat: `i`."""
    connect: Literal["sequential", "add", "concat"] | None = None
    """Of a repeat: how its copies are joined; None where each copy's formula says what it reads."""
    count: str | None = None
    """Of a repeat: the spec's own text of how often."""
    about: str | None = None
    decided: tuple[str, ...] = ()
    """Of the network: names of numbers in the initialisers of all layers."""
