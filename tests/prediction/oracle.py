"""Real networks written out in torch, many at a time; nothing of archgraph's is used.

Weights have shape (networks, layers, n, n); inputs (networks, batch, n).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

DEPTH = 6

Network = Callable[[list[Tensor], Tensor], Tensor]


def _times(x: Tensor, w: Tensor) -> Tensor:
    return x @ w.mT


def _layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _batch_norm(x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()


def plain_tanh(weights: list[Tensor], x: Tensor) -> Tensor:
    for w in weights:
        x = _times(x, w).tanh()
    return x


def post_activation(weights: list[Tensor], x: Tensor) -> Tensor:
    for w in weights:
        x = (x + _times(x, w)).relu()
    return x


def pre_ln(weights: list[Tensor], x: Tensor) -> Tensor:
    for w in weights:
        x = x + _times(_layer_norm(x), w)
    return x


def post_ln(weights: list[Tensor], x: Tensor) -> Tensor:
    for w in weights:
        x = _layer_norm(x + _times(x.relu(), w))
    return x


def dense(weights: list[Tensor], x: Tensor) -> Tensor:
    for w in weights:
        x = torch.cat([x, _times(x, w[..., : x.shape[-1]]).relu()], -1)
    return x


def batch_norm(weights: list[Tensor], x: Tensor) -> Tensor:
    for w in weights:
        x = _batch_norm(_times(x, w)).relu()
    return x


def relu_features(weights: list[Tensor], x: Tensor) -> Tensor:
    for w in weights:
        x = _times(x, w).relu()
    return x


def energies(
    network: Network,
    widths: list[tuple[int, int]],
    stds: list[float],
    *,
    networks: int,
    batch: int,
    features: bool = False,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Return ‖∂L/∂x‖² and ‖∂L/∂output‖² and ‖∂L/∂W₁‖² of every network."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(networks, *shape, generator=generator, dtype=torch.float64)

    weights = [s * normal(*shape) for s, shape in zip(stds, widths, strict=True)]
    weights[0].requires_grad_(True)
    x = normal(batch, widths[0][1]).requires_grad_(True)
    y = network(weights, x)
    target = normal(*y.shape[1:])
    loss = (y - target).square().sum() if features else (y * target).sum()
    found = torch.autograd.grad(loss, [x, y, weights[0]])
    return {
        name: g.square().flatten(1).sum(-1)
        for name, g in zip(("x", "output", "weight"), found, strict=True)
    }


def note_program(act: Callable[[Tensor], Tensor], *, networks: int, seed: int) -> list[float]:
    """Root-mean-square ‖∂L/∂W‖ of the eleven layers of THEORY.md's demo, over `networks` runs.

    Ten times Linear(64) and an activation, Linear(1), mean squared error, batch 32, everything
    started as PyTorch does.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        drawn = torch.rand(networks, *shape, generator=generator, dtype=torch.float64)
        return (2 * drawn - 1) / math.sqrt(64)

    weights = [uniform(64, 64) for _ in range(10)] + [uniform(1, 64)]
    biases = [uniform(1, w.shape[1]) for w in weights]
    x = torch.randn(networks, 32, 64, generator=generator, dtype=torch.float64)
    for w, b in zip(weights, biases, strict=True):
        w.requires_grad_(True)
        z = _times(x, w) + b
        x = act(z)
    target = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    loss = (z - target).square().mean((1, 2)).sum()
    found = torch.autograd.grad(loss, weights)
    return [math.sqrt(float(g.square().sum() / networks)) for g in found]
