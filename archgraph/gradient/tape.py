"""One recorded forward pass, cut at every edge, so that each node can be differentiated alone.

Each in-edge of a node reads a detached copy of its source's value. A node's own graph therefore
ends at its in-edges, and a vector–Jacobian product of one node, or of one edge into it, is an
ordinary `torch.autograd.grad`. Everything else in this package is made of these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from archgraph.errors import GradientError, UsageError
from archgraph.gradient.bundle import Bundle, accumulate, differentiable
from archgraph.gradient.environment import RandomState
from archgraph.graph import LOSS, Graph
from archgraph.module.loss import Batch

__all__ = ["Cell", "Cotangents", "OnceOnlyError", "ParameterUse", "Pull", "Tape"]

ParameterUse: TypeAlias = tuple[str, int | None]
"""A parameter at one of its users: its name, and the edge that it scales if it is a λ."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What was recorded of one node: the two ends of its local graph."""

    leaves: Mapping[int, Tensor]
    """By edge that carries a gradient: the detached value that it reads, a leaf."""
    parameters: Mapping[ParameterUse, Tensor]
    """The parameters used here. A learnable λ is a leaf of its own for each edge."""
    outputs: Mapping[int, Tensor]
    """By element: the node's value at the end of the local graph."""


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


class OnceOnlyError(GradientError):
    """An op can be differentiated once but not twice, so that edges cannot be split there."""


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
        wanted = [e for e in cell.leaves if edges is None or e in edges]
        leaves = [cell.leaves[e] for e in wanted]
        owned = [cell.parameters[use] for use in parameters]
        found = self._grad(position, cotangent, [*leaves, *owned])
        count = len(wanted)
        return Pull(
            dict(zip(wanted, found[:count], strict=True)),
            dict(zip(parameters, found[count:], strict=True)),
        )

    def _grad(
        self,
        position: int,
        cotangent: Bundle,
        sources: Sequence[Tensor],
        *,
        twice: bool = False,
    ) -> list[Tensor]:
        """Return Jᵀ·cotangent for each of `sources`, zeros where it does not depend on one."""
        cell = self.cells[position]
        live = [k for k in cotangent if k in cell.outputs and cell.outputs[k].requires_grad]
        asked = [i for i, source in enumerate(sources) if differentiable(source)]
        found: list[Tensor | None] = [None] * len(sources)
        if live and asked:
            try:
                with _thawed(sources[i] for i in asked):
                    gradients = torch.autograd.grad(
                        [cell.outputs[k] for k in live],
                        [sources[i] for i in asked],
                        [cotangent[k] for k in live],
                        retain_graph=True,
                        create_graph=twice,
                        allow_unused=True,
                    )
            except RuntimeError as error:
                name = self.graph.nodes[position].name
                raise GradientError(f"{name!r} cannot be differentiated: {error}") from error
            for i, gradient in zip(asked, gradients, strict=True):
                found[i] = gradient
        return [
            torch.zeros_like(source) if gradient is None else gradient
            for source, gradient in zip(sources, found, strict=True)
        ]

    def uses(self, position: int) -> tuple[ParameterUse, ...]:
        """Return the parameters that a node uses, its edges' learnable λ included."""
        return tuple(self.cells[position].parameters)

    def push(
        self, position: int, cotangent: Bundle, tangents: Mapping[int | ParameterUse, Tensor]
    ) -> tuple[Bundle, dict[int | ParameterUse, Tensor]]:
        """Push tangents forward through one node, and pull its cotangent back in the same go.

        The tangent is got by differentiating the vector–Jacobian product, which is linear in the
        cotangent: d/dū ⟨Jᵀū, ẋ⟩ = J·ẋ. It needs no rerun, so dropout masks and batch statistics
        are those of the recorded pass.

        Args:
            position: Index of the node.
            cotangent: By element, shaped like the node's value.
            tangents: By in-edge or parameter use; one that is left out is zero.

        Returns:
            The node's tangent by element, and Jᵀ·cotangent for each key of `tangents`.

        Raises:
            OnceOnlyError: torch cannot differentiate the op twice.

        Cost: three backward passes through the node's op.
        """
        cell = self.cells[position]
        keys = list(tangents)
        sources = [cell.leaves[k] if isinstance(k, int) else cell.parameters[k] for k in keys]
        seeds = {k: t.detach().clone().requires_grad_() for k, t in cotangent.items()}
        pulled = self._grad(position, seeds, sources, twice=True)
        # J·ẋ is made of what depends on the seeds; a part that is not zero and does not, as if it
        # were a constant, has lost its derivative on the way.
        live = [i for i, tensor in enumerate(pulled) if tensor.requires_grad]
        lost = any(bool(t.any()) for t in pulled if not t.requires_grad)
        forward: Sequence[Tensor | None] = [None] * len(seeds)
        reason = "its derivative is a constant to torch"
        if live and not lost:
            try:
                forward = torch.autograd.grad(
                    [pulled[i] for i in live],
                    list(seeds.values()),
                    [tangents[keys[i]] for i in live],
                    allow_unused=True,
                )
            except RuntimeError as error:
                lost, reason = True, str(error)
            lost = lost or all(t is None for t in forward)
        if lost:
            name = self.graph.nodes[position].name
            raise OnceOnlyError(
                f"edges cannot be split: {name!r} cannot be differentiated twice ({reason})"
            )
        tangent = {k: t for k, t in zip(seeds, forward, strict=True) if t is not None}
        return tangent, {k: t.detach() for k, t in zip(keys, pulled, strict=True)}

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
        edges: bool = False,
        absolute: bool = False,
    ) -> Cotangents:
        """Sweep backwards once: ∂L/∂ every node and parameter.

        Args:
            of: Where the sweep starts.
            seed: The cotangent there; default ones.
            edges: Whether to keep what each edge delivers, too.
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
        uses: dict[ParameterUse, Tensor] = {}
        delivered: dict[int, Tensor] = {}
        for position in range(start, -1, -1):
            if position not in nodes or not self.cells[position].outputs:
                continue
            pull = self.pull(position, nodes[position], parameters=self.uses(position))
            for use, gradient in pull.parameters.items():
                uses[use] = uses[use] + gradient if use in uses else gradient
            for edge, gradient in pull.edges.items():
                source = nodes.setdefault(self.graph.sources[edge], {})
                term = gradient.abs().to(gradient.dtype) if absolute else gradient
                accumulate(source, self.graph.edges[edge].element, term)
            if edges:
                delivered |= pull.edges
        return Cotangents(nodes, self._by_name(uses), delivered)

    def _by_name(self, uses: Mapping[ParameterUse, Tensor]) -> dict[str, Tensor]:
        totals: dict[str, dict[int, Tensor]] = {}
        for (name, _), gradient in uses.items():
            accumulate(totals.setdefault(name, {}), 0, gradient)
        return {name: total[0] for name, total in totals.items()}


@contextmanager
def _thawed(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Let frozen parameters, which were not frozen when they were recorded, be differentiated."""
    frozen = [tensor for tensor in tensors if not tensor.requires_grad]
    try:
        for tensor in frozen:
            tensor.requires_grad_(True)
        yield
    finally:
        for tensor in frozen:
            tensor.requires_grad_(False)
