"""Every path, one after the other: lazy, pruned, and in the order of edge indices."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final, TypeAlias

from archgraph.graph import LOSS, Edge
from archgraph.graph.records import exact_product
from archgraph.numbers import Number
from archgraph.paths.count import suffix_counts
from archgraph.paths.walk import Walk, Walkers, walk

__all__ = ["Path", "choices", "iter_paths"]

BLOCK_HOPS: Final = 1 << 12
"""All ways from a node to the end are made in one block if they have at most so many hops."""
MEMO_HOPS: Final = 1 << 21
"""Most hops kept in blocks at a time."""

Hops: TypeAlias = tuple[int, ...]
Piece: TypeAlias = tuple[Hops, tuple[Edge, ...], tuple[str, ...]]
"""Part of a path: its hops, by index and as records, and the nodes they enter; the first piece of a
path begins with the start's name."""
NOTHING: Final[Piece] = ((), (), ())
Choices: TypeAlias = Sequence[Sequence[tuple[Hops, int]]]
"""For each node what can be done there: take some hops and be at another node."""


class Path:
    """A path from a target to the loss: its edges, and all else looked up when it is read.

    Indices and names are kept as two pieces: paths that end alike share the second.
    """

    __slots__ = ("_head", "_tail", "edges", "walk")
    walk: Walk
    """The arrays that the indices belong to."""
    edges: tuple[Edge, ...]
    """The edges, from the target to the loss."""
    _head: Piece
    _tail: Piece

    def __init__(self, walk: Walk, edge_indices: Hops) -> None:
        """Make the path that takes these hops of `walk`, from its start to its end."""
        self.walk = walk
        self._head = _make_piece(walk, edge_indices, (walk.names[walk.start],))
        self._tail = NOTHING
        self.edges = self._head[1]

    @property
    def edge_indices(self) -> Hops:
        """Positions in `Graph.edges`, from the target to the loss.

        A parameter's own first edge is numbered behind them all.
        """
        return self._head[0] + self._tail[0]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes, the target first, the loss last: one more than edges."""
        return self._head[2] + self._tail[2]

    @property
    def edge_ids(self) -> tuple[str, ...]:
        """The ids of the edges."""
        return tuple(edge.id for edge in self.edges)

    @property
    def length(self) -> int:
        """The number of edges, the one into the loss and a parameter's own first edge included."""
        return len(self.edges)

    @property
    def weights(self) -> int:
        """The number of weight layers whose Jacobian is a factor."""
        weights = self.walk.weights
        return sum(weights[hop] for hop in self.edge_indices)

    @property
    def skips(self) -> int:
        """The number of edges that are skips."""
        return sum(edge.role == "skip" for edge in self.edges)

    @property
    def branches(self) -> int:
        """The number of edges that are branches, beside which there is a skip."""
        return sum(edge.role == "branch" for edge in self.edges)

    @property
    def scale(self) -> Number:
        """The product of all λ with its sign, exact where they are.

        A learnable λ counts with its start value.
        """
        return exact_product([edge.scale for edge in self.edges])

    def to_dict(self) -> dict[str, Any]:
        """Return what the structure alone says of the path, in JSON's types."""
        return {
            "nodes": list(self.nodes),
            "edges": list(self.edge_ids),
            "length": self.length,
            "weights": self.weights,
            "skips": self.skips,
            "branches": self.branches,
            "lambda": json_number(self.scale),
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Path):
            return NotImplemented
        if self.edge_indices != other.edge_indices:
            return False
        return self.walk is other.walk or (
            self.edge_ids == other.edge_ids and self.nodes == other.nodes
        )

    def __hash__(self) -> int:
        return hash(self.edge_indices)

    def __str__(self) -> str:
        return " → ".join(self.nodes)

    def __repr__(self) -> str:
        nodes = self.nodes
        hidden = len(nodes) - 12
        shown = [*nodes[:6], f"({hidden} more)", *nodes[-6:]] if hidden > 1 else nodes
        return f"Path({' → '.join(shown)})"


def json_number(value: Number) -> int | float | str:
    """Return a number for JSON: an integer as it is, else a float.

    Where a float would be zero or infinite and the number is not, its exact digits as text.

    Example:
        >>> from fractions import Fraction
        >>> json_number(Fraction(1, 256)), json_number(-1)
        (0.00390625, -1)
    """
    if isinstance(value, int):
        return value
    try:
        number = float(value)
    except OverflowError:
        return str(value)
    return number if number or not value else str(value)


