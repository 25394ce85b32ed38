"""Predictions: how long they take, what memory, how often their error bars hold."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.common import Row

__all__ = ["rows"]

ROOT: Final = Path(__file__).parent.parent

WIDE: Final = """\
archgraph: 1
name: wide
params: {width: 12288, depth: 96}
inputs: {x: [width]}
blocks: {block: {layers: {a: ReLU(), F: Linear(width), out: input + F}}}
layers: {h: {op: block(), repeat: depth}}
init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}
"""

PREDICT: Final = """\
import json, sys, time
from pathlib import Path
from archgraph import load, parse, predict
spec, settings = sys.argv[1], json.loads(sys.argv[2])
start = time.process_time()
graph = parse(spec.encode(), file="wide.yaml") if "\\n" in spec else load(spec, **settings)
found = predict(graph)
seconds = time.process_time() - start
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps([found.method, found.samples, seconds, int(status["VmHWM"].split()[0]) / 1024]))
"""
"""Peak memory not by getrusage, whose peak is inherited from the process that starts this one."""

SPECS: Final = 200
"""Random networks whose error bars are counted."""
SEEDS: Final = 300
"""Networks that are measured side by side, and one by one."""


def rows() -> Iterator[Row]:
    """Yield the figures."""
    yield from wide()
    yield coverage()
    yield side_by_side()


def run(spec: str, **settings: Any) -> tuple[str, int, float, float]:
    """Predict in a process of its own; return method, samples, processor's seconds, MiB."""
    command = [sys.executable, "-c", PREDICT, spec, json.dumps(settings)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    method, samples, seconds, mebibytes = json.loads(done.stdout)
    return method, samples, seconds, mebibytes


def wide() -> Iterator[Row]:
    """Yield time and memory for a residual network of 58 GB."""
    method, samples, seconds, mebibytes = run(WIDE)
    title = "predict a residual MLP of width 12,288 and depth 96"
    detail = f"{method}, {samples} networks; the processor's seconds, on one or two cores"
    yield Row(title, "–", seconds, 10, "lower", detail)
    yield Row(f"{title}, MiB", "–", mebibytes, 1024, "lower", "the network itself: 58 GB")


def coverage() -> Row:
    """Count how often predictions are within two standard errors of measurements."""
    import torch

    from tests.prediction.coverage import z_scores

    torch.set_num_threads(1)
    scores = [z for seed in range(SPECS) for z in z_scores(seed, 100)]
    inside = 100 * sum(abs(z) < 2 for z in scores) / len(scores)
    far = abs(inside - 95)
    detail = (
        f"{inside:.1f} % of {len(scores)} nodes of {SPECS} random networks; 100 draws on each "
        f"side; largest |z| {max(map(abs, scores)):.1f}"
    )
    return Row("nodes with |z| < 2, away from 95 %", "–", far, 3, "lower", detail)


def side_by_side() -> Row:
    """Time measuring small networks together against one by one."""
    import torch

    from archgraph.measurement import measure, networks
    from archgraph.spec import load

    torch.set_num_threads(1)
    graph = load("gradient_flow_demo")

    def timed(small: int) -> float:
        before, networks.SMALL = networks.SMALL, small  # type: ignore[misc]
        try:
            measure(graph, seeds=10)
            start = time.process_time()
            measure(graph, seeds=SEEDS)
            return time.process_time() - start
        finally:
            networks.SMALL = before  # type: ignore[misc]

    together, alone = timed(networks.SMALL), timed(0)
    detail = f"{1e3 * together / SEEDS:.1f} ms against {1e3 * alone / SEEDS:.1f} ms per network"
    title = "measure gradient_flow_demo, many networks at a time"
    return Row(title, "one by one", alone / together, 1.5, "higher", detail)
