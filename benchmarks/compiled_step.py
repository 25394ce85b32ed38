"""A step of a compiled network against the same network written by hand: time and peak memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from archgraph.module import compile, draw
from archgraph.spec import load
from benchmarks.common import Row, time_paired
from benchmarks.handwritten import GPT, Residual
from tests.references import MissingReferenceError, torchvision_models

__all__ = ["rows"]

LIMIT = 1.02
WIDTH = 1024
GPT_SIZES = {"depth": 4, "d": 256, "heads": 4, "vocab": 512, "context": 64, "p": 0.1}


@dataclass(frozen=True)
class Pair:
    """A spec's network and one written by hand, and on what they are timed."""

    spec: str
    against: str
    params: dict[str, Any]
    by_hand: Callable[[], nn.Module]
    batch: int
    """Chosen so that arithmetic and overhead both show."""
    rounds: int
    steps: int = 1
    """Steps in a round."""
    memory: bool = True
    """Whether peak memory is compared, too: not where a few values are all there is, each of which
    is alive as long as its name."""


def pairs() -> list[Pair]:
    """Return what is compared; networks of torchvision only where it is installed."""
    found = [
        # No value is so large that the allocator asks the system for it each time, which takes as
        # long as it likes.
        Pair(
            "residual",
            "hand-written",
            {"width": WIDTH, "lam": 0.5},
            lambda: Residual(WIDTH, 0.5),
            batch=24,
            rounds=41,
            steps=4,
            memory=False,
        ),
        Pair("gpt2", "hand-written", GPT_SIZES, lambda: GPT(**GPT_SIZES), batch=4, rounds=41),
    ]
    try:
        models = torchvision_models()
    except MissingReferenceError as error:
        print(error)
        return found
    small = {"size": 64}
    found.append(Pair("resnet", "torchvision", small, models.resnet50, batch=4, rounds=21))
    found.append(Pair("densenet", "torchvision", small, models.densenet121, batch=4, rounds=21))
    return found


def train_step(network: nn.Module, x: Tensor) -> Callable[[], None]:
    def step() -> None:
        network.train()
        network.zero_grad()
        network(x).square().mean().backward()

    return step


def gradient_step(network: nn.Module, x: Tensor) -> Callable[[], None]:
    """Add to the gradients that are there, so that they hide nothing of what a step allocates."""

    def step() -> None:
        network.train()
        network(x).square().mean().backward()

    return step


def eval_step(network: nn.Module, x: Tensor) -> Callable[[], None]:
    def step() -> None:
        network.eval()
        with torch.no_grad():
            network(x)

    return step


def rows() -> list[Row]:
    with one_thread():
        return [row for pair in pairs() for row in compare(pair)]


@contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def compare(pair: Pair) -> list[Row]:
    graph = load(pair.spec, **pair.params)
    compiled, by_hand = compile(graph, seed=0), pair.by_hand()
    # The very same tensors: where weights happen to lie in memory is worth a percent or two.
    by_hand.load_state_dict(compiled.state_dict(), assign=True)
    x = draw(graph, batch=pair.batch, dtype=torch.float32).inputs[0]
    assert torch.equal(compiled.eval()(x), by_hand.eval()(x))
    found = []
    for what, timed, measured in (
        ("forward and backward", train_step, gradient_step),
        ("forward, no gradient", eval_step, eval_step),
    ):
        title = f"compiled {pair.spec}: {what}"
        found.append(_time(pair, title, timed(by_hand, x), timed(compiled, x)))
        if pair.memory:
            found.append(_memory(pair, title, measured(by_hand, x), measured(compiled, x)))
    return found


def _time(pair: Pair, title: str, theirs: Callable[[], None], ours: Callable[[], None]) -> Row:
    timing = time_paired(several(theirs, pair.steps), several(ours, pair.steps), rounds=pair.rounds)
    first, second = (1e3 * taken / pair.steps for taken in (timing.first, timing.second))
    detail = f"{second:.2f} ms against {first:.2f} ms, {pair.rounds} rounds of {pair.steps} steps"
    return Row(title, pair.against, timing.ratio, LIMIT, "lower", detail)


def several(step: Callable[[], None], count: int) -> Callable[[], None]:
    def steps() -> None:
        for _ in repeat(None, count):
            step()

    return steps


def _memory(pair: Pair, title: str, theirs: Callable[[], None], ours: Callable[[], None]) -> Row:
    first, second = peak_bytes(theirs), peak_bytes(ours)
    detail = f"{second / 2**20:.2f} MiB against {first / 2**20:.2f} MiB"
    return Row(f"{title}, peak memory", pair.against, second / first, LIMIT, "lower", detail)


def peak_bytes(step: Callable[[], None]) -> int:
    """Return how much a step has allocated at its worst, beyond what was there before.

    It is called once beforehand, so that gradients are there.
    """
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    assert record.profiler is not None
    events = record.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(accumulate(nbytes for _, nbytes in changes))
