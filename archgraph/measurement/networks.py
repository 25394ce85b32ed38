"""Real networks: drawn, run and differentiated at every edge, one by one or many at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from archgraph.errors import GradientError, UsageError
from archgraph.gradient.bundle import differentiable
from archgraph.gradient.environment import prepared
from archgraph.gradient.reference import may_overwrite
from archgraph.graph import Graph
from archgraph.measurement.activity import Activity
from archgraph.measurement.probing import Probed
from archgraph.module import Batch, compile, draw, infer

__all__ = ["Trace", "draw_networks", "many_at_a_time"]

DATA: Final = 2**31
"""Added to a network's seed for its inputs and targets: torch reads the lowest 32 bits of a seed,
and from the seed of the weights the data would be the same numbers as they are."""
TOGETHER: Final = 2_000_000
"""Most numbers, weights and values, of the networks that are run at a time."""
SMALL: Final = 200_000
"""Most numbers of one network that is run beside others; a larger one keeps a processor busy."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Trace:
    """What some networks gave; every tensor has the networks along its first axis."""

    edges: Mapping[int, Tensor]
    """By edge that carries a gradient: what it delivers to its source."""
    parameters: Mapping[str, Tensor]
    """By parameter: ∂L/∂P."""
    second_moments: Mapping[str, Tensor]
    """By node: mean square of an element of its value."""
    activities: Mapping[str, Activity]
    """By activation: how many of its units pass a gradient on."""


def draw_networks(
    graph: Graph,
    seeds: Sequence[int],
    *,
    batch: int,
    train: bool,
    dtype: torch.dtype = torch.float64,
    progress: Progress | None = None,
) -> Iterator[Trace]:
    """Draw, run and differentiate one network for every seed.

    Network s has the weights of `archgraph.compile(graph, seed=s)`, and inputs, targets and
    dropout masks of its own that depend on s alone.

    Args:
        graph: The network.
        seeds: Of the networks.
        batch: Number of examples.
        train: Whether dropout is active and norms use the statistics of the batch.
        dtype: Type of weights and data.
        progress: Called with (networks done, networks in all).

    Yields:
        What some of the networks gave, in the order of the seeds.

    Raises:
        SpecError: the graph's shapes do not fit.
        GradientError: torch refuses a pass.

    Cost: one forward and one backward pass per network; of small networks as many are run at a
        time, with `torch.func.vmap`, as hold two million numbers.
    """
    kind = type(compile(graph, seed=0))  # whose text is written once
    together = many_at_a_time(graph, batch)
    done = 0
    while done < len(seeds):
        chosen = [_Network.drawn(graph, kind, s, batch, dtype) for s in seeds[done:][:together]]
        trace = _side_by_side(graph, chosen, batch, dtype, train=train) if together > 1 else None
        if trace is None:
            together = 1
            chosen = chosen[:1]
            trace = _alone(graph, chosen[0], dtype, train=train)
        done += len(chosen)
        if progress is not None:
            progress(done, len(seeds))
        yield trace


