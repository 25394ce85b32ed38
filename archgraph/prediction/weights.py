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

    H = QR being the inputs as columns, W·Q is a Gaussian matrix E, so Z = E·R; given that, W is
    E·Qᵀ plus a fresh Gaussian matrix on the complement of Q, of which the cotangents Z̄ = Q̄R̄ see
    the part Q̄ᵀ·W. So

      H̄ = Q·Eᵀ·Z̄ + (I − QQᵀ)·Ē·R̄,  Ē fresh.

    Exact for a Gaussian matrix that is used at one place; rank-deficient inputs need no care, as Q
    is orthonormal whatever they are.

    Cost: O(fan·vectors²) instead of fan_in·fan_out·vectors.
    """

    def __init__(self, mean: float, std: float, fan_out: int) -> None:
        self.mean, self.std, self.fan_out = mean, std, fan_out
        self.basis: Tensor
        self.image: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """See `Core`."""
        self.basis, upper = torch.linalg.qr(inputs.mT)
        self.image = self.std * _normal_like(upper, self.fan_out, upper.shape[-2])
        outputs = upper.mT @ self.image.mT
        return outputs + self.mean * inputs.sum(-1, keepdim=True) if self.mean else outputs

    def backward(self, cotangents: Tensor) -> Tensor:
        """See `Core`."""
        seen = (cotangents @ self.image) @ self.basis.mT
        upper = torch.linalg.qr(cotangents.mT, mode="r").R
        fresh = self.std * _normal_like(upper, upper.shape[-2], self.basis.shape[-2])
        fresh = fresh - (fresh @ self.basis) @ self.basis.mT
        result = seen + upper.mT @ fresh
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
        replicas = vectors.shape[1]
        # All replicas' coordinates one below the other: their triangle has the covariance.
        stacked = vectors.transpose(1, 2).transpose(-1, -2).flatten(2, 3)
        upper = torch.linalg.qr(stacked, mode="r").R.unsqueeze(1)
        shape = (vectors.shape[0], replicas, vectors.shape[2], upper.shape[-2], size)
        fresh = torch.randn(shape, dtype=vectors.dtype)
        spread = (self.std / replicas**0.5) * (upper.mT @ fresh)
        return spread + self.mean * vectors.sum(-1, keepdim=True) if self.mean else spread


@final
class AveragedCore(Core):
    """`PopulationCore` where positions are many: their covariance is kept as two averages.

    Two positions of the same or of two examples have the average covariance of all pairs of
    positions, a position has the average one of all positions. The vectors of one example stand
    together. An approximation: how covariance falls with distance is lost.
    """

    def __init__(
        self, mean: float, std: float, fan_in: int, fan_out: int, positions: int
    ) -> None:
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
        split = vectors.unflatten(3, (-1, self.positions))
        same, between = self._covariances(split)
        shape = (networks, replicas, groups, split.shape[3])
        common = _root(between).unsqueeze(1) @ torch.randn(*shape, size, dtype=vectors.dtype)
        fresh = torch.randn(*shape, self.positions * size, dtype=vectors.dtype)
        own = (_root(same - between).unsqueeze(1) @ fresh).unflatten(-1, (self.positions, size))
        spread = self.std * (common.unsqueeze(4) + own).flatten(3, 4)
        return spread + self.mean * vectors.sum(-1, keepdim=True) if self.mean else spread

    def _covariances(self, split: Tensor) -> tuple[Tensor, Tensor]:
        """Return the averages at one position and between two, (networks, groups, b, b)."""
        count, replicas = self.positions, split.shape[1]
        rows = split.permute(0, 2, 3, 1, 4, 5).flatten(3)
        means = split.mean(4).permute(0, 2, 3, 1, 4).flatten(3)
        same = rows @ rows.mT / (count * replicas)
        mean = means @ means.mT / replicas
        return same, (count * mean - same) / (count - 1)


def _root(covariance: Tensor) -> Tensor:
    """Return A with AAᵀ = covariance, what is negative by chance taken as zero."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt().unsqueeze(-2)


def _normal_like(like: Tensor, rows: int, columns: int) -> Tensor:
    return torch.randn(*like.shape[:-2], rows, columns, dtype=like.dtype)
