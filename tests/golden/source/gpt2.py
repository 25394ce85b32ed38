"""GPT-2 small, pre-norm, tied head."""

import torch
from torch import Tensor, nn

from archgraph.nn import ScaledDotProductAttention


class Attention(nn.Module):
    def __init__(self, *, d: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.c_attn = nn.Linear(d, 3 * d)
        self.sdpa = ScaledDotProductAttention(heads, is_causal=True)
        self.c_proj = nn.Linear(d, d)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.c_attn(x).chunk(3, -1)
        return self.c_proj(self.sdpa(q, k, v))


class Mlp(nn.Sequential):
    def __init__(self, *, d: int = 768) -> None:
        super().__init__()
        self.c_fc = nn.Linear(d, 4 * d)
        self.gelu = nn.GELU(approximate="tanh")
        self.c_proj = nn.Linear(4 * d, d)


class Block(nn.Module):
    def __init__(self, *, d: int = 768, heads: int = 12, lam: float = 1.0) -> None:
        super().__init__()
        self.lam = lam
        self.ln_1 = nn.LayerNorm(d)
        self.attn = Attention(d=d, heads=heads)
        self.ln_2 = nn.LayerNorm(d)
        self.mlp = Mlp(d=d)

    def forward(self, x: Tensor) -> Tensor:
        mid = torch.add(self.attn(self.ln_1(x)), x, alpha=self.lam)
        return torch.add(self.mlp(self.ln_2(mid)), mid, alpha=self.lam)


class Gpt2(nn.Module):
    """Takes idx (batch, 1024) of int64; returns lm_head (batch, 1024, 50257)."""

    def __init__(
        self,
        depth: int = 12,
        d: int = 768,
        heads: int = 12,
        vocab: int = 50257,
        context: int = 1024,
        lam: float = 1.0,
    ) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab, d)
        self.wpe = nn.Embedding(context, d)
        self.h = nn.Sequential(*(Block(d=d, heads=heads, lam=lam) for _ in range(depth)))
        self.ln_f = nn.LayerNorm(d)
        self.lm_head = nn.Linear(d, vocab, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx: Tensor) -> Tensor:
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1], device=idx.device).unsqueeze(0))
        x = self.ln_f(self.h(x))
        return self.lm_head(x)