def many_at_a_time(graph: Graph, batch: int) -> int:
    """Return how many networks are run at a time.

    One, where the forward pass draws random numbers, which are to be each network's own, or where
    a user's code is run, of which nothing is known.
    """
    shapes = infer(graph)
    for node in graph.nodes:
        op = None if node.op is None else node.op.op
        if op is not None and (op.family in ("dropout", "recurrent") or op.name == "RReLU"):
            return 1
        if may_overwrite(node):
            return 1
    values = sum(math.prod(shapes[node.name].shape) for node in graph.nodes[:-1])
    numbers = shapes.total + batch * values
    return max(1, TOGETHER // max(1, numbers)) if numbers <= SMALL else 1


@dataclass(frozen=True)
class _Network:
    """A network with its data, before it is run."""

    module: nn.Module
    """In torch's default type."""
    batch: Batch
    random_state: Tensor
    """In which its forward pass begins."""

    @classmethod
    def drawn(
        cls, graph: Graph, kind: type[nn.Module], seed: int, batch: int, dtype: torch.dtype
    ) -> _Network:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            module = kind()
            state = torch.get_rng_state()
        return cls(module, draw(graph, batch=batch, seed=seed + DATA, dtype=dtype), state)


@contextmanager
def _refusals() -> Iterator[None]:
    """Say what torch refuses as an error of the network."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise GradientError(f"the network cannot be run and differentiated: {error}") from error


# --- one network ----------------------------------------------------------------------------------


def _alone(graph: Graph, network: _Network, dtype: torch.dtype, *, train: bool) -> Trace:
    reads: dict[int, Tensor] = {}
    shared = _read_more_than_once(graph)

    def tap(edge: int, value: Tensor) -> Tensor:
        if not value.requires_grad:
            value = value.detach().requires_grad_()
        # A copy has a gradient of its own; where nobody else reads the value, it is its own copy.
        reads[edge] = value.clone() if edge in shared else value
        return reads[edge]

    inputs = [t.detach().requires_grad_(differentiable(t)) for t in network.batch.inputs]
    probed = Probed(graph, network.module.to(dtype), transformed=False)
    parameters = dict(network.module.named_parameters())
    with _refusals(), torch.random.fork_rng(devices=[]), prepared(probed, train=train):
        torch.set_rng_state(network.random_state)
        loss, moments, active = probed(inputs, network.batch.targets, tap)
        found = _pulled(loss, [*reads.values(), *parameters.values()])
    found = [t.detach()[None] for t in found]
    return Trace(
        dict(zip(reads, found, strict=False)),
        _under_all_names(network.module, dict(zip(parameters, found[len(reads) :], strict=True))),
        {name: t[None] for name, t in moments.items()},
        {name: a.stacked() for name, a in active.items()},
    )


def _read_more_than_once(graph: Graph) -> frozenset[int]:
    readers: dict[tuple[str, int], list[int]] = {}
    for edge in graph.edges:
        readers.setdefault((edge.source, edge.element), []).append(edge.index)
    return frozenset(e for edges in readers.values() if len(edges) > 1 for e in edges)


def _under_all_names(module: nn.Module, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return gradients by name of a parameter, that of a tied one under each of its names."""
    names = {id(tensor): name for name, tensor in module.named_parameters()}
    every = module.named_parameters(remove_duplicate=False)
    return {name: gradients[names[id(tensor)]] for name, tensor in every}


def _pulled(loss: Tensor, sources: Sequence[Tensor]) -> list[Tensor]:
    wanted = [t for t in sources if t.requires_grad]
    if not (wanted and loss.requires_grad):
        return [torch.zeros_like(t) for t in sources]
    found = iter(torch.autograd.grad(loss, wanted, allow_unused=True))
    gradients = [next(found) if t.requires_grad else None for t in sources]
    return [
        torch.zeros_like(t) if g is None else g for t, g in zip(sources, gradients, strict=True)
    ]


# --- many networks --------------------------------------------------------------------------------


def _side_by_side(
    graph: Graph, networks: Sequence[_Network], batch: int, dtype: torch.dtype, *, train: bool
) -> Trace | None:
    """Run networks with one call; None if torch has no rule for one of the ops."""
    probed = Probed(graph, networks[0].module, transformed=True)
    parameters = _stacked([dict(n.module.named_parameters()) for n in networks], dtype)
    buffers = _stacked([dict(n.module.named_buffers()) for n in networks], dtype)
    for tensor in parameters.values():
        tensor.requires_grad_()
    inputs = [torch.stack(t) for t in zip(*(n.batch.inputs for n in networks), strict=True)]
    targets = [torch.stack(t) for t in zip(*(n.batch.targets for n in networks), strict=True)]
    nudges = _nudges(graph, len(networks), batch, dtype)

    def run(
        state: dict[str, Tensor],
        inputs: list[Tensor],
        targets: list[Tensor],
        nudges: dict[int, Tensor],
    ) -> Any:
        def tap(edge: int, value: Tensor) -> Tensor:
            return value + nudges[edge]

        return functional_call(probed, state, (inputs, targets, tap))

    try:
        with prepared(probed, train=train):
            state = {f"network.{name}": t for name, t in (parameters | buffers).items()}
            loss, moments, active = vmap(run)(state, inputs, targets, nudges)
            found = _pulled(loss.sum(), [*nudges.values(), *parameters.values()])
    except (UsageError, RuntimeError, TypeError, ValueError, IndexError):
        return None
    return Trace(
        dict(zip(nudges, found, strict=False)),
        _under_all_names(probed.network, dict(zip(parameters, found[len(nudges) :], strict=True))),
        moments,
        active,
    )


def _stacked(networks: Sequence[Mapping[str, Tensor]], dtype: torch.dtype) -> dict[str, Tensor]:
    found = {}
    for name, first in networks[0].items():
        tensor = torch.stack([tensors[name].detach() for tensors in networks])
        found[name] = tensor.to(dtype) if differentiable(first) else tensor
    return found


def _nudges(graph: Graph, networks: int, batch: int, dtype: torch.dtype) -> dict[int, Tensor]:
    """Return zeros by edge, which are added to what it reads so that it has its own gradient."""
    shapes = infer(graph)
    values = {e.index: shapes.element(e.source, e.element) for e in graph.edges if e.gradient}
    return {
        edge: torch.zeros(
            (networks, batch if value.batched else 1, *value.shape),
            dtype=dtype,
            requires_grad=True,
        )
        for edge, value in values.items()
        if value.is_float
    }
