"""Make a tape: run a compiled network once, node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archgraph.errors import GradientError
from archgraph.gradient import merging
from archgraph.gradient.bundle import Bundle, differentiable
from archgraph.gradient.cell import Cell, ParameterUse, Port, Scaling, as_elements, call_layer
from archgraph.gradient.environment import RandomState, forked, prepared, preserved_buffers
from archgraph.gradient.reference import Reference, may_overwrite, run
from archgraph.gradient.tape import Tape
from archgraph.gradient.verification import verify
from archgraph.graph import LOSS, Edge, Graph, Node
from archgraph.graph.records import ONE, EdgeKind
from archgraph.module.build import operations
from archgraph.module.loss import Batch, term_loss
from archgraph.module.shapes import infer
from archgraph.paths.target import resolve

__all__ = ["autograd", "record"]


def record(
    graph: Graph, module: nn.Module, batch: Batch, *, train: bool = False, seed: int | None = None
) -> Tape:
    """Run the network once and record it, node by node.

    An ordinary forward and backward pass through `module` is made as well, in the same random
    states, and the tape's outputs, loss and gradients are held against it; a tape that differs is
    not returned.

    Args:
        graph: The graph.
        module: What `archgraph.compile` made of it, in float64 or float32.
        batch: Inputs and targets, as `archgraph.module.draw` gives them.
        train: Whether dropout is active and norms use the statistics of the batch.
        seed: Seed of the dropout masks; default the present random state. The state is left as it
            was, and so are the module's mode, buffers and gradients.

    Raises:
        GradientError: torch refuses a pass, or the tape and the module disagree.

    Cost: two forward and two backward passes; all activations are kept.
    """
    device = batch.targets[0].device
    tape = Tape(graph, module, batch, train=train)
    with forked(device), prepared(module, train=train):
        if seed is not None:
            torch.manual_seed(seed)
        tape.random_start = RandomState.now(device)
        with preserved_buffers(module):
            reference = _reference(tape)
        tape.random_states = reference.random_states
        _Recorder(tape).record()
    verify(tape, reference)
    return tape


def _reference(tape: Tape) -> Reference:
    """Run the module in one piece; where torch refuses that, name the layer at which it does."""
    try:
        return run(tape.graph, tape.module, tape.batch)
    except GradientError:
        alone = Tape(tape.graph, tape.module, tape.batch, train=tape.train)
        _Recorder(alone).record()
        alone.cotangents()
        raise


def autograd(tape: Tape, wrt: str, *, of: str = LOSS, seed: Tensor | None = None) -> Bundle:
    """Return the derivative of `of` by `wrt` as autograd gives it for the network in one piece.

    The layers are run once more, in the same random states, and nothing is cut.

    Args:
        tape: A recorded pass.
        wrt: A node, an input or a parameter.
        of: The node that is differentiated.
        seed: The cotangent there; default ones.

    Raises:
        TargetError: `wrt` or `of` is not in the graph.
        GradientError: torch refuses the pass.

    Cost: one forward and one backward pass.
    """
    target = resolve(tape.graph, wrt)
    end = tape.graph.position(of)
    whole = Tape(tape.graph, tape.module, tape.batch, train=tape.train)
    whole.random_states, whole.random_start = tape.random_states, tape.random_start
    with forked(tape.loss.device), prepared(tape.module, train=tape.train):
        _Recorder(whole, cut=False).record()
        if target.position is None:
            sources: Bundle = {0: tape.module.get_parameter(wrt)}
        else:
            sources = {k: t for k, t in whole.values[target.position].items() if t.requires_grad}
        seeds = {k: t for k, t in tape.seed(of, seed).items() if whole.values[end][k].requires_grad}
        if not (seeds and sources):
            return {}
        found = torch.autograd.grad(
            [whole.values[end][k] for k in seeds],
            list(sources.values()),
            list(seeds.values()),
            allow_unused=True,
        )
    return {k: t for k, t in zip(sources, found, strict=True) if t is not None}


class _Recorder:
    """Runs a graph forward, each node on detached copies of what it reads, unless `cut` is off."""

    def __init__(self, tape: Tape, *, cut: bool = True) -> None:
        self.tape = tape
        self.cut = cut
        self.graph = tape.graph
        self.operations = operations(tape.graph, tape.module)
        self.dims = infer(tape.graph).dims
        self.owned: dict[int, list[ParameterUse]] = {}
        for name, users in tape.graph.parameter_users.items():
            for position, edge in users:
                self.owned.setdefault(position, []).append((name, edge))
        for position, node in enumerate(tape.graph.nodes):
            known = {name for name, _ in self.owned.get(position, [])}
            for name in _held(tape.module, node):
                if name not in known:
                    self.owned.setdefault(position, []).append((name, None))

    def record(self) -> None:
        if self.tape.random_start is not None:
            self.tape.random_start.restore()
        inputs = iter(self.tape.batch.inputs)
        for position, node in enumerate(self.graph.nodes):
            if node.kind == "input":
                cell = Cell({}, {}, {})
                value = next(inputs).detach()
                values = {0: value if self.cut else value.requires_grad_(differentiable(value))}
            else:
                cell = self._cell(position, node)
                values = dict(cell.outputs)
                if self.cut:
                    values = {k: t.detach() for k, t in values.items()}
            self.tape.cells.append(cell)
            self.tape.values.append(values)

    def _cell(self, position: int, node: Node) -> Cell:
        parameters = {use: self._parameter(*use) for use in self.owned.get(position, [])}
        terms = {e: self._term(self.graph.edges[e], parameters) for e in self.graph.into[position]}
        layer = None if node.op is None else self.operations[node.name]
        try:
            if node.kind == "loss":
                plain = {e: (value, ONE, None) for e, (value, _, _) in terms.items()}
                ports = {str(e): self._port("loss", [e], plain, None) for e in terms}
                outputs = {0: self._loss(ports, terms)}
            else:
                ports = self._ports(node, terms)
                outputs = as_elements(self._layer(node, ports, layer))
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise GradientError(f"{node.name!r} cannot be run: {error}") from error
        in_op = {use: t for use, t in parameters.items() if use[1] is None or node.kind == "loss"}
        carries = frozenset(e for e, term in terms.items() if self._carries(e, term[0]))
        scales = {} if node.kind == "loss" else self._scales(parameters, ports)
        return Cell(ports, in_op, outputs, layer, scales, carries)

    def _carries(self, edge: int, value: Tensor) -> bool:
        return self.graph.edges[edge].gradient and differentiable(value)

    def _scales(
        self, parameters: Mapping[ParameterUse, Tensor], ports: Mapping[str, Port]
    ) -> dict[ParameterUse, Scaling]:
        places = {e: (name, i) for name, port in ports.items() for i, e in enumerate(port.edges)}
        return {
            (name, edge): Scaling(*places[edge], _index(self.graph.edges[edge]), tensor.shape)
            for (name, edge), tensor in parameters.items()
            if edge is not None
        }

    def _term(self, edge: Edge, parameters: Mapping[ParameterUse, Tensor]) -> merging.Term:
        learn = edge.scale.learn
        learnt = None if learn is None else parameters[learn.name, edge.index]
        if learnt is not None and learn is not None and learn.index is not None:
            learnt = learnt[learn.index]
        return self._read(edge), edge.scale, learnt

    def _ports(self, node: Node, terms: Mapping[int, merging.Term]) -> dict[str, Port]:
        return {
            port: self._port(
                edges[0].kind, [e.index for e in edges], terms, self.dims.get((node.name, port))
            )
            for port, edges in self.graph.ports(node.name).items()
        }

    def _port(
        self,
        kind: EdgeKind,
        edges: Sequence[int],
        terms: Mapping[int, merging.Term],
        dim: int | None,
    ) -> Port:
        given = tuple(terms[e] for e in edges)
        with torch.set_grad_enabled(not self.cut):
            value = merging.merge(kind, given, dim)
        if self.cut:
            # detach() makes a tensor of its own, so that each port is a leaf of its own.
            carries = any(self._carries(e, terms[e][0]) for e in edges)
            value = value.detach().requires_grad_(carries)
        return Port(tuple(edges), merging.Merge(kind, given, dim, value.shape), value)

    def _read(self, edge: Edge) -> Tensor:
        value = self.tape.values[self.graph.positions[edge.source]].get(edge.element)
        if value is None:
            raise GradientError(
                f"{edge.target!r} reads element {edge.element} of {edge.source!r}, "
                "which is no tensor"
            )
        return value

    def _parameter(self, name: str, edge: int | None) -> Tensor:
        try:
            parameter = self.tape.module.get_parameter(name)
        except AttributeError:
            raise GradientError(f"the compiled network has no parameter {name!r}") from None
        if edge is None or not self.cut:
            return parameter
        # A λ is used by the merge and not inside an op, so each edge can have its own.
        own = parameter.detach()
        in_loss = self.graph.targets[edge] == self.graph.loss_position
        return own.requires_grad_() if in_loss else own

    def _layer(self, node: Node, ports: Mapping[str, Port], layer: Any) -> Any:
        values = {
            name: port.leaf.clone() if may_overwrite(node) else port.leaf
            for name, port in ports.items()
        }
        if layer is None:
            return next(iter(values.values()))
        if node.name in self.tape.random_states:
            self.tape.random_states[node.name].restore()
        return call_layer(layer, node, values)

    def _loss(self, ports: Mapping[str, Port], terms: Mapping[int, merging.Term]) -> Tensor:
        summands = []
        for i, (edge, port) in enumerate(ports.items()):
            term = term_loss(self.graph, i, port.leaf, self.tape.batch.targets[i])
            _, scale, learnt = terms[int(edge)]
            summands.append(merging.scaled(term, scale, learnt))
        self.tape.loss_terms = tuple(summand.detach() for summand in summands)
        return torch.stack(summands).sum()


def _index(edge: Edge) -> int | None:
    return edge.scale.learn.index if edge.scale.learn is not None else None


def _held(module: nn.Module, node: Node) -> list[str]:
    """Return the parameters of a plugin's layer, which may not be known before it is built."""
    if node.op is None or node.op.op.origin != "plugin":
        return []
    path = node.module or node.name
    return [f"{path}.{name}" for name, _ in module.get_submodule(path).named_parameters()]
