"""Five states; an identity skip joins before every other activation, x3 = ReLU(F2(x2) + λ·x1)."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Takes x1 (batch, 16); returns x5 (batch, 16)."""

    def __init__(self, width: int = 16, lam: float = 1.0) -> None:
        super().__init__()
        self.lam = lam
        self.F1 = nn.Linear(width, width)
        self.x2 = nn.ReLU()
        self.F2 = nn.Linear(width, width)
        self.x3 = nn.ReLU()
        self.F3 = nn.Linear(width, width)
        self.x4 = nn.ReLU()
        self.F4 = nn.Linear(width, width)
        self.x5 = nn.ReLU()

    def forward(self, x1: Tensor) -> Tensor:
        x = self.x2(self.F1(x1))
        x = self.x3(torch.add(self.F2(x), x1, alpha=self.lam))
        x4 = self.x4(self.F3(x))
        return self.x5(torch.add(self.F4(x4), x, alpha=self.lam))
