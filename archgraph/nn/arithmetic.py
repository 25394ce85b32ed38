"""Arithmetic without weights, as modules."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Affine", "Detach", "MatMul", "Mean"]


class Affine(nn.Module):
    """Multiply by a fixed number and add one: scale·x + shift.

    Args:
        scale: The multiplier.
        shift: What is added to every element.

    Example:
        >>> Affine(-1, 1)(torch.tensor([0.25]))
        tensor([0.7500])
    """

    def __init__(self, scale: float, shift: float = 0.0) -> None:
        super().__init__()
        self.scale = scale
        self.shift = shift

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return scale·input + shift, of the input's shape."""
        scaled = input if self.scale == 1 else -input if self.scale == -1 else self.scale * input
        return scaled + self.shift if self.shift else scaled

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return f"scale={self.scale}, shift={self.shift}"


class Detach(nn.Module):
    """Let the value through and no gradient back, as in BYOL's and SimSiam's target branch.

    Example:
        >>> Detach()(torch.ones(1, requires_grad=True)).requires_grad
        False
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the input, detached."""
        return input.detach()


class MatMul(nn.Module):
    """Multiply two batches of matrices: input @ other."""

    def forward(self, input: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Return the product, of shape (…, n, p) for inputs (…, n, m) and (…, m, p)."""
        return input @ other


class Mean(nn.Module):
    """Average over one axis or several.

    Args:
        dim: The axes, batch counted, as in `torch.mean`; not the batch axis itself.
        keepdim: Whether an averaged axis stays, with size 1.

    Raises:
        ValueError: `dim` names the batch axis, over which examples would mix.
    """

    def __init__(self, dim: int | tuple[int, ...], keepdim: bool = False) -> None:
        super().__init__()
        if 0 in (dim if isinstance(dim, tuple) else (dim,)):
            raise ValueError("axis 0 is the batch, which Mean may not average over")
        self.dim = dim
        self.keepdim = keepdim

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the mean of `input` over `dim`."""
        return input.mean(self.dim, keepdim=self.keepdim)

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return f"dim={self.dim}, keepdim={self.keepdim}"
