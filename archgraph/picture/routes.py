"""Which edges lie on the paths of one gradient, and how many paths use each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from archgraph.graph import Graph
from archgraph.numbers import format_number
from archgraph.paths import Path, Walk, count_by, iter_paths, resolve
from archgraph.paths.count import suffix_counts
from archgraph.paths.walk import walk
from archgraph.picture.flow import PathRow

__all__ = ["Routes", "path_row"]


@dataclass(frozen=True)
class Routes:
    """The paths from a target to L, as a drawing needs them; without a target, the whole graph."""

    graph: Graph
    wrt: str | None

    @cached_property
    def walk(self) -> Walk | None:
        """The paths' arrays; None without a target."""
        return None if self.wrt is None else walk(self.graph, self.wrt)

    @cached_property
    def entries(self) -> tuple[tuple[str, int, int | None], ...]:
        """Where a parameter enters: (edge id, node index, index of the edge it scales or None)."""
        return () if self.wrt is None else resolve(self.graph, self.wrt).entries

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Edge id → number of paths that use it; edges on no path are left out.

        Cost: O(edges) operations on exact integers.
        """
        if self.walk is None:
            return {}
        behind = suffix_counts(self.walk)
        before = dict.fromkeys(behind, 0)
        before[self.walk.start] = 1
        used: dict[str, int] = {}
        for node in reversed(self.walk.order):
            for hop in self.walk.steps[node]:
                target = self.walk.targets[hop]
                before[target] += before[node]
                used[self.walk.hops[hop].id] = before[node] * behind[target]
        return used

    @cached_property
    def nodes(self) -> frozenset[str]:
        """Names of the nodes on the paths; without a target, all."""
        if self.walk is None:
            return frozenset(self.graph.positions)
        return frozenset(self.walk.names[node] for node in self.walk.order)

    def carries(self, edge_id: str) -> bool:
        """Whether a path uses the edge; without a target, always."""
        return self.walk is None or edge_id in self.counts

    @cached_property
    def histogram(self) -> Mapping[int, int]:
        """Path length in edges → number of paths."""
        return {} if self.walk is None else count_by(self.walk, [1] * len(self.walk.hops))

    def rows(self, limit: int) -> tuple[PathRow, ...]:
        """Return all paths, as text, if there are at most `limit`; else none."""
        if self.walk is None or not 0 < sum(self.histogram.values()) <= limit:
            return ()
        return tuple(path_row(path) for path in iter_paths(self.walk))


def path_row(path: Path, norm: float | None = None, share: float | None = None) -> PathRow:
    """Return a path as the table shows it: which of several parallel edges, and the λ product."""
    parallel = [edge_id for edge_id in path.edge_ids if "#" in edge_id]
    note = f" ({', '.join(parallel)})" if parallel else ""
    if path.scale != 1:
        note += f"   λ = {format_number(path.scale)}"
    label = " ← ".join(path.nodes) + note
    return PathRow(label, norm, share, nodes=tuple(path.nodes), note=note)
