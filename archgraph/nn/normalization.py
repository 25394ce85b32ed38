"""Normalisation that torch.nn has for the last axis only."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["LayerNorm2d"]


class LayerNorm2d(nn.Module):
    """Normalise every pixel over its channels, as LayerNorm does over the last axis.

    Args:
        num_channels: Size of axis 1.
        eps: Added to the variance.
        elementwise_affine: Whether it has a gain per channel.
        bias: Whether it has a shift per channel, too.

    References:
        Liu et al. 2022, A ConvNet for the 2020s, section 2.6.
    """

    def __init__(
        self,
        num_channels: int,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_channels)) if elementwise_affine else None
        shifted = elementwise_affine and bias
        self.bias = nn.Parameter(torch.zeros(num_channels)) if shifted else None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normalised input, of shape (batch, channels, height, width)."""
        last = input.permute(0, 2, 3, 1)
        normal = F.layer_norm(last, (self.num_channels,), self.weight, self.bias, self.eps)
        return normal.permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        affine, bias = self.weight is not None, self.bias is not None
        return f"{self.num_channels}, eps={self.eps}, elementwise_affine={affine}, bias={bias}"
