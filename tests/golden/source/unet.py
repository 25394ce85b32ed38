"""Encoder and decoder of any depth; every decoder level concatenates the encoder's features of its
own size.
"""

import torch
from torch import Tensor, nn


class Double(nn.Sequential):
    def __init__(self, in_channels: int, n: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, n, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(n, n, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n)
        self.relu2 = nn.ReLU()


class Down(nn.Sequential):
    def __init__(self, in_channels: int, n: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.conv = Double(in_channels, n)


class Up(nn.Module):
    def __init__(self, below_channels: int, across_channels: int, n: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(below_channels, n, 2, stride=2)
        self.conv = Double(across_channels + n, n)

    def forward(self, below: Tensor, across: Tensor) -> Tensor:
        conv_input = torch.cat([across, self.up(below)], dim=1)
        return self.conv(conv_input)


class Unet(nn.Module):
    """Takes x (batch, 3, 256, 256); returns head (batch, 2, 256, 256)."""

    def __init__(self, depth: int = 4, c: int = 64, classes: int = 2) -> None:
        super().__init__()
        self.stem = Double(3, c)
        self.enc = nn.ModuleList(Down(c * 2**i, c * 2 ** (i + 1)) for i in range(depth))
        self.dec = nn.ModuleList(
            Up(c * 2 ** (depth - i), c * 2 ** (depth - 1 - i), c * 2 ** (depth - 1 - i))
            for i in range(depth)
        )
        self.head = nn.Conv2d(c, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        x = stem
        enc: list[Tensor] = []
        for down in self.enc:
            x = down(x)
            enc.append(x)
        for up, across in zip(self.dec, (*reversed(enc[:-1]), stem), strict=True):
            x = up(x, across)
        return self.head(x)
