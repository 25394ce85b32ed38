"""Resampling as `torch.nn.functional` has it, which `nn.Upsample` offers in part."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["Interpolate"]


class Interpolate(nn.Module):
    """Resample to a size or by a factor: `torch.nn.functional.interpolate`.

    Args:
        size: The size to reach, a number for each axis behind the channels or one for all.
        scale_factor: Or the factor by which to multiply.
        mode: How: `nearest`, `bilinear`, `area`, ….
        align_corners: Whether the outermost pixels stand at the edges.
        recompute_scale_factor: Whether the factor is worked out anew from the rounded size.
        antialias: Whether to smooth what is made smaller, as image libraries do.
    """

    def __init__(
        self,
        size: int | tuple[int, ...] | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        antialias: bool = False,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor
        self.antialias = antialias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the input of shape (batch, channels, …), resampled behind the channels."""
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
            self.antialias,
        )

    def extra_repr(self) -> str:
        """Return the arguments as `repr` shows them."""
        return (
            f"size={self.size}, scale_factor={self.scale_factor}, mode={self.mode!r}, "
            f"align_corners={self.align_corners}, "
            f"recompute_scale_factor={self.recompute_scale_factor}, antialias={self.antialias}"
        )
