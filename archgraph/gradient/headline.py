"""A gradient in a few numbers: how deep it is, how it came, and how it grew on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from archgraph.gradient.bundle import relative_share
from archgraph.gradient.flow import EdgeFlow, backward_sweep, edge_flow
from archgraph.gradient.routes import gradient_at
from archgraph.gradient.tape import Tape
from archgraph.graph import LOSS, Graph
from archgraph.paths.walk import Walk, walk

__all__ = ["Headline", "headline"]


@dataclass(frozen=True, slots=True)
class Headline:
    """What a gradient g = ∂L/∂wrt is like; shares are None where g is zero."""

    norm: float
    """‖g‖."""
    rms: float
    """Root mean square of g per element."""
    effective_depth: float | None
    """Mean number of weight layers on a path, each path weighted by its share."""
    skip_share: float | None
    """Of the terms of merges that a path enters by, each weighted by its share: the fraction that
    are skips and not branches. None where no skip is passed."""
    direct_share: float | None
    """Share of the paths that take no branch."""
    block_gains_db: Mapping[str, float]
    """By block, from the input on: 20·log10 of ‖∂L/∂ its input‖ over ‖∂L/∂ its output‖. In a
    network without blocks, by merge: from the source of its skip."""

    @property
    def gain_db_per_block(self) -> float | None:
        """The mean of `block_gains_db`."""
        gains = self.block_gains_db.values()
        return sum(gains) / len(gains) if gains else None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "norm": self.norm,
            "rms": self.rms,
            "effective_depth": self.effective_depth,
            "skip_share": self.skip_share,
            "direct_share": self.direct_share,
            "gain_db_per_block": self.gain_db_per_block,
            "block_gains_db": dict(self.block_gains_db),
        }


def headline(
    tape: Tape,
    wrt: str,
    *,
    of: str = LOSS,
    seed: Tensor | None = None,
    flow: EdgeFlow | None = None,
) -> Headline:
    """Return a gradient in a few numbers.

    The mean over paths of a sum over edges, weighted by share, is the sum over edges of their
    shares; so no path is followed.

    Args:
        tape: A recorded pass.
        wrt: A node, an input or parameters.
        of: The node that is differentiated.
        seed: The cotangent there; default ones.
        flow: The gradient by edge, if it is known.

    Raises:
        TargetError: `wrt` or `of` is not in the graph.
        GradientError: the gradient cannot be split by edge; see `edge_flow`.

    Cost: one backward sweep along the skips, and `edge_flow` if that is not known.
    """
    flow = flow or edge_flow(tape, wrt, of=of, seed=seed)
    paths = walk(tape.graph, wrt, of)
    defined = flow.note is None and bool(flow.shares)
    passed = {
        role: sum(share or 0.0 for share in _shares(paths, flow, role))
        for role in ("skip", "branch")
    }
    both = passed["skip"] + passed["branch"]
    return Headline(
        norm=flow.norm,
        rms=flow.norm / math.sqrt(flow.elements),
        effective_depth=_depth(paths, flow) if defined else None,
        skip_share=passed["skip"] / both if defined and both else None,
        direct_share=_direct(tape, paths, wrt, of, seed) if defined else None,
        block_gains_db=dict(_gains(tape.graph, flow.node_norms)),
    )


def _shares(paths: Walk, flow: EdgeFlow, role: str) -> Iterator[float | None]:
    return (flow.shares.get(hop.id) for hop in paths.hops if hop.role == role)


def _depth(paths: Walk, flow: EdgeFlow) -> float:
    pairs = zip(paths.hops, paths.weights, strict=True)
    return sum(weights * (flow.shares.get(hop.id) or 0.0) for hop, weights in pairs if weights)


def _direct(tape: Tape, paths: Walk, wrt: str, of: str, seed: Tensor | None) -> float | None:
    """Return the share of the paths without a branch, by a sweep that takes none."""
    whole = gradient_at(tape, backward_sweep(tape, paths, wrt, of, seed), wrt)
    avoided = {i for i, hop in enumerate(paths.hops) if hop.role == "branch"}
    part = gradient_at(tape, backward_sweep(tape, paths, wrt, of, seed, avoided), wrt)
    return relative_share(part, whole)


def _gains(graph: Graph, norms: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield the gain of each block, or of each merge with a skip where there are no blocks."""
    ends = list(_blocks(graph)) or [
        (edge.target, edge.source, edge.target) for edge in graph.edges if edge.role == "skip"
    ]
    for name, first, last in ends:
        before, after = norms.get(first, 0.0), norms.get(last, 0.0)
        if before and after and first != last:
            yield name, 20 * (math.log10(before) - math.log10(after))


def _blocks(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """Yield each block that is in no other: its path, what it reads, and what it gives."""
    inside: set[str] = set()
    for path, instance in graph.instances.items():
        parent = path.rpartition(".")[0]
        unit = instance.kind == "block" or instance.index is not None
        if unit and parent not in inside and instance.inputs and instance.outputs:
            yield path, instance.inputs[0][1], instance.outputs[0][1]
        if unit or parent in inside:
            inside.add(path)
