"""One recorded forward pass, cut at every edge, so that each node can be differentiated alone.

Each in-edge of a node reads a detached copy of its source's value. A node's own graph therefore
ends at its in-edges, and a vector–Jacobian product of one node, or of one edge into it, is an
ordinary `torch.autograd.grad`. Everything else in this package is made of these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from archgraph.errors import GradientError, UsageError
from archgraph.gradient.bundle import Bundle, accumulate
from archgraph.gradient.cell import Cell, ParameterUse
from archgraph.gradient.environment import RandomState, forked, prepared
from archgraph.gradient.local import OnceOnlyError, Source, jvp, run_on_duals, vjp, vjp_many
from archgraph.graph import LOSS, Graph
from archgraph.module.loss import Batch

__all__ = ["Cotangents", "OnceOnlyError", "ParameterUse", "Pull", "Tape", "unmerged"]


@dataclass(frozen=True, slots=True)
class Pull:
    """A cotangent pulled back through one node: what each in-edge and parameter receives."""

    edges: dict[int, Tensor]
    """By edge index, with the shape of the element that the edge reads; zeros included."""
    parameters: dict[ParameterUse, Tensor]


@dataclass(frozen=True, slots=True)
class Cotangents:
    """∂L/∂ everything, of one backward sweep; what L does not depend on is left out."""

    nodes: Mapping[int, Bundle]
    parameters: Mapping[str, Tensor]
    edges: Mapping[int, Tensor] = field(default_factory=dict)
    """By edge: what it delivers to its source, λ included; only if asked for."""
    uses: Mapping[tuple[int, ParameterUse], Tensor] = field(default_factory=dict)
    """By node and use of a parameter: what that use receives; only if asked for."""


class Tape:
    """A recorded pass through a graph. Made by `record`.

    Attributes:
        graph: The graph.
        module: The compiled module, whose parameters the recorded pass used.
        batch: The inputs and targets.
        train: Whether the pass was in train mode.
        cells: What was recorded of each node, in the order of `graph.nodes`.
        values: Each node's value by element, detached; the loss last.
        loss_terms: The scaled summands of L.
        random_states: By node: the random state in which its layer was called.
        random_start: The random state in which the pass began, for callables that are no layers.
        swept: The backward sweep from L that the self-check made, with what each edge delivers;
            None gives back its memory, and it is then made again where it is needed.
    """

    def __init__(self, graph: Graph, module: nn.Module, batch: Batch, *, train: bool) -> None:
        self.graph = graph
        self.module = module
        self.batch = batch
        self.train = train
        self.cells: list[Cell] = []
        self.values: list[Mapping[int, Tensor]] = []
        self.loss_terms: tuple[Tensor, ...] = ()
        self.random_states: Mapping[str, RandomState] = {}
        self.random_start: RandomState | None = None
        self.swept: Cotangents | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the pass, that of the loss."""
        return self.values[-1][0].dtype

    @property
    def loss(self) -> Tensor:
        """The value of L, a scalar."""
        return self.values[-1][0]

    def outputs(self) -> tuple[Tensor, ...]:
        """Return the network's outputs, in the graph's order."""
        return tuple(self.values[self.graph.position(node)][0] for _, node in self.graph.outputs)

    # --- one node ---------------------------------------------------------------------------

    def pull(
        self,
        position: int,
        cotangent: Bundle,
        *,
        edges: Collection[int] | None = None,
        parameters: Collection[ParameterUse] = (),
    ) -> Pull:
        """Pull a cotangent back through one node: Jᵀ·cotangent, apart for every in-edge.

        What is returned may be shared between edges, and is not to be changed in place.

        Args:
            position: Index of the node.
            cotangent: By element, shaped like the node's value.
            edges: Indices of the in-edges wanted, of those that carry a gradient; default all.
            parameters: The uses of parameters wanted; see `uses`.

        Raises:
            GradientError: torch cannot differentiate the op.

        Cost: one backward pass through the node's op.
        """
        cell = self.cells[position]
        sources = self._sources(cell, edges, parameters)
        if not cell.merges_only:
            found = self._differentiated(position, cotangent, sources)
        elif 0 in cotangent:
            found = dict.fromkeys(sources, cotangent[0])
        else:
            found = {source: torch.zeros_like(cell.outputs[0]) for source in sources}
        return unmerged(cell, found, edges, parameters)

    def pull_many(
        self,
        position: int,
        element: int,
        stack: Tensor,
        *,
        edges: Collection[int] | None = None,
        parameters: Collection[ParameterUse] = (),
    ) -> Pull:
        """Pull many cotangents back through one node, all of one element of its value.

        Args:
            position: Index of the node.
            element: Of its value.
            stack: The cotangents, shape (number of them, *shape of the element).
            edges: As in `pull`.
            parameters: As in `pull`.

        Returns:
            As `pull`, with the number of cotangents in front of every shape.

        Raises:
            GradientError: torch cannot differentiate the op.
        """
        cell = self.cells[position]
        sources = self._sources(cell, edges, parameters)
        if cell.merges_only:
            found = dict.fromkeys(sources, stack)
        else:
            try:
                found = vjp_many(cell, element, stack, sources)
            except RuntimeError as error:
                raise self._refusal(position, error) from error
        return unmerged(cell, found, edges, parameters)

    def slopes(self, position: int) -> Tensor | None:
        """Return φ' at every element that an elementwise op of one port reads; None for others."""
        node, cell = self.graph.nodes[position], self.cells[position]
        if node.op is None or not node.op.op.elementwise or len(cell.ports) != 1:
            return None
        if not cell.carries or 0 not in cell.outputs:
            return None
        (port,) = cell.ports
        return self._differentiated(position, {0: torch.ones_like(cell.outputs[0])}, [port])[port]

    def _sources(
        self,
        cell: Cell,
        edges: Collection[int] | None,
        parameters: Collection[ParameterUse],
    ) -> list[Source]:
        """Return what the op must be differentiated by: ports first."""
        ports = [cell.places[e][0] for e in cell.places if edges is None or e in edges]
        ports += [cell.scales[use].port for use in parameters if use in cell.scales]
        return [*dict.fromkeys(ports), *(use for use in parameters if use in cell.parameters)]

    def _differentiated(
        self, position: int, cotangent: Bundle, sources: Sequence[Source]
    ) -> dict[Source, Tensor]:
        try:
            found = vjp(self.cells[position], cotangent, sources)
        except RuntimeError as error:
            raise self._refusal(position, error) from error
        return dict(zip(sources, found, strict=True))

    def _refusal(self, position: int, error: Exception) -> GradientError:
        name = self.graph.nodes[position].name
        reason = str(error).partition(" Hint:")[0]  # which is for those who wrote the op
        return GradientError(f"{name!r} cannot be differentiated: {reason}")

    def uses(self, position: int) -> tuple[ParameterUse, ...]:
        """Return the parameters that a node uses, its edges' learnable λ included."""
        return self.cells[position].uses

    def push(self, position: int, tangents: Mapping[int | ParameterUse, Tensor]) -> Bundle:
        """Push tangents forward through one node: J·tangent, by element of its value.

        Args:
            position: Index of the node.
            tangents: By in-edge or parameter use; one that is left out is zero.

        Raises:
            OnceOnlyError: torch can differentiate the op backwards only.

        Cost: one pass through the node's op, forwards or backwards; three where nothing is known
            of its family.
        """
        cell = self.cells[position]
        moved = _merged(cell, tangents)
        if cell.merges_only:
            return {0: next(iter(moved.values()))} if moved else {}
        try:
            return jvp(cell, moved)
        except OnceOnlyError as error:
            found = self._push_by_running(position, moved)
            if found is not None:
                return found
            name = self.graph.nodes[position].name
            raise OnceOnlyError(
                f"edges cannot be split: {name!r} cannot be differentiated twice ({error})"
            ) from error

    def _push_by_running(self, position: int, moved: Mapping[Source, Tensor]) -> Bundle | None:
        """Run an op again on dual numbers; None if it has no such rule, or gives another value."""
        cell, node = self.cells[position], self.graph.nodes[position]
        if cell.layer is None or any(not isinstance(source, str) for source in moved):
            return None
        with forked(self.loss.device), prepared(self.module, train=self.train):
            if node.name in self.random_states:
                self.random_states[node.name].restore()
            try:
                value, tangent = run_on_duals(cell, node, moved)
            except (RuntimeError, NotImplementedError):
                return None
        same = all(torch.equal(value[k], self.values[position][k]) for k in value)
        return tangent if same and value.keys() == self.values[position].keys() else None

    # --- the whole graph --------------------------------------------------------------------

    def seed(self, of: str, cotangent: Tensor | None = None) -> Bundle:
        """Return the cotangent with which a backward sweep starts at `of`.

        Args:
            of: The node; the loss `L` for ordinary gradients.
            cotangent: Shaped like the node's value; default ones.

        Raises:
            UsageError: the shape is another.
        """
        value = self.values[self.graph.position(of)][0]
        if cotangent is None:
            return {0: torch.ones_like(value)}
        if cotangent.shape != value.shape:
            raise UsageError(
                f"a cotangent of {of!r} has its shape {tuple(value.shape)}, "
                f"not {tuple(cotangent.shape)}"
            )
        return {0: cotangent.to(value)}

    def cotangents(
        self,
        of: str = LOSS,
        seed: Tensor | None = None,
        *,
        along: Collection[int] | None = None,
        uses: Mapping[int, Collection[ParameterUse]] | None = None,
        edges: bool = False,
        absolute: bool = False,
    ) -> Cotangents:
        """Sweep backwards once: ∂L/∂ every node and parameter.

        Args:
            of: Where the sweep starts.
            seed: The cotangent there; default ones.
            along: The edges that are followed; default all.
            uses: By node: the uses of parameters that are asked for; default all.
            edges: Whether to keep what each edge and each use of a parameter delivers, too.
            absolute: Whether to add the absolute values of what the edges deliver, so that
                nothing cancels: the size against which rounding is to be judged.

        Returns:
            The gradients. Of ∂`of`/∂v with several elements in `of`: its product with the seed.

        Raises:
            GradientError: torch cannot differentiate an op.

        Cost: one backward pass.
        """
        start = self.graph.position(of)
        first = self.seed(of, seed.abs() if absolute and seed is not None else seed)
        nodes: dict[int, dict[int, Tensor]] = {start: dict(first)}
        used: dict[tuple[int, ParameterUse], Tensor] = {}
        delivered: dict[int, Tensor] = {}
        totals: dict[str, dict[int, Tensor]] = {}
        for position in range(start, -1, -1):
            if position not in nodes or not self.cells[position].outputs:
                continue
            wanted = self.uses(position) if uses is None else uses.get(position, ())
            pull = self.pull(position, nodes[position], edges=along, parameters=wanted)
            for use, gradient in pull.parameters.items():
                accumulate(totals.setdefault(use[0], {}), 0, gradient)
            for edge, gradient in pull.edges.items():
                source = nodes.setdefault(self.graph.sources[edge], {})
                term = gradient.abs().to(gradient.dtype) if absolute else gradient
                accumulate(source, self.graph.edges[edge].element, term)
            if edges:
                delivered |= pull.edges
                used |= {(position, use): t for use, t in pull.parameters.items()}
        by_name = {name: total[0] for name, total in totals.items()}
        return Cotangents(nodes, {**by_name, **self._as_nodes(nodes)}, delivered, used)

    def _as_nodes(self, nodes: Mapping[int, Bundle]) -> dict[str, Tensor]:
        """Return the gradients of the parameters that are nodes themselves."""
        return {
            node.name: bundle[0]
            for position, bundle in nodes.items()
            if (node := self.graph.nodes[position]).op is not None
            and node.op.op.is_parameter
            and node.module == node.name
        }


