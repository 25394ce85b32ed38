"""Networks as a person writes them, to be timed against what a spec compiles to."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["GPT", "Residual"]


class Residual(nn.Module):
    """What a person writes who knows that `torch.add` multiplies and adds in one pass."""

    def __init__(self, width: int, lam: float) -> None:
        super().__init__()
        self.lam = lam
        self.F1 = nn.Linear(width, width)
        self.F2 = nn.Linear(width, width)
        self.F3 = nn.Linear(width, width)
        self.F4 = nn.Linear(width, width)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(torch.add(self.F2(self.relu(self.F1(x))), x, alpha=self.lam))
        return self.relu(torch.add(self.F4(self.relu(self.F3(x))), x, alpha=self.lam))


class Attention(nn.Module):
    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.c_attn = nn.Linear(d, 3 * d)
        self.c_proj = nn.Linear(d, d)
        self.resid_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (
            part.reshape(b, t, self.heads, -1).transpose(1, 2)
            for part in self.c_attn(x).chunk(3, -1)
        )
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).reshape(b, t, d)))


class MLP(nn.Module):
    def __init__(self, d: int, dropout: float) -> None:
        super().__init__()
        self.c_fc = nn.Linear(d, 4 * d)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = nn.Linear(4 * d, d)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.c_proj(self.act(self.c_fc(x))))


class Block(nn.Module):
    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(d)
        self.attn = Attention(d, heads, dropout)
        self.ln_2 = nn.LayerNorm(d)
        self.mlp = MLP(d, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """A pre-LN transformer with the state of the spec `gpt2`."""

    def __init__(
        self, *, depth: int, d: int, heads: int, vocab: int, context: int, p: float
    ) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab, d)
        self.wpe = nn.Embedding(context, d)
        self.drop = nn.Dropout(p)
        self.h = nn.Sequential(*(Block(d, heads, p) for _ in range(depth)))
        self.ln_f = nn.LayerNorm(d)
        self.lm_head = nn.Linear(d, vocab, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx: Tensor) -> Tensor:
        positions = torch.arange(idx.shape[1], device=idx.device)
        x = self.h(self.drop(self.wte(idx) + self.wpe(positions)))
        logits: Tensor = self.lm_head(self.ln_f(x))
        return logits
