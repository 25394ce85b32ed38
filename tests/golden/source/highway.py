"""Three layers y = T(x)·H(x) + (1 − T(x))·x."""

from torch import Tensor, nn


class Highway(nn.Module):
    """Takes y0 (batch, 16); returns head (batch, 1)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.h1 = nn.Linear(width, width)
        self.H1 = nn.Tanh()
        self.t1 = nn.Linear(width, width)
        self.T1 = nn.Sigmoid()
        self.h2 = nn.Linear(width, width)
        self.H2 = nn.Tanh()
        self.t2 = nn.Linear(width, width)
        self.T2 = nn.Sigmoid()
        self.h3 = nn.Linear(width, width)
        self.H3 = nn.Tanh()
        self.t3 = nn.Linear(width, width)
        self.T3 = nn.Sigmoid()
        self.head = nn.Linear(width, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for layer in (self.t1, self.t2, self.t3):
            nn.init.constant_(layer.bias, -2.0)

    def forward(self, y0: Tensor) -> Tensor:
        H = self.H1(self.h1(y0))
        T = self.T1(self.t1(y0))
        y = T * H + (1 - T) * y0
        H = self.H2(self.h2(y))
        T = self.T2(self.t2(y))
        y = T * H + (1 - T) * y
        H = self.H3(self.h3(y))
        T = self.T3(self.t3(y))
        return self.head(T * H + (1 - T) * y)
