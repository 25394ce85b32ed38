"""Simulate one node of a population: what it gives, and how cotangents go back through it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from archgraph.graph import Graph, Node
from archgraph.module.instances import instantiate
from archgraph.module.shapes import Shapes
from archgraph.prediction.averaging import AveragedCell, Windows
from archgraph.prediction.cells import Cell, CoreCell, LocalCell
from archgraph.prediction.convolving import convolve
from archgraph.prediction.families import treatment
from archgraph.prediction.laws import Law
from archgraph.prediction.looping import loop_cell
from archgraph.prediction.losses import network_losses
from archgraph.prediction.normalization import gain_shape, normalized
from archgraph.prediction.plan import Plan, Weights
from archgraph.prediction.population import (
    Bundle,
    Population,
    Segment,
    elements_of,
    flat,
    unflat,
)
from archgraph.prediction.reading import Reader
from archgraph.prediction.weights import (
    AveragedCore,
    ConditionedCore,
    Core,
    DrawnCore,
    PopulationCore,
)

__all__ = ["Simulator"]

SHARED_NUMBERS: Final = 10_000_000
"""Most numbers of a reused parameter that is drawn for every replica."""

Ports = dict[str, Tensor]
Own = Mapping[str, Tensor]


@dataclass
class Simulator:
    """Runs the nodes of a graph forward, in order, for one population."""

    plan: Plan
    population: Population
    values: list[Bundle] = field(default_factory=list)
    """Of the nodes so far, by element."""
    shared: dict[str, Tensor] = field(default_factory=dict)
    """Weights that are used more than once."""
    layers: dict[str, list[Callable[..., Any]]] = field(default_factory=dict)
    """By submodule: the layers of each network, of ops that are run as they are."""

    @property
    def graph(self) -> Graph:
        """The network."""
        return self.plan.graph

    @property
    def shapes(self) -> Shapes:
        """Its shapes."""
        return self.plan.shapes

    def visit(self, node: Node) -> Cell | None:
        """Simulate the next node; an input has no cell."""
        kind = treatment(node)
        if kind == "input":
            self.values.append({0: self._input(node)})
            return None
        cell = self._kinds[kind](self, node)
        self.values.append(cell.values)
        return cell

    def _input(self, node: Node) -> Tensor:
        shape = self.shapes[node.name].shape
        networks, replicas, batch = self.population.leading
        if not node.is_integer:
            return torch.randn(networks, replicas, batch, *shape)
        # The same examples for all replicas, which are parts of one network.
        drawn = torch.randint(node.below or 1, (networks, 1, batch, *shape))
        kind: torch.dtype = getattr(torch, node.dtype)
        return drawn.to(kind).expand(-1, replicas, *(-1 for _ in drawn.shape[2:]))

    # --- kinds of nodes -------------------------------------------------------------------------

    def _local(
        self,
        node: Node,
        function: Callable[[Ports, Own], Bundle],
        parameters: Own | None = None,
    ) -> Cell:
        """Merge what a node reads and apply `function` to its ports, as one piece."""
        reader = Reader(self.graph, self.shapes, self.population, node)
        own = dict(parameters or {})
        segment = Segment.run(
            lambda leaves, own: function(reader.merge(leaves, own), own),
            reader.reads(self.values),
            {**reader.scales(), **own},
        )
        return LocalCell(segment, {**reader.names(), **{name: name for name in own}})

    def _merge(self, node: Node) -> Cell:
        return self._local(node, lambda ports, own: {0: next(iter(ports.values()))})

    def _native(self, node: Node) -> Cell:
        """Run torch's own op on all networks at once: it treats examples alike."""
        layer = self._layer(node)

        def run(ports: Ports, own: Own) -> Bundle:
            batch = max(value.shape[2] for value in ports.values())
            wide = {
                port: value.expand(-1, -1, batch, *value.shape[3:]) for port, value in ports.items()
            }
            leading = (*self.population.leading[:2], batch)
            results = elements_of(layer(**{port: flat(value) for port, value in wide.items()}))
            return {element: _unflat(value, leading) for element, value in results.items()}

        return self._local(node, run)

    def _layer(self, node: Node) -> Callable[..., object]:
        assert node.op is not None
        arguments = dict(self.shapes.arguments[node.name])
        if "inplace" in arguments:
            arguments["inplace"] = False
        layer = instantiate(node.op, arguments)
        if isinstance(layer, nn.Module):
            layer = layer.train(self.population.train)
        return layer

    def _normalization(self, node: Node) -> Cell:
        assert node.op is not None
        op, arguments = node.op.op, self.shapes.arguments[node.name]
        own = self._own(node)

        def run(ports: Ports, own: Own) -> Bundle:
            (x,) = ports.values()
            y = normalized(op, arguments, x, self.population)
            for suffix, combine in ((".weight", torch.mul), (".bias", torch.add)):
                found = [value for name, value in own.items() if name == f"{node.module}{suffix}"]
                for value in found:
                    shape = gain_shape(op, y, value.shape[2:])
                    y = combine(y, value.reshape(*value.shape[:2], *shape))
            return {0: y}

        return self._local(node, run, own)

    def _own(self, node: Node) -> dict[str, Tensor]:
        """Draw a node's parameters, shape (networks, replicas, …)."""
        assert node.op is not None
        names = node.op.parameter_paths(node.module or node.name)
        known = [name for name in names if name in self.plan.laws]
        return {name: self._draw(name, self.plan.laws[name]) for name in known}

    def _draw(self, name: str, law: Law) -> Tensor:
        """Draw a parameter, or return it if a layer above has the same one."""
        name = self.plan.names.get(name, name)
        if name in self.shared:
            return self.shared[name]
        if name not in self.plan.reused:
            return law.draw(*self.population.leading[:2])
        networks, replicas = self.population.leading[:2]
        few = replicas * math.prod(law.shape) <= SHARED_NUMBERS
        self.shared[name] = law.draw(networks, replicas if few else 1)
        return self.shared[name]

    def _prelu(self, node: Node) -> Cell:
        def run(ports: Ports, own: Own) -> Bundle:
            (x,), (slope,) = ports.values(), own_values(own, node)
            axes = (1,) * max(0, x.dim() - 4)
            shaped = slope.reshape(*slope.shape[:2], 1, -1, *axes)
            return {0: torch.where(x > 0, x, shaped * x)}

        return self._local(node, run, self._own(node))

    def _parameter(self, node: Node) -> Cell:
        def run(ports: Ports, own: Own) -> Bundle:
            (value,) = own.values()
            return {0: value + 0}

        return self._local(node, run, self._own(node))

    def _table(self, node: Node) -> Cell:
        """Look rows up, of a table of which only the rows that are read are drawn."""
        name = f"{node.module}.weight"
        law = self.plan.laws[name]
        reader = Reader(self.graph, self.shapes, self.population, node)
        (index,) = reader.merge(reader.reads(self.values), {}).values()
        if self.plan.names.get(name, name) in self.plan.reused or not law.is_independent:
            table, rows = self._draw(name, law), index
        else:
            read, rows = torch.unique(index, return_inverse=True)
            shape = (len(read), law.shape[1])
            table = law.draw(*self.population.leading[:2], shape=shape)
            padding = self.shapes.arguments[node.name].get("padding_idx")
            if padding is not None and name not in self.plan.starts:
                table[:, :, read == padding % law.shape[0]] = 0
        where = [torch.arange(size).view(shape) for size, shape in _grid(table, rows)]

        def run(leaves: Mapping[int, Tensor], own: Own) -> Bundle:
            return {0: own[name][where[0], where[1], rows]}

        return LocalCell(Segment.run(run, reader.reads(self.values), {name: table}), {name: name})

    def _loop(self, node: Node) -> Cell:
        reader = Reader(self.graph, self.shapes, self.population, node)
        return loop_cell(self.plan, self.population, reader, self.values, node, self.layers)

    def _loss(self, node: Node) -> Cell:
        reader = Reader(self.graph, self.shapes, self.population, node)
        losses = network_losses(self.graph, self.shapes, self.population)
        segment = Segment.run(
            lambda leaves, own: {0: reader.weigh(losses(list(leaves.values())), own)},
            reader.reads(self.values),
            reader.scales(),
        )
        return LocalCell(segment, reader.names())

    # --- weight layers --------------------------------------------------------------------------

    def _weights(self, node: Node) -> Cell:
        weights = self.plan.weights[node.name]
        if weights.core == "convolved":
            return self._convolved(node, weights)
        if weights.core == "averaged" and weights.matrix.windows is not None:
            return self._averaged(node, weights)
        matrix = weights.matrix
        reader = Reader(self.graph, self.shapes, self.population, node)
        before = Segment.run(
            lambda leaves, own: {0: matrix.before(next(iter(reader.merge(leaves, own).values())))},
            reader.reads(self.values),
            reader.scales(),
        )
        vectors = before.outputs[0].shape[-2]

        def after(leaves: Mapping[str, Tensor], own: Own) -> Bundle:
            y = matrix.after(leaves["product"], vectors // matrix.positions)
            return {0: shifted(y, own, matrix.bias_axis)}

        return CoreCell(
            f"{node.module}.weight",
            self._core(node, weights),
            before,
            after,
            self._bias(node),
            reader.names(),
            limit=self.population.limit and weights.core != "drawn",
        )

    def _averaged(self, node: Node, weights: Weights) -> Cell:
        """Convolve fields of which only two covariances are kept."""
        matrix, shape = weights.matrix, self.shapes[node.name].shape
        assert matrix.windows is not None
        reader = Reader(self.graph, self.shapes, self.population, node)
        before = Segment.run(
            lambda leaves, own: {0: next(iter(reader.merge(leaves, own).values()))},
            reader.reads(self.values),
            reader.scales(),
        )
        read = tuple(before.outputs[0].shape[3:])
        return AveragedCell(
            f"{node.module}.weight",
            Windows(matrix.windows, matrix.groups, read, shape[1:], matrix.kernel),
            weights.law.std,
            shape[0],
            before,
            lambda leaves, own: {0: shifted(leaves["product"], own, matrix.bias_axis)},
            self._bias(node),
            reader.names(),
        )

    def _convolved(self, node: Node, weights: Weights) -> Cell:
        """Convolve with drawn kernels, without a copy of what each place sees."""
        assert node.op is not None
        op, arguments = node.op.op, self.shapes.arguments[node.name]
        name = f"{node.module}.weight"
        padding = weights.matrix.extra

        def run(ports: Ports, own: Own) -> Bundle:
            (x,) = ports.values()
            y = convolve(op, arguments, x, own[name], padding)
            bias = {name: value for name, value in own.items() if name.endswith(".bias")}
            return {0: shifted(y, bias, weights.matrix.bias_axis)}

        return self._local(node, run, {name: self._drawn(name, weights), **self._bias(node)})

    def _bias(self, node: Node) -> dict[str, Tensor]:
        name = f"{node.module}.bias"
        law = self.plan.laws.get(name)
        return {} if law is None else {name: self._draw(name, law)}

    def _core(self, node: Node, weights: Weights) -> Core:
        matrix, law = weights.matrix, weights.law
        match weights.core:
            case "conditioned":
                return ConditionedCore(law.mean, law.std, matrix.fan_out)
            case "limit":
                return PopulationCore(law.mean, law.std, matrix.fan_in, matrix.fan_out)
            case "averaged":
                return AveragedCore(
                    law.mean, law.std, matrix.fan_in, matrix.fan_out, matrix.positions
                )
        return DrawnCore(matrix.shaped(self._drawn(f"{node.module}.weight", weights)))

    def _drawn(self, name: str, weights: Weights) -> Tensor:
        if weights.shared:
            return self._draw(name, weights.law)
        own = weights.matrix.groups > 1  # then a row is no sum over many coordinates
        replicas = self.population.replicas if own else 1
        return weights.law.draw(self.population.networks, replicas)

    _kinds: ClassVar[Mapping[str, Callable[[Simulator, Node], Cell]]] = {
        "loop": _loop,
        "loss": _loss,
        "merge": _merge,
        "native": _native,
        "normalization": _normalization,
        "parameter": _parameter,
        "prelu": _prelu,
        "table": _table,
        "weights": _weights,
    }


def shifted(y: Tensor, bias: Own, axis: int) -> Tensor:
    """Return y with each bias added along an axis counted from the end."""
    for value in bias.values():
        ones = (1,) * (-1 - axis)
        lead = (1,) * (y.dim() - 3 - len(ones))
        y = y + value.reshape(*value.shape[:2], *lead, -1, *ones)
    return y


def own_values(own: Own, node: Node) -> list[Tensor]:
    """Return a node's own parameters, without the λ of its edges."""
    return [value for name, value in own.items() if name.startswith(f"{node.module}.")]


def _unflat(value: Tensor, leading: tuple[int, int, int]) -> Tensor:
    """Return a long batch by network; what is one for all examples stays so."""
    if value.shape[0] == 1 and leading != (1, 1, 1):
        wide = value.expand(leading[0] * leading[1], *value.shape[1:])
        return unflat(wide, (*leading[:2], 1))
    return unflat(value, leading)


def _grid(table: Tensor, rows: Tensor) -> list[tuple[int, tuple[int, ...]]]:
    """Return size and shape of the indices of networks and replicas beside `rows`."""
    ones = (1,) * (rows.dim() - 2)
    return [(table.shape[0], (-1, 1, *ones)), (table.shape[1], (1, -1, *ones))]
