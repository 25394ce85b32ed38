"""Autograd's own gradient at every node, merges included, from an ordinary backward pass.

A merge is an expression in the compiled source, with nothing to hook into. So a second module is
compiled, of the same graph with an `Identity` layer behind each value that is read, given the same
weights, and run as a whole. It shares no line with the tape that is held against it.
"""

from __future__ import annotations

from dataclasses import replace

from archgraph.gradient import Tape
from archgraph.gradient.bundle import Bundle
from archgraph.gradient.environment import forked, prepared
from archgraph.gradient.reference import run
from archgraph.graph import Edge, Graph, Node, assemble
from archgraph.module.build import compile as compile_graph
from archgraph.ops import parse_call

__all__ = ["autograd_gradients"]

Value = tuple[str, int]
"""A node, and which element of its value."""


def autograd_gradients(tape: Tape) -> dict[str, Bundle]:
    """Return autograd's gradient of L by every node, float input and parameter.

    Args:
        tape: A recorded pass, whose batch, mode and random states are used again.

    Returns:
        By name, the gradient by element; an empty bundle, or none, where L does not depend on it.

    Raises:
        GradientError: torch refuses the pass.

    Cost: one compilation, one forward and one backward pass.
    """
    module = tape.module
    graph, probes = _probed(tape.graph)
    parameter = next(module.parameters(), None)
    dtype = tape.dtype if parameter is None else parameter.dtype
    device = tape.loss.device
    with forked(device):
        twin = compile_graph(graph, dtype=dtype, device=device)
        twin.load_state_dict(module.state_dict())
        if tape.random_start is not None:
            tape.random_start.restore()
        with prepared(twin, train=tape.train):
            reference = run(graph, twin, tape.batch, random_states=tape.random_states, whole=True)
    sources = {node.name for node in graph.inputs}
    sources |= {name for name, _ in module.named_parameters(remove_duplicate=False)}
    gradients = {name: reference.gradients[name] for name in sources & reference.gradients.keys()}
    for (name, element), probe in probes.items():
        for gradient in reference.gradients[probe].values():
            gradients[name] = {**gradients.get(name, {}), element: gradient}
    return gradients


def _probed(graph: Graph) -> tuple[Graph, dict[Value, str]]:
    """Return the graph with an identity behind each value of a layer, and their names."""
    identity = parse_call("Identity()")
    layers = {node.name for node in graph.nodes if node.kind == "layer"}
    read = {(e.source, e.element) for e in graph.edges if e.gradient and e.source in layers}
    probes = {value: _free_name(graph, i) for i, value in enumerate(sorted(read))}
    nodes: list[Node] = []
    for node in graph.nodes[: graph.loss_position]:
        behind = [probe for (name, _), probe in probes.items() if name == node.name]
        nodes += [node, *(Node(name=probe, op=identity, module=probe) for probe in behind)]
    edges = [Edge(source=name, target=p, element=k) for (name, k), p in probes.items()]
    for edge in graph.edges[: len(graph.edges) - len(graph.loss)]:
        probe = probes.get((edge.source, edge.element)) if edge.gradient else None
        edges.append(replace(edge, source=probe, element=0) if probe else edge)
    return (
        assemble(
            graph.name,
            nodes,
            edges,
            [(output, probes.get((name, 0), name)) for output, name in graph.outputs],
            [
                replace(term, of=probes.get((term.of, term.element), term.of), element=0)
                for term in graph.loss
            ],
            ties=graph.ties,
            params=graph.params,
        ),
        probes,
    )


def _free_name(graph: Graph, index: int) -> str:
    name = f"probe_{index}"
    while name in graph.positions:
        name += "_"
    return name
