"""Attention without weights of its own."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["ScaledDotProductAttention"]


class ScaledDotProductAttention(nn.Module):
    """Multi-head attention between given queries, keys and values: softmax(q·kᵀ/√d)·v.

    Args:
        heads: Into how many heads the last axis is split; divides it.
        is_causal: Whether position t reads positions up to t only.
        dropout: Probability with which an attention weight is dropped in training.

    References:
        Vaswani et al. 2017, Attention Is All You Need, equation 1 and section 3.2.2.
    """

    def __init__(self, heads: int, is_causal: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.is_causal = is_causal
        self.dropout = dropout

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend.

        Args:
            query: Shape (batch, t, d).
            key: Shape (batch, s, d).
            value: Shape (batch, s, e).

        Returns:
            Shape (batch, t, e), the heads side by side in the last axis.

        Raises:
            ValueError: an input has another rank, or channels that `heads` does not divide.
        """
        mixed = F.scaled_dot_product_attention(
            self._split("query", query),
            self._split("key", key),
            self._split("value", value),
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=self.is_causal,
        )
        return mixed.transpose(1, 2).flatten(2)

    def _split(self, port: str, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, heads, length, width of a head)."""
        if x.dim() != 3:
            raise ValueError(f"{port} has shape {tuple(x.shape[1:])}, not (length, channels)")
        if x.shape[-1] % self.heads:
            raise ValueError(f"{port} has {x.shape[-1]} channels, not a multiple of {self.heads}")
        return x.reshape(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return f"heads={self.heads}, is_causal={self.is_causal}, dropout={self.dropout}"
