"""x + α·F(x), α learnable and zero at the start (Bachlechner et al. 2020)."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.act = nn.ReLU()
        self.alpha = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.alpha * self.act(self.fc(x))


class Rezero(nn.Module):
    """Takes x (batch, 64); returns head (batch, 1)."""

    def __init__(self, depth: int = 32, width: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(*(Residual(width=width) for _ in range(depth)))
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.head(x)
