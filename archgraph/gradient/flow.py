"""How a gradient flows through the edges: exact shares in two sweeps, however many the paths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from archgraph.errors import GradientError
from archgraph.gradient.bundle import Bundle, inner, norm
from archgraph.gradient.routes import entering, gradient_at, own_hops, uncancelled
from archgraph.gradient.tape import ParameterUse, Tape
from archgraph.gradient.tolerance import tolerance_of
from archgraph.graph import LOSS
from archgraph.paths.walk import Walk, walk

__all__ = ["EdgeFlow", "edge_flow"]

ROUNDING: Final = "∂{of}/∂{wrt} is zero but for rounding, so shares are not defined"
ZERO: Final = "∂{of}/∂{wrt} is exactly zero, so shares are not defined"


@dataclass(frozen=True, slots=True)
class EdgeFlow:
    """How ∂L/∂wrt is carried from L to `wrt`; only what lies on a path between them is listed."""

    wrt: str
    norm: float
    """‖∂L/∂wrt‖."""
    shares: Mapping[str, float | None]
    """By edge id: the signed fraction of ‖∂L/∂wrt‖² carried by all paths through the edge. Any set
    of edges that every path crosses once sums to 1. None if the gradient is zero."""
    norms: Mapping[str, float]
    """By edge id: norm of the cotangent that the edge delivers to its source, λ included."""
    node_shares: Mapping[str, float | None]
    """By node: the fraction carried by all paths through it; 1 at both ends."""
    node_norms: Mapping[str, float]
    """By node: norm of ∂L/∂node."""
    node_rms: Mapping[str, float]
    """By node: root mean square of ∂L/∂node per element."""
    residual: float
    """Worst violation of conservation at a node, relative to max(1, Σ|share| there)."""
    note: str | None = None
    """Why there are no shares, if there are none."""


def edge_flow(tape: Tape, wrt: str, *, of: str = LOSS, seed: Tensor | None = None) -> EdgeFlow:
    """Split ∂L/∂wrt exactly by edge and node.

    The cotangents x̄ are pulled back once, and the tangent ẋ_wrt = g/‖g‖ is pushed forward once.
    The share of an edge e from a to b is s_e = ⟨J_eᵀ x̄_b, ẋ_a⟩ / ‖g‖, of its own Jacobian J_e,
    because ⟨g, g⟩ is the sum of ⟨g_p, g⟩ over all paths p, which factorises at e.

    Args:
        tape: A recorded pass.
        wrt: A node, an input or a parameter.
        of: The node that is differentiated.
        seed: The cotangent there; default ones.

    Raises:
        TargetError: `wrt` or `of` is not in the graph.
        GradientError: an op cannot be differentiated twice, the gradient is not finite, or the
            shares are not conserved.

    Cost: about four backward passes, whatever the number of paths. Memory: a cotangent per node.

    References:
        F. L. Bauer, Computational graphs and rounding error, SIAM J. Numer. Anal. 11 (1974).
    """
    paths = walk(tape.graph, wrt, of)
    cotangents = tape.cotangents(of, seed)
    gradient = gradient_at(tape, cotangents, wrt)
    size = norm(gradient)
    sweep = _ForwardSweep(tape, paths, wrt, {**cotangents.nodes, paths.start: gradient})
    if paths.order:
        # Divided in float64, since 1/‖g‖ may overflow where g/‖g‖ does not.
        sweep.run({k: (t.double() / (size or 1.0)).to(t.dtype) for k, t in gradient.items()})
    flow = sweep.result(wrt, size)
    tolerance = tolerance_of(tape.dtype)
    if flow.residual <= tolerance.conservation:
        return flow
    if size <= tolerance.cancelled * uncancelled(tape, wrt, of, seed):
        return sweep.result(wrt, size, note=ROUNDING.format(of=of, wrt=wrt))
    raise GradientError(
        f"the shares of the edges are not conserved (off by {flow.residual:.3g}), so they are not "
        "shown"
    )


class _ForwardSweep:
    """Pushes a tangent from the target to the end, and meets the cotangents at every edge."""

    def __init__(self, tape: Tape, paths: Walk, wrt: str, cotangents: Mapping[int, Bundle]) -> None:
        self.tape = tape
        self.paths = paths
        self.cotangents = cotangents
        self.into = entering(paths)
        self.own = own_hops(tape.graph, wrt)
        self.tangents: dict[int, Bundle] = {}
        self.products: dict[int, float] = {}
        """By hop: ⟨what it delivers, the tangent at its source⟩."""
        self.norms: dict[int, float] = {}

    def run(self, tangent: Bundle) -> None:
        self.tangents[self.paths.start] = tangent
        for position in reversed(self.paths.order):
            if position != self.paths.start:
                self._enter(position)

    def _enter(self, position: int) -> None:
        cell = self.tape.cells[position]
        keys: dict[int, int | ParameterUse] = {}
        tangents: dict[int | ParameterUse, Tensor] = {}
        for hop in self.into[position]:
            key = keys[hop] = self.own.get(hop, hop)
            leaf = cell.leaves.get(key) if isinstance(key, int) else cell.parameters[key]
            if leaf is not None:  # else integers, which carry nothing
                tangents[key] = self._tangent(hop, leaf)
        self.tangents[position], delivered = self.tape.push(
            position, self.cotangents.get(position, {}), tangents
        )
        for hop, key in keys.items():
            back = {0: delivered[key]} if key in delivered else {}
            self.norms[hop] = norm(back)
            self.products[hop] = inner(back, {0: tangents[key]}) if back else 0.0

    def _tangent(self, hop: int, leaf: Tensor) -> Tensor:
        """Return the tangent of what a hop reads, zeros if nothing there depends on the target."""
        if hop in self.own:
            known = self.tangents[self.paths.start].get(0)
        else:
            source = self.tangents.get(self.tape.graph.sources[hop], {})
            known = source.get(self.tape.graph.edges[hop].element)
        return torch.zeros_like(leaf) if known is None else known

    def result(self, wrt: str, size: float, *, note: str | None = None) -> EdgeFlow:
        """Return the flow; with a note there are no shares, since g is zero or rounding."""
        if size == 0:
            note = ZERO.format(of=self.paths.names[self.paths.end], wrt=wrt)
        whole = None if note else size
        names, hops = self.paths.names, self.paths.hops
        live = self.paths.order[::-1]
        through = {
            position: inner(self.cotangents.get(position, {}), self.tangents.get(position, {}))
            for position in live
        }
        norms = {position: norm(self.cotangents.get(position, {})) for position in live}
        return EdgeFlow(
            wrt=wrt,
            norm=size,
            shares={hops[hop].id: _over(p, whole) for hop, p in sorted(self.products.items())},
            norms={hops[hop].id: n for hop, n in sorted(self.norms.items())},
            node_shares={names[position]: _over(p, whole) for position, p in through.items()},
            node_norms={names[p]: n for p, n in norms.items()},
            node_rms={names[p]: n / math.sqrt(self._elements(p)) for p, n in norms.items()},
            residual=0.0 if note else max((self._violation(p, size) for p in live), default=0.0),
            note=note,
        )

    def _elements(self, position: int) -> int:
        """Return how many numbers there are at a node that the gradient is taken by."""
        cotangent = self.cotangents.get(position, {})
        return max(1, sum(tensor.numel() for tensor in cotangent.values()))

    def _violation(self, position: int, size: float) -> float:
        """Return how far what enters a node is from what leaves it; the ends carry it all."""
        paths = self.paths
        enters = [self.products[hop] for hop in self.into[position]]
        leaves = [self.products[hop] for hop in paths.steps[position]]
        before = size if position == paths.start else sum(enters)
        after = size if position == paths.end else sum(leaves)
        largest = max(size, sum(map(abs, enters)), sum(map(abs, leaves)))
        return abs(before - after) / largest if largest else 0.0


def _over(product: float, size: float | None) -> float | None:
    return None if size is None else product / size
