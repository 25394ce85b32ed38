"""One recorded pass of a graph, from its weights to its tape."""

from __future__ import annotations

from archgraph.gradient.recording import record
from archgraph.gradient.tape import Tape
from archgraph.gradient.tolerance import as_dtype
from archgraph.graph import Graph
from archgraph.module import compile, draw

__all__ = ["run_once"]


def run_once(
    graph: Graph, *, batch: int = 4, seed: int = 0, dtype: str = "float64", train: bool = False
) -> Tape:
    """Compile a graph, draw a batch, and record one pass.

    Args:
        graph: The network.
        batch: Number of examples.
        seed: Seed of the weights, the batch and the dropout masks.
        dtype: `float64` or `float32`.
        train: Whether dropout is active and norms use the statistics of the batch.

    Raises:
        SpecError: the graph's shapes do not fit.
        GradientError: torch refuses the pass, or the tape is not what the module does.

    Example:
        >>> from archgraph.gradient import decompose
        >>> from archgraph.spec import load
        >>> parts = decompose(run_once(load("residual")), "x1", "path").parts
        >>> len(parts), round(sum(part.share for part in parts), 12)
        (4, 1.0)
    """
    precision = as_dtype(dtype)
    module = compile(graph, seed=seed, dtype=precision)
    data = draw(graph, batch=batch, seed=seed, dtype=precision)
    return record(graph, module, data, train=train, seed=seed)
