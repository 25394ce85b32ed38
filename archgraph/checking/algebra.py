"""Do the gradients of all paths add up to autograd's, at every node and parameter?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from torch import Tensor

from archgraph.checking.probes import autograd_gradients
from archgraph.gradient import Tape, edge_flow, run_once, tolerance_of, uncancelled_sizes
from archgraph.gradient.bundle import Bundle, accumulate, difference, norm
from archgraph.gradient.tape import OnceOnlyError
from archgraph.graph import Graph
from archgraph.paths import count_all

__all__ = ["Check", "Skipped", "TargetCheck", "check"]

DEFAULT_BUDGET: Final = 20_000
"""Most vector–Jacobian products that following the paths may take."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TargetCheck:
    """Path sum against autograd at one node, input or parameter."""

    relative_error: float
    """‖Σ g_p − g‖ / Σ‖g_p‖, g being autograd's; 0 where nothing depends on the target.

    Where that is rounding because sums cancel inside one layer (a bias before a BatchNorm has the
    gradient zero, queries whose keys are alike next to zero), relative to the gradient that would
    be there if nothing cancelled."""
    norm: float
    """‖g‖."""
    paths: int
    """How many paths were followed."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A target with too many paths to follow them one by one."""

    paths: int
    """How many there are."""
    conservation: float | None
    """Instead: the worst violation of conservation by the shares of edges, on the way from a node
    that reaches this one; None where an op cannot be differentiated twice."""


@dataclass(frozen=True)
class Check:
    """What was checked of a network, and how it came out."""

    targets: Mapping[str, TargetCheck]
    tolerance: float
    """Largest relative error that is rounding."""
    skipped: Mapping[str, Skipped] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    """Predictions against measurements; empty where none were made."""
    batch: int = 0
    seed: int = 0
    dtype: str = "float64"
    train: bool = False

    @property
    def max_relative_error(self) -> float:
        """The largest relative error; NaN if there is one."""
        errors = [target.relative_error for target in self.targets.values()]
        return math.nan if any(map(math.isnan, errors)) else max(errors, default=0.0)

    @property
    def ok(self) -> bool:
        """Whether every path sum equals autograd's gradient, to rounding."""
        return self.max_relative_error <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "ok": self.ok,
            "algebra": {
                "max_relative_error": self.max_relative_error,
                "tolerance": self.tolerance,
                "targets": {
                    name: {"relative_error": t.relative_error, "norm": t.norm, "paths": t.paths}
                    for name, t in self.targets.items()
                },
                "skipped": {
                    name: {"paths": s.paths, "conservation": s.conservation}
                    for name, s in self.skipped.items()
                },
            },
            "statistics": dict(self.statistics),
        }


def check(
    graph: Graph,
    *,
    batch: int = 4,
    seed: int = 0,
    dtype: str = "float64",
    train: bool = False,
    budget: int = DEFAULT_BUDGET,
    progress: Progress | None = None,
) -> Check:
    """Follow every path from L, and hold the sums against autograd at every node and parameter.

    Autograd's side is an ordinary backward pass through the compiled module.

    Args:
        graph: The network.
        batch: Number of examples.
        seed: Seed of the weights, the batch and the dropout masks.
        dtype: `float64` or `float32`.
        train: Whether dropout is active and norms use the statistics of the batch.
        budget: Most vector–Jacobian products. Targets are taken in the order of their number of
            paths as long as they fit; of the others conservation by edge is checked instead.
        progress: Called with (products done, products in all), first with none done, before the
            pass is recorded.

    Returns:
        The errors and the verdict; a target that nothing depends on has norm 0 and error 0.

    Raises:
        SpecError: the graph's shapes do not fit.
        UsageError: `dtype` or `batch` is no choice.
        GradientError: torch refuses a pass, or the recorded pass is not what the module does.

    Cost: one vector–Jacobian product of a node for each path from any node, at most `budget`.

    References:
        F. L. Bauer, Computational graphs and rounding error, SIAM J. Numer. Anal. 11 (1974).
    """
    counts = _count_targets(graph)
    followed, cost = _affordable(graph, budget)
    if progress is not None:
        progress(0, cost)
    tape = run_once(graph, batch=batch, seed=seed, dtype=dtype, train=train)
    expected = autograd_gradients(tape)
    sums = _PathSums(tape, followed)
    for done in sums.follow():
        if progress is not None:
            progress(done, cost)
    targets = {
        name: sums.compare(name, expected.get(name, {}), paths)
        for name, paths in counts.items()
        if sums.covers(name)
    }
    skipped = {name: n for name, n in counts.items() if name not in targets}
    return Check(
        targets=targets,
        tolerance=tolerance_of(tape.dtype).algebra,
        skipped=_conserved(tape, skipped) if skipped else {},
        batch=batch,
        seed=seed,
        dtype=dtype,
        train=train,
    )


