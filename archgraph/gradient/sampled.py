"""The norms of the gradients of all paths, from a sample: where there are too many to list."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from torch import Tensor

from archgraph.errors import GradientError, UsageError
from archgraph.gradient.bundle import norm
from archgraph.gradient.flow import EdgeFlow, edge_flow
from archgraph.gradient.grades import Progress
from archgraph.gradient.tape import Tape
from archgraph.gradient.tree import path_gradient
from archgraph.graph import LOSS, Edge
from archgraph.numbers import Number
from archgraph.paths.count import count_by, role_degrees
from archgraph.paths.enumerate import Path
from archgraph.paths.estimation import Estimate, estimate_by
from archgraph.paths.walk import Walk, walk

__all__ = ["PathNorms", "sample_norms"]

LEAST: Final = 0.01
"""Weight of an edge that delivers nothing: most often the layer is dead, and so are its paths."""


@dataclass(frozen=True, slots=True)
class PathNorms:
    """How large the gradients of single paths are, added up as if none cancelled."""

    wrt: str
    norm: float
    """‖g‖, of the sum of all."""
    by: str
    """What the paths are told apart by: their number of `branches`, `weights` or `skips`."""
    counts: Mapping[int, int]
    """By that number: how many paths there are, exactly."""
    sums: Mapping[int, Estimate]
    """By that number: Σ‖g_p‖, their count times their mean norm; left out where none was drawn."""
    samples: int

    @property
    def total(self) -> Estimate:
        """Σ‖g_p‖ over all paths."""
        whole = sum(found.value for found in self.sums.values())
        # Each path has one key, so that the squares of all terms are those of the keys together.
        square = sum(float(found.standard_error / whole) ** 2 for found in self.sums.values())
        apart = sum(float(found.value / whole) ** 2 for found in self.sums.values())
        error = math.sqrt(max(0.0, square - (1 - apart) / (self.samples - 1)))
        return Estimate(whole, whole * Fraction(error), self.samples)

    @property
    def mean(self) -> float:
        """The mean of that number over the paths, each weighted by ‖g_p‖."""
        whole = sum(found.value for found in self.sums.values())
        return sum(k * float(found.value / whole) for k, found in self.sums.items())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        parts = [
            {"key": k, "paths": count, "sum": self.sums[k].to_dict() if k in self.sums else None}
            for k, count in self.counts.items()
        ]
        return {
            "wrt": self.wrt,
            "norm": self.norm,
            "by": self.by,
            "samples": self.samples,
            "total": self.total.to_dict(),
            "mean": self.mean,
            "parts": parts,
        }


def sample_norms(
    tape: Tape,
    wrt: str,
    by: str = "branches",
    *,
    of: str = LOSS,
    seed: Tensor | None = None,
    samples: int = 400,
    random_seed: int = 0,
    progress: Progress | None = None,
) -> PathNorms:
    """Estimate Σ‖g_p‖ over all paths, by their number of branches or the like, without bias.

    Norms differ by orders of magnitude between paths, so a path is drawn in proportion to the
    product, over its edges, of ‖what the edge delivers to its source‖ ÷ ‖∂L/∂ its target‖, which is
    near to its norm. Against ‖g‖ the sum tells how much the paths cancel; see `decompose` for what
    they truly carry.

    Args:
        tape: A recorded pass.
        wrt: A node, an input or a parameter.
        by: `branches`, `weights` or `skips`.
        of: The node that is differentiated.
        seed: The cotangent there; default ones.
        samples: How many paths are drawn, at least 2.
        random_seed: The same gives the same paths.
        progress: Called with (paths, in all).

    Raises:
        TargetError: `wrt` or `of` is not in the graph.
        UsageError: `by` or `samples` is something else, or there is no path.
        GradientError: an op cannot be differentiated, or no path that was drawn has a gradient.

    Cost: `edge_flow`, and for each sample a vector–Jacobian product of each node on the path.

    References:
        A. Veit, M. Wilber and S. Belongie, Residual networks behave like ensembles of relatively
        shallow networks, NeurIPS 2016, §4.3, whose estimate of the gradient by length this is.
    """
    paths = walk(tape.graph, wrt, of)
    flow = edge_flow(tape, wrt, of=of, seed=seed)
    weight = _Weights(flow)
    degrees = _degrees(paths, by)
    done = 0

    def size(path: Path) -> float:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, samples)
        return norm({0: path_gradient(tape, path, seed=seed)})

    def grade(path: Path) -> int:
        return sum(degrees[hop] for hop in path.edge_indices)

    found = estimate_by(paths, None, size, grade, samples, random_seed, proportional_to=weight.of)
    result = PathNorms(wrt, flow.norm, by, count_by(paths, degrees), found, samples)
    if not any(part.value for part in found.values()):
        raise GradientError(f"no path from {wrt!r} that was drawn has a gradient")
    return result


def _degrees(paths: Walk, by: str) -> list[int]:
    if by == "weights":
        return list(paths.weights)
    if by not in ("branches", "skips"):
        raise UsageError(f"paths are told apart by branches, weights or skips, not by {by!r}")
    return role_degrees(paths, "branch" if by == "branches" else "skip")


class _Weights:
    """What the paths are drawn in proportion to."""

    def __init__(self, flow: EdgeFlow) -> None:
        self.norms, self.nodes = flow.norms, flow.node_norms

    def of(self, edge: Edge) -> Number:
        """Return how much of the gradient at its target an edge delivers; never zero.

        Where terms cancel nothing may be left at a node, or pass an edge, and yet each path counts.
        """
        arrived, delivered = self.nodes[edge.target], self.norms[edge.id]
        if not arrived:
            return 1
        return delivered / arrived or LEAST