def unmerged(
    cell: Cell,
    found: Mapping[Source, Tensor],
    edges: Collection[int] | None,
    parameters: Collection[ParameterUse],
) -> Pull:
    """Share out what the ports of an op receive among the edges that were merged there."""
    wanted = {e: place for e, place in cell.places.items() if edges is None or e in edges}
    received = {
        edge: cell.ports[port].merge.pull(slot, found[port])
        for edge, (port, slot) in wanted.items()
    }
    by_use: dict[ParameterUse, Tensor] = {}
    for use in parameters:
        if use in cell.parameters:
            by_use[use] = found[use]
        else:
            scaling = cell.scales[use]
            merge = cell.ports[scaling.port].merge
            by_use[use] = scaling.embed(merge.pull_scale(scaling.slot, found[scaling.port]))
    return Pull(received, by_use)


def _merged(cell: Cell, tangents: Mapping[int | ParameterUse, Tensor]) -> dict[Source, Tensor]:
    """Return the tangents of what an op reads; ports whose tangent is zero are left out."""
    moved: dict[Source, Tensor] = {}
    for name, port in cell.ports.items():
        given = [tangents.get(edge) for edge in port.edges]
        scales: list[Tensor | None] = [None] * len(given)
        for use, scaling in cell.scales.items():
            if scaling.port == name and use in tangents:
                scales[scaling.slot] = scaling.pick(tangents[use])
        if any(t is not None for t in (*given, *scales)):
            moved[name] = port.merge.push(given, scales)
    moved |= {
        use: t for use, t in tangents.items() if not isinstance(use, int) and use in cell.parameters
    }
    return moved
