"""What a diagnosis looks at: one recorded pass, and the gradient that was split there by edge."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from archgraph.errors import TargetError
from archgraph.gradient import Cotangents, EdgeFlow, Headline, Tape, edge_flow, headline
from archgraph.gradient.bundle import norm
from archgraph.graph import LOSS, Edge, Graph, Node
from archgraph.paths.walk import Walk, walk

__all__ = ["Examination", "Stretch", "examine", "last_output"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the network between two nodes that every path visits, with none between them."""

    first: str
    """Where it starts, nearer to the input."""
    last: str
    """Where it ends, nearer to the loss."""
    nodes: tuple[str, ...]
    """What lies on paths from the one to the other, `last` included and `first` not."""
    weights: int
    """Most weight layers on a path through it."""
    has_skip: bool
    gain: float | None
    """dB: 20·log10 of ‖∂L/∂first‖ / ‖∂L/∂last‖; None where either is zero."""


@dataclass(frozen=True)
class Examination:
    """A pass through a network, seen from one target."""

    tape: Tape
    target: str
    flow: EdgeFlow
    headline: Headline
    paths: Walk
    cotangents: Cotangents

    @property
    def graph(self) -> Graph:
        """The network."""
        return self.tape.graph

    @property
    def reference(self) -> str:
        """The output that the target is held against."""
        return last_output(self.graph, self.target)

    def node_norm(self, name: str) -> float:
        """Return ‖∂L/∂node‖, whether or not it lies on a path from the target."""
        return norm(self.cotangents.nodes.get(self.graph.position(name), {}))

    def node_rms(self, name: str) -> float:
        """Return the root mean square of ∂L/∂node per element."""
        bundle = self.cotangents.nodes.get(self.graph.position(name), {})
        return norm(bundle) / math.sqrt(max(1, sum(t.numel() for t in bundle.values())))

    def delivered(self, edge: Edge) -> float:
        """Return the norm of what an edge delivers to its source."""
        found = self.cotangents.edges.get(edge.index)
        return 0.0 if found is None else norm({0: found})

    def layer(self, node: Node) -> nn.Module | None:
        """Return the module that does a node's op, if there is one."""
        found = None if node.module is None else dict(self.modules).get(node.module)
        return found if isinstance(found, nn.Module) else None

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """The network's modules by path."""
        return dict(self.tape.module.named_modules(remove_duplicate=False))

    def weight(self, node: Node) -> Tensor | None:
        """Return the matrix or kernel of a weight layer, as torch stores it."""
        found = getattr(self.layer(node), "weight", None)
        return found.detach() if isinstance(found, Tensor) and found.dim() >= 2 else None

    @cached_property
    def stretches(self) -> tuple[Stretch, ...]:
        """The network from the target to the loss, cut at the nodes that every path visits.

        The stretch into the loss is left out.
        """
        found = [self._stretch(part) for part in reversed(self.paths.parts)]
        return tuple(stretch for stretch in found if stretch.last != LOSS)

    def _stretch(self, part: tuple[int, ...]) -> Stretch:
        names, start, end = self.paths.names, part[-1], part[0]
        longest = {start: 0}
        skip = False
        for position in reversed(part):
            for hop in self.paths.steps[position] if position != end else ():
                target = self.paths.targets[hop]
                length = longest[position] + self.paths.weights[hop]
                longest[target] = max(longest.get(target, 0), length)
                skip = skip or self.paths.hops[hop].role == "skip"
        before, after = (self.flow.node_norms.get(names[p], 0.0) for p in (start, end))
        return Stretch(
            first=names[start],
            last=names[end],
            nodes=tuple(names[p] for p in reversed(part[:-1])),
            weights=longest[end],
            has_skip=skip,
            gain=20 * (math.log10(before) - math.log10(after)) if before and after else None,
        )


def examine(
    tape: Tape, target: str, *, progress: Callable[[int, int], None] | None = None
) -> Examination:
    """Split the gradient at a target by edge, and keep what a diagnosis reads.

    Cost: `edge_flow` and one more backward sweep.
    """
    flow = edge_flow(tape, target, progress=progress)
    swept = tape.swept or tape.cotangents(edges=True)
    numbers = headline(tape, target, flow=flow)
    return Examination(tape, target, flow, numbers, walk(tape.graph, target), swept)


def last_output(graph: Graph, target: str) -> str:
    """Return the last output that the target's paths lead to.

    Raises:
        TargetError: none does.
    """
    order = [graph.nodes[p].name for p in walk(graph, target).order if p < len(graph.nodes)]
    outputs = {name for _, name in graph.outputs} | {term.of for term in graph.loss}
    found = next((name for name in order if name in outputs), None)
    if found is None:
        raise TargetError(f"no path leads from {target!r} to the loss")
    return found
