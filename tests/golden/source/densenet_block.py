"""The same wiring at any depth, with BatchNorm, ReLU and convolution."""

import torch
from torch import Tensor, nn


class F(nn.Sequential):
    def __init__(self, in_channels: int, *, k: int = 12) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, k, 3, padding=1, bias=False)


class DensenetBlock(nn.Module):
    """Takes H0 (batch, 24, 8, 8); returns H (batch, 84, 8, 8)."""

    def __init__(self, k: int = 12, depth: int = 5) -> None:
        super().__init__()
        self.H = nn.ModuleList(F(24 + i * k, k=k) for i in range(depth))

    def forward(self, H0: Tensor) -> Tensor:
        features = [H0]
        for f in self.H:
            features.append(f(torch.cat(features, dim=1)))
        return torch.cat(features, dim=1)
