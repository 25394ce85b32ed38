"""One recorded pass of a graph, from its weights to its tape."""

from __future__ import annotations

from pathlib import Path

import torch

from archgraph.errors import UsageError
from archgraph.gradient.files import read_batch, read_weights
from archgraph.gradient.recording import record
from archgraph.gradient.tape import Tape
from archgraph.gradient.tolerance import as_dtype
from archgraph.graph import Graph
from archgraph.module import compile, draw

__all__ = ["run_once"]


def run_once(
    graph: Graph,
    *,
    batch: int = 4,
    seed: int = 0,
    dtype: str = "float64",
    train: bool = False,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    device: str = "cpu",
) -> Tape:
    """Compile a graph, draw a batch, and record one pass.

    Args:
        graph: The network.
        batch: Number of examples.
        seed: Seed of the weights, the batch and the dropout masks.
        dtype: `float64` or `float32`.
        train: Whether dropout is active and norms use the statistics of the batch.
        weights: A `.safetensors` or `.pt` file with the weights, instead of the initial ones.
        data: A `.npy`, `.pt` or `.safetensors` file with the inputs, instead of drawn ones, and
            perhaps the targets; see `read_batch`.
        device: Where it runs: `cpu`, `cuda`, `cuda:1`, …

    Raises:
        SpecError: the graph's shapes do not fit.
        UsageError: a file does not fit the network, or there is no such device.
        GradientError: torch refuses the pass, or the tape is not what the module does.

    Example:
        >>> from archgraph.gradient import decompose
        >>> from archgraph.spec import load
        >>> parts = decompose(run_once(load("residual")), "x1", "path").parts
        >>> len(parts), round(sum(part.share for part in parts), 12)
        (4, 1.0)
    """
    precision, place = as_dtype(dtype), _device(device)
    module = compile(graph, seed=seed, dtype=precision)
    if weights is not None:
        read_weights(weights, module)
    module = module.to(place)
    if data is None:
        drawn = draw(graph, batch=batch, seed=seed, dtype=precision, device=place)
    else:
        drawn = read_batch(data, graph, seed=seed, dtype=precision, device=place)
    return record(graph, module, drawn, train=train, seed=seed)


def _device(name: str) -> torch.device:
    """Return the device called `name`.

    Raises:
        UsageError: it is not there.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"there is no device {name!r} here: {reason}") from None
    if device.type == "meta":
        raise UsageError("nothing is computed on the device 'meta', so no gradient is there")
    return device
