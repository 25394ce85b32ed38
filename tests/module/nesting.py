"""Random blocks around the layers of a flat graph: what is computed stays the same."""

from __future__ import annotations

import random
from dataclasses import replace

from archgraph.graph import Graph, Instance, assemble


def nested(graph: Graph, rng: random.Random) -> Graph:
    """Return the graph with random runs of its layers put into blocks and groups inside each other.

    Nodes and parameters get the path of what is around them before their names.
    """
    layers = [node.name for node in graph.nodes if node.kind == "layer"]
    around: dict[str, tuple[str, ...]] = dict.fromkeys((n.name for n in graph.nodes), ())
    kinds: dict[str, str] = {}
    _cut(layers, (), rng, around, kinds)
    names = {name: ".".join([*paths[-1:], name]) for name, paths in around.items()}
    nodes = [
        replace(
            node,
            name=names[node.name],
            module=None if node.module is None else names[node.name],
            block=around[node.name],
        )
        for node in graph.nodes
        if node.kind != "loss"
    ]
    edges = [
        replace(
            edge,
            source=names[edge.source],
            target=names[edge.target],
            scale=_moved(edge.scale, around[edge.target], rng),
            id="",
            index=-1,
        )
        for edge in graph.edges
        if edge.kind != "loss"
    ]
    instances = {"": Instance(path="", kind="network", module="")}
    for path, kind in kinds.items():
        block = f"unit{path.count('.')}" if kind == "block" else None  # none is inside itself
        instances[path] = Instance(path=path, kind=kind, module=path, block=block)
    loss = [replace(term, of=names[term.of]) for term in graph.loss]
    outputs = [(name, names[node]) for name, node in graph.outputs]
    return assemble("nested", nodes, edges, outputs, loss, instances=instances)


def _cut(layers, path, rng, around, kinds) -> None:
    """Put random runs of layers into instances of their own."""
    position = 0
    while position < len(layers):
        length = rng.randint(1, len(layers) - position)
        run = layers[position : position + length]
        position += length
        if rng.random() < 0.5 and len(path) < 3:
            own = ".".join([*path[-1:], f"u{len(kinds)}"])
            kinds[own] = rng.choice(("block", "block", "group"))
            for name in run:
                around[name] = (*path, own)
            if len(run) > 1:
                _cut(run, (*path, own), rng, around, kinds)


def _moved(scale, paths, rng):
    """Return a learnable λ as a parameter of one of the instances around the layer it scales."""
    if scale.learn is None:
        return scale
    # Where two edges share one, it has to stay where both find it.
    if scale.learn.index is not None or rng.random() < 0.5 or not paths:
        return scale
    name = f"{rng.choice(paths)}.{scale.learn.name}"
    return replace(scale, learn=replace(scale.learn, name=name))
