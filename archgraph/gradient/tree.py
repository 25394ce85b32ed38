"""The tree of all paths that end at one node, walked backwards with a cotangent at each branch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from archgraph.errors import BudgetError
from archgraph.gradient.bundle import Bundle
from archgraph.gradient.routes import entering, own_hops, received
from archgraph.gradient.tape import Tape
from archgraph.paths.count import count_paths
from archgraph.paths.enumerate import Path
from archgraph.paths.walk import Walk, walk

__all__ = ["DEFAULT_BUDGET", "iter_path_gradients", "shown_count", "within_budget"]

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
            "are followed one by one; raise the budget, ask for the heaviest of them only, or "
            "split the gradient by edge, weights or branches, which follow no paths"
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
            source, element = tape.graph.sources[hop], tape.graph.edges[hop].element
            delivered = pull.edges.get(hop)
            if delivered is None:  # integers, of which nobody knew before
                delivered = torch.zeros_like(tape.values[source][element], dtype=tape.dtype)
            if source == paths.start:
                yield Path(paths, (hop, *hops)), {element: delivered}
            else:
                stack.append((source, {element: delivered}, (hop, *hops)))
