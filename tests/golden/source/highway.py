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
        """Start the weights anew."""
        for layer in (self.t1, self.t2, self.t3):
            nn.init.constant_(layer.bias, -2.0)

    def forward(self, y0: Tensor) -> Tensor:
        H1 = self.H1(self.h1(y0))
        T1 = self.T1(self.t1(y0))
        y1 = T1 * H1 + (1 - T1) * y0
        H2 = self.H2(self.h2(y1))
        T2 = self.T2(self.t2(y1))
        y2 = T2 * H2 + (1 - T2) * y1
        H3 = self.H3(self.h3(y2))
        T3 = self.T3(self.t3(y2))
        return self.head(T3 * H3 + (1 - T3) * y2)
