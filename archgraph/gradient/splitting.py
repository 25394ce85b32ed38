"""The measured gradient, split exactly by path, by edge or by node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from torch import Tensor

from archgraph.errors import GradientError, UsageError, suggest
from archgraph.gradient.bundle import accumulate, difference, norm, relative_share
from archgraph.gradient.flow import ROUNDING, ZERO, edge_flow
from archgraph.gradient.routes import gradient_at, uncancelled
from archgraph.gradient.tape import Tape
from archgraph.gradient.tolerance import tolerance_of
from archgraph.gradient.tree import DEFAULT_BUDGET, iter_path_gradients, within_budget
from archgraph.graph import LOSS
from archgraph.paths.enumerate import Path
from archgraph.paths.walk import walk

__all__ = ["Decomposition", "Part", "decompose", "path_gradients"]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a gradient."""

    key: tuple[str, ...] | str
    """A path's edge ids from the target to L; an edge's id; a node's name."""
    norm: float
    """Norm of the path's gradient; at an edge or node, of the cotangent there."""
    share: float | None
    """Signed fraction of ‖g‖², ⟨g_p, g⟩ / ⟨g, g⟩; None if g is zero."""


@dataclass(frozen=True, slots=True)
class Decomposition:
    """A gradient g = ∂L/∂wrt at one recorded pass, and its parts in the order of enumeration."""

    wrt: str
    by: str
    norm: float
    """‖g‖."""
    parts: tuple[Part, ...]
    residual: float
    """For paths ‖Σ g_p − g‖ / Σ‖g_p‖; for edges and nodes the worst violation of conservation.

    Where sums cancel inside one layer, for paths relative to what would be there without."""
    note: str | None = None
    """What a reader must know: that g is zero or rounding, or that parts cancel."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; a path's key is the list of its edge ids."""
        return {
            "wrt": self.wrt,
            "by": self.by,
            "norm": self.norm,
            "parts": [
                {
                    "key": part.key if isinstance(part.key, str) else list(part.key),
                    "norm": part.norm,
                    "share": part.share,
                }
                for part in self.parts
            ],
            "residual": self.residual,
        }


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
    by: str = "path",
    *,
    of: str = LOSS,
    seed: Tensor | None = None,
    budget: int = DEFAULT_BUDGET,
    progress: Callable[[int, int], None] | None = None,
) -> Decomposition:
    """Split the gradient g = ∂L/∂wrt exactly.

    Args:
        tape: A recorded pass.
        wrt: A node, an input or a parameter.
        by: `path`, `edge` or `node`.
        of: The node that is differentiated.
        seed: The cotangent there; default ones.
        budget: Most paths, by path.
        progress: Called with (paths done, paths in all), by path.

    Returns:
        The parts. Shares by path add up to 1, and so do those of edges that every path crosses
        once; a share may be negative or above 1 where parts cancel.

    Raises:
        UsageError: `by` is something else.
        TargetError: `wrt` or `of` is not in the graph.
        BudgetError: there are more paths than `budget`.
        GradientError: an op cannot be split, g is not finite, or the parts do not add up to g; a
            wrong result is never returned.

    Cost: by path as `path_gradients`, without keeping their gradients; by edge as `edge_flow`.
    """
    if by == "path":
        return _by_path(tape, wrt, of, seed, budget, progress)
    if by not in _FLOWS:
        choices = ["path", *_FLOWS]
        close = suggest(by, choices)
        hint = f"; did you mean {close!r}?" if close else ""
        raise UsageError(f"a gradient is split by {', '.join(choices)}, not by {by!r}{hint}")
    flow = edge_flow(tape, wrt, of=of, seed=seed)
    shares, norms = _FLOWS[by](flow)
    parts = tuple(Part(key, norms[key], share) for key, share in shares.items())
    return Decomposition(wrt, by, flow.norm, parts, flow.residual, flow.note or _note(parts))


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
    progress: Callable[[int, int], None] | None,
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
    return Decomposition(wrt, "path", size, parts, residual, note or _note(parts))


def _total(parts: tuple[Part, ...]) -> float:
    return sum(part.norm for part in parts)


def _note(parts: tuple[Part, ...]) -> str | None:
    if any(part.share is not None and abs(part.share) > 1e3 for part in parts):
        return "parts cancel almost wholly: their shares are large and tell of rounding"
    return None
