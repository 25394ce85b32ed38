"""What the gradient of real networks is, by autograd alone: no number comes from a prediction."""

from __future__ import annotations

import math

import torch

import archgraph


def measured_ratio(text, *, batch, seeds=16):
    """Rms of an element of ∂L/∂W: the first weight matrix's over the last's, over real networks.

    The loss is the mean squared error against N(0, 1), or without one a random readout.
    """
    graph = archgraph.parse(text, file="measured.yaml")
    squares = [0.0, 0.0]
    for seed in range(seeds):
        module = archgraph.compile(graph, seed=seed)
        generator = torch.Generator().manual_seed(1000 + seed)
        dtype = next(module.parameters()).dtype
        x = torch.randn(batch, *graph.inputs[0].shape, generator=generator, dtype=dtype)
        out = module(x)
        target = torch.randn(out.shape, generator=generator, dtype=dtype)
        mean_square = graph.loss[0].op is not None
        loss = (out - target).square().mean() if mean_square else (out * target).sum()
        loss.backward()
        matrices = [p for p in module.parameters() if p.dim() > 1]
        for i in (0, -1):
            squares[i] += float(matrices[i].grad.double().square().mean())
    return math.sqrt(squares[0] / squares[-1])
