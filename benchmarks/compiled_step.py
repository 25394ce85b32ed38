"""A step of a compiled network against the same network written by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat

import torch
from torch import Tensor, nn

from archgraph.module import compile
from archgraph.spec import load
from benchmarks.common import Row, time_paired

__all__ = ["rows"]

WIDTH = 1024
BATCH = 24
"""A forward pass takes a few milliseconds, so that arithmetic and overhead both show, and no value
is so large that the allocator asks the system for it each time, which takes as long as it likes."""
ROUNDS = 41
STEPS = 4


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


def train_step(network: nn.Module, x: Tensor) -> Callable[[], None]:
    def step() -> None:
        network.zero_grad()
        network(x).square().mean().backward()

    return step


def eval_step(network: nn.Module, x: Tensor) -> Callable[[], None]:
    def step() -> None:
        with torch.no_grad():
            network(x)

    return step


def several(step: Callable[[], None]) -> Callable[[], None]:
    def steps() -> None:
        for _ in repeat(None, STEPS):
            step()

    return steps


def rows() -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        compiled = compile(load("residual", width=WIDTH, lam=0.5), seed=0)
        by_hand = Residual(WIDTH, 0.5)
        # The very same tensors: where weights happen to lie in memory is worth a percent or two.
        by_hand.load_state_dict(compiled.state_dict(), assign=True)
        x = torch.randn(BATCH, WIDTH, generator=torch.Generator().manual_seed(0))
        assert torch.equal(compiled(x), by_hand(x))
        return [
            _row("forward and backward", train_step(by_hand, x), train_step(compiled, x)),
            _row("forward, no gradient", eval_step(by_hand, x), eval_step(compiled, x)),
        ]
    finally:
        torch.set_num_threads(threads)


def _row(what: str, by_hand: Callable[[], None], compiled: Callable[[], None]) -> Row:
    timing = time_paired(several(by_hand), several(compiled), rounds=ROUNDS)
    theirs, ours = (1e3 * taken / STEPS for taken in (timing.first, timing.second))
    detail = f"{ours:.2f} ms against {theirs:.2f} ms, {ROUNDS} rounds of {STEPS} steps"
    return Row(f"compiled residual: {what}", "hand-written", timing.ratio, 1.02, "lower", detail)
