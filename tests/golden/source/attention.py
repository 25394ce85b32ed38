"""A class token attends to "tokens"; a gate closes what it finds."""

import torch
from torch import Tensor, nn

from archgraph.nn import ScaledDotProductAttention


class ClassTokenAttention(nn.Module):
    """Takes tokens (batch, 5) of int64, hint (batch, 6); returns logits (batch, 11),
    y~1 (batch, 6, 6).
    """

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(11, 6)
        self.wpe = nn.Embedding(5, 6)
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.c_attn = nn.Linear(6, 18)
        self.mixed = ScaledDotProductAttention(2, dropout=0.25)
        self.gain = nn.Parameter(torch.ones(6))
        self.gate = nn.Sigmoid()
        self.add_module("0", nn.Linear(6, 6))
        self.lm = nn.Module()
        self.lm.head = nn.Linear(6, 11, bias=False)
        self.lm.head.weight = self.wte.weight
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for layer in (self.c_attn, self.get_submodule("0")):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.lm.head.weight, std=0.02)

    def forward(self, tokens: Tensor, hint: Tensor) -> tuple[Tensor, Tensor]:
        wte = self.wte(tokens)
        wpe = self.wpe(torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0))
        embedded = torch.add(wte, wpe, alpha=0.5)
        x = torch.cat([self.token.expand(embedded.shape[0], -1, -1), embedded], dim=1)
        q, k, v = self.c_attn(x).chunk(3, -1)
        y = self.mixed(q, k, v) + self.gain * x
        x = self.get_submodule("0")(-(y.select(1, 0) * (1 - self.gate(hint))))
        lm_head = self.lm.head(x)
        return lm_head, y
