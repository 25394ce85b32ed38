"""A measured gradient as a drawing shows it; calling this imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archgraph.graph import Graph
from archgraph.paths import count_histograms, count_paths, iter_paths, resolve
from archgraph.picture.flow import Flow, PathRow
from archgraph.picture.routes import path_row

if TYPE_CHECKING:
    from archgraph.gradient import Tape

__all__ = ["measured_flow"]

LISTED_PATHS = 8
"""With more paths than these, a drawing shows no table of them."""
MAX_LENGTH = 40
"""Of a path in edges: where there are longer ones, a drawing does not say the share by length."""


def measured_flow(
    graph: Graph, wrt: str, *, batch: int = 4, seed: int = 0, dtype: str = "float64"
) -> Flow:
    """Measure ∂L/∂wrt at one recorded pass, split by edge, and by path where they are few.

    Args:
        graph: The network.
        wrt: A node, an input or a parameter.
        batch: Number of examples.
        seed: Seed of the weights and the batch.
        dtype: `float64` or `float32`.

    Raises:
        TargetError: there is no such target, or it has no gradient.
        GradientError: the gradient cannot be split, or a self-check failed.

    Cost: two passes to record, about four backward passes, and, where paths have at most
        `MAX_LENGTH` edges, about one forward and backward pass for every two lengths.
    """
    from archgraph.gradient import decompose, edge_flow, run_once

    count = count_paths(graph, wrt)
    tape = run_once(graph, batch=batch, seed=seed, dtype=dtype)
    flow = edge_flow(tape, wrt)
    rows: tuple[PathRow, ...] = ()
    if count <= LISTED_PATHS:
        paths = list(iter_paths(graph, wrt))
        parts = decompose(tape, wrt, "path").parts
        rows = tuple(
            path_row(path, part.norm, part.share)
            for path, part in sorted(
                zip(paths, parts, strict=True), key=lambda pair: -abs(pair[1].share or 0)
            )
        )
    return Flow(
        wrt=wrt,
        shares={key: share for key, share in flow.shares.items() if share is not None},
        norms=flow.norms,
        norm=flow.norm,
        count=count,
        paths=rows,
        length_shares=_length_shares(tape, wrt),
        node_rms=flow.node_rms,
        node_norms=flow.node_norms,
        loss=_loss(graph),
        batch=batch,
        seed=seed,
        dtype=dtype,
    )


def _length_shares(tape: Tape, wrt: str) -> dict[int, float]:
    """Return the share of each path length in edges; empty where they are long, or not to be had.

    The split is by the degree of a polynomial, one for each edge; no path is listed.
    """
    from archgraph.errors import ArchgraphError
    from archgraph.gradient import decompose

    if max(count_histograms(tape.graph, wrt).edges, default=0) > MAX_LENGTH:
        return {}
    try:
        split = decompose(tape, wrt, dict.fromkeys(tape.graph.edge_positions, 1), headlines=False)
    except ArchgraphError:  # too little memory, or an op that is differentiated only once
        return {}
    # A parameter's paths begin with a step that is no edge of the graph.
    first = 1 if resolve(tape.graph, wrt).entries else 0
    return {
        part.key + first: part.share or 0.0 for part in split.parts if isinstance(part.key, int)
    }


def _loss(graph: Graph) -> str:
    """Return the names of the losses, or what is read instead."""
    names = dict.fromkeys("random readout" if t.op is None else t.op.name for t in graph.loss)
    return " + ".join(names)
