"""A sweep of 3 λ × 5 depths × 100 seeds on one process and on two; the numbers must be the same."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import Row

SPEC = """
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
SWEEP = ["--what", "decompose", "--set", "lam=0.5,1,1.1", "--set", "depth=4:20:4"]
SEEDS = 100


@dataclass(frozen=True)
class Run:
    """One sweep as a person runs it, and what it took, from the command to the last file."""

    rows: bytes
    wall_seconds: float
    cpu_seconds: float


def run(folder: Path, workers: int) -> Run:
    output = folder / f"{workers}.csv"
    command = [sys.executable, "-m", "archgraph", "sweep", str(folder / "spec.yaml"), *SWEEP]
    command += ["--seeds", str(SEEDS), "--workers", str(workers), "-o", str(output)]
    wall, cpu = time.perf_counter(), _cpu_seconds()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Run(output.read_bytes(), time.perf_counter() - wall, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Return what the processes have used that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.yaml").write_text(SPEC)
        two, one = run(folder, 2), run(folder, 1)
    if one.rows != two.rows:
        raise AssertionError("the numbers depend on the number of workers")
    detail = "; ".join(
        f"{name}: {each.wall_seconds:.1f} s wall, {each.cpu_seconds:.1f} s CPU"
        for name, each in (("1", one), ("2", two))
    )
    return [
        Row(
            f"sweep of {15 * SEEDS:,} jobs on 2 workers",
            "1 worker",
            one.wall_seconds / two.wall_seconds,
            1.7,
            "higher",
            detail,
        )
    ]
