"""What `decompose --sample` prints: the norms of single paths, added up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archgraph.cli.printing import print_table, say, short_count
from archgraph.graph import Graph
from archgraph.paths.walk import Walk

if TYPE_CHECKING:
    from archgraph.gradient import PathNorms

__all__ = ["grade_of", "print_norms"]


def grade_of(by: str, paths: Walk) -> str:
    """Return what paths are told apart by: what was asked for, else branches if there are any."""
    if by in ("weights", "skips", "branches"):
        return by
    return "branches" if any(hop.role == "branch" for hop in paths.hops) else "weights"


def print_norms(graph: Graph, found: PathNorms, of: str, limit: int) -> None:
    """Print how much the paths cancel, and a row for each number of branches or the like."""
    whole, error = float(found.total.value), float(found.total.standard_error)
    drawn = f"{found.samples} of {short_count(sum(found.counts.values()))} paths"
    say(f"∂{of}/∂{found.wrt} in {graph.name}: norm {found.norm:.6g}, {drawn}")
    times = f"{whole / found.norm:.4g} times ‖g‖" if found.norm else "and they cancel wholly"
    say(f"Σ‖g_p‖ over all paths: {whole:.4g} ± {error:.2g}, {times}")
    say(f"mean {found.by} on a path, each weighted by ‖g_p‖: {found.mean:.2f}")
    largest = sorted(found.sums, key=lambda k: -found.sums[k].value)[:limit]
    cells = [
        (
            str(k),
            short_count(found.counts[k]),
            f"{float(found.sums[k].value):.4g}",
            f"± {float(found.sums[k].standard_error):.2g}",
            f"{100 * float(found.sums[k].value) / whole:.2f} %",
        )
        for k in sorted(largest)
    ]
    columns = [found.by, "paths", "count × norm", "", "of all"]
    print_table(columns, cells, right=columns)
    if len(largest) < len(found.sums):
        say(f"{len(largest)} of {len(found.sums)} rows; --limit N lists more")
    say(f"what these paths truly carry, with what cancels: --by {found.by} without --sample")
