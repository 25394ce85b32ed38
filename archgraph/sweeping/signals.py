"""Signal propagation: mean², variance and branch variance of real networks, block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from archgraph.errors import UsageError
from archgraph.graph import Edge, Graph, Instance
from archgraph.sweeping.comparing import Variant
from archgraph.sweeping.profile import Profile, states_of

__all__ = ["Signals", "measure_signals", "places_of"]


@dataclass(frozen=True)
class Signals:
    """What a signal is like on its way through a network. Made by `measure_signals`."""

    variant: Variant
    mean_squares: Profile
    """Mean over channels of the square of a channel's mean."""
    variances: Profile
    """Mean over channels of a channel's variance."""
    branches: Profile | None
    """That of what the branches add, λ included; None in a network without skips."""
    networks: int
    batch: int
    seed: int
    gaps: tuple[str, ...] = ()
    """Of the places the outputs of blocks that have no sum; there is no value."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "label": self.variant.label,
            "spec": self.variant.spec,
            "networks": self.networks,
            "batch": self.batch,
            "seed": self.seed,
            "mean_squares": self.mean_squares.to_dict(),
            "variances": self.variances.to_dict(),
            "branch_variances": None if self.branches is None else self.branches.to_dict(),
        }


def places_of(graph: Graph) -> tuple[tuple[str, tuple[Edge, ...] | None], ...]:
    """Return where a signal is looked at: each sum of a skip, with the edges of its branches.

    A call of a block that has no such sum, where other calls of it do, leaves a gap: its output,
    and None. A network without such sums is looked at between its blocks.
    """
    sums: dict[str, tuple[Edge, ...] | None] = {}
    for node in graph.nodes[:-1]:
        terms = graph.edges_into(node.name) if graph.merge_kind(node.name) == "add" else ()
        if any(edge.role == "skip" for edge in terms):
            sums[node.name] = tuple(edge for edge in terms if edge.role == "branch")
    if not sums:
        return tuple((name, ()) for name in states_of(graph))
    gaps = dict.fromkeys(_without_sum(graph, tuple(sums)))
    return tuple(sorted((gaps | sums).items(), key=lambda place: graph.position(place[0])))


def _without_sum(graph: Graph, sums: Sequence[str]) -> Iterator[str]:
    """Yield the outputs of calls without a sum of a skip, of blocks that mostly have one."""
    calls: dict[str, list[Instance]] = {}
    for instance in graph.instances.values():
        if instance.kind == "block" and instance.block is not None:
            calls.setdefault(instance.block, []).append(instance)
    for alike in calls.values():
        bare = [c for c in alike if not any(name.startswith(f"{c.path}.") for name in sums)]
        if 2 * len(bare) <= len(alike):
            yield from (call.outputs[0][1] for call in bare if call.outputs)


def measure_signals(
    variant: Variant,
    *,
    networks: int = 20,
    batch: int = 64,
    seed: int = 0,
    train: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Signals:
    """Draw real networks, run them, and say what the signal is like after every block.

    A channel's mean and variance are over examples and positions. Over B of these, the square of
    a mean has variance/B more than it would have over all that there are.

    Args:
        variant: The network.
        networks: How many are drawn, with seeds from `seed` on.
        batch: Number of examples.
        seed: The first network's.
        train: Whether norms use the statistics of the batch, and dropout is active.
        progress: Called with (networks done, in all).

    Raises:
        UsageError: the batch has no variance, or there is nothing to look at.

    Cost: one forward and one backward pass for each network.

    References:
        Brock, De and Smith 2021, Characterizing signal propagation to close the performance gap
        in unnormalized ResNets (2101.08692), §3: signal propagation plots.
    """
    from archgraph.gradient import run_once

    if batch < 2 or networks < 1:
        raise UsageError("a signal's variance needs a batch of at least 2, of at least 1 network")
    places = places_of(variant.graph)
    runs: list[list[tuple[float, float, float]]] = []
    for number in range(networks):
        tape = run_once(variant.graph, batch=batch, seed=seed + number, train=train)
        runs.append([_statistics(tape, name, edges) for name, edges in places])
        if progress is not None:
            progress(number + 1, networks)
    names = [name for name, _ in places]
    found = [Profile(tuple(names), *_averaged(runs, k)) for k in range(3)]
    skips = any(edges for _, edges in places)
    gaps = tuple(name for name, edges in places if edges is None)
    branches = found[2] if skips else None
    return Signals(variant, found[0], found[1], branches, networks, batch, seed, gaps)


def _statistics(
    tape: Any, name: str, branches: Sequence[Edge] | None
) -> tuple[float, float, float]:
    """Return mean², variance, and the variance of the branches' sum, of a channel on average.

    NaN for each where there is a gap.
    """
    if branches is None:
        return math.nan, math.nan, math.nan
    graph: Graph = tape.graph
    axis = _channel_axis(graph, name)
    # What a layer with an op adds up is not its value, but what the op reads.
    terms = [_term(tape, edge) for edge in graph.edges_into(name)]
    merged = graph.merge_kind(name) == "add" and terms
    value = sum(terms[1:], terms[0]) if merged else tape.values[graph.position(name)][0]
    mean_square, variance = _moments(value, axis)
    parts = [_term(tape, edge) for edge in branches]
    branch = _moments(sum(parts[1:], parts[0]), axis)[1] if parts else math.nan
    return mean_square, variance, branch


def _term(tape: Any, edge: Edge) -> Any:
    value = tape.values[tape.graph.position(edge.source)][edge.element]
    if edge.scale.learn is None:
        return value * float(edge.scale.value)
    parameter = tape.module.get_parameter(edge.scale.learn.name).detach()
    if edge.scale.learn.index is not None:
        return value * parameter[edge.scale.learn.index]
    if edge.scale.learn.per == "channel":
        axis = _channel_axis(tape.graph, edge.target)
        parameter = parameter.reshape(*parameter.shape, *[1] * (value.ndim - axis - 1))
    return value * parameter


def _channel_axis(graph: Graph, name: str) -> int:
    from archgraph.module import infer

    shapes = infer(graph)
    value = shapes[name]
    return value.channel_axis if value.channel_axis is not None else len(value.shape)


def _moments(value: Any, axis: int) -> tuple[float, float]:
    if value.ndim <= axis:
        raise UsageError("a value without channels has no signal to plot")
    rows = value.movedim(axis, 0).flatten(1)
    variance, mean = rows.var(1, correction=0), rows.mean(1)
    return float(mean.square().mean()), float(variance.mean())


def _averaged(
    runs: Sequence[Sequence[tuple[float, float, float]]], k: int
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Return the mean of the k-th statistic over networks at each place, and standard errors."""
    pairs = [_mean(values) for values in _columns(runs, k)]
    return tuple(value for value, _ in pairs), tuple(error for _, error in pairs)


def _columns(runs: Sequence[Sequence[tuple[float, float, float]]], k: int) -> Iterator[list[float]]:
    for place in range(len(runs[0])):
        yield [run[place][k] for run in runs]


def _mean(values: Sequence[float]) -> tuple[float | None, float | None]:
    n = len(values)
    mean = math.fsum(values) / n
    if not math.isfinite(mean):
        return None, None
    spread = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(spread / (n - 1) / n) if n > 1 else None