def iter_paths(graph: Walkers, wrt: str | None = None, of: str = LOSS) -> Iterator[Path]:
    """Iterate over the paths from `wrt` to `of`, in lexicographic order of their edge indices.

    Lazy: of a graph with 2^333 paths the first comes at once. Nodes from which `of` cannot be
    reached are never entered.

    Args:
        graph: A graph, a view, or a walk (which already knows both ends).
        wrt: A node, an input or a parameter.
        of: The node where the paths end, the loss by default.

    Raises:
        TargetError: `wrt` or `of` is not in the graph, or no gradient is defined there.

    Cost: O(edges) before the first path, then for each path little more than making a tuple of its
    edges: the ends of paths are made in blocks, which are shared by all paths that enter them.
    Memory: O(edges), and at most `MEMO_HOPS` hops in blocks.

    Example:
        >>> from archgraph.graph import GraphBuilder
        >>> builder = GraphBuilder("toy")
        >>> x = builder.input("x", (8,))
        >>> y = builder.layer("y", None, [x, x])
        >>> [path.edge_ids for path in iter_paths(builder.build(), "x")]
        [('x->y', 'y->L'), ('x->y#1', 'y->L')]
    """
    return _iter_paths(walk(graph, wrt, of))


def _iter_paths(paths: Walk) -> Iterator[Path]:
    if not paths.order:
        return
    steps, size, small = choices(paths), *_block_sizes(paths)
    blocks: dict[int, list[Piece]] = {}
    kept = 0
    new = Path.__new__  # past __init__, which would take longer than all the rest
    for prefix, node in _iter_prefixes(steps, paths.start, small):
        block = blocks.get(node)
        if block is None:
            if kept + size[node] > MEMO_HOPS:
                blocks.clear()
                kept = 0
            ways = (way for way, _ in _iter_prefixes(steps, node, {paths.end}))
            block = [_make_piece(paths, way) for way in ways]
            blocks[node] = block
            kept += size[node]
        head = _make_piece(paths, prefix, (paths.names[paths.start],))
        first_edges = head[1]
        for tail in block:
            path = new(Path)
            path.walk = paths
            path.edges = first_edges + tail[1]
            path._head = head
            path._tail = tail
            yield path


def _make_piece(paths: Walk, hops: Hops, before: tuple[str, ...] = ()) -> Piece:
    if len(hops) < 2:  # for which itemgetter returns no tuple
        edges = tuple(paths.hops[hop] for hop in hops)
        return hops, edges, before + tuple(paths.entered[hop] for hop in hops)
    pick = itemgetter(*hops)
    return hops, pick(paths.hops), before + pick(paths.entered)


def choices(paths: Walk) -> Choices:
    """Return the choices at each node, with every run of nodes that offer none as one of them."""
    entering = [0] * len(paths.names)
    for node in paths.order:
        for hop in paths.steps[node]:
            entering[paths.targets[hop]] += 1
    found: list[tuple[tuple[Hops, int], ...]] = [()] * len(paths.names)
    for node in paths.order:
        made = []
        for hop in paths.steps[node]:
            target = paths.targets[hop]
            # A node with several in-edges is not run through: the run would be copied for each.
            if entering[target] == 1 and len(found[target]) == 1:
                further, end = found[target][0]
                made.append(((hop, *further), end))
                found[target] = ()
            else:
                made.append(((hop,), target))
        found[node] = tuple(made)
    return found


def _block_sizes(paths: Walk) -> tuple[dict[int, int], set[int]]:
    """Return the hops in all the ways from each node to the end, and the nodes with few enough."""
    counts = suffix_counts(paths)
    size: dict[int, int] = {}
    for node in paths.order:
        targets = [paths.targets[hop] for hop in paths.steps[node]]
        size[node] = sum(counts[target] + size[target] for target in targets)
    return size, {node for node, hops in size.items() if hops <= BLOCK_HOPS}


def _iter_prefixes(
    steps: Choices, start: int, leaves: Collection[int]
) -> Iterator[tuple[Hops, int]]:
    """Yield the ways from `start` to the first of `leaves` on them, each with that leaf."""
    trail: list[Hops] = []
    stack: list[Iterator[tuple[Hops, int]]] = [iter([((), start)])]
    while stack:
        choice = next(stack[-1], None)
        if choice is None:
            stack.pop()
            if trail:
                trail.pop()
            continue
        hops, node = choice
        trail.append(hops)
        if node in leaves:
            yield tuple(chain.from_iterable(trail)), node
            trail.pop()
        else:
            stack.append(iter(steps[node]))
