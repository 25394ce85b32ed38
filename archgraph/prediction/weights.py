"""What a weight matrix does to a population, the matrix drawn or never made.

All cores map inputs of shape (networks, replicas, groups, vectors, fan_in) to (…, fan_out) and
cotangents back, for one matrix of independent entries per network and group. `vectors` are the
examples and positions at which the matrix is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from archgraph.prediction.population import split_axis

__all__ = ["AveragedCore", "ConditionedCore", "Core", "DrawnCore", "PopulationCore"]


class Core(ABC):
    """A weight matrix per network and group, as far as it is ever used."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Return W·h for every vector h, shape (networks, replicas, groups, vectors, fan_out)."""

    @abstractmethod
    def backward(self, cotangents: Tensor) -> Tensor:
        """Return Wᵀ·z̄ for every cotangent z̄; called at most once, after `forward`."""


@final
class DrawnCore(Core):
    """A matrix that is there: exact for every law, and for weights that are used again."""

    def __init__(self, weight: Tensor) -> None:
        """Keep the matrices, shape (networks, replicas or 1, groups, fan_out, fan_in)."""
        self.weight = weight

    def forward(self, inputs: Tensor) -> Tensor:
        """See `Core`."""
        return inputs @ self.weight.mT

    def backward(self, cotangents: Tensor) -> Tensor:
        """See `Core`."""
        return cotangents @ self.weight


@final
class ConditionedCore(Core):
    """A Gaussian matrix that is never made: only its products with what it meets are drawn.

    The inputs being the rows of H = A·Qᵀ, with Q orthonormal, E = W·Q is a Gaussian matrix, and
    Z = A·Eᵀ. Given that, W is E·Qᵀ plus a fresh Gaussian matrix on the complement of Q. So the
    cotangents, rows of Z̄ = Ā·Q̄ᵀ, come back as

      H̄ = Z̄·E·Qᵀ + Ā·Ē·(I − QQᵀ),  Ē fresh.

    Exact for a Gaussian matrix that is used at one place.

    Cost: O(fan·vectors²) instead of fan_in·fan_out·vectors.
    """

    def __init__(self, mean: float, std: float, fan_out: int) -> None:
        self.mean, self.std, self.fan_out = mean, std, fan_out
        self.basis: Tensor
        self.image: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """See `Core`."""
        root, inverse = roots(inputs @ inputs.mT)
        self.basis = inverse.mT @ inputs
        self.image = self.std * _normal(root, self.fan_out)
        outputs = root @ self.image
        return outputs + self.mean * inputs.sum(-1, keepdim=True) if self.mean else outputs

    def backward(self, cotangents: Tensor) -> Tensor:
        """See `Core`."""
        root, _ = roots(cotangents @ cotangents.mT)
        fresh = self.std * _normal(root, self.basis.shape[-1])
        known = cotangents @ self.image.mT - root @ (fresh @ self.basis.mT)
        result = known @ self.basis + root @ fresh
        return result + self.mean * cotangents.sum(-1, keepdim=True) if self.mean else result


@final
class PopulationCore(Core):
    """A Gaussian matrix of infinite width: only the second moments over all replicas count.

    Outputs are Gaussian with the covariance of the inputs, averaged over replicas; cotangents
    come back as fresh Gaussians with the covariance of the cotangents: a matrix that was used
    forwards is not correlated with itself used backwards, to leading order in the width.
    """

    def __init__(self, mean: float, std: float, fan_in: int, fan_out: int) -> None:
        self.mean, self.std, self.fan_in, self.fan_out = mean, std, fan_in, fan_out

    def forward(self, inputs: Tensor) -> Tensor:
        """See `Core`."""
        return self._spread(inputs, self.fan_out)

    def backward(self, cotangents: Tensor) -> Tensor:
        """See `Core`."""
        return self._spread(cotangents, self.fan_in)

    def _spread(self, vectors: Tensor, size: int) -> Tensor:
        root, _ = roots((vectors @ vectors.mT).mean(1, keepdim=True))
        root = root.expand(-1, vectors.shape[1], -1, -1, -1)
        spread = self.std * (root @ _normal(root, size))
        return spread + self.mean * vectors.sum(-1, keepdim=True) if self.mean else spread


@final
class AveragedCore(Core):
    """`PopulationCore` where positions are many: their covariance is kept as two averages.

    Two positions of the same or of two examples have the average covariance of all pairs of
    positions, a position has the average one of all positions. The vectors of one example stand
    together. An approximation: how covariance falls with distance is lost.
    """

    def __init__(self, mean: float, std: float, fan_in: int, fan_out: int, positions: int) -> None:
        self.mean, self.std, self.fan_in, self.fan_out = mean, std, fan_in, fan_out
        self.positions = positions

    def forward(self, inputs: Tensor) -> Tensor:
        """See `Core`."""
        return self._spread(inputs, self.fan_out)

    def backward(self, cotangents: Tensor) -> Tensor:
        """See `Core`."""
        return self._spread(cotangents, self.fan_in)

    def _spread(self, vectors: Tensor, size: int) -> Tensor:
        networks, replicas, groups = vectors.shape[:3]
        split = split_axis(vectors, 3, (-1, self.positions))
        same, between = self._covariances(split)
        shape = (networks, replicas, groups, split.shape[3])
        common = roots(between)[0].unsqueeze(1) @ torch.randn(*shape, size, dtype=vectors.dtype)
        fresh = torch.randn(*shape, self.positions * size, dtype=vectors.dtype)
        own = roots(same - between)[0].unsqueeze(1) @ fresh
        apart = split_axis(own, -1, (self.positions, size))
        spread = self.std * (common.unsqueeze(4) + apart).flatten(3, 4)
        return spread + self.mean * vectors.sum(-1, keepdim=True) if self.mean else spread

    def _covariances(self, split: Tensor) -> tuple[Tensor, Tensor]:
        """Return the averages at one position and between two, (networks, groups, b, b)."""
        count, replicas = self.positions, split.shape[1]
        rows = split.permute(0, 2, 3, 1, 4, 5).flatten(3)
        means = split.mean(4).permute(0, 2, 3, 1, 4).flatten(3)
        same = rows @ rows.mT / (count * replicas)
        mean = means @ means.mT / replicas
        return same, (count * mean - same) / (count - 1)


def roots(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return A and B with A·Aᵀ = gram and Bᵀ·gram·B = 1 wherever gram is not zero.

    Directions of less than 1e-12 of the largest (in float32 1e-6) are taken as zero: dead rows,
    equal examples, and what is negative by chance. Not by QR of the vectors, whose many small
    steps wait for each other where processors are shared.
    """
    values, vectors = torch.linalg.eigh(gram)
    largest = values[..., -1:].clamp(min=0)
    kept = values > (1e-12 if gram.dtype == torch.float64 else 1e-6) * largest
    size = torch.where(kept, values, 0).sqrt()
    inverse = torch.where(kept, 1 / torch.where(kept, size, 1), 0)
    return vectors * size.unsqueeze(-2), vectors * inverse.unsqueeze(-2)


def _normal(like: Tensor, columns: int) -> Tensor:
    return torch.randn(*like.shape[:-2], like.shape[-1], columns, dtype=like.dtype)
