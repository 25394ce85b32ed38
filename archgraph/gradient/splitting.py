"""The measured gradient, split exactly: by path, edge, node, grade or loss term."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from archgraph.errors import GradientError, UsageError, suggest
from archgraph.gradient.bundle import accumulate, difference, norm, relative_share
from archgraph.gradient.flow import ROUNDING, ZERO, EdgeFlow, backward_sweep, edge_flow
from archgraph.gradient.grades import Progress
from archgraph.gradient.grouping import GRADES, by_grade
from archgraph.gradient.headline import headline
from archgraph.gradient.heaviest import Heaviest, heaviest_paths
from archgraph.gradient.parts import Decomposition, Part, cancelling
from archgraph.gradient.routes import gradient_at, impassable, uncancelled
from archgraph.gradient.tape import OnceOnlyError, Tape
from archgraph.gradient.tolerance import tolerance_of
from archgraph.gradient.tree import (
    DEFAULT_BUDGET,
    iter_path_gradients,
    shown_count,
    within_budget,
)
from archgraph.graph import LOSS
from archgraph.paths.count import count_paths
from archgraph.paths.enumerate import Path
from archgraph.paths.walk import walk

__all__ = ["decompose", "path_gradients"]


def path_gradients(
    tape: Tape,
    wrt: str,
    *,
    of: str = LOSS,
    seed: Tensor | None = None,
    budget: int = DEFAULT_BUDGET,
) -> Iterator[tuple[Path, Tensor]]:
    """Yield every path from `wrt` to `of` with its exact gradient g_p = ∏ Jᵀ along it.

    Args:
        tape: A recorded pass.
        wrt: A node, an input or a parameter; for a parameter that several layers use, a path
            starts with an edge into one of them.
        of: The node that is differentiated.
        seed: The cotangent there; default ones.
        budget: Most paths.

    Returns:
        Pairs in the order of `archgraph.iter_paths`. A gradient has the shape of `wrt`; if that is
        a layer that returns a tuple, of the element that the path's first edge reads.

    Raises:
        TargetError: `wrt` or `of` is not in the graph.
        BudgetError: there are more paths than `budget`.
        GradientError: torch cannot differentiate an op.

    Cost: one vector–Jacobian product of a node for each node of the tree of paths, since paths
        share their ends at L. Memory: the gradients of all paths, to put them in order.

    References:
        F. L. Bauer, Computational graphs and rounding error, SIAM J. Numer. Anal. 11 (1974).
    """
    within_budget(walk(tape.graph, wrt, of), budget)
    found = [(path, bundle) for path, bundle in iter_path_gradients(tape, wrt, of, seed)]
    found.sort(key=lambda pair: pair[0].edge_indices)
    return ((path, next(iter(bundle.values()))) for path, bundle in found)


def decompose(
    tape: Tape,
    wrt: str,
    by: str | Mapping[str, int] = "path",
    *,
    of: str = LOSS,
    seed: Tensor | None = None,
    top: int | None = None,
    budget: int = DEFAULT_BUDGET,
    memory_bytes: int | None = None,
    headlines: bool = True,
    progress: Progress | None = None,
) -> Decomposition:
    """Split the gradient g = ∂L/∂wrt exactly.

    Args:
        tape: A recorded pass.
        wrt: A node, an input, a parameter, or `block.*` for all parameters of a block.
        by: `path`; `edge` or `node`; a grade: the number of `weights` (weight layers), `skips` or
            `branches` on a path, or of anything else, as a nonnegative integer for each edge id
            (those left out count nothing); `loss`, the terms of L.
        of: The node that is differentiated.
        seed: The cotangent there; default ones.
        top: By path: only so many, those whose gradients have the largest norms, the largest
            first; see `heaviest_paths`. The note says whether it is certain that these are they.
        budget: By path: most paths; of the heaviest, most vector–Jacobian products.
        memory_bytes: About the most memory for polynomials, by grade; see `graded_gradient`.
        headlines: Whether to add the gradient's headline numbers.
        progress: Called with (done, in all): paths by path, else nodes.

    Returns:
        The parts, and a note on what a reader must know: that g is zero, that parts cancel, or that
        torch does not differentiate an op on the way. Shares by path, grade and loss add up to 1,
        and so do those of edges that every path crosses once; a share may be negative or above 1
        where parts cancel. A grade that no path has is left out: it is exactly zero.

    Raises:
        UsageError: `by` is something else.
        TargetError: `wrt` or `of` is not in the graph.
        BudgetError: there are more paths than `budget`, or too little memory for one grade.
        GradientError: an op cannot be split, g is not finite, or the parts do not add up to g; a
            wrong result is never returned.

    Cost: by path as `path_gradients`, without keeping their gradients; by edge as `edge_flow`; by
        grade as `graded_gradient`. Headline numbers cost what `headline` does.
    """
    flow = None
    if by == "path":
        if top is None:
            found = _by_path(tape, wrt, of, seed, budget, progress)
        else:
            found = _heaviest(tape, wrt, of, seed, top, budget, progress)
    elif isinstance(by, str) and by in _FLOWS:
        flow = edge_flow(tape, wrt, of=of, seed=seed, progress=progress)
        shares, norms = _FLOWS[by](flow)
        parts = tuple(Part(key, norms[key], share) for key, share in shares.items())
        note = flow.note or cancelling(parts)
        found = Decomposition(wrt, by, flow.norm, parts, flow.residual, note)
    elif not isinstance(by, str) or by in GRADES:
        found = by_grade(
            tape, wrt, by, of=of, seed=seed, memory_bytes=memory_bytes, progress=progress
        )
    else:
        choices = ["path", *_FLOWS, *GRADES]
        close = suggest(by, choices)
        hint = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"a gradient is split by {', '.join(choices)}, not by {by!r}{hint}")
    stopped = _stopped(impassable(tape, walk(tape.graph, wrt, of)))
    if stopped:
        found = replace(found, note=f"{found.note}; {stopped}" if found.note else stopped)
    if not headlines:
        return found
    return _with_headline(found, tape, of, seed, flow)


def _stopped(names: list[str]) -> str | None:
    """Say where paths end in an op that torch does not differentiate."""
    if not names:
        return None
    listed = ", ".join(repr(name) for name in names[:3])
    if len(names) > 3:
        listed += f" and {len(names) - 3} more"
    return (
        f"torch does not differentiate {listed}, so that the paths through "
        f"{'it' if len(names) == 1 else 'them'} carry nothing"
    )


def _with_headline(
    found: Decomposition, tape: Tape, of: str, seed: Tensor | None, flow: EdgeFlow | None
) -> Decomposition:
    try:
        numbers = headline(tape, found.wrt, of=of, seed=seed, flow=flow)
    except OnceOnlyError as error:
        return replace(found, note=found.note or f"no headline numbers: {error}")
    return replace(found, headline=numbers)


_FLOWS: Final[Mapping[str, Callable[[Any], tuple[Mapping[str, Any], Mapping[str, float]]]]] = {
    "edge": lambda flow: (flow.shares, flow.norms),
    "node": lambda flow: (flow.node_shares, flow.node_norms),
}


def _by_path(
    tape: Tape,
    wrt: str,
    of: str,
    seed: Tensor | None,
    budget: int,
    progress: Progress | None,
) -> Decomposition:
    count = within_budget(walk(tape.graph, wrt, of), budget)
    gradient = gradient_at(tape, tape.cotangents(of, seed), wrt)
    total: dict[int, Tensor] = {}
    found: list[tuple[tuple[int, ...], Part]] = []
    for path, part in iter_path_gradients(tape, wrt, of, seed):
        for element, tensor in part.items():
            accumulate(total, element, tensor)
        size, share = norm(part), relative_share(part, gradient)
        found.append((path.edge_indices, Part(path.edge_ids, size, share)))
        if progress is not None:
            progress(len(found), count)
    parts = tuple(part for _, part in sorted(found, key=lambda pair: pair[0]))
    tolerance = tolerance_of(tape.dtype)
    error, scale, size = norm(difference(total, gradient)), _total(parts), norm(gradient)
    note = None if size else ZERO.format(of=of, wrt=wrt)
    if error > tolerance.algebra * scale:
        scale = max(scale, uncancelled(tape, wrt, of, seed))
        if size <= tolerance.cancelled * scale:
            note = ROUNDING.format(of=of, wrt=wrt)
            parts = tuple(replace(part, share=None) for part in parts)
    if not error <= tolerance.algebra * scale:
        raise GradientError(
            f"the gradients of the {count} paths do not add up to ∂{of}/∂{wrt} (off by "
            f"{error:.3g}, their norms add up to {scale:.3g}), so they are not shown"
        )
    residual = error / scale if scale else 0.0
    return Decomposition(wrt, "path", size, parts, residual, note or cancelling(parts))


def _heaviest(
    tape: Tape,
    wrt: str,
    of: str,
    seed: Tensor | None,
    top: int,
    budget: int,
    progress: Progress | None,
) -> Decomposition:
    if top < 1:
        raise UsageError(f"asked for the {top} heaviest paths; ask for 1 or more")
    paths = walk(tape.graph, wrt, of)
    gradient = gradient_at(tape, backward_sweep(tape, paths, wrt, of, seed), wrt)
    found = heaviest_paths(tape, paths, wrt, of, seed, top, budget=budget, progress=progress)
    parts = tuple(
        Part(path.edge_ids, size, relative_share(part, gradient))
        for path, part, size in found.paths
    )
    total: dict[int, Tensor] = {}
    for _, part, _ in found.paths:
        for element, tensor in part.items():
            accumulate(total, element, tensor)
    size = norm(gradient)
    error, scale = norm(difference(total, gradient)), _total(parts)
    note = _promise(found, count_paths(paths))
    return Decomposition(wrt, "path", size, parts, error / scale if scale else 0.0, note)


def _promise(found: Heaviest, count: int) -> str:
    """Say what is certain of the paths that are not listed."""
    listed = f"{len(found.paths)} of {shown_count(count)} paths"
    if found.certain:
        return f"{listed}: no other has a larger norm than the last of these"
    if not math.isfinite(found.bound):
        return (
            f"{listed}: the largest found in {found.products:,} products; a layer has no known "
            "bound, so that larger ones may have been missed"
        )
    return (
        f"{listed}: the largest found in {found.products:,} products; no other has a norm above "
        f"{found.bound:.4g}"
    )


def _total(parts: tuple[Part, ...]) -> float:
    return sum(part.norm for part in parts)
