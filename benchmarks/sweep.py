"""A sweep of 3 λ × 5 depths × 100 seeds on one process and on two; the numbers must be the same."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

from archgraph.sweeping import Sweep, parse_grid, sweep
from archgraph.sweeping.source import Source
from benchmarks.common import Row

SPEC = b"""
archgraph: 1
name: residual_by_depth
params: {depth: 8, width: 64, lam: 1.0}
inputs: {x0: [width]}
blocks:
  block:
    layers:
      a: ReLU()
      F: Linear(width)
      out: lam*input + F
layers:
  x: {op: block(), repeat: depth, names: "{n}"}
init: {weight: kaiming_normal(nonlinearity='relu'), bias: 0}
"""
GRID = ["lam=0.5,1,1.1", "depth=4:20:4"]
SEEDS = 100


@dataclass(frozen=True)
class Run:
    """One sweep, and what it took."""

    found: Sweep
    wall_seconds: float
    cpu_seconds: float


def run(workers: int) -> Run:
    wall, cpu = time.perf_counter(), _cpu_seconds()
    source = Source(SPEC, "residual_by_depth.yaml")
    found = sweep(source, parse_grid(GRID), "decompose", seeds=SEEDS, workers=workers)
    return Run(found, time.perf_counter() - wall, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Return what this process and those that it has waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def rows() -> list[Row]:
    # What is loaded once, torch above all, is loaded before: the two shall differ in workers alone.
    sweep(Source(SPEC, "residual_by_depth.yaml"), {"depth": 2}, "decompose", workers=1)
    two, one = run(2), run(1)
    if one.found.rows != two.found.rows:
        raise AssertionError("the numbers depend on the number of workers")
    detail = "; ".join(
        f"{name}: {each.wall_seconds:.1f} s wall, {each.cpu_seconds:.1f} s CPU"
        for name, each in (("1", one), ("2", two))
    )
    jobs = len(one.found.outcomes)
    return [
        Row(
            f"sweep of {jobs:,} jobs on 2 workers",
            "1 worker",
            one.wall_seconds / two.wall_seconds,
            1.7,
            "higher",
            detail,
        )
    ]
