"""Real networks, run for one seed after another: what covers everything."""

from __future__ import annotations

from collections.abc import Callable

from archgraph.graph import Graph
from archgraph.measurement.networks import draw_networks
from archgraph.measurement.sample import gather
from archgraph.prediction.sweep import Sweep

__all__ = ["sweep_networks"]


def sweep_networks(
    graph: Graph,
    *,
    networks: int,
    batch: int,
    seed: int,
    train: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Draw, run and differentiate real networks.

    Args:
        graph: The network.
        networks: How many, each with weights, inputs and targets of its own.
        batch: Number of examples.
        seed: Network i has the seed `seed + i`.
        train: Whether dropout is active and norms use the statistics of the batch.
        progress: Called with (networks done, networks in all).

    Cost: one forward and one backward pass per network.
    """
    seeds = range(seed, seed + networks)
    traces = draw_networks(graph, seeds, batch=batch, train=train, progress=progress)
    sample = gather(graph, traces)
    return Sweep(
        energies={name: spread.norms.square() for name, spread in sample.nodes.items()},
        second_moments=dict(sample.second_moments),
        parameters={name: spread.norms.square() for name, spread in sample.parameters.items()},
        edges=dict(sample.edges),
    )
