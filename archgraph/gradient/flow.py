"""How a gradient flows through the edges: exact shares in two sweeps, however many the paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from archgraph.errors import GradientError
from archgraph.gradient.bundle import Bundle, inner, norm
from archgraph.gradient.cell import ParameterUse
from archgraph.gradient.routes import entering, gradient_at, own_hops, uncancelled
from archgraph.gradient.tape import Cotangents, Tape
from archgraph.gradient.tolerance import tolerance_of
from archgraph.graph import LOSS
from archgraph.paths.walk import Walk, walk

__all__ = ["EdgeFlow", "backward_sweep", "edge_flow"]

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
    elements: int
    """How many numbers there are in ∂L/∂wrt."""
    residual: float
    """Worst violation of conservation at a node, relative to max(1, Σ|share| there)."""
    note: str | None = None
    """Why there are no shares, if there are none."""


def edge_flow(
    tape: Tape,
    wrt: str,
    *,
    of: str = LOSS,
    seed: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EdgeFlow:
    """Split ∂L/∂wrt exactly by edge and node.

    The cotangents x̄ are pulled back once, and the tangent ẋ_wrt = g/‖g‖ is pushed forward once.
    The share of an edge e from a to b is s_e = ⟨J_eᵀ x̄_b, ẋ_a⟩ / ‖g‖, of its own Jacobian J_e,
    because ⟨g, g⟩ is the sum of ⟨g_p, g⟩ over all paths p, which factorises at e.

    Args:
        tape: A recorded pass.
        wrt: A node, an input or a parameter.
        of: The node that is differentiated.
        seed: The cotangent there; default ones.
        progress: Called with (nodes passed forwards, nodes on the paths).

    Raises:
        TargetError: `wrt` or `of` is not in the graph.
        GradientError: an op cannot be differentiated twice, the gradient is not finite, or the
            shares are not conserved.

    Cost: about four backward passes, whatever the number of paths. Memory: a cotangent per node.

    References:
        F. L. Bauer, Computational graphs and rounding error, SIAM J. Numer. Anal. 11 (1974).
    """
    paths = walk(tape.graph, wrt, of)
    cotangents = backward_sweep(tape, paths, wrt, of, seed)
    gradient = gradient_at(tape, cotangents, wrt)
    size = norm(gradient)
    sweep = _ForwardSweep(tape, paths, wrt, cotangents, gradient)
    if paths.order:
        # Divided in float64, since 1/‖g‖ may overflow where g/‖g‖ does not.
        unit = {k: (t.double() / (size or 1.0)).to(t.dtype) for k, t in gradient.items()}
        for done in sweep.run(unit):
            if progress is not None:
                progress(done, len(paths.order))
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


def backward_sweep(
    tape: Tape,
    paths: Walk,
    wrt: str,
    of: str,
    seed: Tensor | None,
    avoided: Collection[int] = (),
) -> Cotangents:
    """Return the cotangents on the way from `of` to `wrt`, with what each edge delivers.

    Args:
        tape: A recorded pass.
        paths: From `wrt` to `of`.
        wrt: A node, an input or parameters.
        of: Where the sweep starts.
        seed: The cotangent there; default ones.
        avoided: Hops that are left out, as if they were not there.

    Cost: one backward pass along the paths; nothing if the tape has it already.
    """
    if tape.swept is not None and of == LOSS and seed is None and not avoided:
        return tape.swept
    live = {hop for hops in paths.steps for hop in hops}.difference(avoided)
    uses: dict[int, list[ParameterUse]] = {}
    for hop, own in own_hops(tape.graph, wrt).items():
        if hop in live:
            uses.setdefault(paths.targets[hop], []).extend(use for use in own.values() if use)
    return tape.cotangents(of, seed, along=live, uses=uses, edges=True)


class _ForwardSweep:
    """Pushes a tangent from the target to the end, and meets the cotangents at every edge."""

    def __init__(
        self, tape: Tape, paths: Walk, wrt: str, cotangents: Cotangents, gradient: Bundle
    ) -> None:
        self.tape = tape
        self.paths = paths
        self.cotangents = cotangents
        self.into = entering(paths)
        self.own = own_hops(tape.graph, wrt)
        self.gradient = gradient
        self.tangents: dict[int, Bundle] = {}
        self.waiting: dict[int, int] = {}
        """By node whose tangent is kept: how many hops are still to read it."""
        self.products: dict[int, float] = {}
        """By hop: ⟨what it delivers, the tangent at its source⟩."""
        self.through: dict[int, float] = {}
        """By node: ⟨its cotangent, its tangent⟩."""
        self.norms: dict[int, float] = {}
        self.known: dict[int, tuple[Tensor, float]] = {}
        """Norms by identity of the tensor, since a lone edge delivers the whole cotangent."""

    def run(self, tangent: Bundle) -> Iterator[int]:
        """Push the tangent to the end; yield how many nodes have it."""
        self._keep(self.paths.start, tangent)
        for done, position in enumerate(reversed(self.paths.order), 1):
            if position != self.paths.start:
                self._enter(position)
            yield done

    def _keep(self, position: int, tangent: Bundle) -> None:
        self.tangents[position] = tangent
        self.waiting[position] = len(self.paths.steps[position])
        here = self.cotangent(position)
        self.through[position] = inner(here, tangent, (self.norm(here), self.norm(tangent)))

    def cotangent(self, position: int) -> Bundle:
        """Return the cotangent at a node or, behind all nodes, at the target's parameters."""
        if position == self.paths.start:
            return self.gradient
        return self.cotangents.nodes.get(position, {})

    def _enter(self, position: int) -> None:
        tangents: dict[int | ParameterUse, Tensor] = {}
        itself: Bundle = {}
        for hop in self.into[position]:
            read, delivered = self._tangent(hop), self._delivered(hop)
            self.norms[hop] = self.norm(delivered)
            self.products[hop] = self._product(self._source(hop), delivered, read)
            if hop not in self.own:
                tangents.update((hop, tensor) for tensor in read.values())
                continue
            for element, use in self.own[hop].items():
                if use is None:
                    itself = {0: read[element]}
                elif element in read:
                    tangents[use] = read[element]
        tangent = itself or (self.tape.push(position, tangents) if tangents else {})
        self._keep(position, tangent)
        for hop in self.into[position]:
            self._release(self._source(hop))

    def _source(self, hop: int) -> int:
        return self.paths.start if hop in self.own else self.tape.graph.sources[hop]

    def _release(self, position: int) -> None:
        """Forget a tangent that nothing reads any more."""
        self.waiting[position] -= 1
        if not self.waiting[position]:
            for tensor in self.tangents.pop(position).values():
                self.known.pop(id(tensor), None)

    def _tangent(self, hop: int) -> Bundle:
        """Return the tangent of what a hop reads; empty if it does not depend on the target."""
        known = self.tangents[self._source(hop)]
        if hop in self.own:
            return {element: known[element] for element in self.own[hop] if element in known}
        element = self.tape.graph.edges[hop].element
        return {element: known[element]} if element in known else {}

    def _delivered(self, hop: int) -> Bundle:
        if hop not in self.own:
            found = self.cotangents.edges.get(hop)
            return {} if found is None else {self.tape.graph.edges[hop].element: found}
        position = self.paths.targets[hop]
        here = self.cotangent(position)
        pairs = {
            element: here.get(0) if use is None else self.cotangents.uses.get((position, use))
            for element, use in self.own[hop].items()
        }
        return {element: tensor for element, tensor in pairs.items() if tensor is not None}

    def _product(self, source: int, delivered: Bundle, read: Bundle) -> float:
        whole = self.cotangent(source)
        if len(delivered) == len(whole) and all(whole.get(k) is t for k, t in delivered.items()):
            return self.through[source]  # a lone edge delivers it all
        return inner(delivered, read, (self.norm(delivered), self.norm(read)))

    def norm(self, bundle: Bundle) -> float:
        """Return ‖bundle‖, looking at each tensor only once."""
        if len(bundle) != 1:
            return norm(bundle)
        (tensor,) = bundle.values()
        if id(tensor) not in self.known:
            self.known[id(tensor)] = tensor, norm(bundle)
        return self.known[id(tensor)][1]

    def result(self, wrt: str, size: float, *, note: str | None = None) -> EdgeFlow:
        """Return the flow; with a note there are no shares, since g is zero or rounding."""
        if size == 0:
            note = ZERO.format(of=self.paths.names[self.paths.end], wrt=wrt)
        whole = None if note else size
        names, hops = self.paths.names, self.paths.hops
        live = self.paths.order[::-1]
        norms = {position: self.norm(self.cotangent(position)) for position in live}
        return EdgeFlow(
            wrt=wrt,
            norm=size,
            shares={hops[hop].id: _over(p, whole) for hop, p in sorted(self.products.items())},
            norms={hops[hop].id: n for hop, n in sorted(self.norms.items())},
            node_shares={names[position]: _over(p, whole) for position, p in self.through.items()},
            node_norms={names[p]: n for p, n in norms.items()},
            node_rms={names[p]: n / math.sqrt(self._elements(p)) for p, n in norms.items()},
            elements=self._elements(self.paths.start),
            residual=0.0 if note else max((self._violation(p, size) for p in live), default=0.0),
            note=note,
        )

    def _elements(self, position: int) -> int:
        """Return how many numbers there are at a node that the gradient is taken by."""
        cotangent = self.cotangent(position)
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
