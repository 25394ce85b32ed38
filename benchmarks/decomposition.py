"""Splitting a gradient against one forward and backward pass of the same module."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from archgraph.gradient import Tape, edge_flow, record, run_once
from archgraph.gradient.grades import graded_gradient, grades_of
from archgraph.graph import Graph, GraphBuilder
from archgraph.module import Batch, compile, draw
from archgraph.module.loss import loss
from archgraph.ops import parse_call
from archgraph.paths.count import role_degrees
from archgraph.paths.walk import walk
from archgraph.spec import load
from benchmarks.common import Row
from benchmarks.compiled_step import one_thread, peak_bytes

__all__ = ["rows"]

ROUNDS = 7
SIZE = {"size": 64}


@dataclass(frozen=True)
class Subject:
    """A network in train mode, in float32, recorded once."""

    name: str
    graph: Graph
    wrt: str
    module: torch.nn.Module
    batch: Batch
    tape: Tape

    @classmethod
    def of(cls, name: str, graph: Graph, wrt: str, batch: int) -> Subject:
        module = compile(graph, seed=0, dtype=torch.float32)
        drawn = draw(graph, batch=batch, dtype=torch.float32)
        tape = record(graph, module, drawn, train=True, seed=0)
        return cls(name, graph, wrt, module.train(), drawn, tape)

    def step(self) -> None:
        """One ordinary forward and backward pass, into new gradients."""
        self.module.zero_grad(set_to_none=True)
        loss(self.graph, self.module(*self.batch.inputs), self.batch).backward()

    def record(self) -> Tape:
        return record(self.graph, self.module, self.batch, train=True, seed=0)

    def split(self) -> None:
        """Both sweeps over the recorded tape."""
        self.tape.swept = None
        edge_flow(self.tape, self.wrt)


def rows() -> list[Row]:
    with one_thread():
        resnet = Subject.of("ResNet-50", load("resnet", **SIZE), "conv1.weight", 8)
        densenet = Subject.of("DenseNet-121", load("densenet", **SIZE), "features.conv0.weight", 8)
        deep = Subject.of("200 blocks of width 256", residual(200, 256), "x", 32)
        return [
            *edges(resnet),
            *edges(densenet),
            grades(resnet, "weights", 0.45),
            grades(resnet, "branches", 0.45),
            grades(deep, "branches", 0.25),
            conservation(),
        ]


def conservation() -> Row:
    """The worst that a node of GPT-2, of its own size and in float64, gains or loses."""
    graph = load("gpt2", context=16)
    found = edge_flow(run_once(graph, batch=1, train=True), "wte.weight")
    title = "GPT-2 of 12 layers split by edge: worst violation of conservation"
    return Row(title, "–", found.residual, 1e-10, "lower", f"{len(found.shares)} edges, float64")


def residual(blocks: int, width: int) -> Graph:
    """Pre-activation blocks x ← x + F(x)."""
    b = GraphBuilder("residual")
    state = b.input("x", (width,))
    for i in range(blocks):
        value = b.layer(f"act{i}", parse_call("ReLU()"), [state])
        value = b.layer(f"fc{i}", parse_call(f"Linear({width})"), [value])
        state = b.layer(f"sum{i}", None, [value, state])
    return b.build()


def edges(subject: Subject) -> list[Row]:
    ratio, detail = compared(subject, subject.split, ROUNDS)
    recording, _ = compared(subject, subject.record, 3)
    title = f"{subject.name} split by edge"
    detail += f"; recording with both self-checks takes {recording:.2f}× before"

    def everything() -> None:
        edge_flow(subject.record(), subject.wrt)

    subject.tape.swept = None
    first, second = peak_bytes(subject.step), peak_bytes(everything)
    megabytes = f"{second / 2**20:.0f} MiB against {first / 2**20:.0f} MiB, recording included"
    against = "forward and backward"
    return [
        Row(title, against, ratio, 2.0, "lower", detail),
        Row(f"{title}, peak memory", against, second / first, 3.5, "lower", megabytes),
    ]


def grades(subject: Subject, by: str, bar: float) -> Row:
    paths = walk(subject.graph, subject.wrt)
    degrees = paths.weights if by == "weights" else role_degrees(paths, "branch")
    start = subject.tape.seed("L")
    count = len(grades_of(paths, degrees))

    def split() -> Any:
        return graded_gradient(subject.tape, paths, subject.wrt, degrees, start)

    ratio, detail = compared(subject, split, 3)
    title = f"{subject.name} split by {by}: {count} grades"
    return Row(title, f"{count} forward and backward", ratio / count, bar, "lower", detail)


def cpu_seconds(work: Callable[[], Any]) -> float:
    """The processor's seconds of one call in one thread, whatever else the machine does."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def compared(subject: Subject, work: Callable[[], Any], rounds: int) -> tuple[float, str]:
    """Return how many ordinary passes it takes: the median over rounds of one of each."""
    subject.step()
    work()
    taken = [(cpu_seconds(subject.step), cpu_seconds(work)) for _ in range(rounds)]
    first, second = (1e3 * statistics.median(column) for column in zip(*taken, strict=True))
    ratio = statistics.median(ours / theirs for theirs, ours in taken)
    return ratio, f"{second:.0f} ms against {first:.0f} ms for one"
