"""The paths with the largest gradients, out of more than could be followed.

Best first: of all cotangents that were pulled back some way, the one goes on whose path promises
the largest gradient. What it promises is a guess, from how much each edge shortens the whole
cotangent; what it cannot exceed is a bound, from the norms of the Jacobians ahead of it. So paths
are left only if they cannot be among the k largest, and where the budget ends before that is
certain, the bound says how large those not followed might be.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final, TypeAlias

from torch import Tensor

from archgraph.gradient.bounds import edge_bounds, use_bounds
from archgraph.gradient.bundle import Bundle, norm
from archgraph.gradient.flow import backward_sweep
from archgraph.gradient.routes import entering, own_hops, received
from archgraph.gradient.tape import Cotangents, Tape
from archgraph.paths.enumerate import Path
from archgraph.paths.walk import Walk

__all__ = ["Heaviest", "heaviest_paths"]

Hops: TypeAlias = tuple[int, ...]

SLACK: Final = 1 + 1e-5
"""By how much a bound is raised, since it was rounded."""


@dataclass(frozen=True)
class Heaviest:
    """The largest paths that were found."""

    paths: tuple[tuple[Path, Bundle, float], ...]
    """Path, gradient and norm, largest first; ties in the order of enumeration."""
    bound: float
    """No path that is not among them has a larger norm than this; infinite where a layer has no
    known bound."""
    products: int
    """How many vector–Jacobian products were taken."""

    @property
    def certain(self) -> bool:
        """Whether these are the largest of all."""
        return not self.paths or self.bound <= self.paths[-1][2]


def heaviest_paths(
    tape: Tape,
    paths: Walk,
    wrt: str,
    of: str,
    seed: Tensor | None,
    k: int,
    *,
    budget: int,
    progress: Callable[[int, int], None] | None = None,
) -> Heaviest:
    """Return the k paths whose gradients have the largest norms.

    Args:
        tape: A recorded pass.
        paths: From `wrt` to `of`.
        wrt: A node, an input or parameters.
        of: The node that is differentiated.
        seed: The cotangent there; default ones.
        k: How many, at least 1.
        budget: Most vector–Jacobian products.
        progress: Called with (products taken, budget).

    Returns:
        At most k paths. They are the k largest if `Heaviest.certain`; else no other path is larger
        than `Heaviest.bound`.

    Cost: at most `budget` products, and the bounds of all layers. Memory: a cotangent for each path
        that is still open, at most about `budget` of them.
    """
    search = _Search(tape, paths, wrt, of, seed, k)
    while search.open and search.products < budget:
        search.step()
        if progress is not None:
            progress(search.products, budget)
    found = sorted(search.found, key=lambda item: (-item.norm, item.hops))
    left = max((item.bound for item in search.open), default=0.0)
    return Heaviest(
        tuple((Path(paths, item.hops), item.cotangent, item.norm) for item in found),
        max(left, search.passed_over),
        search.products,
    )


@dataclass(order=True, slots=True)
class _Open:
    """A cotangent on its way: the part of a path from some node to the end."""

    promise: float
    """Minus the norm that the largest path through here is guessed to have."""
    number: int
    position: int = field(compare=False)
    cotangent: Bundle = field(compare=False)
    hops: Hops = field(compare=False)
    bound: float = field(compare=False)
    """No path that ends in these hops has a gradient of a larger norm."""


@dataclass(order=True, slots=True)
class _Found:
    norm: float
    hops: Hops = field(compare=False)
    cotangent: Bundle = field(compare=False)


class _Search:
    def __init__(
        self, tape: Tape, paths: Walk, wrt: str, of: str, seed: Tensor | None, k: int
    ) -> None:
        self.tape = tape
        self.paths = paths
        self.k = k
        self.into = entering(paths)
        self.own = own_hops(tape.graph, wrt)
        hops = [hop for steps in paths.steps for hop in steps]
        edges = edge_bounds(tape, [hop for hop in hops if hop not in self.own])
        swept = backward_sweep(tape, paths, wrt, of, seed)
        for hop in hops:
            if hop in self.own:
                edges[hop] = use_bounds(tape, paths.targets[hop], self.own[hop].values())
        self.limit = _ahead(paths, edges)
        self.guess = _ahead(paths, {hop: self._gain(hop, swept) for hop in hops})
        self.numbers = count()
        self.open: list[_Open] = []
        self.found: list[_Found] = []
        """A heap, the smallest first; at most k."""
        self.passed_over = 0.0
        """The largest norm or bound of what was left."""
        self.products = 0
        if paths.order:
            self._offer(paths.end, tape.seed(of, seed), ())

    def _gain(self, hop: int, swept: Cotangents) -> float:
        """Return by how much an edge shortens the whole cotangent; of a parameter's, one."""
        if hop in self.own:
            return 1.0
        whole = norm(swept.nodes.get(self.paths.targets[hop], {}))
        part = swept.edges.get(hop)
        return norm({0: part}) / whole if part is not None and whole else 0.0

    def step(self) -> None:
        item = heapq.heappop(self.open)
        if item.bound <= self._least:
            self.passed_over = max(self.passed_over, item.bound)
            return
        into = self.into[item.position]
        uses = [u for hop in into if hop in self.own for u in self.own[hop].values() if u]
        edges = {hop for hop in into if hop not in self.own}
        pull = self.tape.pull(item.position, item.cotangent, edges=edges, parameters=uses)
        self.products += 1
        for hop in into:
            hops = (hop, *item.hops)
            if hop in self.own:
                part = received(self.own[hop], item.cotangent, pull)
                self._finish(_Found(norm(part), hops, part))
            elif hop in pull.edges:
                graph = self.tape.graph
                part = {graph.edges[hop].element: pull.edges[hop]}
                self._offer(graph.sources[hop], part, hops)

    def _offer(self, position: int, cotangent: Bundle, hops: Hops) -> None:
        size = norm(cotangent)
        if position == self.paths.start:
            self._finish(_Found(size, hops, cotangent))
            return
        bound = SLACK * size * self.limit[position] if size else 0.0
        if bound <= self._least:
            self.passed_over = max(self.passed_over, bound)
            return
        promise = -size * self.guess[position]
        heapq.heappush(
            self.open, _Open(promise, next(self.numbers), position, cotangent, hops, bound)
        )

    @property
    def _least(self) -> float:
        """Return the norm that a path must exceed to be among the k largest."""
        return self.found[0].norm if len(self.found) == self.k else -1.0

    def _finish(self, item: _Found) -> None:
        heapq.heappush(self.found, item)
        if len(self.found) > self.k:
            self.passed_over = max(self.passed_over, heapq.heappop(self.found).norm)


def _ahead(paths: Walk, factors: dict[int, float]) -> dict[int, float]:
    """Return for each node the largest product of factors on a way from the start to it."""
    best = {paths.start: 1.0}
    for position in reversed(paths.order):
        here = best.get(position, 0.0)
        for hop in paths.steps[position]:
            reached = here * factors[hop] if here and factors[hop] else 0.0
            target = paths.targets[hop]
            best[target] = max(best.get(target, 0.0), reached)
    return best
