"""Dropping whole branches at random."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

__all__ = ["DropPath"]


class DropPath(nn.Module):
    """Stochastic depth: in training a branch is zero with probability p, else divided by 1 − p.

    The draws are those of `torchvision.ops.StochasticDepth` from the same random state.

    Args:
        p: Probability of zero.
        mode: `row` draws for every example, `batch` once for all.

    Raises:
        ValueError: `p` is no probability, or `mode` neither.

    References:
        Huang et al. 2016, Deep Networks with Stochastic Depth, equations 2 and 5.
    """

    def __init__(self, p: float, mode: Literal["row", "batch"] = "row") -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p is a probability, between 0 and 1, and not {p}")
        if mode not in ("row", "batch"):
            raise ValueError(f"mode is 'row' or 'batch', not {mode!r}")
        self.p = p
        self.mode = mode

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the input of shape (batch, …), its rows or all of it kept or dropped."""
        if not self.training or self.p == 0:
            return input
        kept = 1 - self.p
        rows = input.shape[0] if self.mode == "row" else 1
        noise = input.new_empty((rows,) + (1,) * (input.dim() - 1)).bernoulli_(kept)
        return input * (noise.div_(kept) if kept > 0 else noise)

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return f"p={self.p}, mode={self.mode!r}"
