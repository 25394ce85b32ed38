"""The gradient by grade: polynomial cotangents, one backward sweep however many the paths.

Each edge has a degree, and a path's grade is the sum of the degrees of its edges. Pulled back, a
cotangent is a polynomial: X̄_a += t^d · Jᵀ X̄_b over each edge a→b of degree d, so that the
coefficient of t^k at the target is the sum of the gradients of all paths of grade k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from archgraph.errors import BudgetError
from archgraph.gradient.bundle import Bundle
from archgraph.gradient.graded import Graded
from archgraph.gradient.routes import own_hops
from archgraph.gradient.tape import Tape
from archgraph.paths.walk import Walk

__all__ = ["Coefficients", "graded_gradient", "grades_of"]

Progress = Callable[[int, int], None]
Coefficients = Mapping[int, Graded]
"""A gradient by grade, by element of the target."""


def grades_of(paths: Walk, degrees: Sequence[int]) -> tuple[int, ...]:
    """Return the grades that some path has, ascending, without following one.

    Args:
        paths: The paths.
        degrees: A nonnegative integer for each hop.
    """
    known: dict[int, int] = {paths.end: 1}
    for position in paths.order:
        for hop in paths.steps[position]:
            found = known[paths.targets[hop]] << degrees[hop]
            known[position] = known.get(position, 0) | found
    bits = known[paths.start] if paths.order else 0
    return tuple(k for k in range(bits.bit_length()) if bits >> k & 1)


def graded_gradient(
    tape: Tape,
    paths: Walk,
    wrt: str,
    degrees: Sequence[int],
    start: Bundle,
    *,
    memory_bytes: int | None = None,
    progress: Progress | None = None,
) -> Coefficients:
    """Return the gradient by grade.

    Args:
        tape: A recorded pass.
        paths: The paths from `wrt` to where the sweep starts.
        wrt: A node, an input or parameters.
        degrees: A nonnegative integer for each hop of `paths`.
        start: The cotangent at the end of the paths.
        memory_bytes: About the most memory for the polynomials of one sweep; more grades than fit
            are made in several sweeps. Between sweeps one coefficient is kept for every value that
            an edge of positive degree reads.
        progress: Called with (nodes passed, nodes in all sweeps).

    Raises:
        BudgetError: the memory does not suffice for one grade.
        GradientError: torch cannot differentiate an op.

    Cost: a vector–Jacobian product of each node for each grade that a path from there has; all of
        a node's at once where its op allows that. Memory: the polynomials of a cut of the graph.
    """
    sweep = _Sweep(tape, paths, wrt, degrees)
    grades = grades_of(paths, degrees)
    if not grades:
        return {}
    window = _window(tape, paths, len(grades), memory_bytes)
    limits = [*grades[window::window], grades[-1] + 1]
    for element, cotangent in start.items():
        sweep.later[paths.end, element] = Graded.one(cotangent)
    count = len(paths.order)
    for i, limit in enumerate(limits):
        for done in sweep.run(limit):
            if progress is not None:
                progress(i * count + done, len(limits) * count)
    return {element: graded for (_, element), graded in sweep.found.items()}


class _Sweep:
    """Pulls polynomials back, a range of grades at a time."""

    def __init__(self, tape: Tape, paths: Walk, wrt: str, degrees: Sequence[int]) -> None:
        self.tape = tape
        self.paths = paths
        self.degrees = degrees
        self.own = own_hops(tape.graph, wrt)
        self.later: dict[tuple[int, int], Graded] = {}
        """By node and element: what has arrived of grades above the present range."""
        self.now: dict[int, dict[int, Graded]] = {}
        """By node that is still to come: what has arrived of grades in the range, by element."""
        self.found: dict[tuple[int, int], Graded] = {}
        self.into: dict[int, list[int]] = {position: [] for position in paths.order}
        for hops in paths.steps:
            for hop in hops:
                self.into[paths.targets[hop]].append(hop)

    def run(self, limit: int) -> Iterator[int]:
        """Make all grades below a limit that were not made before; yield the nodes passed."""
        waiting, self.later = self.later, {}
        for (position, element), graded in waiting.items():
            self._arrive(position, element, graded, limit)
        for done, position in enumerate(self.paths.order, 1):
            arrived = self.now.pop(position, {})
            if position == self.paths.start:
                self._keep(arrived)
            else:
                for element, graded in arrived.items():
                    self._pull(position, element, graded.rested(), limit)
            yield done

    def _keep(self, arrived: Mapping[int, Graded]) -> None:
        for element, graded in arrived.items():
            key = self.paths.start, element
            known = self.found.get(key)
            self.found[key] = graded if known is None else known.plus(graded)

    def _pull(self, position: int, element: int, graded: Graded, limit: int) -> None:
        hops = self.into[position]
        edges = {hop for hop in hops if hop not in self.own}
        uses = [use for hop in hops if hop in self.own for use in self.own[hop].values() if use]
        pull = self.tape.pull_many(position, element, graded.stack, edges=edges, parameters=uses)
        graph = self.tape.graph
        for hop in hops:
            if hop not in self.own:
                stack = pull.edges.get(hop)
                if stack is not None:
                    source, read = graph.sources[hop], graph.edges[hop].element
                    self._arrive(source, read, graded.pulled(stack, self.degrees[hop]), limit)
                continue
            for index, use in self.own[hop].items():
                stack = graded.stack if use is None else pull.parameters[use]
                moved = graded.pulled(stack, self.degrees[hop])
                self._arrive(self.paths.start, index, moved, limit)

    def _arrive(self, position: int, element: int, graded: Graded, limit: int) -> None:
        now, later = graded.split(limit)
        if now is not None:
            here = self.now.setdefault(position, {})
            here[element] = now if element not in here else here[element].plus(now)
        if later is not None:
            key = position, element
            known = self.later.get(key)
            self.later[key] = later if known is None else known.plus(later)


def _window(tape: Tape, paths: Walk, grades: int, memory_bytes: int | None) -> int:
    """Return how many grades fit into the memory at once."""
    if memory_bytes is None:
        return grades
    needed = _bytes_per_grade(tape, paths)
    if memory_bytes < needed:
        raise BudgetError(
            f"one grade takes about {needed / 2**20:.1f} MiB, and {memory_bytes / 2**20:.1f} MiB "
            "are allowed",
            "allow more, or take a smaller batch",
        )
    return min(grades, memory_bytes // needed)


def _bytes_per_grade(tape: Tape, paths: Walk) -> int:
    """Return the most that the values of a cut and the op being passed take together."""
    sizes = {
        position: sum(t.numel() * t.element_size() for t in tape.values[position].values())
        for position in paths.order
        if position < len(tape.values)
    }
    readers: dict[int, list[int]] = {position: [] for position in paths.order}
    for position in paths.order:
        for hop in paths.steps[position]:
            readers[paths.targets[hop]].append(position)
    waiting: set[int] = {paths.end}
    most = 0
    for position in paths.order:
        waiting.update(readers[position])
        held = sum(sizes.get(p, 0) for p in waiting)
        most = max(most, held + sizes.get(position, 0))
        waiting.discard(position)
    return max(1, most)
