"""The tree of all paths that end at one node, walked backwards with a cotangent at each branch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from archgraph.errors import BudgetError, UsageError
from archgraph.gradient.bundle import Bundle
from archgraph.gradient.routes import entering, own_hops, received
from archgraph.gradient.tape import Pull, Tape
from archgraph.paths.count import count_paths
from archgraph.paths.enumerate import Path
from archgraph.paths.walk import Walk, walk

__all__ = ["DEFAULT_BUDGET", "iter_path_gradients", "path_gradient", "shown_count", "within_budget"]

DEFAULT_BUDGET = 4096
"""Most paths that are followed one by one unless the caller says otherwise."""

Hops: TypeAlias = tuple[int, ...]


def within_budget(paths: Walk, budget: int) -> int:
    """Return the number of paths.

    Raises:
        BudgetError: there are more than `budget`.
    """
    count = count_paths(paths)
    if count > budget:
        start, end = paths.names[paths.start], paths.names[paths.end]
        raise BudgetError(
            f"{shown_count(count)} paths lead from {start!r} to {end!r}, and at most {budget:,} "
            "are followed one by one",
            "raise the budget, ask for the heaviest of them only, or split the gradient by edge, "
            "weights or branches, which follow no paths",
        )
    return count


def shown_count(count: int) -> str:
    """Return a number of paths as a person reads it."""
    return f"{count:,}" if count < 10**15 else f"more than 2^{count.bit_length() - 1}"


def iter_path_gradients(
    tape: Tape, wrt: str, of: str, seed: Tensor | None
) -> Iterator[tuple[Path, Bundle]]:
    """Yield every path from `wrt` to `of` with its gradient, paths with a common end together.

    Cost: one vector–Jacobian product for each node of the tree. Memory: a cotangent for each open
    branch, O(depth · in-degree) of them.
    """
    paths = walk(tape.graph, wrt, of)
    if not paths.order:
        return
    if paths.start == paths.end:
        yield Path(paths, ()), tape.seed(of, seed)
        return
    into, uses = entering(paths), own_hops(tape.graph, wrt)
    stack: list[tuple[int, Bundle, Hops]] = [(paths.end, tape.seed(of, seed), ())]
    while stack:
        position, cotangent, hops = stack.pop()
        own = {hop: uses[hop] for hop in into[position] if hop in uses}
        edges = {hop for hop in into[position] if hop not in uses}
        parameters = tuple(use for given in own.values() for use in given.values() if use)
        pull = tape.pull(position, cotangent, edges=edges, parameters=parameters)
        for hop in into[position]:
            if hop in own:
                yield Path(paths, (hop, *hops)), received(own[hop], cotangent, pull)
                continue
            source, delivered = tape.graph.sources[hop], _delivered(tape, pull, hop)
            if source == paths.start:
                yield Path(paths, (hop, *hops)), delivered
            else:
                stack.append((source, delivered, (hop, *hops)))


def path_gradient(tape: Tape, path: Path, *, seed: Tensor | None = None) -> Tensor:
    """Return the gradient ∏ Jᵀ along one path alone, such as a path drawn by `sample_paths`.

    Args:
        tape: A recorded pass.
        path: A path of the tape's graph, and not of a view of it.
        seed: The cotangent at the path's end; default ones.

    Returns:
        A tensor shaped like the path's target, or like the element of it that the first edge reads.

    Raises:
        UsageError: the path belongs to a view, or to another graph.
        GradientError: torch cannot differentiate an op.

    Cost: one vector–Jacobian product of each node on the path.

    Example:
        >>> from archgraph.gradient import run_once
        >>> from archgraph.paths import estimate
        >>> from archgraph.spec import load
        >>> graph = load("scaled_residual")
        >>> tape = run_once(graph)
        >>> def size(path):
        ...     return float(path_gradient(tape, path).norm())
        >>> found = estimate(graph, "x0", size, samples=60)  # Σ‖g_p‖ over 256 paths
        >>> round(found.value), round(found.standard_error)
        (873, 59)
    """
    paths = path.walk
    edges = tape.graph.edges
    if tuple(paths.hops[: len(edges)]) != edges:
        raise UsageError("the path is not one of the recorded graph; take its paths in the op view")
    uses = own_hops(tape.graph, paths.names[paths.start])
    position, cotangent = paths.end, tape.seed(paths.names[paths.end], seed)
    for hop in reversed(path.edge_indices):
        if hop in uses:
            asked = tuple(use for use in uses[hop].values() if use)
            pull = tape.pull(position, cotangent, edges=(), parameters=asked)
            cotangent = received(uses[hop], cotangent, pull)
        else:
            pull = tape.pull(position, cotangent, edges={hop})
            position, cotangent = tape.graph.sources[hop], _delivered(tape, pull, hop)
    return next(iter(cotangent.values()))


def _delivered(tape: Tape, pull: Pull, hop: int) -> Bundle:
    """Return what an edge delivers to the element that it reads."""
    element = tape.graph.edges[hop].element
    found = pull.edges.get(hop)
    if found is None:  # integers, of which nobody knew before
        value = tape.values[tape.graph.sources[hop]][element]
        found = torch.zeros_like(value, dtype=tape.dtype)
    return {element: found}
