"""From the shares of edges in the gradients of their own sources to shares in another gradient."""

from __future__ import annotations

from collections.abc import Mapping

from archgraph.graph import Graph

__all__ = ["composed_shares"]


def composed_shares(graph: Graph, local: Mapping[str, float | None], wrt: str) -> dict[str, float]:
    """Return the share of every edge in ‖∂L/∂wrt‖², by edge id.

    What reaches a node on its way from `wrt` goes on along each out-edge in the proportion of
    that edge's share in the node's own gradient: exact for the edges out of `wrt`, and for the
    others as far as paths through different weights do not interfere, as in wide networks.
    The shares of any set of edges that every path crosses once add up to 1.

    Args:
        graph: The network.
        local: By edge id its share in the gradient of its own source; None is 0.
        wrt: A node or an input.

    Raises:
        TargetError: there is no such node.
    """
    start = graph.position(wrt)
    flow = {start: 1.0}
    found: dict[str, float] = {}
    for position in range(start, len(graph.nodes)):
        amount = flow.get(position, 0.0)
        for index in graph.gradient_out_of[position] if amount else ():
            edge = graph.edges[index]
            share = amount * (local.get(edge.id) or 0.0)
            found[edge.id] = share
            target = graph.targets[index]
            flow[target] = flow.get(target, 0.0) + share
    return found