def _count_targets(graph: Graph) -> dict[str, int]:
    """Return every target with its number of paths: inputs and layers, then parameters."""
    by_node = count_all(graph)
    integers = {n.name for n in graph.nodes if n.is_integer or (n.op and not n.op.op.gradient)}
    counts = {n.name: by_node[n.name] for n in graph.nodes[: graph.loss_position]}
    for name, users in graph.parameter_users.items():
        counts[name] = sum(by_node[graph.nodes[position].name] for position, _ in users)
    return {name: count for name, count in counts.items() if name not in integers}


def _affordable(graph: Graph, budget: int) -> tuple[set[int], int]:
    """Return the nodes to whose paths the budget suffices, and the products that they take."""
    by_node = count_all(graph)
    counts = [by_node[node.name] for node in graph.nodes]
    # What a node leads to has no more paths than itself, so the nearest to L come first.
    followed: set[int] = set()
    cost = 0
    for position in sorted(range(len(counts)), key=lambda i: (counts[i], -i)):
        if cost + counts[position] > budget:
            break
        cost += counts[position]
        followed.add(position)
    return followed, cost


class _PathSums:
    """Adds up the gradients of all paths, at every node and parameter on the way, in one walk."""

    def __init__(self, tape: Tape, followed: set[int]) -> None:
        self.tape = tape
        self.followed = followed
        self.totals: dict[str, dict[int, Tensor]] = {}
        self.sizes: dict[str, float] = {}
        """By target: Σ‖g_p‖."""

    def covers(self, name: str) -> bool:
        """Whether all paths to a target are followed."""
        graph = self.tape.graph
        position = graph.positions.get(name)
        users = [position] if position is not None else [p for p, _ in graph.parameter_users[name]]
        return self.followed.issuperset(users)

    def follow(self) -> Iterator[int]:
        """Follow the paths, and yield how many products were taken so far."""
        graph = self.tape.graph
        stack: list[tuple[int, Bundle]] = [(graph.loss_position, self.tape.seed("L"))]
        done = 0
        while stack:
            position, cotangent = stack.pop()
            self._add(graph.nodes[position].name, cotangent)
            wanted = {e for e in graph.gradient_into[position] if graph.sources[e] in self.followed}
            pull = self.tape.pull(
                position, cotangent, edges=wanted, parameters=self.tape.uses(position)
            )
            for (name, _), gradient in pull.parameters.items():
                self._add(name, {0: gradient})
            stack += [
                (graph.sources[e], {graph.edges[e].element: gradient})
                for e, gradient in pull.edges.items()
            ]
            done += 1
            yield done

    def compare(self, name: str, expected: Bundle, paths: int) -> TargetCheck:
        """Hold the sum at one target against autograd's gradient."""
        error = norm(difference(self.totals.get(name, {}), expected))
        size = self.sizes.get(name, 0.0)
        if error > tolerance_of(self.tape.dtype).algebra * size:
            size = max(size, self._uncancelled.get(name, 0.0))
        relative = error / size if size else (math.inf if error else 0.0)
        return TargetCheck(relative, norm(expected), paths)

    @cached_property
    def _uncancelled(self) -> dict[str, float]:
        return uncancelled_sizes(self.tape)

    def _add(self, name: str, gradient: Bundle) -> None:
        total = self.totals.setdefault(name, {})
        for element, tensor in gradient.items():
            accumulate(total, element, tensor)
        self.sizes[name] = self.sizes.get(name, 0.0) + norm(gradient)


def _conserved(tape: Tape, skipped: Mapping[str, int]) -> dict[str, Skipped]:
    """Check conservation by edge on ways that together pass every skipped node."""
    found: dict[str, float | None] = {}
    for name in skipped:
        if name not in tape.graph.positions or name in found:
            continue
        try:
            flow = edge_flow(tape, name)
        except OnceOnlyError:
            found[name] = None
            continue
        for passed in flow.node_shares:
            found.setdefault(passed, flow.residual)
    result = {}
    for name, count in skipped.items():
        users = tape.graph.parameter_users.get(name, ())
        names = [tape.graph.nodes[position].name for position, _ in users] or [name]
        known = [found.get(user) for user in names if user in skipped]
        residuals = [residual for residual in known if residual is not None]
        result[name] = Skipped(count, max(residuals) if len(residuals) == len(known) else None)
    return result
