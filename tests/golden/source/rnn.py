"""A recurrence unrolled over time; the copies share their weights, so ∂L/∂W sums over all steps
(backprop through time).
"""

from torch import Tensor, nn


class Cell(nn.Module):
    def __init__(self, x_features: int, *, width: int = 32) -> None:
        super().__init__()
        self.W = nn.Linear(width, width, bias=False)
        self.U = nn.Linear(x_features, width)
        self.out = nn.Tanh()

    def forward(self, h: Tensor, x: Tensor, t: int) -> Tensor:
        x_t = x.select(1, t)
        W = self.W(h)
        return self.out(W + self.U(x_t))


class Rnn(nn.Module):
    """Takes x (batch, 20, 8), h0 (batch, 32); returns head (batch, 1)."""

    def __init__(self, steps: int = 20, width: int = 32) -> None:
        super().__init__()
        self.steps = steps
        self.h = Cell(8, width=width)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor, h0: Tensor) -> Tensor:
        for i in range(self.steps):
            h0 = self.h(h0, x, i)
        return self.head(h0)
