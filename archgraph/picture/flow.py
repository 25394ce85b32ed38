"""What a gradient, measured or predicted, contributes to a drawing: plain data, keyed by ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Flow", "PathRow"]


@dataclass(frozen=True, slots=True)
class PathRow:
    """A path as the table beside a drawing shows it."""

    label: str
    """Its nodes or its factor, as text; shown where `nodes` are not given."""
    norm: float | None = None
    """Norm of the path's gradient."""
    share: float | None = None
    """Signed fraction of ‖∂L/∂wrt‖² that it contributes."""
    nodes: tuple[str, ...] = ()
    """Its nodes, target first; those that a drawing folds are shown as their box."""
    note: str = ""
    """What is said behind the nodes: which of parallel edges, and λ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How one gradient ∂L/∂wrt runs through the edges of a graph.

    Edges are named by their ids (`x1->x3`). An edge that is left out is drawn as not measured.
    """

    wrt: str
    """The target: a node, an input, or a parameter (`F1.weight`)."""
    source: Literal["measured", "predicted"] = "measured"
    shares: Mapping[str, float | None] = field(default_factory=dict)
    """Edge id → signed fraction of ‖∂L/∂wrt‖² that passes the edge; any cut sums to 1. None where
    the gradient is zero."""
    norms: Mapping[str, float] = field(default_factory=dict)
    """Edge id → norm of the cotangent that the edge delivers to its source, λ included."""
    node_rms: Mapping[str, float] = field(default_factory=dict)
    """Node → root mean square per element of the cotangent there; alerts are found from these."""
    node_norms: Mapping[str, float] = field(default_factory=dict)
    """Node → norm of the cotangent there. Where it is known, it must be out of bounds, too: before
    a global pool every element has little of a gradient that is as large as ever."""
    norm: float | None = None
    """‖∂L/∂wrt‖."""
    count: int | None = None
    """Number of paths from wrt to L; counted anew where it is left out."""
    paths: tuple[PathRow, ...] = ()
    """The paths that the table shows, largest first; empty if there are too many to measure."""
    length_shares: Mapping[int, float] = field(default_factory=dict)
    """Path length in edges → share of the gradient, for the histogram."""
    loss: str = ""
    batch: int | None = None
    seed: int | None = None
    dtype: str = ""

    @property
    def facts(self) -> tuple[str, ...]:
        """How the numbers came about, for the line under the title."""
        return tuple(
            text
            for text, known in (
                (self.loss, self.loss),
                (f"batch {self.batch}", self.batch is not None),
                (f"seed {self.seed}", self.seed is not None),
                (self.dtype, self.dtype),
                (f"‖∂L/∂{self.wrt}‖ = {self.norm or 0:.3g}", self.norm is not None),
            )
            if known
        )
