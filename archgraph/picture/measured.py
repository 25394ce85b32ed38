"""A measured gradient as a drawing shows it; calling this imports torch."""

from __future__ import annotations

from archgraph.graph import Graph
from archgraph.paths import count_paths, iter_paths
from archgraph.picture.flow import Flow, PathRow
from archgraph.picture.routes import path_row

__all__ = ["measured_flow"]

LISTED_PATHS = 8
"""With more paths than these, a drawing shows no table of them."""


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

    Cost: two passes to record, and about four backward passes.
    """
    from archgraph.gradient import decompose, edge_flow, run_once

    count = count_paths(graph, wrt)
    tape = run_once(graph, batch=batch, seed=seed, dtype=dtype)
    flow = edge_flow(tape, wrt)
    rows: tuple[PathRow, ...] = ()
    lengths: dict[int, float] = {}
    if count <= LISTED_PATHS:
        paths = list(iter_paths(graph, wrt))
        parts = decompose(tape, wrt, "path").parts
        rows = tuple(
            path_row(path, part.norm, part.share)
            for path, part in sorted(
                zip(paths, parts, strict=True), key=lambda pair: -abs(pair[1].share or 0)
            )
        )
        for path, part in zip(paths, parts, strict=True):
            lengths[path.length] = lengths.get(path.length, 0.0) + (part.share or 0.0)
    return Flow(
        wrt=wrt,
        shares={key: share for key, share in flow.shares.items() if share is not None},
        norms=flow.norms,
        norm=flow.norm,
        count=count,
        paths=rows,
        length_shares=lengths,
        node_rms=flow.node_rms,
        loss=_loss(graph),
        batch=batch,
        seed=seed,
        dtype=dtype,
    )


def _loss(graph: Graph) -> str:
    """Return the names of the losses, or what is read instead."""
    names = dict.fromkeys("random readout" if t.op is None else t.op.name for t in graph.loss)
    return " + ".join(names)
