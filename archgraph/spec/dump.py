"""A graph back to YAML: the flat form, with nothing left to compute but `cin`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Final

from archgraph.errors import UsageError
from archgraph.graph.core import Graph
from archgraph.graph.records import Edge, LossTerm, Node, Scale
from archgraph.numbers import Number
from archgraph.ops.op import OpCall, format_value
from archgraph.spec.tree import scalar_value

__all__ = ["dump"]

_PLAIN: Final = re.compile(r"[A-Za-z_][\w()\[\],.='/*+~-]*(?: [\w()\[\],.='/*+~-]+)*\Z", re.ASCII)
_FLOW_PLAIN: Final = re.compile(r"[\w.~/*+-]+(?:\(\w*\))?\Z", re.ASCII)


def dump(graph: Graph) -> str:
    """Return the graph as a spec in the flat form.

    Loading the text gives the same graph: the same ordered nodes, ops, edges, inputs, outputs,
    states, ties, initialisers and loss. The first term of a merge is written `sequential` and
    the others `add-skip`, `add` or `multiply`.

    Raises:
        UsageError: a node's op is a Python callable, which a file cannot hold.

    Example:
        >>> from archgraph.spec import parse
        >>> graph = parse("{archgraph: 1, inputs: {x: [4]}, layers: {y: Linear(2)}}")
        >>> parse(dump(graph)) == graph
        True
    """
    sections = [
        ["archgraph: 1", f"name: {_text(graph.name)}"],
        [f"about: {_text(graph.about)}"] if graph.about else [],
        _block("inputs", ((node.name, _input(node)) for node in graph.inputs)),
        _block("layers", ((n.name, _layer(n)) for n in graph.nodes if n.kind == "layer")),
        ["edges:", *(f"  - {_flow(edge)}" for edge in _edges(graph))],
        [f"states: {_names(graph.states)}"] if graph.states is not None else [],
        [f"outputs: {_outputs(graph)}"],
        [f"init: {_flow(_initialisers(graph.init))}"] if graph.init else [],
        _block("tie", ((name, _text(shared)) for name, shared in graph.ties)),
        _loss(graph),
    ]
    return "\n".join(line for section in sections for line in section) + "\n"


def _block(key: str, entries: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"  {_text(name)}: {value}".rstrip() for name, value in entries]
    return [f"{key}:", *lines] if lines else []


def _text(text: str) -> str:
    """Return a string as a YAML scalar in block style."""
    if _PLAIN.match(text) and isinstance(scalar_value(text), str):
        return text
    return json.dumps(text, ensure_ascii=False)


def _flow(value: Any) -> str:
    """Return a value in flow style, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        plain = _FLOW_PLAIN.match(value) and isinstance(scalar_value(value), str)
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, OpCall):
        return _flow(str(value))
    return _number(value)


def _number(value: Number) -> str:
    """Return a number so that it reads back equal: decimals as decimals, others as a quotient."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return format_value(Fraction(value))


def _names(names: Iterable[str] | None) -> str:
    return _flow(list(names or ()))


def _input(node: Node) -> str:
    shape = list(node.shape or ())
    if node.dtype == "float" and node.below is None:
        return _flow(shape)
    entry: dict[str, Any] = {"shape": shape, "dtype": node.dtype}
    if node.below is not None:
        entry["below"] = node.below
    return _flow(entry)


def _layer(node: Node) -> str:
    if node.op is not None and node.op.op.origin == "opaque":
        raise UsageError(f"layer {node.name!r} is a Python callable, which a spec cannot hold")
    attributes: dict[str, Any] = {}
    if node.op is not None:
        attributes["op"] = node.op
        if node.module not in (None, node.name):
            attributes["share"] = node.module
    if node.init:
        attributes["init"] = _initialisers(node.init)
    for key in ("label", "symbol", "about"):
        if getattr(node, key) is not None:
            attributes[key] = getattr(node, key)
    if not attributes:
        return ""
    return _text(str(node.op)) if attributes.keys() == {"op"} else _flow(attributes)


def _initialisers(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


def _edges(graph: Graph) -> Iterable[dict[str, Any]]:
    # Of several inputs none is the chain of the first layer, so its first term may have a role.
    layers = [node.name for node in graph.nodes if node.kind == "layer"]
    unchained = layers[0] if layers and len(graph.inputs) > 1 else None
    for node in graph.nodes:
        if node.kind != "layer":
            continue
        first_port = node.op.op.ports[0].name if node.op and node.op.op.ports else "input"
        for port, edges in graph.ports(node.name).items():
            rest = {"port": port} if port != first_port else {}
            if edges[0].kind == "concat":
                yield from _concat(node, port, edges, rest)
                continue
            for slot, edge in enumerate(edges):
                kind = _kind(edge, slot, chained=node.name != unchained)
                entry = {"from": _source(edge), "to": node.name, "kind": kind}
                yield {**entry, **_scale(edge.scale), **rest}


def _kind(edge: Edge, slot: int, *, chained: bool) -> str:
    if slot == 0 and (chained or edge.role != "skip"):
        return "sequential"
    if edge.kind == "add":
        return "add-skip" if edge.role == "skip" else "add"
    return edge.kind


def _concat(
    node: Node, port: str, edges: tuple[Edge, ...], rest: Mapping[str, str]
) -> Iterable[dict[str, Any]]:
    """Yield one entry for each run of slots with the same scale; the first one says dim."""
    dim = node.dim(port)
    runs: list[list[Edge]] = []
    for edge in edges:
        if runs and runs[-1][0].scale == edge.scale and edge.scale.learn is None:
            runs[-1].append(edge)
        else:
            runs.append([edge])
    for run in runs:
        entry: dict[str, Any] = {
            "from": [_source(edge) for edge in run],
            "to": node.name,
            "kind": "concat",
        }
        yield {**entry, **_scale(run[0].scale), **rest, **({} if dim is None else {"dim": dim})}


def _source(edge: Edge) -> str:
    return f"{edge.source}[{edge.element}]" if edge.element else edge.source


def _scale(scale: Scale) -> dict[str, Any]:
    if scale.learn is None:
        return {} if scale.value == 1 else {"scale": scale.value}
    per = ", per='channel'" if scale.learn.per == "channel" else ""
    name = f", name='{scale.learn.name}'"
    place = ""
    if scale.learn.index is not None:
        place = f", index={scale.learn.index}, count={scale.learn.count}"
    return {"scale": f"learn({_number(scale.value)}{per}{name}{place})"}


def _outputs(graph: Graph) -> str:
    if all(name == node for name, node in graph.outputs):
        return _names(node for _, node in graph.outputs)
    return _flow(dict(graph.outputs))


def _loss(graph: Graph) -> list[str]:
    terms = graph.loss
    if terms == tuple(LossTerm(name, node) for name, node in graph.outputs):
        return []
    first = terms[0]
    plain = first.name == "loss" and first.op is not None and first.scale.is_one
    if len(terms) == 1 == len(graph.outputs) and plain and not first.element:
        return [f"loss: {_text(str(first.op))}"]
    return _block("loss", ((term.name, _flow(_loss_term(term))) for term in terms))


def _loss_term(term: LossTerm) -> dict[str, Any]:
    of = f"{term.of}[{term.element}]" if term.element else term.of
    op = {} if term.op is None else {"op": term.op}
    return {"of": of, **op, **_scale(term.scale)}
